"""Exit codes, and which error ends with which."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from gputui.model.errors import GputuiError

if TYPE_CHECKING:
    from gputui.model.types import Job


class ExitCode(IntEnum):
    """Stable: scripts rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    NO_OFFER = 5
    GUARD = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


_BY_ERROR_CODE = {
    "usage": ExitCode.USAGE,
    "confirmation_needed": ExitCode.USAGE,
    "config": ExitCode.USAGE,
    "not_found": ExitCode.NOT_FOUND,
    "gone": ExitCode.NOT_FOUND,
    "auth": ExitCode.AUTH,
    "secrets": ExitCode.AUTH,
    "vault_locked": ExitCode.AUTH,
    "no_match": ExitCode.NO_OFFER,
    "no_capacity": ExitCode.NO_OFFER,
    "guard_refused": ExitCode.GUARD,
    "not_funded": ExitCode.GUARD,
    "unreachable": ExitCode.UNREACHABLE,
    "transient": ExitCode.UNREACHABLE,
    "rate_limited": ExitCode.UNREACHABLE,
}


def exit_code_of(error: GputuiError) -> ExitCode:
    """Return what a command ends with that failed with `error`."""
    return _BY_ERROR_CODE.get(error.code, ExitCode.FAILED)


def exit_code_of_job(job: Job) -> int:
    """Return what a follower of a job that is over ends with: the workload's exit code, or what kept it from having one."""
    from gputui.model.states import JobStatus

    if job.status is JobStatus.COMPLETED:
        return job.exit_code or ExitCode.OK
    if job.status is JobStatus.FAILED and job.exit_code:
        return job.exit_code
    if job.status is JobStatus.FAILED:
        return _BY_ERROR_CODE.get(job.error_code or "", ExitCode.FAILED)
    return ExitCode.FAILED
