"""What the simulated TensorDock has: GPU models, locations, hosts and images.

Ids of GPU models and images, the fields of hosts and the component prices occur in TensorDock's documentation or in
public clients of it (2024 to 2026). Hosts, their sizes and their GPU prices are invented, near what was seen.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gputui.sim.catalogue import InstanceType


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model. `id` is what the API calls `v0Name`."""

    id: str
    display_name: str
    vram_gb: int


@dataclass(frozen=True, slots=True)
class Place:
    """A location, and what the parts of a machine beside its GPUs cost there, dollars per hour each."""

    id: str
    city: str
    state: str
    country: str
    tier: int
    network_gbps: float
    usd_per_vcpu: Decimal
    usd_per_gb_ram: Decimal
    usd_per_gb_storage: Decimal


@dataclass(frozen=True, slots=True)
class Host:
    """One computer with GPUs of one model, of which other customers hold some. A phantom one is listed and has nothing."""

    id: str
    place: Place
    model: Model
    gpus: int
    vcpus: int
    ram_gb: int
    storage_gb: int
    uptime_percentage: float
    has_public_ips: bool = False
    is_phantom: bool = False
    taken: int = 0

    @property
    def type_name(self) -> str:
        """Return the catalogue's name of one GPU of this host: a model has one price in one place."""
        return f"{self.model.id}@{self.place.city.lower()}"


def stable_id(text: str) -> str:
    """Return a UUID that is always the same for the same text."""
    return str(uuid.UUID(int=random.Random(f"tensordock:{text}").getrandbits(128), version=4))


def _place(
    city: str, state: str, country: str, tier: int, gbps: float, vcpu: str = "0.003", gb: str = "0.00005"
) -> Place:
    return Place(
        stable_id(city), city, state, country, tier, gbps, Decimal(vcpu), Decimal("0.002"), Decimal(gb)
    )  # fmt: skip


def _host(
    place: Place, model: Model, number: int, gpus: int, vcpus: int, ram_gb: int, storage_gb: int, *, uptime: float = 99.9,
    public_ips: bool = False, phantom: bool = False, taken: int = 0,
) -> Host:  # fmt: skip
    host_id = stable_id(f"{place.city}/{model.id}/{number}")
    return Host(host_id, place, model, gpus, vcpus, ram_gb, storage_gb, uptime, public_ips, phantom, taken)


_H100_SXM = Model("h100-sxm5-80gb", "NVIDIA H100 SXM5 80GB", 80)
_A100_SXM = Model("a100-sxm4-80gb", "NVIDIA A100 SXM4 80GB", 80)
_A100_PCIE = Model("a100-pcie-80gb", "NVIDIA A100 PCIe 80GB", 80)
_L40S = Model("l40s-pcie-48gb", "NVIDIA L40S PCIe 48GB", 48)
_L40 = Model("l40-pcie-48gb", "NVIDIA L40 PCIe 48GB", 48)
_A6000 = Model("rtxa6000-pcie-48gb", "NVIDIA RTX A6000 PCIe 48GB", 48)
_6000_ADA = Model("rtx6000ada-pcie-48gb", "NVIDIA RTX 6000 Ada PCIe 48GB", 48)
_A4000 = Model("rtxa4000-pcie-16gb", "NVIDIA RTX A4000 PCIe 16GB", 16)
_5090 = Model("geforcertx5090-pcie-32gb", "NVIDIA GeForce RTX 5090 PCIe 32GB", 32)
_4090 = Model("geforcertx4090-pcie-24gb", "NVIDIA GeForce RTX 4090 PCIe 24GB", 24)
_3090 = Model("geforcertx3090-pcie-24gb", "NVIDIA GeForce RTX 3090 PCIe 24GB", 24)
_V100 = Model("v100-sxm2-16gb", "NVIDIA V100 SXM2 16GB", 16)

_CHICAGO = _place("Chicago", "Illinois", "United States", 3, 10)
_DALLAS = _place("Dallas", "Texas", "United States", 4, 10.5)
_JOPLIN = _place("Joplin", "Missouri", "United States", 2, 1, "0.004")
_WINNIPEG = _place("Winnipeg", "Manitoba", "Canada", 3, 1)
_MANASSAS = _place("Manassas", "Virginia", "United States", 4, 10, "0.003", "0.000075")
_MUMBAI = _place("Mumbai", "Maharashtra", "India", 1, 0.5, "0.004")
_KRAKOW = _place("Krakow", "Lesser Poland", "Poland", 0, 2.5)

PLACES: tuple[Place, ...] = (_CHICAGO, _DALLAS, _JOPLIN, _WINNIPEG, _MANASSAS, _MUMBAI, _KRAKOW)

HOSTS: tuple[Host, ...] = (
    _host(_CHICAGO, _4090, 1, 4, 56, 331, 30_200, public_ips=True),
    _host(_CHICAGO, _4090, 2, 2, 32, 188, 3_020),
    _host(_CHICAGO, _A6000, 1, 6, 96, 480, 12_000, public_ips=True),
    _host(_DALLAS, _H100_SXM, 1, 8, 208, 1_760, 26_000, uptime=99.99, public_ips=True, taken=4),
    _host(_DALLAS, _A100_SXM, 1, 8, 240, 1_900, 20_000, uptime=99.98, public_ips=True),
    _host(_DALLAS, _L40S, 1, 4, 120, 500, 14_000, public_ips=True),
    _host(_JOPLIN, _H100_SXM, 1, 2, 52, 440, 6_000, uptime=97.5, phantom=True),
    _host(_JOPLIN, _A100_PCIE, 1, 1, 30, 118, 2_000, uptime=97.5, phantom=True),
    _host(_JOPLIN, _5090, 1, 3, 48, 240, 3_600, uptime=98.4),
    _host(_WINNIPEG, _4090, 1, 8, 120, 500, 16_000, public_ips=True),
    _host(_WINNIPEG, _6000_ADA, 1, 2, 40, 250, 7_000),
    _host(_WINNIPEG, _A4000, 1, 5, 60, 240, 5_000),
    _host(_MANASSAS, _H100_SXM, 1, 4, 104, 880, 13_000, uptime=99.95, public_ips=True),
    _host(_MANASSAS, _A100_PCIE, 1, 3, 90, 354, 9_000, public_ips=True),
    _host(_MANASSAS, _L40, 1, 4, 112, 440, 11_000),
    _host(_MUMBAI, _3090, 1, 2, 28, 112, 1_900, uptime=96.2),
    _host(_MUMBAI, _V100, 1, 8, 76, 380, 4_000, taken=3),
    _host(_KRAKOW, _3090, 1, 1, 22, 94, 1_400, uptime=94.8),
    _host(_KRAKOW, _5090, 1, 2, 24, 128, 2_400, uptime=94.8, taken=2),
)

_USD_PER_GPU: Mapping[tuple[Place, Model], str] = {
    (_CHICAGO, _4090): "0.37",
    (_CHICAGO, _A6000): "0.4",
    (_DALLAS, _H100_SXM): "2.25",
    (_DALLAS, _A100_SXM): "1.8",
    (_DALLAS, _L40S): "0.99",
    (_JOPLIN, _H100_SXM): "2.6",
    (_JOPLIN, _A100_PCIE): "1.65",
    (_JOPLIN, _5090): "0.532",
    (_WINNIPEG, _4090): "0.350001",
    (_WINNIPEG, _6000_ADA): "0.75",
    (_WINNIPEG, _A4000): "0.12",
    (_MANASSAS, _H100_SXM): "2.4",
    (_MANASSAS, _A100_PCIE): "1.5",
    (_MANASSAS, _L40): "0.95",
    (_MUMBAI, _3090): "0.21",
    (_MUMBAI, _V100): "0.272999",
    (_KRAKOW, _3090): "0.2",
    (_KRAKOW, _5090): "0.49",
}

IMAGES: tuple[str, ...] = (
    "ubuntu2404",
    "ubuntu2204",
    "ubuntu2404_ml_everything",
    "ubuntu2404_ml_pytorch",
    "ubuntu2404_ml_tensorflow",
    "ubuntu2204_nvidia_550",
    "ubuntu2204_nvidia_570",
    "ubuntu2404_nvidia_550",
    "windows10",
)
WINDOWS_IMAGES = frozenset({"windows10"})


def _types() -> tuple[InstanceType, ...]:
    """Return a catalogue type for one GPU of each model in each place, with what each host there has of it."""
    found = []
    for (place, model), usd in _USD_PER_GPU.items():
        hosts = [host for host in HOSTS if (host.place, host.model) == (place, model)]
        capacity = {host.id: 0 if host.is_phantom else host.gpus - host.taken for host in hosts}
        found.append(
            InstanceType(
                hosts[0].type_name,
                model.id,
                1,
                model.vram_gb,
                vcpus=0,
                ram_gib=0,
                usd_per_hour=Decimal(usd),
                capacity=capacity,
            )
        )
    return tuple(found)


TYPES = _types()


def place_of(place_id: str) -> Place | None:
    """Return the location of an id."""
    return next((place for place in PLACES if place.id == place_id), None)


def host_of(host_id: str) -> Host | None:
    """Return the host of an id."""
    return next((host for host in HOSTS if host.id == host_id), None)
