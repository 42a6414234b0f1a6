"""The simulated world by itself: capacity, lives, and that one seed is one history."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from world_stage import account_of, new_world, order, running, until

from gputui.model.errors import ShellError
from gputui.sim.lives import Life
from gputui.sim.vtime import in_virtual_time, run_virtual
from gputui.sim.world import OutOfCapacity, WrongState

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


# One seed


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
