"""What keeps a machine from costing more than its user allowed, told from what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gputui.core.runner.protocol import COLLECT_S
from gputui.model.states import JobStatus
from gputui.model.types import JobKind, JobSpec, Placement
from gputui.model.units import Ms, format_duration
from gputui.model.vitals import Vitals
from gputui.providers.registry import PROVIDERS, Runs, provider_title

ARMED = "armed"
AGENT_ONLY = "agent-only"

_NOT_ARMED = {
    "no_key": "the machine was given no key to delete itself with",
    "no_downloader": "the machine has no curl, python3 or wget to ask for its own end with",
}
_NO_IDLE = {
    "missing": "there is no nvidia-smi on the machine",
    "failed": "nvidia-smi gives no answer",
    "unknown": "a GPU does not tell how much it is used",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """Who ends a machine: "armed", it does itself where nobody watches; or "agent-only", and why."""

    word: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class IdleGuard:
    """How an idle stop stands: for how many seconds the GPUs have been idle (None before the first figures), or why it
    cannot work."""

    idle_s: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """That a machine ended itself: a stable code, a sentence, and how its job counts."""

    code: str
    why: str
    status: JobStatus


def guard_of(spec: JobSpec, provider: str, vitals: Vitals | None) -> Guard | None:
    """Return who ends a job's machine, None before the machine has told."""
    info = PROVIDERS.get(provider)
    if spec.kind is JobKind.MACHINE:
        return Guard(AGENT_ONLY, "nothing of ours runs on a machine to log in to")
    if info is None or info.own_key is None:
        return Guard(AGENT_ONLY, f"{provider_title(provider)} gives machines no key to delete themselves with")
    if vitals is None or vitals.guard is None:
        return None
    if vitals.guard != ARMED:
        return Guard(AGENT_ONLY, _NOT_ARMED.get(vitals.guard, vitals.guard))
    if info.runs is Runs.POD and spec.max_duration_s is None:
        return Guard(
            AGENT_ONLY, "it can delete itself only after the job has ended, and the job has no maximum duration"
        )
    return Guard(ARMED)


def idle_guard_of(spec: JobSpec, vitals: Vitals | None) -> IdleGuard | None:
    """Return how a job's idle stop stands, None for a job without one."""
    if spec.idle_stop_s is None:
        return None
    idle = vitals.idle if vitals else None
    if idle is None or idle.isdecimal():
        return IdleGuard(idle_s=int(idle) if idle else None)
    return IdleGuard(problem=_NO_IDLE.get(idle, idle))


def own_end(spec: JobSpec, placement: Placement, vitals: Vitals | None, *, lease_s: int, gone_ms: Ms) -> OwnEnd | None:
    """Return why a machine that is found gone ended itself; None where it had no reason to, or no means."""
    if vitals is None or vitals.guard != ARMED:
        return None
    unwatched = format_duration((gone_ms - vitals.contact_ms) / 1000)
    lease_ends_ms = vitals.contact_ms + lease_s * 1000
    ends = [(lease_ends_ms, OwnEnd("lease_expired", _LEASE_EXPIRED.format(unwatched), JobStatus.FAILED))]
    if spec.max_duration_s is not None and placement.running_at_ms is not None:
        limit_ms = max(placement.running_at_ms + spec.max_duration_s * 1000, vitals.contact_ms)
        ends.append(
            (limit_ms + COLLECT_S * 1000, OwnEnd("max_duration", _OVER_TIME.format(unwatched), JobStatus.STOPPED))
        )
    due_ms, end = min(ends, key=lambda item: item[0])
    return end if due_ms <= gone_ms else None


_LEASE_EXPIRED = "nobody had watched the machine for {}, longer than its lease: it deleted itself"
_OVER_TIME = "the maximum duration was over and nobody had watched the machine for {}: it deleted itself"
