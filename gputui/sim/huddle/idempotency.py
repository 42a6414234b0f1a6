"""The Idempotency-Key header: a request sent again gets the first one's answer and nothing is done twice.

The docs say: a key still in flight gives 409, a key already used gives the stored result. Chosen here: keys count per
account, method and path; 5xx and 409 are not kept; the same key with another body gives 409.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.huddle import render
from gputui.sim.huddle.fields import conflict
from gputui.sim.huddle.state import StoredAnswer, Tenant

TenantHandler = Callable[[Call, Tenant], Awaitable[Answer]]


async def once(call: Call, tenant: Tenant, handler: TenantHandler) -> Answer:
    """Answer a write, from memory where its idempotency key was seen before."""
    key = call.request.headers.get("idempotency-key")
    if not key:
        return await handler(call, tenant)
    if call.fires("idempotency_in_flight"):
        raise conflict("a request with this idempotency key is still being processed")
    place = (call.request.method, call.request.url.path, key)
    stored = _stored(call, tenant, place)
    if stored is not None:
        if stored.answer is None:
            raise conflict("a request with this idempotency key is still being processed")
        if stored.body != call.body:
            raise conflict("this idempotency key was used with another body")
        return stored.answer
    stored = StoredAnswer(call.body, call.world.now_ms())
    tenant.answers[place] = stored
    try:
        answer = await handler(call, tenant)
    except ApiError as error:
        answer = render.failed(error)
    except BaseException:
        del tenant.answers[place]
        raise
    if answer.status == 409 or answer.status >= 500:
        del tenant.answers[place]
    else:
        stored.answer = answer
    return answer


def _stored(call: Call, tenant: Tenant, place: tuple[str, str, str]) -> StoredAnswer | None:
    stored = tenant.answers.get(place)
    kept_ms = round(call.world.faults.number("idempotency_ttl_s") * 1000)
    return stored if stored is not None and call.world.now_ms() < stored.begun_ms + kept_ms else None
