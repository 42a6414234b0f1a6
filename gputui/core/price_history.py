"""What the stored history of prices tells: how the best one moved, and what a provider's was worth over time. Pure.

A price holds from the moment it was seen until another one was; what happened while nobody asked is not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gputui.model.units import MicroUsdPerHour, Ms
from gputui.store.offers import PricePoint

TREND_MS = 24 * 3_600_000
SUMMARY_MS = 7 * 24 * 3_600_000
_LEAST_SLICES = 2
_LEAST_SUMMARY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Trend:
    """The best price per GPU at the end of each slice of time, oldest first, None while there was none or none is known.

    `change` is the share by which the newest price differs from the oldest one: -0.1 is ten percent cheaper.
    """

    prices: tuple[MicroUsdPerHour | None, ...]
    change: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What one provider's price was for a tenth, half and nine tenths of the time it had some, and how often it did.

    `span_ms` is how far back its history goes, a week at most; `available` is a share of that.
    """

    low: MicroUsdPerHour
    middle: MicroUsdPerHour
    high: MicroUsdPerHour
    available: float
    span_ms: Ms


def trend(points: Iterable[PricePoint], *, now_ms: Ms, slices: int) -> Trend | None:
    """Return how the best price of one GPU model moved over a day; None when too little is known to tell."""
    by_provider: dict[str, list[PricePoint]] = defaultdict(list)
    for point in points:
        by_provider[point.provider].append(point)
    ends = [now_ms - TREND_MS + TREND_MS * (place + 1) // slices for place in range(slices)]
    prices = tuple(
        min((price for known in by_provider.values() if (price := _price_at(known, end)) is not None), default=None)
        for end in ends
    )
    known = [price for price in prices if price is not None]
    if len(known) < _LEAST_SLICES or prices[-1] is None:
        return None
    return Trend(prices, (known[-1] - known[0]) / known[0] if known[0] else 0.0)


def _price_at(points: Sequence[PricePoint], at_ms: Ms) -> MicroUsdPerHour | None:
    """Return the price that held at a moment; `points` are one provider's, oldest first."""
    before = [point for point in points if point.at_ms <= at_ms]
    return before[-1].price_micro_usd_per_gpu_hour if before else None


def summary(points: Sequence[PricePoint], *, now_ms: Ms) -> Summary | None:
    """Return what one provider's price of one GPU model was over a week, oldest point first; None before a day is known."""
    if not points:
        return None
    since_ms = now_ms - SUMMARY_MS
    starts = [max(point.at_ms, since_ms) for point in points]
    held = [
        (point.price_micro_usd_per_gpu_hour, end - start)
        for point, start, end in zip(points, starts, [*starts[1:], now_ms], strict=True)
    ]
    span_ms = sum(ms for _, ms in held)
    priced = sorted((price, ms) for price, ms in held if price is not None and ms > 0)
    if span_ms < _LEAST_SUMMARY_MS or not priced:
        return None
    low, middle, high = (_at_share(priced, share) for share in (0.1, 0.5, 0.9))
    return Summary(low, middle, high, sum(ms for _, ms in priced) / span_ms, span_ms)


def _at_share(priced: Sequence[tuple[MicroUsdPerHour, Ms]], share: float) -> MicroUsdPerHour:
    """Return the price that was not exceeded for this share of the time; `priced` are price and duration, cheapest first."""
    wanted = share * sum(ms for _, ms in priced)
    for price, ms in priced:
        wanted -= ms
        if wanted <= 0:
            return price
    return priced[-1][0]
