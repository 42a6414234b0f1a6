"""What a simulated machine truly costs: exact dollars from its own timeline, written apart from anything that meters.

The bill of a machine covers its chargeable time: from its billing start to its billing stop, rounded up once over the sum
to its granularity (whole seconds unless the order says otherwise), at least the minimum. The account's balance falls by
ticks, anchored at the machine's billing start; what is left is settled when billing stops. Volumes are free of charge here.

Rules as in the Huddle docs, gpu-billing (2026-05): 10 minutes at least, then per second, drawn every 10 minutes, the
rest at deletion, elapsed seconds x price per hour / 3600.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

from gputui.sim.lives import Life

_HOUR_MS = 3_600_000
_NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """How one machine is billed, fixed when it is ordered. Time is rounded up to a multiple of `granularity_s`.

    `start` is "running" (when it first runs), "placed" (when its setup begins) or "ordered". A machine that never runs costs
    nothing under "running". One that has failed costs nothing unless `charges_failed`.
    A released machine costs `released_usd_per_hour`, whatever its price. Where `idle_usd_per_hour` is set, the price is owed
    only while the machine runs and this while it is set up, has failed or is released (its disk, say), failed or not.
    """

    start: str = "running"
    minimum_s: int = 600
    tick_s: int = 600
    granularity_s: int = 1
    charges_offline: bool = True
    charges_failed: bool = True
    released_usd_per_hour: Decimal = Decimal(0)
    idle_usd_per_hour: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Chargeable time at one price. `end_ms` is where the bill stands: now, or where billing stopped."""

    start_ms: int
    end_ms: int
    usd_per_hour: Decimal


def billing_start_ms(timeline: Sequence[tuple[int, Life]], terms: BillingTerms, until_ms: int) -> int | None:
    """Return when billing of a machine began, None when it has not by `until_ms` or when it failed without ever running."""
    passed = [(at, life) for at, life in timeline if at <= until_ms]
    first_run_ms = next((at for at, life in passed if life is Life.RUNNING), None)
    if terms.start == "running":
        return first_run_ms
    failed = terms.idle_usd_per_hour is None and any(life in (Life.NO_CAPACITY, Life.ERROR) for _, life in passed)
    if first_run_ms is None and failed:
        return None
    waits = (Life.ORDERED,) if terms.start == "placed" else ()
    return next((at for at, life in passed if life not in waits), None)


def bill_usd(
    timeline: Sequence[tuple[int, Life]],
    prices: Sequence[tuple[int, Decimal]],
    terms: BillingTerms,
    *,
    until_ms: int,
) -> Decimal:
    """Return the dollars owed were billing to stop at `until_ms`: 0 before billing began, else at least the minimum.

    Shape: `timeline` and `prices` are (from when, what) in order of time; the first price is that of the order.
    """
    start_ms = billing_start_ms(timeline, terms, until_ms)
    if start_ms is None:
        return Decimal(0)
    spans = list(_spans(timeline, prices, terms, start_ms, until_ms))
    total_ms = sum(span.end_ms - span.start_ms for span in spans)
    cost = sum((Fraction(span.usd_per_hour) * (span.end_ms - span.start_ms) for span in spans), Fraction(0))
    step_ms = terms.granularity_s * 1000
    billed_ms = max(terms.minimum_s * 1000, -(-total_ms // step_ms) * step_ms)
    last_price = spans[-1].usd_per_hour if spans else _price_at(prices, start_ms)
    cost += Fraction(last_price) * (billed_ms - total_ms)
    return _decimal(cost / _HOUR_MS)


def settled_usd(
    timeline: Sequence[tuple[int, Life]],
    prices: Sequence[tuple[int, Decimal]],
    terms: BillingTerms,
    *,
    now_ms: int,
    stopped_ms: int | None,
) -> Decimal:
    """Return the dollars already drawn from the balance: whole ticks while billing goes on, all of it once it stopped."""
    if stopped_ms is not None and stopped_ms <= now_ms:
        return bill_usd(timeline, prices, terms, until_ms=stopped_ms)
    start_ms = billing_start_ms(timeline, terms, now_ms)
    if start_ms is None:
        return Decimal(0)
    ticks = (now_ms - start_ms) // (terms.tick_s * 1000)
    spans = _spans(timeline, prices, terms, start_ms, start_ms + ticks * terms.tick_s * 1000)
    cost = sum((Fraction(span.usd_per_hour) * (span.end_ms - span.start_ms) for span in spans), Fraction(0))
    return _decimal(cost / _HOUR_MS)


def _spans(
    timeline: Sequence[tuple[int, Life]],
    prices: Sequence[tuple[int, Decimal]],
    terms: BillingTerms,
    start_ms: int,
    until_ms: int,
) -> Iterator[Span]:
    """Yield chargeable time from `start_ms` to `until_ms`, cut where the state or the price changes."""
    edges = {start_ms, until_ms}
    edges.update(at for at, _ in timeline)
    edges.update(at for at, _ in prices)
    ordered = sorted(at for at in edges if start_ms <= at <= until_ms)
    for begin, end in pairwise(ordered):
        life = _life_at(timeline, begin)
        if _is_charged(life, terms):
            yield Span(begin, end, _rate(life, terms, _price_at(prices, begin)))


def _is_charged(life: Life, terms: BillingTerms) -> bool:
    if life is Life.OFFLINE:
        return terms.charges_offline
    if life is Life.ERROR:
        return terms.charges_failed
    return life not in (Life.DELETED, Life.NO_CAPACITY)


def _rate(life: Life, terms: BillingTerms, price: Decimal) -> Decimal:
    if terms.idle_usd_per_hour is not None and life not in (Life.RUNNING, Life.OFFLINE):
        return terms.idle_usd_per_hour
    return terms.released_usd_per_hour if life is Life.RELEASED else price


def _life_at(timeline: Sequence[tuple[int, Life]], at_ms: int) -> Life:
    return [life for at, life in timeline if at <= at_ms][-1]


def _price_at(prices: Sequence[tuple[int, Decimal]], at_ms: int) -> Decimal:
    return ([price for at, price in prices if at <= at_ms] or [prices[0][1]])[-1]


def _decimal(value: Fraction) -> Decimal:
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(_NANO, rounding=ROUND_HALF_UP)
