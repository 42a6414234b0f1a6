"""What really exists and what it truly costs, for tests and outside checkers: `/_sim/truth` and `/_sim/faults`."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from gputui.model.units import iso_utc
from gputui.sim.faults import BadSetting, UnknownKnob
from gputui.sim.machine import SimMachine
from gputui.sim.world import World

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

_MICRO = Decimal("0.000001")


def truth_of(world: World) -> dict[str, Any]:
    """Return every machine there ever was, oldest first, with its true bill, as JSON values.

    Shape: {"machines": [{"id", "provider", "label", "alive", "created_at", "ended_at", "bill_usd", …}], "bill_usd",
    "requests"}. Times are RFC 3339 or null; dollars are decimal strings with six places, rounded half up once each.
    """
    world.settle()
    now_ms = world.now_ms()
    machines = list(world.machines.values())
    return {
        "machines": [_machine(machine, now_ms) for machine in machines],
        "bill_usd": _usd(sum((machine.bill_usd(now_ms) for machine in machines), Decimal(0))),
        "requests": world.requests,
    }


class TruthApp:
    """The ASGI app under `/_sim`: GET truth, GET/POST/DELETE faults. It needs no key."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        if scope["type"] == "http":
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        faults = self._world.faults
        match request.method, request.url.path:
            case "GET", "/_sim/truth":
                return JSONResponse(truth_of(self._world))
            case "GET", "/_sim/faults":
                return JSONResponse(faults.describe())
            case "DELETE", "/_sim/faults":
                faults.reset()
                return JSONResponse(faults.describe())
            case "POST", "/_sim/faults":
                return await self._set_faults(request)
        return JSONResponse({"error": "no such route; there are /_sim/truth and /_sim/faults"}, 404)

    async def _set_faults(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        faults = self._world.faults
        try:
            settings = json.loads(await request.body())
            if not isinstance(settings, dict):
                raise BadSetting("The body must be a JSON object of knobs.")
            faults.apply(settings)
        except UnknownKnob as error:
            return JSONResponse({"error": str(error), "knobs": sorted(faults.describe())}, 400)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(faults.describe())


def _machine(machine: SimMachine, now_ms: int) -> dict[str, Any]:
    return {
        "id": machine.id,
        "provider": machine.provider,
        "label": machine.label,
        "alive": machine.is_alive(now_ms),
        "created_at": iso_utc(machine.created_ms),
        "ended_at": iso_utc(machine.ended_ms(now_ms)),
        "bill_usd": _usd(machine.bill_usd(now_ms)),
        "state": machine.life(now_ms).value,
        "account_id": machine.account_id,
        "price_usd_per_hour": _usd(machine.price_usd(now_ms)),
        "running_at": iso_utc(machine.running_ms(now_ms)),
        "billing_started_at": iso_utc(machine.billing_started_ms(now_ms)),
        "billing_stopped_at": iso_utc(machine.billing_stopped_ms(now_ms)),
    }


def _usd(amount: Decimal) -> str:
    return str(amount.quantize(_MICRO, rounding=ROUND_HALF_UP))
