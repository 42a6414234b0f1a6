"""`gputui offers`: everything that can be rented now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import open_guarded_desk, refresh_offers
from gputui.cli.output import emit, json_option, say, table
from gputui.cli.table import Column
from gputui.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputui.core.query import Query
    from gputui.core.routing import Quote
    from gputui.model.units import Ms

_SHOWN = 50


@click.command()
@click.option("--gpu", metavar="MODEL", help="Only this model; H100 means every form of it.")
@click.option("--provider", metavar="NAME", help="Only this provider.")
@click.option("--max-price", metavar="USD", help="At most this list price per machine and hour.")
@click.option(
    "--where", metavar="FILTER", help='Only what fits a filter, such as "gpu:h100 vram>=80 $<2.5 -region:cn".'
)
@click.option("--limit", type=click.IntRange(min=0), help=f"At most so many; a table shows {_SHOWN}, 0 means all.")
@click.option("--refresh", is_flag=True, help="Ask every provider now, however fresh the offers are.")
@click.option("--cached", is_flag=True, help="Ask nobody, however old the offers are.")
@json_option
@click.pass_context
def offers(
    ctx: click.Context,
    gpu: str | None,
    provider: str | None,
    max_price: str | None,
    where: str | None,
    limit: int | None,
    refresh: bool,
    cached: bool,
    as_json: bool,
) -> None:
    """List what can be rented now, cheapest machine first.

    The effective price spreads boot time, rounding and the provider's minimum over one hour of work.

    \b
    Terms of a filter must all hold; a comma means "or", ! or - in front means "not":
      gpu provider region tier stock      words, like provider:huddle,lambda
      $ $gpu eff                          dollars per hour: the machine, one GPU, the effective price
      vram n vcpu ram disk rel age        numbers, like n>=2, rel>99, age<5m
    Anything else is looked for in provider, GPU, region and tier.
    """
    from gputui.core.query import Listing
    from gputui.core.request import price_cap, quotes_for, require_known_gpu
    from gputui.core.shapes import offer_shape

    cap = price_cap(max_price, field="--max-price")
    desk = open_guarded_desk(ctx)
    query = _filter(where, now_ms=desk.clock.now_ms())
    if provider is not None:
        desk.accounts.account(provider)  # tells an unknown name from one that offers nothing
    refresh_offers(desk, force=refresh, cached=cached, provider=provider)
    if gpu is not None:
        require_known_gpu(desk, gpu)
    most = limit if limit is not None else (0 if as_json else _SHOWN)
    # One more than is shown tells whether there is more; a filter has to see them all.
    enough = most + 1 if most and where is None else None
    found = desk.offers(gpu=gpu, provider=provider, limit=enough)
    fitting = [offer for offer in found if cap is None or offer.price_micro_usd_per_hour <= cap]
    all_quotes = query.select(Listing(quotes_for(fitting)))
    quotes = all_quotes[:most] if most else all_quotes
    emit(
        [offer_shape(quote.offer, effective_micro_usd_per_hour=quote.effective_micro_usd_per_hour) for quote in quotes],
        as_json=as_json,
        human=lambda: _offer_table(quotes),
    )
    if len(all_quotes) > len(quotes):
        say(f"The cheapest {most}; there are more, --limit 0 shows all.")


def _filter(text: str | None, *, now_ms: Ms) -> Query:
    """Read a filter. Raises UsageError, after showing the place on stderr."""
    from gputui.core.query import QueryError, parse_query

    try:
        return parse_query(text or "", now_ms=now_ms)
    except QueryError as error:
        say(f"  {text}")
        say(f"  {error.pointer}")
        raise UsageError(f"--where, character {error.start + 1}: {error.message}", field="where") from None


def _offer_table(quotes: Sequence[Quote]) -> str:
    from gputui.model.units import format_usd

    columns = [
        Column("PROVIDER"),
        Column("GPU"),
        Column("COUNT", right=True),
        Column("GIB", right=True),
        Column("VCPU", right=True),
        Column("RAM", right=True),
        Column("REGION", shrinks=True),
        Column("TIER"),
        Column("$/H", right=True),
        Column("EFFECTIVE", right=True),
        Column("STOCK"),
    ]
    rows = [
        [
            quote.offer.provider,
            quote.offer.gpu,
            str(quote.offer.gpu_count),
            str(quote.offer.vram_gib or "–"),
            str(quote.offer.vcpus or "–"),
            str(quote.offer.ram_gib or "–"),
            quote.offer.region or "–",
            quote.offer.tier.value,
            format_usd(quote.offer.price_micro_usd_per_hour),
            format_usd(quote.effective_micro_usd_per_hour),
            {"none": "sold out"}.get(quote.offer.stock or "", quote.offer.stock or "–"),
        ]
        for quote in quotes
    ]
    return table(columns, rows, empty="Nothing on offer fits that.")
