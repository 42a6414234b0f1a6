"""A job's log as it is read by people: the lines of its file, and between them what is to be told of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from gputui.core.runner.logfile import LogMark, index_path
from gputui.model.units import Ms
from gputui.tui.log_index import Growth, LogIndex, scan
from gputui.tui.log_marks import LogMarks, Note


class LogBook:
    """Lines and notes numbered together as they stand: a *place* is one or the other.

    Reading (`scan`) changes nothing and may run in a thread; `take` takes in what it found.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = LogIndex(path)
        self._marks = LogMarks(path)
        self._notes: Sequence[Note] = ()
        self._note_places: list[int] = []
        self._sizes = 0, 0

    @property
    def size(self) -> int:
        """Return how many bytes of the file are known."""
        return self._index.size

    @property
    def line_count(self) -> int:
        return self._index.line_count

    @property
    def place_count(self) -> int:
        return self.line_count + len(self._notes)

    @property
    def gap_count(self) -> int:
        """Return how many stretches of the log are lost."""
        return self._marks.gap_count

    def has_changed(self) -> bool:
        """Return whether a file has another size than at the last such question. Raises OSError."""
        before, self._sizes = self._sizes, (_size(self.path), _size(index_path(self.path)))
        return self._sizes != before

    def scan(self, *, max_bytes: int) -> tuple[Growth | None, tuple[list[LogMark], int]]:
        """Look at what the files have beyond what is known. Raises OSError."""
        return scan(self.path, self._index, max_bytes=max_bytes), self._marks.scan()

    def take(self, growth: Growth | None, marks: tuple[list[LogMark], int]) -> None:
        """Take in what a scan of this very book has found."""
        if growth is not None:
            self._index.take(growth)
        self._marks.take(*marks)
        self._notes = [note for note in self._marks.notes if note.byte <= self.size]
        self._note_places = [self._line_after(note.byte) + before for before, note in enumerate(self._notes)]

    def _line_after(self, byte: int) -> int:
        """Return the first line that begins at a byte or after it."""
        line = self._index.line_at(byte)
        return line + (line < self.line_count and self._index.span(line)[0] < byte)

    def place_of(self, line: int) -> int:
        """Return the place of a line."""
        place = line
        for note_place in self._note_places:
            if note_place > place:
                break
            place += 1
        return place

    def line_at(self, place: int) -> int:
        """Return the line at a place, or the one after the note that is there."""
        return place - bisect_left(self._note_places, place)

    def note_at(self, place: int) -> Note | None:
        """Return the note at a place, None when a line is there."""
        before = bisect_right(self._note_places, place) - 1
        return self._notes[before] if before >= 0 and self._note_places[before] == place else None

    def line(self, number: int) -> tuple[bytes, int]:
        """Return a line's bytes, and how many of them were left out. Raises OSError."""
        data = self._index.line(number)
        start, end = self._index.span(number)
        return data, 0 if b"\r" in data else end - start - len(data)

    def time_of(self, number: int) -> Ms | None:
        """Return about when a line was written, None when that is not known."""
        return self._marks.time_of(self._index.span(number)[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
