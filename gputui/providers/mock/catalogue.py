"""What the mock cloud rents: invented stock of usual GPUs at plausible prices that drift a little from hour to hour.

Nobody's price list; the figures are of the order that the market asked in 2026. A price is a function of machine type,
region and hour, so every process sees the same one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from gputui.model.gpus import vram_of
from gputui.model.types import Offer, Region, Stock
from gputui.model.units import HOUR_MS, MicroUsdPerHour, Ms, div_half_up, usd_to_micro

PROVIDER = "mock"
DRIFT_PERMILLE = 30

REGIONS: tuple[Region, ...] = (
    Region(PROVIDER, "us-east", "Virginia", "US"),
    Region(PROVIDER, "us-west", "Oregon", "US"),
    Region(PROVIDER, "eu-north", "Helsinki", "FI"),
    Region(PROVIDER, "eu-central", "Frankfurt", "DE"),
    Region(PROVIDER, "ap-east", "Tokyo", "JP"),
)
_REGION_PERMILLE = {"us-east": 1000, "us-west": 1020, "eu-north": 960, "eu-central": 1060, "ap-east": 1150}
_STOCKS = {"H": Stock.HIGH, "L": Stock.LOW, "-": Stock.NONE}

# GPU, vCPUs and RAM GiB per GPU, disk GiB, USD per GPU hour, machine sizes, stock by region in the order of REGIONS:
# H high, L low, - sold out, . not there.
_ROWS: tuple[tuple[str, int, int, int, str, tuple[int, ...], str], ...] = (
    ("B300", 32, 240, 2000, "5.95", (8,), "-.L.."),
    ("B200", 28, 180, 2000, "4.49", (1, 8), "L.H.-"),
    ("MI300X", 20, 190, 2000, "2.65", (1, 8), "L-..."),
    ("GH200", 64, 400, 1000, "1.79", (1,), "L...."),
    ("H200", 24, 180, 1500, "2.98", (1, 8), "H-HL."),
    ("H100-SXM", 24, 160, 1500, "2.29", (1, 4, 8), "HLHHL"),
    ("H100-NVL", 20, 120, 1000, "2.05", (1,), ".H.L."),
    ("H100-PCIE", 20, 110, 1000, "1.89", (1, 2), "LH-.."),
    ("A100-80GB-SXM", 16, 110, 1000, "1.29", (1, 8), "HHL-L"),
    ("A100-80GB-PCIE", 14, 100, 1000, "1.12", (1,), "H.H.."),
    ("A100-40GB", 12, 80, 500, "0.79", (1,), "L..L-"),
    ("RTX-PRO-6000", 16, 90, 800, "1.45", (1, 4), "H.L.."),
    ("L40S", 12, 80, 600, "0.86", (1, 4), "HHHL."),
    ("RTX-6000-ADA", 10, 60, 600, "0.77", (1,), ".LH.."),
    ("RTX-A6000", 10, 50, 500, "0.49", (1, 4), "H.HL."),
    ("A40", 9, 50, 500, "0.39", (1,), "L.-.."),
    ("RTX-5090", 12, 60, 500, "0.69", (1,), ".HL.H"),
    ("RTX-4090", 10, 48, 500, "0.39", (1, 2, 8), "HHLHH"),
    ("RTX-3090", 8, 32, 300, "0.22", (1,), "L.HL."),
    ("L4", 8, 32, 300, "0.43", (1,), "HH.H."),
    ("A10", 8, 48, 300, "0.60", (1,), "-H..."),
    ("V100-16GB", 6, 40, 300, "0.19", (1,), "..H.."),
    ("T4", 4, 16, 200, "0.17", (1,), "H..LL"),
)


@dataclass(frozen=True, slots=True)
class Listing:
    """One machine type in one region. `base_micro_usd_per_hour` is for the whole machine, before the drift."""

    machine_type: str
    region: str
    gpu: str
    gpu_count: int
    vcpus: int
    ram_gib: int
    disk_gib: int
    base_micro_usd_per_hour: MicroUsdPerHour
    stock: Stock

    @property
    def id(self) -> str:
        return f"{PROVIDER}:{self.machine_type}:{self.region}"


def _listings() -> dict[str, Listing]:
    found: dict[str, Listing] = {}
    for gpu, vcpus, ram_gib, disk_gib, usd_per_gpu_hour, counts, stocks in _ROWS:
        for count in counts:
            for region, letter in zip(REGIONS, stocks, strict=True):
                if letter == ".":
                    continue
                listing = Listing(
                    machine_type=f"{count}x-{gpu.lower()}",
                    region=region.code,
                    gpu=gpu,
                    gpu_count=count,
                    vcpus=vcpus * count,
                    ram_gib=ram_gib * count,
                    disk_gib=disk_gib,
                    base_micro_usd_per_hour=usd_to_micro(usd_per_gpu_hour)
                    * count
                    * _REGION_PERMILLE[region.code]
                    // 1000,
                    stock=_STOCKS[letter],
                )
                found[listing.id] = listing
    return found


LISTINGS: Mapping[str, Listing] = _listings()


def price_at(listing: Listing, now_ms: Ms) -> MicroUsdPerHour:
    """Return the list price of the hour, within 3 % of the base price, in tenths of a cent."""
    seed = zlib.crc32(f"{listing.id}@{now_ms // HOUR_MS}".encode())
    drift_permille = seed % (2 * DRIFT_PERMILLE + 1) - DRIFT_PERMILLE
    return div_half_up(listing.base_micro_usd_per_hour * (1000 + drift_permille), 1_000_000) * 1000


def offer_of(listing: Listing, now_ms: Ms) -> Offer:
    """Return a listing as an offer at the price of the hour."""
    return Offer(
        id=listing.id,
        provider=PROVIDER,
        gpu=listing.gpu,
        gpu_count=listing.gpu_count,
        price_micro_usd_per_hour=price_at(listing, now_ms),
        fetched_at_ms=now_ms,
        vram_gib=vram_of(listing.gpu),
        vcpus=listing.vcpus,
        ram_gib=listing.ram_gib,
        disk_gib=listing.disk_gib,
        region=listing.region,
        stock=listing.stock,
        native={"listing": listing.id},
    )
