"""The dead man's switch with nothing simulated but the cloud: real SSH, harness, HTTP and seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_world import FixedKeys

from gputui.core.desk import Desk
from gputui.core.supervisor import Supervisor, crew_for
from gputui.local.clock import SystemClock
from gputui.local.config import AgentConfig, Config
from gputui.local.paths import Paths
from gputui.local.secrets import KeyFound, Secrets
from gputui.model.states import JobStatus
from gputui.model.types import JobSpec
from gputui.sim.serve import serve
from gputui.store.db import open_store

DEADLINE_S = 60.0
LEASE_S = 15
GUARD = "SELECT guard FROM vitals WHERE placement_id = (SELECT placement_id FROM jobs WHERE id = ?)"


class VastKey(FixedKeys):
    """A key of the simulated provider, and of no other: nobody else is to be asked."""

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        return super().find(provider, variables) if provider == "vastai" else None


async def eventually(condition: Any, *, within_s: float = DEADLINE_S) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def agent_of(desk: Desk) -> Any:
    """Run an agent with a store of its own; on leaving it is killed."""
    store = open_store(desk.paths.database)
    supervisor = Supervisor(crew_for(desk, store), pid=1, host="test", version="test")
    task = asyncio.create_task(supervisor.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        store.close()


async def test_a_machine_whose_agent_died_deletes_itself_with_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputui.core.watch.NEW_MACHINE_GRACE_S", 0.0)
    monkeypatch.setattr("gputui.core.watch.MISS_GAP_S", 0.5)
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    faults = {"interval_scale": 0, "offers": 100}
    cloud = asyncio.create_task(
        serve(["vastai"], clock=SystemClock(), port=0, boot_s=0.3, faults=faults, on_ready=ready.set_result)
    )
    await asyncio.wait({cloud, ready}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    base = f"http://127.0.0.1:{ready.result()}"

    def machines() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{base}/_sim/truth", timeout=DEADLINE_S) as answer:
            found: list[dict[str, Any]] = json.load(answer)["machines"]
        return found

    paths = Paths(profile="test", config_dir=tmp_path / "c", state_dir=tmp_path / "s", data_dir=tmp_path / "d")
    paths.ensure()
    desk = Desk.assemble(
        paths,
        Config(agent=AgentConfig(lease_s=LEASE_S)),
        secrets=Secrets(paths, environ={}),
        keys=VastKey(),
        clock=SystemClock(),
        environ={"GPUTUI_VASTAI_URL": f"{base}/vastai"},
        agent_is_here=True,
    )
    spec = JobSpec(
        gpu="RTX-4090",
        image="pytorch/pytorch:latest",
        command="train",
        provider="vastai",
        env={"MOCK_DURATION_S": "600"},
    )
    try:
        async with agent_of(desk):
            job_id = desk.submit(spec).id
            await eventually(lambda: stored(paths, GUARD, job_id) == "armed")
        assert [machine["alive"] for machine in await asyncio.to_thread(machines)] == [True]
        await eventually(lambda: not machines()[0]["alive"])
        async with agent_of(desk):
            await eventually(lambda: stored(paths, "SELECT outcome FROM jobs WHERE id = ?", job_id))
        job = desk.job(job_id).job
        assert (job.outcome, job.error_code) == (JobStatus.FAILED, "lease_expired")
    finally:
        await desk.aclose()
        desk.close()
        cloud.cancel()
        await asyncio.wait({cloud}, timeout=DEADLINE_S)


def stored(paths: Paths, sql: str, job_id: str) -> Any:
    """Return one value as it is in the store now."""
    store = open_store(paths.database)
    try:
        row = store.read_one(sql, (job_id,))
        return row[0] if row else None
    finally:
        store.close()
