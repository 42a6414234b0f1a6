"""The simulated world by itself: capacity, lives, the true bill, and that one seed is one history."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from gputui.model.errors import ShellError
from gputui.sim.billing import BillingTerms, bill_usd, billing_start_ms, settled_usd
from gputui.sim.catalogue import InstanceType
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.truth import truth_of
from gputui.sim.vtime import VirtualClock, in_virtual_time, run_virtual
from gputui.sim.world import Account, Order, OutOfCapacity, World, WrongState

H100 = InstanceType("h100", "H100", 1, 80, 30, 120, Decimal("3.60"), {"north": 2, "south": 1})


def new_world(seed: int = 1, **settings: Any) -> World:
    world = World(VirtualClock(), seed, boot_s=10.0)
    world.catalogue("cloud", [H100])
    world.faults.set(**settings)
    return world


def account_of(world: World, key: str = "sim-a") -> Account:
    account = world.account("cloud", key)
    assert account is not None
    return account


def order(world: World, region: str = "north", *, key: str = "sim-a", minimum_s: int = 600) -> SimMachine:
    return world.order(Order(account_of(world, key), "h100", region, "box", "cloud.deploy", minimum_s=minimum_s))


async def until(moment_ms: int) -> None:
    await asyncio.sleep((moment_ms - VirtualClock().now_ms()) / 1000)


async def running(machine: SimMachine) -> int:
    """Sleep until a machine runs and return when that was."""
    started_ms = next(at for at, life in machine.timeline if life is Life.RUNNING)
    await until(started_ms)
    return started_ms


# Accounts and capacity


@in_virtual_time
async def test_each_sim_key_is_an_account_of_its_own_and_other_keys_are_none() -> None:
    world = new_world(starting_credit_usd=25)
    assert account_of(world, "sim-a") is account_of(world, "sim-a")
    assert account_of(world, "sim-a") is not account_of(world, "sim-b")
    assert world.account("cloud", "mk_real") is None
    assert world.balance_usd(account_of(world)) == Decimal(25)


@in_virtual_time
async def test_capacity_is_held_by_every_account_until_a_machine_is_gone() -> None:
    world = new_world(delete_s=30)
    first = order(world, "south", key="sim-a")
    with pytest.raises(OutOfCapacity):
        order(world, "south", key="sim-b")
    await running(first)
    world.delete(first, "cloud.delete")
    assert world.free("cloud", "h100", "south") == 0
    await asyncio.sleep(30)
    assert world.free("cloud", "h100", "south") == 1


@in_virtual_time
async def test_capacity_and_price_can_be_set() -> None:
    world = new_world()
    world.catalogues["cloud"].set_capacity("h100", "north", 0)
    with pytest.raises(OutOfCapacity):
        order(world)
    world.catalogues["cloud"].set_price("h100", "1.23")
    assert order(world, "south").price_usd(world.now_ms()) == Decimal("1.23")


@in_virtual_time
async def test_other_customers_come_and_go() -> None:
    world = new_world(market_churn=0.9)
    world.catalogues["cloud"].set_capacity("h100", "north", 10)
    seen = set()
    for _ in range(50):
        seen.add(world.free("cloud", "h100", "north"))
        await asyncio.sleep(300)
    assert min(seen) == 0
    assert max(seen) > 5


@in_virtual_time
async def test_list_prices_drift_in_whole_cents_within_bounds() -> None:
    world = new_world(price_drift=0.1)
    prices = []
    for _ in range(48):
        prices.append(world.list_price_usd("cloud", "h100"))
        await asyncio.sleep(3600)
    assert len(set(prices)) > 10
    assert all(Decimal("3.24") <= price <= Decimal("3.96") for price in prices)
    assert all(price == round(price, 2) for price in prices)


# Lives


@in_virtual_time
async def test_a_machine_is_ordered_provisioned_runs_and_is_deleted() -> None:
    world = new_world(delete_s=5)
    machine = order(world)
    seen = [machine.life(world.now_ms())]
    for _ in range(200):
        await asyncio.sleep(0.1)
        seen.append(machine.life(world.now_ms()))
    world.delete(machine, "cloud.delete")
    seen.append(machine.life(world.now_ms()))
    await asyncio.sleep(5)
    seen.append(machine.life(world.now_ms()))
    assert list(dict.fromkeys(seen)) == [
        Life.ORDERED,
        Life.PROVISIONING,
        Life.RUNNING,
        Life.DELETING,
        Life.DELETED,
    ]
    started_ms = machine.running_ms(world.now_ms())
    assert started_ms is not None
    assert 8_000 <= started_ms - machine.created_ms <= 12_000


@in_virtual_time
async def test_sshd_answers_some_time_after_running_and_not_once_it_is_down() -> None:
    world = new_world(ssh_after_s=20, power_s=5)
    machine = order(world)
    started_ms = await running(machine)
    assert not world.answers_ssh(machine.id)
    await until(started_ms + 20_000)
    assert world.answers_ssh(machine.id)
    world.power_off(machine)
    await asyncio.sleep(5)
    assert not world.answers_ssh(machine.id)
    world.power_on(machine)
    await asyncio.sleep(5)
    assert not world.answers_ssh(machine.id)
    await asyncio.sleep(20)
    assert world.answers_ssh(machine.id)


@in_virtual_time
async def test_power_needs_the_right_state() -> None:
    world = new_world()
    machine = order(world)
    for action in (world.power_off, world.power_on, world.restart):
        with pytest.raises(WrongState):
            action(machine)
    await running(machine)
    with pytest.raises(WrongState):
        world.power_on(machine)
    world.restart(machine)
    assert machine.life(world.now_ms()) is Life.OFFLINE
    await asyncio.sleep(1)
    assert machine.life(world.now_ms()) is Life.RUNNING


@pytest.mark.parametrize(
    ("settings", "life", "alive"),
    [
        ({"no_capacity_after_accept": 1}, Life.NO_CAPACITY, False),
        ({"provisioning_error": 1}, Life.ERROR, True),
        ({"slow_provisioning": 1, "slow_provisioning_s": 7200}, Life.PROVISIONING, True),
        ({"dies": 1, "dies_after_s": 60}, Life.OFFLINE, True),
        ({"dies": 1, "dies_after_s": 60, "dies_as": "error"}, Life.ERROR, True),
        ({"dies": 1, "dies_after_s": 60, "dies_as": "vanish"}, Life.DELETED, False),
    ],
)
@in_virtual_time
async def test_lives_that_go_wrong(settings: dict[str, Any], life: Life, alive: bool) -> None:
    world = new_world(**settings)
    machine = order(world)
    await asyncio.sleep(3600)
    assert machine.life(world.now_ms()) is life
    assert machine.is_alive(world.now_ms()) is alive
    assert world.is_readable(machine) is (settings.get("dies_as") != "vanish")


@in_virtual_time
async def test_a_deletion_cuts_a_death_that_was_planned() -> None:
    world = new_world(dies=1, dies_as="vanish", dies_after_s=3600)
    machine = order(world)
    await running(machine)
    world.delete(machine, "cloud.delete")
    await asyncio.sleep(7200)
    assert world.is_readable(machine)
    assert not machine.is_vanished(world.now_ms())


@in_virtual_time
async def test_a_stuck_deletion_changes_nothing_until_a_later_one_works() -> None:
    world = new_world(stuck_terminate={"count": 2})
    machine = order(world)
    await running(machine)
    for _ in range(2):
        world.delete(machine, "cloud.delete")
        await asyncio.sleep(600)
        assert machine.life(world.now_ms()) is Life.RUNNING
    world.delete(machine, "cloud.delete")
    await asyncio.sleep(1)
    assert machine.life(world.now_ms()) is Life.DELETED
    assert machine.bill_usd(world.now_ms()) == Decimal("3.60") * 1200 / 3600


@in_virtual_time
async def test_consistency_is_eventual_when_asked_for() -> None:
    world = new_world(eventual_get_s=2, eventual_list_s=20, deleted_still_listed_s=30, deleted_readable_s=100)
    machine = order(world)
    assert not world.is_readable(machine)
    assert world.listed_life(machine) is None
    await asyncio.sleep(2)
    assert world.is_readable(machine)
    assert world.listed_life(machine) is None
    await asyncio.sleep(18)
    assert world.listed_life(machine) is Life.RUNNING
    world.delete(machine, "cloud.delete")
    await asyncio.sleep(1)
    assert machine.life(world.now_ms()) is Life.DELETED
    assert world.listed_life(machine) is Life.RUNNING
    await asyncio.sleep(30)
    assert world.listed_life(machine) is Life.DELETED
    assert world.is_readable(machine)
    await asyncio.sleep(100)
    assert not world.is_readable(machine)


@in_virtual_time
async def test_a_shell_opens_once_sshd_answers_and_breaks_when_the_machine_dies() -> None:
    world = new_world()
    machine = order(world)
    with pytest.raises(ShellError):
        await world.open_shell(machine.id)
    await running(machine)
    await asyncio.sleep(1)
    shell = await world.open_shell(machine.id)
    await shell.put(".gputui/job/harness.sh", b"#!/bin/sh\n")
    again = await world.open_shell(machine.id)
    result = await again.run(["sh", ".gputui/job/harness.sh", "poll", ".gputui/job", "0", "100", "0"])
    assert result.exit_code == 0
    world.kill(machine.id)
    with pytest.raises(ShellError):
        await shell.run(["sh", ".gputui/job/harness.sh", "poll", ".gputui/job", "0", "100", "0"])


# The true bill


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
    assert time.monotonic() - began < 2


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


def history(seed: int) -> list[tuple[str, list[tuple[int, Life]], Decimal]]:
    async def main() -> list[tuple[str, list[tuple[int, Life]], Decimal]]:
        world = new_world(seed, provisioning_error=0.3, dies=0.5, price_surprise=0.5)
        machines = []
        for _ in range(10):
            machines.append(order(world))
            await asyncio.sleep(60)
            world.delete(machines[-1], "cloud.delete")
            await asyncio.sleep(60)
        return [(item.id, item.timeline, item.bill_usd(world.now_ms())) for item in machines]

    return run_virtual(main())


def test_one_seed_is_one_history() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)
