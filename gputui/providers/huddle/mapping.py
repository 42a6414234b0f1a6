"""Huddle's answers in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gputui.model.errors import Conflict, Malformed, NotFunded, ProviderError, Rejected
from gputui.model.gpus import canonical_gpu, fold
from gputui.model.states import MachineState
from gputui.model.types import Machine, Offer, OsImage, Region, SshKey, Stock
from gputui.model.units import MICRO, MicroUsd, MicroUsdPerHour, Ms, parse_iso_utc, usd_to_micro
from gputui.providers.huddle import wire
from gputui.providers.replies import Reply, default_error, message_in

PROVIDER = "huddle"
SSH_USER = "root"
SSH_PORT = 22
# Huddle docs, gpu-deployments: 50 GB unless asked otherwise, 512 at most. That 50 is also the least is inferred.
MIN_DISK_GIB = 50
MAX_DISK_GIB = 512

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_CENT: MicroUsd = MICRO // 100

# The main path is in Huddle docs, gpu-overview; offline, error and failed_no_capacity are known as webhook events. The
# rest are words of the upstream cloud (Verda's client libraries) that may come through.
_STATES: dict[str, MachineState] = {
    "ordered": MachineState.PENDING,
    "provisioning": MachineState.PENDING,
    "running": MachineState.RUNNING,
    "offline": MachineState.STOPPED,
    "error": MachineState.ERROR,
    "failed_no_capacity": MachineState.NO_CAPACITY,
    "deleted": MachineState.GONE,
    "new": MachineState.PENDING,
    "pending": MachineState.PENDING,
    "validating": MachineState.PENDING,
    "restoring": MachineState.PENDING,
    "starting_hibernation": MachineState.STOPPED,
    "hibernating": MachineState.STOPPED,
    "installation_failed": MachineState.ERROR,
    "no_capacity": MachineState.NO_CAPACITY,
    "deleting": MachineState.DELETING,
    # The upstream has ended it, but what Huddle still holds or bills is not told: it takes a delete to be sure.
    "discontinued": MachineState.ERROR,
    "notfound": MachineState.ERROR,
}

# Huddle docs, gpu-overview: the codes of an error body and the HTTP status each goes with.
_STATUS_OF_CODE: dict[str, int] = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "INSUFFICIENT_CREDITS": 402,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "INTERNAL": 500,
    "BAD_GATEWAY": 502,
}


def error_in(reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error an answer with JSON stands for, None when it is a good one.

    A known `code` says more than a 2xx or 4xx status. A 5xx stays a fault whatever the body says, so that nothing is taken
    as refused that may have been done. An unknown code counts as its status does.
    """
    status = _status_meant(reply)
    if status is None:
        return Malformed("Huddle's answer says neither that it worked nor what failed.")
    if 200 <= status < 300:
        return None
    text = message_in(reply.data)
    said = f" It said: {text}" if text else ""
    if status == 402:
        return NotFunded(
            f"The credit at Huddle is too low.{said}",
            hint="Huddle wants at least $20.00 of credit whenever a machine is ordered.",
        )
    if status == 409:
        return Conflict(f"Huddle refused to {reply.operation} as things stand (409).{said}")
    return default_error(PROVIDER, replace(reply, status=status), now_ms)


def _status_meant(reply: Reply) -> int | None:
    """Return the HTTP status an answer stands for, None for a 2xx with an unknown code."""
    code = reply.data.get("code") if isinstance(reply.data, dict) else None
    if code is None or reply.status == 429 or reply.status >= 500:
        return reply.status
    is_success = 200 <= reply.status < 300
    if is_success and code == "OK":
        return reply.status
    return _STATUS_OF_CODE.get(str(code), None if is_success else reply.status)


def state_of(status: str | None) -> MachineState:
    """Return our word for a status; UNKNOWN (alive, billable, keep asking) for one we do not know."""
    return _STATES.get((status or "").strip().lower(), MachineState.UNKNOWN)


def gpu_of(model: str, vram_gib: int | None) -> str:
    """Return the canonical name of a `gpu_model`.

    Huddle says "H100" without the form. Its instance types ("1H100.80S.30V") are those of the upstream cloud, where they
    are SXM machines: inferred, not documented.
    """
    if fold(model) == "H100" and vram_gib in (None, 80):
        return "H100-SXM"
    return canonical_gpu(model, vram_gib)


def micro_usd_of(amount: Decimal | None, currency: str | None) -> MicroUsdPerHour | None:
    """Return a positive price in micro-USD; None when there is none or it is in another currency."""
    if amount is None or (currency or "USD").upper() != "USD":
        return None
    price = usd_to_micro(amount)
    return price if price > 0 else None


def offers_of(row: Any, fetched_at_ms: Ms) -> list[Offer]:
    """Return one offer per region of an instance type; none for a row without type, GPU or price.

    Stock is told as yes or no, for all regions at once. A type without a region cannot be ordered, so it has none. Spot
    prices are left out: there is no way to order spot.
    """
    found = wire.read(wire.WireOffer, row)
    if found is None or not found.instance_type or not found.gpu_model or not found.gpu_count:
        return []
    price = micro_usd_of(found.price_per_hr, found.currency)
    if price is None or found.gpu_count < 1:
        return []
    stock = None if found.is_available is None else Stock.HIGH if found.is_available else Stock.NONE
    codes: list[str | None] = [region.code for region in regions_of(found.regions or [])]
    vram_gib = found.gpu_vram_gb or None
    return [
        Offer(
            id=f"{PROVIDER}:{found.instance_type}:{code or '-'}",
            provider=PROVIDER,
            gpu=gpu_of(found.gpu_model, vram_gib),
            gpu_count=found.gpu_count,
            price_micro_usd_per_hour=price,
            fetched_at_ms=fetched_at_ms,
            vram_gib=vram_gib,
            vcpus=found.vcpu_count or None,
            ram_gib=found.ram_gb or None,
            disk_gib=found.storage_gb or None,
            region=code,
            stock=stock if code else Stock.NONE,
            native={"cluster_type": found.instance_type, "location": code},
        )
        for code in codes or [None]
    ]


def regions_of(rows: Iterable[Any]) -> list[Region]:
    """Return regions from objects or from plain codes (Huddle's guide and reference differ), each code once."""
    regions: dict[str, Region] = {}
    for row in rows:
        found = wire.WireRegion(code=row) if isinstance(row, str) else wire.read(wire.WireRegion, row)
        if found and found.code and found.code not in regions:
            regions[found.code] = Region(PROVIDER, found.code, found.name or found.code, found.country_code or None)
    return list(regions.values())


def machine_of(row: Any) -> Machine | None:
    """Return a deployment as a machine, None when it has no id."""
    found = wire.read(wire.WireDeployment, row)
    if found is None or not found.id:
        return None
    specs = found.specs or wire.WireSpecs()
    has_port = found.ssh_port is not None and 0 < found.ssh_port < 65_536
    return Machine(
        id=found.id,
        provider=PROVIDER,
        state=state_of(found.status),
        raw_state=found.status or "",
        label=found.hostname or None,
        gpu=gpu_of(specs.gpu_model, specs.gpu_vram_gb) if specs.gpu_model else None,
        gpu_count=specs.gpu_count or None,
        region=found.location or None,
        price_micro_usd_per_hour=micro_usd_of(specs.price_per_hr, specs.currency),
        ip=found.ip or None,
        ssh_port=found.ssh_port if has_port else SSH_PORT,
        ssh_user=found.ssh_user or SSH_USER,
        created_at_ms=moment(found.created_at),
        started_at_ms=moment(found.started_at),
    )


def moment(text: str | None) -> Ms | None:
    """Return a timestamp; None also for the zero time (year 1) that stands for "not yet"."""
    moment = parse_iso_utc(text)
    return moment if moment is not None and moment > 0 else None


def balance_of(data: Any) -> MicroUsd | None:
    """Return the credit in micro-USD, None when it is not told.

    Dollars are the finer figure and win while both agree within a cent; where they do not, the smaller is the safe one.
    """
    found = wire.read(wire.WireBalance, data) or wire.WireBalance()
    cents = None if found.balance_cents is None else found.balance_cents * _CENT
    dollars = None if found.balance_usd is None else usd_to_micro(found.balance_usd)
    if cents is None or dollars is None:
        return cents if dollars is None else dollars
    return dollars if abs(dollars - cents) <= _CENT else min(dollars, cents)


def ssh_key_of(row: Any) -> SshKey | None:
    """Return a registered key, None when it has no id. The key's own text is never told."""
    found = wire.read(wire.WireSshKey, row)
    if found is None or not found.id:
        return None
    return SshKey(found.id, PROVIDER, found.name or "", found.fingerprint or None)


def fingerprint_of(public_key: str) -> str:
    """Return `SHA256:…` of a one-line OpenSSH public key. Raises Rejected when it is not one."""
    parts = public_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error):
        blob = b""
    if not blob:
        raise Rejected("The SSH public key is not a one-line OpenSSH key.", provider=PROVIDER, field="ssh_public_key")
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def images_of(rows: Iterable[Any]) -> list[OsImage]:
    """Return the images an order may name, best for one machine with a container engine first.

    `…-cluster` images belong to several machines wired together and come last. The rest of the order: with Docker, open
    kernel driver, marked as default, newest name; so that the same list always gives the same first.
    """
    ranked = []
    for row in rows:
        found = wire.read(wire.WireImage, row)
        if found is None:
            continue
        slug = found.image_type or found.slug or ""
        value = found.id or slug
        if not value:
            continue
        name = found.name or slug or value
        words = " ".join([slug, name, *map(str, found.details or [])]).lower()
        is_cluster = bool(found.is_cluster) or slug.endswith("-cluster")
        rank = (not is_cluster, "docker" in words, "open-docker" in slug, bool(found.is_default), slug, value)
        ranked.append((rank, OsImage(PROVIDER, value, name, bool(found.is_default))))
    return [image for _, image in sorted(ranked, key=lambda pair: pair[0], reverse=True)]


def check_label(label: str) -> str:
    """Return a label that can be a host name. Raises Rejected for one that cannot."""
    if not _LABEL.fullmatch(label):
        raise Rejected(
            f"{label!r} cannot be a host name at Huddle: letters, digits and inner dashes, 63 at most.",
            provider=PROVIDER,
            field="label",
        )
    return label


def os_volume_of(label: str, disk_gib: int | None) -> dict[str, Any] | None:
    """Return the boot disk of an order, None for Huddle's default of 50 GB. Raises Rejected for a size it cannot have."""
    if disk_gib is None:
        return None
    if not MIN_DISK_GIB <= disk_gib <= MAX_DISK_GIB:
        raise Rejected(
            f"A boot disk at Huddle has {MIN_DISK_GIB} to {MAX_DISK_GIB} GB, not {disk_gib}.",
            provider=PROVIDER,
            field="disk_gib",
        )
    return {"name": f"{label}-os", "size": disk_gib}
