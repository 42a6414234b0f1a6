"""Making a pod: what was sent, what it contradicts, whether there is credit, then whether there is a place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gputui.sim import workload
from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.runpod import bodies, money, render
from gputui.sim.runpod.container import argv_of
from gputui.sim.runpod.data import COMMUNITY, DATA_CENTERS, GPU_BY_ID, SECURE, GpuModel, pool_name
from gputui.sim.runpod.errors import NO_CAPACITY, not_found, refused
from gputui.sim.runpod.fields import body_of
from gputui.sim.runpod.state import PROVIDER, Mount, Pod, Settings, Tenant, new_id
from gputui.sim.world import Order, OutOfCapacity, World

HTTP_PORTS_MOST = 10

_PORT = re.compile(r"(?P<number>\d{1,6})/(http|tcp)")
_SYMMETRIC_PORT = 70_000


@dataclass(frozen=True, slots=True)
class _Wish:
    """A create request that makes sense. `centers` are those a pod may be placed in, best first."""

    name: str
    model: GpuModel
    count: int
    cloud: str
    cuda: str | None
    centers: Sequence[str]
    settings: Settings
    mount: Mount | None
    authorized_keys: tuple[str, ...]
    has_global_network: bool


async def create(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /pods`."""
    world = call.world
    body = body_of(call, bodies.create_pod(world.faults.choice("runpod_api")))
    _check_rules(body)
    wish = _wish(call, tenant, body)
    pod = _order(call, tenant, wish, _price_usd(world, wish))
    return Answer(render.pod(pod, world), 201)


def _check_rules(body: Mapping[str, Any]) -> None:
    """Check what fields have to do with one another. Raises ApiError 400, or 404 for a template."""
    if ("gpu" in body) == ("cpu" in body):
        raise refused("exactly one of gpu or cpu must be set")
    check_mounts(body)
    if "cpu" in body and "persistent" in body.get("mounts", {}):
        raise refused("mounts.persistent is not supported for CPU pods")
    gpu = body.get("gpu", {})
    if gpu.get("allowedCudaVersions") and "minCudaVersion" in gpu:
        raise refused("gpu.allowedCudaVersions and gpu.minCudaVersion are mutually exclusive")
    check_container(body)


def check_mounts(body: Mapping[str, Any]) -> None:
    mounts = body.get("mounts", {})
    if "persistent" in mounts and "network" in mounts:
        raise refused("mounts.persistent and mounts.network are mutually exclusive")


def check_container(body: Mapping[str, Any]) -> None:
    """Check what a body says of a container. Raises ApiError 400, or 404 for what is not there."""
    ports = body.get("ports", [])
    for port in ports:
        found = _PORT.fullmatch(port)
        number = int(found["number"]) if found else 0
        if not (0 < number <= 65_535 or number >= _SYMMETRIC_PORT):
            raise refused(f"invalid port: {port}")
    if sum(port.endswith("/http") for port in ports) > HTTP_PORTS_MOST:
        raise refused(f"at most {HTTP_PORTS_MOST} http ports are allowed")
    if body.get("templateId") is not None:
        raise not_found("template")
    if body.get("registry") is not None:
        raise refused("registry not found")
    if body.get("args") and (body.get("cmd") or body.get("entrypoint")):
        raise refused("args and cmd/entrypoint are mutually exclusive")


def _wish(call: Call, tenant: Tenant, body: Mapping[str, Any]) -> _Wish:
    if "cpu" in body:
        raise refused(NO_CAPACITY)
    world, gpu, cloud = call.world, body["gpu"], body.get("cloud", SECURE)
    model = GPU_BY_ID.get(gpu["id"])
    mount = mount_in(body.get("mounts", {}))
    centers = _centers(world, tenant, mount, cloud, body.get("dataCenterIds") or [])
    if model is None or not model.usd[cloud]:
        raise refused(NO_CAPACITY)
    count = int(gpu.get("count", 1))
    too_big = gpu.get("minRamPerGpu", 0) > model.ram_gb or gpu.get("minVcpuCountPerGpu", 0) > model.vcpus
    if count > model.max_count[cloud] or too_big:
        raise refused(NO_CAPACITY)
    stocked = [center for center in centers if center in model.stock[cloud]]
    stocked.sort(key=lambda center: world.free(PROVIDER, pool_name(model.id, cloud), center), reverse=True)
    env = dict(body.get("env", {}))
    if body.get("startSsh") and tenant.ssh_keys:
        env.setdefault("PUBLIC_KEY", "\n".join(tenant.ssh_keys))
    if body.get("startJupyter"):
        env.setdefault("JUPYTER_PASSWORD", new_id(world, 20))
    settings = Settings(
        world.now_ms(),
        body["image"],
        body.get("args", ""),
        env,
        tuple(body.get("ports", [])),
        int(body.get("disk") or world.faults.number("runpod_default_disk_gb")),
        tuple(body.get("entrypoint", [])),
        tuple(body.get("cmd", [])),
    )
    return _Wish(
        name=body["name"],
        model=model,
        count=count,
        cloud=cloud,
        cuda=_cuda(model, gpu),
        centers=stocked,
        settings=settings,
        mount=mount,
        authorized_keys=_authorized_keys(world, settings),
        has_global_network=body.get("globalNetworking", False),
    )


def mount_in(mounts: Mapping[str, Any]) -> Mount | None:
    """Return the storage that a body asks for."""
    if "persistent" in mounts:
        return Mount(mounts["persistent"]["path"], size_gb=int(mounts["persistent"]["size"]))
    for network in mounts.get("network", []):
        return Mount(network["path"], network["volumeId"])
    return None


def _centers(world: World, tenant: Tenant, mount: Mount | None, cloud: str, asked: Sequence[str]) -> list[str]:
    """Return the data centers a pod may be placed in: those asked for, else all, and where its network volume is."""
    centers = list(asked or DATA_CENTERS)
    if cloud == COMMUNITY and asked and world.faults.flag("runpod_placeless_community"):
        return []
    if mount is None or mount.volume_id is None:
        return centers
    volume = tenant.volumes.get(mount.volume_id)
    if volume is None or volume.deleted_ms is not None:
        raise refused("network volume not found")
    if cloud == COMMUNITY:
        raise refused("network volumes are only supported on secure cloud")
    return [center for center in centers if center == volume.data_center]


def _cuda(model: GpuModel, gpu: Mapping[str, Any]) -> str | None:
    """Return the CUDA version of the host. Raises ApiError when no free host has one that will do."""
    free = [version for version in model.cuda if version not in model.full_cuda]
    allowed, least = gpu.get("allowedCudaVersions"), gpu.get("minCudaVersion")
    fitting = [
        version
        for version in free
        if (not allowed or version in allowed) and (least is None or numbers(version) >= numbers(least))
    ]
    if (allowed or least) and not fitting:
        raise refused(NO_CAPACITY)
    return fitting[0] if fitting else None


def numbers(version: str) -> tuple[int, ...]:
    """Return a version so that it compares by number: 12.11 is above 12.2."""
    return tuple(int(part) for part in version.split("."))


def _authorized_keys(world: World, settings: Settings) -> tuple[str, ...]:
    """Return who may log in: nobody where no sshd runs."""
    argv = " ".join(argv_of(settings))
    is_default = not argv and settings.image.startswith(world.faults.words("runpod_sshd_images"))
    if not is_default and "sshd" not in argv and "/start.sh" not in argv:
        return ()
    text = settings.env.get("SSH_PUBLIC_KEY") or settings.env.get("PUBLIC_KEY", "")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _price_usd(world: World, wish: _Wish) -> tuple[Decimal, Decimal]:
    """Return dollars per hour of a pod's GPUs and of its disks."""
    gpus = world.list_price_usd(PROVIDER, pool_name(wish.model.id, wish.cloud)) * wish.count
    return gpus, money.disk_usd_per_hour(wish.settings.disk_gb + (wish.mount.size_gb if wish.mount else 0))


def _order(call: Call, tenant: Tenant, wish: _Wish, price: tuple[Decimal, Decimal]) -> Pod:
    world, faults = call.world, call.world.faults
    _check_funds(world, tenant, price[0] + price[1])
    start = faults.choice("runpod_billing_start")
    order = Order(
        account=tenant.account,
        instance_type=pool_name(wish.model.id, wish.cloud),
        region=_place(world, wish),
        label=wish.name,
        operation=call.operation,
        authorized_keys=wish.authorized_keys,
        tick_s=money.DRAWN_EVERY_S,
        machine_id=new_id(world, 14),
        units=wish.count,
        usd_per_hour=price[0] + price[1],
        billing_start=start,
        released_usd_per_hour=money.stopped_disk_usd_per_hour(wish.mount.size_gb if wish.mount else 0),
        charges_offline=False,
        charges_failed=False,
    )
    try:
        machine = world.order(order)
    except OutOfCapacity:
        raise refused(NO_CAPACITY) from None
    pod = _pod(call, wish, machine, price[1])
    machine.details["pod"] = pod
    secret = hashlib.sha256(f"{world.seed}:{machine.id}".encode()).hexdigest()
    machine.environ = {"RUNPOD_API_KEY": f"pod-{secret[:40]}", "RUNPOD_POD_ID": machine.id}
    return pod


def _place(world: World, wish: _Wish) -> str:
    if not wish.centers:
        raise refused(NO_CAPACITY)
    return wish.centers[0]


def _check_funds(world: World, tenant: Tenant, usd_per_hour: Decimal) -> None:
    """Refuse what the account cannot pay for an hour, or what takes it over its limit. Raises ApiError 402."""
    limit_usd = Decimal(str(world.faults.number("runpod_spend_limit_usd")))
    if tenant.usd_per_hour(world.now_ms()) + usd_per_hour > limit_usd:
        text = f"Renting this pod would put you over your current spending limit (${limit_usd:.2f}/hr)."
        raise ApiError(402, "", text)
    if world.faults.flag("runpod_needs_credit") and world.balance_usd(tenant.account) < usd_per_hour:
        raise ApiError(402, "", "Your account balance is insufficient to deploy this pod.")


def _pod(call: Call, wish: _Wish, machine: SimMachine, disk_usd: Decimal) -> Pod:
    world, faults = call.world, call.world.faults
    timeline = machine.timeline
    placed_ms = next(at for at, life in timeline if life is Life.PROVISIONING)
    # Whatever it ends in, its setup ends with the step after.
    set_up_ms = next(at for at, life in timeline if life not in (Life.ORDERED, Life.PROVISIONING))
    later_ms = round(faults.number("runpod_container_after_s") * 1000)
    after_ms: int | None = later_ms
    pull_ms = (placed_ms, set_up_ms + later_ms)
    if call.fires("runpod_stuck_host"):
        after_ms = later_ms + round(faults.number("runpod_stuck_s") * 1000)
        pull_ms = (set_up_ms + after_ms - later_ms, set_up_ms + after_ms)
    if workload.pull_error(wish.settings.image):
        after_ms = None
    restarts = call.fires("runpod_container_restarts")
    has_sshd = bool(wish.authorized_keys) and "22/tcp" in wish.settings.ports and after_ms is not None
    if machine.ssh_delay_ms is not None:
        machine.ssh_delay_ms = machine.ssh_delay_ms + (after_ms or 0) if has_sshd else None
    return Pod(
        machine=machine,
        gpu=wish.model,
        cloud=wish.cloud,
        settings=[wish.settings],
        mount=wish.mount,
        cuda=wish.cuda,
        host_token=f"6441{world.new_hex(4)}",
        disk_prices=[(machine.created_ms, disk_usd)],
        public_port=new_port(world),
        pull_ms=pull_ms,
        later_after_ms=later_ms,
        container_after_ms=after_ms,
        has_public_ports=not call.fires("runpod_no_public_port"),
        restart_every_ms=max(1, round(faults.number("runpod_restart_after_s") * 1000)),
        restart_times=round(faults.number("runpod_restart_times")) if restarts else 0,
        restart_wipes=faults.flag("runpod_restart_wipes_disk"),
        no_final_newline=call.fires("runpod_no_final_newline"),
        log_gap=faults.choice("runpod_log_gap_at") if call.fires("runpod_log_gap") else "",
        has_global_network=wish.has_global_network,
    )


def new_port(world: World) -> int:
    """Return a public port, another one each time."""
    return 10_000 + int(world.new_hex(4), 16) % 50_000
