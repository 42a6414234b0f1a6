"""The simulated Lambda Cloud over loopback: mounted beside the others, and machines that answer real SSH."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.local.clock import SystemClock
from gputui.sim import serve as serving
from gputui.sim.lambda_ import app as lambda_
from gputui.sim.serve import ProviderSim, serve

DEADLINE_S = 60.0


async def test_an_instance_over_loopback_answers_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncssh

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(serving.PROVIDER_APPS, "lambda", ProviderSim(lambda_.build, lambda_.API_PATH))  # type: ignore[arg-type]
    assert serving.env_lines("lambda", 80)[0].endswith("GPUTUI_LAMBDA_URL=http://127.0.0.1:80/lambda/api/v1")
    key = asyncssh.generate_private_key("ssh-ed25519")
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    faults = {"request_burst": 1000}
    task = asyncio.create_task(
        serve(["lambda"], clock=SystemClock(), port=0, boot_s=0.3, faults=faults, on_ready=ready.set_result)
    )
    try:
        await asyncio.wait({task, ready}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        url = f"http://127.0.0.1:{ready.result()}/lambda/api/v1/"
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": "Bearer sim-a"}, timeout=DEADLINE_S
        ) as client:
            shown = await launched(client, key.export_public_key().decode().strip())
            async with asyncio.timeout(DEADLINE_S), await connected(shown, key) as connection:
                assert connection.get_extra_info("username") == "ubuntu"
                body = {"instance_ids": [shown["id"]]}
                assert (await client.post("instance-operations/terminate", json=body)).status_code == 200
                await connection.wait_closed()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE_S)
    assert list(tmp_path.iterdir()) == []


async def launched(client: httpx.AsyncClient, public_key: str) -> dict[str, Any]:
    """Launch an instance and return it once it is active."""
    added = await client.post("ssh-keys", json={"name": "mine", "public_key": public_key})
    assert added.status_code == 200, added.text
    body = {"region_name": "us-east-1", "instance_type_name": "gpu_1x_a10", "ssh_key_names": ["mine"]}
    made = await client.post("instance-operations/launch", json=body)
    assert made.status_code == 200, made.text
    (machine_id,) = made.json()["data"]["instance_ids"]
    async with asyncio.timeout(DEADLINE_S):
        while True:
            shown = (await client.get(f"instances/{machine_id}")).json()["data"]
            assert ("ip" in shown) == ("ssh_port" in shown)
            if shown["status"] == "active":
                assert shown["ip"].startswith("127.")
                return dict(shown)
            await asyncio.sleep(0.05)


async def connected(shown: dict[str, Any], key: Any) -> Any:
    """Return an SSH connection to an instance, retried until its sshd answers."""
    import asyncssh

    while True:
        try:
            return await asyncssh.connect(
                shown["ip"],
                shown["ssh_port"],
                username="ubuntu",
                client_keys=[key],
                known_hosts=None,
                config=None,
                agent_path=None,
            )
        except OSError:
            await asyncio.sleep(0.05)
