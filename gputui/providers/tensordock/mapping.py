"""TensorDock's answers in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gputui.model.errors import Rejected
from gputui.model.gpus import BY_NAME, canonical_gpu, vram_of
from gputui.model.states import MachineState
from gputui.model.types import Machine, Offer, OsImage, Region, SshKey, Stock
from gputui.model.units import MicroUsdPerHour, Ms, usd_to_micro
from gputui.providers.tensordock import wire
from gputui.providers.tensordock.first_boot import SSH_USER
from gputui.providers.tensordock.shapes import Shape, fitting_shape, wanted_shape
from gputui.providers.tensordock.wire import PROVIDER

SSH_PORT = 22
# More GPUs than any one host has; a larger count is an error of the listing.
MAX_GPUS = 16

# The words of TensorDock docs, instance-management, and of its earlier API; the rest were coded for by public clients.
_STATES: dict[str, MachineState] = {
    "running": MachineState.RUNNING,
    "starting": MachineState.PENDING,
    "stopping": MachineState.STOPPED,
    "stopped": MachineState.STOPPED,
    "stoppeddisassociated": MachineState.STOPPED,
    "creating": MachineState.PENDING,
    "queued": MachineState.PENDING,
    "pending": MachineState.PENDING,
    "provisioning": MachineState.PENDING,
    "error": MachineState.ERROR,
    "deleting": MachineState.DELETING,
    "deleted": MachineState.GONE,
    "terminated": MachineState.GONE,
}

# No call lists images. These are in the documentation's enumeration and were seen to work; `_ml_` ones bring CUDA.
_IMAGES: dict[str, str] = {
    "ubuntu2404_ml_everything": "Ubuntu 24.04 with CUDA and all frameworks",
    "ubuntu2404_ml_pytorch": "Ubuntu 24.04 with CUDA and PyTorch",
    "ubuntu2404_ml_tensorflow": "Ubuntu 24.04 with CUDA and TensorFlow",
    "ubuntu2404": "Ubuntu 24.04",
    "ubuntu2204": "Ubuntu 22.04",
}
DEFAULT_IMAGE = "ubuntu2404_ml_everything"

_COUNTRIES = {"united states": "US", "canada": "CA"}

# "geforcertx4090-pcie-24gb" as well as "NVIDIA GeForce RTX 4090 PCIe 24GB".
_GPU_ID = re.compile(r"(?P<model>.+?)[\s-]+(?P<bus>pcie|sxm\d?|nvlink|nvl)[\s-]+(?P<vram>\d{1,3})gb", re.IGNORECASE)
_RUN_TOGETHER = re.compile(r"(geforce|quadro|rtx|sff|ada)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU model in our words; `vram_gib` is memory per GPU."""

    name: str
    vram_gib: int | None


def gpu_of(spelling: str) -> Gpu:
    """Return the GPU that a model id or display name stands for. A name our table does not have stays as it came."""
    match = _GPU_ID.fullmatch(spelling.strip())
    if match is None:
        name = canonical_gpu(spelling)
        return Gpu(name, vram_of(name))
    vram_gib = int(match["vram"])
    model = " ".join(_RUN_TOGETHER.sub(r" \1 ", match["model"]).split())
    for words in (f"{model} {match['bus']} {vram_gib}GB", f"{model} {match['bus']}", model):
        name = canonical_gpu(words, vram_gib)
        if name in BY_NAME:
            return Gpu(name, vram_gib)
    return Gpu(spelling.strip(), vram_gib)


def state_of(status: str | None) -> MachineState:
    """Return our word for a status, whatever its case and separators; UNKNOWN for one we do not know."""
    return _STATES.get(re.sub(r"[\s_-]", "", status or "").lower(), MachineState.UNKNOWN)


def offers_of(row: Any, fetched_at_ms: Ms) -> list[Offer]:
    """Return one offer per GPU model and count that a location tells of, sold-out models included (one GPU, stock NONE)."""
    place = wire.read(wire.WireLocation, row)
    if place is None or not place.id:
        return []
    gpus = [wire.read(wire.WireGpu, gpu) for gpu in place.gpus or []]
    return [offer for gpu in gpus if gpu for offer in _offers_of_model(place, gpu, fetched_at_ms)]


def _offers_of_model(place: wire.WireLocation, found: wire.WireGpu, fetched_at_ms: Ms) -> list[Offer]:
    if not found.v0_name:
        return []
    gpu = gpu_of(found.v0_name)
    most = found.resources or wire.WireResources()
    offers = []
    for count in range(1, max(1, min(found.max_count or 1, MAX_GPUS)) + 1):
        wanted = wanted_shape(count, gpu.vram_gib)
        fitting = fitting_shape(wanted, count, max_gpus=found.max_count, most=most)
        shape = fitting or wanted
        price = price_of(found, count, shape)
        if price is None:
            return []
        offers.append(
            Offer(
                id=f"{PROVIDER}:{place.id}:{found.v0_name}:{count}",
                provider=PROVIDER,
                gpu=gpu.name,
                gpu_count=count,
                price_micro_usd_per_hour=price,
                fetched_at_ms=fetched_at_ms,
                vram_gib=gpu.vram_gib,
                vcpus=shape.vcpus,
                ram_gib=shape.ram_gb,
                disk_gib=shape.disk_gb,
                region=region_code(place),
                stock=Stock.NONE if fitting is None else _stock_of(found),
                native={
                    "location_id": place.id,
                    "gpu_model": found.v0_name,
                    "vcpu_count": shape.vcpus,
                    "ram_gb": shape.ram_gb,
                    "storage_gb": shape.disk_gb,
                },
            )
        )
    return offers


def _stock_of(found: wire.WireGpu) -> Stock | None:
    """Return the stock of a model. LOW at best: in a published series most orders of listed machines were refused.

    A place without port forwarding counts as having none: only a machine that got a forward can be told from one that did not.
    """
    if found.max_count == 0 or (found.network_features and found.network_features.port_forwarding_available is False):
        return Stock.NONE
    return None if found.max_count is None else Stock.LOW


def price_of(found: wire.WireGpu, gpu_count: int, shape: Shape) -> MicroUsdPerHour | None:
    """Return the price of a whole machine, None when the price of any part is not told.

    Source: the provider's storefront, tensordock/dashboard-frontend-template: each part's price times its number.
    """
    pricing = found.pricing or wire.WirePricing()
    parts: list[tuple[Decimal | None, int]] = [
        (found.price_per_hr or None, gpu_count),
        (pricing.per_vcpu_hr, shape.vcpus),
        (pricing.per_gb_ram_hr, shape.ram_gb),
        (pricing.per_gb_storage_hr, shape.disk_gb),
    ]
    prices = [price * number for price, number in parts if price is not None]
    return usd_to_micro(sum(prices, Decimal(0))) if len(prices) == len(parts) else None


def region_code(place: wire.WireLocation) -> str | None:
    """Return what people call a location: "chicago-illinois"; its id when it has no city. Two places in one city share it."""
    words = [place.city, place.stateprovince or place.country] if place.city else [place.id]
    plain = unicodedata.normalize("NFKD", " ".join(filter(None, words))).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or place.id


def regions_of(rows: Iterable[Any]) -> list[Region]:
    """Return the places that offers may name, each code once. The country is known for those named in the documentation."""
    regions: dict[str, Region] = {}
    for row in rows:
        place = wire.read(wire.WireLocation, row)
        code = region_code(place) if place and place.id else None
        if place is None or code is None or code in regions:
            continue
        name = ", ".join(filter(None, (place.city, place.stateprovince, place.country)))
        country = (place.country or "").strip()
        known = country.upper() if re.fullmatch(r"[A-Za-z]{2}", country) else _COUNTRIES.get(country.lower())
        regions[code] = Region(PROVIDER, code, name or code, known)
    return list(regions.values())


def machine_of(row: Any, *, is_whole: bool = False) -> Machine | None:
    """Return an instance as a machine, None when it has no id. When it was made is not told.

    An address is told with the port forwarded to SSH, or not at all: without a forward it is the host's, not the machine's.
    An order is shown as running from the start; `is_whole` says that an address would be in this row, and without one it
    is not running yet.
    """
    found = wire.read(wire.WireInstance, row)
    if found is None or not found.id:
        return None
    model, count = _gpu_in(found)
    port = _ssh_port(found.port_forwards or [])
    state = state_of(found.status)
    if is_whole and state is MachineState.RUNNING and not found.ip_address:
        state = MachineState.PENDING
    return Machine(
        id=found.id,
        provider=PROVIDER,
        state=state,
        raw_state=found.status or "",
        label=found.name or None,
        gpu=model,
        gpu_count=count,
        region=found.region or None,
        price_micro_usd_per_hour=usd_to_micro(found.rate_hourly) if found.rate_hourly else None,
        ip=found.ip_address or None if port else None,
        ssh_port=port,
        ssh_user=SSH_USER,
    )


def _gpu_in(found: wire.WireInstance) -> tuple[str | None, int | None]:
    """Return model and count; unknown where there is not exactly one model."""
    gpus = (found.resources.gpus if found.resources else None) or {}
    if len(gpus) != 1:
        return None, None
    [(key, value)] = gpus.items()
    gpu = wire.read(wire.WireMachineGpu, value) or wire.WireMachineGpu()
    return gpu_of(gpu.v0_name or key).name, gpu.count or None


def _ssh_port(forwards: list[Any]) -> int | None:
    for row in forwards:
        forward = wire.read(wire.WireForward, row)
        if forward and forward.internal_port == SSH_PORT and 0 < (forward.external_port or 0) < 65_536:
            return forward.external_port
    return None


def ssh_keys_of(rows: Iterable[Any]) -> list[SshKey]:
    """Return the public keys among the secrets. Their text is not told in lists."""
    secrets = [wire.read(wire.WireSecret, row) for row in rows]
    return [
        SshKey(secret.id, PROVIDER, secret.name or "")
        for secret in secrets
        if secret and secret.id and (secret.type or "").upper() == "SSHKEY"
    ]


def images() -> list[OsImage]:
    """Return the images an order may name, the one it names by itself first."""
    return [OsImage(PROVIDER, value, name, value == DEFAULT_IMAGE) for value, name in _IMAGES.items()]


def fingerprint_of(public_key: str) -> str:
    """Return `SHA256:…` of a one-line OpenSSH public key. Raises Rejected when it is not one."""
    parts = public_key.split()
    blob = b""
    if len(parts) >= 2 and re.fullmatch(r"[a-z0-9@.-]+", parts[0]) and "\n" not in public_key.strip():
        try:
            blob = base64.b64decode(parts[1], validate=True)
        except binascii.Error:
            blob = b""
    if not blob:
        raise Rejected("The SSH public key is not a one-line OpenSSH key.", provider=PROVIDER, field="ssh_public_key")
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
