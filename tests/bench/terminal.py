"""The interface in a terminal of its own: what it writes for a key and for a minute of nothing, and how big it is."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

COLUMNS, ROWS = 120, 40


class Terminal:
    """A program on a pseudo-terminal of 120 × 40 with true colour. Close it."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str]) -> None:
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environ = {**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "TEXTUAL_ANIMATIONS": "none"}
        self._process = subprocess.Popen(
            argv, stdin=inside, stdout=inside, stderr=inside, env=environ, start_new_session=True, close_fds=True
        )
        os.close(inside)

    def wait_for(self, text: str, *, deadline_s: float = 30.0) -> float:
        """Read until a text was written; returns the seconds that took. Raises TimeoutError."""
        began = time.monotonic()
        seen = b""
        while text.encode() not in seen:
            if time.monotonic() - began > deadline_s:
                raise TimeoutError(f"{text!r} did not appear: {seen[-400:]!r}")
            seen = (seen + self._read(0.2))[-200_000:]
        return time.monotonic() - began

    def bytes_in(self, seconds: float) -> int:
        """Return how many bytes are written in a span."""
        end = time.monotonic() + seconds
        count = 0
        while (left_s := end - time.monotonic()) > 0:
            count += len(self._read(left_s))
        return count

    def press(self, keys: str, *, deadline_s: float = 10.0, quiet_s: float = 0.7) -> int:
        """Send keys and return how many bytes they caused: from the first one on until none came for a while."""
        os.write(self._screen, keys.encode())
        count = len(self._read(deadline_s))
        while more := len(self._read(quiet_s)):
            count += more
        return count

    @property
    def resident_mb(self) -> float:
        with open(f"/proc/{self._process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def _read(self, timeout_s: float) -> bytes:
        readable, _, _ = select.select([self._screen], [], [], timeout_s)
        if not readable:
            return b""
        try:
            return os.read(self._screen, 1 << 20)
        except OSError:  # the program has ended
            raise EOFError from None
