"""What stands in front of the Lambda API: the rate limit and the block of some User-Agents, as Cloudflare answers them."""

from __future__ import annotations

import math
from dataclasses import replace

from gputui.sim.gate import Answer, Call
from gputui.sim.lambda_.errors import edge_refusal, plain

LAUNCH = "lambda.launch"


class Edge:
    """Counts requests by the address they come from. A request it refuses does not count."""

    def __init__(self) -> None:
        self._full_until_ms: dict[tuple[str, str], float] = {}

    def refusal(self, call: Call) -> Answer | None:
        """Return the answer of a request that goes no further, None to let it through."""
        faults = call.world.faults
        agent = call.request.headers.get("user-agent", "")
        if faults.flag("block_default_user_agents") and (not agent or agent.startswith("Python-urllib/")):
            return plain(403, "error code: 1010")
        limits = ["request", "launch"] if call.operation == LAUNCH else ["request"]
        wait_ms = max(self._wait_ms(call, limit) for limit in limits)
        if wait_ms <= 0:
            for limit in limits:
                self._count(call, limit)
            return None
        answer = edge_refusal(call.world)
        if not faults.flag("rate_limit_retry_after"):
            return answer
        return replace(answer, headers={**answer.headers, "retry-after": str(math.ceil(wait_ms / 1000))})

    def _wait_ms(self, call: Call, limit: str) -> float:
        """Return how long until one more request would be let through: the bucket drains one each interval."""
        faults, now_ms = call.world.faults, call.world.now_ms()
        every_ms = faults.number(f"{limit}_every_s") * 1000
        room_ms = every_ms * max(0.0, faults.number(f"{limit}_burst") - 1)
        return self._full_until_ms.get((limit, _address(call)), now_ms) - room_ms - now_ms if every_ms else 0.0

    def _count(self, call: Call, limit: str) -> None:
        key, now_ms = (limit, _address(call)), float(call.world.now_ms())
        every_ms = call.world.faults.number(f"{limit}_every_s") * 1000
        self._full_until_ms[key] = max(self._full_until_ms.get(key, now_ms), now_ms) + every_ms


def _address(call: Call) -> str:
    return call.request.client.host if call.request.client else ""
