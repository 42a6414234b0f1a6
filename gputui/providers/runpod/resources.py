"""RunPod's data centres, network volumes and bill in our words. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from gputui.model.errors import Rejected
from gputui.model.types import Charge, Region, Volume
from gputui.model.units import MicroUsd, Ms, parse_iso_utc, usd_to_micro
from gputui.providers.runpod import mapping, wire
from gputui.providers.runpod.wire import PROVIDER

STANDARD, HIGH_PERFORMANCE = "STANDARD", "HIGH_PERFORMANCE"
# RunPod REST API 2.0.0, create a network volume.
LEAST_VOLUME_GB, MOST_VOLUME_GB = 10, 4096
# RunPod docs, pods/pricing (2026): USD per GB and month, for the first TB and beyond. That of the fast kind is not published.
_FIRST_TB_USD, _BEYOND_USD, _TB = Decimal("0.07"), Decimal("0.05"), 1000
# Longer windows come by the day: an answer has one row per pod and bucket.
_HOURLY_WINDOW_MS = 8 * 86_400_000


def regions_of(rows: Iterable[Any]) -> list[Region]:
    """Return data centres, each once."""
    found = (wire.read(wire.WireDataCenter, row) for row in rows)
    regions = {
        centre.id: Region(PROVIDER, centre.id, centre.name or centre.id, _country(centre.id))
        for centre in found
        if centre and centre.id
    }
    return list(regions.values())


def _country(code: str) -> str | None:
    """Return the country in a data centre's id: US-KS-2 and CA-MTL-1 begin with it, EU-RO-1 and AP-JP-1 with a continent."""
    first, _, rest = code.upper().partition("-")
    if first in ("US", "CA"):
        return first
    second = rest.partition("-")[0]
    return second if len(second) == 2 and second.isalpha() else None


def volume_of(row: Any) -> Volume | None:
    """Return a network volume, None when it has no id. It is in no state that RunPod would tell."""
    found = wire.read(wire.WireVolume, row)
    if found is None or not found.id:
        return None
    return Volume(
        id=found.id,
        provider=PROVIDER,
        name=found.name or "",
        raw_state="",
        size_gib=found.size,
        region=found.data_center or None,
        kind=found.type or None,
        price_micro_usd_per_month=_monthly_price(found.type, found.size),
        mount_path=mapping.WORKSPACE,
    )


def _monthly_price(kind: str | None, size_gb: int | None) -> MicroUsd | None:
    if kind != STANDARD or size_gb is None:
        return None
    first_gb = min(size_gb, _TB)
    return usd_to_micro(first_gb * _FIRST_TB_USD + (size_gb - first_gb) * _BEYOND_USD)


def quote_of(order: dict[str, Any], centre_rows: Iterable[Any]) -> MicroUsd | None:
    """Return what a volume would cost a month, None for a kind without a published price.

    Raises Rejected where none can be, and where it is not told which of several kinds would be made.
    """
    centres = [centre for row in centre_rows if (centre := wire.read(wire.WireDataCenter, row)) and centre.id]
    kinds = next((centre.network_volume_types or [] for centre in centres if centre.id == order["dataCenter"]), [])
    if not kinds:
        able = ", ".join(sorted(str(centre.id) for centre in centres if centre.network_volume_types))
        raise Rejected(
            f"No network volume can stand in {order['dataCenter']} at RunPod.",
            provider=PROVIDER,
            field="region",
            hint=f"These regions hold some: {able}.",
        )
    if "type" not in order and len(kinds) > 1:
        raise Rejected(
            f"{order['dataCenter']} holds several kinds of volumes, at different prices.",
            provider=PROVIDER,
            field="kind",
            hint=f"Say which: {', '.join(str(kind).lower().replace('_', '-') for kind in kinds)}.",
        )
    return _monthly_price(order.get("type", kinds[0]), order["size"])


def mounts_in(pod_rows: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    """Return which pods mount which volume."""
    mounts: dict[str, list[str]] = defaultdict(list)
    for row in pod_rows:
        machine = mapping.machine_of(row)
        for volume_id in mapping.volumes_in(row) if machine else []:
            mounts[volume_id].append(machine.id if machine else "")
    return {volume_id: tuple(pods) for volume_id, pods in mounts.items()}


def volume_order(name: str, *, size_gib: int | None, region: str, kind: str | None) -> dict[str, Any]:
    """Return the body that makes a network volume. Raises Rejected, naming the field, for one that cannot be."""
    if not name.strip():
        raise Rejected("A network volume needs a name.", provider=PROVIDER, field="name")
    if size_gib is None or not LEAST_VOLUME_GB <= size_gib <= MOST_VOLUME_GB:
        raise Rejected(
            f"A network volume at RunPod has {LEAST_VOLUME_GB} to {MOST_VOLUME_GB} GB.",
            provider=PROVIDER,
            field="size_gib",
        )
    if not region.strip():
        raise Rejected("A network volume stands in one data centre.", provider=PROVIDER, field="region")
    body: dict[str, Any] = {"name": name, "size": size_gib, "dataCenter": region.strip().upper()}
    if kind is not None:
        body["type"] = kind.strip().upper().replace("-", "_")
        if body["type"] not in (STANDARD, HIGH_PERFORMANCE):
            raise Rejected(
                f"RunPod has no {kind!r} volumes.",
                provider=PROVIDER,
                field="kind",
                hint="It is standard or high-performance.",
            )
    return body


def bucket_for(since_ms: Ms, until_ms: Ms) -> str:
    """Return how finely a window of the bill is asked for."""
    return "hour" if until_ms - since_ms <= _HOURLY_WINDOW_MS else "day"


def pod_charges_of(rows: Iterable[Any]) -> list[Charge]:
    """Return what pods cost, one line per pod and bucket: GPU, CPU and disk together. Raises Unreadable without a pod."""
    charges = []
    for row in rows:
        found = wire.read(wire.WireCharge, row)
        if found is None or not found.pod_id:
            raise wire.Unreadable("a charge without a pod")
        charges.append(_charge(found, _total(found), "pod", found.pod_id))
    return [charge for charge in charges if charge.amount_micro_usd]


def other_charges_of(rows: Iterable[Any]) -> list[Charge]:
    """Return what the account paid for anything but pods (volumes, serverless, clusters), one line per bucket."""
    charges = []
    for row in rows:
        found = wire.read(wire.WireCharge, row)
        if found is None:
            raise wire.Unreadable("a charge that is none")
        pods = (found.pod_gpu_amount, found.pod_cpu_amount, found.pod_disk_amount)
        rest = _total(found) - sum(amount for amount in pods if amount is not None)
        charges.append(_charge(found, rest, "network volumes, serverless and clusters", None))
    return [charge for charge in charges if charge.amount_micro_usd]


def _total(found: wire.WireCharge) -> Decimal:
    if found.total_amount is None:
        raise wire.Unreadable("a charge without an amount")
    return found.total_amount


def _charge(found: wire.WireCharge, amount: Decimal, what: str, machine_id: str | None) -> Charge:
    from_ms, to_ms = parse_iso_utc(found.start_time), parse_iso_utc(found.end_time)
    if from_ms is None or to_ms is None:
        raise wire.Unreadable("a charge without its time")
    return Charge(PROVIDER, usd_to_micro(amount), from_ms, to_ms, what, machine_id)
