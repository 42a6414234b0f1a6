"""A piece of a pod's log out of the events of its stream. Pure.

An event carries one line as `{ts, source, line}` and an id that a later reading goes on after; it looks like
`<second>/<sequence>`, though the document calls it a plain moment. Sources: RunPod REST API 2.0.0, pod logs; live streams as
read by RunPod's own runpodctl (internal/api/logs.go).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gputui.model.logs import LogPage
from gputui.providers.events import Patience, ServerEvent
from gputui.providers.runpod import wire

# Nothing marks the end of what is there already, but it comes in one burst: runpodctl takes this gap for its end, too.
QUIET_S = 0.75
# A pod that prints all the time is read in pieces.
PIECE_S = 5.0
# How a log is read from its first line: no pod is older. `tail` would end at 5000 lines; it is for a server that refuses this.
FROM_THE_START = {"since": "1970-01-01T00:00:00Z"}
LONGEST_TAIL = {"tail": 5000}
_CONTAINER = "container"


def patience(wait_s: float) -> Patience:
    """Return how long one reading may take that waits `wait_s` for a first line."""
    return Patience(wait_s=max(wait_s, QUIET_S), quiet_s=QUIET_S, limit_s=PIECE_S)


def page_of(events: Sequence[ServerEvent], after: str | None) -> LogPage:
    """Return the lines that follow `after`, each once, and where to go on. Raises Unreadable for lines that name no place.

    A server that begins again too early is seen by the line of `after` itself coming back: what precedes it was read before.
    """
    known = [at for at, event in enumerate(events) if event.id == after and event.data] if after else []
    lines: list[str] = []
    cursor, seen = after, set[str]()
    for event in events[known[-1] + 1 :] if known else events:
        if event.data is None:
            cursor = event.id or cursor
            continue
        # An id without a sequence number would be shared by the lines of one second.
        if event.id and "/" in event.id:
            if event.id in seen:
                continue
            seen.add(event.id)
        source, text, moment = _line_in(event.data)
        cursor = event.id or moment or cursor
        if cursor is None:
            raise wire.Unreadable("lines without a place in the log")
        if source == _CONTAINER:
            lines.extend(text.split("\n"))
    return LogPage(tuple(line.removesuffix("\r") for line in lines), cursor)


def _line_in(data: str) -> tuple[str, str, str | None]:
    """Return (source, text, moment). What is not the JSON we know is shown as it came rather than lost."""
    try:
        found = wire.read(wire.WireLogLine, json.loads(data))
    except (ValueError, RecursionError):
        found = None
    if found is None or found.line is None:
        return _CONTAINER, data, None
    return found.source or _CONTAINER, found.line.removesuffix("\n"), found.ts or None
