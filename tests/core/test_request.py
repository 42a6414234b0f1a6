"""From loose values to a job's spec."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gputui.core.intake import validated
from gputui.core.request import make_spec, parse_variables, price_cap, quotes_for
from gputui.model.errors import UsageError
from gputui.model.types import JobKind, Offer, Priority, Tier


@pytest.mark.parametrize(
    ("dollars", "micro"),
    [
        ("2.50", 2_500_000),
        ("$2.5", 2_500_000),
        (2.29, 2_290_000),
        (3, 3_000_000),
        (Decimal("0.1"), 100_000),
        (None, None),
    ],
)
def test_money(dollars: Any, micro: int | None) -> None:
    assert price_cap(dollars) == micro


@pytest.mark.parametrize("dollars", [-1, "-1", Decimal("-0.01"), float("nan"), float("inf"), "abc", "", True])
def test_money_that_is_none(dollars: Any) -> None:
    with pytest.raises(UsageError) as raised:
        price_cap(dollars)
    assert raised.value.field == "budget_max"


@pytest.mark.parametrize(
    ("span", "default_s", "limit_s"),
    [
        ("4h", None, 14_400),
        (90, None, 90),
        (90.9, None, 90),
        (timedelta(minutes=2), None, 120),
        (None, None, None),
        (None, 600, 600),
        ("none", 600, None),
        ("1h", 600, 3600),
    ],
)
def test_limits(span: Any, default_s: int | None, limit_s: int | None) -> None:
    assert make_spec(gpu="H100", max_duration=span, default_max_duration_s=default_s).max_duration_s == limit_s


@pytest.mark.parametrize("span", ["soon", "-4h", 0, -1, timedelta(0), timedelta(days=-1), "", "400d"])
def test_limits_that_are_none(span: Any) -> None:
    with pytest.raises(UsageError) as raised:
        make_spec(gpu="H100", max_duration=span)
    assert raised.value.field == "max_duration"


def test_the_expected_time_is_an_hour_or_the_limit_where_that_is_shorter() -> None:
    assert make_spec(gpu="H100").expected_s == 3600
    assert make_spec(gpu="H100", max_duration="10m").expected_s == 600
    assert make_spec(gpu="H100", max_duration="10h").expected_s == 3600
    assert make_spec(gpu="H100", max_duration="10h", expected="5h").expected_s == 18_000


def test_words() -> None:
    spec = make_spec(gpu="H100", machine=True, tier="spot", priority="speed")
    assert (spec.kind, spec.tier, spec.priority) == (JobKind.MACHINE, Tier.SPOT, Priority.SPEED)
    for wrong in ({"tier": "gold"}, {"priority": "beauty"}, {"machine": True, "command": "x"}):
        with pytest.raises(UsageError):
            make_spec(gpu="H100", **wrong)


def test_variables() -> None:
    assert parse_variables(["A=1", "B=x=y", "C=", "A=2"]) == {"A": "2", "B": "x=y", "C": ""}
    for wrong in ("NOVALUE", "=secret"):
        with pytest.raises(UsageError) as raised:
            parse_variables([wrong])
        assert "secret" not in str(raised.value)


def test_an_hour_costs_at_least_the_minimum_and_unknown_providers_are_left_out() -> None:
    offers = [Offer(f"{name}:1", name, "H100", 1, 2_000_000, 0) for name in ("mock", "huddle", "forgotten")]
    rates = {quote.offer.provider: quote.effective_micro_usd_per_hour for quote in quotes_for(offers)}
    assert rates["mock"] == 2_000_000
    assert rates["huddle"] > 2_000_000
    assert set(rates) == {"mock", "huddle"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, (None, 5)),
        ("30m", (1800, 5)),
        ("30m:10%", (1800, 10)),
        (" 1h : 2 ", (3600, 2)),
        (900, (900, 5)),
        (timedelta(hours=2), (7200, 5)),
    ],
)
def test_idle_stops(text: Any, expected: tuple[int | None, int]) -> None:
    spec = make_spec(gpu="H100", command="c", idle_stop=text)
    assert (spec.idle_stop_s, spec.idle_threshold_percent) == expected


@pytest.mark.parametrize("text", ["30m:", "30m:few", "30m:5%%", "soon", ":5", "", "30m:-1", 0])
def test_idle_stops_that_are_none(text: Any) -> None:
    with pytest.raises(UsageError) as caught:
        make_spec(gpu="H100", command="c", idle_stop=text)
    assert caught.value.field == "idle_stop"


@pytest.mark.parametrize("spec", [{"idle_stop": "59s"}, {"idle_stop": "1h:0"}, {"idle_stop": "1h:100"}])
def test_an_idle_stop_that_could_not_work_is_refused(spec: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        validated(make_spec(gpu="H100", command="c", **spec))
    assert caught.value.field == "idle_stop"


def test_a_machine_to_log_in_to_takes_no_idle_stop() -> None:
    with pytest.raises(UsageError, match="Nothing of ours runs"):
        validated(make_spec(gpu="H100", machine=True, idle_stop="1h"))
