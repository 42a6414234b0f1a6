"""What the tests of the simulated RunPod share: a raw HTTP client of one account, and the world behind it."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from gputui.sim.gate import ProviderApp
from gputui.sim.runpod.app import build
from gputui.sim.serve import asgi_transport
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32
PUBLIC_KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} someone@somewhere"
RTX4090 = "NVIDIA GeForce RTX 4090"
H100 = "NVIDIA H100 80GB HBM3"
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)
NONCE = "c0ffee00"
BOOT_S = 10.0
CONTAINER_S = BOOT_S * 1.2 + 2
"""By when a new pod's container runs."""


@dataclass(frozen=True)
class Event:
    """One frame of a log stream; `data` is None for one without."""

    id: str
    data: dict[str, str] | None

    @property
    def line(self) -> str:
        return self.data["line"] if self.data else ""


class LogReader:
    """Reads the frames of an open log stream. `comments` counts the others."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Event:
        """Return the next frame."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                self.comments += not name
                fields[name] = value
            elif fields.keys() & {"id", "data"}:
                return Event(fields["id"], json.loads(fields["data"]) if "data" in fields else None)
            else:
                fields = {}
        raise EOFError

    async def until_quiet(self, quiet_s: float = 0.01) -> list[Event]:
        """Return the frames up to the first time that none comes for so long; what comes later is lost."""
        found: list[Event] = []
        while True:
            try:
                async with asyncio.timeout(quiet_s):
                    found.append(await self.next())
            except TimeoutError:
                return found


class RunPodApi:
    """A raw HTTP client of one account; rate limits are off unless `limited`."""

    def __init__(self, key: str = "sim-a", *, limited: bool = False, behind: RunPodApi | None = None) -> None:
        self.world: World = behind.world if behind else World(VirtualClock(), seed=1, boot_s=BOOT_S)
        self.app: ProviderApp = behind.app if behind else build(self.world, "/runpod")
        if not behind and not limited:
            self.world.faults.set(runpod_per_minute=0, runpod_per_hour=0, runpod_per_day=0)
        self.http = httpx.AsyncClient(
            transport=asgi_transport(self.app),
            base_url="http://sim/runpod/v2/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30.0,
        )

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self.http.request(method, path, **kwargs)

    async def ok(self, method: str, path: str, status: int = 200, **kwargs: Any) -> Any:
        """Return the body of a success."""
        response = await self.call(method, path, **kwargs)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def refused(self, status: int, method: str, path: str, **kwargs: Any) -> str:
        """Return the detail of an error, having checked its shape."""
        return str((await self.problem(status, method, path, **kwargs))["detail"])

    async def problem(self, status: int, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        response = await self.call(method, path, **kwargs)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body = dict(response.json())
        assert set(body) - {"errors"} == {"title", "status", "detail"}
        assert body["status"] == status
        return body

    def order(self, **changes: Any) -> dict[str, Any]:
        """Return a create body that is right but for `changes`; None takes a field out."""
        body = {
            "name": "box-1",
            "image": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
            "gpu": {"id": RTX4090},
            "disk": 40,
            "ports": ["22/tcp"],
        }
        return {name: value for name, value in {**body, **changes}.items() if value is not None}

    def job(self, *, nonce: str = NONCE, command: str = "train", env: Any = None, **changes: Any) -> dict[str, Any]:
        """Return a create body of a container that runs a job."""
        variables = {
            "GPUTUI_NONCE": nonce,
            "GPUTUI_COMMAND": command,
            "GPUTUI_MAX_DURATION_S": "",
            "GPUTUI_GRACE_S": "10",
        }
        args = shlex.join(["sh", "-c", "printf '%s\\n' \"$GPUTUI_NONCE\"\nwait\n"])
        return self.order(
            **{"image": "org/image:1", "args": args, "env": {**variables, **(env or {})}, "ports": [], **changes}
        )

    async def create(self, **changes: Any) -> dict[str, Any]:
        return dict(await self.ok("POST", "pods", 201, json=self.order(**changes)))

    async def start_job(self, **changes: Any) -> str:
        """Make a pod that runs a job and return its id."""
        return str((await self.ok("POST", "pods", 201, json=self.job(**changes)))["id"])

    async def running(self, **changes: Any) -> str:
        pod_id = (await self.create(**changes))["id"]
        await asyncio.sleep(CONTAINER_S + 2)
        pod = await self.get(pod_id)
        assert (pod["status"], bool(pod["runtime"])) == ("RUNNING", True)
        return str(pod_id)

    async def get(self, pod_id: str) -> dict[str, Any]:
        return dict(await self.ok("GET", f"pods/{pod_id}"))

    async def status(self, pod_id: str) -> str:
        return str((await self.get(pod_id))["status"])

    async def listed(self) -> list[str]:
        return [item["id"] for item in (await self.ok("GET", "pods"))["pods"]]

    async def act(self, pod_id: str, action: str, status: int = 200) -> Any:
        return await self.ok("POST", f"pods/{pod_id}/action", status, json={"action": action})

    @asynccontextmanager
    async def logs(self, pod_id: str, last_id: str | None = None, **params: Any) -> AsyncIterator[LogReader]:
        """Open a log stream."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.http.stream("GET", f"pods/{pod_id}/logs", params=params, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream"
            yield LogReader(response)

    async def log(self, pod_id: str, last_id: str | None = None, **params: Any) -> list[Event]:
        """Return what stands in a log now."""
        async with self.logs(pod_id, last_id, **params) as reader:
            return await reader.until_quiet()

    async def printed(self, pod_id: str, **params: Any) -> list[str]:
        """Return all that a pod's container has printed."""
        events = await self.log(pod_id, tail=5000, source="container", **params)
        return [event.line for event in events if event.data]

    async def graphql(self, query: str, **kwargs: Any) -> httpx.Response:
        return await self.http.post("http://sim/runpod/graphql", json={"query": query}, **kwargs)
