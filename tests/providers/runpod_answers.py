"""What RunPod answers its client, written by hand: rows, problems, logs, and an API that gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from client_stage import OTHER_PUBLIC_KEY, PUBLIC_KEY, Api

from gputui.model.types import CreateRequest, Offer, Tier
from gputui.providers.runpod.client import RunPodClient

URL = "https://api.runpod.test/v2"
KEY = "rpa_fake0123456789"
ODD_KEY = "ssh-rsa no-base64-at-all"

OFFER = Offer(
    id="runpod:nvidia-geforce-rtx-4090:1:secure:EU-RO-1",
    provider="runpod",
    gpu="RTX-4090",
    gpu_count=1,
    price_micro_usd_per_hour=740_000,
    fetched_at_ms=0,
    region="EU-RO-1",
    tier=Tier.SECURE,
    native={"gpu_id": "NVIDIA GeForce RTX 4090", "cloud": "SECURE", "data_center_id": "EU-RO-1"},
)
JOB = CreateRequest(
    offer=OFFER,
    label="gputui-t-01abc",
    idempotency_key="idem-1",
    ssh_public_key=PUBLIC_KEY,
    image="acme/train:3",
    argv=("sh", "-c", "echo 'it is on'"),
    env={"GPUTUI_NONCE": "ab12"},
)
BOX = replace(JOB, argv=(), env={})
POD: dict[str, Any] = {
    "id": "50qynxzilsxoey",
    "name": "gputui-t-01abc",
    "status": "PROVISIONING",
    "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
    "cloud": "SECURE",
    "dataCenterId": None,
    "ssh": {"proxy": None, "direct": None},
    "cost": 0.74,
    "runtime": None,
    "createdAt": "2026-01-05T09:00:00Z",
    "startedAt": None,
}
GPU: dict[str, Any] = {
    "id": "NVIDIA GeForce RTX 4090",
    "memory": 24,
    "secure": True,
    "community": True,
    "price": {"secure": 0.74, "community": 0.34},
    "maxCount": {"secure": 4, "community": 2},
    "availability": "HIGH",
    "dataCenters": [{"id": "EU-RO-1", "availability": "HIGH"}],
}

ORDER, LIST = "POST v2/pods", "GET v2/pods"
ONE = f"GET v2/pods/{POD['id']}"
END = f"DELETE v2/pods/{POD['id']}"
ACT = f"POST v2/pods/{POD['id']}/action"
LOG = f"GET v2/pods/{POD['id']}/logs"
KEYS, SET_KEYS = "GET v2/account/ssh-keys", "PUT v2/account/ssh-keys"
GRAPHQL = "POST graphql"
NONE_LEFT = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)


def ok(data: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=data, headers=headers)


def refused(status: int, detail: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"title": "Title", "status": status, "detail": detail}, headers=headers)


def place(number: int) -> str:
    """Return the id of a frame of a log."""
    return f"2026-01-05T09:00:00Z/{number:012d}"


class Lines(httpx.AsyncByteStream):
    """A log that says what it has and then stays open."""

    def __init__(self, *texts: str, first: int = 1) -> None:
        self.frames = [
            f"id: {place(number)}\ndata: {json.dumps({'source': 'container', 'line': text})}\n\n"
            for number, text in enumerate(texts, first)
        ]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self.frames:
            yield frame.encode()
        while True:
            await asyncio.sleep(15)
            yield b": keepalive\n\n"


class RunPodApi(Api):
    """One account with a pod, two SSH keys of others, and room for every order."""

    def __init__(self) -> None:
        self.keys = [OTHER_PUBLIC_KEY, ODD_KEY]
        super().__init__(
            "/",
            {
                ORDER: ok(POD, 201),
                KEYS: lambda request: ok({"keys": self.keys}),
                SET_KEYS: self.set_keys,
                LIST: ok({"pods": [POD]}),
                ONE: ok(POD),
                END: httpx.Response(204),
            },
        )

    def set_keys(self, request: httpx.Request) -> httpx.Response:
        self.keys = json.loads(request.content)["keys"]
        return ok({"keys": self.keys})

    def response_of(self, answer: Any) -> httpx.Response:
        if isinstance(answer, Lines):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=answer)
        return super().response_of(answer)

    def client(self, folder: Path, *, url: str = URL) -> RunPodClient:
        return RunPodClient(self.context(folder, key=KEY, url=url))
