"""The options by which `run` and `route` say what machine is wanted, and the table of candidates both show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gputui.cli.output import table
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.core.routing import Quote, Rejection

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _require_gpu(ctx: click.Context, option: click.Parameter, gpu: str | None) -> str | None:
    """Insist on a GPU, unless there is a template to take it from."""
    if gpu is None and not ctx.params.get("template"):
        raise click.MissingParameter(ctx=ctx, param=option)
    return gpu


_OPTIONS = (
    click.option(
        "--gpu",
        metavar="MODEL",
        callback=_require_gpu,
        help="H100 means every form of it, H100-SXM only that one.  [required]",
    ),
    click.option("--count", type=int, default=1, show_default=True, help="GPUs in the machine."),
    click.option("--provider", metavar="NAME", help="Only this provider."),
    click.option("--region", metavar="CODE", help="Only this region."),
    click.option("--tier", metavar="TIER", help="Only on-demand, spot, secure or community."),
    click.option("--min-vram", "min_vram_gib", type=int, metavar="GIB", help="At least so much memory per GPU."),
    click.option("--disk", "disk_gib", type=int, metavar="GIB", help="Disk wanted, where it can be chosen."),
    click.option(
        "--volume",
        "volumes",
        multiple=True,
        metavar="NAME",
        help="A volume there is at --provider, by name or id; may be repeated.",
    ),
    click.option("--budget-max", metavar="USD", help="At most this list price per machine and hour."),
    click.option(
        "--expected", metavar="TIME", help="How long it will probably run, to compare prices for.  [default: 1h]"
    ),
    click.option(
        "--priority",
        type=click.Choice(["cost", "speed", "availability"]),
        default="cost",
        show_default=True,
        help="What the best offer is best at.",
    ),
)


def spec_options(command: _Command) -> _Command:
    """Add the options; the command gets them as keyword arguments that `core.request.make_spec` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def candidate_table(quotes: Sequence[Quote], *, expected_s: int) -> str:
    """Return the offers in the order they will be tried, with what the whole run is expected to cost at each."""
    from gputui.model.units import format_duration, format_usd

    columns = [
        Column("#", right=True),
        Column("PROVIDER"),
        Column("GPU"),
        Column("REGION", shrinks=True),
        Column("TIER"),
        Column("$/H", right=True),
        Column("EFFECTIVE", right=True),
        Column(f"$ FOR {format_duration(expected_s).upper()}", right=True),
        Column("STOCK"),
    ]
    rows = [
        [
            str(position),
            quote.offer.provider,
            f"{quote.offer.gpu_count} × {quote.offer.gpu}",
            quote.offer.region or "–",
            quote.offer.tier.value,
            format_usd(quote.offer.price_micro_usd_per_hour),
            format_usd(quote.effective_micro_usd_per_hour),
            format_usd(quote.total_micro_usd),
            quote.offer.stock or "–",
        ]
        for position, quote in enumerate(quotes, start=1)
    ]
    return table(columns, rows, empty="Nothing on offer fits.")


def rejection_table(rejections: Sequence[Rejection]) -> str:
    """Return the offers of the right GPU that lost, each with its reason."""
    from gputui.model.units import format_usd

    columns = [
        Column("PROVIDER"),
        Column("GPU"),
        Column("REGION", shrinks=True),
        Column("$/H", right=True),
        Column("WHY NOT", shrinks=True),
    ]
    rows = [
        [
            rejection.offer.provider,
            f"{rejection.offer.gpu_count} × {rejection.offer.gpu}",
            rejection.offer.region or "–",
            format_usd(rejection.offer.price_micro_usd_per_hour),
            rejection.reason,
        ]
        for rejection in rejections
    ]
    return table(columns, rows, empty="")
