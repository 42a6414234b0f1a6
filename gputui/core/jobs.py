"""Drive one job from its row to a final status, through as many placements as it takes. Re-entrant: every step starts
from what the store says, so an agent that takes over after a crash goes on where the last one died."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from gputui.core import catalog, ledger
from gputui.core.crew import Crew
from gputui.core.ordering import ACCOUNT_WIDE, Orderer
from gputui.core.routing import Plan, Quote, no_match
from gputui.core.tenancy import PRICE_TOLERANCE_PERCENT, Tenancy
from gputui.core.termination import Terminator
from gputui.core.workload import Ending
from gputui.model.errors import GputuiError
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, Placement
from gputui.model.units import MicroUsdPerHour, Ms
from gputui.store import jobs as job_store
from gputui.store import usage as usage_store

# An offer older than this is fetched again before money is spent on it.
ROUTING_MAX_AGE_S = 60.0
REFRESH_DEADLINE_S = 15.0

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
        job = self._crew.journal.phase(job, "choosing an offer")
        past = job_store.load_placements(self._crew.store, job.id)
        if len(past) >= self._crew.config.agent.max_attempts:
            last = past[-1]
            return self._finish(
                job, JobStatus.FAILED, f"Gave up after {len(past)} attempts; the last: {last.reason}", last.reason_code
            )
        await self._refresh(job)
        plan = self._plan(job, past)
        if not plan.quotes:
            return self._finish_unplaced(job, plan, past)
        self._intend(job, plan.quotes[0], attempt=len(past) + 1)
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

    def _plan(self, job: Job, past: list[Placement]) -> Plan:
        return catalog.plan(
            self._crew.store,
            self._crew.accounts,
            job.spec,
            excluded_offers={p.offer.id: f"tried: {p.reason}" for p in past},
            excluded_providers={p.provider: p.reason or "" for p in past if p.reason_code in ACCOUNT_WIDE},
        )

    def _intend(self, job: Job, quote: Quote, *, attempt: int) -> None:
        """Commit the intent; nothing has left yet."""
        placement_id = self._crew.ids.ulid()
        offer = quote.offer
        with self._crew.journal.entry() as entry:
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
                ),
                f"chose {offer.provider} {offer.region or ''}".rstrip(),
            )
            entry.move_job(
                job,
                JobStatus.PROVISIONING,
                f"attempt {attempt}: {offer.provider}",
                placement_id=placement_id,
                phase=f"asking {offer.provider}",
            )

    async def _advance(self, job: Job, placement: Placement) -> None:
        """Take a placement that is not over as far as it goes."""
        if placement.state in _ORDERING:
            ordered = await Orderer(self._crew, job.spec, self._stop).order(placement)
            if ordered.machine is None:
                self._back_to_queue(job, ordered.placement.reason or "no machine")
                return
            placement = ordered.placement
        if placement.state in _LIVING:
            tenancy = Tenancy(self._crew, job, placement, self._stop)
            ending = await tenancy.run()
            job, placement = self._begin_end(tenancy.job, tenancy.placement, ending)
        await self._end_machine(job, placement)

    def _begin_end(self, job: Job, placement: Placement, ending: Ending) -> tuple[Job, Placement]:
        """Keep why it ends and that we are about to ask for the machine's end, before asking."""
        outcome = job.outcome or ending.outcome
        with self._crew.journal.entry() as entry:
            changes: dict[str, Any] = {"phase": "ending the machine"}
            if outcome is not None and job.outcome is None:
                is_error = outcome is JobStatus.FAILED or ending.code == "max_duration"
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
                terminating_at_ms=entry.now_ms,
                reason_code=ending.code,
                reason=ending.why,
            )
            return replace(entry.move_job(job, job.status, "", **changes), outcome=outcome), moved

    async def _end_machine(self, job: Job, placement: Placement) -> None:
        """Terminate until the provider's list agrees, then close the ledger and settle the job, in one transaction."""
        gone_ms = await self._terminator(placement).until_gone()
        interval = usage_store.load_open_interval(self._crew.store, placement.id)
        current = job_store.load_job(self._crew.store, job.id) or job
        with self._crew.journal.entry() as entry:
            if interval is not None:
                asked_ms = placement.terminating_at_ms or gone_ms
                died_alone = placement.reason_code in ("machine_lost", "machine_failed", "no_capacity")
                ledger.close_interval(
                    entry.tx,
                    interval,
                    end_earliest_ms=min(interval.last_seen_ms, asked_ms) if died_alone else asked_ms,
                    end_latest_ms=gone_ms,
                    reason=placement.reason_code or "ended",
                )
            entry.move_placement(
                placement,
                PlacementState.GONE,
                f"{placement.provider} no longer lists machine {placement.machine_id}",
                gone_at_ms=gone_ms,
            )
            if current.outcome is not None:
                entry.move_job(current, current.outcome, "the machine is gone", phase="done", ended_at_ms=entry.now_ms)
            else:
                entry.move_job(
                    current, JobStatus.QUEUED, f"this machine is given up: {placement.reason}", phase="queued"
                )

    def _terminator(self, placement: Placement) -> Terminator:
        def report(sentence: str, loud: bool) -> None:
            with self._crew.journal.entry() as entry:
                entry.note(placement.job_id, sentence, placement_id=placement.id, facts={"loud": loud})
                if loud:
                    job_store.update_job(entry.tx, placement.job_id, phase="the machine will not end")

        def still_alive(asked_ms: Ms) -> None:
            interval = usage_store.load_open_interval(self._crew.store, placement.id)
            if interval is not None and asked_ms > interval.last_seen_ms:
                with self._crew.store.write() as tx:
                    usage_store.update_interval(tx, interval.id, last_seen_ms=asked_ms)

        return Terminator(
            lambda: self._crew.client(placement.provider),
            placement.machine_id or "",
            clock=self._crew.clock,
            ids=self._crew.ids,
            report=report,
            on_alive=still_alive,
        )

    def _back_to_queue(self, job: Job, why: str) -> None:
        with self._crew.journal.entry() as entry:
            entry.move_job(job, JobStatus.QUEUED, why, phase="queued")

    def _finish_unplaced(self, job: Job, plan: Plan, past: list[Placement]) -> None:
        error: GputuiError = no_match(plan)
        tried = "; ".join(f"{p.provider} {p.offer.region or ''}: {p.reason}".replace(" :", ":") for p in past)
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
    return cap if cap is not None else listed + listed * PRICE_TOLERANCE_PERCENT // 100
