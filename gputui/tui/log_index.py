"""Any line of a log file of any length, without holding the file: newlines are counted block by block.

A log of a million lines costs a few thousand integers. A line is read back from its block when it is shown; the last
blocks read stay at hand. Only whole bytes of the file are looked at, never its text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from pathlib import Path

BLOCK_BYTES = 65_536
MAX_LINE_BYTES = 16_384
"""What is read of one line: the beginning, or of one that rewrites itself with carriage returns, the end."""
_CACHED_BLOCKS = 24


class LogIndex:
    """Counts the lines of one growing file. `extend` reads what is new; `line` gives a line's bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []  # newlines up to the end of each whole block
        self._whole_bytes = 0
        self._tail = b""  # the last block while it is not whole
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """Return how many bytes have been looked at."""
        return self._whole_bytes + len(self._tail)

    @property
    def line_count(self) -> int:
        """Return the number of lines, an unfinished last one included."""
        ended = self._newlines_before_tail() + self._tail.count(b"\n")
        unfinished = bool(self._tail) and not self._tail.endswith(b"\n")
        if not self._tail and self._ends:
            unfinished = not self._block(len(self._ends) - 1).endswith(b"\n")
        return ended + (1 if unfinished else 0)

    def extend(self, *, max_bytes: int | None = None) -> bool:
        """Look at what the file has beyond `size`, `max_bytes` at most. Returns whether there was anything.

        A file that became shorter was replaced and is looked at from its start. Raises OSError, but not for a file that
        is not there yet.
        """
        try:
            with self.path.open("rb") as file:
                length = file.seek(0, 2)
                if length < self.size:
                    self.clear()
                if length == self.size:
                    return False
                file.seek(self.size)
                room = length - self.size if max_bytes is None else max_bytes
                while room > 0:
                    data = file.read(min(room, BLOCK_BYTES - len(self._tail)))
                    if not data:
                        break
                    room -= len(data)
                    self._add(data)
        except FileNotFoundError:
            changed = self.size > 0
            self.clear()
            return changed
        return True

    def clear(self) -> None:
        """Forget the file."""
        self._ends.clear()
        self._whole_bytes = 0
        self._tail = b""
        self._blocks.clear()

    def line(self, number: int) -> bytes:
        """Return line `number` (from 0) without its line end, at most MAX_LINE_BYTES of it; empty past the end."""
        if number < 0 or number >= self.line_count:
            return b""
        if number == 0:
            return self._read_line(0, self._block(0))
        # The newline that ends the line before lies in the first block by whose end there were `number` of them.
        block = bisect_left(self._ends, number)
        before = self._ends[block - 1] if block else 0
        data = self._block(block)
        return self._read_line(block, data[_nth_newline(data, number - before) + 1 :])

    def _read_line(self, block: int, data: bytes) -> bytes:
        head = data
        while b"\n" not in data and block < len(self._ends) + bool(self._tail) - 1:
            block += 1
            data = self._block(block)
            # Of a very long line the beginning and the end are enough: which one is shown depends on carriage returns.
            head = head + data if len(head) < MAX_LINE_BYTES else head[:MAX_LINE_BYTES] + data
        line = head.partition(b"\n")[0] if b"\n" in head else head
        if len(line) <= MAX_LINE_BYTES:
            return line
        return line[-MAX_LINE_BYTES:] if b"\r" in line[-MAX_LINE_BYTES:] else line[:MAX_LINE_BYTES]

    def _add(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) >= BLOCK_BYTES:
            self._ends.append(self._newlines_before_tail() + self._tail.count(b"\n"))
            self._whole_bytes += len(self._tail)
            self._remember(len(self._ends) - 1, self._tail)
            self._tail = b""

    def _newlines_before_tail(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _block(self, number: int) -> bytes:
        if number >= len(self._ends):
            return self._tail
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        with self.path.open("rb") as file:
            file.seek(number * BLOCK_BYTES)
            data = file.read(BLOCK_BYTES)
        self._remember(number, data)
        return data

    def _remember(self, number: int, data: bytes) -> None:
        self._blocks[number] = data
        while len(self._blocks) > _CACHED_BLOCKS:
            self._blocks.popitem(last=False)


def _nth_newline(data: bytes, count: int) -> int:
    """Return where the `count`-th newline (from 1) is."""
    position = -1
    for _ in range(count):
        position = data.index(b"\n", position + 1)
    return position
