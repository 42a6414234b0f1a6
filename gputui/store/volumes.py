"""Orders of volumes: wishes that views write and the agent carries out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gputui.model.volumes import VolumeOrder, VolumeOrderState, VolumeWish
from gputui.store.db import Row, Store, Tx


def insert_order(tx: Tx, order: VolumeOrder) -> bool:
    """Write an order; False when one for the same volume, or of the same label, is open already."""
    row = asdict(order)
    columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    sql = f"INSERT INTO volume_orders ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return tx.execute(sql, row) == 1


def update_order(tx: Tx, order: VolumeOrder, changes: dict[str, Any]) -> bool:
    """Change an order that is still in the state given; False when it is not."""
    columns = ", ".join(f"{name} = :{name}" for name in changes)
    sql = f"UPDATE volume_orders SET {columns} WHERE id = :_id AND state = :_state"
    return tx.execute(sql, {**changes, "_id": order.id, "_state": order.state}) == 1


def load_order(store: Store, order_id: str) -> VolumeOrder | None:
    row = store.read_one("SELECT * FROM volume_orders WHERE id = ?", (order_id,))
    return _order(row) if row else None


def load_open_orders(store: Store) -> list[VolumeOrder]:
    """Return the orders that the agent must act on, oldest first."""
    return [_order(row) for row in store.read("SELECT * FROM volume_orders WHERE ended_at_ms IS NULL ORDER BY id")]


def load_open_deletion(store: Store, provider: str, volume_id: str) -> VolumeOrder | None:
    row = store.read_one(
        "SELECT * FROM volume_orders WHERE wish = 'delete' AND ended_at_ms IS NULL AND provider = ? AND volume_id = ?",
        (provider, volume_id),
    )
    return _order(row) if row else None


def load_orders(store: Store, *, limit: int = 200) -> list[VolumeOrder]:
    """Return orders, newest first."""
    return [_order(row) for row in store.read("SELECT * FROM volume_orders ORDER BY id DESC LIMIT ?", (limit,))]


def load_made(store: Store, provider: str) -> dict[str, VolumeOrder]:
    """Return by volume id the orders that made the volumes of a provider."""
    rows = store.read(
        "SELECT * FROM volume_orders WHERE provider = ? AND wish = 'create' AND volume_id IS NOT NULL", (provider,)
    )
    return {row["volume_id"]: _order(row) for row in rows}


def _order(row: Row) -> VolumeOrder:
    values = dict(row)
    return VolumeOrder(**{**values, "wish": VolumeWish(values["wish"]), "state": VolumeOrderState(values["state"])})
