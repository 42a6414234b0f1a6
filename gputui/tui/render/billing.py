"""Money for people: bars by day and provider, balances with how long they last, and what each job cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from textual.content import Content

from gputui.core.metering import Cost
from gputui.core.reports import UsageRow
from gputui.core.spending import Day, Month, runway_s
from gputui.model.units import HOUR_MS, HOUR_S, MicroUsd, MicroUsdPerHour, Ms
from gputui.providers.registry import PROVIDERS
from gputui.tui.render import money
from gputui.tui.render.columns import Column
from gputui.tui.render.states import Badge, job_badge
from gputui.tui.render.text import join, left, right, rule, styled

# Told apart by their pattern as much as by their tone: without colours, too.
_BARS: tuple[tuple[str, str], ...] = (
    ("▓", "$accent"),
    ("▒", "$foreground"),
    ("░", "$accent"),
    ("◆", "$muted"),
    ("●", "$foreground"),
    ("▲", "$muted"),
)
_AXIS = 8
_NICE = (1, 2, 3, 4, 5, 6, 8)
_SHORT_S, _LOW_S = 6 * HOUR_S, 24 * HOUR_S

Title = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Spending:
    """What a month cost: by day and provider, and in all."""

    month: Month
    days: Sequence[Day]
    total: Cost

    @property
    def by_provider(self) -> dict[str, MicroUsd]:
        """Return what each provider cost, in the order in which providers are shown everywhere."""
        sums: dict[str, MicroUsd] = {}
        for day in self.days:
            for name, amount in day.by_provider.items():
                sums[name] = sums.get(name, 0) + amount
        places = {name: place for place, name in enumerate(PROVIDERS)}
        return dict(sorted(sums.items(), key=lambda item: places.get(item[0], len(places))))


def month_title(spending: Spending) -> Content:
    """Return the month's name with what it cost."""
    name = datetime.fromtimestamp(spending.month.start_ms / 1000, tz=UTC).strftime("%B %Y")
    total = spending.total
    unsure = money.uncertainty(total.uncertainty_micro_usd)
    return join((name, "bold"), "  ", (money.amount(total.micro_usd), "bold"), (unsure, "$muted"))


def chart(spending: Spending, *, width: int, height: int, title: Title) -> Content:
    """Return a bar per day, each provider's part in a pattern of its own; `height` lines with the axis and the legend."""
    sums = spending.by_provider
    if not sums:
        above = [Content("")] * (height // 2 - 1)
        return Content("\n").join([*above, styled("   Nothing was spent in this month.", "$muted")])
    bars = {name: _BARS[place % len(_BARS)] for place, name in enumerate(sums)}
    legend = _legend(sums, bars, width - _AXIS - 1, title)
    rows = max(2, height - 1 - len(legend))
    top = _nice(max(day.micro_usd for day in spending.days))
    columns = [_stack(day, list(sums), top, rows) for day in spending.days]
    each = max(1, min(4, (width - _AXIS - 1) // spending.month.days))
    lines = [_line(row, rows, columns, bars, each, top) for row in range(rows - 1, -1, -1)]
    lines.append(_day_numbers(spending.month, each))
    lines += [join(" " * (_AXIS + 1), line) for line in legend]
    return Content("\n").join([line.truncate(width, ellipsis=True) for line in lines])


def _legend(
    sums: Mapping[str, MicroUsd], bars: Mapping[str, tuple[str, str]], width: int, title: Title
) -> list[Content]:
    """Return what each pattern means and came to, in as many lines as that takes."""
    lines = [Content("")]
    for name, amount in sums.items():
        glyph, style = bars[name]
        entry = join((f"{glyph * 2} ", style), (f"{title(name)} ", "$muted"), _whole_or_exact(amount))
        if lines[-1].cell_length and lines[-1].cell_length + 3 + entry.cell_length > width:
            lines.append(entry)
        else:
            lines[-1] = join(lines[-1], "   ", entry) if lines[-1].cell_length else entry
    return lines


def _whole_or_exact(amount: MicroUsd) -> str:
    """Return an amount in cents, one below a cent with four places: it is not nothing."""
    return money.amount(amount, places=4 if 0 < amount < 10_000 else 2)


def _nice(most: MicroUsd) -> MicroUsd:
    """Return the round amount at or above the dearest day: a few of a power of ten, in cents at least."""
    power = 10_000
    while True:
        for times in _NICE:
            if times * power >= most:
                return times * power
        power *= 10


def _stack(day: Day, names: Sequence[str], top: MicroUsd, rows: int) -> list[str]:
    """Return a day's cells from below, each the provider whose it is; what cost anything has one cell at least."""
    total = day.micro_usd
    if total <= 0:
        return []
    cells = max(1, min(rows, round(total / top * rows)))
    shares = {name: day.by_provider.get(name, 0) / total * cells for name in names}
    counts = {name: int(share) for name, share in shares.items()}
    by_rest = sorted(names, key=lambda name: counts[name] - shares[name])
    for name in by_rest[: cells - sum(counts.values())]:
        counts[name] += 1
    return [name for name in names for _ in range(counts[name])]


def _line(
    row: int,
    rows: int,
    columns: Sequence[Sequence[str]],
    bars: Mapping[str, tuple[str, str]],
    each: int,
    top: MicroUsd,
) -> Content:
    label = money.amount(top, places=0 if top >= 1_000_000 else 2) if row == rows - 1 else "$0" if row == 0 else ""
    parts: list[tuple[str, str]] = [(right(label, _AXIS - 1) + " ", "$muted"), ("│", "$rule")]
    wide = max(1, each - 1)
    for column in columns:
        glyph, style = bars[column[row]] if row < len(column) else (" ", "")
        parts.append((left(glyph * wide, each), style))
    return join(*parts)


def _day_numbers(month: Month, each: int) -> Content:
    """Return the numbers of the days under the bars, every fifth of them."""
    text = ""
    for number in (1, *range(5, month.days + 1, 5)):
        text = left(text, (number - 1) * each) + str(number)
    return join(" " * (_AXIS + 1), (text, "$muted"))


@dataclass(frozen=True, slots=True)
class Credit:
    """One account's balance, what is being paid there now, and whether it was told just now."""

    provider: str
    balance_micro_usd: MicroUsd
    rate: MicroUsdPerHour
    is_old: bool = False


def runway_badge(credit: Credit) -> Badge:
    """Return for how long a balance lasts at what is being paid there now."""
    seconds = runway_s(credit.balance_micro_usd, credit.rate)
    if seconds is None:
        return Badge("○", "nothing runs there", "$faint")
    words = f"{_rough(seconds)} at {money.rate(credit.rate)}"
    if seconds < _SHORT_S:
        return Badge("▲", words, "$state-failed bold")
    return Badge("◐", words, "$state-waiting") if seconds < _LOW_S else Badge("●", words, "$state-running")


def _rough(seconds: int) -> str:
    """Return a span in whole minutes, hours or days, rounded down: credit does not last longer than is said."""
    if seconds < 2 * HOUR_S:
        return f"{seconds // 60} min"
    return f"{seconds // HOUR_S} h" if seconds < 72 * HOUR_S else f"{seconds // (24 * HOUR_S):,} d"


def balances(credits: Sequence[Credit], silent: Sequence[str], *, width: int, title: Title) -> Content:
    """Return a line per account that tells its balance; `silent` names the usable ones that tell none."""
    lines = []
    for credit in credits:
        badge = runway_badge(credit)
        amount = money.amount(credit.balance_micro_usd)
        lines.append(
            join(
                (f"   {left(title(credit.provider), 10)}", "$faint" if credit.is_old else ""),
                (right(amount, 10), "$faint" if credit.is_old else "bold"),
                (f"  {badge.glyph} {badge.word}", "$faint" if credit.is_old else badge.style),
            ).truncate(width, ellipsis=True)
        )
    if silent:
        names = ", ".join(title(name) for name in silent)
        wrapped = styled(f"{names}: no balance told", "$faint").wrap(max(20, width - 4))
        lines += [join("   ", line) for line in wrapped]
    if not lines:
        lines.append(styled("   No account that can be used tells its balance.", "$muted"))
    return Content("\n").join(lines)


def balances_title(width: int, is_asking: bool) -> Content:
    return rule(join(("Balances", "bold")), width, right_title=styled("asking …", "$muted") if is_asking else "")


def columns(title: Title, now_ms: Ms) -> list[Column[UsageRow]]:
    """Return the columns of the list of jobs."""
    return [
        Column("job", 18, 0, lambda row: (row.job.name, ""), grows=True),
        Column("state", 13, 4, _state),
        Column("provider", 12, 2, lambda row: (title(row.provider), "")),
        Column("GPU", 17, 3, lambda row: (_gpu(row), "$muted")),
        Column("hours", 11, 1, lambda row: (_hours(row, now_ms), "$muted"), is_right=True),
        Column("compute", 12, 5, lambda row: (_compute(row), "$muted"), is_right=True),
        Column("traffic", 11, 6, _traffic, is_right=True),
        Column("total", 12, 0, lambda row: (money.amount(row.cost.micro_usd, places=4), "bold"), is_right=True),
        Column("±", 10, 7, _unsure, is_right=True),
    ]


def _state(row: UsageRow) -> tuple[str, str]:
    badge = job_badge(row.job)
    return f"{badge.glyph} {badge.word}", badge.style


def _gpu(row: UsageRow) -> str:
    count = row.job.spec.gpu_count
    return row.gpu if count == 1 else f"{count}×{row.gpu}"


def _hours(row: UsageRow, now_ms: Ms) -> str:
    return f"{((row.billed_to_ms or now_ms) - row.billed_from_ms) / HOUR_MS:,.2f}"


def _compute(row: UsageRow) -> str:
    return money.amount(row.cost.micro_usd - row.traffic.micro_usd, places=4)


def _traffic(row: UsageRow) -> tuple[str, str]:
    cost = row.traffic.micro_usd
    return (money.amount(cost, places=4), "$muted") if cost else ("–", "$faint")


def _unsure(row: UsageRow) -> tuple[str, str]:
    unsure = row.cost.uncertainty_micro_usd
    return (money.amount(unsure, places=4).removeprefix("$"), "$muted") if unsure else ("exact", "$faint")
