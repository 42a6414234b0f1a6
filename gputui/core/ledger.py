"""The ledger's bookkeeping: opens, narrows, reprices and closes the usage intervals of a placement's machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gputui.core.metering import billed_seconds, boot_is_free, cost_range
from gputui.model.states import MachineState
from gputui.model.types import BillingRule, BillingStart, Machine, Placement, UsageInterval
from gputui.model.units import MicroUsdPerHour, Ms
from gputui.store import usage as usage_store
from gputui.store.db import Store, Tx

COMPUTE = "compute"
TRAFFIC = "traffic"

# How much more than the price that was shown a machine may cost where nobody said otherwise.
PRICE_TOLERANCE_PERCENT = 10
# States in which a machine is what was ordered. In any other, a provider that does not say so may or may not bill it.
_BILLED_STATES = frozenset({MachineState.PENDING, MachineState.RUNNING})


@dataclass(frozen=True, slots=True)
class Rates:
    """The least and the most that a machine costs per hour as it is now."""

    low: MicroUsdPerHour
    high: MicroUsdPerHour

    @property
    def row(self) -> dict[str, MicroUsdPerHour | None]:
        """Return the columns of an interval at these rates."""
        low = None if self.low == self.high else self.low
        return {"rate_micro_usd_per_hour": self.high, "rate_low_micro_usd_per_hour": low}


def dearest(shown: MicroUsdPerHour) -> MicroUsdPerHour:
    """Return the most that a machine may be expected to cost per hour, by the price that was shown."""
    return shown + shown * PRICE_TOLERANCE_PERCENT // 100


def rates_of(machine: Machine, *, price: MicroUsdPerHour) -> Rates:
    """Return what a machine costs per hour in its present state; `price` counts where it does not tell its own."""
    if machine.billed_micro_usd_per_hour is not None:
        return Rates(*machine.billed_micro_usd_per_hour)
    if machine.price_micro_usd_per_hour is not None:
        price = machine.price_micro_usd_per_hour
    return Rates(price if machine.state in _BILLED_STATES else 0, price)


def tells_its_price(machine: Machine) -> bool:
    return machine.billed_micro_usd_per_hour is not None or machine.price_micro_usd_per_hour is not None


def open_intervals(
    tx: Tx,
    placement: Placement,
    rule: BillingRule,
    machine: Machine,
    *,
    price: MicroUsdPerHour,
    price_before: MicroUsdPerHour = 0,
    start_earliest_ms: Ms,
    now_ms: Ms,
) -> None:
    """Begin to meter a machine that exists. Its clock may have started as early as the order.

    `price_before` is what it may have cost per hour in that time, whatever it costs in the state that it is found in. One
    that does not tell its price may cost anything up to what is `dearest`, until it tells.
    """
    is_assumed = not tells_its_price(machine)
    rates = Rates(0, dearest(price)) if is_assumed else rates_of(machine, price=price)
    usage_store.insert_interval(
        tx,
        job_id=placement.job_id,
        placement_id=placement.id,
        provider=placement.provider,
        resource=COMPUTE,
        **Rates(rates.low, max(rates.high, price_before)).row,
        rate_is_assumed=is_assumed,
        granularity_s=rule.granularity_s,
        minimum_s=rule.minimum_s,
        start_earliest_ms=start_earliest_ms,
        start_latest_ms=now_ms if rule.starts is BillingStart.BY_STATE else None,
        last_seen_ms=now_ms,
    )
    if machine.traffic_limit_micro_usd_per_hour:
        _open_traffic(tx, placement, machine.traffic_limit_micro_usd_per_hour, start_earliest_ms)


def book_lost_order(tx: Tx, placement: Placement, rule: BillingRule, *, now_ms: Ms) -> None:
    """Keep what an order cost at the most that has no machine: one may have come and gone before anybody looked."""
    ordered_ms = placement.requested_at_ms or placement.created_at_ms
    interval_id = usage_store.insert_interval(
        tx,
        job_id=placement.job_id,
        placement_id=placement.id,
        provider=placement.provider,
        resource=COMPUTE,
        **Rates(0, dearest(placement.offer.price_micro_usd_per_hour)).row,
        rate_is_assumed=True,
        granularity_s=rule.granularity_s,
        minimum_s=rule.minimum_s,
        start_earliest_ms=ordered_ms,
        last_seen_ms=ordered_ms,
    )
    interval = usage_store.load_interval(tx, interval_id)
    _close(tx, interval, end_earliest_ms=ordered_ms, end_latest_ms=now_ms, reason="the order got lost")


def observe(
    store: Store, placement: Placement, rule: BillingRule, machine: Machine, *, asked_ms: Ms, answered_ms: Ms
) -> None:
    """Narrow the open intervals by what the provider just said of the machine.

    The question left at `asked_ms` and the answer was here at `answered_ms`; the truth of it lies in between. A changed
    rate closes the interval and opens the next one; one that was only assumed has been what is told from the start.
    """
    interval = usage_store.load_open_interval(store, placement.id, COMPUTE)
    if interval is None:
        return
    is_running = machine.state is MachineState.RUNNING
    changes: dict[str, Any] = {"last_seen_ms": max(interval.last_seen_ms, asked_ms)}
    if interval.start_latest_ms is None:
        if is_running:
            changes["start_latest_ms"] = answered_ms
        elif boot_is_free(rule) and machine.state is MachineState.PENDING:
            changes["start_earliest_ms"] = max(interval.start_earliest_ms, asked_ms)
    before, rates = _rates_in(interval), rates_of(machine, price=interval.rate_micro_usd_per_hour)
    # What is billed of one that is off, or broken, tells nothing of what was billed before.
    tells_of_before = machine.state in _BILLED_STATES or machine.billed_micro_usd_per_hour is None
    was_this_always = interval.rate_is_assumed and tells_of_before
    if was_this_always and tells_its_price(machine):
        changes |= {**rates.row, "rate_is_assumed": False}
    with store.write() as tx:
        usage_store.update_interval(tx, interval.id, **changes)
        if rates != before and not was_this_always:
            changed = replace(interval, **changes)
            _change_rates(tx, changed, rates, seen_ms=interval.last_seen_ms, answered_ms=answered_ms)
        if is_running:
            _read_counter(store, tx, placement, machine, interval.start_earliest_ms, asked_ms=asked_ms)


def close_intervals(
    tx: Tx,
    intervals: list[UsageInterval],
    *,
    price: MicroUsdPerHour,
    end_earliest_ms: Ms,
    end_latest_ms: Ms,
    reason: str,
) -> None:
    """Fix what a machine cost, for ever. The edges are put in order if a clock went backwards.

    One that was last seen in a state that costs less than `price` may have run since, unseen.
    """
    for interval in intervals:
        if interval.resource == COMPUTE and interval.rate_micro_usd_per_hour < price:
            # One that is gone may be listed for a while: no sighting counts from after its end was asked for.
            seen_ms, rates = min(interval.last_seen_ms, end_earliest_ms), Rates(_rates_in(interval).low, price)
            interval = _reprice(tx, interval, rates, at_ms=seen_ms)
        _close(tx, interval, end_earliest_ms=end_earliest_ms, end_latest_ms=end_latest_ms, reason=reason)


def _close(tx: Tx, interval: UsageInterval, *, end_earliest_ms: Ms, end_latest_ms: Ms, reason: str) -> None:
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


def _change_rates(tx: Tx, interval: UsageInterval, rates: Rates, *, seen_ms: Ms, answered_ms: Ms) -> None:
    """The rates changed somewhere between the last sighting and this answer: until when the old ones held and from when the
    new ones do, nobody knows. In between counts the lesser of both for the least and the greater for the most."""
    before = _rates_in(interval)
    between = Rates(min(before.low, rates.low), max(before.high, rates.high))
    if between != before:
        interval = _reprice(tx, interval, between, at_ms=seen_ms)
    if between != rates:
        _reprice(tx, interval, rates, at_ms=answered_ms)


def _reprice(tx: Tx, interval: UsageInterval, rates: Rates, *, at_ms: Ms) -> UsageInterval:
    """End an interval and begin the next one, which is returned, at other rates. The minimum charge counts once per machine:
    what the first interval has not used up of it stays with the second."""
    begun_ms, unit_s = interval.start_latest_ms or interval.start_earliest_ms, interval.granularity_s
    used_least_s = billed_seconds(at_ms - begun_ms, granularity_s=unit_s, minimum_s=0, round_up=False)
    used_most_s = billed_seconds(at_ms - interval.start_earliest_ms, granularity_s=unit_s, minimum_s=0, round_up=True)
    usage_store.update_interval(tx, interval.id, minimum_s=0, minimum_low_s=None)
    split = replace(interval, minimum_s=0, minimum_low_s=None)
    _close(tx, split, end_earliest_ms=at_ms, end_latest_ms=at_ms, reason="rate changed")
    minimum_low_s = interval.minimum_s if interval.minimum_low_s is None else interval.minimum_low_s
    new_id = usage_store.insert_interval(
        tx,
        job_id=interval.job_id,
        placement_id=interval.placement_id,
        provider=interval.provider,
        resource=interval.resource,
        **rates.row,
        granularity_s=interval.granularity_s,
        minimum_s=max(0, interval.minimum_s - used_least_s),
        minimum_low_s=max(0, minimum_low_s - used_most_s),
        start_earliest_ms=max(at_ms, interval.start_earliest_ms),
        start_latest_ms=max(at_ms, interval.start_latest_ms) if interval.start_latest_ms is not None else None,
        last_seen_ms=at_ms,
    )
    return usage_store.load_interval(tx, new_id)


def _read_counter(
    store: Store, tx: Tx, placement: Placement, machine: Machine, start_earliest_ms: Ms, *, asked_ms: Ms
) -> None:
    """Take in the provider's own counter of traffic.

    Only a running machine's: the image pull may be counted no sooner than when it is done.
    """
    limit, counted = machine.traffic_limit_micro_usd_per_hour, machine.traffic_micro_usd
    interval = usage_store.load_open_interval(store, placement.id, TRAFFIC)
    if interval is None:
        if not limit and not counted:
            return
        _open_traffic(tx, placement, limit or 0, start_earliest_ms)
        interval = usage_store.load_open_interval(store, placement.id, TRAFFIC)
    if interval is None or counted is None:
        return
    usage_store.update_interval(
        tx,
        interval.id,
        metered_micro_usd=max(counted, interval.metered_micro_usd or 0),
        last_seen_ms=max(asked_ms, interval.last_seen_ms),
        rate_micro_usd_per_hour=max(limit or 0, interval.rate_micro_usd_per_hour),
    )


def _open_traffic(tx: Tx, placement: Placement, limit: MicroUsdPerHour, start_earliest_ms: Ms) -> None:
    usage_store.insert_interval(
        tx,
        job_id=placement.job_id,
        placement_id=placement.id,
        provider=placement.provider,
        resource=TRAFFIC,
        rate_micro_usd_per_hour=limit,
        granularity_s=1,
        minimum_s=0,
        start_earliest_ms=start_earliest_ms,
        start_latest_ms=start_earliest_ms,
        last_seen_ms=start_earliest_ms,
        metered_micro_usd=0,
    )


def _rates_in(interval: UsageInterval) -> Rates:
    low = interval.rate_low_micro_usd_per_hour
    return Rates(interval.rate_micro_usd_per_hour if low is None else low, interval.rate_micro_usd_per_hour)
