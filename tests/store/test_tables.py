from __future__ import annotations

import pytest

from gputui.core.catalog import price_matrix
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobSpec, Offer, Placement, Stock
from gputui.store import agents, jobs, offers, usage, wishes
from gputui.store.db import Store, sqlite3


def offer(number: int, **changes: object) -> Offer:
    values: dict[str, object] = {
        "id": f"mock:{number}",
        "provider": "mock",
        "gpu": "H100-SXM",
        "gpu_count": 1,
        "price_micro_usd_per_hour": 2_000_000 + number,
        "fetched_at_ms": 5,
        "native": {"type": number, "nested": {"a": [1]}},
    }
    return Offer(**{**values, **changes})  # type: ignore[arg-type]


def job(job_id: str, **changes: object) -> Job:
    values: dict[str, object] = {
        "id": job_id,
        "spec": JobSpec(gpu="H100", command="true", env={"A": "ä=b"}),
        "status": JobStatus.QUEUED,
        "phase": "",
        "created_at_ms": 1,
        "name": f"name-{job_id}",
    }
    return Job(**{**values, **changes})  # type: ignore[arg-type]


def placement(job_id: str, number: int, **changes: object) -> Placement:
    values: dict[str, object] = {
        "id": f"p{number}",
        "job_id": job_id,
        "attempt": number,
        "provider": "mock",
        "offer": offer(number, stock=Stock.HIGH),
        "label": f"gputui-test-{number}",
        "idempotency_key": f"key-{number}",
        "nonce": "n",
        "state": PlacementState.INTENDED,
        "created_at_ms": 1,
    }
    return Placement(**{**values, **changes})  # type: ignore[arg-type]


def test_a_snapshot_replaces_only_its_provider(store: Store) -> None:
    offers.replace_snapshot(store, "mock", [offer(1), offer(2)], now_ms=10, latency_ms=3)
    offers.replace_snapshot(store, "huddle", [offer(3, id="huddle:3", provider="huddle")], now_ms=11, latency_ms=3)
    offers.replace_snapshot(store, "mock", [offer(2), offer(4)], now_ms=12, latency_ms=3)
    assert [found.id for found in offers.load_offers(store)] == ["mock:2", "huddle:3", "mock:4"]
    assert offers.load_offers(store, providers=["mock"])[0] == offer(2)
    assert offers.load_statuses(store)["mock"].offer_count == 2


def test_a_failed_refresh_keeps_the_old_rows_and_says_why(store: Store) -> None:
    offers.replace_snapshot(store, "mock", [offer(1)], now_ms=10, latency_ms=3)
    offers.note_failed_refresh(store, "mock", now_ms=20, error="it fell over", error_code="transient")
    status = offers.load_statuses(store)["mock"]
    assert (status.last_ok_ms, status.last_try_ms, status.error) == (10, 20, "it fell over")
    assert len(offers.load_offers(store)) == 1
    offers.replace_snapshot(store, "mock", [], now_ms=30, latency_ms=3)
    assert offers.load_statuses(store)["mock"].error is None
    assert offers.load_offers(store) == []


def test_the_cheapest_is_per_gpu_and_prefers_what_is_in_stock(store: Store) -> None:
    offers.replace_snapshot(
        store,
        "mock",
        [
            offer(1, price_micro_usd_per_hour=16_000_000, gpu_count=8, stock=Stock.LOW),
            offer(2, price_micro_usd_per_hour=3_000_000),
            offer(3, price_micro_usd_per_hour=1_000_000, stock=Stock.NONE),
        ],
        now_ms=1,
        latency_ms=1,
    )
    rows = offers.load_cheapest(store)
    assert [(row.offer_id, row.price_micro_usd_per_gpu_hour, row.offer_count) for row in rows] == [
        ("mock:1", 2_000_000, 2),
        ("mock:3", 1_000_000, 1),
    ]
    best = offers.load_cheapest_offers(store, gpu="H100-SXM", provider="mock", limit=9)
    assert [found.id for found in best] == ["mock:1", "mock:2", "mock:3"]
    [cell] = [row.cells["mock"] for row in price_matrix(store)]
    assert (cell.offer_id, cell.offer_count, cell.sold_out_count) == ("mock:1", 3, 1)


def test_a_large_machine_that_is_cheap_per_gpu_is_found_among_many_small_ones(store: Store) -> None:
    small = [offer(n, price_micro_usd_per_hour=2_000_000 + n) for n in range(1, 600)]
    large = offer(0, price_micro_usd_per_hour=8_000_000, gpu_count=8)
    offers.replace_snapshot(store, "mock", [*small, large], now_ms=1, latency_ms=1)
    best = offers.load_cheapest_offers(store, gpu="H100-SXM", provider="mock", limit=2)
    assert [found.id for found in best] == ["mock:0", "mock:1"]


def test_price_history_keeps_changes_only(store: Store) -> None:
    def refresh(now_ms: int, *found: Offer) -> None:
        offers.replace_snapshot(store, "mock", found, now_ms=now_ms, latency_ms=1)

    refresh(10, offer(1, price_micro_usd_per_hour=2_000_000), offer(2, price_micro_usd_per_hour=3_000_000))
    refresh(20, offer(1, price_micro_usd_per_hour=2_000_000), offer(2, price_micro_usd_per_hour=9_000_000))
    refresh(30, offer(2, price_micro_usd_per_hour=3_000_000))
    refresh(40, offer(2, price_micro_usd_per_hour=3_000_000, stock=Stock.NONE))
    refresh(50)
    refresh(60, offer(1, price_micro_usd_per_hour=2_000_000))
    history = [
        (point.at_ms, point.price_micro_usd_per_gpu_hour)
        for point in offers.load_price_history(store, gpu="H100-SXM", since_ms=0)
    ]
    assert history == [(10, 2_000_000), (30, 3_000_000), (40, None), (60, 2_000_000)]
    since = offers.load_price_history(store, gpu="H100-SXM", since_ms=35)
    assert [point.at_ms for point in since] == [30, 40, 60]


def test_jobs_and_placements_come_back_as_they_were(store: Store) -> None:
    with store.write() as tx:
        jobs.insert_job(tx, job("a"))
        jobs.insert_placement(tx, placement("a", 1))
        jobs.update_job(tx, "a", placement_id="p1")
    assert jobs.load_job(store, "a") == job("a", placement_id="p1")
    assert jobs.load_placements(store, "a") == [placement("a", 1)]
    assert jobs.load_job(store, "nobody") is None


def test_a_label_or_key_is_never_used_twice(store: Store) -> None:
    with store.write() as tx:
        jobs.insert_job(tx, job("a"))
        jobs.insert_placement(tx, placement("a", 1))
    with pytest.raises(sqlite3.IntegrityError), store.write() as tx:
        jobs.insert_placement(tx, placement("a", 2, label="gputui-test-1"))
    with pytest.raises(sqlite3.IntegrityError), store.write() as tx:
        jobs.insert_placement(tx, placement("a", 2, idempotency_key="key-1"))


def test_jobs_are_found_by_what_people_type(store: Store) -> None:
    with store.write() as tx:
        for job_id in ("01aaaa", "01bbaa", "01b_cc"):
            jobs.insert_job(tx, job(job_id))
    assert [found.id for found in jobs.find_jobs(store, "01aaaa")] == ["01aaaa"]
    assert [found.id for found in jobs.find_jobs(store, "AA")] == ["01bbaa", "01aaaa"]
    assert [found.id for found in jobs.find_jobs(store, "name-01b_cc")] == ["01b_cc"]
    assert [found.id for found in jobs.find_jobs(store, "01bb")] == ["01bbaa"]
    assert jobs.find_jobs(store, "b%c") == []
    assert [found.id for found in jobs.find_jobs(store, "_cc")] == ["01b_cc"]


def test_live_placements_are_those_that_may_cost_money(store: Store) -> None:
    with store.write() as tx:
        jobs.insert_job(tx, job("a"))
        for number, state in enumerate(PlacementState, start=1):
            jobs.insert_placement(tx, placement("a", number, state=state))
    assert {found.state for found in jobs.load_live_placements(store)} == {s for s in PlacementState if s.may_bill}


def test_a_closed_interval_never_changes(store: Store) -> None:
    row = {
        "job_id": "a",
        "placement_id": "p1",
        "provider": "mock",
        "resource": "compute",
        "rate_micro_usd_per_hour": 1,
        "granularity_s": 1,
        "minimum_s": 0,
        "start_earliest_ms": 0,
        "last_seen_ms": 0,
    }
    with store.write() as tx:
        jobs.insert_job(tx, job("a"))
        jobs.insert_placement(tx, placement("a", 1))
        interval_id = usage.insert_interval(tx, **row)
    with pytest.raises(sqlite3.IntegrityError), store.write() as tx:
        usage.insert_interval(tx, **row)  # a second open one for the same machine
    with store.write() as tx:
        usage.update_interval(
            tx, interval_id, end_earliest_ms=1, end_latest_ms=2, cost_low_micro_usd=1, cost_high_micro_usd=2
        )
    with pytest.raises(sqlite3.IntegrityError, match="never changes"), store.write() as tx:
        usage.update_interval(tx, interval_id, cost_high_micro_usd=1)
    assert usage.load_open_interval(store, "p1") is None
    assert len(usage.load_intervals(store, since_ms=2)) == 1
    assert usage.load_intervals(store, since_ms=3) == []


def test_the_newest_agent_fences_off_the_one_before(store: Store) -> None:
    first = agents.register_agent(store, pid=1, host="h", version="1", accounts={"huddle": "f"}, now_ms=1)
    assert agents.beat(store, first, now_ms=2)
    second = agents.register_agent(store, pid=2, host="h", version="1", accounts={}, now_ms=3)
    assert second > first
    assert not agents.beat(store, first, now_ms=4)
    agents.sign_off(store, first, now_ms=5)
    row = agents.load_agent(store)
    assert row is not None
    assert (row.pid, row.stopped_at_ms, row.accounts) == (2, None, {})


def test_a_machine_is_wished_away_once(store: Store) -> None:
    with store.write() as tx:
        for wish_id in ("w1", "w2"):
            wishes.wish_termination(tx, wish_id=wish_id, provider="mock", machine_id="m", label=None, now_ms=1)
    [wish] = wishes.load_open_terminations(store)
    with store.write() as tx:
        wishes.note_termination(tx, wish.id, last_error=None, gone_at_ms=9)
    assert wishes.load_open_terminations(store) == []
    with store.write() as tx:
        wishes.wish_termination(tx, wish_id="w3", provider="mock", machine_id="m", label=None, now_ms=20)
    newest = wishes.load_termination(store, "mock", "m")
    assert newest is not None
    assert newest.id == "w3"
