"""Rate limits: a minimum interval between calls of one caller to one endpoint, and a daily quota of searches."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gputui.sim.gate import Call
from gputui.sim.vastai.errors import VastError, refused

SEARCH = "search_offers"

# The thresholds that the 429 examples of the OpenAPI file quote (August 2026), in seconds.
INTERVALS_S: Mapping[str, float] = {
    "create_instance": 4.5,
    "get_instance": 2.0,
    "manage_instance": 1.0,
    "destroy_instance": 3.0,
    "list_instances": 1.0,
    "reboot_instance": 1.0,
    "recycle_instance": 1.0,
    "change_bid": 5.5,
    "search_volumes": 5.5,
    "list_volumes": 5.5,
    "delete_volume": 5.5,
    "add_ssh_key": 1.0,
    "replace_ssh_key": 1.0,
    "detach_ssh_key": 2.0,
    "list_api_keys": 1.0,
    "create_api_key": 2.0,
    "delete_api_key": 2.0,
    "list_charges": 1.0,
    "list_invoices": 3.0,
}
_DAY_MS = 86_400_000


class Pacer:
    """Counts calls by endpoint and by who calls: key and address. A call that is refused does not count."""

    def __init__(self) -> None:
        self._full_until_ms: dict[tuple[str, str], float] = {}
        self._searches: dict[tuple[str, int], int] = {}

    def check(self, call: Call, secret: str) -> None:
        """Let a call through or raise VastError 429."""
        name, now_ms = call.operation.rpartition(".")[2], call.world.now_ms()
        who = f"{secret} {call.request.client.host if call.request.client else ''}"
        interval_ms, burst = self._limit(call, name)
        full_until_ms = max(self._full_until_ms.get((name, who), now_ms), now_ms)
        wait_ms = full_until_ms - interval_ms * (burst - 1) - now_ms
        if wait_ms > 0:
            raise _too_frequent(call, name, interval_ms / 1000, wait_ms)
        if name == SEARCH:
            self._count_search(call, who, now_ms)
        if interval_ms:
            self._full_until_ms[name, who] = full_until_ms + interval_ms

    def _limit(self, call: Call, name: str) -> tuple[float, float]:
        """Return an endpoint's interval in ms, and how many calls may come at once."""
        faults = call.world.faults
        if name == SEARCH:
            return faults.number("search_interval_s") * 1000, max(1.0, faults.number("search_burst"))
        return INTERVALS_S.get(name, 0.0) * 1000 * faults.number("interval_scale"), 1.0

    def _count_search(self, call: Call, who: str, now_ms: int) -> None:
        quota, day = call.world.faults.number("search_quota"), now_ms // _DAY_MS
        made = self._searches.get((who, day), 0)
        if quota and made >= quota:
            reset_s = (day + 1) * _DAY_MS // 1000
            said = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded."}
            raise VastError(429, said, {"x-ratelimit-reset": str(reset_s)})
        self._searches[who, day] = made + 1


def _too_frequent(call: Call, name: str, interval_s: float, wait_ms: float) -> VastError:
    """Return the 429 of an endpoint, whose body has many forms."""
    said, threshold = "API requests too frequent", f"endpoint threshold={interval_s}"
    error: VastError
    form = call.world.faults.choice("too_frequent_body")
    if name == "destroy_instance":
        error = refused(429, "rate_limit_exceeded", f"{said} {threshold}")
    elif form == "text":
        error = VastError(429, said)
    elif form == "threshold":
        error = VastError(429, f"{said}: {threshold}")
    elif form == "detail":
        error = VastError(429, {"detail": f"{said} {threshold}"})
    else:
        error = VastError(429, {"detail": f"{said} {threshold}", "retry_after": math.ceil(wait_ms) / 1000})
    if call.world.faults.flag("too_frequent_header"):
        error.headers["retry-after"] = str(math.ceil(wait_ms / 1000))
    return error
