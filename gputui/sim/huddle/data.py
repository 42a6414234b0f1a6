"""What the simulated Huddle has: instance types, regions, images and volume types.

Names of types, images and regions occur in the Huddle docs or in public code of its upstream, Verda (2026). Prices are the
upstream's list prices or near them; capacities are invented.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from decimal import Decimal

from gputui.sim.catalogue import InstanceType


@dataclass(frozen=True, slots=True)
class Place:
    """A region."""

    code: str
    name: str
    country_code: str


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image; `is_cluster` ones fit only types of several nodes, of which there are none here."""

    id: str
    image_type: str
    name: str
    os_name: str
    details: tuple[str, ...]
    is_default: bool = False
    is_cluster: bool = False


@dataclass(frozen=True, slots=True)
class VolumeType:
    """A kind of volume; `is_offered` is False for those the API still names but refuses to create."""

    type: str
    usd_per_gb_month: Decimal
    is_shared: bool = False
    is_offered: bool = True


def stable_id(text: str) -> str:
    """Return a UUID that is always the same for the same text."""
    return str(uuid.UUID(int=random.Random(text).getrandbits(128), version=4))


def _type(
    name: str, gpu: str, count: int, vram: int, vcpus: int, ram: int, usd: str, fin1: int, fin3: int
) -> InstanceType:
    price = Decimal(usd)
    spot = (price * Decimal("0.4")).quantize(Decimal("0.01"))
    return InstanceType(name, gpu, count, vram, vcpus, ram, price, {FIN_01: fin1, FIN_03: fin3}, 0, spot)


FIN_01 = "FIN-01"
FIN_03 = "FIN-03"

PLACES: tuple[Place, ...] = (Place(FIN_01, "Finland 1", "FI"), Place(FIN_03, "Finland 3", "FI"))

TYPES: tuple[InstanceType, ...] = (
    _type("1V100.6V", "V100", 1, 16, 6, 23, "0.39", 12, 4),
    _type("1A6000.10V", "RTX A6000", 1, 48, 10, 60, "0.49", 10, 0),
    _type("2A6000.20V", "RTX A6000", 2, 48, 20, 120, "0.98", 5, 0),
    _type("1A100.40S.22V", "A100 40GB", 1, 40, 22, 120, "0.72", 6, 2),
    _type("1RTX6000ADA.10V", "RTX 6000 Ada", 1, 48, 10, 60, "0.83", 8, 0),
    _type("1L40S.20V", "L40S", 1, 48, 20, 60, "0.91", 8, 6),
    _type("1A100.22V", "A100 80GB", 1, 80, 22, 120, "1.29", 8, 3),
    _type("8A100.176V", "A100 80GB", 8, 80, 176, 960, "10.32", 1, 0),
    _type("1H100.80S.30V", "H100", 1, 80, 30, 120, "2.29", 6, 3),
    _type("2H100.80S.60V", "H100", 2, 80, 60, 240, "4.58", 3, 1),
    _type("4H100.80S.120V", "H100", 4, 80, 120, 480, "9.16", 1, 1),
    _type("8H100.80S.240V", "H100", 8, 80, 240, 960, "18.32", 0, 1),
    _type("1H200.141S.44V", "H200", 1, 141, 44, 185, "2.99", 4, 6),
    _type("8H200.141S.176V", "H200", 8, 141, 176, 1450, "23.92", 0, 0),
    _type("1B200.30V", "B200", 1, 180, 30, 180, "3.99", 0, 2),
    _type("8B200.240V", "B200", 8, 180, 240, 1440, "31.92", 0, 0),
    _type("1L4.8V", "L4", 1, 24, 8, 32, "0.44", 9, 5),
)

IMAGES: tuple[Image, ...] = (
    Image(
        stable_id("ubuntu-24.04-cuda-13.0-open-docker"),
        "ubuntu-24.04-cuda-13.0-open-docker",
        "Ubuntu 24.04 + CUDA 13.0 Open + Docker",
        "Ubuntu 24.04",
        ("Ubuntu 24.04", "CUDA 13.0", "Docker"),
        is_default=True,
    ),
    Image(
        stable_id("ubuntu-24.04-cuda-12.8-open-docker"),
        "ubuntu-24.04-cuda-12.8-open-docker",
        "Ubuntu 24.04 + CUDA 12.8 Open + Docker",
        "Ubuntu 24.04",
        ("Ubuntu 24.04", "CUDA 12.8", "Docker"),
    ),
    Image(
        stable_id("ubuntu-24.04-cuda-12.8"),
        "ubuntu-24.04-cuda-12.8",
        "Ubuntu 24.04 + CUDA 12.8",
        "Ubuntu 24.04",
        ("Ubuntu 24.04", "CUDA 12.8"),
    ),
    Image(stable_id("ubuntu-22.04"), "ubuntu-22.04", "Ubuntu 22.04", "Ubuntu 22.04", ("Ubuntu 22.04",)),
    Image(
        stable_id("ubuntu-22.04-cuda-12.4-cluster"),
        "ubuntu-22.04-cuda-12.4-cluster",
        "Ubuntu 22.04 + CUDA 12.4 for clusters",
        "Ubuntu 22.04",
        ("Ubuntu 22.04", "CUDA 12.4", "InfiniBand"),
        is_cluster=True,
    ),
)

VOLUME_TYPES: tuple[VolumeType, ...] = (
    VolumeType("NVMe", Decimal("0.20")),
    VolumeType("NVMe_Shared", Decimal("0.20"), is_shared=True),
    VolumeType("HDD", Decimal("0.05"), is_offered=False),
    VolumeType("HDD_Shared", Decimal("0.05"), is_shared=True, is_offered=False),
    VolumeType("NVMe_Local_Storage", Decimal("0.20"), is_offered=False),
    VolumeType("NVMe_Shared_Cluster", Decimal("0.20"), is_shared=True, is_offered=False),
    VolumeType("NVMe_OS_Cluster", Decimal("0.20"), is_offered=False),
)


def image_of(value: str) -> Image | None:
    """Return the image of an id or a slug."""
    return next((image for image in IMAGES if value in (image.id, image.image_type)), None)


def place_of(code: str) -> Place | None:
    """Return the region of a code."""
    return next((place for place in PLACES if place.code == code), None)
