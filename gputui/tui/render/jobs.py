"""Jobs for people: the rows of the list, the detail of one, its timeline and its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from textual.content import Content

from gputui.core.reports import JobReport
from gputui.model.states import JobStatus
from gputui.model.types import Event, JobKind
from gputui.model.units import Ms, cost_of_seconds, format_age, format_duration
from gputui.tui.render import money
from gputui.tui.render.states import job_badge, status_badge
from gputui.tui.render.text import cut, join, left, plain, right, span, spread, styled

Title = Callable[[str], str]


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
        (f"   {job.id[-8:]}", "$faint"),
    )
    lines = [spread(head, _spent(report, now_ms), width)]
    rate = money.rate(report.rate_micro_usd_per_hour) if report.placement else None
    lines.append(_pair("where", _where(report, title), "rate", rate, width))
    image = plain(spec.image, unknown="no image: the machine itself")
    lines.append(_pair("image", image, "limit", _limit(report, now_ms), width))
    is_batch = spec.kind is JobKind.BATCH
    command = plain(spec.command) if is_batch else "none: a machine to log in to"
    phase = plain(job.phase) if job.phase != badge.word and not job.status.is_final else None
    lines.append(_pair("command", command, "phase", phase, width))
    if job.error:
        lines += [
            join((f"{'':9}", ""), part)
            for part in styled(plain(job.error), "$state-failed").fold(max(20, width - 9))[:2]
        ]
    lines.append(timeline(events, now_ms=now_ms, width=width, is_over=job.status.is_final))
    return Content("\n").join(lines)


def can_log_in(report: JobReport) -> bool:
    """True when a job has a live machine whose host key is known, so that a login can be trusted."""
    placement = report.placement
    return placement is not None and placement.host_key is not None and not placement.state.is_final


def _spent(report: JobReport, now_ms: Ms) -> Content:
    job = report.job
    if not report.intervals:
        return styled("nothing spent", "$faint")
    worst = _worst(report)
    of = f" of {money.amount(worst)} at most" if worst is not None and not job.status.is_final else ""
    return join((_cost(report), "bold"), (money.uncertainty(job.cost_uncertainty_micro_usd) + of, "$muted"))


def _worst(report: JobReport) -> int | None:
    rate, limit_s = report.rate_micro_usd_per_hour, report.job.spec.max_duration_s
    if rate is None or limit_s is None:
        return None
    return max(cost_of_seconds(rate, limit_s), report.job.cost_micro_usd)


def _where(report: JobReport, title: Title) -> str:
    placement = report.placement
    if placement is None:
        so_far = "never placed" if report.job.status.is_final else "not placed yet"
        return f"{report.job.spec.gpu_count} × {plain(report.job.spec.gpu)}, {so_far}"
    offer = placement.offer
    region = f" {plain(offer.region)}" if offer.region else ""
    return f"{plain(title(placement.provider))}{region} · {offer.gpu_count} × {plain(offer.gpu)}"


def _limit(report: JobReport, now_ms: Ms) -> str:
    limit_s = report.job.spec.max_duration_s
    if limit_s is None:
        return "none"
    ran_s = elapsed_s(report, now_ms)
    if report.job.status.is_final or ran_s is None:
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


def event_lines(events: Sequence[Event], width: int) -> Content:
    """Return every event of a job, oldest first, one per line."""
    lines = []
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
    return Content("\n").join(lines) if lines else styled("Nothing has happened yet.", "$muted")
