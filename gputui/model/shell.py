"""What the runner needs of a machine: to put a file and to run a command, whatever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command on a machine gave: its exit code and raw output."""

    exit_code: int
    stdout: bytes
    stderr: bytes = b""


class Shell(Protocol):
    """The few things the runner needs of a machine. Every call has a deadline and raises ShellError when it breaks.

    Paths are relative to the login user's home folder.
    """

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Write a file, making its folders (0700)."""
        ...

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        """Run a command to its end."""
        ...

    async def close(self) -> None: ...
