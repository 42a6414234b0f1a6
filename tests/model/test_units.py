from __future__ import annotations

from decimal import Decimal

import pytest

from gputui.model.errors import UsageError
from gputui.model.units import (
    cost_of_ms,
    cost_of_seconds,
    div_half_up,
    format_age,
    format_duration,
    format_usd,
    iso_utc,
    micro_to_usd,
    parse_duration,
    parse_iso_utc,
    parse_usd,
    span,
    usd_to_micro,
)


@pytest.mark.parametrize(
    ("value", "micro"),
    [(2.29, 2_290_000), ("0.000636", 636), (Decimal("1e-7"), 0), ("0.0000005", 1), (-1.5, -1_500_000), (0, 0)],
)
def test_dollars_become_micro_dollars_half_up(value: object, micro: int) -> None:
    assert usd_to_micro(value) == micro  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["NaN", "inf", "two"])
def test_what_is_no_amount_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        usd_to_micro(value)


@pytest.mark.parametrize(("text", "micro"), [("2.50", 2_500_000), ("$0.4/h", 400_000), (" 3 ", 3_000_000)])
def test_people_write_dollars_in_several_ways(text: str, micro: int) -> None:
    assert parse_usd(text) == micro


@pytest.mark.parametrize("text", ["-1", "abc", "", "NaN", "1e30"])
def test_a_bad_amount_names_its_field(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        parse_usd(text, field="budget")


@pytest.mark.parametrize(
    ("micro", "text"),
    [(2_290_000, "2.29"), (0, "0.00"), (1, "0.000001"), (-1_500_000, "-1.50"), (1_000_000_000_000, "1000000.00")],
)
def test_json_money_is_exact_and_comes_back(micro: int, text: str) -> None:
    assert micro_to_usd(micro) == text
    assert usd_to_micro(text) == micro


def test_money_for_people_is_rounded_half_up() -> None:
    assert format_usd(285_000) == "0.29"
    assert format_usd(1_234_567_890, places=2) == "1,234.57"
    assert format_usd(None) == "–"


def test_cost_follows_the_rate_exactly() -> None:
    # 1.71 $/h for the ten-minute minimum, as in Huddle's billing guide
    assert cost_of_seconds(1_710_000, 600) == 285_000
    assert cost_of_seconds(1_710_000, 1530) == 726_750
    assert cost_of_ms(3_600_000, 1) == 1


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"), [(1, 2, 1), (-1, 2, -1), (1, 3, 0), (2, 3, 1), (7, 7, 1)]
)
def test_division_rounds_half_away_from_zero(numerator: int, denominator: int, result: int) -> None:
    assert div_half_up(numerator, denominator) == result


@pytest.mark.parametrize(
    ("text", "seconds"), [("4h", 14_400), ("90m", 5400), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("1.5h", 5400)]
)
def test_durations_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-4h", "4 hours", "0", "0s", "999999d", "4h!"])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def test_spans_for_people() -> None:
    assert format_duration(12) == "12 s"
    assert format_duration(61) == "1:01 min"
    assert format_duration(4329) == "1:12:09"
    assert format_duration(270_000) == "3 d 3 h"
    assert format_age(None) == "never"
    assert format_age(12_400) == "12 s"
    assert format_age(3_600_000) == "60 min"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (600, "10 min"),
        (150, "2 min 30 s"),
        (14_400, "4 h"),
        (5400, "1 h 30 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_round_spans(seconds: int, shown: str) -> None:
    assert span(seconds) == shown


def test_times_are_utc_and_come_back() -> None:
    assert iso_utc(1_747_000_000_123) == "2025-05-11T21:46:40.123Z"
    assert parse_iso_utc("2025-05-11T21:46:40.123Z") == 1_747_000_000_123
    assert parse_iso_utc("2025-05-11T23:46:40+02:00") == 1_747_000_000_000
    assert parse_iso_utc("yesterday") is None
    assert parse_iso_utc(None) is None
