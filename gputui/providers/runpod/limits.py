"""How fast RunPod may be asked, and what its answers say about that. Pure.

The quota is per user, in three windows; the figures are the examples of REST API 2.0.0 (60 a minute, 3000 an hour, 50000 a
day) and no promise, so every answer's `RateLimit` header counts, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gputui.providers.pacing import Pace

ORDER, END, STOP = "order a pod", "end a pod", "stop a pod"
MAKE_VOLUME = "create a network volume"
READ_LOG = "read a log"
# What may have left something billable behind when no clean answer comes.
MAKERS = frozenset({ORDER, MAKE_VOLUME})
URGENT = frozenset({ORDER, END, STOP})

PACES = (
    # 15 at once and 45 a minute make 60 at most in any minute, and fewer than 3000 in an hour.
    Pace("requests", every_s=60 / 45, burst=15, reserve=5),
    Pace("day", every_s=1.8, burst=1500, reserve=500),
    # Every look into a log is a request. Machines are watched and ended beside it.
    Pace("logs", every_s=3.0, burst=5, operations=frozenset({READ_LOG})),
)
# The older GraphQL API has limits of its own, which are told nowhere.
GRAPHQL_PACES = (Pace("requests", every_s=6.0, burst=3),)

# IETF draft-ietf-httpapi-ratelimit-headers: "minute";r=0;t=12, "hour";r=2800;t=1812
_PARAMETER = re.compile(r"\s*([rt])=(\d{1,9})\s*")


def pause_in(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until every window that is used up begins anew, None when none is (or nothing is told)."""
    pauses = []
    for window in headers.get("ratelimit", "").split(","):
        parts = (_PARAMETER.fullmatch(part) for part in window.split(";"))
        told = {part[1]: int(part[2]) for part in parts if part}
        if told.get("r") == 0 and told.get("t", 0) > 0:
            pauses.append(float(told["t"]))
    return max(pauses, default=None)
