"""What a request meets before it is answered: Cloudflare, the size of its body, and the user's request limits."""

from __future__ import annotations

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.runpod.errors import failed, plain
from gputui.sim.runpod.state import Tenant

BODY_MOST_BYTES = 102_400

_WINDOWS = (("minute", 60), ("hour", 3600), ("day", 86_400))


def refusal(call: Call) -> Answer | None:
    """Return the answer of a request that goes no further, whoever sent it."""
    agent = call.request.headers.get("user-agent", "")
    if call.world.faults.flag("runpod_blocks_agents") and (not agent or agent.startswith("Python-urllib")):
        return plain(403, "error code: 1010")
    if len(call.body) > BODY_MOST_BYTES:
        return failed(ApiError(413, "", f"request body exceeds {BODY_MOST_BYTES} bytes"))
    return None


def limit_refusal(call: Call, tenant: Tenant) -> Answer | None:
    """Return the 429 of a request over one of the user's limits, None for one within them, which is counted."""
    windows = {window: _window(call, tenant, window, length_s) for window, length_s in _WINDOWS}
    for window, length_s in _WINDOWS:
        quota, (began_ms, used) = _quota(call, window), windows[window]
        if quota and used >= quota:
            answer = failed(ApiError(429, "", f"rate limit exceeded for the {window} window"))
            wait = {"retry-after": str(_left_s(call, began_ms, length_s))}
            return Answer(answer.payload, 429, {**answer.headers, **wait})
    tenant.windows = {window: (began_ms, used + 1) for window, (began_ms, used) in windows.items()}
    return None


def limit_headers(call: Call, tenant: Tenant) -> dict[str, str]:
    """Return the headers that tell the limits and what is left of them; none where there is no limit."""
    left: list[str] = []
    policy: list[str] = []
    for window, length_s in _WINDOWS:
        quota = _quota(call, window)
        if quota:
            began_ms, used = _window(call, tenant, window, length_s)
            left.append(f'"{window}";r={max(0, quota - used)};t={_left_s(call, began_ms, length_s)}')
            policy.append(f'"{window}";q={quota};w={length_s}')
    return {"ratelimit": ", ".join(left), "ratelimit-policy": ", ".join(policy)} if left else {}


def _quota(call: Call, window: str) -> int:
    return round(call.world.faults.number(f"runpod_per_{window}"))


def _window(call: Call, tenant: Tenant, window: str, length_s: int) -> tuple[int, int]:
    """Return when a window began and how many requests were made in it; one that is over begins anew."""
    now_ms = call.world.now_ms()
    began_ms, used = tenant.windows.get(window, (now_ms, 0))
    return (began_ms, used) if now_ms < began_ms + length_s * 1000 else (now_ms, 0)


def _left_s(call: Call, began_ms: int, length_s: int) -> int:
    """Return the whole seconds until a window is over."""
    return -(-(began_ms + length_s * 1000 - call.world.now_ms()) // 1000)
