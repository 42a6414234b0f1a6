"""Instances that exist: list, read, rename, terminate, restart."""

from __future__ import annotations

from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.errors import missing
from gputui.sim.lambda_.fields import body_of, optional_text, texts
from gputui.sim.lambda_.state import Tenant
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine


async def list_all(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /instances`: all of them at once. None belongs to a cluster."""
    _check_allowed(call)
    call.world.settle()
    if call.query("cluster_id") is not None:
        return render.ok([])
    shown = [_listed(call, machine) for machine in tenant.account.machines]
    return render.ok([item for item in shown if item is not None])


async def get(call: Call, tenant: Tenant) -> Answer:
    _check_allowed(call)
    return render.ok(_shown(call, _find(call, tenant, call.path["id"])))


async def rename(call: Call, tenant: Tenant) -> Answer:
    machine = _find(call, tenant, call.path["id"])
    name = optional_text(body_of(call), "name", most=64)
    if name is not None:
        machine.label = name
    return render.ok(_shown(call, machine))


async def terminate(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /instance-operations/terminate`: all of the instances or, if one does not exist, none."""
    machines = _named_in(call, tenant)
    for machine in machines:
        if machine.life(call.world.now_ms()) is not Life.DELETING:
            tenant.record("instance", "terminated", machine.id)
        call.world.delete(machine, call.operation)
    return render.ok({"terminated_instances": [_shown(call, machine, "terminating") for machine in machines]})


async def restart(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /instance-operations/restart`: all of the instances or, if one cannot be, none."""
    world, machines = call.world, _named_in(call, tenant)
    now_ms = world.now_ms()
    for machine in machines:
        startable = machine.life(now_ms) in (Life.RUNNING, Life.OFFLINE, Life.ERROR)
        if not startable or render.is_restarting(machine, now_ms):
            raise ApiError(409, "global/conflict", "The request conflicts with the current state of the resource.")
    back_ms = now_ms + round(world.faults.number("power_s") * 1000)
    for machine in machines:
        off = Life.OFFLINE if machine.life(now_ms) is Life.RUNNING else machine.life(now_ms)
        machine.replan(now_ms, (now_ms, off), (back_ms, Life.RUNNING))
    return render.ok({"restarted_instances": [_shown(call, machine) for machine in machines]})


def _check_allowed(call: Call) -> None:
    if call.fires("forbidden"):
        raise ApiError(403, "global/forbidden", "You are not allowed to see these instances.")


def _named_in(call: Call, tenant: Tenant) -> list[SimMachine]:
    """Return the living instances that a body names, each once. Raises ApiError when one of them is not there."""
    ids = dict.fromkeys(texts(body_of(call), "instance_ids"))
    machines = [_find(call, tenant, machine_id) for machine_id in ids]
    if not all(machine.is_alive(call.world.now_ms()) for machine in machines):
        raise _no_instance()
    return machines


def _find(call: Call, tenant: Tenant, machine_id: str) -> SimMachine:
    call.world.settle()
    machine = call.world.machines.get(machine_id)
    if machine is None or machine.account_id != tenant.account.id or not _is_readable(call, machine):
        raise _no_instance()
    return machine


def _is_readable(call: Call, machine: SimMachine) -> bool:
    now_ms = call.world.now_ms()
    ended_ms = machine.ended_ms(now_ms)
    lasts_ms = round(call.world.faults.number("terminated_readable_s") * 1000)
    return call.world.is_readable(machine) and (ended_ms is None or now_ms < ended_ms + lasts_ms)


def _listed(call: Call, machine: SimMachine) -> dict[str, Any] | None:
    world = call.world
    life = world.listed_life(machine)
    if life is None:
        return None
    keeps_ended = world.faults.flag("terminated_listed") and _is_readable(call, machine)
    if life in (Life.DELETED, Life.NO_CAPACITY) and not keeps_ended:
        return None
    return _shown(call, machine, render.status_of(machine, life, world.faults, world.now_ms()))


def _shown(call: Call, machine: SimMachine, status: str | None = None) -> dict[str, Any]:
    now_ms, faults = call.world.now_ms(), call.world.faults
    if call.fires("unknown_state"):
        status = faults.words("unknown_state_word")[0]
    shown = status or render.status_of(machine, machine.life(now_ms), faults, now_ms)
    return render.instance(machine, shown, faults, now_ms)


def _no_instance() -> ApiError:
    return missing("Specified instance does not exist.")
