"""`gputui waitlist`: being told when a sold-out machine type is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk, refresh_offers, title_of
from gputui.cli.output import emit, json_option, require_yes, table, warn, yes_option
from gputui.cli.resources import conclude, one_provider, provider_option, providers_option, rows_of, the_one
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.model.types import WaitlistEntry


@click.group()
def waitlist() -> None:
    """Be told by the provider when a sold-out machine type can be had again."""


@waitlist.command("list")
@providers_option
@json_option
@click.pass_context
def list_entries(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List what is waited for."""
    from gputui.core.resource_shapes import waitlist_shape
    from gputui.core.resources import list_waitlist

    desk = open_guarded_desk(ctx)
    asked = ask(desk, list_waitlist(desk.accounts, providers))
    entries = rows_of(asked)
    emit([waitlist_shape(entry) for entry in entries], as_json=as_json, human=lambda: _table(entries))
    for entry in entries:
        if entry.auto_deploys:
            warn(
                f"{title_of(entry.provider)} will order {entry.machine_type} by itself when it is back, "
                f"and bill it ({entry.id})."
            )
    conclude(ctx, asked.problems)


@waitlist.command()
@click.option("--gpu", required=True, metavar="MODEL", help="The GPU model waited for, such as H100.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many GPUs one machine has."
)
@click.option("--region", metavar="CODE", help="Only there; anywhere when left out.")
@provider_option
@json_option
@click.pass_context
def join(ctx: click.Context, gpu: str, count: int, region: str | None, provider: str | None, as_json: bool) -> None:
    """Wait for a sold-out machine type: the provider tells you when it is back. Nothing is ordered, then or later."""
    from gputui.core.resource_shapes import waitlist_shape
    from gputui.core.resources import join_waitlist, sold_out_offer

    desk = open_desk(ctx)
    name = one_provider(desk, "waitlist", provider)
    refresh_offers(desk, provider=name)
    offer = sold_out_offer(desk.offers(gpu=gpu, provider=name), gpu, count=count, region=region)
    entry = ask(desk, join_waitlist(desk.accounts, offer, anywhere=region is None))
    emit(
        waitlist_shape(entry),
        as_json=as_json,
        human=lambda: (
            f"{title_of(name)} will tell you when {count} × {offer.gpu} can be had {f'in {region}' if region else 'anywhere'}."
        ),
    )


@waitlist.command()
@click.argument("entry")
@providers_option
@yes_option
@json_option
@click.pass_context
def leave(ctx: click.Context, entry: str, providers: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Give up a place in a waitlist. ENTRY is an id or its beginning."""
    from gputui.core.resource_shapes import waitlist_shape
    from gputui.core.resources import leave_waitlist, list_waitlist

    desk = open_desk(ctx)
    asked = ask(desk, list_waitlist(desk.accounts, providers))
    found = the_one(
        rows_of(asked),
        entry,
        what="place in a waitlist",
        ids=lambda item: [item.id],
        shown=lambda item: f"{item.id} ({item.machine_type})",
        problems=asked.problems,
        hint="See: gputui waitlist list",
    )
    require_yes(
        f"Stop waiting for {found.machine_type} in {found.region or 'any region'} at {title_of(found.provider)}?",
        yes=yes,
    )
    ask(desk, leave_waitlist(desk.accounts, found))
    emit(waitlist_shape(found), as_json=as_json, human=lambda: f"No longer waiting for {found.machine_type}.")


def _table(entries: list[WaitlistEntry]) -> str:
    from gputui.model.units import iso_utc

    columns = [
        Column("MACHINE TYPE", shrinks=True),
        Column("PROVIDER"),
        Column("REGION"),
        Column("STATE"),
        Column("SINCE"),
        Column("ENTRY", shrinks=True),
    ]
    rows = [
        [
            entry.machine_type,
            entry.provider,
            entry.region or "any",
            entry.raw_state or "–",
            (iso_utc(entry.created_at_ms) or "–")[:10],
            entry.id,
        ]
        for entry in entries
    ]
    return table(columns, rows, empty="Nothing is waited for.")
