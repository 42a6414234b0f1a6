"""What pods and network volumes cost, and what happens when there is no balance.

Prices as in RunPod's docs, pods/pricing and accounts-billing (2026-08): disks 0.10 dollars per GB and month while a pod
runs; while it is stopped 0.20 for its persistent volume and nothing for its container disk, which is lost; network volumes
0.07 up to a terabyte and 0.05 beyond. A month is 730 hours. What fast network volumes cost is not published: 0.14 here.
Pods are charged by the second, drawn every five minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from gputui.sim import billing
from gputui.sim.lives import Life
from gputui.sim.runpod.data import HIGH_PERFORMANCE

if TYPE_CHECKING:
    from gputui.sim.machine import SimMachine
    from gputui.sim.runpod.state import Pod, Volume
    from gputui.sim.world import Account, World

DRAWN_EVERY_S = 300
HOURS_PER_MONTH = 730

_DISK_USD = Decimal("0.10")
_STOPPED_DISK_USD = Decimal("0.20")
_NETWORK_USD = Decimal("0.07")
_NETWORK_USD_BEYOND = Decimal("0.05")
_FAST_NETWORK_USD = Decimal("0.14")
_TERABYTE_GB = 1000
_HOUR_MS = 3_600_000


def disk_usd_per_hour(size_gb: int) -> Decimal:
    """Return dollars per hour of a disk of a pod that runs."""
    return _DISK_USD * size_gb / HOURS_PER_MONTH


def cost_usd(pod: Pod, now_ms: int, shows: str) -> Decimal:
    """Return the `cost` of a pod that is not stopped: its GPUs with its "container_disk", for "compute" alone or "all"."""
    price = pod.machine.price_usd(now_ms)
    match shows:
        case "container_disk":
            return price - disk_usd_per_hour(pod.persistent_gb)
        case "compute":
            return price - pod.disk_prices[-1][1]
    return price


def stopped_disk_usd_per_hour(size_gb: int) -> Decimal:
    """Return dollars per hour of a persistent volume of a pod that is stopped."""
    return _STOPPED_DISK_USD * size_gb / HOURS_PER_MONTH


def rate_usd(pod: Pod, now_ms: int) -> Decimal:
    """Return dollars per hour that a pod costs now, storage included."""
    machine = pod.machine
    if machine.billing_started_ms(now_ms) is None or machine.billing_stopped_ms(now_ms) is not None:
        return Decimal(0)
    match machine.life(now_ms):
        case Life.RELEASED:
            return machine.terms.released_usd_per_hour
        case Life.OFFLINE | Life.ERROR:
            return Decimal(0)
    return machine.price_usd(now_ms)


def pod_bill_usd(pod: Pod, now_ms: int) -> tuple[Decimal, Decimal]:
    """Return what a pod has cost up to a moment: its GPUs, its disks."""
    machine = pod.machine
    total = machine.bill_usd(now_ms)
    stopped_ms = machine.billing_stopped_ms(now_ms)
    until_ms = now_ms if stopped_ms is None else stopped_ms
    disk = billing.bill_usd(machine.timeline, pod.disk_prices, machine.terms, until_ms=until_ms)
    return total - disk, disk


def volume_usd_per_hour(volume: Volume, at_ms: int) -> Decimal:
    """Return dollars per hour of a network volume of the size it had at a moment."""
    size_gb = [size for since_ms, size in volume.sizes if since_ms <= at_ms][-1]
    if volume.kind == HIGH_PERFORMANCE:
        return _FAST_NETWORK_USD * size_gb / HOURS_PER_MONTH
    within = min(size_gb, _TERABYTE_GB)
    return (_NETWORK_USD * within + _NETWORK_USD_BEYOND * (size_gb - within)) / HOURS_PER_MONTH


def volume_bill_usd(volume: Volume, now_ms: int, billed_by: str) -> Decimal:
    """Return what a network volume has cost, billed by the started "hour", at the size it begins with, or "second"."""
    until_ms = now_ms if volume.deleted_ms is None else min(now_ms, volume.deleted_ms)
    if until_ms <= volume.created_ms:
        return Decimal(0)
    changes = [at_ms for at_ms, _ in volume.sizes[1:] if at_ms < until_ms]
    if billed_by == "hour":
        begin_ms, until_ms = volume.created_ms, _hour_end_ms(volume, until_ms)
        changes = [_hour_end_ms(volume, at_ms) for at_ms in changes]
    begin_ms, usd = volume.created_ms, Decimal(0)
    for end_ms in [*changes, until_ms]:
        if end_ms > begin_ms:
            usd += volume_usd_per_hour(volume, begin_ms) * (end_ms - begin_ms) / _HOUR_MS
            begin_ms = end_ms
    return usd


def _hour_end_ms(volume: Volume, at_ms: int) -> int:
    """Return when the hour of a volume's life ends that a moment lies in."""
    return volume.created_ms + -(-(at_ms - volume.created_ms) // _HOUR_MS) * _HOUR_MS


def when_unpaid(world: World, has_network_volume: Callable[[SimMachine], bool]) -> Callable[[Account, int], None]:
    """Return what stops an account's pods where its balance is gone when charges are drawn: those without a network
    volume are removed, the others keep what lies on theirs."""

    def stop(account: Account, now_ms: int) -> None:
        at_ms = account.settled_until_ms
        while True:
            ticks = [tick for item in account.machines if (tick := item.next_tick_ms(at_ms, now_ms)) is not None]
            if not ticks:
                return
            at_ms = min(ticks)
            if _balance_usd(account, at_ms) > 0:
                continue
            for machine in account.machines:
                if machine.is_alive(at_ms) and machine.billing_stopped_ms(at_ms) is None:
                    _end(machine, at_ms, keeps=has_network_volume(machine))

    return stop


def _end(machine: SimMachine, at_ms: int, *, keeps: bool) -> None:
    if keeps:
        if machine.life(at_ms) is not Life.RELEASED:
            machine.replan(at_ms, (at_ms, Life.RELEASED))
        return
    machine.replan(at_ms, (at_ms, Life.DELETED))
    machine.billing_stop_ms = at_ms


def _balance_usd(account: Account, at_ms: int) -> Decimal:
    drawn = sum((machine.settled_usd(at_ms) for machine in account.machines), account.other_usd(at_ms))
    return account.credit_usd - drawn
