"""Any line of a log file of any length, without holding the file: line ends are counted block by block.

A log of a million lines costs a few thousand integers. A line is read back from its block when it is shown; the last
blocks read stay at hand. Only whole bytes of the file are looked at, never its text.

Looking at what is new (`scan`) changes nothing and may run in a thread; `LogIndex.take` then takes it in at once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 65_536
MAX_LINE_BYTES = 16_384
"""What is read of one line: the beginning, or of one that rewrites itself with carriage returns, the end."""
_READ_BYTES = 16 * BLOCK_BYTES
_CACHED_BLOCKS = 24
_LINE_END = re.compile(rb"\n")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a file has beyond its first `from_byte` whole blocks: line ends in each further block, and the rest.

    `is_new_file`: it became shorter, so all that was known of it is void.
    """

    from_byte: int
    line_ends: tuple[int, ...]
    tail: bytes
    is_new_file: bool = False


def scan(path: Path, known: LogIndex, *, max_bytes: int | None = None) -> Growth | None:
    """Return what the file has beyond what is `known`, about `max_bytes` at most; None when there is nothing new.

    A file that became shorter was replaced and is looked at from its start. Raises OSError, but not for a file that is
    not there yet.
    """
    start, size = known.whole_bytes, known.size
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            is_new_file = length < size
            if length == size:
                return None
            if is_new_file:
                start = 0
            file.seek(start)
            end = length if max_bytes is None else min(length, (0 if is_new_file else size) + max_bytes)
            line_ends: list[int] = []
            position, tail = start, b""
            while position < end:
                data = file.read(min(_READ_BYTES, end - position))
                position += len(data)
                whole = len(data) - len(data) % BLOCK_BYTES
                line_ends += [data.count(b"\n", at, at + BLOCK_BYTES) for at in range(0, whole, BLOCK_BYTES)]
                tail = data[whole:]
                if len(data) < _READ_BYTES:
                    break
    except FileNotFoundError:
        return Growth(0, (), b"", is_new_file=True) if size else None
    return Growth(start, tuple(line_ends), tail, is_new_file)


class _Block:
    """Some bytes of the file, and where its line ends are."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.line_ends = [match.start() for match in _LINE_END.finditer(data)]


class LogIndex:
    """Where each line of one growing file is, as far as it was looked at. Lines and bytes count from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []  # line ends up to the end of each whole block
        self._tail = _Block(b"")  # what follows the whole blocks
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._ends_within_line = False

    @property
    def whole_bytes(self) -> int:
        """Return how many bytes the whole blocks have."""
        return len(self._ends) * BLOCK_BYTES

    @property
    def size(self) -> int:
        """Return how many bytes have been looked at."""
        return self.whole_bytes + len(self._tail.data)

    @property
    def line_count(self) -> int:
        """Return the number of lines, an unfinished last one included."""
        return self._line_ends + self._ends_within_line

    @property
    def _line_ends(self) -> int:
        return self._before(len(self._ends)) + len(self._tail.line_ends)

    def extend(self, *, max_bytes: int | None = None) -> bool:
        """Look at what the file has beyond `size`. Returns whether there was anything. Raises OSError as `scan` does."""
        growth = scan(self.path, self, max_bytes=max_bytes)
        if growth is not None:
            self.take(growth)
        return growth is not None

    def take(self, growth: Growth) -> None:
        """Take in what a scan of this very index has found."""
        if growth.is_new_file:
            self._ends.clear()
            self._blocks.clear()
        for count in growth.line_ends:
            self._ends.append(self._before(len(self._ends)) + count)
        self._tail = _Block(growth.tail)
        last = self._tail.data or (self._block(len(self._ends) - 1).data if self._ends else b"")
        self._ends_within_line = bool(last) and not last.endswith(b"\n")

    def span(self, number: int) -> tuple[int, int]:
        """Return the first byte of a line and the byte after its last one, its line end left out."""
        start = self._end_of(number - 1) + 1 if number else 0
        return start, self._end_of(number) if number < self._line_ends else self.size

    def line(self, number: int) -> bytes:
        """Return a line without its line end, at most MAX_LINE_BYTES of it; empty past the end. Raises OSError."""
        if not 0 <= number < self.line_count:
            return b""
        start, end = self.span(number)
        if end - start <= MAX_LINE_BYTES:
            return self._read(start, end)
        last = self._read(end - MAX_LINE_BYTES, end)
        return last if b"\r" in last.rstrip(b"\r") else self._read(start, start + MAX_LINE_BYTES)

    def line_at(self, byte: int) -> int:
        """Return the line that a byte belongs to; a line end belongs to the line it ends. Raises OSError."""
        block = min(byte // BLOCK_BYTES, len(self._ends))
        return self._before(block) + bisect_left(self._block(block).line_ends, byte - block * BLOCK_BYTES)

    def _end_of(self, number: int) -> int:
        """Return where the line end of a line is: in the first block by whose end there were so many."""
        block = bisect_right(self._ends, number)
        ends = self._block(block).line_ends
        within = number - self._before(block)
        # A file that was changed in place has other lines than were counted; they are shown as they come.
        return block * BLOCK_BYTES + (ends[within] if within < len(ends) else len(self._block(block).data))

    def _read(self, start: int, end: int) -> bytes:
        parts = []
        for block in range(start // BLOCK_BYTES, (max(start, end - 1)) // BLOCK_BYTES + 1):
            base = block * BLOCK_BYTES
            parts.append(self._block(block).data[max(0, start - base) : max(0, end - base)])
        return b"".join(parts)

    def _before(self, block: int) -> int:
        """Return how many line ends there are before a block."""
        return self._ends[block - 1] if block else 0

    def _block(self, number: int) -> _Block:
        if number >= len(self._ends):
            return self._tail
        block = self._blocks.get(number)
        if block is None:
            with self.path.open("rb") as file:
                file.seek(number * BLOCK_BYTES)
                block = self._blocks[number] = _Block(file.read(BLOCK_BYTES))
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block
