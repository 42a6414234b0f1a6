"""Offers and the state of each provider's last refresh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gputui.model.types import Offer, Stock, Tier
from gputui.model.units import Ms
from gputui.store.codec import OFFER_COLUMNS, offer_from_row, offer_to_row
from gputui.store.db import Row, Store, Tx

_COLUMNS = ", ".join(OFFER_COLUMNS)
# What a listing has of an offer: the same from offer to offer, or each its own.
_OWN = ("id", "price_micro_usd_per_hour", "reliability")
_REPEATED = [name for name in OFFER_COLUMNS if name not in ("native", *_OWN)]
_LISTED = ", ".join([*_REPEATED, *_OWN])
_PIECE = 4_000
_NOT_LOADED: Mapping[str, Any] = MappingProxyType({})
_UPSERT = (
    f"INSERT INTO offers ({_COLUMNS}) VALUES ({', '.join('?' for _ in OFFER_COLUMNS)}) "
    "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in OFFER_COLUMNS[1:])
)


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How the last refresh of a provider went. `error` is a sentence for people, None when it succeeded."""

    provider: str
    last_try_ms: Ms | None
    last_ok_ms: Ms | None
    latency_ms: int | None
    offer_count: int
    error: str | None
    error_code: str | None


def replace_snapshot(store: Store, provider: str, offers: Iterable[Offer], *, now_ms: Ms, latency_ms: int) -> int:
    """Replace a provider's offers in one transaction and note the success; readers see the old set or the new one."""
    rows = [offer_to_row(offer) for offer in offers]
    ids = {row[0] for row in rows}
    with store.write() as tx:
        stale = [
            row["id"]
            for row in tx.read("SELECT id FROM offers WHERE provider = ?", (provider,))
            if row["id"] not in ids
        ]
        tx.execute_many("DELETE FROM offers WHERE id = ?", [(offer_id,) for offer_id in stale])
        tx.execute_many(_UPSERT, rows)
        tx.execute(
            "INSERT INTO provider_status (provider, last_try_ms, last_ok_ms, latency_ms, offer_count) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (provider) DO UPDATE SET last_try_ms = excluded.last_try_ms, last_ok_ms = excluded.last_ok_ms, "
            "latency_ms = excluded.latency_ms, offer_count = excluded.offer_count, error = NULL, error_code = NULL",
            (provider, now_ms, now_ms, latency_ms, len(ids)),
        )
        _note_price_changes(tx, provider, now_ms)
    return len(ids)


def _note_price_changes(tx: Tx, provider: str, now_ms: Ms) -> None:
    """Add to the history what is different from its last entries; a model that nobody offers any more gets a NULL."""
    now = dict(
        tx.read(
            "SELECT gpu, min(price_micro_usd_per_hour / gpu_count) FROM offers "
            "WHERE provider = ? AND stock IS NOT 'none' GROUP BY gpu",
            (provider,),
        )
    )
    # SQLite takes the bare price from the row that holds the newest moment.
    last = {
        gpu: price
        for gpu, price, _ in tx.read(
            "SELECT gpu, price_micro_usd_per_gpu_hour, max(at_ms) FROM price_history WHERE provider = ? GROUP BY gpu",
            (provider,),
        )
    }
    changes = [(provider, gpu, now_ms, price) for gpu, price in now.items() if gpu not in last or last[gpu] != price]
    changes += [(provider, gpu, now_ms, None) for gpu, price in last.items() if price is not None and gpu not in now]
    tx.execute_many("INSERT OR REPLACE INTO price_history VALUES (?, ?, ?, ?)", changes)


@dataclass(frozen=True, slots=True)
class PricePoint:
    """From `at_ms` on, the cheapest GPU of a model at a provider cost this per hour; None: none was in stock."""

    provider: str
    gpu: str
    at_ms: Ms
    price_micro_usd_per_gpu_hour: int | None


def load_price_history(store: Store, *, since_ms: Ms, gpu: str | None = None) -> list[PricePoint]:
    """Return the changes of a model's price (None: of every model's) since a moment, oldest first, with what held at that
    moment before them."""
    rows = store.read(
        "SELECT provider, gpu, at_ms, price_micro_usd_per_gpu_hour FROM price_history AS p "
        "WHERE (:gpu IS NULL OR gpu = :gpu) AND "
        "at_ms >= coalesce((SELECT max(at_ms) FROM price_history AS q WHERE q.provider = p.provider AND q.gpu = p.gpu "
        "AND q.at_ms <= :since), :since) ORDER BY at_ms, provider",
        {"gpu": gpu, "since": since_ms},
    )
    return [PricePoint(*row) for row in rows]


def note_failed_refresh(store: Store, provider: str, *, now_ms: Ms, error: str, error_code: str) -> None:
    """Keep the old rows and remember why the refresh failed."""
    with store.write() as tx:
        tx.execute(
            "INSERT INTO provider_status (provider, last_try_ms, error, error_code) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (provider) DO UPDATE SET last_try_ms = excluded.last_try_ms, error = excluded.error, "
            "error_code = excluded.error_code",
            (provider, now_ms, error, error_code),
        )


def load_offers(
    store: Store,
    *,
    gpus: Iterable[str] | None = None,
    providers: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[Offer]:
    """Return offers, cheapest first. `gpus` are canonical names; None means any."""
    conditions, parameters = [], list[object]()
    for column, wanted in (("gpu", gpus), ("provider", providers)):
        if wanted is not None:
            values = list(wanted)
            conditions.append(f"{column} IN ({', '.join('?' for _ in values)})")
            parameters.extend(values)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    tail = "LIMIT ?" if limit is not None else ""
    if limit is not None:
        parameters.append(limit)
    sql = f"SELECT {_COLUMNS} FROM offers {where}ORDER BY price_micro_usd_per_hour, id {tail}"
    return [offer_from_row(row) for row in store.read(sql, parameters)]


def load_cheapest_offers(store: Store, *, gpu: str, provider: str, limit: int) -> list[Offer]:
    """Return a provider's first offers of a model: those in stock before those sold out, the cheapest per GPU first."""
    sql = (
        f"SELECT {_COLUMNS} FROM offers WHERE provider = ? AND gpu = ? "
        "ORDER BY stock IS 'none', price_micro_usd_per_hour / gpu_count, price_micro_usd_per_hour, id LIMIT ?"
    )
    return [offer_from_row(row) for row in store.read(sql, (provider, gpu, limit))]


def load_listing(store: Store, provider: str) -> list[Offer]:
    """Return every offer of a provider, by id, without its `native` part, which only an order needs.

    Tens of thousands stay small: read in pieces, and words that repeat are kept once.
    """
    sql = f"SELECT {_LISTED} FROM offers WHERE provider = ? AND id > ? ORDER BY id LIMIT {_PIECE}"
    offers: list[Offer] = []
    same: dict[Any, Any] = {}
    rows: Sequence[Row] = store.read(sql, (provider, ""))
    while rows:
        offers += [_listed(row, same) for row in rows]
        rows = store.read(sql, (provider, offers[-1].id)) if len(rows) == _PIECE else ()
    return offers


def _listed(row: Row, same: dict[Any, Any]) -> Offer:
    values = {name: same.setdefault(value, value) for name, value in zip(_REPEATED, row, strict=False)}
    for name in _OWN:
        values[name] = row[name]
    values["tier"] = Tier(values["tier"])
    values["stock"] = Stock(values["stock"]) if values["stock"] else None
    return Offer(**values, native=_NOT_LOADED)


def load_offer(store: Store, offer_id: str) -> Offer | None:
    """Return one offer in full, None when it is gone."""
    row = store.read_one(f"SELECT {_COLUMNS} FROM offers WHERE id = ?", (offer_id,))
    return offer_from_row(row) if row is not None else None


def known_gpus(store: Store) -> set[str]:
    """Return every GPU name on offer, canonical or as it came."""
    return {row[0] for row in store.read("SELECT DISTINCT gpu FROM offers")}


def load_statuses(store: Store) -> dict[str, ProviderStatus]:
    """Return how each provider's last refresh went, by provider; one never tried is absent."""
    rows = store.read(
        "SELECT provider, last_try_ms, last_ok_ms, latency_ms, offer_count, error, error_code FROM provider_status"
    )
    return {row["provider"]: ProviderStatus(*row) for row in rows}


@dataclass(frozen=True, slots=True)
class CheapestRow:
    """The cheapest offer, per GPU, of one GPU model at one provider, among those in stock or among those sold out."""

    gpu: str
    provider: str
    price_micro_usd_per_gpu_hour: int
    offer_id: str
    stock: str | None
    region: str | None
    fetched_at_ms: Ms
    offer_count: int


def load_cheapest(
    store: Store, *, gpus: Iterable[str] | None = None, providers: Sequence[str] | None = None
) -> list[CheapestRow]:
    """Return, for each GPU model and provider, the cheapest offer in stock and the cheapest one sold out."""
    conditions, parameters = ["1"], list[object]()
    for column, wanted in (("gpu", gpus), ("provider", providers)):
        if wanted is not None:
            values = list(wanted)
            conditions.append(f"{column} IN ({', '.join('?' for _ in values)})")
            parameters.extend(values)
    # SQLite takes the bare columns of a group from the row that holds its minimum.
    sql = (
        "SELECT gpu, provider, min(price_micro_usd_per_hour / gpu_count), id, stock, region, fetched_at_ms, count(*) "
        f"FROM offers WHERE {' AND '.join(conditions)} GROUP BY gpu, provider, stock IS 'none' ORDER BY stock IS 'none'"
    )
    return [CheapestRow(*row) for row in store.read(sql, parameters)]
