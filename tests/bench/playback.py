"""What the simulated providers answer to a refresh, recorded once and played back later: a network of known slowness."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gputui.providers.registry import ClientContext, make_client
from gputui.sim.serve import asgi_transport, build_app
from gputui.sim.vtime import VirtualClock, run_virtual
from gputui.sim.world import World

KEY = "sim-bench"


@dataclass
class Recording(httpx.AsyncBaseTransport):
    """Passes requests on and keeps the answers; `answers` are bodies by method, address and body."""

    inner: httpx.AsyncBaseTransport
    answers: dict[tuple[str, str, bytes], bytes] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        assert response.is_success, f"{request.method} {request.url} was answered {response.status_code}"
        self.answers[_key_of(request)] = await response.aread()
        return response


@dataclass
class Playback(httpx.AsyncBaseTransport):
    """Answers as it was recorded: at first after `delay_s` of real time, and what is asked from then on at once."""

    answers: dict[tuple[str, str, bytes], bytes]
    delay_s: float
    answers_from_s: float | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        if self.answers_from_s is None:
            self.answers_from_s = loop.time() + self.delay_s
        await asyncio.sleep(self.answers_from_s - loop.time())
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=self.answers[_key_of(request)])


def _key_of(request: httpx.Request) -> tuple[str, str, bytes]:
    return request.method, request.url.raw_path.decode(), request.content


def recorded(name: str, folder: Path, **faults: Any) -> dict[tuple[str, str, bytes], bytes]:
    """Return all that a client hears of a simulated provider when it fetches the offers. `faults` are knobs of the world."""

    async def fetch() -> dict[tuple[str, str, bytes], bytes]:
        world = World(VirtualClock(), seed=7)
        recording = Recording(asgi_transport(build_app(world, [name])))
        world.faults.apply(faults)
        client = client_of(name, recording, folder)
        assert await client.fetch_offers()
        await client.aclose()
        return recording.answers

    return run_virtual(fetch())


def client_of(name: str, transport: httpx.AsyncBaseTransport, folder: Path, *, clock: Any = None) -> Any:
    """Return a client of the simulated provider behind a transport; its counts of requests begin anew in `folder`."""
    from gputui.sim.serve import PROVIDER_APPS

    url = f"https://host/{name}{PROVIDER_APPS[name].api_path}"
    return make_client(name, ClientContext(clock or VirtualClock(), folder, api_key=KEY, url=url, transport=transport))
