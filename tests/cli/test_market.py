"""pricing, offers, route, providers."""

from __future__ import annotations

from typing import Any

import pytest
from arrange import keep_offers, make_offer

from gputui.core.desk import Desk
from gputui.model.errors import AuthError, Unreachable
from gputui.model.types import Stock
from gputui.providers.mock.client import MockClient

OFFER_KEYS = {
    "id",
    "provider",
    "gpu",
    "gpu_count",
    "vram_gib",
    "vcpus",
    "ram_gib",
    "region",
    "tier",
    "price_per_hour_usd",
    "effective_per_hour_usd",
    "stock",
    "fetched_at",
}


def test_pricing_asks_who_was_never_asked_and_then_nobody(cli: Any) -> None:
    first = cli("pricing", "--gpu", "H100", "--json")
    assert "Asking Mock" in first.err
    assert {row["gpu"] for row in first.data} <= {"H100", "H100-SXM", "H100-PCIE", "H100-NVL"}
    assert {row["provider"] for row in first.data} == {"mock"}
    second = cli("pricing", "--gpu", "H100", "--json")
    assert second.err == ""
    assert second.data == first.data


def test_pricing_asks_again_when_prices_are_old_or_when_told_to(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk))
    assert "Asking" not in cli("pricing").err
    assert "Asking Mock" in cli("pricing", "--refresh").err
    keep_offers(desk, make_offer(desk), age_ms=301_000)
    assert "Asking" not in cli("pricing", "--cached").err
    assert "Asking Mock" in cli("pricing").err


def test_prices_are_per_gpu_and_the_cheapest_in_stock_is_the_best(cli: Any, desk: Desk) -> None:
    keep_offers(
        desk,
        make_offer(desk, id="a", gpu_count=8, price_micro_usd_per_hour=16_000_000),
        make_offer(desk, id="b", price_micro_usd_per_hour=1_000_000, stock=Stock.NONE),
    )
    keep_offers(desk, make_offer(desk, id="c", provider="huddle"), provider="huddle")
    rows = {row["provider"]: row for row in cli("pricing", "--gpu", "h100-sxm", "--json").data}
    assert rows["mock"]["price_per_gpu_hour_usd"] == "2.00"
    assert rows["mock"]["offer_count"] == 2
    assert rows["mock"]["is_best"]
    assert rows["huddle"]["price_per_gpu_hour_usd"] == "2.29"
    assert not rows["huddle"]["is_best"]
    shown = cli("pricing", "--gpu", "H100-SXM").out
    assert shown.splitlines()[0].split() == ["GPU", "GIB", "HUDDLE", "MOCK"]
    assert shown.splitlines()[1].split() == ["H100-SXM", "80", "2.29", "*", "2.00"]


def test_pricing_says_which_provider_has_no_key(cli: Any) -> None:
    assert "huddle: no key; run: gputui auth login huddle" in cli("pricing").err


@pytest.mark.parametrize("command", [["pricing"], ["offers"], ["route"]])
def test_an_unknown_gpu_names_the_nearest(cli: Any, command: list[str]) -> None:
    said = cli(*command, "--gpu", "H1000", "--json")
    assert said.code == 2
    assert said.error["code"] == "usage"
    assert "H100" in said.error["error"].partition("Did you mean")[2]


def test_a_spelling_only_a_provider_uses_is_known(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk, gpu="Weird Chip 9"))
    assert [row["gpu"] for row in cli("pricing", "--gpu", "weird chip 9", "--json").data] == ["Weird Chip 9"]


def test_a_provider_that_fails_keeps_its_old_prices_and_is_told(
    cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: MockClient) -> None:
        raise Unreachable("mock cannot be reached.", provider="mock")

    keep_offers(desk, make_offer(desk), age_ms=7_200_000)
    monkeypatch.setattr(MockClient, "fetch_offers", fail)
    said = cli("pricing", "--json")
    assert said.code == 0
    assert [row["price_per_gpu_hour_usd"] for row in said.data] == ["2.29"]
    assert "mock cannot be reached" in said.err
    assert "2 h old" in said.err


def test_offers_have_the_agreed_keys_and_order(cli: Any) -> None:
    offers = cli("offers", "--gpu", "H100", "--json").data
    assert set(offers[0]) == OFFER_KEYS
    prices = [float(offer["price_per_hour_usd"]) for offer in offers]
    assert prices == sorted(prices)


def test_offers_are_narrowed(cli: Any, desk: Desk) -> None:
    keep_offers(desk, *(make_offer(desk, id=f"m{n}", price_micro_usd_per_hour=n * 1_000_000) for n in range(1, 6)))
    keep_offers(desk, make_offer(desk, id="h", provider="huddle"), provider="huddle")
    assert [offer["id"] for offer in cli("offers", "--provider", "huddle", "--json").data] == ["h"]
    assert [offer["id"] for offer in cli("offers", "--max-price", "$2.29", "--json").data] == ["m1", "m2", "h"]
    assert [offer["id"] for offer in cli("offers", "--limit", "2", "--json").data] == ["m1", "m2"]
    shown = cli("offers", "--limit", "2")
    assert len(shown.out.splitlines()) == 3
    assert "there are more" in shown.err
    assert "there are more" not in cli("offers", "--limit", "6").err


def test_the_effective_price_counts_the_minimum_of_the_provider(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk, id="h", provider="huddle"), provider="huddle")
    [offer] = cli("offers", "--cached", "--json").data
    assert float(offer["effective_per_hour_usd"]) > float(offer["price_per_hour_usd"])


def test_offers_are_narrowed_by_a_filter_before_they_are_counted(cli: Any, desk: Desk) -> None:
    keep_offers(
        desk,
        make_offer(desk, id="a", price_micro_usd_per_hour=1_000_000, region="us-east"),
        make_offer(desk, id="b", price_micro_usd_per_hour=2_000_000, region="eu-north"),
        make_offer(desk, id="c", price_micro_usd_per_hour=3_000_000, region="eu-north"),
    )
    assert [row["id"] for row in cli("offers", "--where", "-region:us $<3", "--json").data] == ["b"]
    said = cli("offers", "--where", "region:eu", "--limit", "1", "--json")
    assert [row["id"] for row in said.data] == ["b"]
    assert "there are more" in said.err


def test_a_mistake_in_a_filter_is_pointed_at(cli: Any) -> None:
    said = cli("offers", "--where", "gpu:h100 vrm>=80", "--json")
    assert said.code == 2
    assert said.error["error"] == "--where, character 10: unknown field 'vrm': did you mean vram?"
    assert said.err.splitlines()[:2] == ["  gpu:h100 vrm>=80", "           ^^^"]


def test_offers_of_an_unknown_provider_are_not_found(cli: Any) -> None:
    said = cli("offers", "--provider", "nope", "--json")
    assert said.code == 3
    assert "mock" in said.error["error"]


def test_the_named_provider_refusing_its_key_is_an_error(cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: MockClient) -> None:
        raise AuthError("mock refused the key.", provider="mock")

    keep_offers(desk, make_offer(desk), age_ms=7_200_000)
    monkeypatch.setattr(MockClient, "fetch_offers", refuse)
    for command in (["offers"], ["route", "--gpu", "H100"], ["run", "--gpu", "H100", "--command", "x", "--yes"]):
        said = cli(*command, "--provider", "mock", "--json")
        assert (said.code, said.error["code"]) == (4, "auth"), command


def test_the_named_provider_out_of_reach_and_nothing_known_is_an_error(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: MockClient) -> None:
        raise Unreachable("mock cannot be reached.", provider="mock")

    monkeypatch.setattr(MockClient, "fetch_offers", fail)
    for command in (["offers"], ["route", "--gpu", "H100"]):
        said = cli(*command, "--provider", "mock", "--json")
        assert (said.code, said.error["code"]) == (7, "unreachable"), command


def test_route_gives_the_order_of_trying_and_a_reason_for_every_loser(cli: Any, desk: Desk) -> None:
    keep_offers(
        desk,
        make_offer(desk, id="dear", price_micro_usd_per_hour=3_000_000),
        make_offer(desk, id="cheap"),
        make_offer(desk, id="two", gpu_count=2),
        make_offer(desk, id="sold", stock=Stock.NONE),
        make_offer(desk, id="over", price_micro_usd_per_hour=9_000_000),
        make_offer(desk, id="other", gpu="A10"),
    )
    plan = cli("route", "--gpu", "H100", "--budget-max", "5", "--expected", "2h", "--json").data
    assert [candidate["offer"]["id"] for candidate in plan["candidates"]] == ["cheap", "dear"]
    assert plan["chosen"]["expected_total_usd"] == "4.58"
    reasons = {loser["offer"]["id"]: loser["constraint"] for loser in plan["rejected"]}
    assert reasons == {"two": "gpu-count", "sold": "stock", "over": "price"}
    assert "huddle" in [entry["provider"] for entry in plan["not_asked"]]
    shown = cli("route", "--gpu", "H100", "--budget-max", "5").out
    assert "over your cap" in shown


def test_no_offer_under_the_cap_says_what_would_have_to_change(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk))
    said = cli("route", "--gpu", "H100", "--budget-max", "1.00")
    assert said.code == 5
    assert "over your cap" in said.out
    assert "under your cap of 1.00 $/h: the cheapest is 2.29 $/h" in said.err
    assert "Raise the cap to 2.29" in said.err
    assert cli("route", "--gpu", "H100", "--budget-max", "1.00", "--json").error["code"] == "no_match"


def test_providers_say_what_they_can_and_why_they_cannot_be_used(cli: Any) -> None:
    rows = {row["provider"]: row for row in cli("providers", "--json").data}
    assert not rows["huddle"]["usable"]
    assert "gputui auth login huddle" in rows["huddle"]["problem"]
    assert rows["huddle"]["capabilities"]["os-images"]
    assert rows["huddle"]["billing"]["minimum_s"] == 600
    assert rows["mock"]["usable"]
    assert rows["mock"]["problem"] is None
    assert not rows["mock"]["capabilities"]["os-images"]
    assert "gputui auth login huddle" in cli("providers").out


def test_a_key_in_the_environment_makes_a_provider_usable(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", "fake-0123456789abcdef")
    said = cli("providers", "--json")
    rows = {row["provider"]: row for row in said.data}
    assert rows["huddle"]["usable"]
    assert rows["huddle"]["key_source"] == "environment"
    assert "fake-0123456789abcdef" not in said.out
