"""What the simulated Lambda Cloud has: regions, instance types and images.

Regions, types, prices and sizes are those that public clients of the API recorded in August 2026. Where a type stands is
from there too where known; how many of it, and the CPU types' disks, are invented.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal

from gputui.sim.catalogue import InstanceType

X86 = "x86_64"
ARM = "arm64"

REGIONS: dict[str, str] = {
    "us-east-1": "Virginia, USA",
    "us-east-2": "Washington DC, USA",
    "us-east-3": "Washington DC, USA",
    "us-midwest-1": "Illinois, USA",
    "us-midwest-2": "Ohio, USA",
    "us-south-1": "Texas, USA",
    "us-south-2": "North Texas, USA",
    "us-south-3": "Central Texas, USA",
    "us-southeast-1": "Georgia, USA",
    "us-west-1": "California, USA",
    "us-west-2": "Arizona, USA",
    "us-west-3": "Utah, USA",
    "europe-central-1": "Germany",
    "europe-south-1": "Italy",
    "me-west-1": "Israel",
    "asia-south-1": "India",
    "asia-northeast-1": "Osaka, Japan",
    "asia-northeast-2": "Tokyo, Japan",
    "australia-east-1": "Sydney, Australia",
}
NO_FIREWALL_REGION = "us-south-1"

_A10 = {"us-east-1": 6, "us-west-1": 4}
_A100_SXM = {"us-east-1": 8, "us-west-2": 5, "asia-south-1": 3}
_H100_SXM = {"us-south-2": 4, "us-south-3": 3, "us-southeast-1": 2}


def _type(
    name: str, gpu: str, cents: int, gpus: int, vcpus: int, ram_gib: int, disk_gib: int, capacity: dict[str, int]
) -> InstanceType:
    """Return a type; `gpu` is the API's gpu_description, "H100 (80 GB SXM5)"."""
    vram_gib = int(gpu.partition("(")[2].partition(" ")[0]) if gpus else 0
    return InstanceType(name, gpu, gpus, vram_gib, vcpus, ram_gib, Decimal(cents) / 100, capacity, disk_gib)


TYPES: tuple[InstanceType, ...] = (
    _type("cpu_4x_general", "", 20, 0, 4, 16, 512, {"us-east-1": 20, "us-west-1": 20}),
    _type("gpu_1x_rtx6000", "RTX 6000 (24 GB)", 69, 1, 14, 46, 512, {"us-west-1": 2}),
    _type("gpu_1x_a6000", "A6000 (48 GB)", 109, 1, 14, 100, 200, {}),
    _type("gpu_2x_a6000", "A6000 (48 GB)", 218, 2, 28, 200, 1024, {}),
    _type("gpu_4x_a6000", "A6000 (48 GB)", 436, 4, 56, 400, 1024, {}),
    _type("gpu_1x_a10", "A10 (24 GB PCIe)", 129, 1, 30, 200, 1400, _A10),
    _type("gpu_1x_a100", "A100 (40 GB PCIe)", 199, 1, 30, 200, 512, {"us-west-1": 3}),
    _type("gpu_2x_a100", "A100 (40 GB PCIe)", 398, 2, 60, 400, 1024, {"us-west-1": 1}),
    _type("gpu_4x_a100", "A100 (40 GB PCIe)", 796, 4, 120, 800, 1024, {}),
    _type("gpu_1x_a100_sxm4", "A100 (40 GB SXM4)", 199, 1, 30, 200, 512, _A100_SXM),
    _type("gpu_8x_a100", "A100 (40 GB SXM4)", 1592, 8, 124, 1800, 6144, {"us-west-2": 1}),
    _type("gpu_8x_a100_80gb_sxm4", "A100 (80 GB SXM4)", 2232, 8, 240, 1800, 20480, {"us-midwest-1": 1}),
    _type("gpu_1x_gh200", "GH200 (96 GB)", 229, 1, 64, 432, 4096, {"us-east-3": 5}),
    _type("gpu_1x_h100_pcie", "H100 (80 GB PCIe)", 329, 1, 26, 200, 1024, {"us-west-3": 4}),
    _type("gpu_1x_h100_sxm5", "H100 (80 GB SXM5)", 429, 1, 26, 225, 2816, _H100_SXM),
    _type("gpu_2x_h100_sxm5", "H100 (80 GB SXM5)", 838, 2, 52, 450, 5632, {"us-south-2": 2}),
    _type("gpu_4x_h100_sxm5", "H100 (80 GB SXM5)", 1636, 4, 104, 900, 11264, {"us-south-3": 1}),
    _type("gpu_8x_h100_sxm5", "H100 (80 GB SXM5)", 3192, 8, 208, 1800, 22528, {"us-south-2": 1}),
    _type("gpu_1x_b200_sxm6", "B200 (180 GB SXM6)", 699, 1, 26, 360, 2816, {"us-southeast-1": 1}),
    _type("gpu_2x_b200_sxm6", "B200 (180 GB SXM6)", 1378, 2, 52, 720, 5632, {}),
    _type("gpu_8x_b200_sxm6", "B200 (180 GB SXM6)", 5352, 8, 208, 2900, 22528, {}),
    _type("gpu_8x_v100", "Tesla V100 (16 GB)", 632, 8, 92, 448, 6041, {"us-south-1": 2}),
    _type("gpu_8x_v100_n", "Tesla V100 (16 GB)", 632, 8, 88, 448, 6041, {}),
)


def architecture_of(item: InstanceType) -> str:
    """Return the CPU architecture of a type: Grace Hopper machines are ARM."""
    return ARM if item.gpu.startswith("GH200") else X86


@dataclass(frozen=True, slots=True)
class Image:
    """A machine image in one region."""

    id: str
    name: str
    description: str
    family: str
    version: str
    architecture: str
    region: str


_FAMILIES = (
    ("lambda-stack-24-04", "Lambda Stack 24.04", "Lambda Stack on Ubuntu 24.04", "24.4.4"),
    ("lambda-stack-22-04", "Lambda Stack 22.04", "Lambda Stack on Ubuntu 22.04", "22.4.5"),
    ("ubuntu-24-04", "Ubuntu Server 24.04", "Ubuntu LTS without drivers", "24.4.1"),
)
DEFAULT_FAMILY = "lambda-stack-24-04"


def _image_id(*parts: str) -> str:
    return f"{random.Random(f'image:{parts}').getrandbits(128):032x}"


IMAGES: tuple[Image, ...] = tuple(
    Image(_image_id(family, region, architecture), name, description, family, version, architecture, region)
    for family, name, description, version in _FAMILIES
    for region in REGIONS
    for architecture in ((X86, ARM) if region == "us-east-3" else (X86,))
)
