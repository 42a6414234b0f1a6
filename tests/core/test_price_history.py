"""Trends and summaries from steps of price."""

from __future__ import annotations

import pytest

from gputui.core.price_history import Trend, summary, trend
from gputui.store.offers import PricePoint

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS


def point(hours_ago: float, price: int | None, provider: str = "a") -> PricePoint:
    return PricePoint(provider, "H100", NOW_MS - round(hours_ago * HOUR_MS), price)


def test_a_trend_follows_the_cheapest_of_all_providers() -> None:
    points = [point(30, 100), point(20, 80, "b"), point(10, None, "b"), point(2, 90)]
    # at the ends of slices 18, 12, 6 and 0 hours ago
    assert trend(points, now_ms=NOW_MS, slices=4) == Trend((80, 80, 100, 90), 0.125)


def test_what_is_not_known_yet_stays_open_and_the_change_is_from_the_first_known() -> None:
    found = trend([point(13, 200), point(1, 150)], now_ms=NOW_MS, slices=4)
    assert found == Trend((None, 200, 200, 150), -0.25)


@pytest.mark.parametrize("points", [[], [point(1, 100)], [point(30, 100), point(1, None)]])
def test_there_is_no_trend_of_too_little_or_of_what_cannot_be_had(points: list[PricePoint]) -> None:
    assert trend(points, now_ms=NOW_MS, slices=8) is None


def test_a_summary_weighs_prices_by_how_long_they_held() -> None:
    points = [point(200, 100), point(84, None), point(42, 300)]
    found = summary(points, now_ms=NOW_MS)
    assert found is not None
    assert (found.low, found.middle, found.high) == (100, 100, 300)
    assert found.available == pytest.approx((84 + 42) / 168)
    assert found.span_ms == 168 * HOUR_MS


def test_a_summary_needs_a_day_and_a_price() -> None:
    assert summary([], now_ms=NOW_MS) is None
    assert summary([point(23, 100)], now_ms=NOW_MS) is None
    assert summary([point(48, None)], now_ms=NOW_MS) is None
    assert summary([point(25, 100)], now_ms=NOW_MS) is not None
