"""Wishes that views write and the agent carries out beyond jobs: terminate this machine."""

from __future__ import annotations

from dataclasses import dataclass

from gputui.model.units import Ms
from gputui.store.db import Store, Tx


@dataclass(frozen=True, slots=True)
class Termination:
    """A wish that a machine be gone. `gone_at_ms` is set once the provider's own list agrees, twice.

    `key_print` is a fingerprint of the key that saw the machine; only that one is believed that it is gone.
    """

    id: str
    provider: str
    machine_id: str
    label: str | None
    requested_at_ms: Ms
    attempts: int
    last_error: str | None
    gone_at_ms: Ms | None
    key_print: str | None = None


def wish_termination(
    tx: Tx,
    *,
    wish_id: str,
    provider: str,
    machine_id: str,
    label: str | None,
    now_ms: Ms,
    key_print: str | None = None,
) -> None:
    """Ask for a machine's end; asking twice while the first wish is open changes nothing."""
    tx.execute(
        "INSERT OR IGNORE INTO terminations (id, provider, machine_id, label, requested_at_ms, key_print) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (wish_id, provider, machine_id, label, now_ms, key_print),
    )


def note_termination(tx: Tx, wish_id: str, *, last_error: str | None, gone_at_ms: Ms | None = None) -> None:
    tx.execute(
        "UPDATE terminations SET attempts = attempts + 1, last_error = ?, gone_at_ms = ? WHERE id = ?",
        (last_error, gone_at_ms, wish_id),
    )


def load_open_terminations(store: Store) -> list[Termination]:
    return [
        Termination(**dict(row))
        for row in store.read("SELECT * FROM terminations WHERE gone_at_ms IS NULL ORDER BY requested_at_ms")
    ]


def load_termination(store: Store, provider: str, machine_id: str) -> Termination | None:
    """Return the newest wish for a machine, or None."""
    row = store.read_one(
        "SELECT * FROM terminations WHERE provider = ? AND machine_id = ? ORDER BY requested_at_ms DESC, id DESC LIMIT 1",
        (provider, machine_id),
    )
    return Termination(**dict(row)) if row else None


def load_termination_by_id(store: Store, wish_id: str) -> Termination | None:
    row = store.read_one("SELECT * FROM terminations WHERE id = ?", (wish_id,))
    return Termination(**dict(row)) if row else None
