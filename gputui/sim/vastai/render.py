"""From what the world knows to the JSON object of an instance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gputui.sim.faults import Faults
from gputui.sim.gate import Call, Keyed
from gputui.sim.lives import Life
from gputui.sim.vastai.offers import breakdown, country_of
from gputui.sim.vastai.state import Contract, StoredSshKey, Tenant
from gputui.sim.vastai.volumes import is_mounted
from gputui.sim.workload import gpu_figures, pull_lines

STORED_COLUMNS = frozenset(
    {
        "id", "machine_id", "host_id", "actual_status", "intended_status", "cur_state", "next_state", "label", "image_uuid",
        "image_runtype", "gpu_name", "verification", "start_date", "end_date", "is_bid", "geolocation", "public_ipaddr",
    }
)  # fmt: skip
"""The columns that a list can be filtered and ordered by."""

_COPIED = (
    "machine_id", "host_id", "bundle_id", "hosting_type", "gpu_name", "num_gpus", "gpu_ram", "gpu_frac", "gpu_arch",
    "gpu_lanes", "gpu_mem_bw", "bw_nvlink", "cpu_name", "cpu_arch", "cpu_cores_effective", "cpu_ram", "disk_bw", "disk_name",
    "inet_up", "inet_down", "pci_gen", "pcie_bw", "mobo_name", "os_version", "driver_version", "cuda_max_good", "compute_cap",
    "dlperf", "total_flops", "reliability2", "verification", "external", "static_ip", "webpage", "logo", "has_avx",
    "credit_discount_max",
)  # fmt: skip
_FIRST_PORT = 37_000
_PROXIES = 9


def instance(call: Call, tenant: Tenant, contract: Contract, life: Life) -> dict[str, Any]:
    """Return an instance that shows a state of its machine."""
    machine, fields, now_ms = contract.machine, contract.listing.fields, call.world.now_ms()
    faults = call.world.faults
    is_up = life is Life.RUNNING
    running_ms = machine.running_ms(now_ms)
    gpu, disk = float(contract.gpu_usd_per_hour), float(contract.storage_usd_per_hour)
    ports = _ports(contract) if is_up else {}
    host_ports = [int(item[0]["HostPort"]) for item in ports.values()]
    shown: dict[str, Any] = {
        "id": contract.id,
        **{name: fields[name] for name in _COPIED},
        "cpu_cores": fields["cpu_cores"] or int(fields["cpu_cores_effective"]),
        "gpu_totalram": fields["gpu_total_ram"],
        **_states(call, contract, life),
        "label": contract.label,
        "image_uuid": contract.image,
        "image_args": list(contract.args),
        "image_runtype": contract.runtype,
        "extra_env": [list(pair) for pair in contract.env],
        "onstart": contract.onstart,
        "template_id": None,
        "template_hash_id": None,
        "template_name": None,
        "jupyter_token": contract.jupyter_token,
        **_ssh(contract),
        "public_ipaddr": (machine.ip + ("\n" if faults.flag("address_newline") else ""))
        if running_ms is not None
        else None,
        "local_ipaddrs": "192.168.1.20 172.17.0.1 \n",
        "ports": Keyed(ports) if ports or faults.choice("ports_unset_shows") == "empty" else None,
        "direct_port_start": min(host_ports, default=-1),
        "direct_port_end": max(host_ports, default=-1),
        "direct_port_count": fields["direct_port_count"] if is_up else -1,
        "start_date": machine.created_ms / 1000,
        "end_date": contract.end_ms / 1000,
        "duration": (contract.end_ms - now_ms) / 1000,
        "time_remaining": _span(contract.end_ms - now_ms),
        "time_remaining_isbid": "",
        "uptime_mins": round((now_ms - machine.since_ms(now_ms)) / 60_000, 2) if is_up else None,
        **_use(contract, is_up, now_ms),
        "disk_space": contract.disk_gb,
        **traffic(contract, now_ms),
        "inet_up_cost": float(contract.listing.up_usd_per_gb),
        "inet_down_cost": float(contract.listing.down_usd_per_gb),
        "dph_base": gpu,
        "dph_total": gpu + disk,
        "min_bid": float(contract.listing.bid_floor_usd),
        "is_bid": contract.is_bid,
        "storage_cost": float(contract.listing.storage_usd_per_gb_month),
        "storage_total_cost": disk,
        "vram_costperhour": gpu / (fields["gpu_total_ram"] / 1024),
        "dlperf_per_dphtotal": fields["dlperf"] / (gpu + disk),
        "flops_per_dphtotal": fields["total_flops"] / (gpu + disk),
        "score": fields["dlperf"] / (gpu + disk) * fields["reliability"],
        "search": breakdown(gpu, disk),
        "instance": breakdown(gpu if is_up else 0, disk),
        "credit_balance": None,
        "credit_discount": None,
        "client_run_time": 1.0,
        "host_run_time": 1.0,
        "geolocation": fields["geolocation"] or "",
        "country_code": country_of(fields["geolocation"]),
        "rentable": True,
    }
    if call.fires("unknown_state"):
        shown["actual_status"] = faults.words("unknown_state_word")[0]
    return shown


def volume_info(tenant: Tenant, contract: Contract) -> list[dict[str, Any]]:
    """Return the volumes of an instance, which only the list shows."""
    mounted = [item for item in tenant.volumes.values() if item.contract is contract and is_mounted(item, tenant)]
    return [
        {
            "id": item.id,
            "label": item.name,
            "created_from": item.listing.volume_ask_id,
            "avail_space": item.size_gb,
            "total_space": item.size_gb,
            "type": "machine",
        }
        for item in mounted
    ]


def traffic(contract: Contract, now_ms: int) -> dict[str, float]:
    """Return the GB of traffic billed so far."""
    hours = _running_hours(contract, now_ms)
    pulled = sum(gb for at, gb in contract.pulls if at <= now_ms)
    return {
        "inet_up_billed": contract.up_gb_per_hour * hours,
        "inet_down_billed": pulled + contract.down_gb_per_hour * hours,
    }


def ssh_key(tenant: Tenant, key: StoredSshKey, *, member: str) -> dict[str, Any]:
    """Return an SSH key; `member` is what its text is called, which differs between calls."""
    stamp = datetime.fromtimestamp(key.created_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"id": key.id, "user_id": tenant.id, member: key.line, "created_at": stamp, "deleted_at": None}


def status_of(contract: Contract, life: Life, faults: Faults, now_ms: int) -> str | None:
    """Return Vast.ai's `actual_status` for a state of an instance's machine."""
    has_run = contract.machine.running_ms(now_ms) is not None
    match life:
        case Life.ORDERED:
            return None
        case Life.PROVISIONING:
            since_ms = contract.relaunched_ms
            is_old = since_ms is not None and now_ms < since_ms + faults.number("relaunch_s") * 1000
            return contract.relaunch_shows if is_old else "loading"
        case Life.RELEASED if contract.is_stop_stuck or (contract.is_image_missing and contract.relaunched_ms is None):
            return "loading"
        case Life.RELEASED:
            return faults.choice("stopped_shows")
        case Life.OFFLINE:
            return faults.choice("offline_shows")
        case Life.ERROR:
            return "exited" if has_run else "created"
    return "running"


def _states(call: Call, contract: Contract, life: Life) -> dict[str, Any]:
    now_ms = call.world.now_ms()
    is_stopped = life is Life.RELEASED
    wants_to_run = contract.waits_for == "start" if is_stopped else not contract.is_stop_wanted
    wanted = "running" if wants_to_run else "stopped"
    status = status_of(contract, life, call.world.faults, now_ms)
    return {
        "actual_status": status,
        "intended_status": wanted,
        "cur_state": "stopped" if is_stopped else "running",
        "next_state": wanted,
        "status_msg": _message(contract, life, status, now_ms),
    }


def _message(contract: Contract, life: Life, status: str | None, now_ms: int) -> str | None:
    image = contract.image
    if contract.is_image_missing and life in (Life.PROVISIONING, Life.RELEASED):
        return f"Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown\n"
    if status == "created":
        return (
            "Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create "
            "failed: runc create failed: unable to start container process\n"
        )
    if status == "loading":
        return _pull_line(contract, now_ms)
    if life in (Life.RUNNING, Life.RELEASED) and contract.machine.running_ms(now_ms) is not None:
        return f"success, running {image.replace(':', '_')}/{'ssh' if contract.has_ssh else 'args'}\n"
    return None


def _pull_line(contract: Contract, now_ms: int) -> str:
    """Return what the image pull prints at this moment of loading."""
    machine = contract.machine
    begun_ms = machine.since_ms(now_ms)
    ends_ms = next((at for at, _ in machine.timeline if at > now_ms), now_ms + 1)
    lines = pull_lines(contract.image)
    done = min(len(lines) - 1, len(lines) * (now_ms - begun_ms) // max(1, ends_ms - begun_ms))
    return f"{lines[done][1]}\n"


def _ports(contract: Contract) -> dict[str, list[dict[str, str]]]:
    """Return what is mapped to the host: port 22 (and Jupyter's) of a direct instance, and those its options ask for."""
    inside: list[str] = []
    if contract.is_direct and contract.listing.fields["direct_port_count"] > 1:
        inside += ["22/tcp", *(["8080/tcp"] if contract.has_jupyter else [])]
    for name, _ in contract.env:
        if name.startswith("-p "):
            port, _, protocol = name.rpartition(":")[2].partition("/")
            inside.append(f"{port}/{protocol or 'tcp'}")
    return {item: _mapping(contract, number, item) for number, item in enumerate(dict.fromkeys(inside))}


def _mapping(contract: Contract, number: int, inside: str) -> list[dict[str, str]]:
    port = _direct_ssh_port(contract) if inside == "22/tcp" else _first_port(contract) + 1 + number
    return [{"HostIp": address, "HostPort": str(port)} for address in ("0.0.0.0", "::")]  # noqa: S104


def _first_port(contract: Contract) -> int:
    return _FIRST_PORT + contract.id * 17 % 20_000


def _direct_ssh_port(contract: Contract) -> int:
    """Return where the machine's sshd is reached: a real port where the simulator listens on real addresses."""
    return contract.machine.ssh_port or _first_port(contract)


def _ssh(contract: Contract) -> dict[str, Any]:
    """Return the proxy's address. Of an instance with Jupyter clients add one to the port."""
    number = 1 + contract.id % _PROXIES
    is_real = contract.machine.ssh_port is not None
    port = contract.machine.ssh_port or 10_000 + contract.id % 20_000
    return {
        "ssh_host": contract.machine.ip if is_real else f"ssh{number}.vast.ai",
        "ssh_idx": str(number),
        "ssh_port": port - 1 if contract.has_jupyter else port,
        "machine_dir_ssh_port": _direct_ssh_port(contract),
    }


def _use(contract: Contract, is_up: bool, now_ms: int) -> dict[str, Any]:
    util, used_mib, _, _ = gpu_figures(None, now_ms)
    memory_gb = round(contract.listing.fields["cpu_ram"] * contract.listing.fields["gpu_frac"] / 1024, 1)
    return {
        "gpu_util": float(util) if is_up else None,
        "gpu_temp": 38.0 if is_up else None,
        "cpu_util": 0.3 if is_up else 0.0,
        "mem_limit": memory_gb if is_up else None,
        "mem_usage": 1.2 if is_up else None,
        "vmem_usage": round(used_mib / 1024, 4) if is_up else None,
        "disk_util": -1.0,
        "disk_usage": -1.0,
    }


def _running_hours(contract: Contract, now_ms: int) -> float:
    timeline = [(at, life) for at, life in contract.machine.timeline if at <= now_ms]
    ends = [at for at, _ in timeline[1:]] + [now_ms]
    total_ms = sum(end - at for (at, life), end in zip(timeline, ends, strict=True) if life is Life.RUNNING)
    return total_ms / 3_600_000


def _span(ms: int) -> str:
    hours = max(0, ms) // 3_600_000
    days, hours = divmod(hours, 24)
    months, days = divmod(days, 30)
    return " ".join(f"{count} {unit}" for count, unit in ((months, "Mon"), (days, "D"), (hours, "Hr")) if count)
