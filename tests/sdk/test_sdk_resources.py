"""Volumes and SSH keys through GPU and AsyncGPU, on simulated providers over loopback with a real agent."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gputui import GPU, AsyncGPU
from gputui.core.desk import Desk
from gputui.local.ssh import ensure_key_pair, fingerprint
from gputui.model.errors import GuardRefused, NotFoundError, Rejected, UsageError
from gputui.sim.serve import env_lines

SIMULATED = ("runpod", "lambda")


@pytest.fixture(scope="module")
def free_port() -> Iterator[int]:
    """A port that nobody else is given meanwhile; the simulator may have it, as both reuse addresses."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@pytest.fixture(scope="module")
def port(free_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    said = tmp_path_factory.mktemp("sim") / "log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gputui", "sim", *SIMULATED, "--port", str(free_port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and b"Serving" not in said.read_bytes():
        time.sleep(0.05)
    assert process.poll() is None, said.read_text()
    yield free_port
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def accounts(port: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh accounts at the simulated providers."""
    key = f"sim-{uuid.uuid4().hex}"
    for name in SIMULATED:
        for line in env_lines(name, port):
            variable, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(variable, key if variable.endswith("_KEY") else value)


def test_a_volume_is_made_found_and_deleted() -> None:
    with GPU() as gpu:
        made = gpu.create_volume("data", provider="runpod", region="EU-CZ-1", size_gib=50)
        assert (made.name, made.size_gib, made.price) == ("data", 50, Decimal("3.5"))
        [found] = gpu.volumes()
        assert (found.id, found.name, found.is_ours) == (made.id, "data", True)
        gpu.delete_volume("data")
        assert gpu.volumes() == []
        with pytest.raises(NotFoundError):
            gpu.delete_volume("data")


def test_the_same_awaited() -> None:
    async def scene() -> None:
        async with AsyncGPU() as gpu:
            made = await gpu.create_volume("data", provider="lambda", region="us-east-1")
            with pytest.raises(Rejected, match="already"):
                await gpu.create_volume("data", provider="lambda", region="us-east-1")
            await gpu.delete_volume(made.id, provider="lambda")
            assert await gpu.volumes() == []

    asyncio.run(scene())


def test_what_is_not_ours_is_guarded_and_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def make_elsewhere() -> None:
        desk = Desk.open()
        await desk.client("runpod").create_volume("theirs", size_gib=10, region="EU-CZ-1", kind=None)  # type: ignore[attr-defined]
        await desk.aclose()
        desk.close()

    asyncio.run(make_elsewhere())
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)
    with GPU() as gpu:
        with pytest.raises(GuardRefused, match="foreign=True"):
            gpu.delete_volume("theirs")
        with pytest.raises(TimeoutError, match="the agent goes on"):
            gpu.delete_volume("theirs", foreign=True, timeout=0.3)


def test_a_key_is_added_once_wherever_it_can_be(tmp_path: Path) -> None:
    key = ensure_key_pair(tmp_path, "me@laptop").public_key
    with GPU() as gpu:
        added = gpu.add_ssh_key(key, providers=["runpod", "lambda"])
        assert (added.name, added.providers) == ("me@laptop", ("runpod", "lambda"))
        assert gpu.add_ssh_key(key, providers=["lambda"]).fingerprint == fingerprint(key)
        [found] = gpu.ssh_keys()
        assert (found.fingerprint, set(found.providers)) == (fingerprint(key), {"runpod", "lambda"})
        with pytest.raises(UsageError):
            gpu.add_ssh_key("not a key")
