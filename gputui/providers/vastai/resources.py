"""Vast.ai's account, SSH keys, volumes and charges in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from gputui.model.errors import NoCapacity, Rejected
from gputui.model.types import Charge, SshKey, Volume
from gputui.model.units import MicroUsd, Ms, usd_to_micro
from gputui.providers.vastai import wire
from gputui.providers.vastai.mapping import MOUNT_PATH, region_of
from gputui.providers.vastai.wire import PROVIDER

# OpenAPI document, rent volume: made with this size unless asked otherwise.
VOLUME_GB = 15
KIND = "local"

_VOLUME_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_HOURS_PER_MONTH = 720
_SECOND_MS = 1000
_MADE_VOLUME = re.compile(r"V\.(\d+)")
_CONTRACT = re.compile(r"(\w+)-(\d+)")
_PARTS = {"gpu": "GPU", "disk": "disk", "bwd": "download", "bwu": "upload"}
# Each amount is rounded to a thousandth of a dollar by itself.
_ROUNDING_USD = Decimal("0.001")


def balance_of(account: wire.WireAccount) -> MicroUsd | None:
    """Return what can be spent, None when it is not told. Accounts that prepay have it all in `credit`."""
    told = [amount for amount in (account.balance, account.credit) if amount is not None]
    return usd_to_micro(sum(told, Decimal(0))) if told else None


def ssh_key_of(row: Any) -> SshKey | None:
    """Return a registered key, None when it has no id or was deleted. Its name is the comment in its text."""
    found = wire.read(wire.WireSshKey, row)
    if found is None or not found.id or found.deleted_at:
        return None
    text = (found.key or found.public_key or "").strip()
    words = text.split(maxsplit=2)
    return SshKey(found.id, PROVIDER, words[2] if len(words) > 2 else "", _fingerprint(text), text or None)


def fingerprint_of(public_key: str) -> str:
    """Return `SHA256:…` of a one-line OpenSSH public key. Raises Rejected when it is not one."""
    fingerprint = _fingerprint(public_key)
    if fingerprint is None or "\n" in public_key.strip():
        raise Rejected("The SSH public key is not a one-line OpenSSH key.", provider=PROVIDER, field="ssh_public_key")
    return fingerprint


def _fingerprint(public_key: str) -> str | None:
    parts = public_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, ValueError, binascii.Error):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=") if blob else None


def named_key(name: str, public_key: str) -> str:
    """Return a public key whose comment is `name`. Raises Rejected for a name that would break the line."""
    if not name.strip() or not name.isprintable():
        raise Rejected("The name of an SSH key is one line of text.", provider=PROVIDER, field="name")
    return f"{' '.join(public_key.split()[:2])} {name.strip()}"


def our_key_name(fingerprint: str) -> str:
    """Return the name that our key is registered under; it carries the key's fingerprint."""
    return "gputui-" + "".join(filter(str.isalnum, fingerprint.removeprefix("SHA256:")))[:12]


def volume_of(row: Any) -> Volume | None:
    """Return a volume, None when it has no id. It lies on one host, and only machines on that host can mount it."""
    found = wire.read(wire.WireVolume, row)
    if found is None or not found.id:
        return None
    hourly = found.storage_total_cost
    ids = (user.get("id") if isinstance(user, dict) else user for user in found.instances or [])
    return Volume(
        id=found.id,
        provider=PROVIDER,
        name=found.label or "",
        raw_state=found.status or "",
        size_gib=None if found.disk_space is None else math.floor(found.disk_space),
        region=region_of(found.geolocation),
        kind=KIND,
        price_micro_usd_per_month=None if hourly is None else usd_to_micro(hourly * _HOURS_PER_MONTH),
        attached_to=tuple(str(user) for user in ids if user is not None),
        created_at_ms=None if not found.start_date else int(found.start_date * _SECOND_MS),
        mount_path=MOUNT_PATH,
        host=found.machine_id or None,
    )


def check_volume(name: str, *, size_gib: int | None, kind: str | None) -> int:
    """Return the size in GB. Raises Rejected, naming the field, for a volume that Vast.ai cannot make."""
    if not _VOLUME_NAME.fullmatch(name):
        raise _rejected(f"{name!r} cannot be a volume's name at Vast.ai: letters, digits and _, 64 at most.", "name")
    return check_size(size_gib, kind)


def check_size(size_gib: int | None, kind: str | None) -> int:
    """Return the size in GB that a volume would have. Raises Rejected, naming the field, for one that cannot be."""
    if kind not in (None, KIND):
        raise _rejected(f"Vast.ai has {KIND} volumes only.", "kind")
    if size_gib is not None and size_gib < 1:
        raise _rejected(f"A volume cannot have {size_gib} GB.", "size_gib")
    return VOLUME_GB if size_gib is None else size_gib


def volume_search(region: str, size_gb: int) -> dict[str, Any]:
    """Return a question for room in a country ("CA"), or on the host of that number, cheapest first."""
    place = {"machine_id": {"eq": int(region)}} if region.isdecimal() else {"geolocation": {"eq": region.upper()}}
    return {
        **place,
        "disk_space": {"gte": size_gb},
        "verified": {"eq": True},
        "order": [["storage_cost", "asc"]],
        "limit": 64,
        "allocated_storage": size_gb,
    }


def cheapest_room(rows: Iterable[Any], region: str, size_gb: int) -> wire.WireVolumeOffer:
    """Return the cheapest offer with enough room, looked over again. Raises NoCapacity when there is none."""
    offers = [offer for row in rows if (offer := wire.read(wire.WireVolumeOffer, row)) and offer.id]
    fitting = [
        offer
        for offer in offers
        if offer.storage_cost is not None
        and (offer.disk_space is None or offer.disk_space >= size_gb)
        and (region.isdecimal() or region_of(offer.geolocation) == region.upper())
    ]
    if not fitting:
        raise NoCapacity(f"No verified host in {region} offers room for a volume of {size_gb} GB.", provider=PROVIDER)
    return min(fitting, key=lambda offer: (offer.storage_cost or Decimal(0), offer.id or ""))


def made_volume(body: Any, name: str, size_gb: int, room: wire.WireVolumeOffer) -> Volume:
    """Return the volume of which an answer tells the name ("V.20118481"). Raises Unreadable when it does not."""
    told = body.get("volume_name") if isinstance(body, dict) else None
    match = _MADE_VOLUME.fullmatch(told) if isinstance(told, str) else None
    if match is None:
        raise wire.Unreadable("no volume in the answer")
    return Volume(
        id=match[1],
        provider=PROVIDER,
        name=name,
        raw_state="",
        size_gib=size_gb,
        region=region_of(room.geolocation),
        kind=KIND,
        price_micro_usd_per_month=monthly_price(room, size_gb),
    )


def monthly_price(room: wire.WireVolumeOffer, size_gb: int) -> MicroUsd | None:
    """Return what a volume of a size costs a month on a host, None where the host does not tell."""
    return None if room.storage_cost is None else usd_to_micro(room.storage_cost * size_gb)


def charges_of(row: Any, *, since_ms: Ms, until_ms: Ms) -> list[Charge]:
    """Return the parts of one contract's charges (GPU, disk, traffic), its total where the parts do not make it up.

    None for a contract outside the time asked for. Raises Unreadable for one without an amount or a time: a bill with a hole
    in it is worse than none.
    """
    found = wire.read(wire.WireCharge, row)
    if found is None or found.amount is None:
        raise wire.Unreadable("a charge without an amount")
    match = _CONTRACT.fullmatch(found.source or "")
    kind, number = (match[1], match[2]) if match else (found.type or "", "")
    machine_id = number if kind == "instance" else None
    parts = [
        part for item in found.items or [] if (part := wire.read(wire.WireCharge, item)) and part.amount is not None
    ]
    off_by = abs(sum((part.amount or Decimal(0) for part in parts), Decimal(0)) - found.amount)
    if not parts or off_by > _ROUNDING_USD * (len(parts) + 1):
        parts = [found]
    charges = [_charge(part, found, machine_id, f"{kind} {number}".strip()) for part in parts]
    return [charge for charge in charges if charge.to_ms > since_ms and charge.from_ms < until_ms]


def _charge(part: wire.WireCharge, whole: wire.WireCharge, machine_id: str | None, contract: str) -> Charge:
    start = part.start if part.start is not None else whole.start
    end = part.end if part.end is not None else whole.end
    if start is None or end is None or part.amount is None:
        raise wire.Unreadable("a charge without a time")
    words = [_PARTS.get(part.type or "", ""), part.description or ""] if part is not whole else [part.description or ""]
    if machine_id is None:
        words = [contract, *words]
    return Charge(
        provider=PROVIDER,
        amount_micro_usd=usd_to_micro(part.amount),
        from_ms=int(start * _SECOND_MS),
        to_ms=int(end * _SECOND_MS),
        what=": ".join(word for word in words if word),
        machine_id=machine_id,
    )


def _rejected(message: str, field: str) -> Rejected:
    return Rejected(message, provider=PROVIDER, field=field)
