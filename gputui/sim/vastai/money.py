"""The account, what it was charged, and what it paid in."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.lives import ENDED, Life
from gputui.sim.vastai.errors import VastError, refused
from gputui.sim.vastai.fields import number_of, query_object, query_whole
from gputui.sim.vastai.state import Caller, Contract, StoredVolume, Tenant

PAGE_SIZE = 100
MAX_PAGE_SIZE = 500

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Window:
    """The whole days, UTC, that a request for charges takes in."""

    from_ms: int
    until_ms: int


@dataclass(slots=True)
class _Use:
    """What one contract used in a window, in hours and GB, with dollars; and when that was."""

    running_h: float = 0.0
    gpu_usd: float = 0.0
    stored_h: float = 0.0
    disk_usd: float = 0.0
    first_ms: int | None = None
    last_ms: int = 0

    def note(self, begin_ms: int, end_ms: int) -> None:
        self.first_ms = begin_ms if self.first_ms is None else min(self.first_ms, begin_ms)
        self.last_ms = max(self.last_ms, end_ms - 1)


async def current_user(call: Call, caller: Caller) -> Answer:
    """Serve `GET /users/current/`. All funds are in `credit`, as for accounts that pay by credit only."""
    tenant = caller.tenant
    keys = tenant.account_keys()
    spent = tenant.account.credit_usd - call.world.balance_usd(tenant.account)
    shown: dict[str, Any] = {
        "id": tenant.id,
        "key_id": caller.key.id,
        "email": f"user{tenant.id}@example.com",
        "username": f"user{tenant.id}",
        "fullname": "",
        "balance": 0.0,
        "credit": float(call.world.balance_usd(tenant.account)),
        "balance_threshold": 0.0,
        "balance_threshold_enabled": False,
        "autobill_threshold": 0.0,
        "autobill_amount": 0,
        "billing_creditonly": 1,
        "can_pay": True,
        "has_billing": True,
        "has_payout": False,
        "email_verified": True,
        "last4": "4242",
        "total_spend": -float(spent),
        "host_agreement_accepted": False,
        "got_signup_credit": 0,
        "ssh_key": keys[0].line if keys else "",
        "sid": "sim",
        "rights": {},
    }
    if call.world.faults.flag("user_shows_api_key"):
        shown["api_key"] = caller.secret
    return Answer(shown)


async def charges(call: Call, caller: Caller) -> Answer:
    """Serve `GET /charges/`: one row for each instance and volume with its GPU, disk and traffic; whole days."""
    filters = query_object(call, "select_filters")
    window = _window(call, filters)
    wanted = (filters.get("type") or {}).get("in") if isinstance(filters.get("type"), dict) else None
    call.world.settle()
    rows = [row for row in _rows(caller.tenant, window, call.world.now_ms()) if wanted is None or row["type"] in wanted]
    is_latest_first = (call.query("latest_first") or "true").lower() != "false"
    rows.sort(key=lambda row: (row["end"], _row_id(row)), reverse=is_latest_first)
    limit = max(1, min(query_whole(call, "limit", PAGE_SIZE), MAX_PAGE_SIZE))
    start = _start(rows, call.query("after_token"))
    page = rows[start : start + limit]
    more = start + limit < len(rows)
    token = base64.b64encode(json.dumps({"values": {"id": _row_id(page[-1])}}).encode()).decode() if more else None
    return Answer({"success": True, "count": len(page), "total": len(rows), "next_token": token, "results": page})


async def invoices(call: Call, caller: Caller) -> Answer:
    """Serve `GET /api/v1/invoices/`: everything ever paid in, as one payment."""
    when = query_object(call, "select_filters").get("when")
    edges = {name: number_of(value) for name, value in when.items()} if isinstance(when, dict) else {}
    low, high = edges.get("gte", edges.get("gt")), edges.get("lte", edges.get("lt"))
    if low is None or high is None or low > high:
        bad = {
            "success": False,
            "error": "Invalid date range",
            "count": 0,
            "total": 0,
            "results": [],
            "next_token": None,
        }
        raise VastError(200, bad)
    account = caller.tenant.account
    paid_s = account.created_ms / 1000
    payment = {
        "start": paid_s,
        "end": paid_s,
        "type": "credit",
        "source": "stripe",
        "description": "Manual Billing from VISA ...4242",
        "amount": -float(account.credit_usd),
        "metadata": {"invoice_id": caller.tenant.id, "service": "stripe_payments"},
        "items": [],
    }
    found = [payment] if low <= paid_s <= high and account.credit_usd else []
    return Answer(
        {"success": True, "count": len(found), "total": len(found), "next_token": None, "results": found},
    )


def _window(call: Call, filters: dict[str, Any]) -> _Window:
    day = filters.get("day")
    low, high = (number_of(day.get(name)) for name in ("gte", "lte")) if isinstance(day, dict) else (None, None)
    if low is None or high is None:
        said = "Must provide both 'day' gte and lte filters for instance charges"
        raise VastError(400, {"success": False, "msg": said})
    from_ms = round(low * 1000) // _DAY_MS * _DAY_MS
    if call.world.faults.choice("charge_days") == "beginning" and from_ms < low * 1000:
        from_ms += _DAY_MS
    return _Window(from_ms, round(high * 1000) // _DAY_MS * _DAY_MS + _DAY_MS)


def _rows(tenant: Tenant, window: _Window, now_ms: int) -> Iterator[dict[str, Any]]:
    for contract in tenant.contracts.values():
        use = _use_of(contract, window, now_ms)
        items = [*_time_items(use), *_traffic_items(contract, window, now_ms, use)]
        if use.first_ms is not None:
            label = {"label": contract.label} if contract.label is not None else {}
            yield _row("instance", contract.id, "Instance", use, items, label)
    for volume in tenant.volumes.values():
        use = _use_of_volume(volume, window, now_ms)
        if use.first_ms is not None:
            yield _row(
                "volume", volume.id, "Volume", use, _time_items(use), {"label": volume.name} if volume.name else {}
            )


def _use_of(contract: Contract, window: _Window, now_ms: int) -> _Use:
    """Return what an instance used: its GPUs while it ran, its disk while its host was there."""
    machine, use = contract.machine, _Use()
    stopped_ms = machine.billing_stopped_ms(now_ms)
    until_ms = min(window.until_ms, now_ms if stopped_ms is None else stopped_ms)
    beside_gpu = contract.storage_usd_per_hour + contract.traffic_usd_per_hour
    edges = {window.from_ms, until_ms, *(at for at, _ in machine.timeline), *(at for at, _ in machine.prices)}
    for begin, end in pairwise(sorted(at for at in edges if window.from_ms <= at <= until_ms)):
        life = machine.life(begin)
        if begin < machine.created_ms or life is Life.OFFLINE or life in ENDED:
            continue
        hours = (end - begin) / _HOUR_MS
        use.note(begin, end)
        use.stored_h += hours
        use.disk_usd += hours * float(contract.storage_usd_per_hour)
        if life is Life.RUNNING:
            use.running_h += hours
            use.gpu_usd += hours * float(machine.price_usd(begin) - beside_gpu)
    return use


def _use_of_volume(volume: StoredVolume, window: _Window, now_ms: int) -> _Use:
    use = _Use()
    until_ms = min(window.until_ms, now_ms, *([] if volume.deleted_ms is None else [volume.deleted_ms]))
    from_ms = max(window.from_ms, volume.created_ms)
    if until_ms > from_ms:
        use.note(from_ms, until_ms)
        use.stored_h = (until_ms - from_ms) / _HOUR_MS
        use.disk_usd = use.stored_h * float(volume.usd_per_hour)
    return use


def _time_items(use: _Use) -> list[dict[str, Any]]:
    found = []
    for kind, hours, usd in (("gpu", use.running_h, use.gpu_usd), ("disk", use.stored_h, use.disk_usd)):
        if hours:
            found.append(_item(kind, use, f"{hours:.3f} hours at ${usd / hours:.3f}/hour", usd))
    return found


def _traffic_items(contract: Contract, window: _Window, now_ms: int, use: _Use) -> list[dict[str, Any]]:
    stopped_ms = contract.machine.billing_stopped_ms(now_ms)
    until_ms = now_ms if stopped_ms is None else stopped_ms
    pulled = sum(gb for at, gb in contract.pulls if window.from_ms <= at < window.until_ms and at <= until_ms)
    down, up = pulled + contract.down_gb_per_hour * use.running_h, contract.up_gb_per_hour * use.running_h
    found = []
    for kind, gb, price in (
        ("bwd", down, contract.listing.down_usd_per_gb),
        ("bwu", up, contract.listing.up_usd_per_gb),
    ):
        if gb:
            found.append(_item(kind, use, f"{gb:.3f} GB at ${price:.3f}/GB", gb * float(price)))
    return found


def _item(kind: str, use: _Use, description: str, usd: float) -> dict[str, Any]:
    return {
        **_days(use),
        "type": kind,
        "source": None,
        "description": description,
        "amount": round(usd, 3),
        "metadata": {},
        "items": [],
    }


def _row(
    kind: str, number: int, word: str, use: _Use, items: list[dict[str, Any]], metadata: dict[str, Any]
) -> dict[str, Any]:
    span = _days(use)
    count = (span["end"] - span["start"]) * 1000 // _DAY_MS + 1
    return {
        **span,
        "type": kind,
        "source": f"{kind}-{number}",
        "description": f"{word} {number} Charges - {count} day{'s' if count > 1 else ''}",
        "amount": round(sum(item["amount"] for item in items), 3),
        "metadata": metadata,
        "items": items,
    }


def _days(use: _Use) -> dict[str, int]:
    """Return the midnights of the first and of the last day of something."""
    first_ms = use.first_ms or 0
    return {"start": first_ms // _DAY_MS * _DAY_MS // 1000, "end": use.last_ms // _DAY_MS * _DAY_MS // 1000}


def _row_id(row: dict[str, Any]) -> int:
    return int(row["source"].rpartition("-")[2])


def _start(rows: list[dict[str, Any]], token: str | None) -> int:
    if token is None:
        return 0
    try:
        wanted = json.loads(base64.b64decode(token, validate=True))["values"]["id"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise refused(400, "invalid_token", "Invalid pagination token") from None
    return next((number + 1 for number, row in enumerate(rows) if _row_id(row) == wanted), len(rows))
