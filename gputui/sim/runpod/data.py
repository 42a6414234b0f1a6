"""What the simulated RunPod has: data centers, and GPU types in the secure and the community cloud.

Ids, memory and the known prices are those of RunPod's docs and of its catalog as public clients saw it in August 2026;
other prices, how many GPUs stand where, their hosts, countries and certificates are invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gputui.sim.catalogue import InstanceType

SECURE = "SECURE"
COMMUNITY = "COMMUNITY"
CLOUDS = (SECURE, COMMUNITY)
STANDARD = "STANDARD"
HIGH_PERFORMANCE = "HIGH_PERFORMANCE"

_CUDA = ("13.0", "12.8", "12.4")


@dataclass(frozen=True, slots=True)
class DataCenter:
    """One data center. `volume_types` is empty where it cannot hold network volumes; the first is its default."""

    id: str
    name: str
    region: str
    country: str
    volume_types: tuple[str, ...] = ()
    has_global_network: bool = False
    compliance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One GPU type. Prices are dollars per hour for one GPU, `max_count` the largest host, `stock` GPUs by data center."""

    id: str
    name: str
    vram_gb: int
    usd: Mapping[str, Decimal]
    max_count: Mapping[str, int]
    stock: Mapping[str, Mapping[str, int]]
    pool: str | None = None
    serverless_usd: Decimal | None = None
    cuda: tuple[str, ...] = _CUDA
    full_cuda: tuple[str, ...] = ()
    vcpus: int = 8
    ram_gb: int = 62

    @property
    def manufacturer(self) -> str:
        return self.id.split()[0] if self.id.startswith(("NVIDIA", "AMD")) else "NVIDIA"


def _center(center_id: str, country: str, *traits: str) -> tuple[str, DataCenter]:
    """Return a data center by its id. Traits: "S" and "H" for standard and fast network volumes, "G" global networking."""
    prefix, place, number = center_id.split("-")
    regions = {"US": "NORTH_AMERICA", "CA": "NORTH_AMERICA", "AP": "ASIA", "OC": "OCEANIA"}
    types = tuple(kind for trait, kind in (("S", STANDARD), ("H", HIGH_PERFORMANCE)) if trait in traits)
    compliance = ("SOC_2_TYPE_2", "ISO_IEC_27001") + (("GDPR",) if prefix in ("EU", "EUR") else ())
    name = f"{prefix} {place} {number}"
    return center_id, DataCenter(
        center_id,
        name,
        regions.get(prefix, "EUROPE"),
        country,
        types,
        "G" in traits,
        compliance if "S" in traits else (),
    )


DATA_CENTERS: Mapping[str, DataCenter] = dict(
    (
        _center("EU-RO-1", "RO", "S", "H", "G"),
        _center("EU-CZ-1", "CZ", "S", "G"),
        _center("EU-NL-1", "NL", "S"),
        _center("EU-SE-1", "SE", "S"),
        _center("EU-FR-1", "FR", "S", "G"),
        _center("EUR-IS-1", "IS", "S", "G"),
        _center("EUR-IS-2", "IS"),
        _center("EUR-IS-3", "IS"),
        _center("EUR-NO-1", "NO", "S"),
        _center("US-CA-2", "US", "S", "H", "G"),
        _center("US-DE-1", "US"),
        _center("US-GA-1", "US"),
        _center("US-GA-2", "US", "S"),
        _center("US-IL-1", "US", "S", "G"),
        _center("US-KS-2", "US", "S", "H", "G"),
        _center("US-KS-3", "US"),
        _center("US-NC-1", "US", "S"),
        _center("US-NE-1", "US"),
        _center("US-TX-1", "US"),
        _center("US-TX-3", "US", "S", "G"),
        _center("US-TX-4", "US"),
        _center("US-WA-1", "US", "S"),
        _center("CA-MTL-1", "CA", "S"),
        _center("CA-MTL-2", "CA"),
        _center("CA-MTL-3", "CA", "S"),
        _center("AP-JP-1", "JP", "S", "G"),
        _center("OC-AU-1", "AU"),
    )
)


def _gpu(
    gpu_id: str,
    name: str,
    vram_gb: int,
    cents: tuple[int, int],
    most: tuple[int, int],
    secure: dict[str, int],
    community: dict[str, int] | None = None,
    pool: str | None = None,
    *,
    is_old: bool = False,
    cuda: tuple[str, ...] = _CUDA,
) -> GpuModel:
    """Return a GPU type; `cents` and `most` are those of the secure and the community cloud, 0 where it has none."""
    big = vram_gb >= 80
    return GpuModel(
        gpu_id,
        name,
        vram_gb,
        {cloud: Decimal(price) / 100 for cloud, price in zip(CLOUDS, cents, strict=True)},
        dict(zip(CLOUDS, most, strict=True)),
        {SECURE: secure, COMMUNITY: community or {}},
        pool,
        (Decimal(cents[0]) * Decimal("1.4") / 100).quantize(Decimal("0.01")) if pool else None,
        cuda,
        full_cuda=_CUDA[:1] if is_old else (),
        vcpus=20 if big else 8,
        ram_gb=188 if big else 50,
    )


GPUS: tuple[GpuModel, ...] = (
    _gpu("NVIDIA GeForce RTX 3070", "RTX 3070", 8, (0, 13), (0, 2), {}, {"US-IL-1": 3}, is_old=True),
    _gpu("NVIDIA GeForce RTX 3080", "RTX 3080", 10, (0, 17), (0, 4), {}, {"US-TX-1": 4}, is_old=True),
    _gpu(
        "NVIDIA GeForce RTX 3090", "RTX 3090", 24, (50, 22), (4, 8), {"EU-CZ-1": 12}, {"US-TX-1": 16}, "AMPERE_24", is_old=True,
    ),
    _gpu("NVIDIA GeForce RTX 3090 Ti", "RTX 3090 Ti", 24, (0, 27), (0, 4), {}, {"US-NE-1": 2}, is_old=True),
    _gpu("NVIDIA GeForce RTX 4070 Ti", "RTX 4070 Ti", 12, (0, 19), (0, 2), {}, {"CA-MTL-2": 3}),
    _gpu("NVIDIA GeForce RTX 4080", "RTX 4080", 16, (0, 27), (0, 2), {}, {}),
    _gpu(
        "NVIDIA GeForce RTX 4090", "RTX 4090", 24, (74, 34), (8, 4),
        {"EU-RO-1": 40, "US-KS-2": 24, "US-IL-1": 16, "EUR-IS-1": 8}, {"US-TX-1": 24, "OC-AU-1": 6}, "ADA_24",
    ),
    _gpu(
        "NVIDIA GeForce RTX 5090", "RTX 5090", 32, (99, 69), (8, 8),
        {"EU-RO-1": 24, "US-NC-1": 16, "EUR-IS-2": 3}, {"US-NE-1": 8},
    ),
    _gpu("NVIDIA RTX A2000", "RTX A2000", 6, (0, 12), (0, 2), {}, {"US-GA-1": 4}, is_old=True),
    _gpu("NVIDIA RTX A4000", "RTX A4000", 16, (25, 17), (8, 8), {"EU-SE-1": 32, "EU-RO-1": 16}, {"US-GA-1": 8}, "AMPERE_16"),
    _gpu("NVIDIA RTX A4500", "RTX A4500", 20, (25, 19), (8, 4), {"EU-SE-1": 8, "EU-RO-1": 12}, {"US-GA-1": 4}, "AMPERE_16"),
    _gpu("NVIDIA RTX A5000", "RTX A5000", 24, (27, 16), (8, 4), {"EU-RO-1": 16, "CA-MTL-1": 9}, {"US-DE-1": 10}, "AMPERE_24"),
    _gpu("NVIDIA RTX A6000", "RTX A6000", 48, (49, 33), (8, 8), {"US-KS-2": 24, "EU-SE-1": 8}, {"US-TX-4": 8}, "AMPERE_48"),
    _gpu("NVIDIA A40", "A40", 48, (40, 0), (10, 0), {"CA-MTL-1": 60, "EU-SE-1": 30}, {}, "AMPERE_48"),
    _gpu("NVIDIA L4", "L4", 24, (49, 44), (8, 4), {"EU-RO-1": 16, "US-IL-1": 4}, {"US-GA-1": 2}, "ADA_24"),
    _gpu("NVIDIA L40", "L40", 48, (99, 69), (8, 4), {"EU-RO-1": 8}, {"US-NE-1": 2}, "ADA_48_PRO"),
    _gpu("NVIDIA L40S", "L40S", 48, (86, 79), (8, 4), {"US-TX-3": 24, "EUR-NO-1": 16}, {"US-NE-1": 4}, "ADA_48_PRO"),
    _gpu("NVIDIA RTX 2000 Ada Generation", "RTX 2000 Ada", 16, (24, 0), (8, 0), {"EU-RO-1": 20}),
    _gpu("NVIDIA RTX 4000 Ada Generation", "RTX 4000 Ada", 20, (28, 20), (8, 4), {"US-IL-1": 20}, {"US-GA-1": 2}),
    _gpu("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 48, (77, 74), (8, 4), {"US-IL-1": 24}, {"US-TX-4": 4}, "ADA_48_PRO"),
    _gpu(
        "NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000", 96, (189, 0), (8, 0),
        {"US-NC-1": 24, "EU-RO-1": 16, "US-CA-2": 8},
    ),
    _gpu("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 WK", 96, (209, 0), (4, 0), {"US-GA-2": 3}),
    _gpu(
        "NVIDIA A100 80GB PCIe", "A100 PCIe", 80, (139, 119), (8, 8),
        {"US-KS-2": 24, "CA-MTL-3": 16, "EU-RO-1": 8}, {"US-NE-1": 4}, "AMPERE_80",
    ),
    _gpu("NVIDIA A100-SXM4-80GB", "A100 SXM", 80, (149, 139), (8, 8), {"US-KS-2": 32, "EUR-IS-1": 16}, {}, "AMPERE_80"),
    _gpu("NVIDIA H100 PCIe", "H100 PCIe", 80, (239, 199), (8, 2), {"US-KS-2": 8, "CA-MTL-3": 3}, {"US-KS-3": 2}, "ADA_80_PRO"),
    _gpu(
        "NVIDIA H100 80GB HBM3", "H100 SXM", 80, (299, 0), (8, 0),
        {"US-CA-2": 32, "US-GA-2": 16, "EUR-IS-1": 8, "AP-JP-1": 8, "EU-FR-1": 2}, {}, "ADA_80_PRO",
    ),
    _gpu("NVIDIA H100 NVL", "H100 NVL", 94, (279, 249), (8, 2), {"US-KS-2": 8}, {"US-KS-3": 1}, "ADA_80_PRO"),
    _gpu("NVIDIA H200", "H200 SXM", 141, (399, 0), (8, 0), {"US-CA-2": 16, "US-NC-1": 8, "EU-FR-1": 8}, {}, "HOPPER_141"),
    _gpu("NVIDIA H200 NVL", "H200 NVL", 143, (339, 0), (8, 0), {"US-KS-2": 4}),
    _gpu("NVIDIA B200", "B200", 180, (599, 0), (8, 0), {"US-CA-2": 16, "EU-RO-1": 8}),
    _gpu("NVIDIA B300 SXM6 AC", "B300", 288, (699, 0), (8, 0), {}),
    _gpu("AMD Instinct MI300X OAM", "MI300X", 192, (249, 0), (8, 0), {"EU-RO-1": 8}, cuda=()),
    _gpu("Tesla V100-SXM2-32GB", "V100 SXM2 32GB", 32, (49, 39), (8, 4), {"US-WA-1": 4}, {"US-DE-1": 2}, is_old=True),
)  # fmt: skip
GPU_BY_ID: Mapping[str, GpuModel] = {model.id: model for model in GPUS}


def pool_name(gpu_id: str, cloud: str) -> str:
    """Return the name in the world's catalogue of the GPUs of one type in one cloud; its capacity counts single GPUs."""
    return f"{cloud} {gpu_id}"


TYPES: tuple[InstanceType, ...] = tuple(
    InstanceType(
        pool_name(model.id, cloud),
        model.id,
        1,
        model.vram_gb,
        model.vcpus,
        model.ram_gb,
        model.usd[cloud],
        model.stock[cloud],
    )
    for model in GPUS
    for cloud in CLOUDS
    if model.usd[cloud]
)
