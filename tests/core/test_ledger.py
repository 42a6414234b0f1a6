"""What the ledger makes of a machine's sightings: a true bill must lie inside, whatever happened between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gputui.core import ledger
from gputui.core.metering import cost_of
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import BillingRule, BillingStart, Job, JobSpec, Machine, Offer, Placement
from gputui.store import jobs as job_store
from gputui.store import usage as usage_store
from gputui.store.db import Store, open_store

HOURLY = 3_600_000  # micro-dollars per hour: 1,000 a second
BY_STATE = BillingRule(granularity_s=1, minimum_s=0, starts=BillingStart.BY_STATE, source="test")
EITHER = BillingRule(granularity_s=1, minimum_s=0, starts=BillingStart.ORDERED_OR_RUNNING, source="test")
TEN_MINUTES = BillingRule(granularity_s=1, minimum_s=600, starts=BillingStart.RUNNING, source="test")
OFFER = Offer(id="o", provider="p", gpu="H100", gpu_count=1, price_micro_usd_per_hour=HOURLY, fetched_at_ms=0)
PLACEMENT = Placement(
    id="p1",
    job_id="j1",
    attempt=1,
    provider="p",
    offer=OFFER,
    label="l",
    idempotency_key="k",
    nonce="n",
    state=PlacementState.PROVISIONING,
    created_at_ms=0,
)


def machine(state: MachineState = MachineState.RUNNING, **told: Any) -> Machine:
    return Machine(id="m", provider="p", state=state, raw_state="", **{"price_micro_usd_per_hour": HOURLY, **told})


class Life:
    """One machine's life, told in seconds: ordered at 0, each answer taking no time."""

    def __init__(self, store: Store, rule: BillingRule) -> None:
        self.store, self.rule = store, rule

    def ordered(self, found: Machine, *, answered_s: int = 0) -> None:
        with self.store.write() as tx:
            ledger.open_intervals(
                tx, PLACEMENT, self.rule, found, price=HOURLY, start_earliest_ms=0, now_ms=answered_s * 1000
            )

    def seen(self, at_s: int, found: Machine) -> None:
        ledger.observe(self.store, PLACEMENT, self.rule, found, asked_ms=at_s * 1000, answered_ms=at_s * 1000)

    def ended(self, at_s: int) -> None:
        intervals = usage_store.load_open_intervals(self.store, PLACEMENT.id)
        with self.store.write() as tx:
            ledger.close_intervals(
                tx, intervals, price=HOURLY, end_earliest_ms=at_s * 1000, end_latest_ms=at_s * 1000, reason="test"
            )

    def range_usd_thousandths(self, now_s: int = 0) -> tuple[float, float]:
        """Return least and most so far, in seconds of the hourly price (thousands of micro-dollars)."""
        cost = cost_of(usage_store.load_placement_intervals(self.store, PLACEMENT.id), now_ms=now_s * 1000)
        low, high = cost.micro_usd - cost.uncertainty_micro_usd, cost.micro_usd + cost.uncertainty_micro_usd
        return low / 1000, high / 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "gputui.db")
    job = Job(id="j1", spec=JobSpec(gpu="H100"), status=JobStatus.PROVISIONING, phase="", created_at_ms=0, name="a job")
    with opened.write() as tx:
        job_store.insert_job(tx, job)
        job_store.insert_placement(tx, PLACEMENT)
    yield opened
    opened.close()


def test_a_dearer_price_may_hold_from_just_after_the_last_sighting(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine())
    life.seen(0, machine())
    life.seen(100, machine(price_micro_usd_per_hour=2 * HOURLY))
    life.ended(200)
    # changed at once: 200 + 200; changed at the last moment: 100 + 200
    assert life.range_usd_thousandths() == (300, 400)


def test_a_cheaper_price_may_hold_from_just_after_the_last_sighting(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine())
    life.seen(0, machine())
    for at_s in (100, 200):
        life.seen(at_s, machine(price_micro_usd_per_hour=HOURLY // 2))
    life.ended(200)
    assert life.range_usd_thousandths() == (50 + 50, 100 + 50)


def test_a_price_that_changes_at_the_start_is_owed_from_when_it_runs(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine(MachineState.PENDING))
    life.seen(100, machine(MachineState.PENDING))
    life.seen(120, machine(price_micro_usd_per_hour=2 * HOURLY))
    life.ended(200)
    # not billed before it ran: 80 s at the new price; billed from the order, and dearer since it was last seen waiting
    assert life.range_usd_thousandths() == (2 * 80, 100 + 2 * 100)


@pytest.mark.parametrize("state", [MachineState.ERROR, MachineState.UNKNOWN, MachineState.STOPPED])
def test_a_state_that_may_be_free_counts_for_the_most_and_not_for_the_least(store: Store, state: MachineState) -> None:
    life = Life(store, EITHER)
    life.ordered(machine())
    life.seen(0, machine())
    life.seen(100, machine())
    life.seen(110, machine(state))
    life.seen(500, machine(state))
    life.seen(510, machine())
    life.ended(600)
    assert life.range_usd_thousandths() == (100 + 90, 600)


def test_the_most_of_a_change_that_leaves_it_as_it_was_counts_no_second_twice(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine())
    life.seen(0, machine())
    life.seen(900, machine(MachineState.UNKNOWN))  # after a long absence
    life.ended(1000)
    assert life.range_usd_thousandths() == (0, 1000)


def test_a_price_that_was_only_assumed_has_been_the_real_one_from_the_start(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine(MachineState.PENDING, price_micro_usd_per_hour=None), answered_s=40)
    life.seen(50, machine(price_micro_usd_per_hour=2 * HOURLY))
    life.ended(150)
    [interval] = usage_store.load_placement_intervals(store, PLACEMENT.id)
    assert not interval.rate_is_assumed
    assert life.range_usd_thousandths() == (2 * 100, 2 * 150)


def test_a_price_that_is_first_told_of_a_machine_that_is_off_was_not_what_it_cost_before(store: Store) -> None:
    life = Life(store, EITHER)
    disk = (HOURLY // 100, HOURLY // 100)
    life.ordered(machine(MachineState.PENDING, price_micro_usd_per_hour=None))
    life.seen(50, machine(price_micro_usd_per_hour=None))
    for at_s in (100, 300):
        life.seen(at_s, machine(MachineState.STOPPED, billed_micro_usd_per_hour=disk))
    with store.write() as tx:
        intervals = usage_store.load_open_intervals(store, PLACEMENT.id)
        ledger.close_intervals(tx, intervals, price=0, end_earliest_ms=300_000, end_latest_ms=300_000, reason="test")
    assert life.range_usd_thousandths() == (2, pytest.approx(1.1 * 100 + 2))


def test_a_price_that_was_never_told_may_be_a_little_over_the_one_shown(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine(price_micro_usd_per_hour=None))
    life.seen(10, machine(price_micro_usd_per_hour=None))
    life.seen(20, machine(MachineState.ERROR, price_micro_usd_per_hour=None))
    life.ended(100)
    [interval] = usage_store.load_placement_intervals(store, PLACEMENT.id)
    assert interval.rate_is_assumed
    assert life.range_usd_thousandths() == (0, pytest.approx(1.1 * 100))


def test_an_order_that_got_lost_may_have_cost_something_until_nobody_looked_any_more(store: Store) -> None:
    with store.write() as tx:
        ledger.book_lost_order(tx, PLACEMENT, EITHER, now_ms=70_000)
    assert Life(store, EITHER).range_usd_thousandths(now_s=10_000) == (0, pytest.approx(1.1 * 70))


def test_a_change_after_an_assumed_price_was_told_is_one_like_any_other(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine(MachineState.PENDING, price_micro_usd_per_hour=None))
    life.seen(0, machine())
    life.seen(100, machine(price_micro_usd_per_hour=2 * HOURLY))
    life.ended(200)
    assert len(usage_store.load_placement_intervals(store, PLACEMENT.id)) == 3  # the price is unknown in between
    assert life.range_usd_thousandths() == (300, 400)


def test_each_state_costs_what_the_provider_says_it_does(store: Store) -> None:
    disk, whole = (100_000, 100_000), (HOURLY, HOURLY)
    life = Life(store, BY_STATE)
    life.ordered(machine(MachineState.PENDING, billed_micro_usd_per_hour=disk))
    life.seen(180, machine(MachineState.PENDING, billed_micro_usd_per_hour=disk))
    life.seen(190, machine(billed_micro_usd_per_hour=whole))
    life.ended(3790)
    low, high = life.range_usd_thousandths()
    disk_per_s = 100_000 / 3600 / 1000
    assert low == pytest.approx(disk_per_s * 190 + 3600, abs=0.01)
    assert high == pytest.approx(disk_per_s * 180 + 3610, abs=0.01)


def test_a_machine_of_which_only_the_id_is_known_may_cost_its_price_or_nothing(store: Store) -> None:
    life = Life(store, BY_STATE)
    life.ordered(machine(MachineState.PENDING, price_micro_usd_per_hour=None, billed_micro_usd_per_hour=(0, HOURLY)))
    life.ended(60)
    assert life.range_usd_thousandths() == (0, 60)


def test_traffic_is_what_the_counter_says_and_since_then_the_line_at_most(store: Store) -> None:
    def loaded(counted: int) -> Machine:
        return machine(traffic_micro_usd=counted, traffic_limit_micro_usd_per_hour=HOURLY)

    life = Life(store, BY_STATE)
    life.ordered(
        machine(MachineState.PENDING, billed_micro_usd_per_hour=(0, 0), traffic_limit_micro_usd_per_hour=HOURLY)
    )
    traffic = usage_store.load_open_intervals(store, PLACEMENT.id)[1]
    assert traffic.resource == ledger.TRAFFIC
    life.seen(50, machine(MachineState.PENDING, billed_micro_usd_per_hour=(0, 0), traffic_micro_usd=0))
    assert life.range_usd_thousandths(now_s=50) == (0, pytest.approx(50, abs=0.01))  # a pull may be counted at its end
    life.seen(60, loaded(8_000))
    life.seen(70, loaded(9_000))
    life.ended(75)
    [closed] = [row for row in usage_store.load_placement_intervals(store, "p1") if row.resource == ledger.TRAFFIC]
    assert closed.cost_low_micro_usd == 9_000
    assert closed.cost_high_micro_usd == 9_000 + 5_000 + 2


@pytest.mark.parametrize("dearer", [0.5, 1.5, 2])
def test_a_minimum_charge_counts_once_when_the_price_changes(store: Store, dearer: float) -> None:
    life = Life(store, TEN_MINUTES)
    life.ordered(machine(MachineState.PENDING))
    life.seen(0, machine())
    life.seen(100, machine())
    life.seen(120, machine(price_micro_usd_per_hour=int(dearer * HOURLY)))
    life.ended(300)
    low, high = life.range_usd_thousandths()
    for changed_s in (100, 110, 120):  # what is left of the ten minutes is owed at the last price
        assert low <= changed_s + dearer * (600 - changed_s) <= high
    assert dearer < 1 or high - low <= 20 * (1 + dearer)  # cheaper now, it may have gone up again unseen


def test_a_machine_that_is_still_listed_after_its_end_was_asked_for_costs_no_more_at_the_least(store: Store) -> None:
    disk = (360_000, 360_000)
    life = Life(store, BY_STATE)
    life.ordered(machine(MachineState.PENDING, billed_micro_usd_per_hour=disk))
    life.seen(110, machine(MachineState.PENDING, billed_micro_usd_per_hour=disk))  # gone since second 100
    life.ended(100)
    assert life.range_usd_thousandths() == (10, 10)


def test_a_clock_that_went_backwards_bills_nothing_negative(store: Store) -> None:
    life = Life(store, EITHER)
    life.ordered(machine())
    life.seen(100, machine())
    life.ended(40)
    low, high = life.range_usd_thousandths()
    assert 0 <= low <= high
