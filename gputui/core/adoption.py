"""Take a lost machine back: it becomes the machine of a job of its own, which keeps it, meters it and ends it."""

from __future__ import annotations

from dataclasses import replace

from gputui.core import ledger
from gputui.core.jobs import price_ceiling
from gputui.core.journal import Journal
from gputui.core.sweep import kind_of, placement_of
from gputui.model.clock import Clock
from gputui.model.errors import GuardRefused
from gputui.model.ids import Ids, short_id
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobKind, JobSpec, Machine, Placement
from gputui.model.units import Ms
from gputui.providers.registry import provider_info, provider_title
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import wishes as wish_store
from gputui.store.db import Store
from gputui.store.findings import FindingKind


def adopt(
    store: Store,
    machine: Machine,
    *,
    clock: Clock,
    ids: Ids,
    profile: str,
    key_print: str | None,
    max_duration_s: int | None = None,
) -> Job:
    """Write a running job that has the machine; the agent watches over it from then on.

    Metered from the moment at which its first job was done with it, else since it was made. Raises GuardRefused for a
    machine that is not lost.
    """
    lost = _the_lost(store, machine, clock=clock, profile=profile)
    offer = lost.offer
    spec = JobSpec(
        gpu=machine.gpu or offer.gpu,
        kind=JobKind.MACHINE,
        gpu_count=machine.gpu_count or offer.gpu_count,
        provider=machine.provider,
        region=machine.region or offer.region,
        max_duration_s=max_duration_s,
    )
    job_id, placement_id = ids.ulid(), ids.ulid()
    now_ms = clock.now_ms()
    price = machine.price_micro_usd_per_hour or offer.price_micro_usd_per_hour
    job = Job(
        id=job_id,
        spec=spec,
        status=JobStatus.RUNNING,
        phase="running",
        created_at_ms=now_ms,
        name=f"adopted-{short_id(job_id)}",
        started_at_ms=now_ms,
        placement_id=placement_id,
    )
    is_same = lost.machine_id == machine.id
    placement = Placement(
        id=placement_id,
        job_id=job_id,
        attempt=1,
        provider=machine.provider,
        offer=offer,
        label=f"gputui-{profile}-{placement_id}",
        idempotency_key=f"gputui-{placement_id}",
        nonce=ids.token(),
        state=PlacementState.RUNNING,
        created_at_ms=now_ms,
        price_ceiling_micro_usd_per_hour=price_ceiling(job, price),
        agreed_price_micro_usd_per_hour=price,
        machine_id=machine.id,
        ssh_host=machine.ip,
        ssh_port=machine.ssh_port,
        ssh_user=machine.ssh_user,
        host_key=lost.host_key if is_same else None,
        requested_at_ms=lost.requested_at_ms,
        ready_at_ms=now_ms,
        running_at_ms=now_ms,
        accepted_at_ms=now_ms,
        key_print=key_print,
    )
    rule = provider_info(machine.provider).billing
    with Journal(store, clock).entry() as entry:
        _the_lost(store, machine, clock=clock, profile=profile)  # nobody else has taken it meanwhile
        job_store.insert_job(entry.tx, job)
        entry.add_placement(
            placement, f"{provider_title(machine.provider)} machine {machine.id}, which was lost, has a job again"
        )
        entry.note(lost.job_id, f"machine {machine.id} was found alive and adopted as job {job.name}")
        ledger.open_intervals(
            entry.tx,
            placement,
            # What its first job paid of the minimum is not charged twice.
            replace(rule, minimum_s=0) if is_same else rule,
            machine,
            price=price,
            start_earliest_ms=_unmetered_since_ms(machine, lost),
            now_ms=now_ms,
        )
        finding_store.resolve_machine(entry.tx, machine.provider, machine.id, now_ms=now_ms)
    return job


def _unmetered_since_ms(machine: Machine, lost: Placement) -> Ms:
    """Return since when a machine may have cost money that nobody metered."""
    if lost.machine_id == machine.id and lost.gone_at_ms is not None:
        return lost.gone_at_ms
    return machine.created_at_ms or lost.requested_at_ms or lost.created_at_ms


def _the_lost(store: Store, machine: Machine, *, clock: Clock, profile: str) -> Placement:
    """Return the placement that a lost machine was made for."""
    kind = kind_of(store, profile, machine, clock.now_ms())
    placement = placement_of(store, machine)
    what = f"Machine {machine.id} at {provider_title(machine.provider)}"
    if placement is not None and kind is not FindingKind.LOST:
        raise GuardRefused(f"{what} has a job.", hint=f"See: gputui jobs status {short_id(placement.job_id)}")
    if placement is None:
        raise GuardRefused(f"{what} was not made by a job of this profile, which knows nothing of it.")
    wish = wish_store.load_termination(store, machine.provider, machine.id)
    if wish is not None and wish.gone_at_ms is None:
        raise GuardRefused(f"{what} is being ended already.")
    return placement
