"""From what the world knows to the JSON objects of the Huddle API."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

from gputui.sim.faults import Faults
from gputui.sim.gate import Answer, ApiError
from gputui.sim.huddle.data import VOLUME_TYPES, Image, Place, VolumeType
from gputui.sim.huddle.state import StoredApiKey, StoredSshKey, StoredVolume, StoredWebhook, WaitRequest
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine

_HOURS_PER_MONTH = 730


def ok(data: Any) -> Answer:
    """Return the success envelope."""
    return Answer({"code": "OK", "data": data})


def failed(error: ApiError) -> Answer:
    """Return the error envelope."""
    return Answer({"code": error.code, "error": error.text}, error.status)


def page(faults: Faults, items: list[dict[str, Any]], **meta: Any) -> Answer:
    """Return a list with its meta, nested one level down or flat as the knob says."""
    listed = {"data": items, "meta": meta}
    return Answer({"code": "OK", **listed} if faults.flag("flat_lists") else {"code": "OK", "data": listed})


def stamp(ms: int) -> str:
    """Return an RFC 3339 timestamp in whole seconds, UTC."""
    return datetime.fromtimestamp(ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def place(item: Place) -> dict[str, Any]:
    return {"code": item.code, "name": item.name, "country_code": item.country_code}


def image(item: Image) -> dict[str, Any]:
    return {
        "id": item.id,
        "image_type": item.image_type,
        "name": item.name,
        "details": list(item.details),
        "is_default": item.is_default,
        "is_cluster": item.is_cluster,
        "category": "ubuntu",
    }


def status_of(machine: SimMachine, life: Life, faults: Faults) -> str:
    """Return Huddle's word for a state."""
    if life is Life.DELETING and faults.choice("deleting_shows") == "previous":
        life = next(life for _, life in reversed(machine.timeline) if life not in (Life.DELETED, Life.DELETING))
    return "failed_no_capacity" if life is Life.NO_CAPACITY else life.value


def deployment(machine: SimMachine, status: str, faults: Faults, now_ms: int) -> dict[str, Any]:
    """Return a Deployment that shows `status`. `ssh_port` is there only where the simulator listens for real."""
    instance, details = machine.instance, machine.details
    has_address = machine.running_ms(now_ms) is not None
    shown: dict[str, Any] = {
        "id": machine.id,
        "provider_id": details["provider_id"] if machine.life(now_ms) is not Life.ORDERED else "",
        "resource_type": "cluster",
        "hostname": machine.label,
        "cluster_type": instance.name,
        "image": details["image"],
        "os_name": details["os_name"],
        "location": machine.region,
        "status": status,
        "ssh_user": "root",
        "ssh_key_ids": list(details["ssh_key_ids"]),
        "specs": {
            "gpu_model": instance.gpu,
            "gpu_count": instance.gpu_count,
            "gpu_vram_gb": instance.vram_gib,
            "total_vram_gb": instance.gpu_count * instance.vram_gib,
            "vcpu_count": instance.vcpus,
            "ram_gb": instance.ram_gib,
            "storage_gb": instance.storage_gib,
            "price_per_hr": float(machine.price_usd(now_ms)),
            "currency": "USD",
        },
        "created_at": stamp(machine.created_ms),
        "updated_at": stamp(machine.since_ms(now_ms)),
    }
    if has_address:
        shown["ip"] = machine.ip
        if machine.ssh_port is not None:
            shown["ssh_port"] = machine.ssh_port
    elif (absent := faults.choice("ip_before_running")) != "absent":
        shown["ip"] = None if absent == "null" else ""
    return shown


def volume_status(item: StoredVolume, now_ms: int) -> str:
    """Return a volume's status: it follows its machine, and outlives it detached unless it is the OS volume."""
    if item.deleted_ms is not None and item.deleted_ms <= now_ms:
        return "deleted"
    if item.machine is None:
        return "detached" if now_ms >= item.created_ms + 1000 else "ordered"
    if not item.machine.is_alive(now_ms):
        return "deleted" if item.is_os_volume else "detached"
    if item.machine.running_ms(now_ms) is None:
        return "ordered" if item.machine.life(now_ms) is Life.ORDERED else "attaching"
    return "attaching" if item.is_stuck else "attached"


def volume(item: StoredVolume, now_ms: int) -> dict[str, Any]:
    status = volume_status(item, now_ms)
    kind = next(kind for kind in VOLUME_TYPES if kind.type == item.type)
    monthly = kind.usd_per_gb_month * item.size_gb
    attached = item.machine is not None and status in ("attaching", "attached")
    return {
        "id": item.id,
        "instance_id": item.machine.id if item.machine is not None and attached else "",
        "name": item.name,
        "status": status,
        "size": item.size_gb,
        "is_os_volume": item.is_os_volume,
        "type": item.type,
        "location": item.location,
        "created_at": stamp(item.created_ms),
        "contract": "hourly",
        "base_hourly_cost": float((monthly / _HOURS_PER_MONTH).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)),
        "monthly_price": float(monthly),
        "currency": "USD",
    }


def volume_type(item: VolumeType) -> dict[str, Any]:
    price = {"price_per_month_per_gb": float(item.usd_per_gb_month), "currency": "USD"}
    return {"type": item.type, "price": price, "is_shared_fs": item.is_shared}


def ssh_key(item: StoredSshKey) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "fingerprint": item.fingerprint,
        "key_type": item.key_type,
        "created_at": stamp(item.created_ms),
    }


def api_key(item: StoredApiKey) -> dict[str, Any]:
    shown = {"id": item.id, "name": item.name, "prefix": item.prefix, "created_at": stamp(item.created_ms)}
    return shown if item.revoked_ms is None else {**shown, "revoked_at": stamp(item.revoked_ms)}


def webhook(item: StoredWebhook) -> dict[str, Any]:
    return {
        "id": item.id,
        "url": item.url,
        "events": list(item.events),
        "is_active": item.is_active,
        "created_at": stamp(item.created_ms),
        "updated_at": stamp(item.updated_ms),
    }


def wait_request(item: WaitRequest) -> dict[str, Any]:
    return {
        "id": item.id,
        "cluster_type": item.cluster_type,
        "location": item.location,
        "status": item.status,
        "auto_deploy": item.auto_deploy,
        "created_at": stamp(item.created_ms),
        "updated_at": stamp(item.updated_ms),
    }


def balance(usd: Decimal) -> dict[str, Any]:
    """Return a balance: the ledger keeps more places than are shown, halves round up."""
    cents = int((usd * 100).to_integral_value(rounding=ROUND_HALF_UP))
    return {"balance_cents": cents, "balance_usd": cents / 100}
