"""`python -m gputui`."""

from __future__ import annotations

import sys

from gputui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
