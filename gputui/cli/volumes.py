"""`gputui volumes`: storage that outlives machines, and costs money until it is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk, title_of
from gputui.cli.output import emit, json_option, require_yes, say, table, warn, yes_option
from gputui.cli.resources import conclude, providers_option, tell
from gputui.cli.table import Column
from gputui.model.errors import NotFoundError

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.volume_wishes import VolumeRow
    from gputui.model.units import MicroUsd
    from gputui.model.volumes import VolumeOrder

WAIT_DEADLINE = "10m"

_no_wait_option = click.option("--no-wait", is_flag=True, help="Leave it to the agent; do not wait until it is done.")
_deadline_option = click.option(
    "--deadline", metavar="TIME", default=WAIT_DEADLINE, show_default=True, help="How long to wait."
)


@click.group()
def volumes() -> None:
    """Storage that outlives machines. It costs money until it is deleted."""


@volumes.command("list")
@providers_option
@json_option
@click.pass_context
def list_volumes(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List volumes, with what each costs and which machines have it.

    Ends with another code than 0 when a provider could not be asked: the list may then not be all there is.
    """
    from gputui.core.resource_shapes import volume_shape

    desk = open_guarded_desk(ctx)
    rows, problems = ask(desk, desk.volumes(providers))
    emit([volume_shape(row) for row in rows], as_json=as_json, human=lambda: _table(rows))
    _tell_open_creations(desk)
    conclude(ctx, problems)


@volumes.command()
@click.argument("name")
@click.option("--provider", required=True, metavar="NAME", help="Where.")
@click.option("--region", required=True, help='In which of its regions; see "gputui regions list".')
@click.option("--size", "size_gib", type=click.IntRange(min=1), metavar="GIB", help="How large, where it has a size.")
@click.option("--kind", help="Which kind, where the provider has several.")
@_no_wait_option
@_deadline_option
@yes_option
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    provider: str,
    region: str,
    size_gib: int | None,
    kind: str | None,
    no_wait: bool,
    deadline: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a volume called NAME. It is billed from now until it is deleted, in use or not."""
    from gputui.core.resource_shapes import volume_order_shape
    from gputui.model.units import parse_duration

    deadline_s = parse_duration(deadline, field="--deadline")
    desk = open_desk(ctx)
    price = ask(desk, desk.volume_quote(provider, size_gib=size_gib, region=region, kind=kind))
    size = f" of {size_gib} GiB" if size_gib else ""
    require_yes(f"Make volume {name}{size} in {region} at {title_of(provider)}, {_billed(provider, price)}?", yes=yes)
    order = desk.request_volume(provider, name, size_gib=size_gib, region=region, kind=kind, shown=price)
    if not no_wait:
        order = _wait(
            desk, order, deadline_s, f"{title_of(provider)} has not confirmed volume {name}, which may exist and cost"
        )
    emit(volume_order_shape(order), as_json=as_json, human=lambda: _made(order))
    if order.is_done and order.error:
        warn(f"{order.error} To end that, run: gputui volumes delete {name}")


@volumes.command()
@click.argument("volume")
@providers_option
@click.option("--foreign", is_flag=True, help="Do it even to a volume that this program did not make.")
@_no_wait_option
@_deadline_option
@yes_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    volume: str,
    providers: tuple[str, ...],
    foreign: bool,
    no_wait: bool,
    deadline: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete a volume and all data on it, and wait until its provider no longer lists it. VOLUME is a name or an id.

    A provider refuses it for a volume that a machine has.
    """
    from gputui.core.resource_shapes import volume_order_shape
    from gputui.core.volume_wishes import pick_volume, require_ours
    from gputui.model.units import parse_duration

    deadline_s = parse_duration(deadline, field="--deadline")
    desk = open_desk(ctx)
    rows, problems = ask(desk, desk.volumes(providers))
    try:
        row = pick_volume(rows, volume, not_asked=list(problems))
    except NotFoundError:
        tell(problems)
        raise
    title = title_of(row.volume.provider)
    if not foreign:
        require_ours(row, hint="Add --foreign if it really is to be deleted.")
    require_yes(f"Delete {_described(row)}, and lose all data on it for good?", yes=yes)
    order = desk.request_volume_deletion(row)
    if not no_wait:
        order = _wait(desk, order, deadline_s, f"{title} still lists volume {row.name}, which may go on costing")
    emit(
        volume_order_shape(order),
        as_json=as_json,
        human=lambda: (
            f"{row.name} is gone: {title} no longer lists it."
            if order.is_done
            else f"The agent is deleting {row.name}. See: gputui volumes list"
        ),
    )


def _wait(desk: Desk, order: VolumeOrder, deadline_s: int, otherwise: str) -> VolumeOrder:
    """Return the order once it is done. Raises the error it ended with, GputuiError at the deadline."""
    from gputui.cli.waiting import wait_until
    from gputui.core.volume_wishes import failure_of

    told: str | None = None

    def is_over() -> bool:
        nonlocal order, told
        order = desk.volume_order(order.id)
        if order.error and order.error != told and not order.is_over:
            told = order.error
            say(f"· {told}")
        return order.is_over

    title = title_of(order.provider)
    say(f"Waiting for {title} …")
    wait_until(
        desk,
        is_over,
        deadline_s=deadline_s,
        otherwise=f"{otherwise} money; the agent goes on trying.",
        hint=f"Look again with: gputui volumes list. In need, see to it at {title} yourself.",
    )
    if (failure := failure_of(order)) is not None:
        raise failure
    return order


def _tell_open_creations(desk: Desk) -> None:
    """Tell of volumes that are being made, and of those of which nobody knows yet whether they were."""
    for order in desk.volume_orders():
        if order.is_over or order.volume_id is not None:
            continue
        if order.state.value == "outcome-unknown":
            warn(
                f"volume {order.name} at {title_of(order.provider)} may exist and cost money; "
                f"the agent is looking: {order.error}"
            )
        else:
            say(f"Volume {order.name} is being made at {title_of(order.provider)}.")


def _billed(provider: str, price: MicroUsd | None) -> str:
    from gputui.model.units import format_usd

    if price is None:
        return f"at a price that {title_of(provider)} does not tell, until it is deleted"
    return f"for {format_usd(price)} $ a month until it is deleted"


def _made(order: VolumeOrder) -> str:
    from gputui.model.units import format_usd

    if not order.is_done:
        return f"The agent is making {order.name}. See: gputui volumes list"
    price = order.price_micro_usd_per_month
    cost = "" if price is None else f", {format_usd(price)} $ a month"
    return f"{order.name} is made: {title_of(order.provider)} volume {order.volume_id}{cost}."


def _described(row: VolumeRow) -> str:
    from gputui.model.units import format_usd

    volume = row.volume
    facts = [title_of(volume.provider), volume.id]
    if volume.size_gib is not None:
        facts.append(f"{volume.size_gib} GiB")
    if volume.price_micro_usd_per_month is not None:
        facts.append(f"{format_usd(volume.price_micro_usd_per_month)} $ a month")
    users = f", which {', '.join(volume.attached_to)} has mounted" if volume.attached_to else ""
    return f"volume {row.name} ({', '.join(facts)}){users}"


def _table(rows: list[VolumeRow]) -> str:
    from gputui.model.units import format_usd

    columns = [
        Column("NAME", shrinks=True),
        Column("PROVIDER"),
        Column("GIB", right=True),
        Column("REGION", shrinks=True),
        Column("STATE"),
        Column("$/MONTH", right=True),
        Column("OURS"),
        Column("MACHINES", shrinks=True),
        Column("VOLUME", shrinks=True),
    ]
    cells = [
        [
            row.name or "–",
            row.volume.provider,
            _size(row),
            row.volume.region or "–",
            "deleting" if row.deletion is not None else row.volume.raw_state or "–",
            format_usd(row.volume.price_micro_usd_per_month),
            "yes" if row.is_ours else "no",
            ", ".join(row.volume.attached_to) or "–",
            row.volume.id,
        ]
        for row in rows
    ]
    return table(columns, cells, empty="There are no volumes.")


def _size(row: VolumeRow) -> str:
    """Return the size, or what is used where that is what is billed ("3.2 used")."""
    volume = row.volume
    if volume.size_gib is not None:
        return f"{volume.size_gib:,}"
    return "–" if volume.used_gib is None else f"{volume.used_gib:,.1f} used"
