"""States as glyph, word and colour, so that each can be read without the other two."""

from __future__ import annotations

from dataclasses import dataclass

from gputui.model.states import JobStatus
from gputui.model.types import Job, Stock


@dataclass(frozen=True, slots=True)
class Badge:
    """How a state looks. `style` is a theme variable."""

    glyph: str
    word: str
    style: str


_JOBS: dict[JobStatus, Badge] = {
    JobStatus.QUEUED: Badge("○", "queued", "$state-waiting"),
    JobStatus.PROVISIONING: Badge("◐", "starting", "$state-waiting"),
    JobStatus.RUNNING: Badge("●", "running", "$state-running"),
    JobStatus.COMPLETED: Badge("✓", "completed", "$state-done"),
    JobStatus.FAILED: Badge("✕", "failed", "$state-failed"),
    JobStatus.STOPPED: Badge("■", "stopped", "$state-stopped"),
}
STOPPING = Badge("◌", "stopping", "$state-waiting")
FINISHING = Badge("◌", "finishing", "$state-waiting")

_STOCK: dict[Stock | None, Badge] = {
    Stock.HIGH: Badge("●", "in stock", "$state-running"),
    Stock.LOW: Badge("◐", "low stock", "$state-waiting"),
    Stock.NONE: Badge("○", "sold out", "$faint"),
    None: Badge("·", "stock unknown", "$muted"),
}


def job_badge(job: Job) -> Badge:
    """Return how a job looks. One whose end is decided but whose machine is not proven gone is still finishing."""
    if not job.status.is_final and job.outcome is not None:
        return FINISHING
    if not job.status.is_final and job.stop_requested_at_ms is not None:
        return STOPPING
    return _JOBS[job.status]


def status_badge(status: JobStatus) -> Badge:
    """Return how a status by itself looks."""
    return _JOBS[status]


def stock_badge(stock: Stock | None) -> Badge:
    """Return how an offer's stock looks."""
    return _STOCK[stock]
