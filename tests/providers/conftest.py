"""Lets the tests of providers import the modules that stand beside them, and gives them a client of a staged API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("provider_contract", "http_contract")


@pytest.fixture
def client(api: Any, tmp_path: Path) -> Any:
    """Return a client of the API that a test file stages as `api`."""
    return api.client(tmp_path)
