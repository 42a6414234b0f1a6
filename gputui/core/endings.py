"""Why a machine is no longer needed: what counts as lost, for how long one is waited for, when it is too dear or off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gputui.core import guards
from gputui.core.crew import Crew
from gputui.core.journal import outliving
from gputui.model.states import JobStatus, MachineState
from gputui.model.types import Job, Machine, Placement
from gputui.model.units import Ms, format_usd
from gputui.providers.registry import provider_title
from gputui.store import jobs as job_store
from gputui.store.alarms import AlarmKind
from gputui.store.vitals import load_vitals

# A machine that the provider says is well but that cannot be reached: how long it may cost money like that.
UNREACHABLE_S = 3600.0
SWITCHED_OFF_S = 180.0
# The same for one whose workload has ended, for the rest of its log.
DRAIN_PATIENCE_S = 60.0
# A provider that leaves a question unanswered now and then still answers: so long may lie between two answers.
ANSWERS_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a machine is no longer needed. `outcome` None: it failed us before the workload began, try the next offer.

    `log_gap` says why the end of the log is missing.
    """

    code: str
    why: str
    outcome: JobStatus | None = None
    exit_code: int | None = None
    log_gap: str | None = None


class Patience:
    """How long a machine that cannot be reached goes on costing money.

    Only time in which the provider answered counts: while nobody can be asked, it is our own line that is down, and a
    workload that is well must not be ended for that. What was counted is stored, so that the next agent goes on from there.
    """

    def __init__(self, crew: Crew, placement: Placement) -> None:
        self._crew = crew
        self._placement_id = placement.id
        self._spent_ms = placement.out_of_reach_ms
        self._answered_s: float | None = None

    @property
    def spent_s(self) -> float:
        return self._spent_ms / 1000

    def is_over(self, machine: Machine | None, *, limit_s: float = UNREACHABLE_S) -> bool:
        """Take in what the provider just said (None: it did not answer); True when the machine is given up."""
        if machine is None:
            return False
        now_s = asyncio.get_running_loop().time()
        if self._answered_s is not None and now_s - self._answered_s <= ANSWERS_WITHIN_S:
            self._keep(self._spent_ms + round((now_s - self._answered_s) * 1000))
        self._answered_s = now_s
        if machine.state is MachineState.STOPPED:
            limit_s = min(limit_s, SWITCHED_OFF_S)
        return self.spent_s > limit_s

    def begin_anew(self) -> None:
        """The machine was reached."""
        self._answered_s = None
        self._keep(0)

    def _keep(self, spent_ms: int) -> None:
        if spent_ms != self._spent_ms:
            self._spent_ms = spent_ms
            with outliving("keep for how long a machine has been out of reach"), self._crew.store.write() as tx:
                job_store.update_placement(tx, self._placement_id, out_of_reach_ms=spent_ms)


def known_since_ms(placement: Placement) -> Ms:
    """Return since when a machine has answered or, before that, been in our hands: an order may be carried out long after
    it was sent, when the agent died over it and the next one sent it again."""
    return placement.ready_at_ms or placement.accepted_at_ms or placement.requested_at_ms or placement.created_at_ms


def ending_of_loss(crew: Crew, job: Job, placement: Placement, why: str, otherwise: JobStatus | None) -> Ending:
    """Return how a job ends whose machine is gone; one that ended itself says so."""
    end = guards.own_end(
        job.spec,
        placement,
        load_vitals(crew.store, placement.id),
        lease_s=crew.config.agent.lease_s,
        gone_ms=crew.clock.now_ms(),
    )
    gap = "the machine was gone before the end of its log was here"
    if end is None:
        return Ending("machine_lost", why, job.outcome or otherwise, log_gap=gap)
    return Ending(end.code, end.why, job.outcome or end.status, log_gap=gap)


class PriceGuard:
    """Compares a running machine's own price with what was agreed, each time the provider tells it."""

    def __init__(self, crew: Crew, job: Job, placement: Placement) -> None:
        self._crew = crew
        self._job = job
        self._placement = placement

    def check(self, machine: Machine | None) -> Ending | None:
        """Return the end of a machine over the user's own cap. One that grew dearer without a cap is only told, loudly."""
        price = machine.price_micro_usd_per_hour if machine else None
        ceiling = self._placement.price_ceiling_micro_usd_per_hour
        if price is None or ceiling is None:
            return None
        machine_id = self._placement.machine_id or ""
        if price <= ceiling:
            self._crew.alarms.end(AlarmKind.DEARER, machine_id)
            return None
        why = f"the machine now costs {format_usd(price, places=4)} $/h, over {format_usd(ceiling, places=4)} $/h"
        if self._job.spec.max_price_micro_usd_per_hour is not None:
            return Ending("too_dear", f"{why}, its cap", JobStatus.STOPPED)
        is_news = self._crew.alarms.sound(
            AlarmKind.DEARER,
            machine_id,
            f"Job {self._job.name} goes on without a cap: {why}.",
            f"To stop it, run: gputui jobs stop {self._job.name}",
            provider=self._placement.provider,
            job_id=self._job.id,
            rate=price,
        )
        if is_news:
            facts = {"loud": True, "code": "too_dear"}
            sentence = f"{why}; there is no cap, so it goes on"
            self._crew.journal.note(self._job.id, sentence, placement_id=self._placement.id, facts=facts)
        return None


def watch_power(crew: Crew, job: Job, machine: Machine) -> None:
    """Tell, loudly, of a rented machine that is off and still billed. It is not ended: what is on its disk is the user's."""
    if machine.state is not MachineState.STOPPED or machine.present_rate_micro_usd_per_hour == 0:
        crew.alarms.end(AlarmKind.SWITCHED_OFF, machine.id)
        return
    title = provider_title(machine.provider)
    crew.alarms.sound(
        AlarmKind.SWITCHED_OFF,
        machine.id,
        f"The {title} machine of {job.name} is off ({machine.raw_state}) and still billed.",
        f"Start it at {title}; or, to end it with all that is on it, run: gputui jobs stop {job.name}",
        provider=machine.provider,
        job_id=job.id,
        rate=machine.present_rate_micro_usd_per_hour,
    )
