"""Pods that exist: list, read, change, terminate, stop, start, restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.runpod import bodies, money, render
from gputui.sim.runpod.create import check_container, check_mounts, mount_in, new_port
from gputui.sim.runpod.errors import not_found, refused
from gputui.sim.runpod.fields import body_of
from gputui.sim.runpod.paging import paged
from gputui.sim.runpod.state import Mount, Pod, Restart, Tenant, exists, pod_of

_OF_CONTAINER = {"image", "args", "env", "ports", "disk", "cmd", "entrypoint", "mounts"}
_FEW_GPUS = "There are not enough free GPUs on the host machine to start this pod."


async def list_all(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /pods`, newest first. There are no cluster pods."""
    call.world.settle()
    shown = [_listed(call, machine) for machine in reversed(tenant.account.machines)]
    return paged(call, "pods", [item for item in shown if item is not None])


async def get(call: Call, tenant: Tenant) -> Answer:
    return Answer(_shown(call, find(call, tenant, also_terminated=True)))


async def delete(call: Call, tenant: Tenant) -> Answer:
    """Serve `DELETE /pods/{id}`: gone at once."""
    call.world.delete(find(call, tenant).machine, call.operation)
    return Answer(None, 204)


async def act(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /pods/{id}/action`."""
    action = body_of(call, bodies.POD_ACTION)["action"]
    pod = find(call, tenant)
    now_ms = call.world.now_ms()
    status = render.status_of(pod.machine, pod.machine.life(now_ms), call.world.faults)
    if action not in render.ACTIONS[status]:
        raise refused(f"action {action} is not valid for a pod with status {status}", 409)
    match action:
        case "terminate":
            call.world.delete(pod.machine, call.operation)
            return Answer(None, 204)
        case "stop":
            _stop(pod, now_ms)
        case "start":
            _start(call, pod, now_ms)
        case "restart":
            pod.restarts.append(Restart(now_ms + 1, call.world.faults.flag("runpod_restart_wipes_disk")))
    return Answer(_shown(call, pod))


async def change(call: Call, tenant: Tenant) -> Answer:
    """Serve `PATCH /pods/{id}`; other settings of the container make a new one."""
    faults, now_ms = call.world.faults, call.world.now_ms()
    body = body_of(call, bodies.update_pod(faults.choice("runpod_api")))
    pod = find(call, tenant)
    check_container(body)
    mount = _changed_mount(pod, body)
    if "name" in body:
        pod.machine.label = body["name"]
    pod.is_locked = body.get("locked", pod.is_locked)
    pod.has_global_network = body.get("globalNetworking", pod.has_global_network)
    if _OF_CONTAINER & body.keys():
        _remake(pod, mount, body, now_ms)
    return Answer(_shown(call, pod))


def find(call: Call, tenant: Tenant, *, also_terminated: bool = False) -> Pod:
    """Return the pod that a path names. Raises ApiError 404."""
    world = call.world
    world.settle()
    machine = world.machines.get(call.path["id"])
    if machine is None or machine.account_id != tenant.account.id or not world.is_readable(machine):
        raise not_found("pod")
    now_ms = world.now_ms()
    is_readable = also_terminated and _is_terminated_readable(call, machine)
    if not exists(machine, now_ms) and not is_readable:
        raise not_found("pod")
    return pod_of(machine)


def _is_terminated_readable(call: Call, machine: SimMachine) -> bool:
    now_ms = call.world.now_ms()
    lasts_ms = round(call.world.faults.number("runpod_terminated_readable_s") * 1000)
    return not machine.is_vanished(now_ms) and now_ms < machine.since_ms(now_ms) + lasts_ms


def _listed(call: Call, machine: SimMachine) -> dict[str, Any] | None:
    world = call.world
    now_ms, life = world.now_ms(), world.listed_life(machine)
    if life is Life.DELETING and world.faults.number("deleted_still_listed_s"):
        life = machine.life(machine.since_ms(now_ms) - 1)
    if life is None or (life is machine.life(now_ms) and not exists(machine, now_ms)):
        return None
    return _shown(call, pod_of(machine), life)


def _shown(call: Call, pod: Pod, life: Life | None = None) -> dict[str, Any]:
    shown = render.pod(pod, call.world, life)
    if call.fires("unknown_state"):
        shown["status"] = call.world.faults.words("unknown_state_word")[0]
    return shown


def _stop(pod: Pod, now_ms: int) -> None:
    if pod.is_locked:
        raise refused("pod is locked")
    pod.machine.replan(now_ms, (now_ms, Life.RELEASED))


def _start(call: Call, pod: Pod, now_ms: int) -> None:
    """Start a pod on its host, if that has the GPUs free. It gets other public ports."""
    world, machine = call.world, pod.machine
    is_full = (
        machine.life(now_ms) is Life.RELEASED
        and world.free(machine.provider, machine.instance.name, machine.region) < machine.units
    )
    if is_full or call.fires("runpod_start_refused"):
        raise ApiError(int(world.faults.choice("runpod_refused_start_status")), "", _FEW_GPUS)
    runs_ms = now_ms + max(1, round(world.faults.number("power_s") * 1000))
    machine.replan(now_ms, (now_ms, Life.PROVISIONING), (runs_ms, Life.RUNNING))
    world.readdress(machine)
    pod.public_port = new_port(world)


def _changed_mount(pod: Pod, body: Mapping[str, Any]) -> Mount | None:
    """Return the pod's storage as a body would have it. Raises ApiError 400 for what cannot be changed."""
    mounts = body.get("mounts") or {}
    check_mounts(body)
    if not mounts:
        return pod.mount
    wanted = mount_in(mounts)
    if wanted is None:
        raise refused("clearing mounts is not supported")
    if pod.mount is None or (pod.mount.volume_id is None) != (wanted.volume_id is None):
        raise refused("the kind of a pod's mount is fixed when it is created")
    if wanted.volume_id != pod.mount.volume_id:
        raise refused("the volumeId of a network mount cannot be changed")
    if wanted.size_gb < pod.mount.size_gb:
        raise refused("a persistent mount cannot be made smaller")
    return wanted


def _remake(pod: Pod, mount: Mount | None, body: Mapping[str, Any], now_ms: int) -> None:
    """Make the container anew with other settings, which take effect a moment later."""
    from_ms = now_ms + 1
    pod.mount = mount
    pod.settings.append(
        replace(
            pod.now,
            from_ms=from_ms,
            image=body.get("image", pod.now.image),
            args=body.get("args", pod.now.args),
            env=dict(body.get("env", pod.now.env)),
            ports=tuple(body.get("ports", pod.now.ports)),
            disk_gb=int(body.get("disk", pod.now.disk_gb)),
            entrypoint=tuple(body.get("entrypoint", pod.now.entrypoint)),
            cmd=tuple(body.get("cmd", pod.now.cmd)),
        )
    )
    pod.restarts.append(Restart(from_ms, wipes=True))
    disk_usd = money.disk_usd_per_hour(pod.now.disk_gb + pod.persistent_gb)
    more_usd = disk_usd - pod.disk_prices[-1][1]
    pod.disk_prices.append((from_ms, disk_usd))
    pod.machine.prices.append((from_ms, pod.machine.price_usd(now_ms) + more_usd))
