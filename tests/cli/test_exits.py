"""Which error ends with which code."""

from __future__ import annotations

import pytest

from gputui.cli.exits import exit_code_of, exit_code_of_job
from gputui.model import errors
from gputui.model.states import JobStatus
from gputui.model.types import Job, JobSpec

CASES = {
    0: (),
    1: (errors.GputuiError, errors.StoreTooNew, errors.StoreReadOnly, errors.AgentError, errors.AgentBusy),
    2: (errors.UsageError, errors.ConfirmationNeeded, errors.ConfigError),
    3: (errors.NotFoundError, errors.Gone),
    4: (errors.AuthError, errors.SecretsError, errors.VaultLocked),
    5: (errors.NoMatch, errors.NoCapacity),
    6: (errors.GuardRefused, errors.NotFunded),
    7: (errors.Unreachable, errors.Transient, errors.RateLimited),
}


@pytest.mark.parametrize(
    ("code", "kind"), [(code, kind) for code, kinds in CASES.items() for kind in kinds], ids=lambda value: str(value)
)
def test_errors(code: int, kind: type[errors.GputuiError]) -> None:
    assert exit_code_of(kind("said")) == code


@pytest.mark.parametrize(
    ("status", "exit_code", "error_code", "expected"),
    [
        (JobStatus.COMPLETED, 0, None, 0),
        (JobStatus.COMPLETED, None, None, 0),
        (JobStatus.FAILED, 3, None, 3),
        (JobStatus.FAILED, 137, "oom", 137),
        (JobStatus.FAILED, None, None, 1),
        (JobStatus.FAILED, None, "machine_lost", 1),
        (JobStatus.FAILED, None, "no_capacity", 5),
        (JobStatus.FAILED, None, "no_match", 5),
        (JobStatus.FAILED, None, "auth", 4),
        (JobStatus.FAILED, 0, "machine_lost", 1),
        (JobStatus.STOPPED, None, None, 1),
        (JobStatus.STOPPED, 143, None, 1),
    ],
)
def test_followed_jobs(status: JobStatus, exit_code: int | None, error_code: str | None, expected: int) -> None:
    job = Job("id", JobSpec(gpu="H100"), status, "done", 0, "name", exit_code=exit_code, error_code=error_code)
    assert exit_code_of_job(job) == expected
