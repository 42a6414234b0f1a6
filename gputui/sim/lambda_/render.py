"""From what the world knows to the JSON objects of the Lambda API."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from gputui.sim.catalogue import InstanceType
from gputui.sim.faults import Faults
from gputui.sim.gate import Answer
from gputui.sim.lambda_.data import REGIONS, Image, architecture_of
from gputui.sim.lambda_.state import AuditEvent, StoredFilesystem, StoredRuleset, StoredSshKey, Tenant
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine

_GIB = 1 << 30
_IMAGES_MADE = "2026-06-02T17:20:11.000Z"
_ACTIONS = ("migrate", "rebuild", "restart", "cold_reboot", "terminate")
_REASONS = {
    "vm-has-not-launched": "The instance has not finished launching.",
    "vm-is-terminating": "The instance is being terminated.",
    "vm-action-in-progress": "Another action on the instance is still going on.",
}
_STATUSES = {
    Life.ORDERED: "booting",
    Life.PROVISIONING: "booting",
    Life.RUNNING: "active",
    Life.RELEASED: "preempted",
    Life.DELETING: "terminating",
    Life.DELETED: "terminated",
    Life.NO_CAPACITY: "terminated",
}


def ok(data: Any) -> Answer:
    """Return the success envelope."""
    return Answer({"data": data})


def stamp(ms: int, timespec: str = "milliseconds") -> str:
    """Return an ISO 8601 timestamp, UTC."""
    moment = datetime.fromtimestamp(ms / 1000, tz=UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def region(code: str) -> dict[str, Any]:
    return {"name": code, "description": REGIONS[code]}


def instance_type(item: InstanceType, usd_per_hour: Decimal, faults: Faults) -> dict[str, Any]:
    """Return an InstanceType at a price; the architecture is not documented but there."""
    count = f"{item.gpu_count}x {item.gpu}" if item.gpu_count else f"{item.vcpus}x CPU General ({item.ram_gib} GiB)"
    shown: dict[str, Any] = {
        "name": item.name,
        "description": count,
        "gpu_description": item.gpu or "N/A",
        "price_cents_per_hour": int((usd_per_hour * 100).to_integral_value(rounding=ROUND_HALF_UP)),
        "specs": {
            "vcpus": item.vcpus,
            "memory_gib": item.ram_gib,
            "storage_gib": item.storage_gib,
            "gpus": item.gpu_count,
        },
    }
    if faults.flag("undocumented_fields"):
        shown["architecture"] = architecture_of(item)
    return shown


def image(item: Image) -> dict[str, Any]:
    return {
        "id": item.id,
        "created_time": _IMAGES_MADE,
        "updated_time": _IMAGES_MADE,
        "name": item.name,
        "description": item.description,
        "family": item.family,
        "version": item.version,
        "architecture": item.architecture,
        "region": region(item.region),
    }


def is_restarting(machine: SimMachine, now_ms: int) -> bool:
    """Say whether a restart of an instance goes on: it is off or broken, and will run."""
    coming = any(at > now_ms and life is Life.RUNNING for at, life in machine.timeline)
    return coming and machine.life(now_ms) in (Life.OFFLINE, Life.ERROR)


def status_of(machine: SimMachine, life: Life, faults: Faults, now_ms: int) -> str:
    """Return Lambda's word for a state."""
    if life in _STATUSES:
        return _STATUSES[life]
    return faults.choice("restarting_shows") if is_restarting(machine, now_ms) else "unhealthy"


def instance(machine: SimMachine, status: str, faults: Faults, now_ms: int) -> dict[str, Any]:
    """Return an Instance that shows `status`. `ssh_port` is there only where the simulator listens for real."""
    details = machine.details
    ip = machine.ip if _has_address(machine, now_ms) else None
    has_run = machine.running_ms(now_ms) is not None
    token = details["jupyter_token"]
    unsure = {
        "name": machine.label or None,
        "ip": ip,
        "private_ip": ip and details["private_ip"],
        "hostname": details["hostname"] or _default_hostname(ip, faults),
        "jupyter_token": token if has_run else None,
        "jupyter_url": f"https://{details['jupyter_host']}.lambdaspaces.com/?token={token}" if has_run else None,
    }
    nulls = faults.choice("unset_shows") == "null"
    shown: dict[str, Any] = {
        "id": machine.id,
        **{name: value for name, value in unsure.items() if value is not None or nulls},
        "status": status,
        "ssh_key_names": list(details["ssh_key_names"]),
        "file_system_names": list(details["file_system_names"]),
        "region": region(machine.region),
        "instance_type": instance_type(machine.instance, machine.price_usd(now_ms), faults),
        "actions": {action: _availability(machine, action, now_ms) for action in _ACTIONS},
    }
    if details["mounts"]:
        shown["file_system_mounts"] = [
            {"mount_point": path, "file_system_id": filesystem_id} for filesystem_id, path in details["mounts"].items()
        ]
    if details["tags"]:
        shown["tags"] = [dict(tag) for tag in details["tags"]]
    if details["ruleset_ids"]:
        shown["firewall_rulesets"] = [{"id": ruleset_id} for ruleset_id in details["ruleset_ids"]]
    if faults.flag("undocumented_fields"):
        shown["is_reserved"] = False
    if ip and machine.ssh_port is not None:
        shown["ssh_port"] = machine.ssh_port
    return shown


def ssh_key(item: StoredSshKey, tenant: Tenant) -> dict[str, Any]:
    shown = {"id": item.id, "name": item.name, "public_key": item.text}
    documented = not tenant.world.faults.flag("undocumented_fields")
    return shown if documented else {**shown, "workspace_id": tenant.workspace_id}


def filesystem(item: StoredFilesystem, tenant: Tenant) -> dict[str, Any]:
    """Return a Filesystem; what lies on it is known only some time later."""
    world = tenant.world
    lag_ms = round(world.faults.number("filesystem_usage_lag_s") * 1000)
    shown = {
        "id": item.id,
        "name": item.name,
        "mount_point": item.mount_point,
        "created": stamp(item.created_ms),
        "created_by": {"id": tenant.user_id, "email": "sim@example.com", "status": "active"},
        "is_in_use": any(item.id in machine.details["mounts"] for machine in tenant.living()),
        "region": region(item.region),
    }
    if world.now_ms() >= item.created_ms + lag_ms:
        shown["bytes_used"] = round(item.used_gib * _GIB)
    return shown


def ruleset(item: StoredRuleset, tenant: Tenant) -> dict[str, Any]:
    users = [machine.id for machine in tenant.living() if item.id in machine.details["ruleset_ids"]]
    return {
        "id": item.id,
        "name": item.name,
        "region": region(item.region),
        "rules": item.rules,
        "created": stamp(item.created_ms),
        "instance_ids": users,
    }


def audit_event(item: AuditEvent, tenant: Tenant) -> dict[str, Any]:
    return {
        "service_name": "cloud",
        "resource_name": item.resource,
        "action": item.action,
        "catalog_version": "2025-09-06",
        "event_id": item.id,
        "event_time": stamp(item.at_ms, "microseconds"),
        "actor_lrn": f"lrn:cloud:identity:{tenant.user_id}",
        "resource_lrns": [f"lrn:cloud:{item.resource}:{item.resource_id}"],
        "resource_owner_lrn": f"lrn:cloud:account:{tenant.id}",
        "request_api_key_lrn": f"lrn:cloud:api_key:{tenant.api_key_id}",
        "additional_details": item.details,
    }


def _has_address(machine: SimMachine, now_ms: int) -> bool:
    """Say whether an instance got its address before whatever ended it."""
    address_ms = machine.details["address_ms"]
    ends = [at for at, life in machine.timeline if life in (Life.DELETING, Life.DELETED)]
    return address_ms is not None and address_ms <= min([now_ms, *ends])


def _default_hostname(ip: str | None, faults: Faults) -> str | None:
    match faults.choice("default_hostname"):
        case "ip":
            return ip
        case "dashed":
            return ip and ip.replace(".", "-")
    return None


def _availability(machine: SimMachine, action: str, now_ms: int) -> dict[str, Any]:
    life = machine.life(now_ms)
    reason = None
    if life in (Life.DELETING, Life.DELETED, Life.NO_CAPACITY):
        reason = "vm-is-terminating"
    elif action != "terminate" and life in (Life.ORDERED, Life.PROVISIONING):
        reason = "vm-has-not-launched"
    elif action != "terminate" and is_restarting(machine, now_ms):
        reason = "vm-action-in-progress"
    if reason is None:
        return {"available": True}
    return {"available": False, "reason_code": reason, "reason_description": _REASONS[reason]}
