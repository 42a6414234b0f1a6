"""Moving the moments of what is alive along with a clock that was moved."""

from __future__ import annotations

from gputui.model.states import FINAL_PLACEMENT_STATES
from gputui.model.units import Ms
from gputui.store.db import Tx

_OF_PLACEMENTS = (
    "created_at_ms",
    "requested_at_ms",
    "ready_at_ms",
    "running_at_ms",
    "terminating_at_ms",
    "accepted_at_ms",
)
_OF_INTERVALS = ("start_earliest_ms", "start_latest_ms", "last_seen_ms")


def shift_live_moments(tx: Tx, by_ms: int, *, now_ms: Ms) -> None:
    """Add `by_ms` to every moment that a duration of a live job is taken from; none comes to lie after now."""
    final = ", ".join(f"'{state}'" for state in FINAL_PLACEMENT_STATES)
    for table, columns, alive in (
        ("placements", _OF_PLACEMENTS, f"state NOT IN ({final})"),
        ("usage_intervals", _OF_INTERVALS, "end_latest_ms IS NULL"),
        ("jobs", ("started_at_ms",), "status IN ('queued', 'provisioning', 'running')"),
        (
            "vitals",
            ("contact_ms", "gpu_at_ms"),
            f"placement_id IN (SELECT id FROM placements WHERE state NOT IN ({final}))",
        ),
    ):
        shifts = ", ".join(f"{column} = min({column} + :by, :now)" for column in columns)  # NULL stays NULL
        tx.execute(f"UPDATE {table} SET {shifts} WHERE {alive}", {"by": by_ms, "now": now_ms})
