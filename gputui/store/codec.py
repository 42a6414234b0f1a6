"""Records to rows and back. Rows hold JSON text for nested parts; a field added later gets its default when absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from gputui.model.types import JobKind, JobSpec, Offer, Priority, Stock, Tier, Volume

OFFER_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Offer))
# Made once; `json.dumps` makes one for each call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def to_json(value: object) -> str:
    return _ENCODER.encode(value)


def offer_to_row(offer: Offer) -> tuple[Any, ...]:
    """Return an offer's values in the order of OFFER_COLUMNS; enums as plain text, which the driver takes much faster."""
    return (
        offer.id,
        offer.provider,
        offer.gpu,
        offer.gpu_count,
        offer.price_micro_usd_per_hour,
        offer.fetched_at_ms,
        offer.vram_gib,
        offer.vcpus,
        offer.ram_gib,
        offer.disk_gib,
        offer.region,
        offer.tier.value,
        None if offer.stock is None else offer.stock.value,
        offer.reliability,
        to_json(dict(offer.native)),
    )


def offer_from_row(row: Mapping[str, Any]) -> Offer:
    """Return the offer of a row or of a stored JSON object; `row` needs every column of the offers table."""
    native = row["native"]
    stock = row["stock"]
    return Offer(
        id=row["id"],
        provider=row["provider"],
        gpu=row["gpu"],
        gpu_count=row["gpu_count"],
        price_micro_usd_per_hour=row["price_micro_usd_per_hour"],
        fetched_at_ms=row["fetched_at_ms"],
        vram_gib=row["vram_gib"],
        vcpus=row["vcpus"],
        ram_gib=row["ram_gib"],
        disk_gib=row["disk_gib"],
        region=row["region"],
        tier=Tier(row["tier"]),
        stock=Stock(stock) if stock else None,
        reliability=row["reliability"],
        native=json.loads(native) if isinstance(native, str) else native,
    )


def spec_to_json(spec: JobSpec) -> str:
    return to_json({**asdict(spec), "env": dict(spec.env)})


def spec_from_json(text: str) -> JobSpec:
    data = json.loads(text)
    known = {field.name for field in fields(JobSpec)}
    values = {name: value for name, value in data.items() if name in known}
    values["kind"] = JobKind(values["kind"])
    values["priority"] = Priority(values["priority"])
    values["tier"] = Tier(values["tier"]) if values.get("tier") else None
    values["volumes"] = tuple(values.get("volumes", ()))
    return JobSpec(**values)


def volume_from_json(item: Mapping[str, Any]) -> Volume:
    """Return the volume that a stored JSON object describes."""
    known = {field.name for field in fields(Volume)}
    values = {name: value for name, value in item.items() if name in known}
    return Volume(**{**values, "attached_to": tuple(values.get("attached_to", ()))})
