"""What the index beside a log knows of it: when its bytes were written, where a stretch is lost, where machines changed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gputui.core.runner.logfile import LogMark, read_marks_from
from gputui.model.units import Ms


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be told between the lines of a log, before its byte `byte`."""

    byte: int
    at_ms: Ms
    text: str
    is_gap: bool


class LogMarks:
    """The marks of one growing log. Reading (`scan`) changes nothing and may run in a thread; `take` takes them in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._bytes: list[int] = []  # ascending; at each of them it was the time at the same place below
        self._times: list[Ms] = []
        self._notes: list[Note] = []
        self._machines = 0

    @property
    def notes(self) -> Sequence[Note]:
        return self._notes

    @property
    def gap_count(self) -> int:
        """Return how many stretches are lost."""
        return sum(note.is_gap for note in self._notes)

    def scan(self) -> tuple[list[LogMark], int]:
        """Read what the index has beyond what is known. Raises OSError."""
        return read_marks_from(self.path, self._offset)

    def take(self, marks: Sequence[LogMark], offset: int) -> None:
        """Take in what a scan of these very marks has read."""
        self._offset = offset
        for mark in marks:
            while self._bytes and self._bytes[-1] >= mark.byte:  # what was written from there on was cut off again
                self._bytes.pop()
                self._times.pop()
            self._bytes.append(mark.byte)
            self._times.append(mark.at_ms)
            if mark.gap is not None:
                self._notes.append(Note(mark.byte, mark.at_ms, f"a stretch of the log is lost here: {mark.gap}", True))
            elif mark.placement is not None:
                self._machines += 1
                if self._machines > 1:
                    self._notes.append(Note(mark.byte, mark.at_ms, "another machine from here on", False))

    def time_of(self, byte: int) -> Ms | None:
        """Return when a byte had been written at the latest mark before it, None before the first mark."""
        place = bisect_right(self._bytes, byte)
        return self._times[place - 1] if place else None
