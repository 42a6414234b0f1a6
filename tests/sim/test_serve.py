"""The simulator over loopback: the wire, connections that really break, real SSH, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.local.clock import SystemClock
from gputui.model.errors import NotFoundError, UsageError
from gputui.sim.fleet import SshFleet
from gputui.sim.serve import build_app, env_lines, serve
from gputui.sim.world import World

H100 = "1H100.80S.30V"
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def temp_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made where the test can see them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@contextlib.asynccontextmanager
async def served(**options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve Huddle on a free port and yield a client of one account; stop it all afterwards."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(["huddle"], clock=SystemClock(), port=0, boot_s=0.2, on_ready=ready.set_result, **options)
    )
    await asyncio.wait({task, ready}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    url = f"http://127.0.0.1:{ready.result()}/huddle/api/v1/"
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": "sim-a"}, timeout=DEADLINE_S) as client:
        try:
            yield client
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=DEADLINE_S)
            assert task.cancelled()


async def deploy(client: httpx.AsyncClient, public_key: str, **headers: str) -> dict[str, Any]:
    added = await client.post("ssh-keys", json={"name": "mine", "public_key": public_key})
    body = {
        "cluster_type": H100,
        "image": "ubuntu-24.04-cuda-13.0-open-docker",
        "hostname": "box",
        "ssh_key_ids": [added.json()["data"]["id"]],
        "location": "FIN-01",
    }
    made = await client.post("deployments/clusters", json=body, headers=headers)
    assert made.status_code == 200, made.text
    return dict(made.json()["data"])


async def when_running(client: httpx.AsyncClient, machine_id: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            shown = (await client.get(f"deployments/{machine_id}")).json()["data"]
            if shown["status"] == "running":
                return dict(shown)
            await asyncio.sleep(0.05)


async def connected(shown: dict[str, Any], key: Any) -> Any:
    """Return an SSH connection to a deployment, retried until its sshd answers."""
    import asyncssh

    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await asyncssh.connect(
                    shown["ip"],
                    shown["ssh_port"],
                    username=shown["ssh_user"],
                    client_keys=[key],
                    known_hosts=None,
                    config=None,
                    agent_path=None,
                )
            except OSError:
                await asyncio.sleep(0.05)


def new_key() -> tuple[Any, str]:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    return key, key.export_public_key().decode().strip()


async def test_a_machine_over_loopback_answers_ssh_until_it_is_deleted(temp_folder: Path) -> None:
    key, public_key = new_key()
    async with served() as client:
        made = await deploy(client, public_key)
        assert "ssh_port" not in made
        shown = await when_running(client, made["id"])
        assert shown["ip"].startswith("127.")
        connection = await connected(shown, key)
        harness = resources.files("gputui.core.runner").joinpath("harness.sh").read_bytes()
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(".gputui/job")
            async with sftp.open(".gputui/job/harness.sh", "wb") as file:
                await file.write(harness)
        polled = await connection.run("sh .gputui/job/harness.sh poll .gputui/job 0 100 0")
        assert polled.exit_status == 0, polled.stderr
        assert polled.stdout.startswith("gputui/1 state=none")
        assert len(list(temp_folder.glob("gputui-sim-*/*"))) == 2
        assert (await client.delete(f"deployments/{made['id']}")).status_code == 200
        async with asyncio.timeout(DEADLINE_S):
            await connection.wait_closed()
            while list(temp_folder.glob("gputui-sim-*/*")):
                await asyncio.sleep(0.05)
        with pytest.raises(OSError):
            _, writer = await asyncio.open_connection(shown["ip"], shown["ssh_port"])
            writer.close()
    assert list(temp_folder.iterdir()) == []


async def test_two_machines_have_addresses_and_host_keys_of_their_own() -> None:
    key, public_key = new_key()
    async with served() as client:
        machines = [await deploy(client, public_key) for _ in range(2)]
        shown = [await when_running(client, machine["id"]) for machine in machines]
        connections = [await connected(item, key) for item in shown]
        host_keys = {connection.get_server_host_key().export_public_key() for connection in connections}
        assert len(host_keys) == 2
        assert len({(item["ip"], item["ssh_port"]) for item in shown}) == 2


async def test_a_key_that_was_not_registered_is_kept_out() -> None:
    import asyncssh

    async with served() as client:
        made = await deploy(client, new_key()[1])
        shown = await when_running(client, made["id"])
        with pytest.raises(asyncssh.PermissionDenied):
            await connected(shown, new_key()[0])


@pytest.mark.parametrize("fault", ["lost_reply", "cut_before", "connect_error"])
async def test_a_connection_fault_cuts_the_connection(fault: str) -> None:
    async with served() as client:
        await client.get("regions")
        root = str(client.base_url).removesuffix("/huddle/api/v1/")
        set_to = await client.post(f"{root}/_sim/faults", json={fault: {"operation": "list_regions", "count": 1}})
        assert set_to.status_code == 200
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.get("regions")
        assert (await client.get("regions")).status_code == 200


async def test_a_lost_reply_and_a_resend_over_loopback_make_one_machine() -> None:
    _, public_key = new_key()
    async with served(faults={"lost_reply": {"operation": "deploy", "count": 1}}) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await deploy(client, public_key, **{"Idempotency-Key": "k1"})
        listed = (await client.get("deployments")).json()["data"]["data"]
        keys = (await client.get("ssh-keys")).json()["data"]
        body = {
            "cluster_type": H100,
            "image": "ubuntu-24.04-cuda-13.0-open-docker",
            "hostname": "box",
            "ssh_key_ids": [keys[0]["id"]],
            "location": "FIN-01",
        }
        again = await client.post("deployments/clusters", json=body, headers={"Idempotency-Key": "k1"})
        assert [item["id"] for item in listed] == [again.json()["data"]["id"]]
        truth = (await client.get(str(client.base_url).removesuffix("huddle/api/v1/") + "_sim/truth")).json()
        assert len(truth["machines"]) == 1


async def test_a_client_that_gives_up_finds_the_server_alive(caplog: pytest.LogCaptureFixture) -> None:
    async with served(faults={"timeout_before": {"operation": "list_regions", "count": 1}}) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("regions", timeout=0.3)
        assert (await client.get("regions")).status_code == 200
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_port_in_use_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} is already in use"):
            await serve(["huddle"], clock=SystemClock(), port=port)
    with pytest.raises(UsageError, match="99999"):
        await serve(["huddle"], clock=SystemClock(), port=99999)


async def test_the_port_of_an_ordered_machine_is_nobody_elses(tmp_path: Path) -> None:
    fleet = SshFleet(World(SystemClock(), 1), tmp_path)
    address = fleet.reserve_endpoint()
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(address)
    await fleet.close()
    with socket.socket() as other:
        other.bind(address)


async def test_unknown_providers_and_knobs_are_refused() -> None:
    with pytest.raises(NotFoundError, match="skynet"):
        await serve(["skynet"], clock=SystemClock(), port=0)
    with pytest.raises(NotFoundError, match="skynet"):
        build_app(World(SystemClock(), 1), ["skynet"])
    with pytest.raises(ValueError, match="gremlins"):
        await serve(["huddle"], clock=SystemClock(), port=0, faults={"gremlins": 1})


def test_env_lines_point_a_client_at_the_simulator() -> None:
    assert env_lines("huddle", 8399) == [
        "export GPUTUI_HUDDLE_URL=http://127.0.0.1:8399/huddle/api/v1",
        "export GPUTUI_HUDDLE_API_KEY=sim-demo",
    ]
    with pytest.raises(NotFoundError):
        env_lines("skynet", 1)


SCRIPT = """
import asyncio
from gputui.local.clock import SystemClock
from gputui.sim.serve import serve
asyncio.run(serve(["huddle"], clock=SystemClock(), port=0, boot_s=0.1, on_ready=lambda port: print(port, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_with_machines_running(number: signal.Signals, temp_folder: Path) -> None:
    key, public_key = new_key()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temp_folder)},
        text=True,
    )
    try:
        assert process.stdout is not None
        port = await asyncio.to_thread(process.stdout.readline)
        url = f"http://127.0.0.1:{int(port)}/huddle/api/v1/"
        async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": "sim-a"}, timeout=DEADLINE_S) as client:
            made = await deploy(client, public_key)
            connection = await connected(await when_running(client, made["id"]), key)
            assert list(temp_folder.glob("gputui-sim-*/*"))
            process.send_signal(number)
            out, err = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
            connection.abort()
        assert (process.returncode, out, err) == (0, "", "")
        assert list(temp_folder.iterdir()) == []
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
