"""Deployments: order, read, list, act upon, delete."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.huddle import render
from gputui.sim.huddle.data import VOLUME_TYPES, Image, image_of, place_of
from gputui.sim.huddle.fields import (
    bad,
    body_of,
    conflict,
    not_found,
    optional_text,
    query_whole,
    text,
    texts,
    whole,
)
from gputui.sim.huddle.state import PROVIDER, StoredVolume, Tenant
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.world import Order, OutOfCapacity, World, WrongState

MINIMUM_BALANCE_USD = Decimal(20)
MINIMUM_S = 600
TICK_S = 600
DEFAULT_OS_VOLUME_GB = 50

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_ACTIONS = {
    "start": World.power_on,
    "boot": World.power_on,
    "stop": World.power_off,
    "shutdown": World.power_off,
    "force_shutdown": World.power_off,
    "restart": World.restart,
    "reboot": World.restart,
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """A deploy request that has been read and makes sense."""

    cluster_type: str
    image: Image
    hostname: str
    ssh_key_ids: tuple[str, ...]
    location: str
    volumes: tuple[StoredVolume, ...]


async def deploy(call: Call, tenant: Tenant) -> Answer:
    machine = deploy_wish(tenant, body_of(call), call.operation)
    await asyncio.sleep(call.world.faults.number("deploy_s"))
    return render.ok(_shown(call, machine))


def deploy_wish(tenant: Tenant, body: dict[str, Any], operation: str) -> SimMachine:
    """Order the machine a deploy body asks for. Raises ApiError: 400, then 402, then 409."""
    world = tenant.world
    wish = _read(tenant, body)
    balance_usd = world.balance_usd(tenant.account)
    if balance_usd < MINIMUM_BALANCE_USD:
        raise ApiError(
            402,
            "INSUFFICIENT_CREDITS",
            f"GPU credits too low: balance ${balance_usd:.2f}, at least ${MINIMUM_BALANCE_USD:.2f} needed",
        )
    order = Order(
        account=tenant.account,
        instance_type=wish.cluster_type,
        region=wish.location,
        label=wish.hostname,
        operation=operation,
        authorized_keys=tuple(tenant.ssh_keys[key_id].line for key_id in wish.ssh_key_ids),
        details={
            "provider_id": world.new_id(),
            "image": wish.image.image_type,
            "os_name": wish.image.os_name,
            "ssh_key_ids": wish.ssh_key_ids,
        },
        minimum_s=MINIMUM_S,
        tick_s=TICK_S,
    )
    try:
        machine = world.order(order)
    except OutOfCapacity as error:
        raise conflict(str(error)) from None
    for volume in wish.volumes:
        volume.machine = machine
        volume.is_stuck = not volume.is_os_volume and world.faults.fires("volume_stuck_attaching", operation)
        tenant.volumes[volume.id] = volume
    return machine


async def get(call: Call, tenant: Tenant) -> Answer:
    return render.ok(_shown(call, _find(call, tenant)))


async def list_all(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /deployments`: newest first, by cursor, deleted ones only when asked for by status."""
    wanted, limit = call.query("status"), query_whole(call, "limit", 20, 100)
    call.world.settle()
    shown = [item for machine in reversed(tenant.account.machines) if (item := _listed(call, machine, wanted))]
    start = _after_cursor(shown, call.query("cursor"))
    items = shown[start : start + limit]
    has_more = start + limit < len(shown)
    cursor = base64.b64encode(json.dumps({"id": items[-1]["id"]}).encode()).decode() if has_more else ""
    name = call.world.faults.choice("cursor_name")
    return render.page(call.world.faults, items, total=len(shown), has_more=has_more, **{name: cursor})


async def delete(call: Call, tenant: Tenant) -> Answer:
    machine = _find(call, tenant)
    if not machine.is_alive(call.world.now_ms()):
        raise not_found("deployment", machine.id)
    call.world.delete(machine, call.operation)
    match call.world.faults.choice("delete_body"):
        case "empty":
            return Answer(None)
        case "ok":
            return Answer({"code": "OK"})
    return render.ok(render.deployment(machine, "deleted", call.world.faults, call.world.now_ms()))


async def act(call: Call, tenant: Tenant) -> Answer:
    machine = _find(call, tenant)
    action = text(body_of(call), "action")
    if action not in call.world.faults.words("action_words"):
        raise bad(f"unknown action {action}")
    if action == "delete":
        return await delete(call, tenant)
    try:
        _ACTIONS[action](call.world, machine)
    except WrongState as error:
        raise conflict(f"cannot {action}: {error}") from None
    return render.ok(_shown(call, machine))


def _find(call: Call, tenant: Tenant) -> SimMachine:
    call.world.settle()
    machine = call.world.machines.get(call.path["id"])
    if machine is None or machine.account_id != tenant.account.id or not call.world.is_readable(machine):
        raise not_found("deployment", call.path["id"])
    return machine


def _shown(call: Call, machine: SimMachine, life: Life | None = None) -> dict[str, Any]:
    now_ms, faults = call.world.now_ms(), call.world.faults
    if call.fires("unknown_state"):
        status = faults.words("unknown_state_word")[0]
    else:
        status = render.status_of(machine, life or machine.life(now_ms), faults)
    return render.deployment(machine, status, faults, now_ms)


def _listed(call: Call, machine: SimMachine, wanted: str | None) -> dict[str, Any] | None:
    life = call.world.listed_life(machine)
    if life is None or (life is Life.DELETED and (wanted is None or not call.world.is_readable(machine))):
        return None
    status = render.status_of(machine, life, call.world.faults)
    return _shown(call, machine, life) if wanted in (None, status) else None


def _after_cursor(items: list[dict[str, Any]], cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        last_id = json.loads(base64.b64decode(cursor, validate=True))["id"]
    except (ValueError, KeyError, TypeError):
        raise bad("cursor is not valid") from None
    return next((place + 1 for place, item in enumerate(items) if item["id"] == last_id), len(items))


def _read(tenant: Tenant, body: dict[str, Any]) -> _Wish:
    cluster_type = text(body, "cluster_type")
    image_name, hostname, location = text(body, "image"), text(body, "hostname"), text(body, "location")
    ssh_key_ids = texts(body, "ssh_key_ids")
    optional_text(body, "description")
    if cluster_type not in tenant.world.catalogue(PROVIDER).types:
        raise bad(f"unknown cluster_type {cluster_type}")
    image = image_of(image_name)
    if image is None or image.is_cluster:
        raise bad(f"image {image_name} cannot be used with {cluster_type}")
    if not _HOSTNAME.fullmatch(hostname):
        raise bad("hostname must be 1 to 255 letters, digits, dots and hyphens")
    if place_of(location) is None:
        raise bad(f"unknown location {location}")
    for key_id in ssh_key_ids:
        if key_id not in tenant.ssh_keys:
            raise bad(f"unknown ssh key {key_id}")
    return _Wish(
        cluster_type, image, hostname, tuple(ssh_key_ids), location, _volumes(tenant, body, hostname, location)
    )


def _volumes(tenant: Tenant, body: dict[str, Any], hostname: str, location: str) -> tuple[StoredVolume, ...]:
    os_volume, extra = body.get("os_volume"), body.get("volumes")
    if not isinstance(os_volume, dict | None):
        raise bad("os_volume must be an object")
    os_volume = {"name": f"{hostname}-os", "size": DEFAULT_OS_VOLUME_GB, **(os_volume or {})}
    if not isinstance(extra, list | None) or not all(isinstance(item, dict) for item in extra or ()):
        raise bad("volumes must be a list of objects")
    first = new_volume(tenant, {**os_volume, "type": "NVMe"}, location, least_gb=50, most_gb=512)
    first.is_os_volume = True
    return (first, *(new_volume(tenant, item, location) for item in extra or ()))


def new_volume(
    tenant: Tenant, body: dict[str, Any], location: str, *, least_gb: int = 10, most_gb: int = 10_000
) -> StoredVolume:
    """Return the volume a body asks for, not yet kept. Raises ApiError 400."""
    kind = text(body, "type")
    if not any(item.type == kind and item.is_offered for item in VOLUME_TYPES):
        raise bad(f"volume type {kind} is not offered")
    size_gb = whole(body, "size", least_gb, most_gb)
    return StoredVolume(tenant.world.new_id(), text(body, "name"), size_gb, kind, location, tenant.world.now_ms())
