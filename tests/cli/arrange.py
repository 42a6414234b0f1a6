"""Jobs and offers put straight into the store, for commands to find."""

from __future__ import annotations

from typing import Any

from gputui.core.desk import Desk
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobSpec, Offer, Placement, Stock
from gputui.store import jobs as job_store
from gputui.store import offers as offer_store
from gputui.store import usage as usage_store


def make_offer(desk: Desk, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": "mock:one",
        "provider": "mock",
        "gpu": "H100-SXM",
        "gpu_count": 1,
        "price_micro_usd_per_hour": 2_290_000,
        "fetched_at_ms": desk.clock.now_ms(),
        "vram_gib": 80,
        "region": "us-east",
        "stock": Stock.HIGH,
    }
    return Offer(**{**values, **changes})


def keep_offers(desk: Desk, *offers: Offer, provider: str = "mock", age_ms: int = 0) -> None:
    """Make these the fresh offers of a provider, so that a command asks nobody."""
    now_ms = desk.clock.now_ms() - age_ms
    offer_store.replace_snapshot(desk.store, provider, offers, now_ms=now_ms, latency_ms=1)


def keep_job(desk: Desk, *, status: JobStatus = JobStatus.COMPLETED, name: str = "train", **changes: Any) -> Job:
    """Store a job that has run on one machine for an hour."""
    now_ms = desk.clock.now_ms()
    job_id = desk.ids.ulid()
    placement_id = desk.ids.ulid()
    job = Job(
        id=job_id,
        spec=JobSpec(gpu="H100", image="pytorch/pytorch:latest", command="python train.py"),
        status=status,
        phase="done",
        created_at_ms=now_ms - 3_700_000,
        name=name,
        started_at_ms=now_ms - 3_600_000,
        ended_at_ms=now_ms,
        exit_code=0,
        placement_id=placement_id,
    )
    job = Job(**{**{name: getattr(job, name) for name in job.__dataclass_fields__}, **changes})
    placement = Placement(
        id=placement_id,
        job_id=job.id,
        attempt=1,
        provider="mock",
        offer=make_offer(desk),
        label=f"gputui-default-{placement_id}",
        idempotency_key=placement_id,
        nonce="n",
        state=PlacementState.GONE,
        created_at_ms=job.created_at_ms,
        agreed_price_micro_usd_per_hour=2_290_000,
        machine_id=f"machine-{placement_id[-6:]}",
        ssh_host="192.0.2.7",
        ssh_port=2222,
        ssh_user="ubuntu",
    )
    with desk.store.write() as tx:
        job_store.insert_job(tx, job)
        job_store.insert_placement(tx, placement)
        job_store.add_event(tx, at_ms=now_ms, job_id=job.id, kind="job", state_to=status.value, why="it ended")
        usage_store.insert_interval(
            tx,
            job_id=job.id,
            placement_id=placement.id,
            provider="mock",
            resource="compute",
            rate_micro_usd_per_hour=2_290_000,
            granularity_s=1,
            minimum_s=0,
            start_earliest_ms=now_ms - 3_600_000,
            start_latest_ms=now_ms - 3_600_000,
            last_seen_ms=now_ms,
            end_earliest_ms=now_ms,
            end_latest_ms=now_ms,
            cost_low_micro_usd=2_280_000,
            cost_high_micro_usd=2_300_000,
            close_reason="ended",
        )
    return job
