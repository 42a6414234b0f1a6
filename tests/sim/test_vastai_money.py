"""Bids, the true bill, credit, charges and invoices of the simulated Vast.ai."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from vastai_stage import VastApi

from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

HOUR_S = 3600


@pytest.fixture
def api() -> VastApi:
    return VastApi()


# Interruptible instances


@in_virtual_time
async def test_a_bid_is_the_price_and_any_price_is_a_bid(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    contract_id = await api.running(offer["id"], price=offer["min_bid"] + 0.05)
    shown = await api.get(contract_id)
    assert (shown["is_bid"], shown["dph_base"]) == (True, pytest.approx(offer["min_bid"] + 0.05))
    assert (await api.get(await api.create(price=None)))["is_bid"] is False


@in_virtual_time
async def test_a_low_bid_is_refused_and_leaves_an_instance_that_costs(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    body = await api.refused(400, "invalid_price", "PUT", f"asks/{offer['id']}/", json=api.order(price=0.001))
    contract_id = body["new_contract"]
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")
    await asyncio.sleep(HOUR_S)
    shown = await api.get(contract_id)
    assert float(api.bill_usd(contract_id)) == pytest.approx(shown["storage_total_cost"], rel=1e-3)
    await api.destroy(contract_id)
    api.world.faults.set(low_bid_leaves_instance=False)
    offer = await api.offer(type="bid")
    body = await api.refused(400, "invalid_price", "PUT", f"asks/{offer['id']}/", json=api.order(price=0.001))
    assert "new_contract" not in body
    assert len(api.world.machines) == 1


@in_virtual_time
async def test_on_demand_beats_a_bid_and_a_higher_bid_a_lower_one(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    machine = {"machine_id": {"eq": offer["machine_id"]}}
    low_id = await api.running(offer["id"], price=offer["min_bid"] + 0.01)
    other = api.other("sim-b")
    (higher,) = await other.offers(type="bid", **machine)
    assert higher["min_bid"] == pytest.approx(offer["min_bid"] + 0.02)
    high_id = await other.running(higher["id"], price=higher["min_bid"])
    assert await api.states(low_id) == ("exited", "stopped", "stopped")
    third = api.other("sim-c")
    (free,) = await third.offers(**machine)
    owner_id = await third.running(free["id"])
    assert await other.states(high_id) == ("exited", "stopped", "stopped")
    await third.destroy(owner_id)
    await asyncio.sleep(1)
    await api.listed()
    await asyncio.sleep(5)
    assert await other.states(high_id) == ("running", "running", "running")
    assert await api.states(low_id) == ("exited", "stopped", "stopped")


@in_virtual_time
async def test_a_bid_that_is_being_destroyed_is_not_brought_back(api: VastApi) -> None:
    api.world.faults.set(delete_s=10)
    offer = await api.offer(type="bid")
    contract_id = await api.running(offer["id"], price=offer["min_bid"])
    other, machine = api.other("sim-b"), {"machine_id": {"eq": offer["machine_id"]}}
    (free,) = await other.offers(**machine)
    await api.destroy(contract_id)
    assert await other.offers(**machine) == []
    await other.refused(404, "invalid_args", "PUT", f"asks/{free['id']}/", json=api.order())
    await asyncio.sleep(11)
    await other.create(free["id"])
    assert await api.get(contract_id) is None
    assert not api.machine(contract_id).is_alive(api.world.now_ms())


@in_virtual_time
async def test_a_new_bid_wins_the_machine_back_or_loses_it(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    contract_id = await api.running(offer["id"], price=offer["min_bid"] + 0.01)
    other = api.other("sim-b")
    (higher,) = await other.offers(type="bid", machine_id={"eq": offer["machine_id"]})
    rival_id = await other.running(higher["id"], price=higher["min_bid"])
    path = f"instances/bid_price/{contract_id}/"
    await api.ok("PUT", path, json={"client_id": "me", "price": higher["min_bid"] + 0.5})
    assert await other.states(rival_id) == ("exited", "stopped", "stopped")
    await asyncio.sleep(5)
    assert (await api.get(contract_id))["dph_base"] == pytest.approx(higher["min_bid"] + 0.5)
    assert await api.states(contract_id) == ("running", "running", "running")
    await api.ok("PUT", path, json={"price": 0.001})
    assert (await api.get(contract_id))["intended_status"] == "stopped"
    await api.refused(400, "invalid_price", "PUT", path, json={"price": 0})
    await api.refused(400, "invalid_price", "PUT", path, json={"price": 33})
    await api.refused(404, "no_such_instance", "PUT", "instances/bid_price/1/", json={"price": 1})
    on_demand = await api.create()
    await api.refused(400, "invalid_args", "PUT", f"instances/bid_price/{on_demand}/", json={"price": 1})


@in_virtual_time
async def test_outbid_by_somebody_outside_and_back_by_itself(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    api.world.faults.set(outbid={"count": 1}, outbid_after_s=100, outbid_for_s=500)
    contract_id = await api.running(offer["id"], price=offer["min_bid"])
    await asyncio.sleep(100)
    shown = await api.get(contract_id)
    states = ("actual_status", "intended_status", "cur_state", "next_state")
    assert [shown[name] for name in states] == ["exited", "stopped", "stopped", "stopped"]
    await asyncio.sleep(500)
    assert await api.states(contract_id) == ("running", "running", "running")


@in_virtual_time
async def test_a_rival_outside_is_beaten_by_a_higher_bid_only(api: VastApi) -> None:
    offer = await api.offer(type="bid")
    api.world.faults.set(outbid={"count": 1}, outbid_after_s=10)
    contract_id = await api.running(offer["id"], price=offer["min_bid"])
    await asyncio.sleep(HOUR_S)
    path = f"instances/bid_price/{contract_id}/"
    for factor, status in ((1.05, "exited"), (1.2, "running")):
        await api.ok("PUT", path, json={"price": offer["min_bid"] * factor})
        await asyncio.sleep(10)
        assert (await api.get(contract_id))["actual_status"] == status


@in_virtual_time
async def test_an_offer_that_is_taken_may_be_waited_for(api: VastApi) -> None:
    offer = await api.offer()
    holder = api.other("sim-b")
    holder_id = await holder.running(offer["id"])
    (taken,) = await api.offers(machine_id={"eq": offer["machine_id"]}, rentable={"eq": "any"})
    contract_id = await api.create(taken["id"], cancel_unavail=False)
    assert await api.states(contract_id) == ("exited", "running", "stopped")
    await holder.destroy(holder_id)
    await asyncio.sleep(1)
    await api.listed()
    await asyncio.sleep(5)
    assert await api.states(contract_id) == ("running", "running", "running")


# The true bill


@in_virtual_time
async def test_gpus_cost_while_running_storage_always_and_the_pull_once(api: VastApi) -> None:
    offer = await api.offer(inet_down_cost={"gt": 0})
    contract_id = await api.create(offer["id"])
    shown = await api.get(contract_id)
    machine = api.machine(contract_id)
    running_ms = next(at for at, life in machine.timeline if life.value == "running")
    await asyncio.sleep(HOUR_S)
    running_s = (api.world.now_ms() - running_ms) / 1000
    line_gb = shown["inet_down"] / 8 / 1000 * (running_ms - machine.created_ms) / 1000
    pull = min(4, line_gb) * shown["inet_down_cost"]
    expected = shown["dph_base"] * running_s / HOUR_S + shown["storage_total_cost"] + pull
    assert float(api.bill_usd(contract_id)) == pytest.approx(expected, abs=1e-3 * shown["dph_total"])
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(2)
    stopped_at = api.bill_usd(contract_id)
    await asyncio.sleep(10 * HOUR_S)
    stored = api.bill_usd(contract_id) - stopped_at
    assert float(stored) == pytest.approx(10 * shown["storage_total_cost"], rel=1e-4)
    await api.destroy(contract_id)
    final = api.bill_usd(contract_id)
    await asyncio.sleep(HOUR_S)
    assert api.bill_usd(contract_id) == final
    assert truth_of(api.world)["bill_usd"] == str(final.quantize(Decimal("0.000001")))


@in_virtual_time
async def test_a_host_that_is_gone_charges_nothing(api: VastApi) -> None:
    contract_id = await api.running()
    api.world.kill(str(contract_id), "offline")
    before = api.bill_usd(contract_id)
    await asyncio.sleep(HOUR_S)
    assert api.bill_usd(contract_id) - before < Decimal("0.001")
    (row,) = (await api.charges(api.world.now_ms() - HOUR_S * 1000, api.world.now_ms()))["results"]
    assert row["amount"] == pytest.approx(float(before), abs=0.003)


@in_virtual_time
async def test_loading_costs_storage_only_also_when_it_never_runs(api: VastApi) -> None:
    api.world.faults.set(provisioning_error=1)
    contract_id = await api.create()
    shown = await api.get(contract_id)
    await asyncio.sleep(HOUR_S)
    assert float(api.bill_usd(contract_id)) == pytest.approx(shown["storage_total_cost"], rel=1e-3)


@in_virtual_time
async def test_traffic_is_billed_both_ways(api: VastApi) -> None:
    offer = await api.offer(inet_up_cost={"gt": 0}, inet_down_cost={"gt": 0})
    api.world.faults.set(traffic_down_gb_per_hour=100, traffic_up_gb_per_hour=50, image_gb=0)
    contract_id = await api.running(offer["id"])
    shown, before = await api.get(contract_id), api.bill_usd(contract_id)
    await asyncio.sleep(HOUR_S)
    rate = shown["dph_total"] + 100 * shown["inet_down_cost"] + 50 * shown["inet_up_cost"]
    assert float(api.bill_usd(contract_id) - before) == pytest.approx(rate, rel=1e-3)
    assert shown["dph_total"] == pytest.approx(offer["dph_base"] + offer["storage_cost"] * 40 / 720)
    after = await api.get(contract_id)
    assert after["inet_down_billed"] - shown["inet_down_billed"] == pytest.approx(100)
    assert after["inet_up_billed"] - shown["inet_up_billed"] == pytest.approx(50)


@in_virtual_time
async def test_a_surprising_price_is_the_instances_own(api: VastApi) -> None:
    offer = await api.offer(allocated_storage=40)
    api.world.faults.set(price_surprise=1, price_surprise_factor=2)
    shown = await api.get(await api.create(offer["id"]))
    assert shown["dph_total"] == pytest.approx(2 * offer["dph_total"])


# Credit


async def credit(api: VastApi) -> float:
    user = await api.ok("GET", "users/current/")
    assert user["balance"] == 0
    return float(user["credit"])


@in_virtual_time
async def test_credit_falls_within_seconds_and_the_answer_holds_the_key(api: VastApi) -> None:
    assert await credit(api) == 100
    contract_id = await api.running()
    await asyncio.sleep(HOUR_S)
    assert 0 <= 100 - await credit(api) <= float(api.bill_usd(contract_id))
    assert await credit(api) == pytest.approx(100 - float(api.bill_usd(contract_id)), abs=0.01)
    assert (await api.ok("GET", "users/current/"))["api_key"] == "sim-a"
    api.world.faults.set(user_shows_api_key=False)
    assert "api_key" not in await api.ok("GET", "users/current/")


@in_virtual_time
async def test_without_credit_nothing_is_created_and_what_runs_is_stopped(api: VastApi) -> None:
    api.world.faults.set(starting_credit_usd=1)
    contract_id = await api.running()
    shown = await api.get(contract_id)
    await asyncio.sleep(HOUR_S / shown["dph_total"] * 1.1)
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")
    machine = api.machine(contract_id)
    stopped_ms = next(at for at, life in machine.timeline if life.value == "released")
    assert float(machine.bill_usd(stopped_ms)) == pytest.approx(1, abs=0.001)
    assert await credit(api) < 0
    offer = await api.offer()
    await api.refused(400, "insufficient_credit", "PUT", f"asks/{offer['id']}/", json=api.order())
    await api.refused(400, "insufficient_credit", "PUT", f"instances/{contract_id}/", json={"state": "running"})
    await asyncio.sleep(172_800)
    assert await api.get(contract_id) is None


@in_virtual_time
async def test_a_create_may_want_more_than_nothing(api: VastApi) -> None:
    api.world.faults.set(minimum_credit_usd=100)
    offer = await api.offer()
    await api.refused(400, "insufficient_credit", "PUT", f"asks/{offer['id']}/", json=api.order())
    api.world.faults.set(minimum_credit_usd=99)
    await api.create(offer["id"])


@in_virtual_time
async def test_an_account_that_never_had_credit(api: VastApi) -> None:
    api.world.faults.set(starting_credit_usd=0)
    api.world.account("vastai", "sim-a")
    assert await credit(api) == 0
    offer = await api.offer()
    await api.refused(400, "insufficient_credit", "PUT", f"asks/{offer['id']}/", json=api.order())


@in_virtual_time
async def test_new_credit_saves_what_was_stopped(api: VastApi) -> None:
    api.world.faults.set(starting_credit_usd=1)
    contract_id = await api.running((await api.offer(duration={"gt": 30 * 86_400}))["id"])
    shown = await api.get(contract_id)
    await asyncio.sleep(HOUR_S / shown["dph_total"] * 1.1)
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")
    account = api.world.account("vastai", "sim-a")
    assert account is not None
    api.world.add_credit(account, "500")
    await api.set_state(contract_id, "running")
    await asyncio.sleep(1)
    assert await api.states(contract_id) == ("exited", "running", "running")
    await asyncio.sleep(200_000)
    assert await api.states(contract_id) == ("running", "running", "running")


# Charges and invoices


@in_virtual_time
async def test_charges_add_up_to_the_true_bill(api: VastApi) -> None:
    begun_ms = api.world.now_ms()
    offer = await api.offer(inet_down_cost={"gt": 0}, duration={"gt": 10 * 86_400})
    contract_id = await api.running(offer["id"], label="job-7f3a")
    await asyncio.sleep(30 * HOUR_S)
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(30 * HOUR_S)
    found = await api.charges(begun_ms, api.world.now_ms())
    assert (found["count"], found["total"], found["next_token"]) == (1, 1, None)
    (row,) = found["results"]
    assert (row["type"], row["source"], row["metadata"]) == (
        "instance",
        f"instance-{contract_id}",
        {"label": "job-7f3a"},
    )
    assert row["description"] == f"Instance {contract_id} Charges - 3 days"
    assert (row["start"] % 86_400, row["end"] - row["start"]) == (0, 2 * 86_400)
    assert row["amount"] == pytest.approx(float(api.bill_usd(contract_id)), abs=0.003)
    assert row["amount"] == pytest.approx(sum(item["amount"] for item in row["items"]))
    kinds = {item["type"]: item for item in row["items"]}
    assert set(kinds) == {"gpu", "disk", "bwd"}
    assert kinds["gpu"]["description"].startswith("30.00")
    days = [await api.charges(begun_ms + day * 86_400_000, begun_ms + day * 86_400_000) for day in range(4)]
    amounts = [sum(row["amount"] for row in day["results"]) for day in days]
    assert sum(amounts) == pytest.approx(row["amount"], abs=0.01)
    assert amounts[3] == 0


@in_virtual_time
async def test_pages_of_charges(api: VastApi) -> None:
    begun_ms = api.world.now_ms()
    ids = [await api.create() for _ in range(5)]
    await asyncio.sleep(HOUR_S)
    seen, token = [], None
    while len(seen) < 5:
        params: dict[str, Any] = {"limit": 2, "latest_first": "false", **({"after_token": token} if token else {})}
        page = await api.charges(begun_ms, api.world.now_ms(), **params)
        assert page["total"] == 5
        seen += [row["source"] for row in page["results"]]
        token = page["next_token"]
    assert seen == [f"instance-{item}" for item in ids]
    assert token is None
    newest = await api.charges(begun_ms, api.world.now_ms(), limit=1)
    assert newest["results"][0]["source"] == seen[-1]


@in_virtual_time
async def test_charges_want_both_ends_and_a_good_token(api: VastApi) -> None:
    for filters in ({}, {"day": {"gte": 1}}, {"day": 3}):
        response = await api.call("GET", "charges/", params={"select_filters": json.dumps(filters)})
        assert response.status_code == 400
        assert response.json()["msg"] == "Must provide both 'day' gte and lte filters for instance charges"
    query = {"select_filters": json.dumps({"day": {"gte": 1, "lte": 2}}), "after_token": "?"}
    await api.refused(400, "invalid_token", "GET", "charges/", params=query)


@in_virtual_time
async def test_which_days_a_filter_takes_in(api: VastApi) -> None:
    await api.create()
    await asyncio.sleep(HOUR_S)
    now_ms = api.world.now_ms()
    assert (await api.charges(now_ms - 1000, now_ms))["total"] == 1
    api.world.faults.set(charge_days="beginning")
    assert (await api.charges(now_ms - 1000, now_ms))["total"] == 0
    assert (await api.charges(now_ms - 86_400_000, now_ms))["total"] == 1


@in_virtual_time
async def test_invoices_show_what_was_paid_in(api: VastApi) -> None:
    await credit(api)
    now_s = api.world.now_ms() / 1000
    when = {"select_filters": json.dumps({"when": {"gte": now_s - 10, "lte": now_s + 10}})}
    found = await api.ok("GET", "v1/invoices/", params=when)
    assert [(row["type"], row["amount"]) for row in found["results"]] == [("credit", -100.0)]
    body = await api.refused(200, "Invalid date range", "GET", "v1/invoices/")
    assert body["results"] == []
