"""Lets the tests of one provider inherit what `test_contract` asks of all of them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
