"""Searching the simulated Vast.ai market: offers, prices, the query language and its traps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from vastai_stage import OFFERS, VastApi

from gputui.sim.vtime import in_virtual_time

ALL: dict[str, Any] = {name: {"eq": "any"} for name in ("verified", "rentable", "rented")}
BY_PRICE = [["dph_total", "asc"]]


@pytest.fixture
def api() -> VastApi:
    api = VastApi()
    api.world.faults.set(search_cap=1000)
    return api


async def everything(api: VastApi) -> list[dict[str, Any]]:
    return await api.offers(**ALL)


@in_virtual_time
async def test_every_offer_is_a_machine_of_its_own_and_adds_up(api: VastApi) -> None:
    offers = await everything(api)
    assert len(offers) == OFFERS
    for field in ("id", "machine_id", "bundle_id"):
        assert len({offer[field] for offer in offers}) == OFFERS
    for offer in offers:
        assert offer["ask_contract_id"] == offer["id"]
        assert offer["dph_total"] == offer["dph_base"] + offer["storage_total_cost"] == offer["search"]["totalHour"]
        assert offer["storage_total_cost"] == pytest.approx(offer["storage_cost"] * 8 / 720)
        assert offer["dph_total_adj"] == offer["dph_total"] + offer["inet_up_cost"] + offer["inet_down_cost"]
        assert offer["internet_up_cost_per_tb"] == offer["inet_up_cost"] * 1024
        assert offer["gpu_total_ram"] == offer["gpu_ram"] * offer["num_gpus"]
        assert offer["dlperf_per_dphtotal"] == offer["dlperf"] / offer["dph_total"]
        assert 0 < offer["min_bid"] < offer["dph_base"]
        assert 0 < offer["gpu_frac"] <= 1
        assert offer["duration"] == pytest.approx(offer["end_date"] - api.world.now_ms() / 1000)
        assert "verified" not in offer
    assert {offer["verification"] for offer in offers} == {"verified", "unverified", "deverified"}


@in_virtual_time
async def test_the_market_is_the_seeds_and_thousands_by_default() -> None:
    first, second = VastApi(), VastApi()
    assert await everything(first) == await everything(second)
    first.world.faults.set(offers=None, search_cap=9000)
    assert len(await everything(first)) == 3000


@in_virtual_time
async def test_no_key_is_needed_but_a_bad_one_is_refused(api: VastApi) -> None:
    assert await api.other("").offers(**ALL) == await everything(api)
    body = await api.other("wrong").refused(404, "auth_error", "POST", "bundles/", json={})
    assert body["msg"] == "Invalid user key"
    names = (await api.other("").ok("GET", "gpu_names/unique/"))["gpu_names"]
    assert "RTX 4090" in names
    assert names == sorted(set(names))


@in_virtual_time
async def test_the_three_forms_of_a_search_are_one(api: VastApi) -> None:
    query = {"gpu_name": {"eq": "RTX 4090"}, "order": BY_PRICE, "limit": 3}
    found = await api.offers(**query)
    assert (await api.ok("GET", "bundles", params={"q": json.dumps(query)}))["offers"] == found
    assert (await api.ok("PUT", "search/asks/", json={"select_cols": ["*"], "q": query}))["offers"] == found
    few = await api.ok("PUT", "search/asks/", json={"select_cols": ["id", "nonsense"], "q": query})
    assert few["offers"] == [{"id": offer["id"], "nonsense": None} for offer in found]


@in_virtual_time
async def test_defaults_are_verified_rentable_and_not_rented(api: VastApi) -> None:
    everywhere, by_default = await everything(api), await api.offers()
    assert {offer["verification"] for offer in by_default} == {"verified"}
    assert len(by_default) == sum(offer["verification"] == "verified" for offer in everywhere)
    scores = [offer["score"] for offer in by_default]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"num_gpus": {"eq": "1"}}, lambda offer: offer["num_gpus"] == 1),
        ({"num_gpus": {"gte": 2, "lt": 5}}, lambda offer: 2 <= offer["num_gpus"] < 5),
        ({"gpu_name": {"in": ["L40S", "RTX 3090"]}}, lambda offer: offer["gpu_name"] in ("L40S", "RTX 3090")),
        ({"gpu_name": {"notin": ["RTX 3090"]}}, lambda offer: offer["gpu_name"] != "RTX 3090"),
        ({"gpu_name": {"neq": "RTX 3090"}}, lambda offer: offer["gpu_name"] != "RTX 3090"),
        ({"gpu_ram": {"gte": 24576.0}}, lambda offer: offer["gpu_ram"] >= 24576),
        ({"static_ip": {"eq": "true"}}, lambda offer: offer["static_ip"]),
        ({"datacenter": {"eq": True}}, lambda offer: offer["hosting_type"] == 1),
        ({"verified": {"eq": False}}, lambda offer: offer["verification"] != "verified"),
        ({"geolocation": {"in": ["US", "SE"]}}, lambda offer: (offer["geolocation"] or "")[-2:] in ("US", "SE")),
        ({"reliability2": {"gt": 0.99}}, lambda offer: offer["reliability"] > 0.99),
        ({"gpu_totalram": {"lte": 30000}}, lambda offer: offer["gpu_total_ram"] <= 30000),
        ({"driver_version": {"gte": 560000000}}, lambda offer: offer["driver_vers"] >= 560_000_000),
        ({"duration": {"gt": 86400.0}}, lambda offer: offer["duration"] > 86400),
        ({"dph": {"lte": 0.5}}, lambda offer: offer["dph_total"] <= 0.5),
        ({"cpu_cores": {"gte": 64}}, lambda offer: (offer["cpu_cores"] or 0) >= 64),
        ({"id": {"gt": 0}}, lambda offer: False),
        ({"gpu_name": {"eq": "RTX_4090"}}, lambda offer: False),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
@in_virtual_time
async def test_filters(api: VastApi, query: dict[str, Any], fits: Any) -> None:
    everywhere = await everything(api)
    found = await api.offers(**{**ALL, **query})
    assert {offer["id"] for offer in found} == {offer["id"] for offer in everywhere if fits(offer)}
    assert found or not any(map(fits, everywhere))


@in_virtual_time
async def test_underscores_may_stand_for_spaces(api: VastApi) -> None:
    api.world.faults.set(underscores_match=True)
    assert {offer["gpu_name"] for offer in await api.offers(gpu_name={"eq": "RTX_4090"})} == {"RTX 4090"}


@in_virtual_time
async def test_an_offer_is_found_by_its_ask_contract_id(api: VastApi) -> None:
    wanted = (await api.offers())[5]["id"]
    assert [offer["id"] for offer in await api.offers(ask_contract_id={"eq": wanted})] == [wanted]


@in_virtual_time
async def test_order_limit_and_the_cap_of_64(api: VastApi) -> None:
    api.world.faults.set(search_cap=None)
    assert len(await api.offers(limit=1000)) == 64
    assert len(await api.offers()) == 64
    assert len(await api.offers(limit=3)) == 3
    prices = [offer["dph_total"] for offer in await api.offers(order=BY_PRICE)]
    assert prices == sorted(prices)
    rest = await api.offers(order=BY_PRICE, dph_total={"gte": prices[-1]})
    assert rest[0]["dph_total"] == prices[-1]
    ids = [offer["id"] for offer in await api.offers(order=[["id", "desc"]])]
    assert ids == sorted(ids, reverse=True)
    api.world.faults.set(cap_by_limit=True)
    assert len(await api.offers(limit=100)) == 100


@in_virtual_time
async def test_prices_are_for_the_disk_that_is_asked_for(api: VastApi) -> None:
    small = {offer["id"]: offer for offer in await everything(api)}
    large = await api.offers(**ALL, allocated_storage=500)
    assert {offer["id"] for offer in large} == {key for key, offer in small.items() if offer["disk_space"] >= 500}
    for offer in large:
        assert offer["dph_base"] == small[offer["id"]]["dph_base"]
        assert offer["dph_total"] == pytest.approx(offer["dph_base"] + offer["storage_cost"] * 500 / 720)


@in_virtual_time
async def test_a_bid_search_shows_the_lowest_bid_as_the_price(api: VastApi) -> None:
    on_demand = {offer["id"]: offer for offer in await api.offers(type="on-demand")}
    for offer in await api.offers(type="bid"):
        assert offer["is_bid"] is True
        assert offer["dph_base"] == offer["min_bid"] == on_demand[offer["id"]]["min_bid"]
        assert offer["dph_total"] == offer["min_bid"] + offer["storage_total_cost"]


@in_virtual_time
async def test_malformed_queries(api: VastApi) -> None:
    body = await api.refused(400, "bad_request", "POST", "bundles/", json={"gpu_name": "L4", "num_gpus": 1})
    wrong = "Input should be a valid dictionary"
    assert body["msg"] == f"q.gpu_name: {wrong}; q.num_gpus: {wrong}"
    body = await api.refused(400, "bad_request", "POST", "bundles/", json={"owner": {"eq": "me"}})
    assert body["msg"] == "q.owner: Extra inputs are not permitted"
    body = await api.refused(400, "invalid_request", "POST", "bundles/", content=b"{nope")
    assert body["msg"] == "Invalid json body"
    api.world.faults.set(malformed_filters="dropped", unknown_filters="dropped")
    assert len(await api.offers(gpu_name="L4", owner={"eq": "me"})) == len(await api.offers())


@in_virtual_time
async def test_a_rented_offer_vanishes_and_comes_back_under_another_id(api: VastApi) -> None:
    offer = await api.offer()
    machine = {"machine_id": {"eq": offer["machine_id"]}}
    contract_id = await api.running(offer["id"])
    for account in (api, api.other("sim-b")):
        assert await account.offers(**machine) == []
    (rented,) = await api.offers(**{**ALL, **machine})
    assert (rented["rentable"], rented["rented"]) == (False, True)
    await api.destroy(contract_id)
    await asyncio.sleep(1)
    (again,) = await api.offers(**machine)
    assert again["id"] != offer["id"]
    body = await api.refused(404, "invalid_args", "PUT", f"asks/{offer['id']}/", json=api.order())
    assert body["msg"] == f"error 404/3603: no_such_ask Instance type by id {offer['id']} is not available."
    assert body["ask_id"] == offer["id"]
    await api.create(again["id"])


@in_virtual_time
async def test_churn_and_drift_of_the_whole_market(api: VastApi) -> None:
    before = {offer["id"]: offer["dph_base"] for offer in await api.offers()}
    api.world.faults.set(market_churn=0.6, price_drift=0.2)
    after = {offer["id"]: offer["dph_base"] for offer in await api.offers()}
    assert 0 < len(after) < len(before)
    assert any(after[key] != before[key] for key in after)
    gone = next(iter(before.keys() - after.keys()))
    await api.refused(404, "invalid_args", "PUT", f"asks/{gone}/", json=api.order())


@in_virtual_time
async def test_a_hosts_promise_is_renewed_when_it_ends(api: VastApi) -> None:
    offer = min(await everything(api), key=lambda item: item["duration"])
    await asyncio.sleep(offer["duration"] + 1)
    (again,) = await api.offers(**ALL, ask_contract_id={"eq": offer["id"]})
    assert again["end_date"] > offer["end_date"]
    assert again["duration"] > 0
