"""Instances: create, read, list, start, stop, delete."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.tensordock import knobs, market, render
from gputui.sim.tensordock.data import WINDOWS_IMAGES, Host, host_of, place_of
from gputui.sim.tensordock.fields import body_of
from gputui.sim.tensordock.orders import Wish, read_wish
from gputui.sim.tensordock.state import Tenant, Vm, vm_of
from gputui.sim.world import Order, OutOfCapacity, WrongState

MINIMUM_BALANCE_USD = Decimal(1)

_NO_NODES = "No available nodes found"


async def create(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /instances`: the body is checked first, then the balance, then what is free."""
    wish = read_wish(tenant, body_of(call), call.world.faults)
    _check_balance(call, tenant)
    machine = _order(call, tenant, wish)
    await asyncio.sleep(call.world.faults.number(knobs.CREATE_S))
    return render.created(machine, call.world.faults)


async def get(call: Call, tenant: Tenant) -> Answer:
    return render.single(_shown(call, _find(call, tenant)), call.world.faults)


async def list_all(call: Call, tenant: Tenant) -> Answer:
    faults = call.world.faults
    items = []
    for machine in tenant.account.machines:
        life = call.world.listed_life(machine)
        if life not in (None, Life.DELETED, Life.NO_CAPACITY):
            items.append(render.listed(_shown(call, machine, life), faults))
    return render.instances(items, faults)


async def delete(call: Call, tenant: Tenant) -> Answer:
    call.world.delete(_find(call, tenant), call.operation)
    return render.deleted(call.world.faults)


async def start(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /instances/{id}/start`; refused with 400 when the GPU was released and is somebody else's now."""
    machine, world = _find(call, tenant), call.world
    status = _status(call, machine)
    if status not in ("stopped", "stoppeddisassociated"):
        said = "already running" if status == "running" else f"{status}, it must be stopped"
        raise _wrong_state(call, f"Instance is {said}")
    _check_balance(call, tenant)
    vm = vm_of(machine)
    try:
        if status == "stoppeddisassociated":
            _check_room(call, vm)
        world.power_on(machine)
    except OutOfCapacity:
        raise ApiError(400, "NO_ROOM", "The resources of this instance are not available") from None
    except WrongState:
        raise _wrong_state(call, "Instance is being deleted") from None
    if world.faults.flag(knobs.MOVES_ON_START):
        world.readdress(machine)
        vm.forwards = _assigned(call, vm.host, dict.fromkeys(vm.forwards, 0))
    return _acted(call, machine, "starting")


async def stop(call: Call, tenant: Tenant) -> Answer:
    machine, world = _find(call, tenant), call.world
    status = _status(call, machine)
    if status != "running":
        raise _wrong_state(call, f"Instance is {status}, therefore it cannot be stopped")
    try:
        world.power_off(machine, releases=world.faults.choice(knobs.STOP_END) == "stoppeddisassociated")
    except WrongState:
        raise _wrong_state(call, "Instance is not ready yet") from None
    return _acted(call, machine, "stopping")


def _order(call: Call, tenant: Tenant, wish: Wish) -> SimMachine:
    """Make the machine of a wish. Raises InBody when it cannot be had."""
    world = call.world
    host = _host_for(call, wish)
    if wish.wants_dedicated_ip and (not host.has_public_ips or call.fires(knobs.NO_PUBLIC_IP)):
        raise render.InBody(400, "NO_IP", "No available public IPs on hostnode")
    if call.fires(knobs.DEPLOYMENT_FAILS):
        raise render.InBody(400, "FAILED", "An unexpected error during deployment occurred")
    quote = market.quote(world, host, wish.size)
    vm = Vm(
        host=host,
        size=wish.size,
        compute_usd=quote.compute_usd,
        storage_usd=quote.storage_usd,
        image=wish.image,
        has_dedicated_ip=wish.wants_dedicated_ip,
        forwards=_assigned(call, host, wish.forwards),
        gets_address=not call.fires(knobs.NEVER_ADDRESSED),
    )
    order = Order(
        account=tenant.account,
        instance_type=host.type_name,
        region=host.id,
        label=wish.name,
        operation=call.operation,
        authorized_keys=(wish.key_line,) if wish.key_line else (),
        details={"vm": vm},
        tick_s=1,
        units=wish.size.gpus,
        usd_per_hour=quote.total_usd,
        billing_start=world.faults.choice(knobs.BILLING_START),
        released_usd_per_hour=quote.storage_usd,
    )
    try:
        machine = world.order(order)
    except OutOfCapacity:
        raise render.InBody(400, "NO_NODES", _NO_NODES) from None
    _go_wrong(call, machine, vm)
    return machine


def _go_wrong(call: Call, machine: SimMachine, vm: Vm) -> None:
    """Let a new machine have the troubles that create's answer does not tell of."""
    if call.fires(knobs.FORWARDS_DROPPED):
        vm.forwards = {}
    is_reachable = vm.gets_address and (vm.has_dedicated_ip or render.SSH_PORT in vm.forwards)
    if vm.image in WINDOWS_IMAGES or not is_reachable:
        machine.ssh_delay_ms = None
    if call.fires(knobs.STOPS_AFTER_CREATE):
        machine.replan(machine.created_ms, (machine.created_ms + 1000, Life.OFFLINE))


def _host_for(call: Call, wish: Wish) -> Host:
    """Return the host a wish lands on. Raises InBody."""
    place, host = place_of(wish.location_id), host_of(wish.hostnode_id)
    candidates = market.hosts_in(place) if place is not None else [host] if host is not None else []
    try:
        return market.pick_host(
            call.world, candidates, wish.model_id, wish.size, public_ip=wish.wants_dedicated_ip
        )  # fmt: skip
    except market.NoNodes:
        raise render.InBody(400, "NO_NODES", _NO_NODES) from None
    except market.AboveRatio:
        raise render.InBody(400, "RATIO", "ram per gpu exceeds ratio limit") from None


def _assigned(call: Call, host: Host, wanted: dict[int, int]) -> dict[int, int]:
    """Return forwards with external ports that are free on the host, those asked for where they are."""
    found: dict[int, int] = {}
    for inside, outside in wanted.items():
        found[inside] = market.external_port(call.world, host, outside, found.values())
    return found


def _check_room(call: Call, vm: Vm) -> None:
    """Raise OutOfCapacity when what a released machine needs beside its disk is no longer free on its host."""
    free = market.free_on(call.world, vm.host)
    if not market.fits(replace(free, storage_gb=vm.size.storage_gb), vm.size):
        raise OutOfCapacity


def _check_balance(call: Call, tenant: Tenant) -> None:
    if call.world.balance_usd(tenant.account) < MINIMUM_BALANCE_USD:
        raise render.InBody(400, "FUNDS", f"You need at least ${MINIMUM_BALANCE_USD} in your account")


def _find(call: Call, tenant: Tenant) -> SimMachine:
    machine = call.world.machines.get(call.path["id"])
    if (
        machine is None
        or machine.account_id != tenant.account.id
        or not machine.is_alive(call.world.now_ms())
        or not call.world.is_readable(machine)
    ):
        raise ApiError(404, "NOT_FOUND", "Instance not found")
    return machine


def _status(call: Call, machine: SimMachine) -> str:
    now_ms = call.world.now_ms()
    return render.status_of(machine, machine.life(now_ms), call.world.faults, now_ms)


def _shown(call: Call, machine: SimMachine, life: Life | None = None) -> dict[str, Any]:
    now_ms, faults = call.world.now_ms(), call.world.faults
    if call.fires("unknown_state"):
        status = faults.words("unknown_state_word")[0]
    else:
        status = render.status_of(machine, life or machine.life(now_ms), faults, now_ms)
    return render.instance(machine, status, faults, now_ms)


def _acted(call: Call, machine: SimMachine, act: str) -> Answer:
    vm = vm_of(machine)
    vm.act, vm.acted_ms = act, call.world.now_ms()
    return render.acted(machine, act, call.world.faults)


def _wrong_state(call: Call, text: str) -> ApiError:
    return ApiError(int(call.world.faults.choice(knobs.WRONG_STATE_CODE)), "WRONG_STATE", text)
