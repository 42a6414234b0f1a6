"""A disk that is full: nothing is ordered, and what runs is watched and ended all the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_world import UNHURRIED, AgentWorld, agent_world

from gputui.core.runner.logfile import _append, read_marks
from gputui.core.workload import LOG_PATIENCE_S
from gputui.local.config import AgentConfig, Config
from gputui.model.errors import GuardRefused, StoreError, StoreReadOnly
from gputui.model.states import JobStatus
from gputui.model.types import JobKind
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual
from gputui.store import db
from gputui.store.alarms import AlarmKind
from gputui.store.db import Store, Tx, open_store


class Disk:
    """Takes what the agent writes, or nothing at all."""

    def __init__(self) -> None:
        self.is_full = False
        self.fills_when: Callable[[], object] = lambda: False
        self.refused = 0

    def open_store(self, path: Path) -> Store:
        disk = self

        class StoreOnIt(Store):
            @contextlib.contextmanager
            def write(self) -> Iterator[Tx]:
                with super().write() as tx:
                    yield tx
                    disk.is_full = disk.is_full or bool(disk.fills_when())
                    if disk.is_full:  # as SQLite says it: when the pages are written
                        disk.refused += 1
                        raise db.sqlite3.OperationalError("database or disk is full")

        opened = open_store(path)
        return StoreOnIt(opened._connection, path)

    def append(self, path: Path, data: bytes) -> None:
        if self.is_full:
            raise StoreError(f"The log {path} cannot be written: No space left on device.")
        _append(path, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr("gputui.core.runner.logfile._append", found.append)
    return found


@pytest.fixture
def play(tmp_path: Path, disk: Disk) -> Callable[..., None]:
    """Run a scene whose agent writes to the disk; at its end nothing is alive and every job is over."""

    def run(scene: Callable[..., Any], **options: Any) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, start=False, **{**UNHURRIED, **options}) as shop:
                shop.open_store = disk.open_store
                shop.start_agent()
                await scene(shop)
                assert alive(shop) == []
                assert all(report.job.status.is_final for report in shop.desk.jobs())

        run_virtual(whole())

    return run


def alive(shop: AgentWorld) -> list[str]:
    return [machine["id"] for machine in truth_of(shop.world)["machines"] if machine["alive"]]


def test_nothing_is_ordered_while_the_intent_cannot_be_kept(play: Callable[..., None], disk: Disk) -> None:
    async def scene(shop: AgentWorld) -> None:
        disk.is_full = True
        job_id = shop.submit()
        await asyncio.sleep(900)
        assert disk.refused > 10
        assert len(shop.world.machines) == 0
        disk.is_full = False
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.COMPLETED
        assert len(shop.world.machines) == 1

    play(scene)


@pytest.mark.parametrize("provider", ["huddle", "runpod"])
def test_a_job_that_ends_while_the_disk_is_full_costs_no_more_than_its_patience(
    play: Callable[..., None], disk: Disk, provider: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        loop = asyncio.get_running_loop()
        job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "600"})
        await shop.until_phase(job_id, "running")
        began_s = loop.time()
        await asyncio.sleep(60)
        disk.is_full = True
        async with asyncio.timeout(1200):
            while alive(shop):
                await asyncio.sleep(5)
        assert loop.time() - began_s < 600 + LOG_PATIENCE_S + 120
        assert not shop.desk.job(job_id).job.status.is_final  # nobody could write that down
        await asyncio.sleep(300)
        disk.is_full = False
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)
        assert len(shop.world.machines) == 1
        gaps = [mark.gap for mark in read_marks(shop.desk.log_path(job_id)) if mark.gap]
        assert len(gaps) == 1
        assert "could not be kept" in gaps[0]
        [machine] = truth_of(shop.world)["machines"]
        bill, job = round(float(machine["bill_usd"]) * 1e6), report.job
        assert abs(bill - job.cost_micro_usd) <= job.cost_uncertainty_micro_usd + 1

    play(scene)


@pytest.mark.parametrize("provider", ["huddle", "runpod"])
def test_a_log_is_whole_when_there_is_room_again_in_time(play: Callable[..., None], disk: Disk, provider: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        undisturbed = (await shop.finished(shop.submit(provider=provider, env={"MOCK_DURATION_S": "600"}))).job.id
        job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "600"})
        await shop.until_phase(job_id, "running")
        for _ in range(3):
            await asyncio.sleep(40)
            disk.is_full = True
            await asyncio.sleep(80)
            disk.is_full = False
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)
        assert len(shop.log_lines(job_id)) == len(shop.log_lines(undisturbed))
        assert not [mark for mark in read_marks(shop.desk.log_path(job_id)) if mark.gap]
        assert "the log waits on the machine" not in "".join(shop.log_lines(job_id))

    play(scene)


def test_a_rented_machine_ends_in_time_although_that_cannot_be_written(play: Callable[..., None], disk: Disk) -> None:
    async def scene(shop: AgentWorld) -> None:
        loop = asyncio.get_running_loop()
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=900)
        await shop.until_phase(job_id, "running")
        began_s = loop.time()
        disk.is_full = True
        async with asyncio.timeout(4000):
            while alive(shop):
                await asyncio.sleep(5)
        assert 890 < loop.time() - began_s < 1050
        disk.is_full = False
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")

    play(scene)


def test_a_machine_that_starts_on_a_full_disk_is_given_up_in_the_end(play: Callable[..., None], disk: Disk) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(ssh_after_s=60)
        job_id = shop.submit()
        await shop.until_phase(job_id, "waiting for SSH")
        disk.is_full = True
        async with asyncio.timeout(4 * 3600):
            while alive(shop):
                await asyncio.sleep(30)
        assert not shop.desk.job(job_id).job.status.is_final
        disk.is_full = False
        assert (await shop.finished(job_id)).job.status is JobStatus.FAILED

    play(scene)


def test_a_machine_that_could_not_be_written_down_does_not_live_for_ever(play: Callable[..., None], disk: Disk) -> None:
    async def scene(shop: AgentWorld) -> None:
        disk.fills_when = lambda: shop.world.machines
        job_id = shop.submit()
        await asyncio.sleep(60)
        assert len(alive(shop)) == 1
        assert [placement.machine_id for placement in shop.desk.placements(job_id)] == [None]
        async with asyncio.timeout(4 * 3600):
            while alive(shop):
                await asyncio.sleep(30)
        await asyncio.sleep(600)
        assert len(shop.world.machines) == 1
        disk.is_full, disk.fills_when = False, lambda: False
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED

    play(scene)


def test_a_new_agent_on_a_full_disk_still_watches(play: Callable[..., None], disk: Disk) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=900)
        await shop.until_phase(job_id, "running")
        await shop.kill_agent()
        disk.is_full = True
        shop.start_agent()
        async with asyncio.timeout(4000):
            while alive(shop):
                await asyncio.sleep(5)
        disk.is_full = False
        assert (await shop.finished(job_id)).job.error_code == "max_duration"

    play(scene)


def test_too_little_room_is_refused_before_anything_is_ordered(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        with pytest.raises(GuardRefused, match=r"MB are free.*Free some space"):
            shop.submit()
        assert shop.desk.jobs() == []
        [alarm] = shop.desk.alarms()
        assert alarm.kind is AlarmKind.DISK_FULL

    play(scene, config=Config(agent=AgentConfig(min_free_mb=10**9)))


def test_a_job_that_waits_is_refused_by_the_agent_when_room_is_gone(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(shop: AgentWorld) -> None:
        await shop.kill_agent()
        job_id = shop.submit()
        monkeypatch.setattr("gputui.core.jobs.free_disk_problem", lambda paths, config: "Only 3 MB are free.")
        shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "guard_refused")
        assert len(shop.world.machines) == 0

    play(scene)


def test_what_sqlite_says_of_a_full_disk_is_told_with_the_next_step(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db")
    [[pages]] = store.read("PRAGMA page_count")
    store.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreReadOnly, match=r"full\. Free some space"), store.write() as tx:
        for number in range(1000):
            tx.execute("INSERT INTO sweeps (provider, tried_ms, error) VALUES (?, 1, ?)", (str(number), "x" * 1000))
    assert store.read("SELECT count(*) FROM sweeps")[0][0] == 0
    store.close()
