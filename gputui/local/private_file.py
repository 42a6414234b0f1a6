"""A small file that only its owner can read, replaced whole: readers see the old content or the new, never half.

Writers of all processes take turns by a lock file beside it, so that read-change-write loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gputui.model.errors import SecretsError

LOCK_TIMEOUT_S = 10.0
MAX_BYTES = 4 * 1024 * 1024
_LOCK_RETRY_S = 0.02


class PrivateFile:
    """One such file. `path`'s folder is made on the first write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """Return the content, None when there is no such file. Raises SecretsError when it cannot be read."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be read: {error.strerror}.") from error
        if len(content) > MAX_BYTES:
            raise SecretsError(f"{self.path} is far too large to be a file of keys.")
        return content

    def mode(self) -> int:
        """Return the permission bits. Raises SecretsError when the file is not there."""
        try:
            return self.path.stat().st_mode & 0o777
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be read: {error.strerror}.") from error

    @contextlib.contextmanager
    def locked(self, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Keep other writers out while inside. Raises SecretsError when they do not finish in time."""
        import fcntl

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise SecretsError(
                            f"Another process has held {self.path} for {timeout_s:g} s.", hint="Try again."
                        ) from None
                    time.sleep(_LOCK_RETRY_S)
            yield
        finally:
            os.close(handle)

    def replace(self, content: bytes) -> None:
        """Put `content` in the file's place, mode 0600, durable when this returns. Call it inside `locked`.

        Raises SecretsError when it cannot be written; the old content is then still there.
        """
        folder = self.path.parent
        prefix = f".{self.path.name}."
        try:
            for left_over in folder.glob(f"{prefix}*.tmp"):  # of a writer that died; nobody else writes now
                left_over.unlink(missing_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            folder_handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder_handle)
            finally:
                os.close(folder_handle)
        except OSError as error:
            raise self._cannot_write(error) from error

    def remove(self) -> None:
        """Delete the file. Call it inside `locked`."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> SecretsError:
        return SecretsError(f"{self.path} cannot be written: {error.strerror}.")
