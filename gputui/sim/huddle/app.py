"""The routes of the simulated Huddle API."""

from __future__ import annotations

from gputui.sim.gate import Answer, ApiError, Call, Endpoint, Handler, ProviderApp
from gputui.sim.huddle import deployments, market, render, resources, waitlist
from gputui.sim.huddle.data import TYPES
from gputui.sim.huddle.idempotency import TenantHandler, once
from gputui.sim.huddle.knobs import KNOBS
from gputui.sim.huddle.state import PROVIDER, HuddleState
from gputui.sim.world import World

API_PATH = "/api/v1"


def build(world: World, mount_path: str = "") -> ProviderApp:
    """Return the Huddle API over a world, under `mount_path` + "/api/v1"."""
    world.faults.declare(KNOBS)
    world.catalogue(PROVIDER, TYPES)
    state = HuddleState(world)
    keys = resources.ApiKeys(state)

    def write(method: str, path: str, operation: str, handler: TenantHandler) -> Endpoint:
        return Endpoint(method, path, operation, _authenticated(state, handler))

    def write_once(method: str, path: str, operation: str, handler: TenantHandler) -> Endpoint:
        return write(method, path, operation, lambda call, tenant: once(call, tenant, handler))

    def read(path: str, operation: str, handler: TenantHandler) -> Endpoint:
        return write("GET", path, operation, handler)

    endpoints = [
        read("/billing/balance", "balance", market.balance),
        read("/gpus/available", "list_offers", market.offers),
        read("/gpus/available/summary", "summary", market.summary),
        read("/regions", "list_regions", market.regions),
        read("/images", "list_images", market.images),
        read("/volume-types", "list_volume_types", market.volume_types),
        # Literal paths under /deployments come before /deployments/{id}.
        write_once("POST", "/deployments/clusters", "deploy", deployments.deploy),
        read("/deployments/availability/{cluster_type}", "availability", market.availability),
        write_once("POST", "/deployments/requests", "join_waitlist", waitlist.create),
        read("/deployments/requests", "list_waitlist", waitlist.list_all),
        write_once("DELETE", "/deployments/requests/{id}", "leave_waitlist", waitlist.cancel),
        read("/deployments", "list_deployments", deployments.list_all),
        read("/deployments/{id}", "get_deployment", deployments.get),
        write_once("DELETE", "/deployments/{id}", "delete_deployment", deployments.delete),
        write_once("POST", "/deployments/{id}/actions", "act_on_deployment", deployments.act),
        write_once("POST", "/volumes", "create_volume", resources.create_volume),
        read("/volumes", "list_volumes", resources.list_volumes),
        write_once("DELETE", "/volumes/{id}", "delete_volume", resources.delete_volume),
        write("POST", "/ssh-keys", "add_ssh_key", resources.add_ssh_key),
        read("/ssh-keys", "list_ssh_keys", resources.list_ssh_keys),
        write("DELETE", "/ssh-keys/{id}", "delete_ssh_key", resources.delete_ssh_key),
        write("POST", "/api-keys", "create_api_key", keys.create),
        read("/api-keys", "list_api_keys", keys.list_all),
        write("DELETE", "/api-keys/{id}", "revoke_api_key", keys.revoke),
        write("POST", "/webhooks", "create_webhook", resources.create_webhook),
        read("/webhooks", "list_webhooks", resources.list_webhooks),
        write("PUT", "/webhooks/{id}", "update_webhook", resources.update_webhook),
        write("DELETE", "/webhooks/{id}", "delete_webhook", resources.delete_webhook),
    ]
    return ProviderApp(
        world,
        PROVIDER,
        mount_path + API_PATH,
        endpoints,
        error=render.failed,
        request_id_header="X-Request-Id",
    )


def _authenticated(state: HuddleState, handler: TenantHandler) -> Handler:
    async def answer(call: Call) -> Answer:
        tenant = state.tenant(_key_in(call))
        if tenant is None:
            raise ApiError(401, "UNAUTHORIZED", "missing, invalid or revoked API key")
        waitlist.advance(state)
        return await handler(call, tenant)

    return answer


def _key_in(call: Call) -> str:
    headers = call.request.headers
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
