"""What the checks look at when a run is over: the world's own truth on one side, what the product says on the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gputui.core.reports import JobReport
from gputui.model.types import Event, Machine, Placement
from gputui.sim.lives import ENDED, Life
from gputui.sim.machine import SimMachine
from gputui.sim.torture.plan import JobPlan, Plan
from gputui.sim.torture.stage import PROFILE, Stage
from gputui.sim.torture.work import Work, work_on

LABEL = f"gputui-{PROFILE}-"
# How long after a fault hit its traces may last: the longest a client waits for an answer, and the slowest retry after it.
FAULT_TRACE_S = {"timeout_before": 200.0, "timeout_after": 200.0}
USUAL_TRACE_S = 75.0

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Told:
    """A job with everything the product says of it."""

    plan: JobPlan
    number: int
    report: JobReport
    placements: Sequence[Placement]
    events: Sequence[Event]


@dataclass(frozen=True)
class Facts:
    """One finished run. `job_ids` is by the plan's number, `guests` by label."""

    plan: Plan
    stage: Stage
    folder: Path
    job_ids: Mapping[int, str]
    guests: Mapping[str, Machine]
    logged: Sequence[logging.LogRecord]

    @cached_property
    def now_ms(self) -> int:
        return self.stage.world.now_ms()

    @cached_property
    def jobs(self) -> list[Told]:
        desk = self.stage.desk
        return [
            Told(self.plan.jobs[number], number, desk.job(job_id), desk.placements(job_id), desk.events(job_id))
            for number, job_id in sorted(self.job_ids.items())
        ]

    @cached_property
    def machines(self) -> list[SimMachine]:
        """Return every machine there ever was that bears a label of this profile, but for the guests."""
        self.stage.world.settle()
        found = self.stage.world.machines.values()
        return [machine for machine in found if machine.label.startswith(LABEL) and machine.label not in self.guests]

    def machines_of(self, placement: Placement) -> list[SimMachine]:
        return [machine for machine in self.machines if machine.label == placement.label]

    def ended_ms(self, machine: SimMachine) -> int:
        """Return when a machine was gone for good: its deletion had begun, which nothing undoes, or it had ended anyhow."""
        ends = [at_ms for at_ms, life in machine.timeline if life in (Life.DELETING, *ENDED) and at_ms <= self.now_ms]
        return min(ends, default=self.now_ms)

    def was_asked_to_end(self, machine_id: str, *, by_ms: int | None = None) -> bool:
        """Say whether an agent asked for a machine's end, at all or by a moment."""
        until_ms = self.now_ms if by_ms is None else by_ms
        return any(machine_id in asked for at_ms, asked in self.stage.recording.deletions if at_ms <= until_ms)

    def work_on(self, machine: SimMachine, placement: Placement) -> Work | None:
        """Return what a placement's command did on its machine, None when it never began."""
        return work_on(self.stage.world, machine, placement)

    def work_was_done(self, told: Told) -> bool:
        """Say whether the command of a job ran to its end on any of its machines."""
        works = [self.work_on(m, placement) for placement in told.placements for m in self.machines_of(placement)]
        return any(work is not None and work.ended_ms is not None for work in works)

    def knob(self, name: str) -> float:
        """Return what a number among the knobs was set to for the whole run."""
        return self.stage.world.faults.number(name)

    def true_ms(self, event: Event) -> int:
        """Return when an event was written, by the world's time."""
        return next((at_ms for at_ms, newest in self.stage.recording.commits if event.id <= newest), self.now_ms)

    @cached_property
    def disturbances(self) -> list[Span]:
        """Return the stretches in which something was wrong that the product could do nothing about, joined, in order."""
        recording = self.stage.recording
        spans = [*recording.absences, *recording.outages]
        spans += [
            (at_ms, at_ms + round(FAULT_TRACE_S.get(knob, USUAL_TRACE_S) * 1000)) for at_ms, knob, _ in recording.fired
        ]
        return joined(spans)

    @cached_property
    def longest_silence_s(self) -> float:
        """Return the longest stretch in which nothing could reach a machine: disturbed throughout, or no agent there."""
        return max([(end_ms - begin_ms) / 1000 for begin_ms, end_ms in self.disturbances], default=0.0)

    def disturbed_ms(self, from_ms: int, until_ms: int) -> int:
        """Return how much of a stretch was disturbed."""
        return sum(max(0, min(end_ms, until_ms) - max(begin_ms, from_ms)) for begin_ms, end_ms in self.disturbances)


def joined(spans: Sequence[Span]) -> list[Span]:
    """Return the same stretches in order, those that touch made one."""
    found: list[Span] = []
    for begin_ms, end_ms in sorted(spans):
        if found and begin_ms <= found[-1][1]:
            found[-1] = (found[-1][0], max(end_ms, found[-1][1]))
        else:
            found.append((begin_ms, end_ms))
    return found
