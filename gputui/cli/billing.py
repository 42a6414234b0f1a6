"""`gputui billing`: what was spent, and credit left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_guarded_desk, tell_problems
from gputui.cli.exits import exit_code_of
from gputui.cli.output import emit, json_option, say, table
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.core.metering import Cost
    from gputui.core.reports import UsageRow


@click.group()
def billing() -> None:
    """Money: what jobs cost, what accounts still hold."""


@billing.command()
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="How far back, like 24h or 7d.")
@json_option
@click.pass_context
def usage(ctx: click.Context, since: str, as_json: bool) -> None:
    """Show what each job cost that billed in a span, whole jobs, newest first.

    Metered here by each provider's billing rule; "±" covers what the provider does not tell to the second.
    """
    from gputui.core.metering import total_cost
    from gputui.core.shapes import usage_shape
    from gputui.model.units import parse_duration

    seconds = parse_duration(since, field="--since")
    desk = open_guarded_desk(ctx)
    since_ms = desk.clock.now_ms() - seconds * 1000
    rows = desk.usage(since_ms=since_ms)
    total = total_cost(row.cost for row in rows)
    emit(usage_shape(rows, since_ms=since_ms, total=total), as_json=as_json, human=lambda: _usage_table(rows, total))


@billing.command()
@json_option
@click.pass_context
def balance(ctx: click.Context, as_json: bool) -> None:
    """Ask the providers that tell it how much credit is left."""
    from gputui.core.shapes import balance_shape
    from gputui.model.units import format_usd

    desk = open_guarded_desk(ctx)
    balances, problems = ask(desk, desk.balances())
    rows = [[entry.provider, format_usd(entry.balance_micro_usd)] for entry in balances]
    emit(
        [balance_shape(entry) for entry in balances],
        as_json=as_json,
        human=lambda: table(
            [Column("PROVIDER"), Column("CREDIT $", right=True)], rows, empty="No usable provider tells a balance."
        ),
    )
    tell_problems(problems)
    if problems:
        ctx.exit(exit_code_of(next(iter(problems.values()))))
    if not as_json:
        for name in desk.accounts.names():
            if (problem := desk.accounts.account(name).problem) is not None:
                say(f"{name}: {problem}")


def _usage_table(rows: list[UsageRow], total: Cost) -> str:
    from gputui.model.ids import short_id
    from gputui.model.units import format_duration, format_usd, iso_utc

    columns = [
        Column("JOB"),
        Column("NAME", shrinks=True),
        Column("PROVIDER"),
        Column("GPU"),
        Column("FROM (UTC)"),
        Column("FOR", right=True),
        Column("COST $", right=True),
        Column("±", right=True),
    ]
    cells = [
        [
            short_id(row.job.id),
            row.job.name,
            row.provider,
            f"{row.job.spec.gpu_count} × {row.gpu}",
            (iso_utc(row.billed_from_ms) or "")[:16].replace("T", " "),
            "still" if row.billed_to_ms is None else format_duration((row.billed_to_ms - row.billed_from_ms) / 1000),
            format_usd(row.cost.micro_usd, places=4),
            format_usd(row.cost.uncertainty_micro_usd, places=4),
        ]
        for row in rows
    ]
    if cells:
        sums = [format_usd(total.micro_usd, places=4), format_usd(total.uncertainty_micro_usd, places=4)]
        cells.append(["", "total", "", "", "", "", *sums])
    return table(columns, cells, empty="Nothing was spent in that time.")
