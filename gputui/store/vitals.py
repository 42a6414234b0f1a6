"""The newest word of each placement's machine; see `model.vitals`."""

from __future__ import annotations

from dataclasses import asdict, fields

from gputui.model.vitals import Vitals
from gputui.store.db import Store, Tx

_COLUMNS = [field.name for field in fields(Vitals)]


def save_vitals(tx: Tx, vitals: Vitals) -> None:
    """Keep what a machine said, in place of what it said before."""
    marks = ", ".join(f":{name}" for name in _COLUMNS)
    tx.execute(f"INSERT OR REPLACE INTO vitals ({', '.join(_COLUMNS)}) VALUES ({marks})", asdict(vitals))


def load_vitals(store: Store, placement_id: str) -> Vitals | None:
    row = store.read_one("SELECT * FROM vitals WHERE placement_id = ?", (placement_id,))
    return Vitals(**dict(row)) if row else None
