"""What is left of GraphQL here, until it is switched off: the query for the account's balance, and the end of a pod."""

from __future__ import annotations

import json
import re
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.runpod import edge
from gputui.sim.runpod.errors import failed
from gputui.sim.runpod.state import RunPodState, Tenant, exists

_TERMINATE = re.compile(r"\s*mutation\s*\{\s*podTerminate\(input:\s*\{\s*podId:\s*\"(?P<id>\w+)\"\s*\}\)\s*\}\s*")
_QUERY = re.compile(r"\s*(?:query(?:\s+\w+)?)?\s*\{\s*myself\s*\{(?P<fields>[\w\s,]*)\}\s*\}\s*")


class GraphQl:
    """Answers `query { myself { … } }`, and `mutation { podTerminate(input: {podId: "…"}) }` with any key that may."""

    def __init__(self, state: RunPodState) -> None:
        self._state = state

    async def answer(self, call: Call) -> Answer:
        faults = call.world.faults
        refusal = edge.refusal(call)
        if refusal is not None:
            return refusal
        status = faults.choice("runpod_graphql")
        if status != "live":
            raise ApiError(int(status), "", "The GraphQL API has been retired." if status == "410" else "not found")
        scheme, _, bearer = call.request.headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else call.query("api_key")
        ends = _TERMINATE.fullmatch(_query(call))
        if ends is not None:
            return self._terminate(call, key or "", ends["id"])
        names = _fields(call)
        if isinstance(names, Answer):
            return names
        if not key:
            return Answer({"data": {"myself": None}})
        tenant = self._state.tenant(key)
        if tenant is None:
            return _errors(401, "Unauthorized", "UNAUTHENTICATED")
        if faults.choice("runpod_key_scope") in ("none", "no_graphql"):
            return failed(ApiError(403, "", "access denied"))
        myself = _myself(call, tenant)
        strange = next((name for name in names if name not in myself), None)
        if strange is not None:
            return _errors(400, f'Cannot query field "{strange}" on type "User".', "GRAPHQL_VALIDATION_FAILED")
        return Answer({"data": {"myself": {name: myself[name] for name in names}}})

    def _terminate(self, call: Call, key: str, pod_id: str) -> Answer:
        """End a pod, by its own key or by one of its account."""
        world = call.world
        world.settle()
        own = self._state.pod_of_key(key)
        tenant = self._state.tenant(key) if own is None else None
        machine = world.machines.get(pod_id)
        is_allowed = machine is not None and (
            own is machine or (tenant is not None and machine.account_id == tenant.account.id)
        )
        if machine is None or not is_allowed or not exists(machine, world.now_ms()):
            return _errors(200, "pod not found to terminate", "RUNPOD")
        world.delete(machine, call.operation)
        return Answer({"data": {"podTerminate": None}})


def _fields(call: Call) -> list[str] | Answer:
    """Return the fields of `myself` that a query asks for, or the answer of one that cannot be read."""
    found = _QUERY.fullmatch(_query(call))
    names = re.findall(r"\w+", found["fields"]) if found else []
    return names or _errors(400, "Syntax Error or unknown field.", "GRAPHQL_VALIDATION_FAILED")


def _query(call: Call) -> str:
    """Return the text of a query, empty for a body that has none."""
    try:
        return str(json.loads(call.body)["query"])
    except (ValueError, TypeError, KeyError):
        return ""


def _myself(call: Call, tenant: Tenant) -> dict[str, Any]:
    world = call.world
    balance_usd = world.balance_usd(tenant.account)
    return {
        "id": tenant.user_id,
        "email": "sim@example.com",
        "clientBalance": round(float(balance_usd), 10),
        "currentSpendPerHr": round(float(tenant.usd_per_hour(world.now_ms())), 6),
        "spendLimit": round(world.faults.number("runpod_spend_limit_usd")),
        "underBalance": balance_usd <= 0,
        "pubKey": "\n\n".join(tenant.ssh_keys),
    }


def _errors(status: int, text: str, code: str) -> Answer:
    return Answer({"errors": [{"message": text, "extensions": {"code": code}}], "data": None}, status)
