"""Huddle's volumes, waitlist, webhooks and API keys in our words. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from gputui.model.errors import Rejected
from gputui.model.types import ApiKey, NewApiKey, NewWebhook, Offer, Volume, WaitlistEntry, Webhook
from gputui.model.units import MicroUsd
from gputui.providers.huddle import wire
from gputui.providers.huddle.mapping import PROVIDER, micro_usd_of, moment

# Huddle docs, gpu-webhooks (2026-05).
EVENTS = (
    "deployment.ordered",
    "deployment.provisioning",
    "deployment.running",
    "deployment.offline",
    "deployment.error",
    "deployment.deleted",
    "deployment.failed_no_capacity",
    "gpu.available",
)
# Huddle docs, gpu-volumes: the kind of block volume its samples use. The upstream cloud makes no HDD volumes any more.
DEFAULT_KIND = "NVMe"
DELETED = "deleted"

# By which the upstream cloud turns a monthly price into an hourly one.
_HOURS_PER_MONTH = 730
# Less of a key than this says nothing about which key it is: "mk_" begins them all.
_SHORTEST_PREFIX = 6


def volume_of(row: Any) -> Volume | None:
    """Return a volume, None when it has no id. `attached_to` is as Huddle tells it: see `with_machine_ids`."""
    found = wire.read(wire.WireVolume, row)
    if found is None or not found.id:
        return None
    return Volume(
        id=found.id,
        provider=PROVIDER,
        name=found.name or "",
        raw_state=found.status or "",
        size_gib=found.size or None,
        region=found.location or None,
        kind=found.type or None,
        price_micro_usd_per_month=_monthly_price(found),
        attached_to=(found.instance_id,) if found.instance_id else (),
        created_at_ms=moment(found.created_at),
    )


def _monthly_price(found: wire.WireVolume) -> MicroUsd | None:
    hourly = micro_usd_of(found.base_hourly_cost, found.currency)
    return micro_usd_of(found.monthly_price, found.currency) or (hourly * _HOURS_PER_MONTH if hourly else None)


def with_machine_ids(volume: Volume, aliases: Mapping[str, str]) -> Volume:
    """Return a volume attached to machines by their own ids."""
    return replace(volume, attached_to=tuple(aliases.get(machine, machine) for machine in volume.attached_to))


def machine_aliases(rows: Iterable[Any]) -> dict[str, str]:
    """Return machine ids by the upstream cloud's ids. Which of the two a volume tells is not documented."""
    found = (wire.read(wire.WireDeployment, row) for row in rows)
    return {machine.provider_id: machine.id for machine in found if machine and machine.id and machine.provider_id}


def volume_order(name: str, *, size_gib: int | None, region: str, kind: str | None) -> dict[str, Any]:
    """Return the body that makes a volume. Raises Rejected, naming the field, for one that cannot be."""
    if not name.strip():
        raise _rejected("A volume at Huddle needs a name.", "name")
    if size_gib is None or size_gib < 1:
        raise _rejected("A volume at Huddle has a size: say how many GB.", "size_gib")
    if not region.strip():
        raise _rejected("A volume at Huddle stands in one region: say in which.", "region")
    return {"name": name, "size": size_gib, "type": kind or DEFAULT_KIND, "location": region.strip()}


def quote_of(order: dict[str, Any], type_rows: Iterable[Any]) -> MicroUsd | None:
    """Return what a volume would cost a month, None where it is not told. Raises Rejected for a kind that is not listed."""
    kinds = [kind for row in type_rows if (kind := wire.read(wire.WireVolumeType, row)) and kind.type]
    wanted = next((kind for kind in kinds if kind.type == order["type"]), None)
    if wanted is None:
        if kinds:
            known = ", ".join(str(kind.type) for kind in kinds)
            raise Rejected(
                f"Huddle has no {order['type']} volumes.", provider=PROVIDER, field="kind", hint=f"There are: {known}."
            )
        return None
    price = wanted.price or wire.WireVolumePrice()
    per_gb = price.price_per_month_per_gb
    return micro_usd_of(None if per_gb is None else per_gb * order["size"], price.currency)


def waitlist_entry_of(row: Any) -> WaitlistEntry | None:
    """Return a place in the waitlist, None when it has no id."""
    found = wire.read(wire.WireWaitRequest, row)
    if found is None or not found.id:
        return None
    return WaitlistEntry(
        id=found.id,
        provider=PROVIDER,
        machine_type=found.cluster_type or "",
        raw_state=found.status or "",
        region=found.location or None,
        auto_deploys=found.auto_deploy,
        created_at_ms=moment(found.created_at),
    )


def waitlist_request(offer: Offer, *, anywhere: bool) -> dict[str, Any]:
    """Return the body that joins the waitlist. Raises Rejected for an offer that names no place, unless any will do."""
    cluster_type, location = offer.native.get("cluster_type"), offer.native.get("location")
    if not cluster_type:
        raise _rejected("This offer names no machine type.", "offer")
    if anywhere:
        return {"cluster_type": cluster_type, "auto_deploy": False}
    if not location:
        raise _rejected("This offer names no region: wait for the machine type anywhere.", "region")
    return {"cluster_type": cluster_type, "location": location, "auto_deploy": False}


def webhook_of(row: Any) -> Webhook | None:
    """Return a webhook, None when it has no id."""
    found = wire.read(wire.WireWebhook, row)
    if found is None or not found.id:
        return None
    events = tuple(event for event in found.events or [] if isinstance(event, str))
    return Webhook(found.id, PROVIDER, found.url or "", events, found.is_active, moment(found.created_at))


def new_webhook_of(row: Any) -> NewWebhook | None:
    """Return a webhook just made with its secret, None when either is missing."""
    webhook, found = webhook_of(row), wire.read(wire.WireWebhook, row)
    return NewWebhook(webhook, found.secret) if webhook and found and found.secret else None


def webhook_body(
    *, url: str | None = None, events: Sequence[str] | None = None, is_active: bool | None = None
) -> dict[str, Any]:
    """Return the body that makes or changes a webhook. Raises Rejected for an address that is none and for no events.

    The address is not repeated in the error: such addresses may carry secrets.
    """
    if url is not None and not _is_web_address(url):
        raise _rejected("The webhook's address is not an http:// or https:// address.", "url")
    if events is not None and not events:
        raise Rejected(
            "A webhook is told of at least one event.",
            provider=PROVIDER,
            field="events",
            hint=f"There are: {', '.join(EVENTS)}.",
        )
    body = {"url": url, "events": None if events is None else list(events), "is_active": is_active}
    return {name: value for name, value in body.items() if value is not None}


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def api_key_of(row: Any, own_key: str) -> ApiKey | None:
    """Return an API key, None when it has no id. `own_key` is the key in use, to tell it in the list."""
    found = wire.read(wire.WireApiKey, row)
    if found is None or not found.id:
        return None
    shown = (found.prefix or "").rstrip(".…*")
    is_own = len(shown) >= _SHORTEST_PREFIX and own_key.startswith(shown)
    return ApiKey(found.id, PROVIDER, found.name or "", found.prefix or None, is_own, moment(found.created_at))


def is_revoked(row: Any) -> bool:
    """Say whether an API key in the list is revoked; whether such are listed is not documented."""
    found = wire.read(wire.WireApiKey, row)
    return bool(found and found.revoked_at)


def new_api_key_of(row: Any) -> NewApiKey | None:
    """Return an API key just made with its secret, None when either is missing."""
    found = wire.read(wire.WireApiKey, row)
    key = api_key_of(row, own_key="")
    return NewApiKey(key, found.secret) if key and found and found.secret else None


def _rejected(message: str, field: str) -> Rejected:
    return Rejected(message, provider=PROVIDER, field=field)
