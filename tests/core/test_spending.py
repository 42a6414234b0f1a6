"""What was spent by day and provider, and how long credit lasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from gputui.core.metering import cost_of
from gputui.core.spending import month_of, rates_by_provider, runway_s, spent_by_day, spent_in
from gputui.model.types import UsageInterval


def at(day: int, hour: int = 0, month: int = 3) -> int:
    return int(datetime(2026, month, day, hour, tzinfo=UTC).timestamp()) * 1000


NOW_MS = at(14, 15)


def interval(provider: str, start_ms: int, end_ms: int | None, rate: int = 1_000_000, **more: object) -> UsageInterval:
    return replace(
        UsageInterval(
            id=1,
            job_id="job",
            placement_id="placement",
            provider=provider,
            resource="compute",
            rate_micro_usd_per_hour=rate,
            granularity_s=1,
            minimum_s=0,
            start_earliest_ms=start_ms,
            start_latest_ms=start_ms,
            last_seen_ms=end_ms or NOW_MS,
            end_earliest_ms=end_ms,
            end_latest_ms=end_ms,
        ),
        **more,  # type: ignore[arg-type]
    )


def test_a_month_has_its_days_and_the_one_before_january_is_december() -> None:
    assert month_of(NOW_MS).days == 31
    assert month_of(NOW_MS, months_ago=1).days == 28
    december = month_of(at(20, month=1), months_ago=1)
    assert datetime.fromtimestamp(december.start_ms / 1000, tz=UTC) == datetime(2025, 12, 1, tzinfo=UTC)


def test_the_days_of_a_run_over_midnight_add_up_to_its_cost() -> None:
    run = interval("huddle", at(3, 20), at(5, 2), rate=2_290_000)
    days = spent_by_day([run], month_of(NOW_MS), now_ms=NOW_MS)
    assert [day.by_provider.get("huddle", 0) for day in days[2:5]] == [4 * 2_290_000, 24 * 2_290_000, 2 * 2_290_000]
    assert sum(day.micro_usd for day in days) == cost_of([run], now_ms=NOW_MS).micro_usd


def test_what_runs_now_counts_until_now_and_days_to_come_are_not_there() -> None:
    days = spent_by_day([interval("huddle", at(14, 10), None)], month_of(NOW_MS), now_ms=NOW_MS)
    assert len(days) == 14
    assert days[-1].by_provider == {"huddle": 5_000_000}


def test_what_began_in_the_month_before_counts_from_the_first() -> None:
    run = interval("runpod", at(28, 12, month=2), at(1, 6))
    march = spent_by_day([run], month_of(NOW_MS), now_ms=NOW_MS)
    february = spent_by_day([run], month_of(NOW_MS, months_ago=1), now_ms=NOW_MS)
    assert march[0].by_provider == {"runpod": 6_000_000}
    assert february[-1].by_provider == {"runpod": 12_000_000}


def test_providers_are_kept_apart() -> None:
    runs = [interval("huddle", at(2), at(2, 1)), interval("runpod", at(2), at(2, 2))]
    assert spent_by_day(runs, month_of(NOW_MS), now_ms=NOW_MS)[1].by_provider == {
        "huddle": 1_000_000,
        "runpod": 2_000_000,
    }


def test_a_counter_is_spread_over_the_time_it_was_counted() -> None:
    traffic = interval("vastai", at(2, 12), at(4, 12), rate=0, resource="traffic", metered_micro_usd=4_000_000)
    days = spent_by_day([traffic], month_of(NOW_MS), now_ms=NOW_MS)
    shares = [day.by_provider["vastai"] for day in days[1:4]]
    assert abs(shares[1] - sum(shares) // 2) <= 1
    assert sum(shares) == cost_of([traffic], now_ms=NOW_MS).micro_usd


def test_a_month_is_as_uncertain_as_what_was_billed_in_it() -> None:
    unsure = interval("huddle", at(2), at(2, 1), start_latest_ms=at(2) + 60_000)
    month = month_of(NOW_MS)
    assert spent_in([unsure], month, now_ms=NOW_MS) == cost_of([unsure], now_ms=NOW_MS)
    assert spent_in([unsure], month_of(NOW_MS, months_ago=1), now_ms=NOW_MS).uncertainty_micro_usd == 0


def test_credit_lasts_as_long_as_the_rate_there_lets_it() -> None:
    open_ones = [interval("huddle", at(2), None, rate=2_000_000), interval("huddle", at(2), None, rate=1_000_000)]
    counter = interval("huddle", at(2), None, rate=9_000_000, metered_micro_usd=0)
    over = interval("runpod", at(2), at(3))
    rates = rates_by_provider([*open_ones, counter, over])
    assert rates == {"huddle": 3_000_000}
    assert runway_s(6_000_000, rates["huddle"]) == 2 * 3600
    assert runway_s(-1, 1) == 0
    assert runway_s(6_000_000, 0) is None
