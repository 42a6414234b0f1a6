"""The router's plan and the review of a job before it is submitted, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.metering import billed_seconds
from gputui.core.routing import Plan, Quote, Rejection
from gputui.model.types import JobKind, JobSpec, Offer
from gputui.model.units import MicroUsd, Ms, cost_of_seconds, format_age
from gputui.providers.registry import ProviderInfo
from gputui.tui.render import money
from gputui.tui.render.states import stock_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, span, styled

Info = Callable[[str], ProviderInfo]


def candidates(plan: Plan, info: Info, width: int, rows: int) -> Content:
    """Return the candidates in the order they will be tried, then those that lost and why; `rows` lines at most."""
    losers = [
        *(_loser(plain(info(name).title), plain(why), "", width) for name, why in plan.unavailable.items()),
        *_losers(plan.rejections, info, width),
    ]
    room = max(4, rows - 2)
    kept = max(1, room - min(len(losers) + 1, room // 2))
    quotes = plan.quotes[:kept]
    lines = []
    if quotes:
        columns = _columns(quotes, info, width)
        lines.append(_quote_header(columns))
        lines += [_quote(position, quote, info, columns) for position, quote in enumerate(quotes, start=1)]
    if len(plan.quotes) > kept:
        lines.append(styled(f"     {len(plan.quotes) - kept} more that fit", "$faint"))
    if losers:
        room = max(1, rows - len(lines) - 2)
        lines += [Content(""), *losers[:room]]
        if len(losers) > room:
            lines.append(styled(f"     {len(losers) - room} more reasons", "$faint"))
    return Content("\n").join(lines)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths of the columns of candidates; 0 leaves one out. Price columns are never cut."""

    provider: int
    gpu: int
    region: int
    start: int


def _columns(quotes: Sequence[Quote], info: Info, width: int) -> _Columns:
    """Return what fits: the region gives way first, then the start."""
    prices = 15
    provider = max(10, *(len(info(quote.offer.provider).title) + 1 for quote in quotes))
    gpu = min(18, max(len(_gpu(quote.offer)) for quote in quotes)) + 1
    region = max(6, *(len(plain(quote.offer.region)) for quote in quotes)) + 1
    room = width - 5 - provider - gpu - prices
    start = 6 if room >= 6 else 0
    return _Columns(provider, gpu, min(region, room - start) if room - start >= 8 else 0, start)


def _quote_header(columns: _Columns) -> Content:
    names = left("provider", columns.provider) + left("GPU", columns.gpu) + left("region", columns.region)
    return styled(
        f"     {names}{right('list', 8)}{right('eff', 7)}{right('start', 6) if columns.start else ''}", "$faint"
    )


def _gpu(offer: Offer) -> str:
    return plain(offer.gpu) if offer.gpu_count == 1 else f"{offer.gpu_count}×{plain(offer.gpu)}"


def _quote(position: int, quote: Quote, info: Info, columns: _Columns) -> Content:
    offer = quote.offer
    best = position == 1
    badge = stock_badge(offer.stock)
    start = right(_short(info(offer.provider).typical_boot_s), columns.start) if columns.start else ""
    return join(
        (right(str(position), 2), "$accent bold" if best else "$muted"),
        (f" {badge.glyph} ", badge.style),
        (_cell(info(offer.provider).title, columns.provider), "bold" if best else ""),
        (_cell(_gpu(offer), columns.gpu), ""),
        (_cell(offer.region, columns.region), "$muted"),
        (right(money.price(offer.price_micro_usd_per_hour), 8), ""),
        (right(money.price(quote.effective_micro_usd_per_hour), 7), "$best bold" if best else "bold"),
        (start, "$muted"),
    )


def _cell(text: str | None, width: int) -> str:
    """Return text with at least one space behind it."""
    return left(cut(plain(text), width - 1), width) if width else ""


def _short(seconds: int) -> str:
    return f"{seconds}s" if seconds < 60 else f"{round(seconds / 60)}m"


def _losers(rejections: Sequence[Rejection], info: Info, width: int) -> list[Content]:
    """Return one line per provider and reason: fifty sold-out regions are one fact, not fifty."""
    groups: dict[tuple[str, str], int] = {}
    for rejection in rejections:
        key = (rejection.offer.provider, rejection.reason)
        groups[key] = groups.get(key, 0) + 1
    return [
        _loser(plain(info(provider).title), plain(reason), f"  {count} offers" if count > 1 else "", width)
        for (provider, reason), count in groups.items()
    ]


def _loser(title: str, why: str, count: str, width: int) -> Content:
    head = join(("   ✕ ", "$faint"), (left(title, 11), "$muted"))
    if head.cell_length + len(why) + len(count) > width:
        count = ""
    return join(head, (cut(why, width - head.cell_length - len(count)), "$muted"), (count, "$faint"))


def worst_case(spec: JobSpec, quote: Quote, info: ProviderInfo) -> MicroUsd | None:
    """Return the most a run on this offer can cost, None when nothing limits its duration."""
    if spec.max_duration_s is None:
        return None
    billed_s = billed_seconds(
        (spec.max_duration_s + info.typical_boot_s) * 1000,
        granularity_s=info.billing.granularity_s,
        minimum_s=info.billing.minimum_s,
        round_up=True,
    )
    return cost_of_seconds(quote.offer.price_micro_usd_per_hour, billed_s)


def bill(plan: Plan, spec: JobSpec, info: Info, width: int) -> Content:
    """Return the line under the candidates: the best one's rate and the most it can come to."""
    best = plan.require_quote()
    worst = worst_case(spec, best, info(best.offer.provider))
    rate = join((money.rate(best.offer.price_micro_usd_per_hour), "bold"), "   ")
    if worst is not None:
        limit = f" at most, for {span(spec.max_duration_s)}"
        text = join(rate, (money.amount(worst), "bold"), (limit, "$muted"))
    else:
        until = ": until it ends or is stopped" if width >= 52 else ""
        text = join(rate, ("no limit set", "$state-waiting bold"), (until, "$state-waiting"))
    return Content("\n").join([rule("", width), text.truncate(width, ellipsis=True)])


def review(spec: JobSpec, plan: Plan, info: Info, *, now_ms: Ms, width: int, attempts: int, gap: int) -> Content:
    """Return the whole review: what is created, where, what it costs, what guards it, what happens when it cannot be had.

    `gap` is the number of line breaks between its parts.
    """
    quote = plan.require_quote()
    provider = info(quote.offer.provider)
    blocks = [
        _block("What", _what(spec), width),
        _block("Where", _where(quote, provider), width),
        _block("Cost", _cost(spec, quote, provider, now_ms), width),
        _block("Guards", _guards(spec), width),
        _block("If it goes wrong", _otherwise(plan, info, attempts), width),
    ]
    return Content("\n" * gap).join(blocks)


def _block(title: str, rows: Sequence[tuple[str, Content]], width: int) -> Content:
    lines = [rule(join((title, "bold")), width)]
    for label, value in rows:
        head = styled(f"   {left(label, 13)}", "$muted")
        wrapped = value.wrap(max(20, width - 16)) or [Content("")]
        lines.append(Content.assemble(head, wrapped[0]))
        lines += [Content.assemble(" " * 16, line) for line in wrapped[1:]]
    return Content("\n").join(lines)


def _what(spec: JobSpec) -> list[tuple[str, Content]]:
    if spec.kind is JobKind.MACHINE:
        rows = [("kind", Content("a machine to log in to; it runs until you stop it"))]
    else:
        rows = [("command", Content(plain(spec.command)))]
    rows.append(("image", Content(plain(spec.image, unknown="none: it runs on the machine itself"))))
    if spec.env:
        rows.append(("env", join(", ".join(plain(name) for name in spec.env), ("   values not shown", "$faint"))))
    if spec.name:
        rows.append(("name", Content(plain(spec.name))))
    return rows


def _where(quote: Quote, info: ProviderInfo) -> list[tuple[str, Content]]:
    offer = quote.offer
    machine = f"{offer.gpu_count} × {plain(offer.gpu)}"
    hardware = [f"{offer.vcpus} vCPU" if offer.vcpus else "", f"{offer.ram_gib} GiB RAM" if offer.ram_gib else ""]
    return [
        ("provider", join((plain(info.title), "bold"), (f"   {plain(offer.region, unknown='any region')}", ""))),
        ("machine", join(machine, ("   " + "  ".join(filter(None, hardware)), "$muted"))),
        ("starts", Content(f"in about {span(info.typical_boot_s)}")),
    ]


def _cost(spec: JobSpec, quote: Quote, info: ProviderInfo, now_ms: Ms) -> list[tuple[str, Content]]:
    rate = quote.offer.price_micro_usd_per_hour
    effective = money.rate(quote.effective_micro_usd_per_hour)
    age = f"   fetched {format_age(now_ms - quote.offer.fetched_at_ms)} ago"
    rows = [("rate", join((money.rate(rate), "bold"), (f"   {effective} effective for an hour's work{age}", "$muted")))]
    if info.billing.minimum_s:
        least = cost_of_seconds(rate, info.billing.minimum_s)
        rows.append(
            (
                "at least",
                Content(f"{money.amount(least)}: {info.title} bills {span(info.billing.minimum_s)} or more"),
            )
        )
    worst = worst_case(spec, quote, info)
    if worst is None:
        day = money.amount(rate * 24)
        rows.append(
            (
                "at most",
                join(("no limit set", "$state-waiting bold"), (f": {day} for every day it runs", "$state-waiting")),
            )
        )
    else:
        boot = f" and a start of {span(info.typical_boot_s)}"
        rows.append(
            (
                "at most",
                join((money.amount(worst), "bold"), (f" for {span(spec.max_duration_s)}{boot}", "$muted")),
            )
        )
    rows.append(
        ("afterwards", Content("nothing: the machine is deleted, and billed until the provider takes the deletion"))
    )
    return rows


def _guards(spec: JobSpec) -> list[tuple[str, Content]]:
    cap = spec.max_price_micro_usd_per_hour
    limit = f"stopped after {span(spec.max_duration_s)}" if spec.max_duration_s else None
    return [
        ("duration", Content(limit) if limit else styled("none set", "$state-waiting")),
        (
            "price cap",
            Content(f"{money.rate(cap)}; a dearer machine is ended at once")
            if cap
            else styled("none set", "$state-waiting"),
        ),
        ("watched by", Content("the agent, also when this window is closed")),
    ]


def _otherwise(plan: Plan, info: Info, attempts: int) -> list[tuple[str, Content]]:
    others = plan.quotes[1:attempts]
    if others:
        named = ", ".join(
            f"{plain(info(quote.offer.provider).title)} {plain(quote.offer.region, unknown='')}".strip()
            + f" at {money.rate(quote.offer.price_micro_usd_per_hour)}"
            for quote in others[:3]
        )
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        rows = [("no capacity", Content(f"the next best is tried: {named}{more}"))]
    else:
        rows = [("no capacity", Content("the job fails; there is no other offer that fits"))]
    rows.append(("otherwise", Content("the job fails and costs nothing")))
    return rows
