"""Stream a job's log to stdout until the job is over; its phases go to stderr."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gputui.cli.output import say, warn
from gputui.core.runner.logfile import READ_BYTES, read, read_marks
from gputui.model.errors import AgentError
from gputui.model.units import format_duration, format_usd

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.reports import JobReport

_GLANCE_S = 0.1
_GUARD_EVERY_S = 2.0


def follow_job(desk: Desk, job_id: str, *, offset: int = 0) -> JobReport:
    """Write the job's log from a byte offset on, as raw bytes, until the job is over; returns its end.

    Returning early (Ctrl-C, a closed pipe) changes nothing for the job. Lasts as long as the job does.
    """
    path = desk.log_path(job_id)
    told = ""
    version = -1
    report = desk.job(job_id)
    guard = _Guard(desk)
    while True:
        # The job before its log: whatever a job that is over has logged was written before it was over.
        if (now_version := desk.store.data_version()) != version:
            version, report = now_version, desk.job(job_id)
        offset = copy_log(path, offset, sys.stdout.buffer)
        if report.job.status.is_final:
            tell_gaps(path)
            return report
        if (phase := _phase(report)) != told:
            told = phase
            say(f"· {phase}")
        guard.look()
        time.sleep(_GLANCE_S)


def copy_log(path: Path, offset: int, out: BinaryIO) -> int:
    """Write a log as raw bytes, from a byte offset to its end as it is now; returns that end."""
    while content := read(path, offset, READ_BYTES):
        out.write(content)
        out.flush()
        offset += len(content)
    return offset


def tail_offset(path: Path, lines: int) -> int:
    """Return the byte at which the last `lines` lines of a log begin; 0 when it has fewer, or there is none."""
    size = start = path.stat().st_size if path.exists() else 0
    if lines <= 0:
        return size
    tail = b""
    while start > 0:
        length = min(READ_BYTES, start)
        start -= length
        tail = read(path, start, length) + tail
        ends = tail.removesuffix(b"\n")
        if ends.count(b"\n") >= lines:
            kept = ends.rsplit(b"\n", lines)[1:]
            return size - len(b"\n".join(kept)) - (len(tail) - len(ends))
    return 0


def tell_gaps(path: Path) -> None:
    """Say on stderr where stretches of a log are lost."""
    for mark in read_marks(path):
        if mark.gap is not None:
            warn(f"a stretch of the log is lost at byte {mark.byte:,}: {mark.gap}")


def tell_end(report: JobReport) -> None:
    """Say on stderr how a job ended and what it cost."""
    job = report.job
    parts = [job.status.value]
    if job.exit_code is not None:
        parts.append(f"exit code {job.exit_code}")
    if job.started_at_ms is not None and job.ended_at_ms is not None:
        parts.append(f"after {format_duration((job.ended_at_ms - job.started_at_ms) / 1000)}")
    if report.placement is not None:
        cost = f"{format_usd(job.cost_micro_usd, places=4)} $"
        if job.cost_uncertainty_micro_usd:
            cost += f" ± {format_usd(job.cost_uncertainty_micro_usd, places=4)}"
        parts.append(cost)
        if report.placement.machine_id is not None:
            parts.append("the machine is gone")
    say(f"· {', '.join(parts)}")
    if job.error:
        warn(job.error)


def _phase(report: JobReport) -> str:
    job = report.job
    if job.phase in ("", job.status.value):
        return job.status.value
    return f"{job.status.value}: {job.phase}"


class _Guard:
    """Sees to it now and then that the job has an agent; says once when it cannot."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._next_s = 0.0
        self._told = False

    def look(self) -> None:
        if time.monotonic() < self._next_s:
            return
        try:
            self._desk.guard()
            self._told = False
        except AgentError as error:
            if not self._told:
                warn(f"the job has no agent now: {error}")
            self._told = True
        self._next_s = time.monotonic() + _GUARD_EVERY_S
