"""Vast.ai's offers and machines in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from gputui.model.errors import NoCapacity, Rejected
from gputui.model.gpus import canonical_gpu, vram_of
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Offer, Stock, Tier, Volume
from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms, usd_to_micro
from gputui.providers.vastai import limits, wire
from gputui.providers.vastai.wire import PROVIDER

SSH_USER = "root"
# Vast.ai's own image, of which it takes the version that fits the host's driver (OpenAPI document, create instance).
DEFAULT_IMAGE = "vastai/base-image:@vastai-automatic-tag"
# OpenAPI document, create instance: where its samples mount a volume.
MOUNT_PATH = "/data"
# Vast.ai's start-up replaces the image's own, brings up sshd and maps it to a port of the host and to Vast.ai's proxy. These
# are the words of Vast.ai's own client, misspelling included; the documented "ssh_direct" does not tell of the proxy.
RUNTYPE = "ssh_direc ssh_proxy"
# Offers are priced with this disk, and it is ordered where no other is asked for: a large image and some data fit in.
DISK_GB = 40
# Offers that end sooner are left out: a machine cannot outlive its offer.
LEAST_LEFT_S = 86_400
# No limit is documented for a new machine; public clients keep to this one.
LONGEST_LABEL = 60

# Of a host that does not tell how fast its line is.
FASTEST_LINE_MBPS = 10_000

_HOURS_PER_MONTH = 720
_MB_PER_GIB = 1024
_SECOND_MS = 1000
_HOUR_S = 3600
_MB_PER_GB = 1000
_BITS = 8
_MICRO = 1_000_000
# How far the price of an answer may be from the sum of its parts before the parts count: less is rounding.
_ROUNDING_USD = Decimal("0.0005")

_STATES: dict[str, MachineState] = {
    "created": MachineState.PENDING,
    "loading": MachineState.PENDING,
    "rebooting": MachineState.PENDING,
    "recycling": MachineState.PENDING,
    "running": MachineState.RUNNING,
    # A container that ended, too: what a stop shows in practice, and what a start shows until the container is there again.
    "exited": MachineState.STOPPED,
    "stopped": MachineState.STOPPED,
    # Paused with its memory kept, and billed as if it ran: neither of use nor off.
    "frozen": MachineState.UNKNOWN,
    # The host is not heard of. It may come back, and the machine with it.
    "unknown": MachineState.UNKNOWN,
    "offline": MachineState.UNKNOWN,
}
_NOT_UP = frozenset({"", "created", "loading", "exited"})
_FAILURE = re.compile(r"\bError\b|not found|denied|OCI runtime")
_SUPER_TI = re.compile(r"(?<=\d)S Ti\b", re.IGNORECASE)
_COUNTRY = re.compile(r"(?:^|,)\s*([A-Z]{2})\s*$")


def gpu_name_of(spelling: str, vram_gib: int | None = None) -> str:
    """Return the canonical name for Vast.ai's spelling ("RTX 4070S Ti", "A100 SXM4")."""
    return canonical_gpu(_SUPER_TI.sub(" Ti Super", spelling), vram_gib)


def gpu_of(found: wire.WireHardware) -> tuple[str | None, int | None]:
    """Return the canonical name of the GPU and its memory in GiB, None for what is not told.

    `gpu_ram` is what can be used of the memory, up to a tenth less than the card is sold with.
    """
    usable_gib = None if not found.gpu_ram else round(found.gpu_ram / _MB_PER_GIB)
    if not found.gpu_name:
        return None, usable_gib
    name = gpu_name_of(found.gpu_name, usable_gib)
    printed_gib = vram_of(name)
    if usable_gib is None or (printed_gib and 0.9 * printed_gib <= usable_gib <= printed_gib):
        return name, printed_gib
    return name, usable_gib


def region_of(geolocation: str | None) -> str | None:
    """Return the country of a place ("Ontario, CA") as two letters, None where it is not told."""
    match = _COUNTRY.search(geolocation or "")
    return match[1] if match else None


def search_body(filters: dict[str, Any], *, limit: int) -> dict[str, Any]:
    """Return a question for on-demand offers of verified hosts, cheapest first, priced with our default disk."""
    return {
        "verified": {"eq": True},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "disk_space": {"gte": DISK_GB},
        "duration": {"gte": LEAST_LEFT_S},
        **filters,
        "type": "on-demand",
        "allocated_storage": DISK_GB,
        "order": [["dph_total", "asc"]],
        "limit": limit,
    }


def offer_of(row: Any, fetched_at_ms: Ms) -> Offer | None:
    """Return an offer, None for one without id, GPU or price and for one we did not ask for.

    A question with a member that Vast.ai does not understand has been answered as if that member were not there, so that every
    answer is looked over. An offer is one machine and can be had once.
    """
    found = wire.read(wire.WireOffer, row)
    if found is None or not found.id or not found.num_gpus or found.num_gpus < 1 or not _is_wanted(found):
        return None
    gpu, vram_gib = gpu_of(found)
    price = price_of(found)
    if gpu is None or price is None:
        return None
    disk_gb = None if found.disk_space is None else math.floor(found.disk_space)
    reliability = found.reliability2 if found.reliability2 is not None else found.reliability
    return Offer(
        id=f"{PROVIDER}:{found.id}",
        provider=PROVIDER,
        gpu=gpu,
        gpu_count=found.num_gpus,
        price_micro_usd_per_hour=price,
        fetched_at_ms=fetched_at_ms,
        vram_gib=vram_gib,
        vcpus=_share_of_cpus(found),
        ram_gib=_share_of_memory(found),
        disk_gib=disk_gb,
        region=region_of(found.geolocation),
        tier=Tier.SECURE if found.hosting_type == 1 else Tier.COMMUNITY,
        stock=Stock.LOW,
        reliability=reliability,
        native={
            "ask_id": found.id,
            "gpu_name": found.gpu_name,
            "disk_gb": DISK_GB,
            "machine_id": found.machine_id,
            "place": found.geolocation,
            "verified": None if found.verification is None else found.verification == "verified",
            "ends_at_s": None if found.end_date is None else int(found.end_date),
            "inet_up": found.inet_up,
            "inet_down": found.inet_down,
            "inet_up_cost": _as_number(found.inet_up_cost),
            "inet_down_cost": _as_number(found.inet_down_cost),
        },
    )


def _is_wanted(found: wire.WireOffer) -> bool:
    """Say whether an offer is what was asked for; what it does not tell is no obstacle."""
    return (
        found.is_bid is not True
        and found.verification in (None, "verified")
        and found.rentable is not False
        and found.rented is not True
        and (found.disk_space is None or found.disk_space >= DISK_GB)
        and (found.duration is None or found.duration >= LEAST_LEFT_S)
    )


def price_of(found: wire.WireOffer) -> MicroUsdPerHour | None:
    """Return the price per hour with our default disk, None when it is not told.

    The total in an answer counts whatever disk the question was understood to name: where it is not the sum of its parts, the
    parts count.
    """
    total = found.dph_total
    if found.dph_base is not None and found.storage_cost is not None:
        with_our_disk = found.dph_base + found.storage_cost * DISK_GB / _HOURS_PER_MONTH
        if total is None or abs(total - with_our_disk) > _ROUNDING_USD:
            total = with_our_disk
    return _positive(total)


def _positive(usd: Decimal | None) -> MicroUsdPerHour | None:
    price = 0 if usd is None else usd_to_micro(usd)
    return price if price > 0 else None


def _share_of_cpus(found: wire.WireOffer) -> int | None:
    share = found.cpu_cores_effective
    if share is None and found.cpu_cores is not None and found.gpu_frac is not None:
        share = round(found.cpu_cores * found.gpu_frac, 6)  # a third of 216 are 72, not a little less
    return max(1, math.floor(share)) if share else None


def _share_of_memory(found: wire.WireOffer) -> int | None:
    """Return this offer's part of the host's memory, which goes by its part of the processors."""
    part = found.gpu_frac
    if found.cpu_cores_effective is not None and found.cpu_cores:
        part = found.cpu_cores_effective / found.cpu_cores
    if found.cpu_ram is None or part is None:
        return None
    return round(found.cpu_ram * min(part, 1) / _MB_PER_GIB) or None


def state_of(found: wire.WireInstance) -> MachineState:
    """Return our word for a machine's state; UNKNOWN (alive, billable, keep asking) for one we do not know.

    A machine that is not up yet and tells of an error will not get up: a missing image, a refused login, a broken host.
    """
    actual, intended = _word(found.actual_status), _word(found.intended_status)
    if _word(found.cur_state) == "unloaded":
        return MachineState.GONE
    if intended == "stopped" and actual in ("", "created", "loading"):
        return MachineState.ERROR if _has_failed(found) else MachineState.STOPPED
    if intended != "stopped" and actual in _NOT_UP and _has_failed(found):
        return MachineState.ERROR
    if actual == "running" and intended not in ("", "running"):
        return MachineState.UNKNOWN  # on its way down, and billed until it is there
    return _STATES.get(actual, MachineState.UNKNOWN) if actual else MachineState.PENDING


def _word(text: str | None) -> str:
    return (text or "").strip().lower()


def _has_failed(found: wire.WireInstance) -> bool:
    return _FAILURE.search(found.status_msg or "") is not None


def _raw_state(found: wire.WireInstance, state: MachineState) -> str:
    """Return Vast.ai's word, and for a failure what it says of it. A machine that is being placed has no word yet."""
    word = found.actual_status or found.cur_state or ""
    if state is not MachineState.ERROR:
        return word
    return f"{word}: {' '.join((found.status_msg or '').split())[:200]}"


def machine_of(row: Any) -> Machine | None:
    """Return an instance as a machine, None when it has no id."""
    found = wire.read(wire.WireInstance, row)
    if found is None or not found.id:
        return None
    state = state_of(found)
    host, port = ssh_endpoint_of(found)
    gpu, _ = gpu_of(found)
    return Machine(
        id=found.id,
        provider=PROVIDER,
        state=state,
        raw_state=_raw_state(found, state),
        label=found.label or None,
        gpu=gpu,
        gpu_count=found.num_gpus or None,
        region=region_of(found.geolocation),
        price_micro_usd_per_hour=_positive(found.dph_total),
        ip=host,
        ssh_port=port,
        ssh_user=SSH_USER,
        created_at_ms=_moment(found.start_date),
        billed_micro_usd_per_hour=billed_at(found),
        traffic_micro_usd=traffic_of(found),
        traffic_limit_micro_usd_per_hour=traffic_limit_of(found),
    )


def billed_at(found: wire.WireInstance) -> tuple[MicroUsdPerHour, MicroUsdPerHour] | None:
    """Return the least and the most an instance costs per hour as it is; None when it does not tell its price.

    Its disk is paid for as long as its host is there, its GPUs while it runs or is frozen (Vast.ai docs, billing). Of
    what it is while it reboots or is not heard of, the documents say nothing.
    """
    whole = _positive(found.dph_total)
    if whole is None:
        return None
    disk = 0 if found.storage_total_cost is None else min(whole, usd_to_micro(found.storage_total_cost))
    match _word(found.actual_status):
        case "running" | "frozen":
            return whole, whole
        case "" | "created" | "loading" | "exited" | "stopped":
            return disk, disk
        case "offline":
            return 0, 0
    return 0, whole


def traffic_of(found: wire.WireInstance) -> MicroUsd | None:
    """Return what traffic has cost so far, image pull included, rounded down; None when it is not told."""
    up = _product(found.inet_up_billed, found.inet_up_cost)
    down = _product(found.inet_down_billed, found.inet_down_cost)
    return None if up is None or down is None else math.floor((up + down) * _MICRO)


def traffic_limit_of(found: wire.WireHardware) -> MicroUsdPerHour | None:
    """Return the most that traffic can cost per hour: both directions at the measured speed of the line, in Mb/s.

    None when no price of it is told.
    """
    if found.inet_up_cost is None and found.inet_down_cost is None:
        return None
    usd_per_hour = Decimal(0)
    for speed, usd_per_gb in ((found.inet_up, found.inet_up_cost), (found.inet_down, found.inet_down_cost)):
        mbps = Decimal(str(FASTEST_LINE_MBPS if speed is None else speed))
        gb_per_hour = mbps * _HOUR_S / _MB_PER_GB / _BITS
        usd_per_hour += max(Decimal(0), gb_per_hour * (usd_per_gb or 0))
    return math.ceil(usd_per_hour * _MICRO)


def _as_number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _product(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    return None if left is None or right is None else max(Decimal(0), left * right)


def _moment(seconds: Decimal | None) -> Ms | None:
    return int(seconds * _SECOND_MS) if seconds and seconds > 0 else None


def ssh_endpoint_of(found: wire.WireInstance) -> tuple[str | None, int | None]:
    """Return where SSH answers: the host's own address and port, or a name and port of Vast.ai's proxy where there is none.

    Before its ports are told, a machine says which one it is going to be; a host with less than two open ports has none to
    give. Where Jupyter is set up, the proxy's port is one more than told. (Vast.ai's own client does so.)
    """
    address = (found.public_ipaddr or "").strip()
    if address and (direct := _direct_port(found)):
        return address, direct
    name, port = (found.ssh_host or "").strip(), found.ssh_port
    if not name or port is None:
        return None, None
    port += "jupyter" in (found.image_runtype or "")
    return (name, port) if _is_port(port) else (None, None)


def _direct_port(found: wire.WireInstance) -> int | None:
    if not found.ports:
        port, has_none = found.machine_dir_ssh_port, found.direct_port_count in (0, 1)
        return port if "direc" in (found.image_runtype or "") and not has_none and _is_port(port) else None
    bindings = found.ports.get("22/tcp")
    for binding in bindings if isinstance(bindings, list) else []:
        text = str(binding.get("HostPort") or "") if isinstance(binding, dict) else ""
        if text.isdecimal() and _is_port(int(text)):
            return int(text)
    return None


def _is_port(port: int | None) -> bool:
    return port is not None and 0 < port < 65_536


def check_order(request: CreateRequest, now_ms: Ms) -> None:
    """Raise Rejected for a request that Vast.ai cannot serve, NoCapacity for one that only this offer cannot."""
    native = request.offer.native
    if not str(native.get("ask_id") or "").isdecimal():
        raise _rejected("This offer has no id to order it by.", "offer")
    if not 0 < len(request.label) <= LONGEST_LABEL:
        raise _rejected(
            f"A label at Vast.ai may have {LONGEST_LABEL} characters here, not {len(request.label)}.", "label"
        )
    if request.disk_gib is not None and request.disk_gib < 1:
        raise _rejected(f"A disk cannot have {request.disk_gib} GB.", "disk_gib")
    most_gb = request.offer.disk_gib
    if most_gb is not None and disk_of(request) > most_gb:
        raise NoCapacity(
            f"This offer has {most_gb} GB of disk at most, {disk_of(request)} asked for.", provider=PROVIDER
        )
    if obstacle := volume_obstacle(request.volumes, request.offer):
        raise _rejected(f"The machine {obstacle}.", "volumes")
    ends_at_s = native.get("ends_at_s")
    if ends_at_s is not None and now_ms / _SECOND_MS + (request.max_duration_s or 0) > ends_at_s:
        raise NoCapacity("This offer ends before the job would.", provider=PROVIDER)


def disk_of(request: CreateRequest) -> int:
    """Return the disk to order in GB. It is fixed for life, and more than there is would be reduced without a word."""
    return DISK_GB if request.disk_gib is None else request.disk_gib


def order_of(request: CreateRequest) -> dict[str, Any]:
    """Return the body of an order. Never with a `price`: any makes it a bid, to be interrupted by who bids more.

    Neither command nor environment is sent: they reach the machine over SSH, and nobody sees them at Vast.ai.
    """
    body: dict[str, Any] = {
        "client_id": "me",
        "image": request.image or DEFAULT_IMAGE,
        "disk": disk_of(request),
        "label": request.label,
        "runtype": RUNTYPE,
        "target_state": "running",
        "cancel_unavail": True,
    }
    for volume in request.volumes:
        body["volume_info"] = {"create_new": False, "volume_id": int(volume.id), "mount_path": MOUNT_PATH}
    return body


def volume_obstacle(volumes: Sequence[Volume], offer: Offer) -> str | None:
    """Return why a machine of this offer cannot have these volumes, None when it can.

    Vast.ai docs, volumes: a volume lies on one host, and one machine at a time has it. An order names one volume.
    """
    if len(volumes) > 1:
        return f"can have one volume, not {len(volumes)}"
    for volume in volumes:
        if volume.attached_to:
            return f"cannot have the volume {volume.name} while machine {volume.attached_to[0]} has it"
        if not volume.id.isdecimal() or offer.native.get("machine_id") != volume.host:
            return f"is not on host {volume.host}, where the volume {volume.name} is"
    return None


def ordered_machine(machine_id: str, request: CreateRequest) -> Machine:
    """Return a machine of which no more than the id is known yet; its own price is yet to be read."""
    line = wire.read(wire.WireHardware, dict(request.offer.native))
    return Machine(
        id=machine_id,
        provider=PROVIDER,
        state=MachineState.PENDING,
        raw_state="",
        label=request.label,
        gpu=request.offer.gpu,
        gpu_count=request.offer.gpu_count,
        region=request.offer.region,
        ssh_user=SSH_USER,
        billed_micro_usd_per_hour=(0, request.offer.price_micro_usd_per_hour),
        traffic_limit_micro_usd_per_hour=traffic_limit_of(line) if line else None,
    )


def difference(row: Any, request: CreateRequest) -> str | None:
    """Return how a new machine differs from what was ordered, None when it does not; what it does not tell is no difference."""
    found = wire.read(wire.WireInstance, row)
    if found is None:
        return None
    gpu_name = request.offer.native.get("gpu_name")
    if found.gpu_name and gpu_name and found.gpu_name != gpu_name:
        return f"has {found.gpu_name}, not {gpu_name}"
    if found.num_gpus is not None and found.num_gpus != request.offer.gpu_count:
        return f"has {found.num_gpus} GPUs, not {request.offer.gpu_count}"
    if found.disk_space is not None and math.ceil(found.disk_space) < disk_of(request):
        return f"has {found.disk_space} GB of disk, not {disk_of(request)}"
    if found.is_bid:
        return "is a bid and may be interrupted"
    return None


def _rejected(message: str, field: str) -> Rejected:
    return Rejected(message, provider=PROVIDER, operation=limits.ORDER, field=field)
