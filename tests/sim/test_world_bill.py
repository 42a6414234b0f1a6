"""The true bill of the simulated world: from when, until when, by which price, and what an empty balance does."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest
from world_stage import account_of, new_world, order, running, until

from gputui.sim.billing import BillingTerms, bill_usd, billing_start_ms, settled_usd
from gputui.sim.lives import Life
from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time


@in_virtual_time
async def test_five_hours_pass_in_a_moment_with_the_right_bill() -> None:
    began = time.monotonic()
    world = new_world()
    machine = order(world)
    started_ms = await running(machine)
    await until(started_ms + 5 * 3_600_000)
    world.delete(machine, "cloud.delete")
    await asyncio.sleep(3600)
    assert machine.bill_usd(world.now_ms()) == Decimal("18")
    assert world.balance_usd(account_of(world)) == Decimal("82")
    assert time.monotonic() - began < 60


@in_virtual_time
async def test_the_balance_falls_by_ticks_and_settles_at_deletion() -> None:
    world = new_world(starting_credit_usd=50)
    world.catalogues["cloud"].set_price("h100", "1.71")
    machine, account = order(world), account_of(world)
    started_ms = await running(machine)
    seen = {}
    for second in (599, 600, 1199, 1200, 1530):
        await until(started_ms + second * 1000)
        seen[second] = world.balance_usd(account)
    assert seen == {
        599: Decimal(50),
        600: Decimal("49.715"),
        1199: Decimal("49.715"),
        1200: Decimal("49.43"),
        1530: Decimal("49.43"),
    }
    world.delete(machine, "cloud.delete")
    assert world.balance_usd(account) == Decimal("49.27325")


@in_virtual_time
async def test_two_minutes_cost_ten() -> None:
    world = new_world()
    world.catalogues["cloud"].set_price("h100", "1.71")
    machine = order(world)
    started_ms = await running(machine)
    await until(started_ms + 120_000)
    world.delete(machine, "cloud.delete")
    assert machine.bill_usd(world.now_ms()) == Decimal("0.285")
    assert world.balance_usd(account_of(world)) == Decimal(100) - Decimal("0.285")


@in_virtual_time
async def test_a_machine_that_never_ran_costs_nothing() -> None:
    world = new_world()
    machine = order(world)
    await asyncio.sleep(2)
    world.delete(machine, "cloud.delete")
    await asyncio.sleep(3600)
    assert machine.bill_usd(world.now_ms()) == 0


@in_virtual_time
async def test_billing_may_start_with_the_order() -> None:
    world = new_world(billing_start="ordered", delete_s=0)
    machine = order(world)
    await until(machine.created_ms + 1_800_000)
    world.delete(machine, "cloud.delete")
    assert machine.bill_usd(world.now_ms()) == Decimal("1.8")


@in_virtual_time
async def test_billing_may_go_on_until_deletion_is_done() -> None:
    world = new_world(billing_stop="deleted", delete_s=100)
    machine = order(world)
    started_ms = await running(machine)
    await until(started_ms + 1_000_000)
    world.delete(machine, "cloud.delete")
    assert machine.billing_stopped_ms(world.now_ms()) is None
    await asyncio.sleep(500)
    assert machine.bill_usd(world.now_ms()) == Decimal("1.1")


@pytest.mark.parametrize(("offline_billing", "bill"), [(True, Decimal("3.6")), (False, Decimal("1.8"))])
@in_virtual_time
async def test_offline_time_is_charged_by_the_knob(offline_billing: bool, bill: Decimal) -> None:
    world = new_world(offline_billing=offline_billing, power_s=0)
    machine = order(world)
    started_ms = await running(machine)
    await until(started_ms + 1_800_000)
    world.power_off(machine)
    await until(started_ms + 3_600_000)
    world.delete(machine, "cloud.delete")
    assert machine.bill_usd(world.now_ms()) == bill


@in_virtual_time
async def test_a_machine_that_vanished_is_billed_to_that_moment_and_one_in_error_goes_on() -> None:
    world = new_world()
    vanished, failed = order(world), order(world)
    last_ms = max(await running(vanished), await running(failed))
    await until(last_ms + 1_000_000)
    world.kill(vanished.id, "vanish")
    world.kill(failed.id, "error")
    bills = [machine.bill_usd(world.now_ms()) for machine in (vanished, failed)]
    await asyncio.sleep(3600)
    assert vanished.bill_usd(world.now_ms()) == bills[0]
    assert failed.bill_usd(world.now_ms()) == bills[1] + Decimal("3.6")


@in_virtual_time
async def test_a_surprising_price_is_the_machines_own_and_a_new_price_counts_from_when_it_comes() -> None:
    world = new_world(price_surprise=1, price_surprise_factor=1.5)
    machine = order(world)
    assert machine.price_usd(world.now_ms()) == Decimal("5.40")
    assert world.list_price_usd("cloud", "h100") == Decimal("3.60")
    started_ms = await running(machine)
    await until(started_ms + 3_600_000)
    world.reprice(machine.id, "7.20")
    await until(started_ms + 7_200_000)
    assert machine.bill_usd(world.now_ms()) == Decimal("12.6")


@in_virtual_time
async def test_an_empty_balance_deletes_at_the_tick_where_it_happened() -> None:
    world = new_world(starting_credit_usd=1)
    machine = order(world)
    started_ms = await running(machine)
    await asyncio.sleep(10 * 3600)  # nobody looks meanwhile
    truth = truth_of(world)
    assert truth["machines"][0]["alive"] is False
    assert machine.ended_ms(world.now_ms()) == started_ms + 1_200_000
    assert machine.bill_usd(world.now_ms()) == Decimal("1.2")
    assert world.balance_usd(account_of(world)) == Decimal("-0.2")


@in_virtual_time
async def test_more_credit_keeps_a_machine_alive_and_nothing_happens_where_the_knob_says_so() -> None:
    world = new_world(starting_credit_usd=1)
    machine = order(world)
    started_ms = await running(machine)
    await until(started_ms + 900_000)
    world.balance_usd(account_of(world))
    world.add_credit(account_of(world), "4")
    await until(started_ms + 3_600_000)
    assert machine.is_alive(world.now_ms())
    world.faults.set(low_balance_action="nothing")
    await until(started_ms + 36_000_000)
    assert world.balance_usd(account_of(world)) == Decimal("5") - Decimal("36")
    assert machine.is_alive(world.now_ms())


def test_bill_rounds_whole_seconds_up_once_over_the_sum() -> None:
    terms = BillingTerms(minimum_s=1, charges_offline=False)
    timeline = [(0, Life.ORDERED), (1000, Life.RUNNING), (1400, Life.OFFLINE), (5000, Life.RUNNING)]
    prices = [(0, Decimal("3600"))]
    assert bill_usd(timeline, prices, terms, until_ms=999) == 0
    assert bill_usd(timeline, prices, terms, until_ms=1400) == 1
    assert bill_usd(timeline, prices, terms, until_ms=5600) == 1
    assert bill_usd(timeline, prices, terms, until_ms=5601) == 2


def test_nothing_is_owed_for_an_order_that_failed_before_it_ran() -> None:
    terms = BillingTerms(start="ordered")
    timeline = [(0, Life.ORDERED), (1000, Life.PROVISIONING), (900_000, Life.NO_CAPACITY)]
    prices = [(0, Decimal("3.6"))]
    assert billing_start_ms(timeline, terms, 800_000) == 0
    assert bill_usd(timeline, prices, terms, until_ms=900_000) == 0
    assert settled_usd(timeline, prices, terms, now_ms=950_000, stopped_ms=900_000) == 0


@in_virtual_time
async def test_truth_lists_every_machine_with_its_bill() -> None:
    world = new_world()
    first = order(world)
    started_ms = await running(first)
    await until(started_ms + 3_600_000)
    world.delete(first, "cloud.delete")
    order(world)
    await asyncio.sleep(1)
    truth = truth_of(world)
    assert truth["bill_usd"] == "3.600000"
    assert [item["alive"] for item in truth["machines"]] == [False, True]
    assert truth["machines"][0] == {
        "id": first.id,
        "provider": "cloud",
        "label": "box",
        "alive": False,
        "created_at": "2026-01-05T09:00:00.000Z",
        "ended_at": truth["machines"][0]["ended_at"],
        "bill_usd": "3.600000",
        "state": "deleted",
        "account_id": account_of(world).id,
        "price_usd_per_hour": "3.600000",
        "running_at": truth["machines"][0]["billing_started_at"],
        "billing_started_at": truth["machines"][0]["running_at"],
        "billing_stopped_at": truth["machines"][0]["billing_stopped_at"],
    }
    assert truth["machines"][0]["billing_stopped_at"] < truth["machines"][0]["ended_at"]
    assert truth["machines"][1]["ended_at"] is None
