"""Jobs for people: the rows of the list, the detail of one, its timeline and its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from textual.content import Content

from gputui.core.guards import ARMED, guard_of, idle_guard_of
from gputui.core.reports import JobReport
from gputui.model.states import JobStatus
from gputui.model.types import Event, JobKind
from gputui.model.units import Ms, format_age, format_duration, span
from gputui.providers.registry import PROVIDERS
from gputui.tui.render import money
from gputui.tui.render.states import job_badge, status_badge
from gputui.tui.render.text import cut, join, left, plain, right, rule, spread, styled

Title = Callable[[str], str]

_GPU_OLD_MS = 60_000


def elapsed_s(report: JobReport, now_ms: Ms) -> float | None:
    """Return how long the workload has run or ran, None when it never did."""
    job = report.job
    if job.started_at_ms is None:
        return None
    return ((job.ended_at_ms or now_ms) - job.started_at_ms) / 1000


def row(report: JobReport, *, now_ms: Ms, width: int, here: bool, title: Title) -> list[Content]:
    """Return a job's two lines for the list beside its detail."""
    badge = job_badge(report.job)
    mark = ("▌", "$accent") if here else (" ", "")
    head = join(mark, (f"{badge.glyph} ", badge.style), (plain(report.job.name), "bold" if here else ""))
    cost = styled(_cost(report) + " ", "" if report.job.cost_micro_usd else "$faint")
    took = _took(report, now_ms)
    under = join(mark, "  ", (badge.word, badge.style), (f" · {_place(report, title)}", "$muted"))
    return [spread(head, cost, width), spread(under, styled(f"{took} ", "$muted"), width)]


def wide_row(report: JobReport, *, now_ms: Ms, width: int, here: bool, title: Title) -> list[Content]:
    """Return a job's one line for the list above its detail."""
    badge = job_badge(report.job)
    name_width = max(12, width - 60)
    return [
        join(
            ("▌" if here else " ", "$accent"),
            (f"{badge.glyph} ", badge.style),
            (left(plain(report.job.name), name_width), "bold" if here else ""),
            " ",
            (left(badge.word, 10), badge.style),
            (left(_place(report, title), 25), "$muted"),
            (right(_took(report, now_ms), 10), "$muted"),
            (right(_cost(report), 10), "" if report.job.cost_micro_usd else "$faint"),
            " ",
        )
    ]


def _place(report: JobReport, title: Title) -> str:
    spec = report.job.spec
    gpu = plain(report.placement.offer.gpu if report.placement else spec.gpu)
    count = f"{spec.gpu_count}×" if spec.gpu_count > 1 else ""
    where = f" · {plain(title(report.placement.provider))}" if report.placement else ""
    return f"{count}{gpu}{where}"


def _cost(report: JobReport) -> str:
    return money.spent(report.job.cost_micro_usd) if report.intervals else "–"


def _took(report: JobReport, now_ms: Ms) -> str:
    job = report.job
    ran_s = elapsed_s(report, now_ms)
    if ran_s is not None:
        return format_duration(ran_s)
    return "" if job.status.is_final else format_age(now_ms - job.created_at_ms)


def detail(report: JobReport, events: Sequence[Event], *, now_ms: Ms, width: int, title: Title) -> Content:
    """Return the pane over the log: what it is, where it is, what it costs, and how it came to be so."""
    job, spec = report.job, report.job.spec
    badge = job_badge(job)
    head = join(
        (f"{badge.glyph} {badge.word}", f"{badge.style} bold"),
        "   ",
        (plain(job.name), "bold"),
        *_guard_word(report),
    )
    spent = _spent(report, now_ms)
    ident = styled(f"   {job.id[-8:]}", "$faint")
    if head.cell_length + ident.cell_length + 2 + spent.cell_length <= width:
        head = join(head, ident)
    lines = [spread(head, spent, width)]
    lines.append(_pair("where", _where(report, title), "rate", _rate(report, now_ms), width))
    image = plain(spec.image, unknown="no image: the machine itself")
    lines.append(_pair("image", image, "limit", _limit(report, now_ms), width))
    is_batch = spec.kind is JobKind.BATCH
    command = plain(spec.command) if is_batch else "none: a machine to log in to"
    phase = plain(job.phase) if job.phase != badge.word and not job.status.is_final else None
    lines.append(_pair("command", command, "phase", phase, width))
    if (use := _gpu_use(report, now_ms)) is not None:
        lines.append(_pair("gpu", use, "idle stop", _idle_stop(report), width))
    if job.error:
        lines += [
            join((f"{'':9}", ""), part)
            for part in styled(plain(job.error), "$state-failed").fold(max(20, width - 9))[:2]
        ]
    lines.append(timeline(events, now_ms=now_ms, width=width, is_over=job.status.is_final))
    return Content("\n").join(lines)


def _guard_word(report: JobReport) -> list[tuple[str, str]]:
    """Return who ends the machine of a live job where nobody watches, and loudly that its idle stop cannot work."""
    job, placement = report.job, report.placement
    if placement is None or job.status.is_final:
        return []
    guard = guard_of(job.spec, placement.provider, report.vitals)
    idle = idle_guard_of(job.spec, report.vitals)
    words = [(f"   {guard.word}", "$state-running" if guard.word == ARMED else "$muted")] if guard else []
    if idle is not None and idle.problem is not None:
        words.append(("   no idle stop", "$state-failed bold"))
    return words


def _gpu_use(report: JobReport, now_ms: Ms) -> str | None:
    """Return what the busiest GPU of a live job does, with how old the figures are when they are; None when not known."""
    vitals = report.vitals
    if vitals is None or vitals.gpu_at_ms is None or report.job.status.is_final:
        return None
    figures = []
    if vitals.gpu_percent is not None:
        figures.append(f"{vitals.gpu_percent:.0f} %".ljust(5))
    if vitals.gpu_used_mib is not None and vitals.gpu_total_mib is not None:
        figures.append(f"{vitals.gpu_used_mib / 1024:.1f} of {vitals.gpu_total_mib / 1024:.0f} GiB")
    if vitals.gpu_watts is not None:
        figures.append(f"{vitals.gpu_watts:.0f} W")
    age_ms = now_ms - vitals.gpu_at_ms
    if age_ms > _GPU_OLD_MS:
        figures.append(f"{format_age(age_ms)} ago")
    return "   ".join(figures) if figures else None


def _idle_stop(report: JobReport) -> str | None:
    idle = idle_guard_of(report.job.spec, report.vitals)
    if idle is None:
        return None
    after = f"after {span(report.job.spec.idle_stop_s)}"
    return f"{after}, idle for {format_duration(idle.idle_s)}" if idle.idle_s else after


def why_no_login(report: JobReport) -> str | None:
    """Return why nobody can log in to a job's machine now, None when somebody can."""
    placement = report.placement
    if placement is None:
        return "The job has no machine." if report.job.status.is_final else "The job has no machine yet."
    if placement.state.is_final:
        return "The job's machine is gone."
    if placement.host_key is None:
        return "Nobody has reached the machine yet, so nothing proves that it is the right one. Try again in a moment."
    return None


def guards(report: JobReport, width: int) -> Content:
    """Return what keeps a job from costing more than was allowed, each with its reason."""
    spec, placement = report.job.spec, report.placement
    lines = []
    guard = guard_of(spec, placement.provider, report.vitals) if placement is not None else None
    if guard is not None:
        why = guard.why or "where nobody watches it, the machine ends itself"
        parts = styled(f"{guard.word}: {plain(why)}").wrap(max(20, width - 9))
        labels = ["guard", *[""] * (len(parts) - 1)]
        lines += [join((left(label, 9), "$muted"), part) for label, part in zip(labels, parts, strict=True)]
    limits = []
    if spec.max_duration_s is not None:
        limits.append(f"{span(spec.max_duration_s)} at most")
    if spec.max_price_micro_usd_per_hour is not None:
        limits.append(f"{money.rate(spec.max_price_micro_usd_per_hour)} at most")
    if spec.idle_stop_s is not None:
        idle = idle_guard_of(spec, report.vitals)
        problem = f", which cannot work: {plain(idle.problem)}" if idle is not None and idle.problem else ""
        limits.append(f"stop when idle for {span(spec.idle_stop_s)}{problem}")
    lines.append(_fact("limits", " · ".join(limits) or "none", width))
    return Content("\n").join(lines)


def _spent(report: JobReport, now_ms: Ms) -> Content:
    job = report.job
    if not report.intervals:
        return styled("nothing spent", "$faint")
    most = None if job.status.is_final else report.most_micro_usd(now_ms=now_ms)
    of = f" of {money.amount(most)} at most" if most is not None else ""
    return join((_cost(report), "bold"), (money.uncertainty(job.cost_uncertainty_micro_usd) + of, "$muted"))


def _where(report: JobReport, title: Title) -> str:
    placement = report.placement
    if placement is None:
        so_far = "never placed" if report.job.status.is_final else "not placed yet"
        return f"{report.job.spec.gpu_count} × {plain(report.job.spec.gpu)}, {so_far}"
    offer = placement.offer
    region = f" {plain(offer.region)}" if offer.region else ""
    return f"{plain(title(placement.provider))}{region} · {offer.gpu_count} × {plain(offer.gpu)}"


def _rate(report: JobReport, now_ms: Ms) -> str | None:
    """Return what its machine costs per hour, with the least that is billed for one while the job is shorter than that."""
    if report.placement is None:
        return None
    rate, info = money.rate(report.rate_micro_usd_per_hour), PROVIDERS.get(report.placement.provider)
    minimum_s = info.billing.minimum_s if info is not None else 0
    return f"{rate}, {span(minimum_s)} at least" if minimum_s > (elapsed_s(report, now_ms) or 0) else rate


def _limit(report: JobReport, now_ms: Ms) -> str:
    limit_s = report.job.spec.max_duration_s
    if limit_s is None:
        return "none"
    ran_s = elapsed_s(report, now_ms)
    if report.job.status.is_final or report.job.outcome is not None or ran_s is None:
        return span(limit_s)
    return f"{span(limit_s)}, {format_duration(max(0, limit_s - ran_s))} left"


def _fact(label: str, value: str, width: int) -> Content:
    return join((left(label, 9), "$muted"), cut(value, max(1, width - 9)))


def _pair(label: str, value: str, other: str, other_value: str | None, width: int) -> Content:
    """Return two facts side by side, the first one cut where there is not enough room; the other only when known."""
    if other_value is None:
        return _fact(label, value, width)
    second = join((f"{other}  ", "$muted"), other_value)
    room = max(8, width - 9 - second.cell_length - 2)
    return spread(join((left(label, 9), "$muted"), cut(value, room)), second, width)


def log_title(title: Content, facts: Sequence[Content], width: int) -> Content:
    """Return the rule over the log with as many facts as there is room for, the first ones before the others."""
    for count in range(len(facts), 0, -1):
        told = Content("  ").join(facts[:count])
        if title.cell_length + told.cell_length + 8 <= width:
            return rule(title, width, right_title=told)
    return rule(title, width)


def timeline(events: Sequence[Event], *, now_ms: Ms, width: int, is_over: bool) -> Content:
    """Return how a job came to be where it is, each stage with how long it took; the newest stages when it is long."""
    stages = _stages(events)
    parts: list[Content] = []
    for position, (word, style, at_ms) in enumerate(stages):
        is_last = position == len(stages) - 1
        if is_last and is_over:
            parts.append(join((word, style)))
            continue
        until_ms = now_ms if is_last else stages[position + 1][2]
        parts.append(join((word, style), (f" {format_duration((until_ms - at_ms) / 1000)}", "$muted")))
    arrow = styled(" › ", "$faint")
    shown = arrow.join(parts)
    while len(parts) > 1 and shown.cell_length > width:
        parts = parts[1:]
        shown = Content.assemble(styled("… › ", "$faint"), arrow.join(parts))
    return shown


def _stages(events: Sequence[Event]) -> list[tuple[str, str, Ms]]:
    """Return (word, style, since) for each move of the job, and for each offer that was refused on the way."""
    stages: list[tuple[str, str, Ms]] = []
    for event in events:
        if event.kind == "job" and event.state_to is not None:
            try:
                badge = status_badge(JobStatus(event.state_to))
            except ValueError:
                stages.append((plain(event.state_to), "$muted", event.at_ms))
            else:
                stages.append((badge.word, badge.style, event.at_ms))
        elif event.kind == "placement" and event.state_to in ("refused", "absent"):
            stages.append((plain(event.why), "$state-failed", event.at_ms))
        elif event.kind == "placement" and event.state_to == "terminating":
            stages.append(("ending machine", "$muted", event.at_ms))
    return stages


def event_lines(report: JobReport, events: Sequence[Event], width: int) -> Content:
    """Return a job's guards and limits, then every event of it, oldest first, one per line."""
    lines = [guards(report, width), Content("")]
    for event in events:
        moment = datetime.fromtimestamp(event.at_ms / 1000, tz=UTC).strftime("%m-%d %H:%M:%S")
        lines.append(
            join(
                (f"{moment}  ", "$muted"),
                (left(plain(event.kind), 11), "$faint"),
                (left(plain(event.state_to, unknown=""), 17), ""),
                cut(plain(event.why), max(10, width - 44)),
            )
        )
    if not events:
        lines.append(styled("Nothing has happened yet.", "$muted"))
    return Content("\n").join(lines)
