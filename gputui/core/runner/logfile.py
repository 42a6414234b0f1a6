"""A job's log on this machine: raw bytes as the workload wrote them, and beside them an index of who wrote from where.

`<job>.log` holds bytes and nothing else, so that its size is the resume offset: whatever was cut off in the middle of a
write, the next poll goes on at the size. With failover several placements write one log; `<job>.idx` (JSON lines) keeps
for each of them at which byte its log begins, and the time at some bytes. One process writes a log, any number read it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gputui.model.errors import StoreError, StoreReadOnly
from gputui.model.units import Ms

STAMP_EVERY_MS = 5_000
READ_BYTES = 262_144
MAX_LINE_BYTES = 65_536
"""A line without an end (a progress bar) is handed out in pieces of this length."""


@dataclass(frozen=True, slots=True)
class LogMark:
    """One line of the index: at byte `byte` of the log it was `at_ms`.

    A placement's log began there, or a stretch is lost, or all up to there was read with a provider's `cursor`.
    """

    byte: int
    at_ms: Ms
    placement: str | None = None
    gap: str | None = None
    cursor: str | None = None


class JobLog:
    """The writer's side of a job's log.

    Every writing call raises StoreReadOnly or StoreError when the disk refuses; what was written until then counts, and
    nothing is doubled afterwards.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index_path = index_path(path)
        self._bases: dict[str, int] | None = None
        self._stamped_ms: Ms | None = None

    @property
    def size(self) -> int:
        """Return the length of the log in bytes, 0 when there is none yet."""
        return _size(self.path)

    def begin(self, placement_id: str, *, now_ms: Ms) -> None:
        """Note that this placement's log begins here; a no-op for one that began before."""
        if placement_id not in self._known_bases():
            base = self.size
            self._add_mark({"byte": base, "at_ms": now_ms, "placement": placement_id})
            self._known_bases()[placement_id] = base

    def remote_offset(self, placement_id: str) -> int:
        """Return how many bytes of this placement's log are here: where the next poll goes on.

        Raises StoreError for a placement that has not begun, or whose log is followed by another placement's.
        """
        bases = self._known_bases()
        if placement_id not in bases:
            raise StoreError(f"{self.path.name} knows no placement {placement_id}.")
        if placement_id != next(reversed(bases)):
            raise StoreError(
                f"The log of placement {placement_id} is closed: a later placement writes {self.path.name}."
            )
        return self.size - bases[placement_id]

    def append(self, placement_id: str, offset: int, payload: bytes, *, now_ms: Ms | None = None) -> None:
        """Add bytes of the placement's log from its byte `offset` on, which must be exactly where the last ones ended.

        With `now_ms` the index learns the time every few seconds.
        """
        due = self.remote_offset(placement_id)
        if offset != due:
            raise StoreError(f"{self.path.name} goes on at byte {due} of the placement's log, not at {offset}.")
        if now_ms is not None and (self._stamped_ms is None or now_ms - self._stamped_ms >= STAMP_EVERY_MS):
            self._add_mark({"byte": self.size, "at_ms": now_ms})
            self._stamped_ms = now_ms
        _append(self.path, payload)

    def mark_cursor(self, cursor: str, *, now_ms: Ms) -> None:
        """Note that all up to here was read with this cursor, of a log that has no byte offsets."""
        self._add_mark({"byte": self.size, "at_ms": now_ms, "cursor": cursor})

    def resume_cursor(self, placement_id: str) -> str | None:
        """Return the cursor to go on from, None to read the placement's log from its start.

        What came after the cursor was noted is cut off again: it will be handed out once more.
        """
        base = self.size - self.remote_offset(placement_id)
        byte, cursor = base, None
        for mark in read_marks(self.path):
            if mark.cursor is not None and base <= mark.byte <= self.size:
                byte, cursor = mark.byte, mark.cursor
        if byte < self.size:
            os.truncate(self.path, byte)
        return cursor

    def mark_gap(self, why: str, *, now_ms: Ms) -> None:
        """Note that a stretch of the log is lost here."""
        self._add_mark({"byte": self.size, "at_ms": now_ms, "gap": why})

    def _known_bases(self) -> dict[str, int]:
        if self._bases is None:
            marks = read_marks(self.path)
            self._bases = {mark.placement: mark.byte for mark in marks if mark.placement is not None}
        return self._bases

    def _add_mark(self, mark: dict[str, object]) -> None:
        # a line that a crash cut off must not swallow this one
        torn = _last_byte(self._index_path) not in (b"", b"\n")
        _append(self._index_path, b"\n" * torn + json.dumps(mark).encode() + b"\n")


def index_path(log_path: Path) -> Path:
    """Return where the index of a log lies."""
    return log_path.with_suffix(".idx")


def read_marks(path: Path) -> list[LogMark]:
    """Return the index of the log at `path`, in order; a line that a crash cut off is left out."""
    return read_marks_from(path, 0)[0]


def read_marks_from(path: Path, index_offset: int) -> tuple[list[LogMark], int]:
    """Return the marks from a byte of the log's index on, and the byte to go on from when the index has grown."""
    try:
        with index_path(path).open("rb") as file:
            file.seek(index_offset)
            complete, line_end, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], 0
    marks = []
    for row in complete.splitlines():
        try:
            marks.append(LogMark(**json.loads(row)))
        except (ValueError, TypeError):
            continue
    return marks, index_offset + len(complete) + len(line_end)


def read(path: Path, offset: int, limit: int) -> bytes:
    """Return up to `limit` bytes of a log from byte `offset`; empty past its end and where there is no log yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def iter_lines(path: Path, offset: int = 0) -> Iterator[str]:
    """Yield the lines from byte `offset` (the start of a line) to the end as it is now, without their line ends."""
    follower = LogFollower(path, offset)
    while lines := follower.read_lines():
        yield from lines
    if rest := follower.rest():
        yield rest


def tail_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines, reading no more of the file than they need."""
    end = _size(path)
    if count <= 0 or end == 0:
        return []
    tail = b""
    start = end
    # one more line end than lines, since the last line may have one of its own
    while start > 0 and tail.count(b"\n") <= count:
        length = min(READ_BYTES, start)
        start -= length
        tail = read(path, start, length) + tail
    lines = tail.removesuffix(b"\n").split(b"\n")
    return [_text(line) for line in lines[-count:]]


class LogFollower:
    """Reads a growing log line by line; never splits a line or a character, whatever the writer's pieces were.

    `offset` is the byte after the last line handed out.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self._pending = b""

    def read_lines(self) -> list[str]:
        """Return the lines completed since the last call, at most a few thousand; empty when there is nothing new.

        Carriage returns within a line stay. Call again until it is empty.
        """
        while True:
            piece = read(self.path, self.offset + len(self._pending), READ_BYTES)
            self._pending += piece
            complete, line_end, rest = self._pending.rpartition(b"\n")
            if line_end:
                self._pending = rest
                self.offset += len(complete) + 1
                return [_text(line) for line in complete.split(b"\n")]
            if len(self._pending) > MAX_LINE_BYTES:
                return [self._cut_endless_line()]
            if not piece:
                return []

    def rest(self) -> str:
        """Return the line that has no end yet, without handing it out for good."""
        return _text(self._pending)

    def _cut_endless_line(self) -> str:
        cut = MAX_LINE_BYTES
        while cut > MAX_LINE_BYTES - 3 and self._pending[cut] & 0xC0 == 0x80:
            cut -= 1  # step back to the first byte of a UTF-8 character
        line, self._pending = self._pending[:cut], self._pending[cut:]
        self.offset += cut
        return _text(line)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_byte(path: Path) -> bytes:
    size = _size(path)
    return read(path, size - 1, 1) if size else b""


def _append(path: Path, data: bytes) -> None:
    """Write all of `data` at the end of a file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StoreReadOnly(f"The log {path} cannot be written: {error.strerror}.") from error
        hint = "Free some space; the log goes on where it stopped." if error.errno == errno.ENOSPC else None
        raise StoreError(f"The log {path} cannot be written: {error.strerror}.", hint=hint) from error
