"""Saving a copy of a log, in steps that can be told."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

_STEP_BYTES = 4 * 1024 * 1024


def copy_in_steps(source: Path, target: Path) -> Generator[float, None, None]:
    """Copy the file as it is now into a new one that only its owner can read; yields how much is done, from 0 to 1.

    Raises OSError; FileExistsError when there is such a file. What was begun is removed again when it cannot be
    finished, or is not wanted any more (`close`).
    """
    with source.open("rb") as log:
        total = os.fstat(log.fileno()).st_size
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        is_whole = False
        try:
            with os.fdopen(descriptor, "wb") as copy:
                done = 0
                while done < total and (data := log.read(min(_STEP_BYTES, total - done))):
                    copy.write(data)
                    done += len(data)
                    yield done / total
            is_whole = True
        finally:
            if not is_whole:
                target.unlink(missing_ok=True)
