"""Server-sent events: frames out of bytes, and when to stop reading a stream that never ends. No I/O of its own.

Source of the format: WHATWG HTML, server-sent events. Only `id` and `data` are read.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator
from dataclasses import dataclass

# What of a longer line is cut off: a stream must not fill the memory with one line that has no end.
LONGEST_LINE = 4 * 1024 * 1024
# A page that has become so large is handed out, though more is there already.
LARGEST_PAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One frame. `data` None: it only says where the stream stands."""

    id: str | None
    data: str | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to read: `wait_s` for the first data, `quiet_s` for what follows it, `limit_s` in all after the first."""

    wait_s: float
    quiet_s: float
    limit_s: float


class EventParser:
    """Turns the bytes of a stream into events, wherever they are cut into pieces. An unfinished frame is none yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._line = ""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Return the events that end within these bytes."""
        *lines, rest = self._decoder.decode(chunk).split("\n")
        found = []
        for line in lines:
            event = self._take((self._line + line)[:LONGEST_LINE].removesuffix("\r"))
            self._line = ""
            if event is not None:
                found.append(event)
        self._line = (self._line + rest)[:LONGEST_LINE]
        return found

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._finish()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _finish(self) -> ServerEvent | None:
        data = "\n".join(self._data)
        event = ServerEvent(self._id or None, data if data.strip() else None)
        self._id, self._data = None, []
        return event if event.id or event.data else None


async def read_until_quiet(chunks: AsyncIterator[bytes], patience: Patience, into: list[ServerEvent]) -> None:
    """Add events to `into` until the stream ends, falls quiet, or has gone on long enough.

    What is there already stays in `into` when the stream breaks. Comments and frames without data do not count as news.
    """
    loop = asyncio.get_running_loop()
    parser = EventParser()
    read_bytes, deadline, last_call = 0, loop.time() + patience.wait_s, None
    while read_bytes < LARGEST_PAGE_BYTES and loop.time() < deadline:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            return
        if chunk is None:
            return
        read_bytes += len(chunk)
        events = parser.feed(chunk)
        into.extend(events)
        if any(event.data is not None for event in events):
            now = loop.time()
            last_call = last_call or now + patience.limit_s
            deadline = min(now + patience.quiet_s, last_call)
