"""What the tests of the simulated TensorDock share: a raw HTTP client of one organization, and the world behind it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx

from gputui.sim.serve import asgi_transport
from gputui.sim.tensordock.app import API_PATH, build
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32
PUBLIC_KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} someone@somewhere"
RTX_4090 = "geforcertx4090-pcie-24gb"
H100 = "h100-sxm5-80gb"


def size(model: str = RTX_4090, count: int = 1, **changes: int) -> dict[str, Any]:
    """Return the resources of an order that are right but for `changes`."""
    return {"vcpu_count": 8, "ram_gb": 32, "storage_gb": 200, **changes, "gpus": {model: {"count": count}}}


class TensorDockApi:
    """A raw HTTP client of one organization, and the world behind it."""

    def __init__(self, key: str = "sim-a", world: World | None = None, app: Any = None) -> None:
        self.world = world or World(VirtualClock(), seed=1, boot_s=10.0)
        self.app = app or build(self.world, "/tensordock")
        self.http = httpx.AsyncClient(
            transport=asgi_transport(self.app),
            base_url=f"http://sim/tensordock{API_PATH}/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30.0,
        )

    def other(self, key: str) -> TensorDockApi:
        return TensorDockApi(key, self.world, self.app)

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.request(method, path, **kwargs)

    async def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        response = await self.call(method, path, **kwargs)
        assert response.status_code == 200, response.text
        assert "error" not in response.json(), response.text
        return response.json()

    async def refused(self, status: int, method: str, path: str, **kwargs: Any) -> Any:
        """Return the sentence of an error, or the issues of a body that makes no sense."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == status, response.text
        body = response.json()
        return body if isinstance(body, list) else body["error"]

    async def place(self, city: str) -> dict[str, Any]:
        places = (await self.call("GET", "locations")).json()["data"]["locations"]
        return next(dict(place) for place in places if place["city"] == city)

    async def order(self, city: str = "Chicago", model: str = RTX_4090, **changes: Any) -> dict[str, Any]:
        """Return a create body that is right but for `changes` of its attributes; None takes one out."""
        attributes = {
            "name": "box-1",
            "type": "virtualmachine",
            "image": "ubuntu2404",
            "resources": size(model),
            "location_id": (await self.place(city))["id"],
            "port_forwards": [{"internal_port": 22, "external_port": 0}],
            "ssh_key": PUBLIC_KEY,
            **changes,
        }
        kept = {name: value for name, value in attributes.items() if value is not None}
        return {"data": {"type": "virtualmachine", "attributes": kept}}

    async def create(self, *where: str, **changes: Any) -> str:
        body = await self.ok("POST", "instances", json=await self.order(*where, **changes))
        return str(body["data"]["id"])

    async def running(self, *where: str, **changes: Any) -> str:
        instance_id = await self.create(*where, **changes)
        await asyncio.sleep(12)
        assert (await self.ok("GET", f"instances/{instance_id}"))["ipAddress"]
        return instance_id

    async def status(self, instance_id: str) -> str:
        return str((await self.ok("GET", f"instances/{instance_id}"))["status"])


async def act(api: TensorDockApi, instance_id: str, verb: str) -> str:
    """Start or stop an instance and return the status it is answered."""
    answer = await api.ok("POST", f"instances/{instance_id}/{verb}", json={})
    assert set(answer["data"]) == {"type", "id", "attributes"}
    assert (answer["data"]["type"], answer["data"]["id"]) == ("instance", instance_id)
    return str(answer["data"]["attributes"]["status"])
