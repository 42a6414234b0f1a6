"""`gputui pricing`: the matrix of GPU models and providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import open_guarded_desk, refresh_offers
from gputui.cli.output import emit, json_option, say, table
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.core.catalog import PriceCell, PriceRow
    from gputui.core.desk import Desk


@click.command()
@click.option("--gpu", metavar="MODEL", help="Only this model; H100 means every form of it, H100-SXM only that one.")
@click.option("--refresh", is_flag=True, help="Ask every provider now, however fresh the prices are.")
@click.option("--cached", is_flag=True, help="Ask nobody, however old the prices are.")
@json_option
@click.pass_context
def pricing(ctx: click.Context, gpu: str | None, refresh: bool, cached: bool, as_json: bool) -> None:
    """Show the cheapest list price per GPU and hour, by GPU model and provider.

    Prices that are old or were never fetched are asked for first.
    """
    from gputui.core.request import require_known_gpu
    from gputui.core.shapes import price_shapes

    desk = open_guarded_desk(ctx)
    refresh_offers(desk, force=refresh, cached=cached)
    if gpu is not None:
        require_known_gpu(desk, gpu)
    rows = desk.prices(gpu)
    emit(price_shapes(rows), as_json=as_json, human=lambda: _matrix(rows))
    if not as_json:
        say(_ages(desk))


def _matrix(rows: list[PriceRow]) -> str:
    providers = sorted({name for row in rows for name in row.cells})
    columns = [Column("GPU"), Column("GIB", right=True), *(Column(name.upper(), right=True) for name in providers)]
    cells = [
        [row.gpu, str(row.vram_gib or "–"), *(_price(row.cells.get(name), best=row.best) for name in providers)]
        for row in rows
    ]
    return table(columns, cells, empty="No prices are known for that.")


def _price(cell: PriceCell | None, *, best: PriceCell | None) -> str:
    from gputui.model.types import Stock
    from gputui.model.units import format_usd

    if cell is None:
        return "–"
    price = format_usd(cell.price_micro_usd_per_gpu_hour)
    if cell.stock is Stock.NONE:
        return f"sold out {price}"
    return f"* {price}" if cell is best else price


def _ages(desk: Desk) -> str:
    """Return what the figures are, how old they are, and who was not asked."""
    from gputui.model.units import format_age

    statuses = desk.provider_statuses()
    notes = []
    for name in desk.accounts.names():
        status = statuses.get(name)
        if status is not None and status.last_ok_ms is not None:
            notes.append(f"{name} {format_age(desk.clock.now_ms() - status.last_ok_ms)} old")
        elif (problem := desk.accounts.account(name).problem) is not None:
            notes.append(f"{name}: {problem}")
    return f"$ per GPU and hour, * cheapest. {' · '.join(notes)}"
