"""Audit events: what was done to the account's resources, oldest first, a page at a time."""

from __future__ import annotations

import base64
import binascii

from gputui.sim.gate import Answer, Call
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.errors import invalid
from gputui.sim.lambda_.fields import query_time_ms
from gputui.sim.lambda_.state import Tenant


async def list_events(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /audit-events`. The page token stands beside the data and is null on the last page."""
    start_ms, end_ms = query_time_ms(call, "start"), query_time_ms(call, "end")
    kind = call.query("resource_type")
    found = [
        event
        for event in tenant.events
        if (start_ms is None or event.at_ms >= start_ms)
        and (end_ms is None or event.at_ms <= end_ms)
        and kind in (None, f"cloud.{event.resource}")
    ]
    size = max(1, round(call.world.faults.number("audit_page_size")))
    first = _offset_in(call.query("page_token"))
    more = first + size < len(found)
    return Answer(
        {
            "data": [render.audit_event(event, tenant) for event in found[first : first + size]],
            "page_token": base64.b64encode(f"after:{first + size}".encode()).decode() if more else None,
        }
    )


def _offset_in(token: str | None) -> int:
    if token is None:
        return 0
    try:
        name, _, offset = base64.b64decode(token, validate=True).decode().partition(":")
        if name != "after":
            raise ValueError(token)
        return int(offset)
    except (binascii.Error, ValueError):
        raise invalid("page_token: Page token is not valid") from None
