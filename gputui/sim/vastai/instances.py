"""Instances: read, list, start, stop, label, reboot, bid anew, destroy."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from decimal import Decimal
from typing import Any

from gputui.sim.gate import Answer, Call, Keyed
from gputui.sim.lives import ENDED, Life
from gputui.sim.vastai import contracts, render
from gputui.sim.vastai.errors import VastError, bad_args, no_such_instance, refused
from gputui.sim.vastai.fields import body_of, number, path_id, query_list, query_object, query_whole
from gputui.sim.vastai.query import OPERATORS, Filter, ordered
from gputui.sim.vastai.state import Caller, Contract, VastState, is_living

PAGE_SIZE = 25
MAX_LABEL = 1024


class _Row:
    """An instance as a list's filters see it."""

    def __init__(self, shown: dict[str, Any]) -> None:
        self.shown = shown

    def value(self, field: str) -> Any:
        return self.shown[field]


class Instances:
    """The instance calls."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    async def get(self, call: Call, caller: Caller) -> Answer:
        """Serve `GET /instances/{id}/`: one object under a plural name, null for one that is not there."""
        contract = caller.tenant.contracts.get(path_id(call))
        now_ms = call.world.now_ms()
        call.world.settle()
        if contract is None or not is_living(contract.machine, now_ms) or not call.world.is_readable(contract.machine):
            return Answer({"instances": None})
        return Answer({"instances": render.instance(call, caller.tenant, contract, contract.machine.life(now_ms))})

    async def list_retired(self, call: Call, caller: Caller) -> Answer:
        """Serve `GET /api/v0/instances/`, which is no more."""
        said = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
        raise refused(int(call.world.faults.choice("list_v0")), "deprecated_endpoint", said)

    async def list_all(self, call: Call, caller: Caller) -> Answer:
        """Serve `GET /api/v1/instances/`: filters, order and columns; pages by the last row's values."""
        order = _order(call)
        rows = [_Row(item) for item in self._listed(call, caller)]
        found = ordered([row for row in rows if all(item.holds(row) for item in _filters(call))], order)
        limit = query_whole(call, "limit", PAGE_SIZE)
        limit = 5 if limit <= 0 else min(limit, PAGE_SIZE)
        start = _after(found, call.query("after_token"), order)
        page, more = found[start : start + limit], start + limit < len(found)
        columns = query_list(call, "select_cols") or ["*"]
        shown = [row.shown if "*" in columns else {name: row.shown.get(name) for name in columns} for row in page]
        return Answer(
            {
                "success": True,
                "instances_found": len(page),
                "total_instances": len(found),
                "label_counts": Keyed(Counter(row.shown["label"] or "" for row in found)),
                "next_token": _token(page[-1], order) if more else None,
                "instances": shown,
            }
        )

    async def manage(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /instances/{id}/`: start, stop or label."""
        contract, body = self.find(call, caller), body_of(call)
        if "state" not in body and "label" not in body:
            raise bad_args("Invalid args: 'state' or 'label' is required")
        label = body.get("label")
        if label is not None and (not isinstance(label, str) or len(label) > MAX_LABEL):
            raise bad_args(f"Invalid args: 'label' must be a string of at most {MAX_LABEL} characters")
        if "label" in body:
            contract.label = label
            contract.machine.label = label or ""
        if "state" in body:
            self._set_state(call, caller, contract, body["state"])
        return Answer({"success": True})

    async def manage_many(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /instances/` with `ids` and a state."""
        body = body_of(call)
        for contract in self._named(call, caller, body.get("ids")):
            self._set_state(call, caller, contract, body.get("state"))
        return Answer({"success": True})

    async def destroy(self, call: Call, caller: Caller) -> Answer:
        self._destroy(call, self.find(call, caller))
        return Answer({"success": True})

    async def destroy_many(self, call: Call, caller: Caller) -> Answer:
        """Serve `DELETE /instances/` with `instance_ids`."""
        for contract in self._named(call, caller, body_of(call).get("instance_ids")):
            self._destroy(call, contract)
        return Answer({"success": True})

    async def reboot(self, call: Call, caller: Caller) -> Answer:
        return self._relaunch(call, self.find(call, caller), "exited")

    async def recycle(self, call: Call, caller: Caller) -> Answer:
        return self._relaunch(call, self.find(call, caller), "recycling")

    async def change_bid(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /instances/bid_price/{id}/`."""
        contract = self.find(call, caller)
        price = number(body_of(call), "price")
        if price is None or price < 0.001:
            raise refused(400, "invalid_price", "Please set a bid price >= 0.001.")
        if price > 32:
            raise refused(400, "invalid_price", "Please set a bid price <= 32.")
        if not contract.is_bid:
            raise bad_args("Invalid args: not an interruptible instance")
        contracts.rebid(self._state, caller.tenant, contract, Decimal(str(price)))
        return Answer({"success": True})

    def find(self, call: Call, caller: Caller, error: VastError | None = None) -> Contract:
        """Return the caller's living instance in the path. Raises `error`, or 404."""
        call.world.settle()
        contract = caller.tenant.contracts.get(path_id(call))
        if contract is None or not is_living(contract.machine, call.world.now_ms()):
            raise error or no_such_instance(call.world)
        return contract

    def _named(self, call: Call, caller: Caller, ids: Any) -> list[Contract]:
        if not isinstance(ids, list) or not all(isinstance(item, int) for item in ids):
            raise bad_args("invalid instance_id")
        living = {item.id: item for item in self._state.living(caller.tenant)}
        if unknown := [item for item in ids if item not in living]:
            raise refused(404, "no_such_instance", f"Instances {unknown} do not exist.")
        return [living[item] for item in ids]

    def _set_state(self, call: Call, caller: Caller, contract: Contract, state: Any) -> None:
        if state == "running":
            contracts.start(self._state, caller.tenant, contract, call.operation)
        elif state == "stopped":
            contracts.stop(call.world, contract, call.operation)
        else:
            raise bad_args("Invalid args: 'state' must be 'running' or 'stopped'")

    def _destroy(self, call: Call, contract: Contract) -> None:
        contract.waits_for = ""
        call.world.delete(contract.machine, call.operation)

    def _relaunch(self, call: Call, contract: Contract, shows: str) -> Answer:
        if contract.machine.life(call.world.now_ms()) not in (Life.RUNNING, Life.ERROR):
            raise refused(400, "invalid_id", "Instance is not running.")
        contracts.relaunch(call.world, contract, shows)
        return Answer({"success": True})

    def _listed(self, call: Call, caller: Caller) -> list[dict[str, Any]]:
        """Return the account's instances as a list shows them, by id. A destroyed one may linger."""
        call.world.settle()
        shown = []
        for contract in caller.tenant.contracts.values():
            life = call.world.listed_life(contract.machine)
            if life is not None and life not in ENDED and life is not Life.DELETING:
                item = render.instance(call, caller.tenant, contract, life)
                shown.append({**item, "volume_info": render.volume_info(caller.tenant, contract)})
        return shown


def _filters(call: Call) -> list[Filter]:
    found = []
    for name, conditions in query_object(call, "select_filters").items():
        if name not in render.STORED_COLUMNS or not isinstance(conditions, dict):
            raise _bad_key(name)
        for operator, want in conditions.items():
            if operator not in OPERATORS or (operator in ("in", "notin") and not isinstance(want, list)):
                raise _bad_key(f"{name}.{operator}")
            found.append(Filter(name, operator, want))
    return found


def _order(call: Call) -> list[tuple[str, bool]]:
    found = []
    for item in query_list(call, "order_by"):
        name = item.get("col") if isinstance(item, dict) else None
        if name not in render.STORED_COLUMNS:
            raise _bad_key(str(name))
        found.append((name, item.get("dir") != "desc"))
    return [*found, ("id", True)]


def _bad_key(name: str) -> VastError:
    return VastError(
        400, {"error": "invalid_request", "msg": f"Error in query parameters: {name} is not a valid search key"}
    )


def _token(row: _Row, order: list[tuple[str, bool]]) -> str:
    values = {name: row.value(name) for name, _ in order}
    return base64.b64encode(json.dumps({"values": values}).encode()).decode()


def _after(rows: list[_Row], token: str | None, order: list[tuple[str, bool]]) -> int:
    """Return where the page after a token begins: behind every row that comes before the token's values or at them."""
    if token is None:
        return 0
    try:
        values = json.loads(base64.b64decode(token, validate=True))["values"]
        marker = _Row({name: values[name] for name, _ in order})
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise VastError(400, {"error": "invalid_token", "msg": "Invalid pagination token"}) from None
    behind = [row for row in rows if ordered([marker, row], order)[0] is row or row.shown["id"] == marker.shown["id"]]
    return len(behind)
