"""The agent's row: who it is, its heartbeat, and the epoch that fences off an agent that was replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gputui.model.units import Ms
from gputui.store.db import Store


@dataclass(frozen=True, slots=True)
class AgentRow:
    """What the last agent of this profile said of itself. `accounts` maps provider -> fingerprint of the account in use.

    `steady_ms` is what the clock that nobody can set said at `beat_ms`, counted from the boot that `boot_id` names.
    """

    epoch: int
    pid: int
    host: str
    started_at_ms: Ms
    beat_ms: Ms
    version: str
    accounts: Mapping[str, str]
    stopped_at_ms: Ms | None
    steady_ms: int | None = None
    boot_id: str | None = None


def register_agent(
    store: Store,
    *,
    pid: int,
    host: str,
    version: str,
    accounts: Mapping[str, str],
    now_ms: Ms,
    steady_ms: int | None = None,
    boot_id: str | None = None,
) -> int:
    """Take the next epoch and return it; every earlier agent's beats fail from now on."""
    with store.write() as tx:
        rows = tx.read("SELECT epoch FROM agent WHERE id = 1")
        epoch = int(rows[0]["epoch"]) + 1 if rows else 1
        tx.execute("DELETE FROM agent")
        tx.insert(
            "agent",
            {
                "id": 1,
                "epoch": epoch,
                "pid": pid,
                "host": host,
                "started_at_ms": now_ms,
                "beat_ms": now_ms,
                "version": version,
                "accounts": json.dumps(dict(accounts)),
                "steady_ms": steady_ms,
                "boot_id": boot_id,
            },
        )
    return epoch


def beat(store: Store, epoch: int, *, now_ms: Ms, steady_ms: int | None = None) -> bool:
    """Renew the heartbeat; False when another agent took over."""
    with store.write() as tx:
        sql = "UPDATE agent SET beat_ms = ?, steady_ms = ? WHERE id = 1 AND epoch = ?"
        return tx.execute(sql, (now_ms, steady_ms, epoch)) == 1


def is_replaced(store: Store, epoch: int) -> bool:
    """Return whether another agent has taken over."""
    row = store.read_one("SELECT epoch FROM agent WHERE id = 1")
    return row is not None and row["epoch"] != epoch


def sign_off(store: Store, epoch: int, *, now_ms: Ms) -> None:
    with store.write() as tx:
        tx.execute("UPDATE agent SET stopped_at_ms = ? WHERE id = 1 AND epoch = ?", (now_ms, epoch))


def load_agent(store: Store) -> AgentRow | None:
    row = store.read_one(
        "SELECT epoch, pid, host, started_at_ms, beat_ms, version, accounts, stopped_at_ms, steady_ms, boot_id "
        "FROM agent WHERE id = 1"
    )
    return AgentRow(**{**dict(row), "accounts": json.loads(row["accounts"])}) if row else None
