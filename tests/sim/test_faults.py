"""Knobs: when a chance fires, what a knob takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.sim.faults import BadSetting, Faults, Rule, UnknownKnob, chance


def test_a_counted_rule_fires_for_the_next_calls_of_its_operation_only() -> None:
    faults = Faults(1)
    faults.set(lost_reply={"operation": "deploy", "count": 2, "skip": 1})
    calls = ["cloud.get", "cloud.deploy", "cloud.deploy", "cloud.get", "cloud.deploy", "cloud.deploy"]
    assert [faults.fires("lost_reply", call) for call in calls] == [False, False, True, False, True, False]


def test_a_probability_comes_from_the_seed() -> None:
    def draw(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.set(server_error=0.25)
        return [faults.fires("server_error", "cloud.get") for _ in range(400)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 60 < sum(draw(1)) < 140


def test_several_rules_and_patterns() -> None:
    faults = Faults(1)
    faults.set(slow=[{"operation": "list_*", "count": 1}, {"operation": "huddle.get"}])
    assert faults.fires("slow", "huddle.list_offers")
    assert not faults.fires("slow", "huddle.list_offers")
    assert faults.fires("slow", "huddle.get")
    assert not faults.fires("slow", "other.get")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_error", 1.5),
        ("server_error", "often"),
        ("server_error", {"count": 0}),
        ("server_error", {"times": 3}),
        ("server_error", {"count": True}),
        ("server_error", {"probability": -0.1}),
        ("server_error", [{"count": 1}, "x"]),
        ("delete_s", -1),
        ("delete_s", float("nan")),
        ("delete_s", float("inf")),
        ("delete_s", True),
        ("offline_billing", 1),
        ("billing_start", "later"),
        ("unknown_state_word", "hibernating"),
    ],
)
def test_a_bad_setting_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    faults = Faults(1)
    before = faults.describe()
    with pytest.raises(BadSetting, match=name):
        faults.apply({"slow": 1, name: value})
    assert faults.describe() == before


def test_an_unknown_knob_is_refused_with_the_list_of_those_there_are() -> None:
    faults = Faults(1)
    with pytest.raises(UnknownKnob, match=r"lost_reply.*server_error"):
        faults.set(gremlins=1)


def test_settings_can_be_read_cleared_and_reset() -> None:
    faults = Faults(1)
    faults.set(server_error={"count": 3}, delete_s=9, billing_start="ordered")
    assert faults.describe()["server_error"]["value"] == [{"operation": "*", "probability": 1.0, "count": 3, "skip": 0}]
    faults.set(server_error=0, delete_s=None)
    assert faults.describe()["server_error"]["value"] == []
    assert faults.number("delete_s") == 0.5
    assert faults.choice("billing_start") == "ordered"
    faults.reset()
    assert faults.choice("billing_start") == "running"


def test_a_providers_own_knobs_join_and_may_not_clash() -> None:
    faults = Faults(1)
    faults.declare([chance("own", "mine")])
    faults.declare([chance("own", "mine")])
    faults.set(own=Rule(count=1))
    assert faults.fires("own", "x")
    with pytest.raises(ValueError, match="own"):
        faults.declare([chance("own", "another")])
