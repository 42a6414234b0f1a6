"""How long the program takes to load, over a bare interpreter."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import PYTHON, clean_environment, process_s, report


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environ = clean_environment(Path(home))
        bare = process_s([PYTHON, "-c", "pass"], environ)
        report("bare interpreter", bare)
        report("import gputui, over bare", process_s([PYTHON, "-c", "import gputui"], environ) - bare, target_s=0.05)
        report("gputui --help, over bare", process_s([PYTHON, "-m", "gputui", "--help"], environ) - bare, target_s=0.15)
        report("import gputui.tui.app, over bare", process_s([PYTHON, "-c", "import gputui.tui.app"], environ) - bare)
