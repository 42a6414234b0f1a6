"""Where the traceback of an error goes that should not have happened: into a file, for whoever mends it."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from gputui import __version__


def keep_crash(state_dir: Path, error: BaseException) -> Path:
    """Append an error's traceback to the crash log, readable by its owner alone, and return the file. Raises OSError."""
    path = state_dir / "crash.log"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"gputui {__version__}\n{''.join(traceback.format_exception(error))}\n")
    return path
