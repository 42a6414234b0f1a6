"""A pod's log: an event stream with a backfill, that goes on until the client leaves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from gputui.sim.gate import Answer, Call, Cut
from gputui.sim.lives import Life
from gputui.sim.runpod.container import CONTAINER, SYSTEM, Line, story
from gputui.sim.runpod.errors import not_found
from gputui.sim.runpod.fields import query_whole, query_word, time_ms
from gputui.sim.runpod.pods import find
from gputui.sim.runpod.stamps import stamp
from gputui.sim.runpod.state import Pod, Tenant

TAIL_MOST = 5000
TAIL = 100

_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}
_KEEPALIVE = b": keepalive\n\n"
_LEAST_WAIT_S = 0.001
_NUMBERED = re.compile(r"(?P<ts>[^/]+)/(?P<number>\d{1,18})")

Place = tuple[int, int]
"""Where a line stands: its second since the epoch, and its number."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it stands in the log."""

    place: Place
    line: Line

    @property
    def id(self) -> str:
        return f"{stamp(self.place[0] * 1000)}/{self.place[1]:012d}"


class PodLog:
    """What a pod has logged so far. Lines come in as time passes; those that are in stay, whatever happens to the pod."""

    def __init__(self, pod: Pod, *, numbers_per_second: bool) -> None:
        self.entries: list[Entry] = []
        self._pod = pod
        self._per_second = numbers_per_second
        self._plan: Any = None
        self._coming: Iterator[Line] = iter(())
        self._next: Line | None = None
        self._read_ms = -1

    def catch_up(self, now_ms: int) -> None:
        """Take in every line due by now."""
        pod = self._pod
        plan = (tuple(pod.machine.timeline), tuple(pod.restarts), tuple(pod.settings))
        if plan != self._plan:
            self._plan = plan
            read_ms = self._read_ms
            self._coming = (line for line in story(pod) if line.at_ms > read_ms)
            self._next = next(self._coming, None)
        while self._next is not None and self._next.at_ms <= now_ms:
            self._append(self._next)
            self._next = next(self._coming, None)
        self._read_ms = max(self._read_ms, now_ms)

    def due_ms(self) -> int | None:
        """Return when the next line comes as things stand, None when there is none to come."""
        return None if self._next is None else self._next.at_ms

    def _append(self, line: Line) -> None:
        second, last = line.at_ms // 1000, self.entries[-1].place if self.entries else (0, 0)
        number = 1 if self._per_second and second != last[0] else last[1] + 1
        self.entries.append(Entry((second, number), line))


class Logs:
    """Serves the logs of all pods."""

    def __init__(self) -> None:
        self._logs: dict[str, PodLog] = {}

    async def serve(self, call: Call, tenant: Tenant) -> Answer:
        """Serve `GET /pods/{id}/logs`."""
        pod, faults = find(call, tenant), call.world.faults
        if pod.machine.life(call.world.now_ms()) is Life.RELEASED and faults.choice("runpod_exited_log") == "missing":
            raise not_found("logs")
        source = query_word(call, "source", (CONTAINER, SYSTEM))
        tail = query_whole(call, "tail", 0, TAIL_MOST)
        after = _cursor(call)
        log = self._log_of(pod, per_second=faults.choice("runpod_log_numbers") == "per_second")
        log.catch_up(call.world.now_ms())
        kept = [entry for entry in log.entries if source in (None, entry.line.source)]
        if after is None:
            wanted = TAIL if tail is None else tail
            backfill = kept[len(kept) - wanted :] if wanted < len(kept) else kept
        else:
            backfill = [entry for entry in kept if entry.place > after]
        stream = _Stream(call, log, source)
        return Answer(None, 200, _HEADERS, stream.frames(backfill))

    def _log_of(self, pod: Pod, *, per_second: bool) -> PodLog:
        if pod.machine.id not in self._logs:
            self._logs[pod.machine.id] = PodLog(pod, numbers_per_second=per_second)
        return self._logs[pod.machine.id]


class _Stream:
    """One connection that follows a log."""

    def __init__(self, call: Call, log: PodLog, source: str | None) -> None:
        world = call.world
        opened_ms = world.now_ms()
        self._call = call
        self._world = world
        self._log = log
        self._source = source
        self._position = len(log.entries)
        self._stalls_ms = _from(opened_ms, call, "runpod_log_stalls", "runpod_log_stalls_after_s")
        self._cut_ms = _from(opened_ms, call, "runpod_log_cut", "runpod_log_cut_after_s")

    async def frames(self, backfill: list[Entry]) -> AsyncIterator[bytes]:
        """Yield the backfill, then each line as it comes, with comments in between. Raises Cut where the connection breaks."""
        world = self._world
        said_ms = world.now_ms()
        fresh = backfill
        while True:
            for entry in fresh:
                yield self._frame(entry)
                said_ms = world.now_ms()
            now_ms = world.now_ms()
            if self._cut_ms is not None and now_ms >= self._cut_ms:
                raise Cut
            keepalive_ms = said_ms + max(1, round(world.faults.number("runpod_keepalive_s") * 1000))
            if now_ms >= keepalive_ms:
                if not self._is_stalled(now_ms) or world.faults.flag("runpod_stalled_keepalives"):
                    yield _KEEPALIVE
                said_ms = now_ms
                continue
            moments = [at_ms for at_ms in (keepalive_ms, self._cut_ms, self._due_ms(now_ms)) if at_ms is not None]
            await asyncio.sleep(max(_LEAST_WAIT_S, (min(moments) - now_ms) / 1000))
            fresh = self._fresh()

    def _fresh(self) -> list[Entry]:
        """Return what has come since the last look."""
        self._world.settle()
        now_ms = self._world.now_ms()
        if self._is_stalled(now_ms):
            return []
        self._log.catch_up(now_ms)
        fresh = self._log.entries[self._position :]
        self._position += len(fresh)
        return [entry for entry in fresh if self._source in (None, entry.line.source)]

    def _due_ms(self, now_ms: int) -> int | None:
        return None if self._is_stalled(now_ms) else self._log.due_ms()

    def _is_stalled(self, now_ms: int) -> bool:
        return self._stalls_ms is not None and now_ms >= self._stalls_ms

    def _frame(self, entry: Entry) -> bytes:
        line = entry.line
        data = {"ts": stamp(line.at_ms), "source": line.source, "line": line.text}
        frame = f"id: {entry.id}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
        if self._call.fires("runpod_log_duplicates"):
            frame += frame
        if self._call.fires("runpod_log_id_frames"):
            frame += f"id: {entry.id}\n\n"
        return frame.encode()


def _from(opened_ms: int, call: Call, fault: str, after: str) -> int | None:
    """Return from when a fault holds for a connection, None when it is spared."""
    return opened_ms + round(call.world.faults.number(after) * 1000) if call.fires(fault) else None


def _cursor(call: Call) -> Place | None:
    """Return the place after which a stream is to begin: that of Last-Event-ID, else the end of the second of `since`."""
    last_id, since = call.request.headers.get("last-event-id"), call.query("since")
    if last_id:
        numbered = _NUMBERED.fullmatch(last_id)
        if numbered:
            return time_ms(numbered["ts"], "Last-Event-ID") // 1000, int(numbered["number"])
        return time_ms(last_id, "Last-Event-ID") // 1000, 1 << 62
    if since is None:
        return None
    return time_ms(since, "since") // 1000, 1 << 62
