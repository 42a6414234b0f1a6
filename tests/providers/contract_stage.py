"""What the contract of all providers is told with: an account at a simulated provider, and faults of HTTP on the way there.

HTTP faults are put between client and simulator, so that they hit whatever the simulator does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from client_stage import HTML, PUBLIC_KEY

from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.registry import ClientContext, make_client
from gputui.sim.vtime import VirtualClock

KEY = "sim-contract-key"
LABEL = "gputui-test-01contract"

Deliver = Callable[[httpx.Request], Awaitable[httpx.Response]]
Fault = Callable[[httpx.Request, Deliver], Awaitable[httpx.Response]]


class FaultyWire(httpx.AsyncBaseTransport):
    """Passes requests on. A fault set for a method (and part of a path) takes the next such request, or all of them."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._faults: list[tuple[str, str, Fault, bool]] = []
        self.sent: list[str] = []

    def once(self, method: str, path: str, fault: Fault) -> None:
        self._faults.append((method, path, fault, False))

    def always(self, method: str, path: str, fault: Fault) -> None:
        self._faults.append((method, path, fault, True))

    def count(self, method: str, path: str = "") -> int:
        return sum(line.startswith(f"{method} ") and path in line for line in self.sent)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(f"{request.method} {request.url.path}")
        for entry in self._faults:
            method, path, fault, is_lasting = entry
            if method == request.method and path in request.url.path:
                if not is_lasting:
                    self._faults.remove(entry)
                return await fault(request, self._inner.handle_async_request)
        return await self._inner.handle_async_request(request)


def answer(status: int, **content: Any) -> Fault:
    """Answer without passing the request on."""

    async def fault(request: httpx.Request, deliver: Deliver) -> httpx.Response:
        return httpx.Response(status, **content)

    return fault


def broken(error: type[httpx.TransportError]) -> Fault:
    """Break before anything was sent."""

    async def fault(request: httpx.Request, deliver: Deliver) -> httpx.Response:
        raise error("broken")

    return fault


async def lost_reply(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on, then break before the answer arrives."""
    await deliver(request)
    raise httpx.ReadError("reset")


async def cut_off(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on and let only half of the answer through."""
    response = await deliver(request)
    content = await response.aread()
    return httpx.Response(response.status_code, content=content[: len(content) // 2])


async def html_instead(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on and answer with a page."""
    await deliver(request)
    return httpx.Response(200, text=HTML)


@dataclass
class Rig:
    """One account at a simulated provider; after `settle_s` seconds whatever was asked of it has come true."""

    name: str
    state_dir: Path
    missing_id: str
    wire: Any = None
    url: str | None = None
    key: str = ""
    settle_s: float = 600.0
    world: Any = None

    def client(self, *, key: str | None = None) -> Any:
        """Return a new client on the account, with nothing in memory."""
        context = ClientContext(
            VirtualClock(), self.state_dir, api_key=self.key if key is None else key, url=self.url, transport=self.wire
        )
        return make_client(self.name, context)


async def available(client: Any, number: int = 0) -> Offer:
    offers = [offer for offer in await client.fetch_offers() if offer.stock in (Stock.HIGH, Stock.LOW)]
    found: Offer = sorted(offers, key=lambda offer: offer.price_micro_usd_per_hour)[number]
    return found


async def order(client: Any, label: str = LABEL, number: int = 0) -> CreateRequest:
    offer = await available(client, number)
    return CreateRequest(offer=offer, label=label, idempotency_key=f"idem-{label}", ssh_public_key=PUBLIC_KEY)


async def until_state(client: Any, machine_id: str, state: MachineState, limit_s: float) -> Any:
    for _ in range(int(limit_s)):
        machine = await client.get(machine_id)
        if machine.state is state:
            return machine
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} is {machine.raw_state}, not {state}")


async def until_reachable(client: Any, machine_id: str, limit_s: float) -> Any:
    """Wait for an address: some providers call a machine running before it has one."""
    for _ in range(int(limit_s)):
        machine = await client.get(machine_id)
        if machine.ip:
            return machine
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} never had an address")
