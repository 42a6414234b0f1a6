"""What a view asks of volumes, and the wishes it writes for the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gputui.core.asking import ask_all, pick, who_can
from gputui.model.errors import (
    AuthError,
    Conflict,
    GputuiError,
    GuardRefused,
    NoCapacity,
    NotFunded,
    NotSupported,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
    UsageError,
)
from gputui.model.ids import short_id
from gputui.model.units import MicroUsd
from gputui.model.volumes import VolumeOrder, VolumeOrderState, VolumeWish
from gputui.providers.registry import client_class, provider_title
from gputui.store import volumes as volume_store

if TYPE_CHECKING:
    from gputui.core.accounts import Accounts
    from gputui.model.clock import Clock
    from gputui.model.ids import Ids
    from gputui.model.types import Volume
    from gputui.store.db import Store

LONGEST_NAME = 50
MOST_GIB = 1_000_000

_BY_CODE: Mapping[str, type[ProviderError]] = {
    kind.code: kind
    for kind in (
        AuthError,
        Conflict,
        NoCapacity,
        NotFunded,
        NotSupported,
        RateLimited,
        Rejected,
        Transient,
        Unreachable,
    )
}


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume that exists, called `name` by the user. `deletion` is the open wish that it be gone, if there is one."""

    volume: Volume
    name: str
    is_ours: bool
    deletion: VolumeOrder | None = None


async def list_volumes(
    store: Store, accounts: Accounts, providers: Sequence[str] = ()
) -> tuple[list[VolumeRow], Mapping[str, GputuiError]]:
    """Ask the accounts named, or every usable one that has volumes; returns them and why some could not be asked."""
    deletions = {
        (order.provider, order.volume_id): order
        for order in volume_store.load_open_orders(store)
        if order.wish is VolumeWish.DELETE
    }
    asked = await ask_all(accounts, who_can(accounts, "volumes", providers), lambda client: client.list_volumes())
    rows = []
    for provider, volumes in asked.answers.items():
        made = volume_store.load_made(store, provider)
        for volume in volumes:
            ours = made.get(volume.id)
            is_ours = ours is not None and ours.label == volume.name
            name = ours.name if ours is not None and is_ours else volume.name
            rows.append(VolumeRow(volume, name, is_ours, deletions.get((provider, volume.id))))
    return rows, asked.problems


def pick_volume(rows: Sequence[VolumeRow], reference: str, *, not_asked: Sequence[str] = ()) -> VolumeRow:
    """Return the volume a person means, by name or id. Raises NotFoundError, UsageError when several fit."""
    return pick(
        rows,
        reference,
        what="volume",
        ids=lambda row: [row.volume.id],
        names=lambda row: [row.name, row.volume.name],
        shown=lambda row: f"{row.volume.id} ({row.name}, {provider_title(row.volume.provider)})",
        not_asked=not_asked,
        hint="See: gputui volumes list",
    )


def require_ours(row: VolumeRow, *, hint: str) -> None:
    """Raise GuardRefused for a volume that this profile did not make; `hint` says how to insist."""
    if not row.is_ours:
        volume = row.volume
        raise GuardRefused(
            f"Volume {row.name} ({volume.id}) at {provider_title(volume.provider)} was not made by this profile.",
            hint=hint,
        )


async def quote(
    accounts: Accounts, provider: str, *, size_gib: int | None, region: str, kind: str | None
) -> MicroUsd | None:
    """Return what such a volume would cost a month, None where the provider does not tell. Spends nothing.

    Raises NotSupported, AuthError, Rejected for a volume that cannot be, any other ProviderError.
    """
    from gputui.providers.base import QuotesVolumes

    [name] = who_can(accounts, "volumes", [provider])
    client = accounts.client(name)
    if not isinstance(client, QuotesVolumes):
        return None
    asked = await ask_all(
        accounts, [name], lambda client: client.quote_volume(size_gib=size_gib, region=region, kind=kind)
    )
    for error in asked.problems.values():
        raise error
    price: MicroUsd | None = asked.answers[name]
    return price


def order_creation(
    store: Store,
    accounts: Accounts,
    clock: Clock,
    ids: Ids,
    *,
    provider: str,
    name: str,
    size_gib: int | None,
    region: str,
    kind: str | None,
    shown: MicroUsd | None = None,
) -> VolumeOrder:
    """Write the wish for a volume, for which the price a month was `shown`. Raises UsageError, NotSupported, AuthError."""
    who_can(accounts, "volumes", [provider])
    name = _checked_name(name)
    order_id = ids.ulid()
    order = VolumeOrder(
        id=order_id,
        provider=provider,
        wish=VolumeWish.CREATE,
        state=VolumeOrderState.INTENDED,
        name=name,
        label=_label(provider, name, order_id),
        created_at_ms=clock.now_ms(),
        size_gib=_checked_size(size_gib),
        region=_checked_region(region),
        kind=kind,
        price_micro_usd_per_month=shown,
        key_print=accounts.fingerprint(provider),
    )
    with store.write() as tx:
        if not volume_store.insert_order(tx, order):
            raise UsageError(
                f"A volume called {name} is being made at {provider_title(provider)} already.", field="name"
            )
    return order


def order_deletion(store: Store, accounts: Accounts, clock: Clock, ids: Ids, row: VolumeRow) -> VolumeOrder:
    """Write the wish that a volume be gone; asking again while the first wish is open returns that one."""
    volume = row.volume
    order = VolumeOrder(
        id=ids.ulid(),
        provider=volume.provider,
        wish=VolumeWish.DELETE,
        state=VolumeOrderState.INTENDED,
        name=row.name,
        label=volume.name,
        created_at_ms=clock.now_ms(),
        size_gib=volume.size_gib,
        region=volume.region,
        kind=volume.kind,
        volume_id=volume.id,
        price_micro_usd_per_month=volume.price_micro_usd_per_month,
        key_print=accounts.fingerprint(volume.provider),
    )
    with store.write() as tx:
        if volume_store.insert_order(tx, order):
            return order
    return volume_store.load_open_deletion(store, volume.provider, volume.id) or order


def failure_of(order: VolumeOrder) -> GputuiError | None:
    """Return the error with which an order ended; None for one that is done or not over."""
    if order.is_done or not order.is_over:
        return None
    why = order.error or f"The order of volume {order.name} was {order.state}."
    return _BY_CODE.get(order.error_code or "", ProviderError)(why, provider=order.provider)


def _label(provider: str, name: str, order_id: str) -> str:
    """Return a name that no other volume there has. Every provider allows the underscore."""

    unique = getattr(client_class(provider), "volume_names_are_unique", False)
    return name if unique else f"{name}_{short_id(order_id)}"


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"A volume's name has 1 to {LONGEST_NAME} characters on one line.", field="name")
    return name


def _checked_size(size_gib: int | None) -> int | None:
    if size_gib is not None and not 1 <= size_gib <= MOST_GIB:
        raise UsageError(f"A volume cannot have {size_gib} GiB.", field="size_gib")
    return size_gib


def _checked_region(region: str) -> str:
    if not region.strip():
        raise UsageError("A volume stands in one region.", field="region", hint="See: gputui regions list")
    return region.strip()
