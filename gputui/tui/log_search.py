"""Which lines of a log have a word in them, looked for as the lines are shown and bit by bit, however long the log is.

A word without capitals is found whatever the case (of the letters A to Z), one with capitals only as it is.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from pathlib import Path

from gputui.tui.render.log_line import ESCAPES_IN_BYTES, last_written

_STEP_BYTES = 262_144
"""What is looked at in one go; longer, and the thread would keep the interface waiting."""
_LONG_LINE_BYTES = 65_536
"""An unfinished line up to this length is looked at again from its start when there is more of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """The lines found by a look, which ended at a byte of a line."""

    lines: array[int]
    byte: int
    line: int


class LogSearch:
    """Lines with a word in them, as far as was looked. `scan` changes nothing and may run in a thread."""

    def __init__(self, word: str) -> None:
        self.word = word
        self._ignores_case = word == word.lower()
        self.pattern = re.compile(re.escape(word), re.IGNORECASE | re.ASCII if self._ignores_case else 0)
        """Finds the word in a line as it is shown."""
        self.lines: array[int] = array("Q")
        self.byte = 0
        self._line = 0

    def scan(self, path: Path, *, max_bytes: int) -> Found:
        """Look through about `max_bytes` more of the file. Raises OSError."""
        found: array[int] = array("Q")
        byte, line = self.byte, self._line
        with path.open("rb") as file:
            while byte < self.byte + max_bytes:
                file.seek(byte)
                piece = file.read(_STEP_BYTES)
                is_rest = len(piece) < _STEP_BYTES
                done = piece.rfind(b"\n") + 1
                if not done and len(piece) > _LONG_LINE_BYTES:
                    done = len(piece)
                found.extend(self._lines_in(piece if is_rest else piece[:done], line))
                byte += done
                line += piece.count(b"\n")
                if is_rest:
                    break
        return Found(found, byte, line)

    def take(self, found: Found) -> None:
        """Take in what a scan of this very search has found."""
        seen = bool(self.lines and found.lines and found.lines[0] == self.lines[-1])  # a line that was unfinished
        self.lines.extend(found.lines[seen:])
        self.byte, self._line = found.byte, found.line

    def _lines_in(self, piece: bytes, first: int) -> list[int]:
        sought = self.word.encode()
        if b"\x1b" in piece:
            piece = ESCAPES_IN_BYTES.sub(b"", piece)
        if self._ignores_case:
            piece = piece.lower()
        if sought not in piece:
            return []
        # As text of a character for each byte: Python looks for a word in text four times as fast as in bytes.
        lines, word = piece.decode("latin-1").split("\n"), sought.decode("latin-1")
        if b"\r" in piece:
            lines = [last_written(line, "\r") for line in lines]
        return [number for number, line in enumerate(lines, first) if word in line]
