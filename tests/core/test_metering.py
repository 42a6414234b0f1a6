from __future__ import annotations

import pytest

from gputui.core.metering import (
    Cost,
    billed_seconds,
    cost_of,
    cost_range,
    describe_billing,
    effective_rate,
    expected_seconds,
)
from gputui.model.types import BillingRule, BillingStart, UsageInterval
from gputui.providers.registry import PROVIDERS

H = 3_600_000


def interval(**changes: object) -> UsageInterval:
    values: dict[str, object] = {
        "id": 1,
        "job_id": "j",
        "placement_id": "p",
        "provider": "huddle",
        "resource": "compute",
        "rate_micro_usd_per_hour": 3_600_000,  # a tenth of a cent a second: 1,000 micro-dollars
        "granularity_s": 1,
        "minimum_s": 0,
        "start_earliest_ms": 0,
        "start_latest_ms": 0,
        "last_seen_ms": 0,
    }
    return UsageInterval(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration_ms", "granularity_s", "minimum_s", "fewest", "most"),
    [
        (0, 1, 0, 0, 0),
        (1, 1, 0, 0, 1),
        (1000, 1, 0, 1, 1),
        (61_500, 60, 0, 60, 120),
        (120_000, 1, 600, 600, 600),
        (-5, 1, 0, 0, 0),
    ],
)
def test_seconds_follow_granularity_and_minimum(
    duration_ms: int, granularity_s: int, minimum_s: int, fewest: int, most: int
) -> None:
    for round_up, expected in ((False, fewest), (True, most)):
        seconds = billed_seconds(duration_ms, granularity_s=granularity_s, minimum_s=minimum_s, round_up=round_up)
        assert seconds == expected


def test_both_hidden_edges_widen_the_cost() -> None:
    closed = interval(start_latest_ms=10_000, end_earliest_ms=100_000, end_latest_ms=103_000)
    assert cost_range(closed, now_ms=0) == (90_000, 103_000)
    cost = cost_of([closed], now_ms=0)
    assert cost.micro_usd - cost.uncertainty_micro_usd <= 90_000
    assert cost.micro_usd + cost.uncertainty_micro_usd >= 103_000


def test_the_minimum_charge_makes_a_short_run_exact() -> None:
    short = interval(minimum_s=600, start_latest_ms=9_000, end_earliest_ms=60_000, end_latest_ms=66_000)
    assert cost_of([short], now_ms=0) == Cost(600_000, 0)


def test_a_machine_never_seen_running_may_have_cost_nothing() -> None:
    assert cost_range(interval(start_latest_ms=None, end_earliest_ms=5_000, end_latest_ms=9_000), now_ms=0) == (
        0,
        9_000,
    )


def test_an_open_interval_grows_with_the_clock() -> None:
    running = interval(last_seen_ms=50_000)
    assert cost_range(running, now_ms=60_000) == (50_000, 60_000)
    assert cost_range(running, now_ms=1 * H)[1] == 3_600_000


def test_a_closed_cost_is_what_was_fixed_whatever_the_edges_say() -> None:
    fixed = interval(end_earliest_ms=1, end_latest_ms=2, cost_low_micro_usd=7, cost_high_micro_usd=9)
    assert cost_range(fixed, now_ms=H) == (7, 9)
    assert cost_of([fixed], now_ms=H) == Cost(8, 1)


def test_the_middle_reaches_both_ends_even_when_the_width_is_odd() -> None:
    for low, high in ((0, 1), (3, 8), (10, 10)):
        cost = Cost.between(low, high)
        assert cost.micro_usd - cost.uncertainty_micro_usd <= low
        assert cost.micro_usd + cost.uncertainty_micro_usd >= high


def test_expected_secondss_use_the_provider_rule() -> None:
    hourly = BillingRule(granularity_s=3600, minimum_s=0, starts=BillingStart.RUNNING, source="test")
    assert expected_seconds(hourly, expected_s=3601, boot_s=500) == 7200
    maybe = BillingRule(granularity_s=1, minimum_s=600, starts=BillingStart.ORDERED_OR_RUNNING, source="test")
    assert expected_seconds(maybe, expected_s=60, boot_s=100) == 600
    assert expected_seconds(maybe, expected_s=3600, boot_s=100) == 3700
    assert effective_rate(4_000_000, expected_s=7200) == 2_000_000


def test_a_rule_is_told_in_words_for_people() -> None:
    hourly = BillingRule(granularity_s=3600, minimum_s=600, starts=BillingStart.RUNNING, source="test")
    assert describe_billing(hourly) == "per started 1 h, at least 10 min, from when it runs until it is deleted"


def test_every_rule_has_words() -> None:
    for name, info in PROVIDERS.items():
        assert describe_billing(info.billing).endswith("until it is deleted"), name
