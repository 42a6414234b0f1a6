"""What sweeps found at the providers that no job accounts for, and when each provider was last swept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms
from gputui.store.db import Row, Store, Tx


class FindingKind(StrEnum):
    """`lost`: we made it and no job has it. `unrecorded`: its label is this profile's but nothing here knows it (an older
    state folder, or the same profile on another computer). `stopped`: a job's machine that is switched off and still
    bills. `volume`: storage attached to nothing."""

    LOST = "lost"
    UNRECORDED = "unrecorded"
    OTHER_PROFILE = "other-profile"
    STRANGER = "stranger"
    STOPPED = "stopped"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen by one or more sweeps. `id` and `label` are the provider's; `resolved` once it is no longer seen.

    `state` is the provider's own word. Prices are None where the provider does not tell them.
    """

    kind: FindingKind
    provider: str
    id: str
    label: str | None
    state: str | None
    sightings: int
    first_seen_ms: Ms
    last_seen_ms: Ms
    rate_micro_usd_per_hour: MicroUsdPerHour | None = None
    price_micro_usd_per_month: MicroUsd | None = None
    resolved_ms: Ms | None = None


@dataclass(frozen=True, slots=True)
class SweptProvider:
    """How the last sweep of a provider went: `error` is why it could not be asked, None when it was."""

    provider: str
    tried_ms: Ms
    ok_ms: Ms | None
    error: str | None


def keep_findings(
    tx: Tx, provider: str, kinds: Collection[FindingKind], seen: Sequence[Finding], *, now_ms: Ms, gap_ms: Ms
) -> None:
    """Make these the open findings of the kinds a provider was asked for; what is not among them is resolved.

    A thing seen again counts as another sighting when the last one that counted is `gap_ms` ago.
    """
    rows = tx.read(f"{_OPEN} AND provider = ?", (provider,))
    open_keys = {(row["kind"], row["id"]) for row in rows if FindingKind(row["kind"]) in kinds}
    for finding in seen:
        key = (finding.kind.value, finding.id)
        if key not in open_keys:
            tx.insert("findings", {name: getattr(finding, name) for name in Finding.__slots__})
            continue
        open_keys.discard(key)
        tx.execute(
            "UPDATE findings SET label = :label, state = :state, rate_micro_usd_per_hour = :rate, "
            "price_micro_usd_per_month = :price, sightings = sightings + (abs(:now - last_seen_ms) >= :gap), "
            "last_seen_ms = CASE WHEN abs(:now - last_seen_ms) >= :gap THEN :now ELSE last_seen_ms END "
            "WHERE kind = :kind AND provider = :provider AND id = :id AND resolved_ms IS NULL",
            {
                "label": finding.label,
                "state": finding.state,
                "rate": finding.rate_micro_usd_per_hour,
                "price": finding.price_micro_usd_per_month,
                "now": now_ms,
                "gap": gap_ms,
                "kind": finding.kind.value,
                "provider": provider,
                "id": finding.id,
            },
        )
    for kind, thing_id in open_keys:
        _resolve(tx, provider, thing_id, kind, now_ms)


def resolve_machine(tx: Tx, provider: str, machine_id: str, *, now_ms: Ms) -> None:
    """Close what was found of a machine that is proven gone."""
    for row in tx.read(f"{_OPEN} AND provider = ? AND id = ? AND kind <> 'volume'", (provider, machine_id)):
        _resolve(tx, provider, machine_id, row["kind"], now_ms)


def load_open_findings(store: Store) -> list[Finding]:
    """Return what the last sweeps saw, dearest first."""
    rows = store.read(f"{_OPEN} ORDER BY rate_micro_usd_per_hour DESC, price_micro_usd_per_month DESC, provider, id")
    return [_finding(row) for row in rows]


def note_swept(tx: Tx, provider: str, *, now_ms: Ms, error: str | None) -> None:
    tx.execute(
        "INSERT INTO sweeps (provider, tried_ms, ok_ms, error) VALUES (:provider, :now, :ok, :error) "
        "ON CONFLICT (provider) DO UPDATE SET tried_ms = :now, ok_ms = coalesce(:ok, ok_ms), error = :error",
        {"provider": provider, "now": now_ms, "ok": now_ms if error is None else None, "error": error},
    )


def load_swept(store: Store) -> dict[str, SweptProvider]:
    """Return how the last sweep of each provider went."""
    return {row["provider"]: SweptProvider(**dict(row)) for row in store.read("SELECT * FROM sweeps")}


_OPEN = "SELECT * FROM findings WHERE resolved_ms IS NULL"


def _resolve(tx: Tx, provider: str, thing_id: str, kind: str, now_ms: Ms) -> None:
    tx.execute(
        "UPDATE findings SET resolved_ms = ? WHERE provider = ? AND id = ? AND kind = ? AND resolved_ms IS NULL",
        (now_ms, provider, thing_id, kind),
    )


def _finding(row: Row) -> Finding:
    values = dict(row)
    return Finding(**{**values, "kind": FindingKind(values["kind"])})
