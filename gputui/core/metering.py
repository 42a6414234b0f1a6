"""Usage to money, by each provider's billing rule. Pure: `now` comes in as an argument.

A provider rarely tells the exact second at which it began or stopped billing. An interval therefore keeps the earliest
and the latest moment each edge can have been, its cost is a range, and what we report is the middle of that range and
half its width: the true bill lies inside by construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gputui.model.types import BillingRule, BillingStart, UsageInterval
from gputui.model.units import HOUR_S, MicroUsd, MicroUsdPerHour, Ms, cost_of_seconds, div_half_up, span

# A counter is read in whole micro-USD, rounded down; it may hold the sum of two directions.
COUNTER_ROUNDING_MICRO_USD = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost: the true bill lies in [micro_usd - uncertainty, micro_usd + uncertainty]."""

    micro_usd: MicroUsd
    uncertainty_micro_usd: MicroUsd

    @staticmethod
    def between(low: MicroUsd, high: MicroUsd) -> Cost:
        """Return the middle of a range, with an uncertainty that reaches both ends."""
        middle = div_half_up(low + high, 2)
        return Cost(middle, max(middle - low, high - middle))


def billed_seconds(duration_ms: int, *, granularity_s: int, minimum_s: int, round_up: bool) -> int:
    """Return the whole seconds billed for a span: rounded to the granularity, at least the minimum.

    `round_up` False gives the fewest seconds a provider can charge for the span (it may drop the started unit).
    """
    unit_ms = granularity_s * 1000
    units = -(-max(0, duration_ms) // unit_ms) if round_up else max(0, duration_ms) // unit_ms
    return max(units * granularity_s, minimum_s)


def cost_range(interval: UsageInterval, *, now_ms: Ms) -> tuple[MicroUsd, MicroUsd]:
    """Return the least and the most an interval can have cost so far, in micro-USD.

    A machine that was never seen running may not have been billed at all, so its least is 0. An open interval is
    counted to when it was last seen alive (least) and to now (most). What the provider counts by itself has grown since
    its counter was read by the rate at most.
    """
    if interval.cost_low_micro_usd is not None and interval.cost_high_micro_usd is not None:
        return interval.cost_low_micro_usd, interval.cost_high_micro_usd
    end_earliest_ms = interval.end_earliest_ms if interval.end_earliest_ms is not None else interval.last_seen_ms
    end_latest_ms = interval.end_latest_ms if interval.end_latest_ms is not None else now_ms
    rate = interval.rate_micro_usd_per_hour
    if interval.metered_micro_usd is not None:
        unread_s = billed_seconds(end_latest_ms - interval.last_seen_ms, granularity_s=1, minimum_s=0, round_up=True)
        most = interval.metered_micro_usd + COUNTER_ROUNDING_MICRO_USD + cost_of_seconds(rate, unread_s)
        return interval.metered_micro_usd, most
    rate_low = interval.rate_low_micro_usd_per_hour
    low_s = 0
    if interval.start_latest_ms is not None:
        low_s = billed_seconds(
            end_earliest_ms - interval.start_latest_ms,
            granularity_s=interval.granularity_s,
            minimum_s=interval.minimum_s if interval.minimum_low_s is None else interval.minimum_low_s,
            round_up=False,
        )
    high_s = billed_seconds(
        end_latest_ms - interval.start_earliest_ms,
        granularity_s=interval.granularity_s,
        minimum_s=interval.minimum_s,
        round_up=True,
    )
    return cost_of_seconds(rate if rate_low is None else rate_low, low_s), cost_of_seconds(rate, high_s)


def cost_of(intervals: Iterable[UsageInterval], *, now_ms: Ms) -> Cost:
    """Return what intervals cost together so far."""
    low = high = 0
    for interval in intervals:
        interval_low, interval_high = cost_range(interval, now_ms=now_ms)
        low += interval_low
        high += interval_high
    return Cost.between(low, high)


def total_cost(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs; their uncertainties add up, since all of them may err the same way."""
    listed = list(costs)
    return Cost(sum(cost.micro_usd for cost in listed), sum(cost.uncertainty_micro_usd for cost in listed))


_STARTS = {
    BillingStart.RUNNING: "from when it runs",
    BillingStart.ORDERED_OR_RUNNING: "from the order or from when it runs",
    BillingStart.BY_STATE: "disk and traffic from the order, the GPUs while they run,",
}


def describe_billing(rule: BillingRule) -> str:
    """Return a rule in words: "by the second, at least 10 min, from when it runs until it is deleted"."""
    unit = "by the second" if rule.granularity_s == 1 else f"per started {span(rule.granularity_s)}"
    minimum = f", at least {span(rule.minimum_s)}" if rule.minimum_s else ""
    return f"{unit}{minimum}, {_STARTS[rule.starts]} until it is deleted"


def boot_is_free(rule: BillingRule) -> bool:
    """True when the price is certainly not owed before the machine runs at this provider."""
    return rule.starts in (BillingStart.RUNNING, BillingStart.BY_STATE)


def expected_seconds(rule: BillingRule, *, expected_s: int, boot_s: int) -> int:
    """Return the seconds a run of `expected_s` seconds of work is expected to be billed: with boot where it is (or may
    be) billed, the provider's rounding and its minimum."""
    boot_billed_s = 0 if boot_is_free(rule) else boot_s
    duration_ms = (expected_s + boot_billed_s) * 1000
    return billed_seconds(duration_ms, granularity_s=rule.granularity_s, minimum_s=rule.minimum_s, round_up=True)


def effective_rate(total_micro_usd: MicroUsd, *, expected_s: int) -> MicroUsdPerHour:
    """Return micro-USD per hour of useful work, for a run whose expected total is known."""
    return div_half_up(total_micro_usd * HOUR_S, expected_s)
