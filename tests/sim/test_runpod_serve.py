"""The simulated RunPod over loopback: a log that streams through a real socket, and pods that answer real SSH."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from runpod_stage import RTX4090, RunPodApi

from gputui.local.clock import SystemClock
from gputui.sim.serve import serve

DEADLINE_S = 60.0


@asynccontextmanager
async def served(folder: Path, monkeypatch: pytest.MonkeyPatch, **faults: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve RunPod over loopback and give a client of it."""
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    knobs = {"runpod_per_minute": 0, "runpod_container_after_s": 0.1, "runpod_direct_after_s": 0.1, **faults}
    task = asyncio.create_task(
        serve(["runpod"], clock=SystemClock(), port=0, boot_s=0.3, faults=knobs, on_ready=ready.set_result)
    )
    try:
        waited: set[asyncio.Future[Any]] = {task, ready}
        await asyncio.wait(waited, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        url = f"http://127.0.0.1:{ready.result()}/runpod/v2/"
        headers = {"Authorization": "Bearer sim-a"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE_S) as client:
            yield client
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE_S)


async def test_a_log_streams_over_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = RunPodApi().job(env={"MOCK_DURATION_S": "4"})
    async with served(tmp_path, monkeypatch, runpod_keepalive_s=0.2) as client:
        made = await client.post("pods", json=body)
        assert made.status_code == 201, made.text
        path = f"pods/{made.json()['id']}/logs"
        loop = asyncio.get_running_loop()
        times, ids, comments = [], [], 0
        async with asyncio.timeout(DEADLINE_S), client.stream("GET", path, params={"source": "container"}) as response:
            assert response.headers["content-type"] == "text/event-stream"
            async for line in response.aiter_lines():
                comments += line.startswith(":")
                if line.startswith("id: "):
                    ids.append(line.removeprefix("id: "))
                if line.startswith("data: "):
                    times.append(loop.time())
                    if json.loads(line.removeprefix("data: "))["line"] == "gputui-end c0ffee00 code=0 reason=exited":
                        break
        assert comments
        assert times[-1] - times[0] > 0.8, "lines come while the job runs"
        async with asyncio.timeout(DEADLINE_S):
            async with client.stream("GET", path, headers={"Last-Event-ID": ids[-2]}) as response:
                first = await anext(line async for line in response.aiter_lines() if line.startswith("id: "))
        assert first == f"id: {ids[-1]}"
        assert (await client.get("pods")).json()["pods"][0]["status"] == "RUNNING"


async def test_a_log_answers_before_there_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch, runpod_container_after_s=3600) as client:
        made = await client.post("pods", json=RunPodApi().job())
        path = f"pods/{made.json()['id']}/logs"
        async with asyncio.timeout(DEADLINE_S), client.stream("GET", path, params={"source": "container"}) as response:
            assert response.headers["content-type"] == "text/event-stream"


async def test_a_pod_over_loopback_answers_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    async with served(tmp_path, monkeypatch) as client:
        keys = {"keys": [key.export_public_key().decode().strip()]}
        assert (await client.put("account/ssh-keys", json=keys)).status_code == 200
        body = {
            "name": "box",
            "image": "runpod/base:1.0",
            "gpu": {"id": RTX4090},
            "ports": ["22/tcp"],
            "startSsh": True,
        }
        made = await client.post("pods", json=body)
        assert made.status_code == 201, made.text
        path = f"pods/{made.json()['id']}"
        direct = await ready(client, path)
        async with asyncio.timeout(DEADLINE_S), await connected(direct, key) as connection:
            assert (await client.post(f"{path}/action", json={"action": "stop"})).status_code == 200
            await connection.wait_closed()
        assert (await client.post(f"{path}/action", json={"action": "start"})).status_code == 200
        again = await ready(client, path)
        assert (again["host"], again["port"]) != (direct["host"], direct["port"])
        async with asyncio.timeout(DEADLINE_S), await connected(again, key) as connection:
            assert (await client.delete(path)).status_code == 204
            await connection.wait_closed()
    assert list(tmp_path.iterdir()) == []


async def ready(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return how to reach a pod once it says so."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            pod = (await client.get(path)).json()
            if pod["ssh"]["direct"]:
                assert pod["ssh"]["direct"]["host"].startswith("127.")
                return dict(pod["ssh"]["direct"])
            await asyncio.sleep(0.05)


async def connected(direct: dict[str, Any], key: Any) -> Any:
    """Return an SSH connection to a pod, retried until its sshd answers."""
    import asyncssh

    while True:
        try:
            return await asyncssh.connect(
                direct["host"],
                direct["port"],
                username=direct["username"],
                client_keys=[key],
                known_hosts=None,
                config=None,
                agent_path=None,
            )
        except OSError:
            await asyncio.sleep(0.05)
