"""The marketplace: thousands of hosts' machines, each with one offer that is taken by one contract at a time.

Machine number n is the same for the same seed, whatever else happens. An offer's id is good for one contract: with every
contract made, the host's machine gets the id under which it will be offered next.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from gputui.sim.catalogue import InstanceType
from gputui.sim.machine import SimMachine
from gputui.sim.vastai.hardware import CPUS, DISKS, DRIVERS, GPUS, MOBOS, PLACES, Gpu
from gputui.sim.world import World

PROVIDER = "vastai"
HOURS_PER_MONTH = 720

_FIRST_OFFER_ID = 20_000_000
_OFFER_ID_STRIDE = 100_000
_FIRST_VOLUME_ASK_ID = 18_000_000
_DAY_MS = 86_400_000
_GPU_SHARES = list(accumulate(gpu.share for gpu in GPUS))
_PLACE_SHARES = list(accumulate(share for _, share in PLACES))


@dataclass(frozen=True, slots=True)
class Listing:
    """A host's machine on the market. `fields` are the parts of its offer that neither the time nor a query changes.

    `instance` stands for it in the world's catalogue: its price is that of the GPUs on demand, its spot price the lowest
    bid. The host promises it until `first_end_ms` after the market opened, then for `period_ms` at a time.
    """

    index: int
    instance: InstanceType
    fields: Mapping[str, Any]
    storage_usd_per_gb_month: Decimal
    up_usd_per_gb: Decimal
    down_usd_per_gb: Decimal
    first_end_ms: int
    period_ms: int
    volume_gb: int
    volume_usd_per_gb_month: Decimal

    @property
    def region(self) -> str:
        return next(iter(self.instance.capacity))

    @property
    def disk_gb(self) -> float:
        return float(self.fields["disk_space"])

    @property
    def volume_ask_id(self) -> int:
        return _FIRST_VOLUME_ASK_ID + self.index

    @property
    def bid_floor_usd(self) -> Decimal:
        """The lowest bid while nobody holds it."""
        return self.instance.spot_usd_per_hour or self.instance.usd_per_hour

    def storage_usd_per_hour(self, gb: float) -> Decimal:
        return self.storage_usd_per_gb_month * Decimal(str(gb)) / HOURS_PER_MONTH


class Market:
    """Every listing, and who holds it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._catalogue = world.catalogue(PROVIDER)
        self._listings: list[Listing] = []
        self._contracts_made: dict[int, int] = {}
        self._opened_ms: int | None = None

    def listings(self) -> list[Listing]:
        """Return what stands on the market, rented or not."""
        count = min(int(self._world.faults.number("offers")), _OFFER_ID_STRIDE)
        for index in range(len(self._listings), count):
            listing = _make_listing(self._world.seed, index)
            self._listings.append(listing)
            self._catalogue.add([listing.instance])
        return self._listings[:count]

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields every listing has."""
        return frozenset(_make_listing(self._world.seed, 0).fields)

    def of_offer(self, offer_id: int) -> Listing | None:
        """Return the listing that an offer id stands for now."""
        listing = self._at((offer_id - _FIRST_OFFER_ID) % _OFFER_ID_STRIDE)
        return listing if listing is not None and self.offer_id(listing) == offer_id else None

    def of_volume_ask(self, ask_id: int) -> Listing | None:
        """Return the listing whose machine offers volumes under an id."""
        return self._at(ask_id - _FIRST_VOLUME_ASK_ID)

    def offer_id(self, listing: Listing) -> int:
        """Return the id under which it is on offer now, or will be when it is free again."""
        return _FIRST_OFFER_ID + self._contracts_made.get(listing.index, 0) * _OFFER_ID_STRIDE + listing.index

    def note_contract(self, listing: Listing) -> None:
        """Count a contract; what the listing was offered under is gone."""
        self._contracts_made[listing.index] = self._contracts_made.get(listing.index, 0) + 1

    def end_ms(self, listing: Listing) -> int:
        """Return until when the host promises it to somebody who rents it now."""
        now_ms = self._world.now_ms()
        if self._opened_ms is None:
            self._opened_ms = now_ms
        first_ms = self._opened_ms + listing.first_end_ms
        periods = max(0, (now_ms - first_ms) // listing.period_ms + 1)
        return first_ms + periods * listing.period_ms

    def gpu_usd(self, listing: Listing) -> Decimal:
        """Return the price of its GPUs on demand now, dollars per hour."""
        return self._world.list_price_usd(PROVIDER, listing.instance.name)

    def holders(self) -> dict[str, SimMachine]:
        """Return the machines that hold their listing's hardware, by the name of its instance type."""
        self._world.settle()
        now_ms = self._world.now_ms()
        return {
            machine.instance.name: machine
            for machine in self._world.machines.values()
            if machine.provider == PROVIDER and machine.units and machine.holds_capacity(now_ms)
        }

    def exists(self, listing: Listing) -> bool:
        """Say whether the host has it on the market at all, held by one of ours or free; others may have taken it."""
        churn = self._world.faults.number("market_churn")
        return self._catalogue.capacity_of(listing.instance.name, listing.region, self._world.now_ms(), churn) > 0

    def _at(self, index: int) -> Listing | None:
        listings = self.listings()
        return listings[index] if 0 <= index < len(listings) else None


def _make_listing(seed: int, index: int) -> Listing:
    """Return machine number `index` of a seed's market."""
    dice = random.Random(f"vastai:{seed}:{index}")
    gpu = dice.choices(GPUS, cum_weights=_GPU_SHARES)[0]
    owned = dice.choice(gpu.counts)
    count = owned if dice.random() < 0.7 else max(1, owned // 2)
    machine_id = 1_000 + index * 13 + dice.randrange(13)
    place = dice.choices(PLACES, cum_weights=_PLACE_SHARES)[0][0]
    usd = Decimal(str(round(count * dice.uniform(gpu.usd_low, gpu.usd_high), 6)))
    disk_gb = round(dice.uniform(60, 400) * (4 if gpu.is_datacenter else 1) * count, 1)
    fields = {
        **_identity(dice, machine_id, gpu, place),
        **_gpus(dice, gpu, count, owned),
        **_body(dice, gpu, owned, count / owned),
        **_reputation(dice, gpu),
        "disk_space": disk_gb,
    }
    instance = InstanceType(
        name=str(machine_id),
        gpu=gpu.name,
        gpu_count=count,
        vram_gib=round(gpu.ram_mb / 1024),
        vcpus=int(fields["cpu_cores_effective"]),
        ram_gib=round(fields["cpu_ram"] * count / owned / 1024),
        usd_per_hour=usd,
        capacity={place or "unknown": 1},
        storage_gib=int(disk_gb),
        spot_usd_per_hour=Decimal(str(round(float(usd) * dice.uniform(0.35, 0.7), 6))),
    )
    has_volumes = dice.random() < 0.6
    period_ms = round(dice.choice((2, 7, 30, 90, 180, 360)) * dice.uniform(0.5, 1.0) * _DAY_MS)
    storage_usd = dice.choice(("0.1", "0.15", "0.2", "0.25", "0.3", "0.93333"))
    return Listing(
        index=index,
        instance=instance,
        fields=fields,
        storage_usd_per_gb_month=Decimal(storage_usd),
        up_usd_per_gb=_traffic_price(dice),
        down_usd_per_gb=_traffic_price(dice),
        first_end_ms=round(period_ms * dice.uniform(0.2, 1.0)),
        period_ms=period_ms,
        volume_gb=int(disk_gb * dice.uniform(0.3, 0.9)) if has_volumes else 0,
        volume_usd_per_gb_month=Decimal(str(round(dice.uniform(0.05, 0.3), 4))),
    )


def _identity(dice: random.Random, machine_id: int, gpu: Gpu, place: str | None) -> dict[str, Any]:
    return {
        "bundle_id": 1_000_000_000 + machine_id,
        "bundled_results": None,
        "machine_id": machine_id,
        "host_id": 50_000 + (machine_id * 7919) % 997,
        "hosting_type": int(gpu.is_datacenter and dice.random() < 0.7),
        "hostname": None,
        "cluster_id": None,
        "resource_type": "gpu",
        "geolocation": place,
        "geolocode": dice.randrange(10**8, 10**9),
        "public_ipaddr": f"198.51.100.{1 + machine_id % 254}",
        "static_ip": dice.random() < 0.6,
        "direct_port_count": dice.choice((0, 1, 16, 100, 499, 999, 6250)),
        "external": None if dice.random() < 0.05 else False,
        "logo": "/static/logos/vastai_small2.png",
        "webpage": None,
        "rn": 1,
        "time_remaining": "",
        "time_remaining_isbid": "",
    }


def _gpus(dice: random.Random, gpu: Gpu, count: int, owned: int) -> dict[str, Any]:
    lanes = dice.choice((4, 8, 16, 16))
    generation = 5.0 if gpu.compute_cap >= 900 else dice.choice((3.0, 4.0))
    driver, cuda = dice.choice(DRIVERS)
    first_id = dice.randrange(10_000, 900_000)
    return {
        "gpu_name": gpu.name,
        "num_gpus": count,
        "gpu_ram": gpu.ram_mb,
        "gpu_total_ram": gpu.ram_mb * count,
        "gpu_frac": count / owned,
        "gpu_arch": gpu.arch,
        "gpu_ids": [first_id + number for number in range(count)],
        "gpu_lanes": lanes,
        "gpu_mem_bw": round(gpu.mem_bw * dice.uniform(0.97, 1.0), 1),
        "gpu_max_power": float(gpu.watts),
        "gpu_max_temp": 90.0,
        "gpu_display_active": dice.random() < 0.1,
        "compute_cap": gpu.compute_cap,
        "cuda_max_good": cuda,
        "driver_version": driver,
        "driver_vers": int(
            "".join(part.zfill(width) for part, width in zip(driver.split("."), (3, 3, 3), strict=True))
        ),
        "bw_nvlink": gpu.nvlink_bw if count > 1 else 0.0,
        "pci_gen": generation,
        "pcie_bw": round(lanes * 0.9 * 2 ** (generation - 3) * dice.uniform(0.8, 1.0), 1),
        "dlperf": round(gpu.dlperf * count * dice.uniform(0.9, 1.05), 6),
        "total_flops": round(gpu.tflops * count, 6),
    }


def _body(dice: random.Random, gpu: Gpu, owned: int, share: float) -> dict[str, Any]:
    size = min(len(CPUS) - 1, dice.randrange(3) + (4 if gpu.is_datacenter else 0) + owned // 4)
    cpu, cores, ghz = CPUS[size]
    is_unread = dice.random() < 0.01
    return {
        "cpu_name": "Neoverse-V2" if gpu.is_arm else cpu,
        "cpu_arch": "arm64" if gpu.is_arm else "amd64",
        "cpu_cores": None if is_unread else cores,
        "cpu_cores_effective": cores * share,
        "cpu_ghz": None if is_unread else ghz,
        "cpu_ram": round(max(16, owned * gpu.ram_mb / 1024 * dice.choice((1, 1.5, 2, 4))) * 1007),
        "has_avx": int(not gpu.is_arm),
        "mobo_name": dice.choice(MOBOS),
        "os_version": dice.choice(("20.04", "22.04", "22.04", "24.04")),
        "disk_bw": round(dice.uniform(400, 7000), 1),
        "disk_name": dice.choice(DISKS),
        "inet_up": round(dice.uniform(20, 2000), 1),
        "inet_down": round(dice.uniform(80, 8000), 1),
        "nw_disk_min_bw": None,
        "nw_disk_max_bw": None,
        "nw_disk_avg_bw": None,
    }


def _reputation(dice: random.Random, gpu: Gpu) -> dict[str, Any]:
    reliability = round(1 - dice.expovariate(120 if gpu.is_datacenter else 45), 7)
    reliability = max(0.6, reliability)
    verification = dice.choices(("verified", "unverified", "deverified"), (76, 21, 3))[0]
    return {
        "reliability": reliability,
        "reliability2": reliability,
        "expected_reliability": reliability,
        "reliability_mult": round(dice.uniform(0.5, 1.0), 4),
        "verification": verification,
        "vericode": int(verification == "verified"),
        "vms_enabled": dice.random() < 0.2,
        "is_vm_deverified": False,
        "credit_discount_max": 0.4,
        "discount_rate": 0.0,
        "discounted_hourly": 0.0,
    }


def _traffic_price(dice: random.Random) -> Decimal:
    """Return dollars per GB, a whole number of dollars per TB of 1024 GB."""
    return Decimal(dice.choice((0, 1, 2, 3, 5, 10, 20))) / 1024
