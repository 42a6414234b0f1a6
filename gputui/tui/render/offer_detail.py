"""Everything known of one offer: what it costs, what it is, where that is known from, and what the router thinks of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.routing import Plan, ProviderFacts, Quote, quote
from gputui.model.types import JobSpec, Offer
from gputui.model.units import HOUR_S, Ms, format_age, span
from gputui.providers.registry import ProviderInfo
from gputui.tui.render import money
from gputui.tui.render.states import stock_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, styled

_LABEL = 13
_SPANS_S = (24 * HOUR_S, 7 * 24 * HOUR_S)
_NATIVE_SHOWN = 40

Title = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Detail:
    """What is told of an offer. `plan` ranks every offer of its GPU for a machine like it; `source` says by whose key."""

    quote: Quote
    info: ProviderInfo
    title: str
    plan: Plan
    expected_s: int
    is_stale: bool
    source: str


def detail(shown: Detail, width: int, *, now_ms: Ms, title: Title) -> Content:
    """Return the pane's lines for a width."""
    offer = shown.quote.offer
    age = f"fetched {format_age(now_ms - offer.fetched_at_ms)} ago"
    what = f"{offer.gpu_count} × {plain(offer.gpu[:200])}"
    head = join(
        (cut(what, max(8, width - 6 - len(shown.title) - 4)), "bold"), (" at ", "$muted"), (shown.title, "bold")
    )
    wanted = f"{offer.gpu_count} × {plain(offer.gpu[:200])}, by cost"
    lines = [
        rule(head, width),
        *_price(shown),
        _heading("The router", width, styled(wanted, "$muted")),
        *_verdict(shown, title),
        _heading("The machine", width, _faint(age, shown)),
        *_machine(shown),
        _heading("In the provider's words", width),
        *_native(offer),
    ]
    return Content("\n").join(line.truncate(max(1, width), ellipsis=True) for line in lines)


def _heading(text: str, width: int, right_title: Content | str = "") -> Content:
    return rule(join((text, "bold")), width, right_title=right_title)


def _faint(age: str, shown: Detail) -> Content:
    text = f"{age}, {shown.source}" if shown.source else age
    return styled(f"stale: {text}" if shown.is_stale else text, "$state-waiting" if shown.is_stale else "$muted")


def _line(label: str, value: Content | str, note: str = "") -> Content:
    return join(" ", (left(label, _LABEL), "$muted"), value, (f"   {note}" if note else "", "$faint"))


def _price(shown: Detail) -> Iterator[Content]:
    offer, info = shown.quote.offer, shown.info
    per_gpu = offer.price_micro_usd_per_hour // max(1, offer.gpu_count)
    each = f"{money.rate(per_gpu)} per GPU" if offer.gpu_count > 1 else ""
    yield _line("list", join((money.rate(offer.price_micro_usd_per_hour), "bold")), each)
    effective = join((money.rate(shown.quote.effective_micro_usd_per_hour), "$best bold"))
    yield _line("effective", effective, f"for {span(shown.expected_s)} of work")
    yield _line("starts", f"in about {span(info.typical_boot_s)}", "an estimate")
    bills = f"per {span(info.billing.granularity_s)}".replace("per 1 s", "per second").replace(
        "per 1 min", "per minute"
    )
    least = f", {span(info.billing.minimum_s)} at least" if info.billing.minimum_s else ""
    yield _line("billed", bills + least)
    yield _line("says", styled(plain(info.billing.source), "$faint"))
    costs = [(span(seconds), money.amount(_total(shown, seconds))) for seconds in _costed(shown.expected_s)]
    widths = [max(len(name), len(cost)) + 2 for name, cost in costs]
    yield _line(
        "work of", join(*((right(name, size), "$muted") for (name, _), size in zip(costs, widths, strict=True)))
    )
    yield _line(
        "costs",
        join(
            *(
                (right(cost, size), "bold" if seconds == shown.expected_s else "")
                for (_, cost), size, seconds in zip(costs, widths, _costed(shown.expected_s), strict=True)
            )
        ),
    )


def _costed(expected_s: int) -> list[int]:
    """Return the spans a cost is told for: the expected one and the usual ones."""
    return sorted({expected_s, *_SPANS_S})


def _total(shown: Detail, seconds: int) -> int:
    facts = _facts(shown)
    return quote(shown.quote.offer, JobSpec(gpu=shown.quote.offer.gpu, expected_s=seconds), facts).total_micro_usd


def _facts(shown: Detail) -> ProviderFacts:
    return ProviderFacts(shown.info.title, shown.info.billing, shown.info.typical_boot_s)


def _machine(shown: Detail) -> Iterator[Content]:
    offer = shown.quote.offer
    badge = stock_badge(offer.stock)
    yield _line("GPU memory", _known(offer.vram_gib, "GiB"), "each" if offer.gpu_count > 1 else "")
    yield _line("vCPU", _known(offer.vcpus))
    yield _line("RAM", _known(offer.ram_gib, "GiB"))
    yield _line("disk", _known(offer.disk_gib, "GiB"))
    yield _line("region", _said(offer.region))
    yield _line("tier", offer.tier.value)
    yield _line("stock", join((f"{badge.glyph} {badge.word}", badge.style)))
    reliability = None if offer.reliability is None else f"{offer.reliability * 100:.1f} %"
    yield _line("reliability", _said(reliability))
    yield _line("id", plain(offer.id[:500]))


def _known(number: int | None, unit: str = "") -> Content:
    return _said(None if number is None else f"{number:,} {unit}".strip())


def _said(text: str | None) -> Content:
    return styled("not told", "$faint") if text is None else Content(plain(text[:500]))


def _verdict(shown: Detail, title: Title) -> Iterator[Content]:
    """Yield whether the router would take this offer for a machine like it, and which ones it would try first."""
    offer, plan = shown.quote.offer, shown.plan
    place = next((place for place, found in enumerate(plan.quotes) if found.offer.id == offer.id), None)
    if place is None:
        lost = next((loser.reason for loser in plan.rejections if loser.offer.id == offer.id), "it is gone")
        yield join((" ✕ ", "$state-failed"), f"would not take it: {plain(lost)}")
        others, word = plan.quotes[:3], "instead"
    else:
        said = "would take it first" if place == 0 else f"would try it as number {place + 1:,}"
        mark = (" ✓ ", "$state-running") if place == 0 else (" · ", "$muted")
        yield join(mark, f"{said} of {len(plan.quotes):,}")
        others, word = plan.quotes[: min(place, 3)], "before it"
    for other in others:
        yield _line(word, _named(other, title))


def _named(found: Quote, title: Title) -> Content:
    where = f"{plain(title(found.offer.provider))} {plain((found.offer.region or '')[:100])}".strip()
    return join((money.rate(found.effective_micro_usd_per_hour), ""), (f"  {where}", "$muted"))


def _native(offer: Offer) -> Sequence[Content]:
    if not offer.native:
        return [styled(" nothing more", "$faint")]
    lines = [
        join(" ", (left(plain(name[:60]), 20), "$muted"), " ", _said(_as_text(value)))
        for name, value in list(offer.native.items())[:_NATIVE_SHOWN]
    ]
    more = len(offer.native) - len(lines)
    return [*lines, styled(f" {more} more", "$faint")] if more > 0 else lines


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
