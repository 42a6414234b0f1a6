"""Reading a market of which a search shows only the cheapest few."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gputui.model.errors import Malformed, RateLimited
from gputui.providers.vastai import market
from gputui.providers.vastai.wire import WireOffer, read
from gputui.sim.vtime import run_virtual

NAMES = ["RTX 3060", "GTX 1080", "RTX 3090", "RTX 4090", "L4", "A40", "H100 SXM", "H200", "B200", "GTX 1070"]


def ask(number: int, gpu_name: str, price: float, num_gpus: int = 1) -> dict[str, Any]:
    return {"id": number, "gpu_name": gpu_name, "dph_total": price, "num_gpus": num_gpus}


class Market:
    """Answers with the cheapest `cap` offers that pass the filters, after `answers_in_s`."""

    def __init__(self, offers: list[dict[str, Any]], *, cap: int = 64, answers_in_s: float = 0.3) -> None:
        self.offers = sorted(offers, key=lambda offer: offer["dph_total"])
        self.cap = cap
        self.answers_in_s = answers_in_s
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0

    async def search(self, filters: dict[str, Any]) -> list[WireOffer | None]:
        self.asked.append(filters)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.answers_in_s)
        self.at_once -= 1
        shown = [offer for offer in self.offers if self._passes(offer, filters)][: self.cap]
        return [read(WireOffer, offer) for offer in shown]

    @staticmethod
    def _passes(offer: dict[str, Any], filters: dict[str, Any]) -> bool:
        tests = {
            "eq": lambda have, want: have == want,
            "in": lambda have, want: have in want,
            "gte": lambda have, want: have >= want,
        }
        return all(tests[word](offer[field], want) for field, words in filters.items() for word, want in words.items())

    def read(self, names: list[str] | Exception = NAMES) -> list[WireOffer]:
        async def model_names() -> list[str]:
            if isinstance(names, Exception):
                raise names
            return names

        return run_virtual(market.read_market(self.search, model_names))


def ids(rows: list[WireOffer]) -> set[int]:
    found = [int(row.id or "") for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def crowd(gpu_name: str, count: int, price: float, start: int) -> list[dict[str, Any]]:
    return [ask(start + number, gpu_name, round(price + number / 1000, 6)) for number in range(count)]


def test_a_market_that_fits_into_one_answer_is_read_once_and_proved_whole() -> None:
    shown = Market(crowd("RTX 4090", 300, 0.3, 0), cap=5000)
    assert ids(shown.read()) == set(range(300))
    assert shown.asked == [{}, {"dph_total": {"gte": 0.599}}]


def test_an_empty_market() -> None:
    assert Market([]).read() == []


@pytest.mark.parametrize("cap", [10, 64, 100])
def test_every_model_shows_its_cheapest_whatever_an_answer_holds(cap: int) -> None:
    offers = [offer for place, name in enumerate(NAMES) for offer in crowd(name, 150, 0.05 + place, place * 1000)]
    shown = Market(offers, cap=cap)
    found = ids(shown.read())
    for place, name in enumerate(NAMES):
        assert place * 1000 in found or name == "GTX 1070", name  # unknown models share one slice
    assert len(shown.asked) <= market.MAX_SEARCHES


def test_a_middling_market_is_read_whole() -> None:
    offers = [offer for place, name in enumerate(NAMES) for offer in crowd(name, 40, 0.05 + place, place * 1000)]
    assert ids(Market(offers).read()) == {offer["id"] for offer in offers}


def test_one_model_with_many_offers_is_read_on_from_its_last_price() -> None:
    offers = [*crowd("RTX 4090", 300, 0.3, 0), *crowd("H200", 5, 3.0, 1000)]
    assert ids(Market(offers).read(["RTX 4090", "H200"])) == {offer["id"] for offer in offers}


def test_a_price_that_more_than_an_answer_share_ends_the_search() -> None:
    offers = [ask(number, "RTX 4090", 0.3) for number in range(300)]
    shown = Market(offers)
    assert len(shown.read()) == 64
    assert len(shown.asked) == 2


def test_models_that_were_crowded_out_come_first() -> None:
    cheap = crowd("RTX 3060", 500, 0.05, 0) + crowd("L4", 500, 0.04, 2000)
    shown = Market([*cheap, *crowd("RTX 4090", 5, 0.9, 5000), *crowd("RTX 3090", 5, 0.8, 6000)])
    shown.read(["RTX 3060", "L4", "RTX 4090", "RTX 3090"])
    alone = [asked["gpu_name"]["eq"] for asked in shown.asked if "eq" in asked.get("gpu_name", {})]
    assert set(alone[:2]) == {"RTX 4090", "RTX 3090"}


def test_large_machines_are_seen_beside_many_small_ones() -> None:
    small = crowd("H100 SXM", 300, 2.0, 0) + crowd("A40", 100, 0.3, 1000)
    large = [ask(5000 + number, "H100 SXM", 16.0 + number, 8) for number in range(10)]
    found = ids(Market([*small, *large]).read())
    assert {offer["id"] for offer in large} <= found


def test_searches_are_counted() -> None:
    offers = [offer for place, name in enumerate(NAMES) for offer in crowd(name, 3000, 0.05 + place, place * 10000)]
    shown = Market(offers)
    assert len(shown.read()) > 64 * len(NAMES)
    assert len(shown.asked) == market.MAX_SEARCHES
    assert 1 < shown.most_at_once <= market.AT_ONCE


def test_a_slow_market_ends_in_time() -> None:
    offers = [offer for place, name in enumerate(NAMES) for offer in crowd(name, 300, 0.05 + place, place * 1000)]
    shown = Market(offers, answers_in_s=3.0)

    async def timed() -> float:
        async def model_names() -> list[str]:
            return NAMES

        await market.read_market(shown.search, model_names)
        return asyncio.get_running_loop().time()

    began = run_virtual(_now())
    assert run_virtual(timed()) - began < market.SEARCH_TIME_S + 3.5
    assert len(shown.asked) > 2


async def _now() -> float:
    return asyncio.get_running_loop().time()


def test_without_a_list_of_models_those_that_were_seen_are_asked_for() -> None:
    offers = [*crowd("RTX 3060", 100, 0.05, 0), *crowd("RTX 4090", 90, 0.151, 1000)]
    found = ids(Market(offers).read(Malformed("no such list")))
    assert found == {offer["id"] for offer in offers}


def test_a_failure_is_told_and_not_taken_for_a_small_market() -> None:
    shown = Market(crowd("RTX 4090", 300, 0.3, 0))
    whole = shown.search

    async def failing(filters: dict[str, Any]) -> list[WireOffer | None]:
        if "gpu_name" in filters:
            raise RateLimited("enough")
        return await whole(filters)

    shown.search = failing  # type: ignore[method-assign]
    with pytest.raises(RateLimited):
        shown.read()


def test_odd_rows_do_no_harm() -> None:
    odd = [None, "odd", {"id": None}, {"id": 1}, {"id": 1, "num_gpus": 2, "dph_total": "much"}]
    rows = [read(WireOffer, row) for row in odd]

    async def search(filters: dict[str, Any]) -> list[WireOffer | None]:
        return rows

    async def model_names() -> list[str]:
        return []

    assert run_virtual(market.read_market(search, model_names)) == [WireOffer(id="1", num_gpus=2)]


def test_known_models_come_newest_first_and_unknown_ones_together() -> None:
    slices = market.slices_of(NAMES)
    assert slices[0].names[:3] == ("B200", "H200", "H100 SXM")
    assert slices[-1].names == ("GTX 1070", "GTX 1080")
    assert {name for part in slices for name in part.names} == set(NAMES)
