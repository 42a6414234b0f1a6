"""What people read: jobs with what they cost so far, spending by job and provider, and what is being paid right now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gputui.core.metering import Cost, cost_of, cost_range
from gputui.model.states import JobStatus
from gputui.model.types import Job, Placement, UsageInterval
from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms
from gputui.model.vitals import Vitals
from gputui.store import jobs as job_store
from gputui.store import usage as usage_store
from gputui.store.db import Store
from gputui.store.vitals import load_vitals


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job, what it cost, where it runs or last ran (None before its first placement), and what its machine last said."""

    job: Job
    placement: Placement | None
    intervals: tuple[UsageInterval, ...]
    vitals: Vitals | None = None

    @property
    def rate_micro_usd_per_hour(self) -> MicroUsdPerHour | None:
        """Return the machine's agreed hourly price, or the offer's while nothing is agreed."""
        if self.placement is None:
            return None
        agreed = self.placement.agreed_price_micro_usd_per_hour
        return agreed if agreed is not None else self.placement.offer.price_micro_usd_per_hour

    def most_micro_usd(self, *, now_ms: Ms) -> MicroUsd | None:
        """Return what a live job will have cost at most when its limit ends it, None without a limit.

        Traffic counts as far as its provider has counted it.
        """
        limit_s, started_ms = self.job.spec.max_duration_s, self.job.started_at_ms
        if limit_s is None:
            return None
        end_ms = max(now_ms, (now_ms if started_ms is None else started_ms) + limit_s * 1000)
        return sum(
            cost_range(interval, now_ms=end_ms if interval.metered_micro_usd is None else now_ms)[1]
            for interval in self.intervals
        )


@dataclass(frozen=True, slots=True)
class Burn:
    """What is being paid right now: jobs alive, their machines with the hourly sum, and what today (UTC) has cost so far.

    A machine that is being ordered is one of them, at its offer's price: it may exist already.
    """

    alive_jobs: int
    machines: int
    rate_micro_usd_per_hour: MicroUsdPerHour
    today: Cost


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one job cost at one provider; `traffic` is the part of it that the provider counts by itself."""

    job: Job
    provider: str
    gpu: str
    billed_from_ms: Ms
    billed_to_ms: Ms | None
    cost: Cost
    traffic: Cost


def report_jobs(
    store: Store, *, now_ms: Ms, limit: int = 200, status: Iterable[JobStatus] | None = None
) -> list[JobReport]:
    """Return jobs, newest first, with cost."""
    found = job_store.load_jobs(store, limit=limit, status=list(status) if status is not None else None)
    return [_report(store, job, intervals, now_ms) for job, intervals in _with_intervals(store, found)]


def report_job(store: Store, job_id: str, *, now_ms: Ms) -> JobReport | None:
    """Return one job with cost, None when there is none."""
    job = job_store.load_job(store, job_id)
    if job is None:
        return None
    [(job, intervals)] = _with_intervals(store, [job])
    return _report(store, job, intervals, now_ms)


def burn(store: Store, *, now_ms: Ms) -> Burn:
    """Return what is being paid right now."""
    # What the provider counts by itself (traffic) has no rate, only a limit.
    open_intervals = [
        interval
        for interval in usage_store.load_intervals(store, since_ms=now_ms)
        if interval.end_latest_ms is None and interval.metered_micro_usd is None
    ]
    ordered = [found.offer for found in job_store.load_live_placements(store) if found.machine_id is None]
    return Burn(
        alive_jobs=job_store.count_alive_jobs(store),
        machines=len({interval.placement_id for interval in open_intervals}) + len(ordered),
        rate_micro_usd_per_hour=sum(interval.rate_micro_usd_per_hour for interval in open_intervals)
        + sum(offer.price_micro_usd_per_hour for offer in ordered),
        today=_cost_since(store, midnight_ms=now_ms - now_ms % 86_400_000, now_ms=now_ms),
    )


def usage_rows(store: Store, *, since_ms: Ms, now_ms: Ms) -> list[UsageRow]:
    """Return what each job cost that billed since a moment, newest first."""
    by_placement: dict[str, list[UsageInterval]] = defaultdict(list)
    for interval in usage_store.load_intervals(store, since_ms=since_ms):
        by_placement[interval.placement_id].append(interval)
    rows = []
    for placement_id, intervals in by_placement.items():
        placement = job_store.load_placement(store, placement_id)
        job = job_store.load_job(store, intervals[0].job_id)
        if placement is None or job is None:
            continue
        ends = [interval.end_latest_ms for interval in intervals]
        rows.append(
            UsageRow(
                job=job,
                provider=placement.provider,
                gpu=placement.offer.gpu,
                billed_from_ms=min(interval.start_latest_ms or interval.start_earliest_ms for interval in intervals),
                billed_to_ms=None if None in ends else max(end for end in ends if end is not None),
                cost=cost_of(intervals, now_ms=now_ms),
                traffic=cost_of((i for i in intervals if i.metered_micro_usd is not None), now_ms=now_ms),
            )
        )
    return sorted(rows, key=lambda row: row.billed_from_ms, reverse=True)


def live_placements(store: Store) -> list[Placement]:
    """Return every placement that may cost money now."""
    return job_store.load_live_placements(store)


def _cost_since(store: Store, *, midnight_ms: Ms, now_ms: Ms) -> Cost:
    """Return the part of all costs that fell after a moment: for an interval that began before, cost now minus cost then."""
    low_total = high_total = 0
    for interval in usage_store.load_intervals(store, since_ms=midnight_ms):
        low, high = cost_range(interval, now_ms=now_ms)
        low_before, high_before = _cost_until(interval, midnight_ms)
        low_total += max(0, low - high_before)
        high_total += max(0, high - low_before)
    return Cost.between(low_total, high_total)


def _cost_until(interval: UsageInterval, midnight_ms: Ms) -> tuple[MicroUsd, MicroUsd]:
    """Return the least and the most an interval can have cost by a moment in its past."""
    if interval.start_earliest_ms >= midnight_ms:
        return 0, 0
    if interval.metered_micro_usd is not None:  # nobody kept what the counter said then
        return 0, interval.metered_micro_usd
    until_midnight = replace(
        interval,
        cost_low_micro_usd=None,
        cost_high_micro_usd=None,
        last_seen_ms=min(interval.last_seen_ms, midnight_ms),
        end_earliest_ms=min(interval.end_earliest_ms or midnight_ms, midnight_ms),
        end_latest_ms=midnight_ms,
    )
    return cost_range(until_midnight, now_ms=midnight_ms)


def _with_intervals(store: Store, jobs: list[Job]) -> list[tuple[Job, tuple[UsageInterval, ...]]]:
    by_job: dict[str, list[UsageInterval]] = defaultdict(list)
    for start in range(0, len(jobs), 500):
        ids = [job.id for job in jobs[start : start + 500]]
        for interval in usage_store.load_intervals(store, job_ids=ids):
            by_job[interval.job_id].append(interval)
    return [(job, tuple(by_job[job.id])) for job in jobs]


def _report(store: Store, job: Job, intervals: tuple[UsageInterval, ...], now_ms: Ms) -> JobReport:
    cost = cost_of(intervals, now_ms=now_ms)
    costed = replace(job, cost_micro_usd=cost.micro_usd, cost_uncertainty_micro_usd=cost.uncertainty_micro_usd)
    placement = job_store.load_placement(store, job.placement_id) if job.placement_id else None
    vitals = load_vitals(store, placement.id) if placement else None
    return JobReport(costed, placement, intervals, vitals)
