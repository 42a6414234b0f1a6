"""What was spent day by day and provider by provider, and how long an account's credit lasts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gputui.core.metering import Cost, cost_range
from gputui.model.types import UsageInterval
from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms, div_half_up

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Day:
    """What one day (UTC) cost at each provider, the middle of what it can have been."""

    start_ms: Ms
    by_provider: Mapping[str, MicroUsd]

    @property
    def micro_usd(self) -> MicroUsd:
        return sum(self.by_provider.values())


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC): from its first moment to the first of the next one."""

    start_ms: Ms
    end_ms: Ms

    @property
    def days(self) -> int:
        return (self.end_ms - self.start_ms) // DAY_MS


def month_of(now_ms: Ms, *, months_ago: int = 0) -> Month:
    """Return the month that a moment lies in, or one before it."""
    moment = datetime.fromtimestamp(now_ms / 1000, tz=UTC)
    months = moment.year * 12 + moment.month - 1 - months_ago
    return Month(_first_of(months), _first_of(months + 1))


def _first_of(months: int) -> Ms:
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def spent_by_day(intervals: Sequence[UsageInterval], month: Month, *, now_ms: Ms) -> list[Day]:
    """Return the days of a month up to now with what each cost; a minimum that is billed falls on the first day.

    The days of an interval add up to its cost. Of what the provider counts by itself nobody kept when it grew: it is spread
    evenly over the time it was counted.
    """
    last_ms = min(now_ms, month.end_ms)
    days = []
    for start_ms in range(month.start_ms, last_ms, DAY_MS):
        spent: dict[str, MicroUsd] = defaultdict(int)
        for interval in intervals:
            until = _cost_by(interval, min(start_ms + DAY_MS, last_ms), now_ms)
            if amount := until - _cost_by(interval, start_ms, now_ms):
                spent[interval.provider] += amount
        days.append(Day(start_ms, dict(spent)))
    return days


def spent_in(intervals: Sequence[UsageInterval], month: Month, *, now_ms: Ms) -> Cost:
    """Return what a month cost. It is as uncertain as the intervals are that were billed in it."""
    total = sum(day.micro_usd for day in spent_by_day(intervals, month, now_ms=now_ms))
    unsure = 0
    for interval in intervals:
        low, high = cost_range(interval, now_ms=now_ms)
        is_in_it = interval.start_earliest_ms < month.end_ms and (interval.end_latest_ms or now_ms) >= month.start_ms
        unsure += Cost.between(low, high).uncertainty_micro_usd if is_in_it else 0
    return Cost(total, unsure)


def rates_by_provider(intervals: Iterable[UsageInterval]) -> dict[str, MicroUsdPerHour]:
    """Return what is being paid per hour now at each provider; what it counts by itself has no rate, only a limit."""
    rates: dict[str, MicroUsdPerHour] = defaultdict(int)
    for interval in intervals:
        if interval.end_latest_ms is None and interval.metered_micro_usd is None:
            rates[interval.provider] += interval.rate_micro_usd_per_hour
    return dict(rates)


def runway_s(balance_micro_usd: MicroUsd, rate_micro_usd_per_hour: MicroUsdPerHour) -> int | None:
    """Return for how many seconds a balance lasts at a rate, None when nothing is being paid."""
    if rate_micro_usd_per_hour <= 0:
        return None
    return max(0, balance_micro_usd) * 3600 // rate_micro_usd_per_hour


def _cost_by(interval: UsageInterval, moment_ms: Ms, now_ms: Ms) -> MicroUsd:
    """Return what an interval had cost by a moment, the middle of what it can have been."""
    total = _middle(interval, now_ms)
    end_ms = interval.end_latest_ms if interval.end_latest_ms is not None else now_ms
    if moment_ms >= end_ms:
        return total
    if moment_ms <= interval.start_earliest_ms:
        return 0
    if interval.metered_micro_usd is not None:
        counted_ms = max(1, end_ms - interval.start_earliest_ms)
        return div_half_up(total * (moment_ms - interval.start_earliest_ms), counted_ms)
    so_far = replace(
        interval,
        cost_low_micro_usd=None,
        cost_high_micro_usd=None,
        last_seen_ms=min(interval.last_seen_ms, moment_ms),
        end_earliest_ms=min(interval.end_earliest_ms or moment_ms, moment_ms),
        end_latest_ms=moment_ms,
    )
    return min(total, _middle(so_far, moment_ms))


def _middle(interval: UsageInterval, now_ms: Ms) -> MicroUsd:
    low, high = cost_range(interval, now_ms=now_ms)
    return Cost.between(low, high).micro_usd
