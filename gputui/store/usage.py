"""The ledger: append-only intervals. An open one may learn its edges; a closed one never changes (a trigger sees to it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gputui.model.types import UsageInterval
from gputui.model.units import Ms
from gputui.store.db import Store, Tx


def insert_interval(tx: Tx, **row: Any) -> int:
    return tx.insert("usage_intervals", row)


def update_interval(tx: Tx, interval_id: int, **changes: Any) -> None:
    if tx.update("usage_intervals", "id", interval_id, changes) != 1:
        raise LookupError(f"no usage interval {interval_id}")


def load_interval(tx: Tx, interval_id: int) -> UsageInterval:
    """Return an interval as it is inside a transaction."""
    [row] = tx.read("SELECT * FROM usage_intervals WHERE id = ?", (interval_id,))
    return UsageInterval(**dict(row))


def load_open_interval(store: Store, placement_id: str, resource: str = "compute") -> UsageInterval | None:
    rows = store.read(
        "SELECT * FROM usage_intervals WHERE placement_id = ? AND resource = ? AND end_latest_ms IS NULL",
        (placement_id, resource),
    )
    return UsageInterval(**dict(rows[0])) if rows else None


def load_open_intervals(store: Store, placement_id: str) -> list[UsageInterval]:
    """Return what a placement's machine is being billed for."""
    return [found for found in load_placement_intervals(store, placement_id) if found.end_latest_ms is None]


def load_intervals(
    store: Store, *, job_ids: Sequence[str] | None = None, since_ms: Ms | None = None
) -> list[UsageInterval]:
    """Return intervals, oldest first: of some jobs (None: all), and only those not over before `since_ms`."""
    conditions, parameters = [], list[object]()
    if job_ids is not None:
        conditions.append(f"job_id IN ({', '.join('?' for _ in job_ids)})")
        parameters.extend(job_ids)
    if since_ms is not None:
        conditions.append("(end_latest_ms IS NULL OR end_latest_ms >= ?)")
        parameters.append(since_ms)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    rows = store.read(f"SELECT * FROM usage_intervals {where}ORDER BY id", parameters)
    return [UsageInterval(**dict(row)) for row in rows]


def load_placement_intervals(store: Store, placement_id: str) -> list[UsageInterval]:
    rows = store.read("SELECT * FROM usage_intervals WHERE placement_id = ? ORDER BY id", (placement_id,))
    return [UsageInterval(**dict(row)) for row in rows]
