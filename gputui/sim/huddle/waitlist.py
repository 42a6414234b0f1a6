"""The waitlist: requests for sold-out types, told of or deployed for when capacity comes back.

Statuses after `waiting` are not documented. Chosen here: `notified`, `fulfilled`, `failed`, `cancelled`. A request that
cannot deploy for lack of balance or because the capacity is gone again keeps waiting. Like everything in the world this
happens when somebody looks.
"""

from __future__ import annotations

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.huddle import render
from gputui.sim.huddle.data import place_of
from gputui.sim.huddle.deployments import deploy_wish
from gputui.sim.huddle.fields import bad, body_of, boolean, conflict, not_found, optional_text, text
from gputui.sim.huddle.market import free_places
from gputui.sim.huddle.state import PROVIDER, HuddleState, Tenant, WaitRequest


async def create(call: Call, tenant: Tenant) -> Answer:
    body, now_ms = body_of(call), call.world.now_ms()
    cluster_type, location = text(body, "cluster_type"), optional_text(body, "location")
    auto_deploy, config = boolean(body, "auto_deploy", False), body.get("config")
    if cluster_type not in call.world.catalogue(PROVIDER).types:
        raise bad(f"unknown cluster_type {cluster_type}")
    if location and place_of(location) is None:
        raise bad(f"unknown location {location}")
    if auto_deploy and not isinstance(config, dict):
        raise bad("config is required with auto_deploy")
    saved = dict(config) if auto_deploy and isinstance(config, dict) else None
    stored = WaitRequest(call.world.new_id(), cluster_type, location, auto_deploy, saved, now_ms, now_ms)
    tenant.waitlist[stored.id] = stored
    return render.ok(render.wait_request(stored))


async def list_all(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.wait_request(item) for item in tenant.waitlist.values()])


async def cancel(call: Call, tenant: Tenant) -> Answer:
    stored = tenant.waitlist.get(call.path["id"])
    if stored is None:
        raise not_found("request", call.path["id"])
    if stored.status != "waiting":
        raise conflict(f"the request is {stored.status}")
    _move(tenant, stored, "cancelled")
    return render.ok(render.wait_request(stored))


def advance(state: HuddleState) -> None:
    """Serve every waiting request, first come first served, with the capacity there is now."""
    waiting = [
        (item, tenant) for tenant in state.tenants() for item in tenant.waitlist.values() if item.status == "waiting"
    ]
    for item, tenant in sorted(waiting, key=lambda pair: pair[0].created_ms):
        places = [place.code for place in free_places(state.world, item.cluster_type)]
        if item.location:
            places = [code for code in places if code == item.location]
        if not places:
            continue
        if item.config is None:
            _move(tenant, item, "notified")
        else:
            _deploy(tenant, item, places[0])


def _deploy(tenant: Tenant, item: WaitRequest, free_place: str) -> None:
    body = {"location": free_place, **(item.config or {}), "cluster_type": item.cluster_type}
    try:
        deploy_wish(tenant, body, f"{PROVIDER}.auto_deploy")
    except ApiError as error:
        if error.status == 400:
            _move(tenant, item, "failed")
        return
    _move(tenant, item, "fulfilled")


def _move(tenant: Tenant, item: WaitRequest, status: str) -> None:
    item.status, item.updated_ms = status, tenant.world.now_ms()
