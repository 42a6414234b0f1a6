"""The states of a job, a placement and a machine, and which moves are allowed."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Public and stable. `completed`, `failed` and `stopped` are final: the machine is proven gone by then."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        return self in FINAL_JOB_STATUSES


FINAL_JOB_STATUSES = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.STOPPED})

_JOB_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROVISIONING, JobStatus.FAILED, JobStatus.STOPPED}),
    # back to queued: this placement lost (no capacity, too dear, never came up) and the next offer is due
    JobStatus.PROVISIONING: frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED, JobStatus.STOPPED}),
    JobStatus.RUNNING: frozenset({JobStatus.QUEUED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.STOPPED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.STOPPED: frozenset(),
}


class PlacementState(StrEnum):
    """One attempt to run a job on one offer.

    `intended` is committed before the create call leaves; everything from `requesting` to `terminating` may cost money.
    """

    INTENDED = "intended"
    REQUESTING = "requesting"
    OUTCOME_UNKNOWN = "outcome-unknown"
    REFUSED = "refused"
    ABSENT = "absent"
    PROVISIONING = "provisioning"
    READY = "ready"
    RUNNING = "running"
    DRAINING = "draining"
    TERMINATING = "terminating"
    GONE = "gone"

    @property
    def is_final(self) -> bool:
        return self in FINAL_PLACEMENT_STATES

    @property
    def may_bill(self) -> bool:
        """True when a machine exists or may exist at the provider."""
        return self not in FINAL_PLACEMENT_STATES and self is not PlacementState.INTENDED


FINAL_PLACEMENT_STATES = frozenset({PlacementState.REFUSED, PlacementState.ABSENT, PlacementState.GONE})

_P = PlacementState
_PLACEMENT_MOVES: dict[PlacementState, frozenset[PlacementState]] = {
    _P.INTENDED: frozenset({_P.REQUESTING, _P.ABSENT}),
    _P.REQUESTING: frozenset({_P.PROVISIONING, _P.OUTCOME_UNKNOWN, _P.REFUSED}),
    _P.OUTCOME_UNKNOWN: frozenset({_P.PROVISIONING, _P.ABSENT, _P.REFUSED}),
    _P.PROVISIONING: frozenset({_P.READY, _P.TERMINATING, _P.GONE}),
    _P.READY: frozenset({_P.RUNNING, _P.DRAINING, _P.TERMINATING, _P.GONE}),
    _P.RUNNING: frozenset({_P.DRAINING, _P.TERMINATING, _P.GONE}),
    _P.DRAINING: frozenset({_P.TERMINATING, _P.GONE}),
    _P.TERMINATING: frozenset({_P.GONE}),
    _P.REFUSED: frozenset(),
    _P.ABSENT: frozenset(),
    _P.GONE: frozenset(),
}


class MachineState(StrEnum):
    """What a provider says of a machine, in our words. A word we do not know becomes UNKNOWN and its raw text is kept."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"
    NO_CAPACITY = "no-capacity"
    DELETING = "deleting"
    GONE = "gone"
    UNKNOWN = "unknown"

    @property
    def is_gone(self) -> bool:
        return self is MachineState.GONE or self is MachineState.NO_CAPACITY


class IllegalMove(Exception):
    """A state change that the table does not allow: a bug of ours, never a provider's doing."""


def check_job_move(current: JobStatus, to: JobStatus) -> None:
    """Raise IllegalMove unless a job may go from `current` to `to`. Staying is always allowed."""
    if to is not current and to not in _JOB_MOVES[current]:
        raise IllegalMove(f"job: {current} -> {to}")


def check_placement_move(current: PlacementState, to: PlacementState) -> None:
    """Raise IllegalMove unless a placement may go from `current` to `to`. Staying is always allowed."""
    if to is not current and to not in _PLACEMENT_MOVES[current]:
        raise IllegalMove(f"placement: {current} -> {to}")


def allowed_placement_moves(current: PlacementState) -> frozenset[PlacementState]:
    """Return the states a placement may go to next."""
    return _PLACEMENT_MOVES[current]
