"""Every change of a job or placement is one transaction: the row moves and the event that says why is written, or neither."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gputui.model.clock import Clock
from gputui.model.errors import AgentError, StoreError
from gputui.model.states import JobStatus, PlacementState, check_job_move, check_placement_move
from gputui.model.types import Job, Placement
from gputui.store import jobs as job_store
from gputui.store.db import Store, Tx

log = logging.getLogger("gputui.agent")


@contextlib.contextmanager
def outliving(what: str) -> Iterator[None]:
    """Go on when something could not be written: a full disk must not end the supervision of machines that cost money.

    Only for what may be missing from the store; an intent, say, may not.
    """
    try:
        yield
    except StoreError as error:
        log.error("could not %s: %s", what, error)


class LostRace(AgentError):
    """The row is not in the state we left it in: another agent acted. Ours must stop."""

    code = "lost_race"


class Entry:
    """One transaction of the journal, at one moment."""

    def __init__(self, tx: Tx, now_ms: int) -> None:
        self.tx = tx
        self.now_ms = now_ms

    def add_placement(self, placement: Placement, why: str) -> None:
        """Write a new placement: the intent, before anything leaves."""
        job_store.insert_placement(self.tx, placement)
        self._event(placement.job_id, placement.id, "placement", None, placement.state, why, None)

    def move_placement(
        self,
        placement: Placement,
        to: PlacementState,
        why: str,
        *,
        facts: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Placement:
        """Move a placement and return it as it is now. Raises LostRace when the stored state is not `placement.state`."""
        check_placement_move(placement.state, to)
        assignments = {"state": to.value, **changes}
        columns = ", ".join(f"{name} = :{name}" for name in assignments)
        touched = self.tx.execute(
            f"UPDATE placements SET {columns} WHERE id = :_id AND state = :_state",
            {**assignments, "_id": placement.id, "_state": placement.state.value},
        )
        if touched != 1:
            raise LostRace(f"Placement {placement.id} is no longer {placement.state}.")
        if to is not placement.state:
            self._event(placement.job_id, placement.id, "placement", placement.state, to, why, facts)
        return replace(placement, state=to, **changes)

    def move_job(
        self, job: Job, to: JobStatus, why: str, *, facts: Mapping[str, Any] | None = None, **changes: Any
    ) -> Job:
        """Move a job and return it as it is now. Raises LostRace when the stored status is not `job.status`."""
        check_job_move(job.status, to)
        assignments = {"status": to.value, **changes}
        columns = ", ".join(f"{name} = :{name}" for name in assignments)
        touched = self.tx.execute(
            f"UPDATE jobs SET {columns} WHERE id = :_id AND status = :_status",
            {**assignments, "_id": job.id, "_status": job.status.value},
        )
        if touched != 1:
            raise LostRace(f"Job {job.id} is no longer {job.status}.")
        if to is not job.status:
            self._event(job.id, None, "job", job.status, to, why, facts)
        return replace(job, status=to, **changes)

    def note(
        self, job_id: str, why: str, *, placement_id: str | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Add a line to the timeline without moving anything."""
        self._event(job_id, placement_id, "note", None, None, why, facts)

    def _event(
        self,
        job_id: str,
        placement_id: str | None,
        kind: str,
        state_from: str | None,
        state_to: str | None,
        why: str,
        facts: Mapping[str, Any] | None,
    ) -> None:
        job_store.add_event(
            self.tx,
            at_ms=self.now_ms,
            job_id=job_id,
            placement_id=placement_id,
            kind=kind,
            state_from=state_from,
            state_to=state_to,
            why=why,
            facts=facts,
        )


class Journal:
    """Writes entries into one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    @contextlib.contextmanager
    def entry(self) -> Iterator[Entry]:
        """Open a transaction; everything done on the entry is committed together."""
        with self.store.write() as tx:
            yield Entry(tx, self.clock.now_ms())

    def phase(self, job: Job, phase: str) -> Job:
        """Say in a few words what is going on; no event."""
        if job.phase == phase:
            return job
        try:
            with self.entry() as entry:
                return entry.move_job(job, job.status, "", phase=phase)
        except StoreError as error:
            log.error("could not say what is going on: %s", error)
            return job

    def note(
        self, job_id: str, why: str, *, placement_id: str | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Add a line to the timeline; one that cannot be written goes to the agent's log."""
        with outliving(f"note of job {job_id} that {why}"), self.entry() as entry:
            entry.note(job_id, why, placement_id=placement_id, facts=facts)
