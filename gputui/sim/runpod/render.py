"""From what the world knows to the JSON objects of the RunPod API."""

from __future__ import annotations

from typing import Any

from gputui.sim import workload
from gputui.sim.faults import Faults
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.runpod import money
from gputui.sim.runpod.container import Run, job_of, run_at
from gputui.sim.runpod.data import COMMUNITY
from gputui.sim.runpod.stamps import stamp
from gputui.sim.runpod.state import Pod, Volume
from gputui.sim.world import World

ACTIONS = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
    "TERMINATED": (),
}
_STATUSES = {
    Life.ORDERED: "PROVISIONING",
    Life.PROVISIONING: "STARTING",
    Life.RUNNING: "RUNNING",
    Life.RELEASED: "EXITED",
    Life.ERROR: "ERROR",
}
_SSH = "22/tcp"


def status_of(machine: SimMachine, life: Life, faults: Faults) -> str:
    """Return RunPod's word for a state."""
    if life is Life.OFFLINE:
        return "EXITED" if faults.choice("runpod_offline_shows") == "exited" else "RUNNING"
    return _STATUSES.get(life, "TERMINATED")


def pod(item: Pod, world: World, life: Life | None = None) -> dict[str, Any]:
    """Return a Pod, in its present state unless another one is to be shown."""
    faults, now_ms, machine = world.faults, world.now_ms(), item.machine
    life = life or machine.life(now_ms)
    status = status_of(machine, life, faults)
    run = run_at(item, now_ms) if life is Life.RUNNING else None
    is_mapped = run is not None and _is_mapped(item, run, world)
    settings = item.now
    september = faults.choice("runpod_api") == "september"
    gpu: dict[str, Any] = {"id": item.gpu.id, "count": item.count}
    cost = money.cost_usd(item, now_ms, faults.choice("runpod_cost_shows"))
    shown: dict[str, Any] = {
        "id": machine.id,
        "name": machine.label,
        "status": status,
        "actions": list(ACTIONS[status]),
        "image": settings.image,
        "args": settings.args,
        "disk": settings.disk_gb,
        "mounts": _mounts(item),
        "ports": list(settings.ports),
        "env": dict(settings.env),
        "registry": None,
        "gpu": gpu,
        "cloud": item.cloud,
        "dataCenterId": _data_center(item, world),
        "cudaVersion": item.cuda,
        "ssh": {
            "proxy": None if status == "PROVISIONING" else _proxy(item),
            "direct": _direct(item) if is_mapped and _SSH in settings.ports else None,
        },
        "template": None,
        "cost": 0.0 if status in ("EXITED", "TERMINATED") else round(float(cost), 6),
        "locked": item.is_locked,
        "globalNetworking": _global_network(item),
        "runtime": _runtime(item, run, world, is_mapped=is_mapped) if status == "RUNNING" else None,
        "createdAt": stamp(machine.created_ms),
        "startedAt": _started_at(machine, now_ms),
    }
    if september:
        gpu |= {"vcpuCount": item.gpu.vcpus * item.count, "memory": item.gpu.ram_gb * item.count}
        shown |= {"entrypoint": list(settings.entrypoint), "cmd": list(settings.cmd)}
    return shown


def volume(item: Volume) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "size": item.size_gb,
        "dataCenter": item.data_center,
        "type": item.kind,
    }


def _mounts(item: Pod) -> dict[str, Any]:
    if item.mount is None:
        return {}
    if item.mount.volume_id is None:
        return {"persistent": {"size": item.mount.size_gb, "path": item.mount.path}}
    return {"network": [{"volumeId": item.mount.volume_id, "path": item.mount.path}]}


def _data_center(item: Pod, world: World) -> str | None:
    placed_ms = next((at_ms for at_ms, life in item.machine.timeline if life is Life.PROVISIONING), None)
    if placed_ms is None or (item.cloud == COMMUNITY and world.faults.flag("runpod_placeless_community")):
        return None
    shown_ms = placed_ms + round(world.faults.number("runpod_placed_after_s") * 1000)
    return item.machine.region if world.now_ms() >= shown_ms else None


def _started_at(machine: SimMachine, now_ms: int) -> str | None:
    starts = [at_ms for at_ms, life in machine.timeline if life is Life.RUNNING and at_ms <= now_ms]
    return stamp(starts[-1]) if starts else None


def _is_mapped(item: Pod, run: Run, world: World) -> bool:
    """Say whether the public ports of a container are there yet."""
    after_ms = round(world.faults.number("runpod_direct_after_s") * 1000)
    return item.has_public_ports and world.now_ms() >= run.start_ms + after_ms


def _proxy(item: Pod) -> dict[str, Any]:
    username = f"{item.machine.id}-{item.host_token}"
    return _endpoint("ssh.runpod.io", 22, username, f"ssh {username}@ssh.runpod.io")


def _direct(item: Pod) -> dict[str, Any]:
    host, port = item.machine.ip, _public_port(item, _SSH)
    return _endpoint(host, port, "root", f"ssh root@{host} -p {port}")


def _endpoint(host: str, port: int, username: str, command: str) -> dict[str, Any]:
    return {"host": host, "port": port, "username": username, "command": command}


def _public_port(item: Pod, port: str) -> int:
    """Return the public port of one of a pod's ports; that of its sshd is the one the machine really listens on."""
    if port == _SSH and item.machine.ssh_port is not None:
        return item.machine.ssh_port
    return item.public_port + item.now.ports.index(port)


def _global_network(item: Pod) -> dict[str, Any]:
    if not item.has_global_network:
        return {"enabled": False}
    number = int(item.host_token, 16)
    ip = f"10.65.{number >> 8 & 255}.{number & 255}"
    return {"enabled": True, "ip": ip, "internalDns": f"{item.machine.id}.runpod.internal"}


def _runtime(item: Pod, run: Run | None, world: World, *, is_mapped: bool) -> dict[str, Any] | None:
    if run is None:
        return {} if world.faults.choice("runpod_no_runtime_shows") == "empty" else None
    now_ms, job = world.now_ms(), job_of(run)
    busy, used_mib, total_mib, _ = workload.gpu_figures(None if job is None else job.run, now_ms)
    return {
        "uptime": (now_ms - run.start_ms) // 1000,
        "gpus": [{"util": busy, "memoryUtil": 100 * used_mib // total_mib} for _ in range(item.count)],
        "cpu": {"util": busy // 3},
        "memory": {"util": 4 + busy // 4},
        "ports": [_port(item, port) for port in item.now.ports] if is_mapped else [],
    }


def _port(item: Pod, port: str) -> dict[str, Any]:
    number, _, kind = port.partition("/")
    ip = item.machine.ip if kind == "tcp" else "100.65.14.7"
    return {"private": int(number), "public": _public_port(item, port), "type": kind, "ip": ip}
