"""What the tests of the simulated Vast.ai share: a raw HTTP client of one account, and the world behind it."""

from __future__ import annotations

import asyncio
import base64
import json
from decimal import Decimal
from typing import Any

import httpx

from gputui.sim.gate import ProviderApp
from gputui.sim.machine import SimMachine
from gputui.sim.serve import asgi_transport
from gputui.sim.vastai.app import build
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World

BOOT_S = 10.0
OFFERS = 200
DIRECT = "ssh_direc ssh_proxy"


def public_key(letter: str = "k") -> str:
    """Return an OpenSSH line; another letter is another key."""
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + letter.encode() * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} someone@somewhere"


class VastApi:
    """A raw HTTP client of one account over a small market; rate limits are off unless `limited`."""

    def __init__(self, key: str = "sim-a", *, limited: bool = False, behind: VastApi | None = None) -> None:
        self.world = behind.world if behind else World(VirtualClock(), seed=1, boot_s=BOOT_S)
        self.app: ProviderApp = behind.app if behind else build(self.world, "/vastai")
        if not behind:
            self.world.faults.set(offers=OFFERS)
            if not limited:
                self.world.faults.set(interval_scale=0, search_interval_s=0)
        self.http = httpx.AsyncClient(
            transport=asgi_transport(self.app),
            base_url="http://sim/vastai/api/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=30.0,
        )

    def other(self, key: str) -> VastApi:
        return VastApi(key, behind=self)

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Call a path below /api/v0/, or one that begins with v1/ below /api/."""
        return await self.http.request(method, path if path.startswith("v1/") else f"v0/{path}", **kwargs)

    async def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        """Return the JSON of a success."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        assert not isinstance(body, dict) or body.get("success") is not False, response.text
        return body

    async def refused(self, status: int, code: str, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return the body of an error in the normal envelope."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == status, response.text
        body = response.json()
        assert (body["success"], body["error"]) == (False, code), response.text
        return dict(body)

    # The market

    async def offers(self, **query: Any) -> list[dict[str, Any]]:
        return list((await self.ok("POST", "bundles/", json=query))["offers"])

    async def offer(self, **query: Any) -> dict[str, Any]:
        """Return the cheapest offer that can be reached directly and lasts more than a day, or what `query` asks for."""
        wanted = {
            "order": [["dph_total", "asc"]],
            "direct_port_count": {"gte": 2},
            "duration": {"gt": 90_000},
            "disk_space": {"gte": 100},
            **query,
        }
        return (await self.offers(**wanted))[0]

    # Instances

    def order(self, **changes: Any) -> dict[str, Any]:
        """Return a create body that is right but for `changes`; None takes a field out."""
        body = {"image": "pytorch/pytorch:2.4.0", "disk": 40, "runtype": DIRECT, "label": "box-1", **changes}
        return {name: value for name, value in body.items() if value is not None}

    async def create(self, offer_id: int | None = None, **changes: Any) -> int:
        if offer_id is None:
            offer_id = (await self.offer())["id"]
        return int((await self.ok("PUT", f"asks/{offer_id}/", json=self.order(**changes)))["new_contract"])

    async def running(self, offer_id: int | None = None, **changes: Any) -> int:
        contract_id = await self.create(offer_id, **changes)
        await asyncio.sleep(BOOT_S * 1.2 + 1)
        assert (await self.get(contract_id))["actual_status"] == "running"
        return contract_id

    async def get(self, contract_id: int) -> Any:
        """Return an instance, None when it is not there."""
        return (await self.ok("GET", f"instances/{contract_id}/"))["instances"]

    async def states(self, contract_id: int) -> tuple[Any, ...]:
        """Return (actual, intended, current) of an instance."""
        shown = await self.get(contract_id)
        return shown["actual_status"], shown["intended_status"], shown["cur_state"]

    async def set_state(self, contract_id: int, state: str) -> Any:
        return await self.ok("PUT", f"instances/{contract_id}/", json={"state": state})

    async def listed(self, **params: Any) -> dict[str, Any]:
        query = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in params.items()}
        return dict(await self.ok("GET", "v1/instances/", params=query))

    async def destroy(self, contract_id: int) -> None:
        assert await self.ok("DELETE", f"instances/{contract_id}/", json={}) == {"success": True}

    # Money

    async def charges(self, from_ms: int, until_ms: int, **params: Any) -> dict[str, Any]:
        filters = json.dumps({"day": {"gte": from_ms / 1000, "lte": until_ms / 1000}})
        return dict(await self.ok("GET", "charges/", params={"select_filters": filters, **params}))

    def machine(self, contract_id: int) -> SimMachine:
        return self.world.machines[str(contract_id)]

    def bill_usd(self, contract_id: int) -> Decimal:
        return self.machine(contract_id).bill_usd(self.world.now_ms())
