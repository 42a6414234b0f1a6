"""Volumes as the page shows them: those that exist, who has each, and those that are being made or were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gputui.core.desk import Desk
from gputui.core.volume_wishes import VolumeRow
from gputui.model.units import MicroUsd, Ms
from gputui.model.volumes import VolumeOrder, VolumeOrderState, VolumeWish
from gputui.store import jobs as job_store

FAILED_SHOWN_MS = 3_600_000
"""How long a volume that was not made stays on the page, with the reason."""


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume that exists (`row`), or an order of one that does not exist yet, or never will (`order`).

    Of one that exists, `order` is the newest wish that it be deleted. `users` are the jobs or machines that have it, and
    `is_wanted` is True while a live job was ordered with it. `is_old` when its provider does not answer now. `surprise` says
    that it is dearer than was shown before it was made.
    """

    key: str
    provider: str
    name: str
    row: VolumeRow | None
    order: VolumeOrder | None
    users: tuple[str, ...] = ()
    is_wanted: bool = False
    is_old: bool = False
    surprise: str | None = None

    @property
    def size_gib(self) -> int | None:
        if self.row is not None:
            return self.row.volume.size_gib
        return self.order.size_gib if self.order else None

    @property
    def region(self) -> str | None:
        if self.row is not None:
            return self.row.volume.region
        return self.order.region if self.order else None

    @property
    def price_micro_usd_per_month(self) -> MicroUsd | None:
        return self.row.volume.price_micro_usd_per_month if self.row is not None else None

    @property
    def is_made(self) -> bool:
        """True for one that was made since its provider was asked."""
        return self.row is None and self.order is not None and self.order.is_done

    @property
    def is_being_deleted(self) -> bool:
        return self.row is not None and self.order is not None and not self.order.is_over

    @property
    def is_unused(self) -> bool:
        """True for one that costs money, or may, and that nothing has."""
        return (
            self.row is not None
            and not self.users
            and not self.is_wanted
            and not self.is_being_deleted
            and self.price_micro_usd_per_month != 0
        )


def volume_views(
    desk: Desk, rows: Sequence[VolumeRow], old: frozenset[str], asked_ms: Mapping[str, Ms]
) -> list[VolumeView]:
    """Return what is on the way first, then the volumes that exist, the dearest unused ones first.

    A volume whose deletion was carried out since its provider was asked is left out, and one that was made since then is
    still on the way. `old` names who does not answer now, `asked_ms` when each was last asked.
    """
    orders = desk.volume_orders()
    deletions: dict[tuple[str, str | None], VolumeOrder] = {}
    surprises: dict[tuple[str, str | None], str | None] = {}
    for order in orders:
        if order.wish is VolumeWish.DELETE:
            deletions.setdefault((order.provider, order.volume_id), order)
        elif order.is_done:
            surprises[order.provider, order.volume_id] = order.error
    existing = {(row.volume.provider, row.volume.id) for row in rows}
    now_ms = desk.clock.now_ms()
    on_the_way = [
        _view_of_order(order)
        for order in orders
        if _shows(order, existing, now_ms=now_ms, asked_ms=asked_ms.get(order.provider))
    ]
    wanted = {volume.id for placement in job_store.load_live_placements(desk.store) for volume in placement.volumes}
    views = [
        replace(
            _view(desk, row, deletions.get((row.volume.provider, row.volume.id)), wanted, row.volume.provider in old),
            surprise=surprises.get((row.volume.provider, row.volume.id)),
        )
        for row in rows
    ]
    alive = [view for view in views if view.order is None or view.order.state is not VolumeOrderState.GONE]
    alive.sort(key=lambda view: (not view.is_unused, -(view.price_micro_usd_per_month or 0), view.provider, view.key))
    return on_the_way + alive


def price_in_all(views: Sequence[VolumeView]) -> tuple[MicroUsd, int]:
    """Return what volumes cost a month as far as it is told, and of how many it is not."""
    prices = [view.price_micro_usd_per_month for view in views if view.row is not None]
    return sum(price for price in prices if price is not None), sum(price is None for price in prices)


def _shows(order: VolumeOrder, existing: set[tuple[str, str]], *, now_ms: Ms, asked_ms: Ms | None) -> bool:
    """True for the order of a volume that is not among those that exist, while that is worth showing."""
    if order.wish is not VolumeWish.CREATE or (order.provider, order.volume_id or "") in existing:
        return False
    ended_ms = order.ended_at_ms or 0
    if order.is_done:
        return asked_ms is not None and ended_ms > asked_ms
    return not order.is_over or now_ms - ended_ms < FAILED_SHOWN_MS


def _view_of_order(order: VolumeOrder) -> VolumeView:
    return VolumeView(f"order {order.id}", order.provider, order.name, None, order)


def _view(desk: Desk, row: VolumeRow, deletion: VolumeOrder | None, wanted: set[str], is_old: bool) -> VolumeView:
    volume = row.volume
    users: tuple[str, ...] = ()
    if volume.attached_to:
        placements = job_store.load_placements_by_machine(desk.store, volume.provider)
        jobs = {machine: placements[machine].job_id for machine in volume.attached_to if machine in placements}
        names = {
            machine: job.name for machine, job_id in jobs.items() if (job := job_store.load_job(desk.store, job_id))
        }
        users = tuple(names.get(machine, machine) for machine in volume.attached_to)
    return VolumeView(
        f"{volume.provider} {volume.id}",
        volume.provider,
        row.name or volume.id,
        row,
        deletion,
        users,
        volume.id in wanted,
        is_old,
    )
