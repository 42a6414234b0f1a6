"""The routes of the simulated TensorDock API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gputui.sim.gate import Answer, ApiError, Call, Endpoint, Handler, ProviderApp
from gputui.sim.tensordock import instances, knobs, market, render, secrets
from gputui.sim.tensordock.data import TYPES
from gputui.sim.tensordock.money import V0, Unpaid
from gputui.sim.tensordock.state import PROVIDER, Tenant, TensorDockState
from gputui.sim.world import World

API_PATH = "/api/v2"

_ROOT = "/api"
_MINUTE_MS = 60_000

TenantHandler: TypeAlias = Callable[[Call, Tenant], Awaitable[Answer]]


def build(world: World, mount_path: str = "") -> ProviderApp:
    """Return the TensorDock API over a world: v2 under `mount_path` + "/api/v2", what is left of v0 beside it."""
    world.faults.declare(knobs.KNOBS)
    world.catalogue(PROVIDER, TYPES)
    world.when_unpaid[PROVIDER] = Unpaid(world)
    state = TensorDockState(world)
    v0 = V0(state)

    def v2(method: str, path: str, operation: str, handler: TenantHandler) -> Endpoint:
        return Endpoint(method, f"/v2{path}", operation, _authenticated(state, handler))

    endpoints = [
        v2("POST", "/auth/test", "check_key", check),
        Endpoint("GET", "/v2/locations", "list_offers", market.locations),
        v2("GET", "/hostnodes", "list_hostnodes", market.hostnodes),
        v2("GET", "/hostnodes/{id}", "get_hostnode", market.hostnode),
        v2("POST", "/instances", "create", instances.create),
        v2("GET", "/instances", "list_instances", instances.list_all),
        v2("GET", "/instances/{id}", "get_instance", instances.get),
        v2("DELETE", "/instances/{id}", "delete_instance", instances.delete),
        v2("POST", "/instances/{id}/start", "start_instance", instances.start),
        v2("POST", "/instances/{id}/stop", "stop_instance", instances.stop),
        v2("POST", "/secrets", "add_secret", secrets.create),
        v2("GET", "/secrets", "list_secrets", secrets.list_all),
        v2("GET", "/secrets/{id}", "get_secret", secrets.get),
        v2("DELETE", "/secrets/{id}", "delete_secret", secrets.delete),
        v2("PATCH", "/secrets/{id}", "change_secret", secrets.change),
        Endpoint("POST", "/v0/auth/test", "v0_check_key", v0.check),
        Endpoint("POST", "/v0/billing/balance", "v0_balance", v0.balance),
    ]
    return ProviderApp(
        world,
        PROVIDER,
        mount_path + _ROOT,
        endpoints,
        error=render.failed_in(world.faults),
        request_id_header="X-Request-Id",
    )


async def check(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /auth/test`."""
    return Answer({"success": True, "organizationId": tenant.account.id})


def _authenticated(state: TensorDockState, handler: TenantHandler) -> Handler:
    async def answer(call: Call) -> Answer:
        scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
        tenant = state.tenant(token.strip()) if scheme.lower() == "bearer" else None
        if tenant is None:
            raise ApiError(int(call.world.faults.choice(knobs.BAD_TOKEN_CODE)), "UNAUTHORIZED", "Unauthorized")
        refusal = _over_limit(call, tenant)
        if refusal is not None:
            return refusal
        call.world.settle()
        return await handler(call, tenant)

    return answer


def _over_limit(call: Call, tenant: Tenant) -> Answer | None:
    """Return the refusal of a request over the limit of any minute, None for one within it, which is counted."""
    limit = round(call.world.faults.number(knobs.REQUESTS_PER_MINUTE))
    now_ms, asked_ms = call.world.now_ms(), tenant.asked_ms
    while asked_ms and asked_ms[0] <= now_ms - _MINUTE_MS:
        asked_ms.popleft()
    if limit and len(asked_ms) >= limit:
        wait_s = -(-(asked_ms[0] + _MINUTE_MS - now_ms) // 1000)
        says_when = call.world.faults.flag(knobs.LIMIT_SAYS_WHEN)
        return Answer({"error": "Too many requests"}, 429, {"retry-after": str(wait_s)} if says_when else {})
    asked_ms.append(now_ms)
    return None
