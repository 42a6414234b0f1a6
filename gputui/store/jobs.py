"""Jobs, their placements and their timeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Event, Job, Placement
from gputui.model.units import Ms
from gputui.store.codec import offer_from_row, spec_from_json, spec_to_json, to_json, volume_from_json
from gputui.store.db import Store, Tx

_ALIVE = "('queued', 'provisioning', 'running')"


def insert_job(tx: Tx, job: Job) -> None:
    row = asdict(job)
    for derived in ("cost_micro_usd", "cost_uncertainty_micro_usd"):
        del row[derived]
    tx.insert("jobs", {**row, "spec": spec_to_json(job.spec)})


def update_job(tx: Tx, job_id: str, **changes: Any) -> None:
    if tx.update("jobs", "id", job_id, changes) != 1 and changes:
        raise LookupError(f"no job {job_id}")


def load_job(store: Store, job_id: str) -> Job | None:
    row = store.read_one("SELECT * FROM jobs WHERE id = ?", (job_id,))
    return _job(row) if row else None


def find_jobs(store: Store, reference: str) -> list[Job]:
    """Return the jobs a person may mean: by id, its beginning or end, the beginning of its short id, or by name.

    Newest first, at most 10; an exact id wins alone.
    """
    exact = load_job(store, reference)
    if exact:
        return [exact]
    escaped = reference.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = store.read(
        "SELECT * FROM jobs WHERE name = :name OR id LIKE :start ESCAPE '\\' OR id LIKE :end ESCAPE '\\' "
        "OR substr(id, -6) LIKE :start ESCAPE '\\' ORDER BY id DESC LIMIT 10",
        {"name": reference, "start": f"{escaped}%", "end": f"%{escaped}"},
    )
    return [_job(row) for row in rows]


def load_jobs(store: Store, *, limit: int = 200, status: Sequence[JobStatus] | None = None) -> list[Job]:
    """Return jobs, newest first."""
    if status is None:
        rows = store.read("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (limit,))
    else:
        marks = ", ".join("?" for _ in status)
        rows = store.read(f"SELECT * FROM jobs WHERE status IN ({marks}) ORDER BY id DESC LIMIT ?", (*status, limit))
    return [_job(row) for row in rows]


def load_alive_jobs(store: Store) -> list[Job]:
    """Return the jobs that are not final, oldest first."""
    return [_job(row) for row in store.read(f"SELECT * FROM jobs WHERE status IN {_ALIVE} ORDER BY id")]


def count_alive_jobs(store: Store) -> int:
    return int(store.read(f"SELECT count(*) FROM jobs WHERE status IN {_ALIVE}")[0][0])


def stop_requested(store: Store, job_id: str) -> bool:
    row = store.read_one("SELECT stop_requested_at_ms FROM jobs WHERE id = ?", (job_id,))
    return row is not None and row[0] is not None


def insert_placement(tx: Tx, placement: Placement) -> None:
    row = asdict(placement)
    offer = to_json({**row["offer"], "native": dict(placement.offer.native)})
    tx.insert("placements", {**row, "offer": offer, "volumes": to_json(row["volumes"])})


def update_placement(tx: Tx, placement_id: str, **changes: Any) -> None:
    if tx.update("placements", "id", placement_id, changes) != 1 and changes:
        raise LookupError(f"no placement {placement_id}")


def load_placement(store: Store, placement_id: str) -> Placement | None:
    row = store.read_one("SELECT * FROM placements WHERE id = ?", (placement_id,))
    return _placement(row) if row else None


def load_placements(store: Store, job_id: str) -> list[Placement]:
    """Return a job's placements, first attempt first."""
    return [
        _placement(row) for row in store.read("SELECT * FROM placements WHERE job_id = ? ORDER BY attempt", (job_id,))
    ]


def load_placements_by_machine(store: Store, provider: str) -> dict[str, Placement]:
    """Return every placement that ever had a machine at a provider, by the provider's machine id."""
    rows = store.read("SELECT * FROM placements WHERE provider = ? AND machine_id IS NOT NULL ORDER BY id", (provider,))
    return {row["machine_id"]: _placement(row) for row in rows}


def load_placement_by_label(store: Store, label: str) -> Placement | None:
    """Return the placement that a label was given to; every placement has a label of its own."""
    row = store.read_one("SELECT * FROM placements WHERE label = ?", (label,))
    return _placement(row) if row else None


def load_live_placements(store: Store) -> list[Placement]:
    """Return every placement that may cost money now."""
    final = ", ".join(f"'{state}'" for state in PlacementState if not state.may_bill)
    return [_placement(row) for row in store.read(f"SELECT * FROM placements WHERE state NOT IN ({final}) ORDER BY id")]


def replace_key_print(tx: Tx, provider: str, old: str, new: str | None) -> None:
    """Note that a machine ordered with one key is seen with another, so that both are of one account."""
    changes = {"new": new, "old": old, "provider": provider}
    where = "SET key_print = :new WHERE provider = :provider AND key_print = :old"
    tx.execute(f"UPDATE placements {where}", changes)
    tx.execute(f"UPDATE terminations {where}", changes)
    tx.execute(f"UPDATE volume_orders {where}", changes)


def vouch_for_keys(tx: Tx, provider: str) -> int:
    """Forget with which keys live machines were ordered, so that the present one is believed; returns how many."""
    changed = tx.execute(
        "UPDATE placements SET key_print = NULL WHERE provider = ? AND key_print IS NOT NULL AND gone_at_ms IS NULL",
        (provider,),
    )
    changed += tx.execute(
        "UPDATE volume_orders SET key_print = NULL WHERE provider = ? AND key_print IS NOT NULL AND ended_at_ms IS NULL",
        (provider,),
    )
    return changed + tx.execute(
        "UPDATE terminations SET key_print = NULL WHERE provider = ? AND key_print IS NOT NULL AND gone_at_ms IS NULL",
        (provider,),
    )


def add_event(
    tx: Tx,
    *,
    at_ms: Ms,
    job_id: str,
    kind: str,
    why: str,
    placement_id: str | None = None,
    state_from: str | None = None,
    state_to: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> int:
    return tx.insert(
        "events",
        {
            "at_ms": at_ms,
            "job_id": job_id,
            "placement_id": placement_id,
            "kind": kind,
            "state_from": state_from,
            "state_to": state_to,
            "why": why,
            "facts": to_json(dict(facts or {})),
        },
    )


def load_events(store: Store, job_id: str, *, after_id: int = 0) -> list[Event]:
    """Return a job's timeline, oldest first."""
    rows = store.read("SELECT * FROM events WHERE job_id = ? AND id > ? ORDER BY id", (job_id, after_id))
    return [Event(**{**dict(row), "facts": json.loads(row["facts"])}) for row in rows]


def _job(row: Mapping[str, Any]) -> Job:
    values = dict(row)
    values["spec"] = spec_from_json(values["spec"])
    values["status"] = JobStatus(values["status"])
    values["outcome"] = JobStatus(values["outcome"]) if values["outcome"] else None
    return Job(**values)


def _placement(row: Mapping[str, Any]) -> Placement:
    values = dict(row)
    values["offer"] = offer_from_row(json.loads(values["offer"]))
    values["state"] = PlacementState(values["state"])
    values["volumes"] = tuple(volume_from_json(item) for item in json.loads(values["volumes"]))
    return Placement(**values)
