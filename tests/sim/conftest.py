"""What the tests of the simulated world share: a raw HTTP client of the simulated Huddle API, and the world behind it."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.sim.serve import asgi_transport, build_app
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World

# The stages of single providers are plain modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32
PUBLIC_KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} someone@somewhere"
H100 = "1H100.80S.30V"


class Api:
    """A raw HTTP client of one account, and the world behind it."""

    public_key = PUBLIC_KEY

    def __init__(self, key: str = "sim-a", world: World | None = None, app: Any = None) -> None:
        self.world = world or World(VirtualClock(), seed=1, boot_s=10.0)
        self.app = app or build_app(self.world, ["huddle"])
        self.http = httpx.AsyncClient(
            transport=asgi_transport(self.app),
            base_url="http://sim/huddle/api/v1/",
            headers={"X-API-Key": key},
            timeout=30.0,
        )
        self.key_id = ""

    def other(self, key: str) -> Api:
        return Api(key, self.world, self.app)

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.request(method, path, **kwargs)

    async def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        """Return `data` of a success."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == 200, response.text
        assert response.json()["code"] == "OK"
        return response.json()["data"]

    async def refused(self, status: int, code: str, method: str, path: str, **kwargs: Any) -> str:
        """Return the sentence of an error, having checked its shape."""
        response = await self.call(method, path, **kwargs)
        assert (response.status_code, response.json().get("code")) == (status, code), response.text
        assert set(response.json()) == {"code", "error"}
        assert response.headers["x-request-id"]
        return str(response.json()["error"])

    async def order(self, **changes: Any) -> dict[str, Any]:
        """Return a deploy body that is right but for `changes`; None takes a field out."""
        if not self.key_id:
            added = await self.ok("POST", "ssh-keys", json={"name": "mine", "public_key": PUBLIC_KEY})
            self.key_id = added["id"]
        body = {
            "cluster_type": H100,
            "image": "ubuntu-24.04-cuda-13.0-open-docker",
            "hostname": "box-1",
            "ssh_key_ids": [self.key_id],
            "location": "FIN-01",
        }
        return {name: value for name, value in {**body, **changes}.items() if value is not None}

    async def deploy(self, **changes: Any) -> dict[str, Any]:
        return dict(await self.ok("POST", "deployments/clusters", json=await self.order(**changes)))

    async def status(self, machine_id: str) -> str:
        return str((await self.ok("GET", f"deployments/{machine_id}"))["status"])

    async def running(self, **changes: Any) -> str:
        machine_id = (await self.deploy(**changes))["id"]
        await asyncio.sleep(12)
        assert await self.status(machine_id) == "running"
        return str(machine_id)


@pytest.fixture
def api() -> Api:
    """Return a client of a fresh world; use it in virtual time."""
    return Api()
