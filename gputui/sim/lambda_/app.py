"""The routes of the simulated Lambda Cloud API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from gputui.sim.gate import Answer, ApiError, Call, Endpoint, Handler, ProviderApp
from gputui.sim.lambda_ import audit, filesystems, firewall, instances, launch, market, ssh_keys
from gputui.sim.lambda_.data import TYPES
from gputui.sim.lambda_.edge import Edge
from gputui.sim.lambda_.errors import failed
from gputui.sim.lambda_.knobs import KNOBS
from gputui.sim.lambda_.state import PROVIDER, LambdaState, Tenant
from gputui.sim.world import World

API_PATH = "/api/v1"

TenantHandler: TypeAlias = Callable[[Call, Tenant], Awaitable[Answer]]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ROUTES: tuple[tuple[str, str, str, TenantHandler], ...] = (
    ("GET", "/instance-types", "list_instance_types", market.instance_types),
    ("GET", "/regions", "list_regions", market.regions),
    ("GET", "/images", "list_images", market.images),
    ("POST", "/instance-operations/launch", "launch", launch.launch),
    ("POST", "/instance-operations/terminate", "terminate", instances.terminate),
    ("POST", "/instance-operations/restart", "restart", instances.restart),
    ("GET", "/instances", "list_instances", instances.list_all),
    ("GET", "/instances/{id}", "get_instance", instances.get),
    ("POST", "/instances/{id}", "rename_instance", instances.rename),
    ("GET", "/ssh-keys", "list_ssh_keys", ssh_keys.list_all),
    ("POST", "/ssh-keys", "add_ssh_key", ssh_keys.add),
    ("DELETE", "/ssh-keys/{id}", "delete_ssh_key", ssh_keys.delete),
    # Listed under one spelling, made and deleted under the other: so it is at Lambda.
    ("GET", "/file-systems", "list_filesystems", filesystems.list_all),
    ("POST", "/filesystems", "create_filesystem", filesystems.create),
    ("DELETE", "/filesystems/{id}", "delete_filesystem", filesystems.delete),
    ("GET", "/firewall-rules", "list_firewall_rules", firewall.list_rules),
    ("PUT", "/firewall-rules", "replace_firewall_rules", firewall.replace_rules),
    ("GET", "/firewall-rulesets", "list_rulesets", firewall.list_rulesets),
    ("POST", "/firewall-rulesets", "create_ruleset", firewall.create_ruleset),
    ("GET", "/firewall-rulesets/global", "get_global_ruleset", firewall.get_global),
    ("PATCH", "/firewall-rulesets/global", "patch_global_ruleset", firewall.patch_global),
    ("GET", "/firewall-rulesets/{id}", "get_ruleset", firewall.get_ruleset),
    ("PATCH", "/firewall-rulesets/{id}", "patch_ruleset", firewall.patch_ruleset),
    ("DELETE", "/firewall-rulesets/{id}", "delete_ruleset", firewall.delete_ruleset),
    ("GET", "/audit-events", "list_audit_events", audit.list_events),
)


def build(world: World, mount_path: str = "") -> ProviderApp:
    """Return the Lambda Cloud API over a world, under `mount_path` + "/api/v1"."""
    world.faults.declare(KNOBS)
    world.catalogue(PROVIDER, TYPES)
    state, edge = LambdaState(world), Edge()
    endpoints = [
        Endpoint(method, path, name, _guarded(state, edge, handler)) for method, path, name, handler in _ROUTES
    ]
    return ProviderApp(
        world,
        PROVIDER,
        mount_path + API_PATH,
        [*endpoints, *_wrong_methods()],
        error=partial(failed, world),
        request_id_header="cf-ray",
    )


def _wrong_methods() -> list[Endpoint]:
    """Return what answers the paths there are under the methods they do not take."""
    paths = dict.fromkeys(path for _, path, _, _ in _ROUTES)
    taken = {(method, path) for method, path, _, _ in _ROUTES}
    return [
        Endpoint(method, path, "wrong_method", _not_allowed)
        for path in paths
        for method in _METHODS
        if (method, path) not in taken
    ]


async def _not_allowed(call: Call) -> Answer:
    return Answer(None, 405)


def _guarded(state: LambdaState, edge: Edge, handler: TenantHandler) -> Handler:
    """Return a handler that lets a request through the edge, then asks for its key, then answers."""

    async def answer(call: Call) -> Answer:
        refusal = edge.refusal(call)
        if refusal is not None:
            return refusal
        key = _key_in(call.request.headers.get("authorization", ""))
        if not key:
            raise ApiError(401, "global/invalid-api-key", "No API key was provided.")
        tenant = state.tenant(key)
        if tenant is None:
            raise ApiError(401, "global/invalid-api-key", "API key was invalid, expired, or deleted.")
        if call.fires("account_inactive"):
            raise ApiError(403, "global/account-inactive", "Your account is inactive.")
        if call.fires("provider_unavailable"):
            status = int(call.world.faults.choice("provider_error_status"))
            raise ApiError(status, "provider/internal-unavailable", "Provider unavailable")
        return await handler(call, tenant)

    return answer


def _key_in(authorization: str) -> str:
    """Return the key: after Bearer, as the user name of Basic, or bare after the word Basic. Empty when there is none."""
    scheme, _, rest = authorization.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer":
            return rest
        case "basic":
            try:
                decoded = base64.b64decode(rest, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return rest
            return decoded.partition(":")[0]
    return ""
