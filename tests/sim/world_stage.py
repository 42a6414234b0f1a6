"""What the tests of the simulated world share: a world with one type of machine, and orders."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from gputui.sim.catalogue import InstanceType
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import Account, Order, World

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
