from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The shared stage of these tests is a plain module beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_disk_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of heartbeats in a second would spend it all on flushing the disk."""
    monkeypatch.setattr("gputui.store.db.SYNCHRONOUS", "OFF")
