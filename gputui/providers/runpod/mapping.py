"""RunPod's GPU types and pods as our offers and machines, and our orders as its requests. Pure: no I/O, no clock."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from gputui.model.errors import Rejected
from gputui.model.gpus import canonical_gpu, vram_of
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Offer, Stock, Tier, Volume
from gputui.model.units import MicroUsdPerHour, Ms, parse_iso_utc, usd_to_micro
from gputui.providers.runpod import wire
from gputui.providers.runpod.wire import PROVIDER

SECURE, COMMUNITY = "SECURE", "COMMUNITY"
CLOUDS = (SECURE, COMMUNITY)
# A pod may have any number of GPUs up to the largest host's; stock is told for one number per question. These are asked.
COUNTS = (1, 2, 4, 8)
SSH_USER = "root"
SSH_PORT = "22/tcp"
# RunPod REST API 1, create a pod: the longest name; and what it gave a pod that did not say: version 2 tells no default.
LONGEST_NAME = 191
DISK_GB = 50
WORKSPACE_GB = 20
WORKSPACE = "/workspace"
LEAST_WORKSPACE_GB = 10

# RunPod docs, pods/pricing (2026): disks of a pod, and the persistent volume of a stopped one, per GB and month; a month has
# 730 hours there.
_GB_MONTH_USD = Decimal("0.10")
_STOPPED_GB_MONTH_USD = Decimal("0.20")
_MONTH_H = 730
_TIERS = {SECURE: Tier.SECURE, COMMUNITY: Tier.COMMUNITY}
# LOW and MEDIUM both mean that it may be gone: a HIGH is no promise either.
_STOCK = {"NONE": Stock.NONE, "LOW": Stock.LOW, "MEDIUM": Stock.LOW, "HIGH": Stock.HIGH}
_STATES = {
    "PROVISIONING": MachineState.PENDING,
    "STARTING": MachineState.PENDING,
    "RUNNING": MachineState.RUNNING,
    # Stopped, by whomever; a container whose process has ended is started again and stays RUNNING.
    "EXITED": MachineState.STOPPED,
    "ERROR": MachineState.ERROR,
    "TERMINATED": MachineState.GONE,
}


def counts_in(rows: Iterable[Any], cloud: str) -> list[int]:
    """Return which of the larger counts any type of a cloud can have."""
    found = (wire.read(wire.WireGpuType, row) for row in rows)
    largest = max((_max_count(kind, cloud) for kind in found if kind), default=0)
    return [count for count in COUNTS[1:] if count <= largest]


def offers_of(row: Any, cloud: str, count: int, fetched_at_ms: Ms) -> list[Offer]:
    """Return a type's offers in one cloud for one GPU count: one per data centre that lists it.

    A type that is listed in none is one offer without a region: sold out, or on hosts that stand in no data centre. What the
    cloud does not have, has no price for, or has no host large enough for is no offer.
    """
    kind = wire.read(wire.WireGpuType, row)
    if kind is None or not kind.id or kind.id.lower() == "unknown" or count > _max_count(kind, cloud):
        return []
    prices = kind.price or wire.WirePrices()
    price, has_it = (prices.secure, kind.secure) if cloud == SECURE else (prices.community, kind.community)
    if not has_it or price is None or price <= 0:
        return []
    gpu = gpu_of(kind.id)
    centres = [wire.read(wire.WireDataCenter, centre) for centre in kind.data_centers or []]
    places: dict[str | None, str | None] = {
        centre.id: centre.availability for centre in centres if centre is not None and centre.id
    }
    slug = re.sub(r"[^a-z0-9.]+", "-", kind.id.lower()).strip("-")
    return [
        Offer(
            id=f"{PROVIDER}:{slug}:{count}:{cloud.lower()}:{place or '-'}",
            provider=PROVIDER,
            gpu=gpu,
            gpu_count=count,
            price_micro_usd_per_hour=usd_to_micro(price * count),
            fetched_at_ms=fetched_at_ms,
            vram_gib=kind.memory or vram_of(gpu),
            region=place,
            tier=_TIERS[cloud],
            stock=_STOCK.get((availability or "").upper()),
            native={"gpu_id": kind.id, "cloud": cloud, "data_center_id": place},
        )
        for place, availability in (places or {None: kind.availability}).items()
    ]


def _max_count(kind: wire.WireGpuType, cloud: str) -> int:
    """Return how many GPUs the largest host of a type has; one where that is not told."""
    counts = kind.max_count or wire.WireCounts()
    told = counts.secure if cloud == SECURE else counts.community
    return 1 if told is None else told


def gpu_of(gpu_id: str) -> str:
    """Return our name of a GPU type; one that we do not know is kept as it came."""
    return canonical_gpu(gpu_id)


def machine_of(row: Any) -> Machine | None:
    """Return a pod as a machine, None when it has no id.

    A pod is called RUNNING while its image is still being pulled: it is pending for us until its container has begun.
    """
    pod = wire.read(wire.WirePod, row)
    if pod is None or not pod.id:
        return None
    state = _STATES.get((pod.status or "").strip().upper(), MachineState.UNKNOWN)
    if state is MachineState.RUNNING and not pod.runtime:
        state = MachineState.PENDING
    direct = (pod.ssh.direct if pod.ssh else None) or wire.WireSsh()
    has_address = bool(direct.host and direct.port and 0 < direct.port < 65_536)
    return Machine(
        id=pod.id,
        provider=PROVIDER,
        state=state,
        raw_state=pod.status or "",
        label=pod.name or None,
        gpu=gpu_of(pod.gpu.id) if pod.gpu and pod.gpu.id else None,
        gpu_count=pod.gpu.count if pod.gpu else None,
        region=pod.data_center_id or None,
        price_micro_usd_per_hour=_price_of(pod, state),
        ip=direct.host if has_address else None,
        ssh_port=direct.port if has_address else None,
        ssh_user=direct.username or SSH_USER,
        created_at_ms=parse_iso_utc(pod.created_at),
        started_at_ms=parse_iso_utc(pod.started_at),
        billed_micro_usd_per_hour=_billed(pod, state),
    )


def _billed(pod: wire.WirePod, state: MachineState) -> tuple[MicroUsdPerHour, MicroUsdPerHour] | None:
    """Return the least and the most that a pod is billed by the hour, None when that is not told or it is broken.

    Its `cost` has been seen to hold the container disk; whether it always does, and the persistent volume, is not said. What a
    stopped one costs is from the documentation alone, so it may cost nothing.
    """
    cost = _price_of(pod, state)
    if cost is not None and state is MachineState.STOPPED:
        return 0, cost
    if cost is None or state not in (MachineState.PENDING, MachineState.RUNNING):
        return None
    persistent = pod.mounts.persistent if pod.mounts else None
    size_gb = (pod.disk or 0) + ((persistent.size if persistent else None) or 0)
    return cost, cost + usd_to_micro(_GB_MONTH_USD * size_gb / _MONTH_H)


def _price_of(pod: wire.WirePod, state: MachineState) -> MicroUsdPerHour | None:
    """Return what a pod costs an hour now, None when it is not told.

    RunPod says 0 of a stopped pod, but its persistent volume goes on costing money, at the price of the documentation.
    """
    if state is MachineState.STOPPED:
        persistent = pod.mounts.persistent if pod.mounts else None
        size_gb = (persistent.size if persistent else None) or 0
        return usd_to_micro(_STOPPED_GB_MONTH_USD * size_gb / _MONTH_H)
    return usd_to_micro(pod.cost) if pod.cost is not None and pod.cost > 0 else None


def keeps_its_disk(row: Any) -> bool:
    """Say whether anything on a pod outlives a stop: its container disk is erased, volumes are kept."""
    pod = wire.read(wire.WirePod, row)
    return bool(pod and pod.mounts and (pod.mounts.persistent or pod.mounts.network))


def volumes_in(row: Any) -> list[str]:
    """Return the ids of the network volumes that a pod mounts."""
    pod = wire.read(wire.WirePod, row)
    mounts = (pod.mounts.network if pod and pod.mounts else None) or []
    found = (wire.read(wire.WireNetworkMount, mount) for mount in mounts)
    return [mount.volume_id for mount in found if mount and mount.volume_id]


def volume_obstacle(volumes: Sequence[Volume], offer: Offer) -> str | None:
    """Return why a pod of this offer cannot have these network volumes, None when it can.

    RunPod docs, storage/network-volumes: secure cloud only, in the volume's data centre; REST API 2.0.0: one per pod.
    """
    if len(volumes) > 1:
        return f"can have one network volume, not {len(volumes)}"
    for volume in volumes:
        if offer.native.get("cloud") != SECURE:
            return "is in the community cloud, which has no network volumes"
        if offer.region is not None and offer.region != volume.region:
            return f"is in {offer.region}, the volume {volume.name} in {volume.region}"
    return None


def order_of(request: CreateRequest) -> dict[str, Any]:
    """Return the body that orders a pod.

    With an argv the pod runs that instead of the image's command, quoted into the one string that every version takes, and
    nobody logs in. Without, it is a machine to log in to, with a volume at /workspace that outlives a stop. A network volume
    takes that place.
    """
    native = request.offer.native
    body: dict[str, Any] = {
        "name": request.label,
        "image": request.image,
        "gpu": {"id": native["gpu_id"], "count": request.offer.gpu_count},
        "cloud": native["cloud"],
        "disk": DISK_GB,
        "env": dict(request.env),
    }
    if place := native.get("data_center_id"):
        body["dataCenterIds"] = [place]
    if request.argv:
        body["args"] = shlex.join(request.argv)
        body["disk"] = request.disk_gib or DISK_GB
    else:
        size_gb = max(request.disk_gib or WORKSPACE_GB, LEAST_WORKSPACE_GB)
        body |= {"startSsh": True, "ports": [SSH_PORT], "mounts": {"persistent": {"size": size_gb, "path": WORKSPACE}}}
    if request.volumes:
        body["mounts"] = {"network": [{"volumeId": volume.id, "path": WORKSPACE} for volume in request.volumes]}
    return body


def check_order(request: CreateRequest) -> None:
    """Raise Rejected, naming the field, for a request that RunPod cannot serve."""
    if not request.image:
        raise Rejected(
            "RunPod runs images: the image is the machine, and none was named.",
            provider=PROVIDER,
            field="image",
            hint="Name one, such as runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404 (built for linux/amd64).",
        )
    if not 0 < len(request.label) <= LONGEST_NAME:
        raise Rejected(
            f"{request.label!r} cannot be a pod's name: it may have {LONGEST_NAME} characters at most.",
            provider=PROVIDER,
            field="label",
        )
    if obstacle := volume_obstacle(request.volumes, request.offer):
        raise Rejected(f"The pod {obstacle}.", provider=PROVIDER, field="volumes")
