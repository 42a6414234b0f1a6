"""`gputui jobs`: list, status, logs, events, stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import open_desk, open_guarded_desk, tell_alarms
from gputui.cli.exits import ExitCode
from gputui.cli.output import emit, json_option, require_yes, say, table, yes_option
from gputui.cli.table import Column
from gputui.model.errors import UsageError

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.reports import JobReport
    from gputui.model.types import Event

_STATUSES = ("queued", "provisioning", "running", "completed", "failed", "stopped")
STOP_DEADLINE_S = 600.0


@click.group()
def jobs() -> None:
    """What was submitted. JOB is an id, its beginning or end, or a name."""


@jobs.command("list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Only these; may be repeated.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, newest first."
)
@json_option
@click.pass_context
def list_jobs(ctx: click.Context, statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List jobs, newest first, with what each has cost so far."""
    from gputui.core.shapes import job_shape
    from gputui.model.states import JobStatus

    desk = open_guarded_desk(ctx)
    wanted = [JobStatus(status) for status in statuses] or None
    reports = desk.jobs(limit=limit, status=wanted)
    emit([job_shape(report) for report in reports], as_json=as_json, human=lambda: _table(desk, reports))
    if len(reports) == limit:
        say(f"The newest {limit}; there may be more, see --limit.")
    tell_alarms(desk)


@jobs.command()
@click.argument("job")
@json_option
@click.pass_context
def status(ctx: click.Context, job: str, as_json: bool) -> None:
    """Show one job."""
    from gputui.core.shapes import job_shape

    report = open_guarded_desk(ctx).job(job)
    emit(job_shape(report), as_json=as_json, human=lambda: _details(report))


@jobs.command()
@click.argument("job")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job is over.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@json_option
@click.pass_context
def logs(ctx: click.Context, job: str, follow: bool, tail: int | None, as_json: bool) -> None:
    """Print a job's log as it came; it stays here after the machine is gone."""
    from gputui.cli.follow import copy_log, tail_offset, tell_gaps

    if follow and as_json:
        raise UsageError("--follow streams the log to stdout, where --json would print.", hint="Choose one of the two.")
    desk = open_guarded_desk(ctx)
    report = desk.job(job)
    path = desk.log_path(report.job.id)
    offset = tail_offset(path, tail) if tail is not None else 0
    if as_json:
        emit(_log_shape(report.job.id, path, offset), as_json=True, human=str)
    elif follow:
        ctx.exit(_follow(desk, report.job.id, offset))
    else:
        if copy_log(path, offset, sys.stdout.buffer) == 0:
            say(f"The log is empty; the job is {report.job.status.value}.")
        tell_gaps(path)


@jobs.command()
@click.argument("job")
@json_option
@click.pass_context
def events(ctx: click.Context, job: str, as_json: bool) -> None:
    """Show a job's timeline: every move, and why."""
    from gputui.core.shapes import event_shape

    desk = open_guarded_desk(ctx)
    timeline = desk.events(desk.job(job).job.id)
    emit([event_shape(event) for event in timeline], as_json=as_json, human=lambda: _timeline(timeline))


@jobs.command()
@click.argument("job")
@click.option("--no-wait", is_flag=True, help="Do not wait until the machine is gone.")
@yes_option
@json_option
@click.pass_context
def stop(ctx: click.Context, job: str, no_wait: bool, yes: bool, as_json: bool) -> None:
    """Stop a job and wait for the proof that its machine is gone. Stopping one that is over changes nothing."""
    from gputui.core.shapes import job_shape

    desk = open_desk(ctx)
    found = desk.job(job).job
    if found.status.is_final:
        say(f"Job {found.name} is {found.status.value} already.")
    else:
        require_yes(f"Stop job {found.name} ({found.status.value}) and delete its machine?", yes=yes)
        desk.request_stop(found.id)
        if not no_wait:
            _wait_for_end(desk, found.id)
    report = desk.job(found.id)
    if no_wait and not report.job.status.is_final:
        say(f"The agent is stopping it. Watch: gputui jobs logs -f {found.name}")
    emit(job_shape(report), as_json=as_json, human=lambda: _details(report))


def _wait_for_end(desk: Desk, job_id: str) -> None:
    from gputui.cli.waiting import wait_until

    told = ""

    def is_over() -> bool:
        nonlocal told
        job = desk.job(job_id).job
        if job.phase != told and not job.status.is_final:
            told = job.phase
            say(f"· {job.status.value}: {told}")
        return job.status.is_final

    wait_until(
        desk,
        is_over,
        deadline_s=STOP_DEADLINE_S,
        otherwise="The job is not over yet; the agent goes on ending its machine.",
        hint=f"Watch: gputui jobs events {job_id}",
    )


def _follow(desk: Desk, job_id: str, offset: int) -> int:
    from gputui.cli.follow import follow_job, tell_end

    try:
        tell_end(follow_job(desk, job_id, offset=offset))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _log_shape(job_id: str, path: Path, offset: int) -> dict[str, Any]:
    from gputui.core.runner.logfile import iter_lines, read_marks
    from gputui.model.units import iso_utc

    gaps = [
        {"byte": mark.byte, "at": iso_utc(mark.at_ms), "why": mark.gap}
        for mark in read_marks(path)
        if mark.gap is not None
    ]
    return {"job_id": job_id, "lines": list(iter_lines(path, offset)), "gaps": gaps}


def _table(desk: Desk, reports: list[JobReport]) -> str:
    from gputui.core.shapes import job_shape
    from gputui.model.ids import short_id
    from gputui.model.units import format_age, format_usd

    columns = [
        Column("ID"),
        Column("NAME", shrinks=True),
        Column("STATUS"),
        Column("EXIT", right=True),
        Column("PROVIDER"),
        Column("GPU"),
        Column("$/H", right=True),
        Column("COST $", right=True),
        Column("AGE", right=True),
        Column("COMMAND", shrinks=True),
    ]
    rows = []
    for report in reports:
        job, shape = report.job, job_shape(report)
        rows.append(
            [
                short_id(job.id),
                job.name,
                job.status.value,
                "–" if job.exit_code is None else str(job.exit_code),
                shape["provider"] or "–",
                f"{shape['gpu_count']} × {shape['gpu']}",
                format_usd(report.rate_micro_usd_per_hour),
                format_usd(job.cost_micro_usd, places=4),
                format_age(desk.clock.now_ms() - job.created_at_ms),
                job.spec.command or "–",
            ]
        )
    return table(columns, rows, empty="No jobs yet. Submit one: gputui run --help")


def _details(report: JobReport) -> str:
    from gputui.cli.table import printable
    from gputui.core.shapes import job_shape

    shape = job_shape(report)
    machine, guard, gpu_use = shape.pop("machine") or {}, shape.pop("guard"), shape.pop("gpu_use")
    facts = {
        "name": report.job.name,
        **shape,
        "machine": machine.get("id"),
        "ssh": machine.get("ssh"),
        "guard": _guard(guard),
        "idle_stop": _idle_stop(guard["idle_stop"]),
        "gpu_use": _gpu_use(gpu_use),
    }
    return "\n".join(f"{name:<21} {printable(str(value))}" for name, value in facts.items() if value is not None)


def _guard(guard: dict[str, Any]) -> str | None:
    return f"{guard['state']}: {guard['why']}" if guard["why"] else guard["state"]


def _idle_stop(idle: dict[str, Any] | None) -> str | None:
    if idle is None:
        return None
    if idle["problem"]:
        return f"NOT POSSIBLE: {idle['problem']}"
    told = "no figures yet" if idle["idle_s"] is None else f"idle for {idle['idle_s']} s"
    return f"after {idle['after_s']} s below {idle['below_percent']} %; {told}"


def _gpu_use(use: dict[str, Any] | None) -> str | None:
    """Return the figures that the driver tells."""
    if use is None:
        return None
    memory = None if use["memory_used_mib"] is None else f"{use['memory_used_mib']:.0f}"
    parts = (
        None if use["percent"] is None else f"{use['percent']:.0f} %",
        f"{memory or '?'} of {use['memory_total_mib']:.0f} MiB",
        None if use["watts"] is None else f"{use['watts']:.0f} W",
    )
    return ", ".join(part for part in parts if part) + f" at {use['at']}"


def _timeline(timeline: list[Event]) -> str:
    from gputui.model.units import iso_utc

    columns = [Column("AT (UTC)"), Column("WHAT"), Column("TO"), Column("WHY", shrinks=True)]
    rows = [[iso_utc(event.at_ms) or "–", event.kind, event.state_to or "", event.why] for event in timeline]
    return table(columns, rows, empty="Nothing has happened yet.")
