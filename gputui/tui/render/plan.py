"""The router's plan and the review of a job before it is submitted, for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.guards import ARMED, guard_of
from gputui.core.metering import billed_seconds
from gputui.core.routing import CONSTRAINTS, Plan, Quote, Rejection
from gputui.model.types import JobKind, JobSpec, Offer, Priority, Volume
from gputui.model.units import MicroUsd, Ms, cost_of_seconds, format_age, micro_to_usd, span
from gputui.model.vitals import Vitals
from gputui.providers.registry import ProviderInfo
from gputui.tui.render import money
from gputui.tui.render.states import stock_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, styled

Info = Callable[[str], ProviderInfo]

DAY_S = 86_400


def candidates(plan: Plan, info: Info, width: int, rows: int) -> Content:
    """Return the candidates in the order they will be tried, then those that lost and why; `rows` lines at most."""
    losers = [
        *(_loser(plain(info(name).title), plain(why), "", width) for name, why in plan.unavailable.items()),
        *_losers(plan.rejections, info, width),
    ]
    second = styled(why_second(plan, info), "$muted").wrap(max(20, width - 5)) if len(plan.quotes) > 1 else []
    room = max(4, rows - 2 - len(second))
    kept = max(1, room - min(len(losers) + 1, room // 2))
    quotes = plan.quotes[:kept]
    lines = []
    if quotes:
        columns = _columns(quotes, info, width)
        lines.append(_quote_header(columns))
        lines += [_quote(position, quote, info, columns) for position, quote in enumerate(quotes, start=1)]
    if len(plan.quotes) > kept:
        lines.append(styled(f"     {len(plan.quotes) - kept} more that fit", "$faint"))
    lines += [Content.assemble("     ", line) for line in second]
    if losers:
        room = max(1, rows - len(lines) - 1)
        told = losers if len(losers) <= room else losers[: max(1, room - 1)]
        lines += [*([Content("")] if lines else []), *told]
        if rest := len(losers) - len(told):
            lines.append(styled(f"     {rest} more reason{'s' if rest != 1 else ''}", "$faint"))
    return Content("\n").join(lines)


def why_second(plan: Plan, info: Info) -> str:
    """Return why the second candidate is not the first: what it costs more, or what else the first is better at."""
    best, second = plan.quotes[:2]
    priority = plan.spec.priority
    if priority is Priority.SPEED:
        if best.offer.gpu != second.offer.gpu:
            return f"1 comes first: its {plain(best.offer.gpu)} is the faster GPU"
        boots_s = [info(quote.offer.provider).typical_boot_s for quote in (best, second)]
        if boots_s[0] < boots_s[1]:
            return f"2 starts about {span(boots_s[1] - boots_s[0])} later than 1"
    if priority is Priority.AVAILABILITY:
        stocks = [stock_badge(quote.offer.stock).word for quote in (best, second)]
        if stocks[0] != stocks[1]:
            return f"2 is {stocks[1]}, 1 is {stocks[0]}"
        if (best.offer.reliability or 0) > (second.offer.reliability or 0):
            return f"2 is less reliable: {_share(second.offer)}, 1 {_share(best.offer)}"
    dearer = second.total_micro_usd - best.total_micro_usd
    if dearer <= 0:
        return "2 costs the same as 1"
    listed = second.offer.price_micro_usd_per_hour - best.offer.price_micro_usd_per_hour
    added = second.effective_micro_usd_per_hour - best.effective_micro_usd_per_hour - listed
    whys = [
        f"its list price is {money.rate(abs(listed))} {'higher' if listed > 0 else 'lower'}" if listed else "",
        f"its start and minimum add {money.amount(added)}/h" if added >= 5_000 else "",
    ]
    return f"2 is {money.amount(dearer)} dearer for {span(plan.spec.expected_s)}: " + ", ".join(filter(None, whys))


def _share(offer: Offer) -> str:
    return f"{offer.reliability:.1%}" if offer.reliability is not None else "unknown"


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
    """Return one line per provider and reason: fifty sold-out regions are one fact, not fifty.

    Those that nearly fit come first; of other providers than the one wanted, and of other sizes, one line says how many.
    """
    nearest_first = sorted(rejections, key=lambda rejection: -_ORDER[rejection.constraint])
    groups: dict[tuple[str, str], int] = {}
    too_dear: dict[str, list[Rejection]] = {}
    for rejection in nearest_first:
        if rejection.constraint == "price":
            too_dear.setdefault(rejection.offer.provider, []).append(rejection)
        elif rejection.constraint not in _SUMMED:
            key = (rejection.offer.provider, rejection.reason)
            groups[key] = groups.get(key, 0) + 1
    lines = [
        _loser(plain(info(provider).title), _over_cap(dear), f"  {_offers(len(dear))}" if len(dear) > 1 else "", width)
        for provider, dear in too_dear.items()
    ]
    lines += [
        _loser(plain(info(provider).title), plain(reason), f"  {count} offers" if count > 1 else "", width)
        for (provider, reason), count in groups.items()
    ]
    elsewhere = [rejection for rejection in rejections if rejection.constraint == "provider"]
    if elsewhere:
        names = ", ".join(sorted({plain(info(rejection.offer.provider).title) for rejection in elsewhere}))
        only = plain(info(elsewhere[0].want).title)
        lines.append(_loser("elsewhere", f"only {only} allowed: {names}", f"  {_offers(len(elsewhere))}", width))
    sizes = [rejection for rejection in rejections if rejection.constraint == "gpu-count"]
    if sizes:
        counts = ", ".join(str(count) for count in sorted({rejection.offer.gpu_count for rejection in sizes}))
        lines.append(
            _loser("other sizes", f"{sizes[0].want} asked for: {counts} GPUs", f"  {_offers(len(sizes))}", width)
        )
    return lines


def _over_cap(dear: Sequence[Rejection]) -> str:
    """Return by how much one provider's offers are too dear, the cheapest being the first of them."""
    price, cap = dear[0].offer.price_micro_usd_per_hour, money.rate(dear[0].spec.max_price_micro_usd_per_hour)
    shown = money.rate(price) if money.rate(price) != cap else f"${micro_to_usd(price)}/h"
    return f"over your cap of {cap}: {'from ' if len(dear) > 1 else ''}{shown}"


_ORDER = {name: place for place, name in enumerate(CONSTRAINTS)}
_SUMMED = ("provider", "gpu-count")


def _offers(count: int) -> str:
    return f"{count} offer{'s' if count != 1 else ''}"


def _loser(title: str, why: str, count: str, width: int) -> Content:
    head = join(("   ✕ ", "$faint"), (left(title, 12), "$muted"))
    if head.cell_length + len(why) + len(count) > width:
        count = ""
    return join(head, (cut(why, width - head.cell_length - len(count)), "$muted"), (count, "$faint"))


def steps(titles: Sequence[str], width: int, *, here: int, wrong: Collection[int], note: str) -> Content:
    """Return the line of steps; the present one stands out, and those with a mistake are crossed."""
    parts: list[Content | tuple[str, str] | str] = []
    for place, name in enumerate(titles):
        style = "$state-failed" if place in wrong else "$accent" if place == here else "$muted"
        mark = "✕" if place in wrong else str(place + 1)
        parts += [(" › ", "$faint")] if place else []
        parts += [(f"{mark} {name}", f"{style} bold" if place == here else style)]
    line = join(*parts)
    right_title = styled(note, "$faint") if line.cell_length + len(note) + 12 <= width else ""
    return rule(line, width, right_title=right_title)


def title(text: str, width: int, right_title: Content | str) -> Content:
    """Return the line over a part of the page."""
    return rule(join((text, "bold")), width, right_title=right_title)


def worst_case(spec: JobSpec, offer: Offer, info: ProviderInfo) -> MicroUsd | None:
    """Return the most a run on this offer can cost, None when nothing limits its duration."""
    if spec.max_duration_s is None:
        return None
    billed_s = billed_seconds(
        (spec.max_duration_s + info.typical_boot_s) * 1000,
        granularity_s=info.billing.granularity_s,
        minimum_s=info.billing.minimum_s,
        round_up=True,
    )
    return cost_of_seconds(offer.price_micro_usd_per_hour, billed_s)


def bill(plan: Plan, spec: JobSpec, info: Info, width: int) -> Content:
    """Return what the best candidate costs: its rate, the run as it is expected, and the most it can come to."""
    best = plan.require_quote()
    worst = worst_case(spec, best.offer, info(best.offer.provider))
    expected = join(
        (money.rate(best.offer.price_micro_usd_per_hour), "bold"),
        (f"   about {money.amount(best.total_micro_usd)} for {span(spec.expected_s)}", "$muted"),
    )
    if worst is not None:
        most = join((money.amount(worst), "bold"), (f" at most, for {span(spec.max_duration_s)}", "$muted"))
    else:
        day = money.amount(cost_of_seconds(best.offer.price_micro_usd_per_hour, DAY_S))
        most = join(("no limit", "$state-waiting bold"), (f": {day} for every day it runs", "$state-waiting"))
    return Content("\n").join([rule("", width), *(line.truncate(width, ellipsis=True) for line in (expected, most))])


def review(
    spec: JobSpec, plan: Plan, info: Info, *, now_ms: Ms, max_age_s: float, width: int, attempts: int, gap: int
) -> Content:
    """Return the whole review: what is created, where, what it costs, what guards it, what happens when it cannot be had.

    `attempts` is how many offers are tried, `max_age_s` the age from which prices are old, `gap` the number of line breaks
    between its parts.
    """
    quote = plan.require_quote()
    provider = info(quote.offer.provider)
    blocks = [
        _block("What", _what(spec, plan.volumes), width),
        _block("Where", _where(quote, spec, provider), width),
        _block("Cost", _cost(spec, plan, info, now_ms=now_ms, max_age_s=max_age_s, attempts=attempts), width),
        _block("Guards", _guards(spec, provider), width),
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


def _what(spec: JobSpec, volumes: Sequence[Volume]) -> list[tuple[str, Content]]:
    if spec.kind is JobKind.MACHINE:
        rows = [("kind", Content("a machine to log in to; it runs until you stop it"))]
    else:
        rows = [("command", Content(plain(spec.command)))]
    rows.append(("image", Content(plain(spec.image, unknown="none: it runs on the machine itself"))))
    if spec.env:
        rows.append(("env", join(", ".join(plain(name) for name in spec.env), ("   values not shown", "$faint"))))
    if spec.name:
        rows.append(("name", Content(plain(spec.name))))
    rows += [
        (
            "volume",
            join(plain(volume.name), (f"   at {plain(volume.mount_path, unknown='a path of its own')}", "$muted")),
        )
        for volume in volumes
    ]
    return rows


def _where(quote: Quote, spec: JobSpec, info: ProviderInfo) -> list[tuple[str, Content]]:
    offer = quote.offer
    machine = f"{offer.gpu_count} × {plain(offer.gpu)}"
    disk_gib = spec.disk_gib or offer.disk_gib
    hardware = [
        f"{offer.vcpus} vCPU" if offer.vcpus else "",
        f"{offer.ram_gib} GiB RAM" if offer.ram_gib else "",
        f"{disk_gib} GiB disk" if disk_gib else "",
    ]
    region, tier = plain(offer.region, unknown="any region"), offer.tier.value
    rows = [
        ("provider", join((plain(info.title), "bold"), f"   {region}", (f"   {tier}", "$muted"))),
        ("machine", join(machine, ("   " + "  ".join(filter(None, hardware)), "$muted"))),
    ]
    if spec.os_image:
        rows.append(("OS image", Content(plain(spec.os_image))))
    rows.append(("starts", Content(f"in about {span(info.typical_boot_s)}")))
    return rows


def _cost(
    spec: JobSpec, plan: Plan, info: Info, *, now_ms: Ms, max_age_s: float, attempts: int
) -> list[tuple[str, Content]]:
    quote = plan.require_quote()
    provider = info(quote.offer.provider)
    rate = quote.offer.price_micro_usd_per_hour
    effective = f"   {money.rate(quote.effective_micro_usd_per_hour)} effective for {span(spec.expected_s)}"
    age_ms = now_ms - quote.offer.fetched_at_ms
    age_style = "$state-waiting" if age_ms > max_age_s * 1000 else "$muted"
    rows = [
        (
            "rate",
            join(
                (money.rate(rate), "bold"), (effective, "$muted"), (f"   fetched {format_age(age_ms)} ago", age_style)
            ),
        )
    ]
    if provider.billing.minimum_s:
        least = money.amount(cost_of_seconds(rate, provider.billing.minimum_s))
        minimum = span(provider.billing.minimum_s)
        rows.append(("at least", Content(f"{least}: {provider.title} bills {minimum} or more")))
    rows.append(("at most", _at_most(spec, plan.quotes[:attempts], info)))
    rows.append(
        ("afterwards", Content("nothing: the machine is deleted, and billed until the provider takes the deletion"))
    )
    rows += [("", _volume_goes_on(volume)) for volume in plan.volumes]
    return rows


def _at_most(spec: JobSpec, tried: Sequence[Quote], info: Info) -> Content:
    """Return the most it can cost, with what the dearest of the others that may be tried would come to."""
    best = tried[0].offer
    worst = worst_case(spec, best, info(best.provider))
    if worst is None:
        dearest = max(quote.offer.price_micro_usd_per_hour for quote in tried)
        day, at_worst = (
            money.amount(cost_of_seconds(rate, DAY_S)) for rate in (best.price_micro_usd_per_hour, dearest)
        )
        others = f", up to {at_worst} on the others that may be tried" if at_worst != day else ""
        return join(
            ("no limit set", "$state-waiting bold"),
            (f": it costs {day} a day until it is stopped{others}", "$state-waiting"),
        )
    of_all = max(worst_case(spec, quote.offer, info(quote.offer.provider)) or 0 for quote in tried)
    others = f"; {money.amount(of_all)} on the dearest of those that may be tried" if of_all > worst else ""
    boot = f" and a start of {span(info(best.provider).typical_boot_s)}"
    return join((money.amount(worst), "bold"), (f" for {span(spec.max_duration_s)}{boot}{others}", "$muted"))


def _volume_goes_on(volume: Volume) -> Content:
    price = volume.price_micro_usd_per_month
    cost = f"{money.amount(price)} a month" if price is not None else "a price its provider does not tell"
    return join((f"the volume {plain(volume.name)} goes on costing {cost}, as it does now", "$state-waiting"))


def _guards(spec: JobSpec, info: ProviderInfo) -> list[tuple[str, Content]]:
    """Return what keeps the job from costing more; what is known of the machine's own guard before there is one."""
    cap = spec.max_price_micro_usd_per_hour
    none = styled("none set", "$state-waiting")
    rows = [
        ("duration", Content(f"stopped after {span(spec.max_duration_s)}") if spec.max_duration_s else none),
        ("price cap", Content(f"{money.rate(cap)}; a dearer machine is ended at once") if cap else none),
    ]
    if spec.idle_stop_s:
        threshold = spec.idle_threshold_percent
        idle = f"stopped once every GPU was used less than {threshold} % for {span(spec.idle_stop_s)}"
        rows.append(("idle", Content(idle)))
    rows.append(("watched by", Content("the agent, also when this window is closed")))
    # What the machine itself will say of its guard is not known yet; this is the best it can say.
    guard = guard_of(spec, info.name, Vitals("", 0, guard=ARMED))
    if guard is None or guard.why is None:
        rows.append(
            (
                "by itself",
                join(("armed", "$state-running"), (": the machine deletes itself once nobody watches it", "$muted")),
            )
        )
    else:
        rows.append(("by itself", join(("agent only", "$state-waiting"), (f": {plain(guard.why)}", "$muted"))))
    return rows


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
