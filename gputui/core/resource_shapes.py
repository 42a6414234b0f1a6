"""Volumes, SSH keys, images, regions, waitlists, webhooks and API keys as JSON. Pure; see `core.shapes` for the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputui.core.shapes import Shape, usd
from gputui.model.types import ApiKey, OsImage, Region, SshKey, WaitlistEntry, Webhook
from gputui.model.units import iso_utc
from gputui.model.volumes import VolumeOrder

if TYPE_CHECKING:
    from gputui.core.resources import KeyAdded, KeyRow
    from gputui.core.volume_wishes import VolumeRow


def volume_shape(row: VolumeRow) -> Shape:
    """Return a volume that exists. `name` is what the user called it, `label` what the provider does."""
    volume = row.volume
    return {
        "id": volume.id,
        "provider": volume.provider,
        "name": row.name,
        "label": volume.name,
        "is_ours": row.is_ours,
        "is_being_deleted": row.deletion is not None,
        "raw_state": volume.raw_state,
        "size_gib": volume.size_gib,
        "used_gib": volume.used_gib,
        "region": volume.region,
        "kind": volume.kind,
        "price_per_month_usd": usd(volume.price_micro_usd_per_month),
        "attached_to": list(volume.attached_to),
        "created_at": iso_utc(volume.created_at_ms),
    }


def volume_order_shape(order: VolumeOrder) -> Shape:
    """Return an order that a volume be made or deleted; `volume_id` is null until there is one."""
    return {
        "order_id": order.id,
        "provider": order.provider,
        "wish": order.wish.value,
        "state": order.state.value,
        "is_over": order.is_over,
        "volume_id": order.volume_id,
        "name": order.name,
        "label": order.label,
        "size_gib": order.size_gib,
        "region": order.region,
        "kind": order.kind,
        "price_per_month_usd": usd(order.price_micro_usd_per_month),
        "error": order.error,
        "error_code": order.error_code,
        "created_at": iso_utc(order.created_at_ms),
        "ended_at": iso_utc(order.ended_at_ms),
    }


def key_row_shape(row: KeyRow) -> Shape:
    """Return a public key and where it is registered."""
    return {
        "fingerprint": row.fingerprint,
        "name": row.name,
        "providers": list(row.at),
        "registrations": [ssh_key_shape(key) for key in row.registrations],
    }


def ssh_key_shape(key: SshKey) -> Shape:
    """Return one registration of a public key."""
    return {"provider": key.provider, "id": key.id, "name": key.name, "fingerprint": key.fingerprint}


def key_added_shape(added: KeyAdded) -> Shape:
    """Return a registration that was asked for; `was_there` when nothing had to be done."""
    return {**ssh_key_shape(added.key), "was_there": added.was_there}


def image_shape(image: OsImage) -> Shape:
    """Return a disk image; `image` is what a run takes for --os-image."""
    return {"provider": image.provider, "image": image.value, "name": image.name, "is_default": image.is_default}


def region_shape(region: Region) -> Shape:
    """Return a place where machines stand."""
    return {"provider": region.provider, "region": region.code, "name": region.name, "country": region.country}


def waitlist_shape(entry: WaitlistEntry) -> Shape:
    """Return a place in a waitlist; `region` is null for any."""
    return {
        "id": entry.id,
        "provider": entry.provider,
        "machine_type": entry.machine_type,
        "region": entry.region,
        "raw_state": entry.raw_state,
        "auto_deploys": entry.auto_deploys,
        "created_at": iso_utc(entry.created_at_ms),
    }


def webhook_shape(webhook: Webhook) -> Shape:
    """Return a webhook; its secret is told once only, when it is made."""
    return {
        "id": webhook.id,
        "provider": webhook.provider,
        "url": webhook.url,
        "events": list(webhook.events),
        "is_active": webhook.is_active,
        "created_at": iso_utc(webhook.created_at_ms),
    }


def api_key_shape(key: ApiKey) -> Shape:
    """Return a key to an account, without its secret."""
    return {
        "id": key.id,
        "provider": key.provider,
        "name": key.name,
        "prefix": key.prefix,
        "is_own": key.is_own,
        "created_at": iso_utc(key.created_at_ms),
    }
