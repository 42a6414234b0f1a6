"""The pricing matrix: which columns fit, and how its header and rows are painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.catalog import PriceCell, PriceRow
from gputui.core.price_history import Summary, Trend
from gputui.core.routing import Quote
from gputui.model.types import BillingRule, Offer, Stock, Tier
from gputui.model.units import Ms, format_age, span
from gputui.tui.render import money
from gputui.tui.render.states import stock_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, styled

SLICES = 8
"""Parts of a day in a row's trend."""

_GPU = 18
_VRAM = 6
_BEST = 9
_BEST_NAME = 13
_SPARK = 2 + SLICES
_CHANGE = 7
_COLUMN_LEAST, _COLUMN_MOST = 11, 13
_MORE = 4  # how many providers are further to a side


@dataclass(frozen=True, slots=True)
class Column:
    """A provider in the matrix. `stale` dims its cells; `problem` is why it has none, or why they are old.

    Of one that is not `usable` (no key) no prices are shown: they could not be had.
    """

    name: str
    title: str
    stale: bool = False
    problem: str | None = None
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """What of the matrix fits into a width: the window of provider columns and the optional parts (keys of `_WIDTHS`)."""

    first: int
    columns: tuple[Column, ...]
    column_width: int
    parts: frozenset[str]
    hidden: int


_WIDTHS = {"vram": _VRAM, "name": _BEST_NAME, "spark": _SPARK, "change": _CHANGE}
_GIVES_WAY = ("name", "spark", "change", "vram")


def layout(columns: Sequence[Column], width: int, cursor_column: int, *, has_trends: bool = False) -> Layout:
    """Choose the window of columns that holds the cursor; the best provider's name gives way first, memory last.

    `has_trends` says whether there is any trend to show.
    """
    wanted = [part for part in _GIVES_WAY if has_trends or part not in ("spark", "change")]
    for dropped in range(len(wanted) + 1):
        parts = frozenset(wanted[dropped:])
        fixed = 2 + _GPU + _BEST + sum(_WIDTHS[part] for part in parts)
        room = max(_COLUMN_LEAST, width - fixed)
        fitting = room // _COLUMN_LEAST
        if fitting >= len(columns):
            column_width = min(_COLUMN_MOST, room // max(1, len(columns)))
            return Layout(0, tuple(columns), column_width, parts, 0)
    first = max(0, min(cursor_column - fitting // 2, len(columns) - fitting))
    shown = tuple(columns[first : first + fitting])
    return Layout(first, shown, _COLUMN_LEAST, frozenset(), len(columns) - len(shown))


def columns_begin(plan: Layout) -> int:
    """Return the cell in which the first provider's column begins."""
    return 2 + _GPU + (_VRAM if "vram" in plan.parts else 0)


def header(plan: Layout, *, cursor_column: int) -> Content:
    """Return the line of column titles; the cursor's one stands out."""
    parts: list[Content | tuple[str, str] | str] = [("  " + left("GPU", _GPU - _MORE), "$muted")]
    parts.append((right(f"‹ {plan.first}" if plan.first else "", _MORE), "$faint"))
    if "vram" in plan.parts:
        parts.append((right("GiB", _VRAM), "$muted"))
    for position, column in enumerate(plan.columns):
        style = "$foreground bold" if plan.first + position == cursor_column else "$muted"
        parts.append((right(cut(plain(column.title), plan.column_width - 1), plan.column_width), style))
    parts.append((right("best", _BEST), "$muted"))
    if "name" in plan.parts:
        parts.append(" " * _BEST_NAME)
    trend = left("  24 h" if "spark" in plan.parts else "", _SPARK if "spark" in plan.parts else 0)
    change = right("trend" if "spark" in plan.parts else "24 h", _CHANGE) if "change" in plan.parts else ""
    parts.append((trend + change, "$muted"))
    if further := plan.hidden - plan.first:
        parts.append((f"  {further} ›", "$faint"))
    return join(*parts)


def row(
    price_row: PriceRow,
    plan: Layout,
    *,
    cursor_column: int,
    here: bool,
    focused: bool,
    titles: Mapping[str, str],
    trend: Trend | None = None,
) -> Content:
    """Return one GPU model's line. `here` is the cursor's row."""
    best = price_row.best
    parts: list[Content | tuple[str, str] | str] = [
        ("▌ " if here else "  ", "$accent"),
        (left(plain(price_row.gpu), _GPU), "bold" if here else ""),
    ]
    if "vram" in plan.parts:
        parts.append((right(str(price_row.vram_gib or "–"), _VRAM), "$muted"))
    for position, column in enumerate(plan.columns):
        cell = price_row.cells.get(column.name)
        is_cursor = here and plan.first + position == cursor_column
        is_best = cell is not None and best is not None and cell.provider == best.provider
        parts.append(_cell(cell, column, plan.column_width, is_cursor=is_cursor and focused, is_best=is_best))
    price = money.price(best.price_micro_usd_per_gpu_hour) if best else "–"
    parts.append((right(price, _BEST), "bold" if best else "$faint"))
    if "name" in plan.parts:
        name = plain(titles.get(best.provider, best.provider)) if best else ""
        parts.append(("  " + left(name, _BEST_NAME - 2), "$muted"))
    if "spark" in plan.parts:
        parts.append(("  " + _spark(trend), "$muted"))
    if "change" in plan.parts:
        parts.append(_change(trend))
    return join(*parts)


def _spark(trend: Trend | None) -> str:
    """Return a day as bars, the dearest moment the highest; blank where no price was known."""
    known = [price for price in trend.prices if price is not None] if trend else []
    if trend is None or not known:
        return " " * SLICES
    low, spread = min(known), max(known) - min(known)
    last = len(_BARS) - 1
    return "".join(
        " " if price is None else _BARS[round((price - low) / spread * last)] if spread else _BARS[_FLAT]
        for price in trend.prices
    )


_BARS = "▁▂▃▄▅▆▇"
_FLAT = 2


def _change(trend: Trend | None) -> tuple[str, str]:
    if trend is None:
        return " " * _CHANGE, ""
    percent = round(trend.change * 100)
    if not percent:
        return right("0 %", _CHANGE), "$faint"
    sign, style = ("−", "$state-running") if percent < 0 else ("+", "$state-waiting")
    return right(f"{sign}{abs(percent)} %", _CHANGE), style


def _cell(cell: PriceCell | None, column: Column, width: int, *, is_cursor: bool, is_best: bool) -> Content:
    if cell is None:
        glyph, price, style, glyph_style = " ", "–", "$faint", "$faint"
    else:
        badge = stock_badge(cell.stock)
        price, glyph = money.price(cell.price_micro_usd_per_gpu_hour), badge.glyph
        sold_out = cell.stock is Stock.NONE
        style = "$faint" if column.stale or sold_out else "$best bold" if is_best else ""
        glyph_style = "$faint" if column.stale or sold_out else badge.style
    amount = right(price, width - 3)
    if is_cursor:
        marked = "$cell-cursor-text on $cell-cursor bold"
        return join(amount[:1], (amount[1:] + " " + glyph + " ", marked))
    return join((amount + " ", style), (glyph, glyph_style), " ")


@dataclass(frozen=True, slots=True)
class CellView:
    """What is behind a cell: its offers as quotes, the cheapest first and sold-out ones last.

    The counts are of all of them, `quotes` may hold fewer; `source` says with which key they were fetched, `past` what
    the price was over the last days.
    """

    column: Column
    gpu: str
    quotes: Sequence[Quote]
    offer_count: int
    sold_out_count: int
    billing: BillingRule
    boot_s: int
    source: str
    expected_s: int
    past: Summary | None = None


def cell_title(view: CellView, width: int) -> Content:
    """Return the left part of the line over a cell's offers: whose they are."""
    return rule(join((plain(view.gpu), "bold"), (" on ", "$muted"), (plain(view.column.title), "bold")), width)


def cell_age(view: CellView, width: int, *, now_ms: Ms) -> Content:
    """Return the right part of that line: how old the offers are, and with which key they were fetched."""
    if not view.quotes:
        return rule("", width)
    age = f"fetched {format_age(now_ms - view.quotes[0].offer.fetched_at_ms)} ago"
    text = f"{age}, {plain(view.source)}" if view.source else age
    return rule(
        "", width, right_title=styled(cut(text, width - 6), "$state-waiting" if view.column.stale else "$muted")
    )


def cell_body(view: CellView, width: int, height: int, *, opens: str) -> Content:
    """Return a cell's price in every sense, and its offers; `height` lines at most. `opens` is the key that shows all."""
    column = view.column
    if not view.quotes:
        why = plain(column.problem or "offers none of these")
        return join("   ", (f"{plain(column.title)}: {why}", "$muted")).truncate(width, ellipsis=True)
    lines = [_prices(view, width)]
    if column.problem:
        lines.append(styled(f"   ✕ {plain(column.problem)}", "$state-failed").truncate(width, ellipsis=True))
    if view.past is not None and height > _SHORT:
        lines.append(_past(view.past).truncate(width, ellipsis=True))
    room = height - len(lines)
    shown = max(0, room if view.offer_count <= room else room - 1)
    lines += [_offer_line(quote, width) for quote in view.quotes[:shown]]
    if (rest := view.offer_count - shown) > 0:
        lines.append(join((f"   {rest} more: ", "$faint"), (opens, "$accent"), (" shows them", "$faint")))
    return Content("\n").join(lines)


_SHORT = 4


def _past(past: Summary) -> Content:
    """Return what the price was over the last days, by how long each one held."""
    days = round(past.span_ms / 86_400_000)
    return join(
        f"   {days} d ",
        *(part for label, price in (("p10", past.low), ("p50", past.middle), ("p90", past.high))
          for part in ((f"  {label} ", "$muted"), money.price(price))),
        (f"   in stock {past.available:.0%} of the time", "$muted"),
    )  # fmt: skip


def _prices(view: CellView, width: int) -> Content:
    """Return what fits of the prices and what else matters, the prices first."""
    cheapest = view.quotes[0]
    count = max(1, cheapest.offer.gpu_count)
    listed = money.price(cheapest.offer.price_micro_usd_per_hour // count)
    effective = money.price(cheapest.effective_micro_usd_per_hour // count)
    facts: list[Content] = [
        join((right(listed, 7), "$best bold"), (" list", "$muted")),
        join((effective, "bold"), (f" effective for {span(view.expected_s)}", "$muted")),
        styled(_count(view), "$muted"),
        styled(f"starts in about {span(view.boot_s)}", "$muted"),
    ]
    if view.billing.minimum_s:
        facts.append(styled(f"{span(view.billing.minimum_s)} billed at least", "$muted"))
    while len(facts) > 1 and Content("   ").join(facts).cell_length > width:
        facts.pop()
    return Content("   ").join(facts)


def _count(view: CellView) -> str:
    offers = f"{view.offer_count} offer{'s' if view.offer_count != 1 else ''}"
    return f"{offers}, {view.sold_out_count} sold out" if view.sold_out_count else offers


def _offer_line(quote: Quote, width: int) -> Content:
    offer = quote.offer
    badge = stock_badge(offer.stock)
    per_gpu = offer.price_micro_usd_per_hour // max(1, offer.gpu_count)
    faint = "$faint" if offer.stock is Stock.NONE else ""
    whole = f"{money.price(offer.price_micro_usd_per_hour)} in all" if offer.gpu_count > 1 else ""
    line = join(
        " ",
        (right(money.price(per_gpu), 6), faint),
        (f" {badge.glyph} ", badge.style),
        (left(badge.word, 14), "$muted"),
        (left(plain(offer.region, unknown="any region"), 12), faint),
        (right(f"{offer.gpu_count} ×", 4) + " " + left(plain(offer.gpu), 16), faint),
        (right(whole, 14) + "  ", "$muted"),
    )
    for part in _hardware(offer):
        if line.cell_length + len(part) + 2 <= width:
            line = join(line, (f"  {part}", "$muted"))
    return line.truncate(width, ellipsis=True)


def _hardware(offer: Offer) -> list[str]:
    parts = []
    if offer.vcpus is not None:
        parts.append(f"{offer.vcpus:>3} vCPU")
    if offer.ram_gib is not None:
        parts.append(f"{offer.ram_gib:>4} GiB RAM")
    if offer.disk_gib is not None:
        parts.append(f"{offer.disk_gib:>5} GiB disk")
    if offer.tier is not Tier.ON_DEMAND:
        parts.append(offer.tier.value)
    if offer.reliability is not None:
        parts.append(f"{offer.reliability:.1%} reliable")
    return parts


def empty(lines: Sequence[tuple[str, str]]) -> Content:
    """Return a calm block for a matrix with nothing in it; pairs of text and style."""
    return Content("\n").join([styled(text, style) for text, style in lines])
