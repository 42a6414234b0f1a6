"""Drive one job from its row to a final status, through as many placements as it takes. Re-entrant: every step starts
from what the store says, so an agent that takes over after a crash goes on where the last one died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gputui.core import catalog, ledger, mounts
from gputui.core.alarms import FREE_DISK_HINT, free_disk_problem
from gputui.core.crew import Crew
from gputui.core.endings import Ending, known_since_ms
from gputui.core.ordering import ABSENT_GRACE_S, ACCOUNT_WIDE, LOOK_DEADLINE_S, Orderer
from gputui.core.routing import Plan, Quote, no_match
from gputui.core.runner.logfile import JobLog
from gputui.core.tenancy import Tenancy
from gputui.core.termination import Terminator
from gputui.core.whose import absence_counts, saw_machine
from gputui.model.errors import (
    GputuiError,
    GuardRefused,
    ProviderError,
    RateLimited,
    SecretsError,
    StoreError,
    Transient,
    Unreachable,
)
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, Placement, Volume
from gputui.model.units import MicroUsdPerHour, Ms
from gputui.providers.registry import provider_title
from gputui.store import jobs as job_store
from gputui.store import usage as usage_store
from gputui.store.alarms import AlarmKind

# An offer older than this is fetched again before money is spent on it.
ROUTING_MAX_AGE_S = 60.0
REFRESH_DEADLINE_S = 15.0
VOLUME_PAUSES_S = (2.0, 6.0, 20.0, 60.0)
WRITE_AGAIN_S = 5.0

T = TypeVar("T")

log = logging.getLogger("gputui.agent")

# Why a job counts as stopped with an error to tell: a limit of its user's own was reached.
GUARDS = frozenset({"max_duration", "idle_stop", "too_dear"})

_ORDERING = (PlacementState.INTENDED, PlacementState.REQUESTING, PlacementState.OUTCOME_UNKNOWN)
_LIVING = (PlacementState.PROVISIONING, PlacementState.READY, PlacementState.RUNNING, PlacementState.DRAINING)


class JobDriver:
    """Drives one job. `stop` is set by the supervisor when a stop is wished for."""

    def __init__(self, crew: Crew, job_id: str, stop: asyncio.Event) -> None:
        self._crew = crew
        self._job_id = job_id
        self._stop = stop

    async def run(self) -> None:
        """Return when the job is final. Raises LostRace when another agent acts on it, StoreError."""
        while True:
            job = job_store.load_job(self._crew.store, self._job_id)
            if job is None or job.status.is_final:
                return
            if job.stop_requested_at_ms is not None:
                self._stop.set()
            placement = job_store.load_placement(self._crew.store, job.placement_id) if job.placement_id else None
            if placement is None or placement.state.is_final:
                await self._place(job)
            else:
                await self._advance(job, placement)

    async def _place(self, job: Job) -> None:
        """Choose the next offer and write the intent, or end the job."""
        if job.outcome is not None:
            return self._finish(job, job.outcome, job.error, job.error_code)
        if self._stop.is_set():
            return self._finish(job, JobStatus.STOPPED, None, None)
        if problem := free_disk_problem(self._crew.paths, self._crew.config):
            return self._finish(job, JobStatus.FAILED, f"{problem} {FREE_DISK_HINT}", GuardRefused.code)
        job = self._crew.journal.phase(job, "choosing an offer")
        past = job_store.load_placements(self._crew.store, job.id)
        if len(past) >= self._crew.config.agent.max_attempts:
            last = past[-1]
            return self._finish(
                job, JobStatus.FAILED, f"Gave up after {len(past)} attempts; the last: {last.reason}", last.reason_code
            )
        await self._refresh(job)
        try:
            volumes = await self._find_volumes(job)
        except GputuiError as error:
            if self._stop.is_set():
                return self._finish(job, JobStatus.STOPPED, None, None)
            return self._finish(job, JobStatus.FAILED, str(error), error.code)
        plan = self._plan(job, past, volumes)
        if not plan.quotes:
            return self._finish_unplaced(job, plan, past)
        self._intend(job, plan.quotes[0], volumes, attempt=len(past) + 1)
        return None

    async def _refresh(self, job: Job) -> None:
        stale = catalog.stale_providers(
            self._crew.store, self._crew.accounts, now_ms=self._crew.clock.now_ms(), max_age_s=ROUTING_MAX_AGE_S
        )
        wanted = [name for name in stale if job.spec.provider in (None, name)]
        if wanted:
            await catalog.refresh(
                self._crew.store,
                self._crew.accounts,
                self._crew.clock,
                providers=wanted,
                deadline_s=REFRESH_DEADLINE_S,
            )

    async def _find_volumes(self, job: Job) -> tuple[Volume, ...]:
        """Return the volumes the job names. A provider that fails for a moment is asked a few times; nothing is ordered yet."""
        if job.spec.provider is None or not job.spec.volumes:
            return ()
        for pause_s in VOLUME_PAUSES_S:
            try:
                return await mounts.find_volumes(self._crew.client(job.spec.provider), job.spec, self._crew.store)
            except (Unreachable, Transient, RateLimited) as error:
                if self._stop.is_set():
                    raise
                self._crew.journal.note(job.id, f"looking for the volumes again: {error}")
                await asyncio.sleep(pause_s)
        return await mounts.find_volumes(self._crew.client(job.spec.provider), job.spec, self._crew.store)

    def _plan(self, job: Job, past: list[Placement], volumes: Sequence[Volume]) -> Plan:
        return catalog.plan(
            self._crew.store,
            self._crew.accounts,
            job.spec,
            volumes=volumes,
            excluded_offers={p.offer.id: f"tried: {p.reason}" for p in past},
            excluded_providers={p.provider: p.reason or "" for p in past if p.reason_code in ACCOUNT_WIDE},
        )

    def _intend(self, job: Job, quote: Quote, volumes: tuple[Volume, ...], *, attempt: int) -> None:
        """Commit the intent; nothing has left yet."""
        placement_id = self._crew.ids.ulid()
        offer = quote.offer
        title = provider_title(offer.provider)
        with self._crew.journal.entry() as entry:
            entry.move_job(
                job,
                JobStatus.PROVISIONING,
                f"attempt {attempt}: {title}",
                placement_id=placement_id,
                phase=f"asking {title}",
            )
            entry.add_placement(
                Placement(
                    id=placement_id,
                    job_id=job.id,
                    attempt=attempt,
                    provider=offer.provider,
                    offer=offer,
                    label=f"gputui-{self._crew.paths.profile}-{placement_id}",
                    idempotency_key=f"gputui-{placement_id}",
                    nonce=self._crew.ids.token(),
                    state=PlacementState.INTENDED,
                    created_at_ms=entry.now_ms,
                    price_ceiling_micro_usd_per_hour=price_ceiling(job, offer.price_micro_usd_per_hour),
                    volumes=volumes,
                ),
                f"chose {title} {offer.region or ''}".rstrip(),
            )

    async def _advance(self, job: Job, placement: Placement) -> None:
        """Take a placement that is not over as far as it goes."""
        if placement.state in _ORDERING:
            try:
                ordered = await Orderer(self._crew, job.spec, self._stop).order(placement)
            except StoreError:
                await self._end_unrecorded(placement)
                raise
            if ordered.machine is None:
                self._back_to_queue(job, ordered.placement.reason or "no machine")
                return
            placement = ordered.placement
        if placement.state in _LIVING:
            tenancy = Tenancy(self._crew, job, placement, self._stop)
            try:
                ending = await tenancy.run()
            except StoreError as error:
                # What was being written is not so: the store is right.
                job = job_store.load_job(self._crew.store, job.id) or job
                placement = job_store.load_placement(self._crew.store, placement.id) or placement
                if (overdue := self._overdue(job, placement, error)) is None:
                    raise
                ending = overdue
            else:
                job, placement = tenancy.job, tenancy.placement
            await self._end(job, placement, ending)
            return
        await self._settle(job, placement, await self._terminator(placement).until_gone())

    async def _end(self, job: Job, placement: Placement, ending: Ending) -> None:
        """End the machine: written down before it is asked for, or afterwards where a full disk does not take it."""
        decided_ms = self._crew.clock.now_ms()
        try:
            job, ended = self._begin_end(job, placement, ending, decided_ms)
        except StoreError as error:
            log.error("job %s: ending the machine although that cannot be written yet: %s", job.id, error)
            gone_ms = await self._terminator(placement).until_gone()
            job, ended = await self._until_written(lambda: self._begin_end(job, placement, ending, decided_ms))
        else:
            gone_ms = await self._terminator(ended).until_gone()
        if (gap := ending.log_gap) is not None:
            job_log = JobLog(self._crew.paths.logs_dir / f"{job.id}.log")
            await self._until_written(lambda: job_log.mark_gap(gap, now_ms=decided_ms))
        await self._settle(job, ended, gone_ms)

    def _overdue(self, job: Job, placement: Placement, error: StoreError) -> Ending | None:
        """Return how a machine ends whose driving stumbles over a full disk: when it was to end anyway."""
        if self._stop.is_set():
            return Ending("stopped", f"stopped while nothing could be written: {error}", JobStatus.STOPPED)
        now_ms = self._crew.clock.now_ms()
        if placement.running_at_ms is None:
            limit_s: int | None = self._crew.boot_timeout_s(placement.provider)
            since_ms = placement.requested_at_ms or placement.created_at_ms
            ending = Ending(
                error.code, f"nothing could be written while the machine started: {error}", JobStatus.FAILED
            )
        else:
            limit_s = job.spec.max_duration_s
            since_ms = placement.running_at_ms
            ending = Ending("max_duration", "the maximum duration was reached", JobStatus.STOPPED)
        return ending if limit_s is not None and now_ms - since_ms > limit_s * 1000 else None

    async def _end_unrecorded(self, placement: Placement) -> None:
        """End a machine that was ordered but could not be written down for as long as it may take to start.

        The placement stays where it is; once there is room again its label is looked for, and not found.
        """
        now_ms, ordered_ms = self._crew.clock.now_ms(), placement.requested_at_ms
        if ordered_ms is None or now_ms - ordered_ms <= self._crew.boot_timeout_s(placement.provider) * 1000:
            return
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                machines = await self._crew.client(placement.provider).list_machines()
        except (ProviderError, SecretsError, TimeoutError) as error:
            log.error("job %s: cannot look for its machine: %s", placement.job_id, error)
            return
        for machine in machines:
            if machine.label == placement.label:
                log.error("job %s: ending machine %s, which cannot be written down", placement.job_id, machine.id)
                await self._terminator(replace(placement, machine_id=machine.id)).until_gone()

    async def _until_written(self, write: Callable[[], T]) -> T:
        """Write what must not be lost, as often as it takes: how a job ended, and that its machine is gone."""
        is_told = False
        while True:
            try:
                return write()
            except StoreError as error:
                if not is_told:
                    log.error("job %s: how it ended waits to be written: %s", self._job_id, error)
                is_told = True
            await asyncio.sleep(WRITE_AGAIN_S)

    def _begin_end(self, job: Job, placement: Placement, ending: Ending, decided_ms: Ms) -> tuple[Job, Placement]:
        """Keep why it ends and that we are about to ask for the machine's end, before asking."""
        outcome = job.outcome or ending.outcome
        with self._crew.journal.entry() as entry:
            changes: dict[str, Any] = {"phase": "ending the machine"}
            if outcome is not None and job.outcome is None:
                is_error = outcome is JobStatus.FAILED or ending.code in GUARDS
                changes |= {
                    "outcome": outcome.value,
                    "exit_code": ending.exit_code,
                    "error": ending.why if is_error else None,
                    "error_code": ending.code if is_error else None,
                }
            moved = entry.move_placement(
                placement,
                PlacementState.TERMINATING,
                ending.why,
                facts={"code": ending.code},
                terminating_at_ms=decided_ms,
                reason_code=ending.code,
                reason=ending.why,
            )
            return replace(entry.move_job(job, job.status, "", **changes), outcome=outcome), moved

    async def _settle(self, job: Job, placement: Placement, gone_ms: Ms) -> None:
        """Close the ledger of a machine that is gone and move its job on, in one transaction."""
        for kind in (AlarmKind.UNDYING, AlarmKind.DEARER, AlarmKind.SWITCHED_OFF, AlarmKind.NO_IDLE_STOP):
            self._crew.alarms.end(kind, placement.machine_id or "")
        await self._until_written(lambda: self._write_settled(job, placement, gone_ms))

    def _write_settled(self, job: Job, placement: Placement, gone_ms: Ms) -> None:
        intervals = usage_store.load_open_intervals(self._crew.store, placement.id)
        current = job_store.load_job(self._crew.store, job.id) or job
        with self._crew.journal.entry() as entry:
            asked_ms = placement.terminating_at_ms or gone_ms
            # It may have died or stopped before anybody asked for its end, since its state was last seen.
            last_seen_ms = max((interval.last_seen_ms for interval in intervals), default=asked_ms)
            ledger.close_intervals(
                entry.tx,
                intervals,
                price=placement.agreed_price_micro_usd_per_hour or placement.offer.price_micro_usd_per_hour,
                end_earliest_ms=min(last_seen_ms, asked_ms),
                end_latest_ms=gone_ms,
                reason=placement.reason_code or "ended",
            )
            entry.move_placement(
                placement,
                PlacementState.GONE,
                f"{provider_title(placement.provider)} no longer lists machine {placement.machine_id}",
                gone_at_ms=gone_ms,
            )
            if current.outcome is not None:
                entry.move_job(current, current.outcome, "the machine is gone", phase="done", ended_at_ms=entry.now_ms)
            else:
                entry.move_job(
                    current, JobStatus.QUEUED, f"this machine is given up: {placement.reason}", phase="queued"
                )

    def _terminator(self, placement: Placement) -> Terminator:
        title = provider_title(placement.provider)

        def report(sentence: str, loud: bool) -> None:
            with self._crew.journal.entry() as entry:
                entry.note(placement.job_id, sentence, placement_id=placement.id, facts={"loud": loud})
                if loud:
                    job_store.update_job(entry.tx, placement.job_id, phase="the machine will not end")
            if loud:
                self._crew.alarms.sound(
                    AlarmKind.UNDYING,
                    placement.machine_id or "",
                    f"{title} machine {placement.machine_id} will not end: {sentence}.",
                    f"The agent goes on trying; in need, delete it at {title} yourself.",
                    provider=placement.provider,
                    job_id=placement.job_id,
                    rate=placement.agreed_price_micro_usd_per_hour,
                )

        return Terminator(
            lambda: self._crew.client(placement.provider),
            placement.machine_id or "",
            clock=self._crew.clock,
            ids=self._crew.ids,
            report=report,
            heard=lambda error: self._crew.heard(placement.provider, error),
            absence_counts=lambda: absence_counts(self._crew, placement.id),
            shows_by_ms=0 if placement.ready_at_ms else known_since_ms(placement) + round(ABSENT_GRACE_S * 1000),
            on_seen=lambda: saw_machine(self._crew, placement.id),
        )

    def _back_to_queue(self, job: Job, why: str) -> None:
        with self._crew.journal.entry() as entry:
            entry.move_job(job, JobStatus.QUEUED, why, phase="queued")

    def _finish_unplaced(self, job: Job, plan: Plan, past: list[Placement]) -> None:
        error: GputuiError = no_match(plan)
        tried = "; ".join(
            f"{provider_title(p.provider)} {p.offer.region or ''}: {p.reason}".replace(" :", ":") for p in past
        )
        code = "no_capacity" if any(p.reason_code == "no_capacity" for p in past) else error.code
        if past and all(p.reason_code in ACCOUNT_WIDE for p in past):
            code = past[-1].reason_code or code
        sentence = f"No offer is left. Tried: {tried}" if past else str(error)
        self._finish(job, JobStatus.FAILED, sentence, code)

    def _finish(self, job: Job, status: JobStatus, error: str | None, code: str | None) -> None:
        with self._crew.journal.entry() as entry:
            entry.move_job(
                job, status, error or "", phase="done", error=error, error_code=code, ended_at_ms=entry.now_ms
            )


def price_ceiling(job: Job, listed: MicroUsdPerHour) -> MicroUsdPerHour:
    """Return the most this machine may turn out to cost per hour: the user's cap, or a little over the price shown."""
    cap = job.spec.max_price_micro_usd_per_hour
    return cap if cap is not None else ledger.dearest(listed)
