"""Lets the tests of conformance use the stages of the simulators, and their own modules, as plain modules."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sim")]
