"""The simulated Vast.ai over loopback: the container is the machine and answers real SSH as root, directly and by its proxy."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.local.clock import SystemClock
from gputui.sim import serve as serving
from gputui.sim.serve import ProviderSim, serve
from gputui.sim.vastai import app as vastai

DEADLINE_S = 60.0
FOLDER = ".gputui/j"


async def test_an_instance_over_loopback_runs_a_job_in_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncssh

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(serving.PROVIDER_APPS, "vastai", ProviderSim(vastai.build, vastai.API_PATH))  # type: ignore[arg-type]
    assert serving.env_lines("vastai", 80)[0].endswith("GPUTUI_VASTAI_URL=http://127.0.0.1:80/vastai")
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]
    lines = [key.export_public_key().decode().strip() for key in keys]
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    faults = {"interval_scale": 0, "offers": 100}
    task = asyncio.create_task(
        serve(["vastai"], clock=SystemClock(), port=0, boot_s=0.3, faults=faults, on_ready=ready.set_result)
    )
    try:
        await asyncio.wait({task, ready}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        url = f"http://127.0.0.1:{ready.result()}/vastai/api/v0/"
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": "Bearer sim-a"}, timeout=DEADLINE_S
        ) as client:
            shown = await created(client, lines[0])
            host, port = shown["public_ipaddr"].strip(), int(shown["ports"]["22/tcp"][0]["HostPort"])
            assert host.startswith("127.")
            assert (shown["ssh_host"], shown["ssh_port"]) == (host, port)
            async with asyncio.timeout(DEADLINE_S), await connected(host, port, keys[0]) as connection:
                await run_a_job(connection)
                with pytest.raises(asyncssh.PermissionDenied):
                    await connected(host, port, keys[1])
                attached = await client.post(f"instances/{shown['id']}/ssh/", json={"ssh_key": lines[1]})
                assert attached.json()["success"] is True
                (await connected(host, port, keys[1])).abort()
                await read_the_log(client, shown["id"])
                assert (await client.delete(f"instances/{shown['id']}/")).status_code == 200
                await connection.wait_closed()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE_S)
    assert list(tmp_path.iterdir()) == []


async def created(client: httpx.AsyncClient, public_key: str) -> dict[str, Any]:
    """Create an instance and return it once it is running."""
    assert (await client.post("ssh/", json={"ssh_key": public_key})).status_code == 200
    offers = (await client.post("bundles/", json={"direct_port_count": {"gte": 2}})).json()["offers"]
    body = {"image": "alpine", "runtype": "ssh_direct"}
    made = await client.put(f"asks/{offers[0]['id']}/", json=body)
    assert made.status_code == 200, made.text
    async with asyncio.timeout(DEADLINE_S):
        while True:
            shown = (await client.get(f"instances/{made.json()['new_contract']}/")).json()["instances"]
            if shown["actual_status"] == "running":
                return dict(shown)
            await asyncio.sleep(0.05)


async def connected(host: str, port: int, key: Any) -> Any:
    """Return an SSH connection as root, retried until the sshd answers."""
    import asyncssh

    options: dict[str, Any] = {"known_hosts": None, "config": None, "agent_path": None}
    while True:
        try:
            return await asyncssh.connect(host, port, username="root", client_keys=[key], **options)
        except OSError:
            await asyncio.sleep(0.05)


async def run_a_job(connection: Any) -> None:
    """Run a job without Docker and wait for its exit code."""
    harness = resources.files("gputui.core.runner").joinpath("harness.sh").read_bytes()
    files = {
        "harness.sh": harness,
        "spec": b"mode=plain\nnonce=n1\ngrace_s=2\n",
        "command": b"python train.py",
        "env": b"MOCK_DURATION_S=1\nMOCK_EXIT_CODE=3\n",
    }
    async with connection.start_sftp_client() as sftp:
        await sftp.makedirs(FOLDER)
        for name, content in files.items():
            async with sftp.open(f"{FOLDER}/{name}", "wb") as file:
                await file.write(content)
    started = await connection.run(f"sh {FOLDER}/harness.sh start {FOLDER}")
    assert started.exit_status == 0, started.stderr
    while True:
        polled = str((await connection.run(f"sh {FOLDER}/harness.sh poll {FOLDER} 0 100000 0")).stdout)
        if "state=exited" in polled:
            break
        await asyncio.sleep(0.1)
    assert polled.startswith("gputui/1 state=exited exit=3 ")
    assert "$ python train.py" in polled


async def read_the_log(client: httpx.AsyncClient, contract_id: int) -> None:
    """Have the container's log laid at the simulator's own address and read it there."""
    asked = await client.put(f"instances/request_logs/{contract_id}/", json={"tail": "10"})
    async with httpx.AsyncClient(timeout=DEADLINE_S) as anybody:
        while (file := await anybody.get(asked.json()["result_url"])).status_code != 200:
            assert file.status_code == 403
            await asyncio.sleep(0.1)
    assert f"instance {contract_id}" in file.text
