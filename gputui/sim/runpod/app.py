"""The routes of the simulated RunPod API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from gputui.sim.gate import Answer, ApiError, Call, Endpoint, Handler, ProviderApp
from gputui.sim.runpod import catalog, create, edge, money, pods, spend, ssh_keys, volumes
from gputui.sim.runpod.container import own_end_ms
from gputui.sim.runpod.data import TYPES
from gputui.sim.runpod.errors import failed, forbidden
from gputui.sim.runpod.graphql import GraphQl
from gputui.sim.runpod.knobs import KNOBS
from gputui.sim.runpod.logs import Logs
from gputui.sim.runpod.state import PROVIDER, RunPodState, Tenant, pod_of
from gputui.sim.world import World

API_PATH = "/v2"

TenantHandler: TypeAlias = Callable[[Call, Tenant], Awaitable[Answer]]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def build(world: World, mount_path: str = "") -> ProviderApp:
    """Return the RunPod API over a world: REST under `mount_path` + "/v2", GraphQL under `mount_path` + "/graphql"."""
    world.faults.declare(KNOBS)
    world.catalogue(PROVIDER, TYPES)
    world.when_unpaid[PROVIDER] = money.when_unpaid(
        world, lambda machine: (mount := pod_of(machine).mount) is not None and mount.volume_id is not None
    )
    world.own_ends[PROVIDER] = lambda machine, now_ms: own_end_ms(pod_of(machine), now_ms)
    state = RunPodState(world)
    routes = _routes()
    endpoints = [
        Endpoint(method, f"/v2{path}", name, _guarded(state, handler)) for method, path, name, handler in routes
    ]
    allowed = {path: [method for method, its_path, _, _ in routes if its_path == path] for _, path, _, _ in routes}
    endpoints += [
        Endpoint(method, f"/v2{path}", "wrong_method", _guarded(state, _refusing(methods)))
        for path, methods in allowed.items()
        for method in _METHODS
        if method not in methods
    ]
    endpoints.append(Endpoint("POST", "/graphql", "graphql", GraphQl(state).answer))
    return ProviderApp(world, PROVIDER, mount_path, endpoints, error=failed, request_id_header="cf-ray")


def _routes() -> tuple[tuple[str, str, str, TenantHandler], ...]:
    return (
        ("GET", "/catalog/gpus", "list_gpus", catalog.gpus),
        ("GET", "/catalog/gpus/{id}", "get_gpu", catalog.gpu),
        ("GET", "/catalog/datacenters", "list_data_centers", catalog.data_centers),
        ("GET", "/catalog/datacenters/{id}", "get_data_center", catalog.data_center),
        ("GET", "/pods", "list_pods", pods.list_all),
        ("POST", "/pods", "create_pod", create.create),
        ("GET", "/pods/{id}", "get_pod", pods.get),
        ("PATCH", "/pods/{id}", "change_pod", pods.change),
        ("DELETE", "/pods/{id}", "delete_pod", pods.delete),
        ("POST", "/pods/{id}/action", "pod_action", pods.act),
        ("GET", "/pods/{id}/logs", "pod_logs", Logs().serve),
        ("GET", "/network-volumes", "list_volumes", volumes.list_all),
        ("POST", "/network-volumes", "create_volume", volumes.create),
        ("GET", "/network-volumes/{id}", "get_volume", volumes.get),
        ("PATCH", "/network-volumes/{id}", "change_volume", volumes.change),
        ("DELETE", "/network-volumes/{id}", "delete_volume", volumes.delete),
        ("GET", "/account/ssh-keys", "list_ssh_keys", ssh_keys.list_all),
        ("PUT", "/account/ssh-keys", "replace_ssh_keys", ssh_keys.replace_all),
        ("GET", "/billing", "list_spend", spend.account),
        ("GET", "/billing/pods", "list_pod_spend", spend.pods),
        ("GET", "/billing/network-volumes", "list_volume_spend", spend.volumes),
    )


def _guarded(state: RunPodState, handler: TenantHandler) -> Handler:
    """Return a handler that asks for a key, counts the request, then answers; errors tell the limits, too."""

    async def answer(call: Call) -> Answer:
        refusal = edge.refusal(call)
        if refusal is not None:
            return refusal
        scheme, _, key = call.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(401, "", "missing bearer token")
        if state.pod_of_key(key.strip()) is not None:
            raise forbidden()  # a pod's own key is good for GraphQL alone, in public reports
        tenant = state.tenant(key.strip())
        if tenant is None:
            raise ApiError(401, "", "invalid bearer token")
        call.world.settle()
        given = edge.limit_refusal(call, tenant) or await _answer(call, tenant, handler)
        return replace(given, headers={**given.headers, **edge.limit_headers(call, tenant)})

    return answer


async def _answer(call: Call, tenant: Tenant, handler: TenantHandler) -> Answer:
    try:
        scope = call.world.faults.choice("runpod_key_scope")
        if scope == "none" or (scope == "read_only" and call.request.method != "GET"):
            raise forbidden()
        return await handler(call, tenant)
    except ApiError as error:
        return failed(error)


def _refusing(methods: list[str]) -> TenantHandler:
    """Return what answers a path under a method that it does not take."""

    async def refuse(call: Call, tenant: Tenant) -> Answer:
        answer = failed(ApiError(405, "", "The requested method is not allowed for this path."))
        return replace(answer, headers={**answer.headers, "allow": ", ".join(methods)})

    return refuse
