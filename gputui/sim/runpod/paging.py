"""Lists: whole as the OpenAPI document has them, or a page at a time as the API gives them a month later."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.runpod.errors import Invalid
from gputui.sim.runpod.fields import query_whole

PAGE_MOST = 1000


def paged(call: Call, name: str, items: list[dict[str, Any]]) -> Answer:
    """Answer a list under its name, with `pagination` where there are pages. A cursor names the list it is of."""
    if call.world.faults.choice("runpod_api") == "august":
        return Answer({name: items})
    size = query_whole(call, "limit", 1, PAGE_MOST) or PAGE_MOST
    ids = [item["id"] for item in items]
    first = _after(call.query("cursor"), name, ids)
    page = items[first : first + size]
    more = first + size < len(items)
    cursor = base64.urlsafe_b64encode(f"{name}:{page[-1]['id']}".encode()).decode() if more else None
    return Answer({name: page, "pagination": {"nextCursor": cursor, "hasNextPage": more}})


def _after(cursor: str | None, name: str, ids: list[str]) -> int:
    """Return the place after the item that a cursor names; at the end when it is there no more."""
    if cursor is None:
        return 0
    try:
        of, _, last_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Invalid(["cursor: malformed"]) from None
    if of != name:
        raise Invalid(["cursor: from another list"])
    return ids.index(last_id) + 1 if last_id in ids else len(ids)
