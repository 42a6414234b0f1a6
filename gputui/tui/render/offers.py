"""The list of offers: which columns fit, and how its header and rows are painted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.query import QueryError
from gputui.core.routing import Quote
from gputui.model.types import Stock
from gputui.model.units import MicroUsdPerHour, Ms, span
from gputui.tui.offer_book import ORDERS, Arrangement
from gputui.tui.render import money
from gputui.tui.render.states import stock_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, styled

_BAR, _EDGE = 2, 1
_MORE = 13  # what tells of columns that are not shown
_GAP = 2  # before words that stand behind a number
_REGION_MOST = 24


@dataclass(frozen=True, slots=True)
class View:
    """What rows are painted with. What was fetched before `fresh_after_ms` is dim; `best` is the id of the cheapest."""

    now_ms: Ms
    fresh_after_ms: Ms
    arrangement: Arrangement
    titles: Mapping[str, str]
    best: str | None = None
    marked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """`rank` says what gives way first where it is narrow, the highest first; None: shown only among every column."""

    order: str
    title: str
    width: int
    rank: int | None
    text: Callable[[Quote, View], str]
    style: str = ""
    is_right: bool = True


def _age(quote: Quote, view: View) -> str:
    """Return an age in whole minutes: the seconds of thirty rows would travel every second."""
    minutes = max(0, view.now_ms - quote.offer.fetched_at_ms) // 60_000
    if minutes < 1:
        return "now"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} d"


def _number(value: int | None) -> str:
    return "–" if value is None else str(value)


def per_unit(rate: MicroUsdPerHour, quote: Quote, arrangement: Arrangement) -> MicroUsdPerHour:
    """Return a machine's price as it is shown: for the machine, or for one of its GPUs."""
    return rate // max(1, quote.offer.gpu_count) if arrangement.per_gpu else rate


def _list_price(quote: Quote, view: View) -> str:
    return money.price(per_unit(quote.offer.price_micro_usd_per_hour, quote, view.arrangement))


def _effective(quote: Quote, view: View) -> str:
    return money.price(per_unit(quote.effective_micro_usd_per_hour, quote, view.arrangement))


def _reliability(quote: Quote, view: View) -> str:
    return "–" if quote.offer.reliability is None else f"{quote.offer.reliability * 100:.1f}"


COLUMNS: tuple[Column, ...] = (
    Column("provider", "provider", 11, 0, lambda q, view: view.titles.get(q.offer.provider, q.offer.provider), is_right=False),
    Column("gpu", "GPU", 16, 0, lambda q, view: q.offer.gpu, is_right=False),
    Column("count", "n", 3, 1, lambda q, view: str(q.offer.gpu_count)),
    Column("vram", "VRAM", 6, 5, lambda q, view: _number(q.offer.vram_gib), "$muted"),
    Column("", "vCPU", 6, 7, lambda q, view: _number(q.offer.vcpus), "$muted"),
    Column("", "RAM", 6, 8, lambda q, view: _number(q.offer.ram_gib), "$muted"),
    Column("", "disk", 7, None, lambda q, view: _number(q.offer.disk_gib), "$muted"),
    Column("", "tier", 13, 9, lambda q, view: q.offer.tier.value, "$muted", is_right=False),
    Column("region", "region", 12, 4, lambda q, view: q.offer.region or "–", "$muted", is_right=False),
    Column("price", "list", 9, 1, _list_price),
    Column("effective", "eff", 9, 1, _effective),
    Column("stock", "stock", 9, 2, lambda q, view: "", is_right=False),
    Column("reliability", "reliab", 8, None, _reliability, "$muted"),
    Column("age", "age", 8, 6, _age, "$muted"),
)  # fmt: skip
_FIXED = 2  # provider and GPU stay at the left whatever is looked at
_STOCK_WORDS = {Stock.HIGH: "high", Stock.LOW: "low", Stock.NONE: "none", None: "–"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that fit, each with its width. `before` and `after` count those that do not, at either side."""

    columns: Sequence[tuple[Column, int]]
    before: int = 0
    after: int = 0


def layout(width: int, *, wide: bool, first: int) -> Layout:
    """Choose columns for a width: those that matter most, or with `wide` a window over every one from `first` on."""
    room = width - _BAR - (_MORE if wide else _EDGE)
    chosen = _window(room, first) if wide else _by_rank(room)
    spare = room - sum(column.width for column in chosen)
    sized = [(c, min(c.width + max(0, spare), _REGION_MOST) if c.title == "region" else c.width) for c in chosen]
    if not wide:
        return Layout(sized)
    last = COLUMNS.index(chosen[-1])
    return Layout(sized, last_start(first) if len(chosen) < len(COLUMNS) else 0, len(COLUMNS) - 1 - last)


def last_start(first: int) -> int:
    """Return a column to begin at that there is, counted from the first that moves."""
    return max(0, min(first, len(COLUMNS) - _FIXED - 1))


def _by_rank(room: int) -> list[Column]:
    chosen: set[str] = set()
    for column in sorted((c for c in COLUMNS if c.rank is not None), key=lambda c: c.rank or 0):
        if column.width <= room:
            chosen.add(column.title)
            room -= column.width
    return [column for column in COLUMNS if column.title in chosen]


def _window(room: int, first: int) -> list[Column]:
    if sum(column.width for column in COLUMNS) <= room:
        return list(COLUMNS)
    chosen = list(COLUMNS[:_FIXED])
    for column in COLUMNS[_FIXED + last_start(first) :]:
        if sum(c.width for c in chosen) + column.width > room:
            break
        chosen.append(column)
    return chosen


def header(plan: Layout, view: View) -> Content:
    """Return the line of column titles; the one that is ordered by has an arrow."""
    parts: list[tuple[str, str] | str] = [" " * _BAR]
    arrow = "↓" if view.arrangement.is_reversed else "↑"
    for column, width in plan.columns:
        here = column.order == view.arrangement.order
        title = f"{column.title} {arrow}" if here and len(column.title) + 3 <= width else column.title
        style = "$foreground bold" if here else "$muted"
        parts.append((_fitted(title, width, column), style))
    if plan.before or plan.after:
        parts.append((f"  {plan.before + plan.after} more ‹ ›", "$faint"))
    return join(*parts)


def row(quote: Quote, plan: Layout, view: View, *, here: bool) -> Content:
    """Return one offer's line. `here` is the cursor's row."""
    offer = quote.offer
    is_dim = offer.stock is Stock.NONE or offer.fetched_at_ms < view.fresh_after_ms
    is_best = offer.id == view.best and not is_dim
    is_marked = offer.id in view.marked
    parts: list[Content | tuple[str, str] | str] = [
        ("▌" if here else " ", "$accent"),
        ("◆" if is_marked else " ", "$accent"),
    ]
    for column, width in plan.columns:
        if column.title == "stock":
            badge = stock_badge(offer.stock)
            parts.append((f"  {badge.glyph} ", "$faint" if is_dim else badge.style))
            parts.append((left(_STOCK_WORDS[offer.stock], width - 4), "$faint" if is_dim else "$muted"))
            continue
        style = column.style
        if column.order == "effective":
            style = "$best bold" if is_best else "bold"
        elif column.title == "GPU" and (here or is_marked):
            style = "bold"
        text = _fitted(plain(column.text(quote, view)[: 4 * width]), width, column)
        parts.append((text, "$faint" if is_dim else style))
    return join(*parts)


def _fitted(text: str, width: int, column: Column) -> str:
    """Return a cell's text in its column, parted from its neighbours. Money is never cut."""
    if column.is_right:
        return right(text, width)
    gap = 0 if column in COLUMNS[:_FIXED] else _GAP
    return " " * gap + left(cut(text, width - gap - 1), width - gap)


def title(shown: int, total: int, view: View, width: int, *, marked_only: bool, busy: Content | None) -> Content:
    """Return the line over the list: how many there are, in what order and in what unit, or who is being asked."""
    words = [(f"{shown:,}", "bold"), (f" of {total:,} offers" if shown != total else " offers", "$muted")]
    if view.marked:
        words.append((f"   ◆ {len(view.marked)} marked{', the only ones shown' if marked_only else ''}", "$accent"))
    head = join(*words)
    if busy is not None:
        return rule(head, width, right_title=busy)
    arrangement = view.arrangement
    arrow = "↓" if arrangement.is_reversed else "↑"
    facts = [
        f"by {ORDERS[arrangement.order].title.partition(',')[0]} {arrow}",
        f"$/h per {'GPU' if arrangement.per_gpu else 'machine'}",
        f"for {span(arrangement.expected_s)} of work",
    ]
    while len(facts) > 1 and head.cell_length + len("   ".join(facts)) + 12 > width:
        facts.pop()
    return rule(head, width, right_title=styled("   ".join(facts), "$muted"))


def mistake(error: QueryError, width: int, *, indent: int) -> Content:
    """Return the line under the filter that points at a mistake in it, the sentence where there is room for it."""
    pointer = "^" * (error.end - error.start)
    sentence = plain(error.message)
    start = indent + error.start
    if start + len(pointer) + 1 + len(sentence) <= width:
        return styled(f"{' ' * start}{pointer} {sentence}", "$state-failed")
    if len(sentence) + 1 <= start and start + len(pointer) <= width:
        return styled(f"{right(sentence, start - 1)} {pointer}", "$state-failed")
    return styled(cut(f" {sentence}", width), "$state-failed")
