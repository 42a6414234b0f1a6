"""What the tests of the simulated Lambda Cloud share: a raw HTTP client of one account, and the world behind it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx

from gputui.sim.gate import ProviderApp
from gputui.sim.lambda_.app import build
from gputui.sim.serve import asgi_transport
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32
PUBLIC_KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} someone@somewhere"
A10 = "gpu_1x_a10"
INVALID = "global/invalid-parameters"
MISSING = "global/object-does-not-exist"
BOOT_S = 10.0


class LambdaApi:
    """A raw HTTP client of one account; rate limits are off unless `limited`."""

    def __init__(self, key: str = "sim-a", *, limited: bool = False, behind: LambdaApi | None = None) -> None:
        self.world = behind.world if behind else World(VirtualClock(), seed=1, boot_s=BOOT_S)
        self.app: ProviderApp = behind.app if behind else build(self.world, "/lambda")
        if not behind and not limited:
            self.world.faults.set(request_every_s=0, launch_every_s=0)
        self.http = httpx.AsyncClient(
            transport=asgi_transport(self.app),
            base_url="http://sim/lambda/api/v1/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30.0,
        )
        self.key_name = ""

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.request(method, path, **kwargs)

    async def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        """Return `data` of a success."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == 200, response.text
        assert set(response.json()) == {"data"}
        return response.json()["data"]

    async def refused(self, status: int, code: str, method: str, path: str, **kwargs: Any) -> str:
        """Return the sentence of an error, having checked its shape."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == status, response.text
        assert set(response.json()) == {"error"}
        error = response.json()["error"]
        assert error["code"] == code, response.text
        assert set(error) <= {"code", "message", "suggestion", "request_id"}
        return str(error["message"])

    async def order(self, **changes: Any) -> dict[str, Any]:
        """Return a launch body that is right but for `changes`; None takes a field out."""
        if not self.key_name:
            added = await self.ok("POST", "ssh-keys", json={"name": "mine", "public_key": PUBLIC_KEY})
            self.key_name = added["name"]
        body = {
            "region_name": "us-east-1",
            "instance_type_name": A10,
            "ssh_key_names": [self.key_name],
            "name": "box-1",
        }
        return {name: value for name, value in {**body, **changes}.items() if value is not None}

    async def launch(self, **changes: Any) -> str:
        """Launch and return the id of the one instance."""
        data = await self.ok("POST", "instance-operations/launch", json=await self.order(**changes))
        assert list(data) == ["instance_ids"]
        (machine_id,) = data["instance_ids"]
        return str(machine_id)

    async def launch_refused(self, status: int, code: str, **changes: Any) -> str:
        body = await self.order(**changes)
        return await self.refused(status, code, "POST", "instance-operations/launch", json=body)

    async def running(self, **changes: Any) -> str:
        machine_id = await self.launch(**changes)
        await asyncio.sleep(BOOT_S * 1.2 + 1)
        assert (await self.get(machine_id))["status"] == "active"
        return machine_id

    async def get(self, machine_id: str) -> dict[str, Any]:
        return dict(await self.ok("GET", f"instances/{machine_id}"))

    async def listed(self) -> list[str]:
        return [item["id"] for item in await self.ok("GET", "instances")]

    async def terminate(self, *machine_ids: str) -> list[dict[str, Any]]:
        data = await self.ok("POST", "instance-operations/terminate", json={"instance_ids": list(machine_ids)})
        assert list(data) == ["terminated_instances"]
        return list(data["terminated_instances"])
