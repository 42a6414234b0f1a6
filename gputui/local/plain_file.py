"""Keys in plain text, for those who asked for it with --insecure-storage. Read only while nobody else can read it."""

from __future__ import annotations

import json
from pathlib import Path

from gputui.local.private_file import PrivateFile
from gputui.model.errors import SecretsError


class PlainFile:
    """One JSON file: provider -> key."""

    def __init__(self, path: Path) -> None:
        self._file = PrivateFile(path)

    @property
    def path(self) -> Path:
        return self._file.path

    def get(self, name: str) -> str | None:
        """Return a key, None when it is not there. Raises SecretsError for a damaged file or one that others can read."""
        return self._read().get(name)

    def put(self, name: str, value: str) -> None:
        """Keep a key, replacing an older one. Raises SecretsError."""
        with self._file.locked():
            self._write({**self._read(), name: value})

    def remove(self, name: str) -> bool:
        """Forget a key and return whether there was one; the file goes with its last key."""
        if name not in self._read():
            return False
        with self._file.locked():
            keys = self._read()
            if keys.pop(name, None) is None:
                return False
            if keys:
                self._write(keys)
            else:
                self._file.remove()
        return True

    def _read(self) -> dict[str, str]:
        content = self._file.read()
        if content is None:
            return {}
        if self._file.mode() & 0o077:
            raise SecretsError(
                f"The keys in {self.path} can be read by others, so they are not used.",
                hint=f"Run: chmod 600 {self.path}",
            )
        try:
            keys = json.loads(content)
        except ValueError:
            keys = None
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            raise SecretsError(f"The file of keys {self.path} is damaged and cannot be read.")
        return keys

    def _write(self, keys: dict[str, str]) -> None:
        self._file.replace(json.dumps(keys, indent=2, sort_keys=True).encode() + b"\n")
