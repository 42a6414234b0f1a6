"""A provider's offers are replaced as a whole: whoever reads sees the old set or the new one, with what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputui.model.types import Offer
from gputui.store.db import Store, open_store, sqlite3
from gputui.store.offers import load_offers, load_price_history, load_statuses, replace_snapshot


def offers(count: int, price: int) -> list[Offer]:
    """Return offers of one price, in micro-USD per hour; larger sets contain the smaller ones."""
    return [
        Offer(
            id=f"mock:{number}",
            provider="mock",
            gpu="H100-SXM",
            gpu_count=1,
            price_micro_usd_per_hour=price,
            fetched_at_ms=1,
        )
        for number in range(count)
    ]


def picture(reader: Store) -> tuple[int, set[int], int, int | None]:
    """Return what a reader sees: how many offers, of which prices, how many are told of, and the newest price noted."""
    found = load_offers(reader)
    history = load_price_history(reader, gpu="H100-SXM", since_ms=0)
    told = load_statuses(reader)["mock"].offer_count
    return (
        len(found),
        {offer.price_micro_usd_per_hour for offer in found},
        told,
        history[-1].price_micro_usd_per_gpu_hour,
    )


@pytest.mark.parametrize("count", [0, 40, 150], ids=["none left", "fewer", "more"])
def test_a_reader_never_sees_half_a_snapshot(tmp_path: Path, count: int) -> None:
    path = tmp_path / "state" / "gputui.db"
    writer, reader = open_store(path), open_store(path)
    replace_snapshot(writer, "mock", offers(100, 2_000_000), now_ms=1, latency_ms=1)
    before = picture(reader)
    seen = []
    writer._connection.set_trace_callback(lambda _: seen.append(picture(reader)))
    replace_snapshot(writer, "mock", offers(count, 3_000_000), now_ms=2, latency_ms=1)
    writer._connection.set_trace_callback(None)
    after = picture(reader)
    writer.close()
    reader.close()
    assert len(seen) > 100, "a look before each statement, and each row, of the writer"
    assert set(map(repr, seen)) == {repr(before)}
    assert before == (100, {2_000_000}, 100, 2_000_000)
    assert after == (count, {3_000_000} if count else set(), count, 3_000_000 if count else None)


def test_a_snapshot_that_fails_at_its_last_offer_leaves_the_old_one(store: Store) -> None:
    replace_snapshot(store, "mock", offers(10, 2_000_000), now_ms=1, latency_ms=1)
    before = picture(store)
    broken = [*offers(20, 3_000_000), *offers(1, 2.5)]  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        replace_snapshot(store, "mock", broken, now_ms=2, latency_ms=1)
    assert picture(store) == before
