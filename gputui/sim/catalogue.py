"""What a simulated provider has to rent: instance types, their list prices, and how many of each stand in each region."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

_CENT = Decimal("0.01")
_DRIFT_PERIOD_MS = 3_600_000
_CHURN_PERIOD_MS = 300_000


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One kind of machine. The price is dollars per hour for all of it; `capacity` maps region to how many there are."""

    name: str
    gpu: str
    gpu_count: int
    vram_gib: int
    vcpus: int
    ram_gib: int
    usd_per_hour: Decimal
    capacity: Mapping[str, int]
    storage_gib: int = 0
    spot_usd_per_hour: Decimal | None = None


@dataclass(slots=True)
class Catalogue:
    """The instance types of one provider, with prices and capacities that can be set while the world runs."""

    provider: str
    seed: int
    types: dict[str, InstanceType] = field(default_factory=dict)
    _prices: dict[str, Decimal] = field(default_factory=dict)
    _capacity: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, types: Iterable[InstanceType]) -> None:
        """Put instance types on offer."""
        self.types.update((item.name, item) for item in types)

    def set_price(self, name: str, usd_per_hour: Decimal | str) -> None:
        """Fix the list price of a type from now on; machines already ordered keep theirs."""
        self._prices[self.types[name].name] = Decimal(usd_per_hour)

    def set_capacity(self, name: str, region: str, count: int) -> None:
        """Fix how many of a type stand in a region; machines already ordered stay."""
        self._capacity[self.types[name].name, region] = count

    def list_price_usd(self, name: str, now_ms: int, drift: float = 0.0) -> Decimal:
        """Return dollars per hour in whole cents. `drift` (0..1) moves catalogue prices, anew every hour."""
        if name in self._prices:
            return self._prices[name]
        price = self.types[name].usd_per_hour
        if not drift:
            return price
        noise = self._noise("price", name, now_ms // _DRIFT_PERIOD_MS) * 2 - 1
        return (price * (1 + Decimal(str(round(drift * noise, 6))))).quantize(_CENT, rounding=ROUND_HALF_UP)

    def capacity_of(self, name: str, region: str, now_ms: int, churn: float = 0.0) -> int:
        """Return how many of a type our accounts could hold in a region. `churn` (0..1) is what others take, changing."""
        key = (name, region)
        count = self._capacity[key] if key in self._capacity else self.types[name].capacity.get(region, 0)
        if not churn:
            return count
        noise = self._noise("capacity", name, region, now_ms // _CHURN_PERIOD_MS)
        return count - round(count * min(1.0, churn * 2 * noise))

    def _noise(self, *parts: object) -> float:
        return random.Random(f"{self.seed}:{self.provider}:{parts}").random()
