"""The simulated TensorDock over loopback: real SSH at the forwarded port, which is that of the machine's own server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tensordock_stage import RTX_4090, size

from gputui.local.clock import SystemClock
from gputui.sim import serve as serving
from gputui.sim.tensordock import app

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def temp_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made where the test can see them, and TensorDock served."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    apps = {**serving.PROVIDER_APPS, "tensordock": serving.ProviderSim(app.build, app.API_PATH)}
    monkeypatch.setattr(serving, "PROVIDER_APPS", apps)
    return tmp_path


@contextlib.asynccontextmanager
async def served(**faults: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve TensorDock on a free port and yield a client of one organization; stop it all afterwards."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serving.serve(["tensordock"], clock=SystemClock(), port=0, boot_s=0.2, faults=faults, on_ready=ready.set_result)
    )
    await asyncio.wait({task, ready}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    url = f"http://127.0.0.1:{ready.result()}/tensordock{app.API_PATH}/"
    headers = {"Authorization": "Bearer sim-a"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE_S) as client:
        try:
            yield client
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=DEADLINE_S)
            assert task.cancelled()


async def create(client: httpx.AsyncClient, public_key: str, **changes: Any) -> str:
    places = (await client.get("locations")).json()["data"]["locations"]
    attributes = {
        "name": "box",
        "type": "virtualmachine",
        "image": "ubuntu2404",
        "resources": size(RTX_4090),
        "location_id": next(place["id"] for place in places if place["city"] == "Chicago"),
        "ssh_key": public_key,
        **changes,
    }
    made = await client.post("instances", json={"data": {"type": "virtualmachine", "attributes": attributes}})
    assert made.status_code == 200, made.text
    return str(made.json()["data"]["id"])


async def when(client: httpx.AsyncClient, instance_id: str, status: str) -> tuple[str, int]:
    """Wait for a status and an address, and return where SSH is: the address and the forward of port 22."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            shown = (await client.get(f"instances/{instance_id}")).json()
            if shown["status"] == status and shown.get("ipAddress"):
                forwards = {item["internal_port"]: item["external_port"] for item in shown["portForwards"]}
                return shown["ipAddress"], forwards[22]
            await asyncio.sleep(0.05)


async def connected(address: tuple[str, int], key: Any) -> Any:
    """Return an SSH connection, retried until the machine's sshd answers."""
    import asyncssh

    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await asyncssh.connect(
                    *address, username="user", client_keys=[key], known_hosts=None, config=None, agent_path=None
                )
            except OSError:
                await asyncio.sleep(0.05)


def new_key() -> tuple[Any, str]:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    return key, key.export_public_key().decode().strip()


@pytest.mark.parametrize(
    "network",
    [{"port_forwards": [{"internal_port": 22, "external_port": 0}]}, {"useDedicatedIp": True}],
    ids=["forwarded", "dedicated"],
)
async def test_a_machine_answers_ssh_where_its_forward_says(network: dict[str, Any]) -> None:
    key, public_key = new_key()
    async with served() as client:
        instance_id = await create(client, public_key, **network)
        address = await when(client, instance_id, "running")
        assert address[0].startswith("127.")
        connection = await connected(address, key)
        assert (await client.delete(f"instances/{instance_id}")).status_code == 200
        async with asyncio.timeout(DEADLINE_S):
            await connection.wait_closed()
        with pytest.raises(OSError):
            _, writer = await asyncio.open_connection(*address)
            writer.close()


async def test_a_machine_that_comes_back_elsewhere_answers_there_with_the_same_host_key() -> None:
    key, public_key = new_key()
    async with served(power_s=0.1, tensordock_moves_on_start=True) as client:
        forwards = [{"internal_port": 22, "external_port": 0}]
        instance_id = await create(client, public_key, port_forwards=forwards)
        first = await when(client, instance_id, "running")
        connection = await connected(first, key)
        host_key = connection.get_server_host_key().export_public_key()
        await client.post(f"instances/{instance_id}/stop")
        async with asyncio.timeout(DEADLINE_S):
            await connection.wait_closed()
        await when(client, instance_id, "stopped")
        await client.post(f"instances/{instance_id}/start")
        second = await when(client, instance_id, "running")
        assert second != first
        again = await connected(second, key)
        assert again.get_server_host_key().export_public_key() == host_key
        again.abort()
