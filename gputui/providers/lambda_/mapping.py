"""Lambda's offers and machines in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gputui.model.errors import Rejected
from gputui.model.gpus import BY_NAME, canonical_gpu, vram_of
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Offer, Stock
from gputui.model.units import MICRO, MicroUsdPerHour, Ms
from gputui.providers.lambda_ import wire
from gputui.providers.lambda_.resources import volume_obstacle
from gputui.providers.lambda_.wire import PROVIDER

SSH_USER = "ubuntu"
SSH_PORT = 22
# Lambda Cloud API 1.10.0, launch: the longest name of an instance.
LONGEST_NAME = 64

_CENT = MICRO // 100

# "8x H100 (80 GB SXM5)", "Tesla V100 (16 GB)", and the type's own name, "gpu_8x_h100_sxm5", where there is nothing else.
_GPU = re.compile(
    r"(?:gpu_)?(?:(?P<count>\d+)x[ _])?(?P<model>[^()]+?)\s*(?:\((?P<vram>\d+)\s*GB\s*(?P<form>[^()]*)\))?",
    re.IGNORECASE,
)
_IMAGE_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_STATES: dict[str, MachineState] = {
    "booting": MachineState.PENDING,
    "active": MachineState.RUNNING,
    # Lambda's health checks fail. It bills, may answer SSH and may recover, and what is on its disk may matter to someone:
    # so neither good enough to start work on nor dead.
    "unhealthy": MachineState.UNKNOWN,
    # Taken back by Lambda. Whether it still bills is not told: it takes a terminate to be sure.
    "preempted": MachineState.ERROR,
    "terminating": MachineState.DELETING,
    "terminated": MachineState.GONE,
}


@dataclass(frozen=True, slots=True)
class Gpus:
    """What a description says: canonical name, how many, and GiB of memory each; None where it does not."""

    name: str
    count: int | None
    vram_gib: int | None


def gpus_of(text: str) -> Gpus:
    """Read a description or, failing that, a type's name. A model we do not know is kept as it came."""
    found = _GPU.fullmatch(text.strip())
    if found is None:
        return Gpus(text.strip(), None, None)
    vram_gib = int(found["vram"]) if found["vram"] else None
    full = f"{found['model']} {found['form'] or ''}".strip()
    names = (canonical_gpu(spelling, vram_gib) for spelling in (full, found["model"]))
    name = next((name for name in names if name in BY_NAME), full)
    return Gpus(name, int(found["count"]) if found["count"] else None, vram_gib or vram_of(name))


def _gpus_of_type(found: wire.WireType) -> Gpus | None:
    """Return the GPUs of an instance type, None for one that has none (or does not say)."""
    specs = found.specs or wire.WireSpecs()
    text = found.description or found.gpu_description or found.name
    if not text:
        return None
    told = gpus_of(text)
    count = told.count if specs.gpus is None else specs.gpus
    return Gpus(told.name, count, told.vram_gib) if count else None


def price_of(found: wire.WireType) -> MicroUsdPerHour | None:
    """Return the price of a whole machine in micro-USD per hour, None when it is not told."""
    cents = found.price_cents_per_hour
    return cents * _CENT if cents else None


def offers_of(row: Any, fetched_at_ms: Ms) -> list[Offer]:
    """Return one offer per region with capacity, or a single sold-out one without a region; none for a type without GPUs.

    Lambda tells where a type can be had now, not where it is sold at all and not how many there are. Being listed is no
    promise: of 16 launches of listed types in one public survey (2026-08) five were refused.
    """
    entry = wire.read(wire.WireTypeEntry, row)
    found = entry.instance_type if entry else None
    if entry is None or found is None or not found.name:
        return []
    price, gpus = price_of(found), _gpus_of_type(found)
    if price is None or gpus is None or gpus.count is None:
        return []
    specs = found.specs or wire.WireSpecs()
    places = [wire.read(wire.WireRegion, place) for place in entry.regions_with_capacity_available or []]
    codes: list[str | None] = list(dict.fromkeys(place.name for place in places if place and place.name))
    return [
        Offer(
            id=f"{PROVIDER}:{found.name}:{code or '-'}",
            provider=PROVIDER,
            gpu=gpus.name,
            gpu_count=gpus.count,
            price_micro_usd_per_hour=price,
            fetched_at_ms=fetched_at_ms,
            vram_gib=gpus.vram_gib,
            vcpus=specs.vcpus or None,
            ram_gib=specs.memory_gib or None,
            disk_gib=specs.storage_gib or None,
            region=code,
            stock=Stock.LOW if code else Stock.NONE,
            native={
                "instance_type_name": found.name,
                "region_name": code,
                "architecture": found.architecture or None,
            },
        )
        for code in codes or [None]
    ]


def state_of(status: str | None) -> MachineState:
    """Return our word for a status; UNKNOWN (alive, billable, keep asking) for one we do not know."""
    return _STATES.get((status or "").strip().lower(), MachineState.UNKNOWN)


def machine_of(row: Any) -> Machine | None:
    """Return an instance as a machine, None when it has no id. Lambda tells no moment at which it was made."""
    found = wire.read(wire.WireInstance, row)
    if found is None or not found.id:
        return None
    kind = found.instance_type or wire.WireType()
    gpus = _gpus_of_type(kind)
    has_port = found.ssh_port is not None and 0 < found.ssh_port < 65_536
    return Machine(
        id=found.id,
        provider=PROVIDER,
        state=state_of(found.status),
        raw_state=found.status or "",
        label=found.name or None,
        gpu=gpus.name if gpus else None,
        gpu_count=gpus.count if gpus else None,
        region=(found.region.name or None) if found.region else None,
        price_micro_usd_per_hour=price_of(kind),
        ip=found.ip or None,
        ssh_port=found.ssh_port if has_port else SSH_PORT,
        ssh_user=SSH_USER,
    )


def ordered_machine(machine_id: str, request: CreateRequest) -> Machine:
    """Return the machine of a launch, of which Lambda tells no more than the id; its own price is yet to be read."""
    return Machine(
        id=machine_id,
        provider=PROVIDER,
        state=MachineState.PENDING,
        raw_state="",
        label=request.label,
        gpu=request.offer.gpu,
        gpu_count=request.offer.gpu_count,
        region=request.offer.region,
        ssh_port=SSH_PORT,
        ssh_user=SSH_USER,
    )


def order_of(request: CreateRequest, ssh_key_name: str) -> dict[str, Any]:
    """Return the body of a launch. Without an image Lambda takes its latest Lambda Stack, which brings Docker."""
    body: dict[str, Any] = {
        "region_name": request.offer.native["region_name"],
        "instance_type_name": request.offer.native["instance_type_name"],
        "ssh_key_names": [ssh_key_name],
        "name": request.label,
    }
    if request.os_image:
        kind = "id" if _IMAGE_ID.fullmatch(request.os_image) else "family"
        body["image"] = {kind: request.os_image}
    if request.volumes:
        body["file_system_names"] = [volume.name for volume in request.volumes]
    return body


def check_order(request: CreateRequest) -> None:
    """Raise Rejected, naming the field, for a request that Lambda cannot serve."""
    offer = request.offer
    if not offer.native.get("instance_type_name") or not offer.native.get("region_name"):
        raise Rejected(
            "This offer is sold out everywhere: it names no place to run in.", provider=PROVIDER, field="region"
        )
    if not 0 < len(request.label) <= LONGEST_NAME:
        raise Rejected(
            f"{request.label!r} cannot be a name at Lambda: it may have {LONGEST_NAME} characters at most.",
            provider=PROVIDER,
            field="label",
        )
    if request.disk_gib is not None and offer.disk_gib is not None and request.disk_gib > offer.disk_gib:
        raise Rejected(
            f"The disk of this machine has {offer.disk_gib} GiB and cannot be made larger.",
            provider=PROVIDER,
            field="disk_gib",
        )
    if obstacle := volume_obstacle(request.volumes, offer):
        raise Rejected(f"The machine {obstacle}.", provider=PROVIDER, field="volumes")
