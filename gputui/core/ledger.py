"""The ledger's bookkeeping: opens, narrows, reprices and closes the usage interval of a placement's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gputui.core.metering import billed_seconds, cost_range, start_is_known_to_follow_order
from gputui.model.types import BillingRule, Placement, UsageInterval
from gputui.model.units import MicroUsdPerHour, Ms
from gputui.store import usage as usage_store
from gputui.store.db import Store, Tx

COMPUTE = "compute"


def open_interval(
    tx: Tx, placement: Placement, rule: BillingRule, *, rate: MicroUsdPerHour, start_earliest_ms: Ms, now_ms: Ms
) -> None:
    """Begin to meter a machine that exists. Its clock may have started as early as the order."""
    usage_store.insert_interval(
        tx,
        job_id=placement.job_id,
        placement_id=placement.id,
        provider=placement.provider,
        resource=COMPUTE,
        rate_micro_usd_per_hour=rate,
        granularity_s=rule.granularity_s,
        minimum_s=rule.minimum_s,
        start_earliest_ms=start_earliest_ms,
        last_seen_ms=now_ms,
    )


def observe(
    store: Store,
    placement: Placement,
    rule: BillingRule,
    *,
    asked_ms: Ms,
    answered_ms: Ms,
    is_running: bool,
    rate: MicroUsdPerHour | None,
) -> None:
    """Narrow the open interval by what the provider just said of the machine.

    The question left at `asked_ms` and the answer was here at `answered_ms`; the truth of it lies in between. A changed
    rate closes the interval and opens the next one at the same moments.
    """
    interval = usage_store.load_open_interval(store, placement.id)
    if interval is None:
        return
    changes: dict[str, Any] = {"last_seen_ms": max(interval.last_seen_ms, asked_ms)}
    if interval.start_latest_ms is None:
        if is_running:
            changes["start_latest_ms"] = answered_ms
        elif start_is_known_to_follow_order(rule):
            changes["start_earliest_ms"] = max(interval.start_earliest_ms, asked_ms)
    with store.write() as tx:
        usage_store.update_interval(tx, interval.id, **changes)
        if rate is not None and rate != interval.rate_micro_usd_per_hour:
            _reprice(tx, replace(interval, **changes), rate, asked_ms=asked_ms, answered_ms=answered_ms)


def close_interval(tx: Tx, interval: UsageInterval, *, end_earliest_ms: Ms, end_latest_ms: Ms, reason: str) -> None:
    """Fix what an interval cost, for ever. The edges are put in order if a clock went backwards."""
    end_earliest_ms = max(end_earliest_ms, interval.start_earliest_ms)
    end_latest_ms = max(end_latest_ms, end_earliest_ms)
    closed = replace(interval, end_earliest_ms=end_earliest_ms, end_latest_ms=end_latest_ms)
    low, high = cost_range(closed, now_ms=end_latest_ms)
    usage_store.update_interval(
        tx,
        interval.id,
        end_earliest_ms=end_earliest_ms,
        end_latest_ms=end_latest_ms,
        cost_low_micro_usd=low,
        cost_high_micro_usd=max(low, high),
        close_reason=reason,
    )


def _reprice(tx: Tx, interval: UsageInterval, rate: MicroUsdPerHour, *, asked_ms: Ms, answered_ms: Ms) -> None:
    """The price changed somewhere between the last sighting and this answer. The minimum charge counts once per machine:
    what the first interval has not used up of it stays with the second."""
    changed_earliest_ms = min(interval.last_seen_ms, asked_ms)
    split = replace(interval, minimum_s=0)
    used_s = billed_seconds(
        changed_earliest_ms - (interval.start_latest_ms or interval.start_earliest_ms),
        granularity_s=interval.granularity_s,
        minimum_s=0,
        round_up=False,
    )
    usage_store.update_interval(tx, interval.id, minimum_s=0)
    close_interval(tx, split, end_earliest_ms=changed_earliest_ms, end_latest_ms=answered_ms, reason="price changed")
    usage_store.insert_interval(
        tx,
        job_id=interval.job_id,
        placement_id=interval.placement_id,
        provider=interval.provider,
        resource=interval.resource,
        rate_micro_usd_per_hour=rate,
        granularity_s=interval.granularity_s,
        minimum_s=max(0, interval.minimum_s - used_s),
        start_earliest_ms=changed_earliest_ms,
        start_latest_ms=answered_ms if interval.start_latest_ms is not None else None,
        last_seen_ms=answered_ms,
    )
