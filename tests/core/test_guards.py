"""What ends a machine that costs more than it should, with and without an agent; over the simulated world, hours in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_world import AgentWorld, agent_world

from gputui.core.reports import JobReport
from gputui.core.runner.logfile import read_marks
from gputui.core.shapes import job_shape
from gputui.local.config import AgentConfig, Config
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import JobKind
from gputui.model.units import usd_to_micro
from gputui.providers.base import StopsMachines
from gputui.sim.machine import SimMachine
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual
from gputui.store.alarms import AlarmKind

Play = Callable[[AgentWorld], Coroutine[Any, Any, None]]
LEASE_S = 3600
CONFIG = Config(agent=AgentConfig(poll_s=15.0, lease_s=LEASE_S))
LONG = {"MOCK_DURATION_S": "200000"}
DAY_S = 86_400


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Play], None]:
    """Run a scene, then check that nothing is alive and that every true bill lies in what its job says it cost."""

    def run(scene: Play) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, config=CONFIG, glance_s=5.0) as shop:
                await scene(shop)
                bills = {machine["label"]: machine for machine in truth_of(shop.world)["machines"]}
                assert not [machine for machine in bills.values() if machine["alive"]]
                for report in shop.desk.jobs():
                    labels = [placement.label for placement in shop.desk.placements(report.job.id)]
                    bill = sum(usd_to_micro(bills[label]["bill_usd"]) for label in labels)
                    job = report.job
                    assert abs(bill - job.cost_micro_usd) <= job.cost_uncertainty_micro_usd + 1, (bill, job)

        run_virtual(whole())

    return run


def machine_of(shop: AgentWorld, job_id: str) -> SimMachine:
    [placement] = shop.desk.placements(job_id)
    return shop.world.machines[placement.machine_id or ""]


async def running(shop: AgentWorld, *, for_s: float = 300, **spec: Any) -> str:
    """Submit a job and let it run for a while."""
    job_id = shop.submit(**{"env": LONG, **spec})
    await shop.until_phase(job_id, "running")
    await asyncio.sleep(for_s)
    return job_id


async def abandoned(shop: AgentWorld, **spec: Any) -> tuple[str, int]:
    """Leave a running job alone for a day; return it and when its machine ended, by the world's own record (0: it lives)."""
    job_id = await running(shop, **spec)
    await shop.kill_agent()
    left_ms = shop.desk.clock.now_ms()
    await asyncio.sleep(DAY_S)
    shop.world.settle()
    machine = machine_of(shop, job_id)
    ended_ms = machine.ended_ms(shop.world.now_ms())
    return job_id, 0 if ended_ms is None else (ended_ms - left_ms) // 1000


async def come_back(shop: AgentWorld, job_id: str) -> JobReport:
    shop.start_agent()
    return await shop.finished(job_id)


def guard_shape(shop: AgentWorld, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = job_shape(shop.desk.job(job_id))["guard"]
    return found


def loud(shop: AgentWorld, job_id: str) -> list[str]:
    return [event.why for event in shop.desk.events(job_id) if event.facts.get("loud")]


# Nobody watches


def test_a_machine_that_nobody_watches_deletes_itself_when_its_lease_is_over(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, after_s = await abandoned(shop, provider="vastai")
        assert LEASE_S - 30 <= after_s <= LEASE_S + 30
        report = await come_back(shop, job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "lease_expired")
        assert "deleted itself" in (report.job.error or "")
        [gap] = [mark.gap for mark in read_marks(shop.desk.log_path(job_id)) if mark.gap]
        assert "before the end of its log" in gap
        [placement] = shop.desk.placements(job_id)
        assert placement.state is PlacementState.GONE

    play(scene)


def test_a_machine_whose_job_has_ended_does_not_wait_for_ever_for_its_agent(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, after_s = await abandoned(shop, provider="vastai", env={"MOCK_DURATION_S": "900"})
        assert LEASE_S - 30 <= after_s <= LEASE_S + 30
        assert (await come_back(shop, job_id)).job.error_code == "lease_expired"

    play(scene)


@pytest.mark.parametrize("provider", ["vastai", "runpod"])
def test_past_its_maximum_duration_it_deletes_itself_long_before_the_lease(
    play: Callable[[Play], None], provider: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, after_s = await abandoned(shop, provider=provider, max_duration_s=900)
        assert 1100 <= after_s <= 1300  # what was left of the limit, and ten minutes for somebody to come for the log
        report = await come_back(shop, job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")

    play(scene)


def test_a_container_that_takes_no_orders_counts_its_lease_from_the_end_of_the_job(
    play: Callable[[Play], None],
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, after_s = await abandoned(shop, provider="runpod", env={"MOCK_DURATION_S": "7200"})
        assert 7200 - 330 + LEASE_S <= after_s <= 7200 - 290 + LEASE_S
        report = await come_back(shop, job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "lease_expired")

    play(scene)


def test_without_a_key_of_its_own_the_machine_stays_until_the_agent_is_back(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, after_s = await abandoned(shop, provider="huddle")
        assert after_s == 0
        assert guard_shape(shop, job_id)["state"] == "agent-only"
        report = await come_back(shop, job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "lease_expired")
        assert report.job.exit_code == 143  # the workload itself was stopped by the lease

    play(scene)


def test_a_provider_that_refuses_the_machines_own_key_leaves_it_to_the_agent(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(own_key_works=False)
        job_id, after_s = await abandoned(shop, provider="vastai")
        assert after_s == 0
        report = await come_back(shop, job_id)
        assert (report.job.error_code, report.job.exit_code) == ("lease_expired", 143)

    play(scene)


def test_an_agent_that_is_back_before_the_lease_is_over_changes_nothing(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(shop, provider="vastai", env={"MOCK_DURATION_S": "9000"})
        for _ in range(3):
            await shop.kill_agent()
            await asyncio.sleep(LEASE_S - 60)
            shop.start_agent()
            await asyncio.sleep(60)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)

    play(scene)


def test_a_machine_killed_by_somebody_else_is_not_taken_for_one_that_ended_itself(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(shop, provider="vastai")
        await shop.kill_agent()
        await asyncio.sleep(600)
        shop.world.kill(machine_of(shop, job_id).id, "vanish")
        assert (await come_back(shop, job_id)).job.error_code == "machine_lost"

    play(scene)


# Who ends it is told


@pytest.mark.parametrize(
    ("provider", "spec", "state", "why"),
    [
        ("vastai", {}, "armed", None),
        ("runpod", {"max_duration_s": 7200}, "armed", None),
        ("runpod", {}, "agent-only", "no maximum duration"),
        ("huddle", {}, "agent-only", "gives machines no key"),
        ("vastai", {"kind": JobKind.MACHINE, "command": None}, "agent-only", "nothing of ours"),
    ],
)
def test_a_job_says_whether_its_machine_would_end_itself(
    play: Callable[[Play], None], provider: str, spec: dict[str, Any], state: str, why: str | None
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(shop, provider=provider, **spec)
        guard = guard_shape(shop, job_id)
        assert guard["state"] == state
        assert (why or "") in (guard["why"] or "")
        shop.desk.request_stop(job_id)
        await shop.finished(job_id)

    play(scene)


def test_the_newest_figures_of_the_gpu_are_kept(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        for provider in ("huddle", "runpod"):
            job_id = await running(shop, provider=provider)
            gpu = job_shape(shop.desk.job(job_id))["gpu_use"]
            assert 80 <= gpu["percent"] <= 100
            assert gpu["memory_used_mib"] > 60_000
            assert gpu["watts"] > 400
            shop.desk.request_stop(job_id)
            await shop.finished(job_id)
        rows = shop.desk.store.read("SELECT count(*) FROM vitals")
        assert rows[0][0] == 2

    play(scene)


# Dearer than agreed


def test_a_price_that_rises_over_the_cap_ends_the_machine(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        cap = 4_000_000
        job_id = await running(shop, for_s=900, provider="huddle", max_price_micro_usd_per_hour=cap)
        risen_ms = shop.desk.clock.now_ms()
        shop.world.reprice(machine_of(shop, job_id).id, "4.50")
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code, report.job.exit_code) == (JobStatus.STOPPED, "too_dear", 143)
        assert "4.5000" in (report.job.error or "")
        assert (report.job.ended_at_ms or 0) - risen_ms < 60_000

    play(scene)


def test_it_ends_for_its_price_though_the_agent_died_in_between(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(shop, for_s=900, provider="huddle", max_price_micro_usd_per_hour=4_000_000)
        shop.world.reprice(machine_of(shop, job_id).id, "4.50")
        while not loud(shop, job_id):
            await asyncio.sleep(0.1)
        await shop.kill_agent()
        shop.world.reprice(machine_of(shop, job_id).id, "1.50")
        report = await come_back(shop, job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "too_dear")

    play(scene)


@pytest.mark.parametrize("kind", [JobKind.BATCH, JobKind.MACHINE])
def test_without_a_cap_a_rising_price_is_told_once_and_loudly(play: Callable[[Play], None], kind: JobKind) -> None:
    async def scene(shop: AgentWorld) -> None:
        command = "train" if kind is JobKind.BATCH else None
        job_id = await running(shop, provider="huddle", kind=kind, command=command, max_duration_s=1200)
        shop.world.reprice(machine_of(shop, job_id).id, "9.00")
        await asyncio.sleep(60)
        [alarm] = shop.desk.alarms()
        assert (alarm.kind, alarm.rate_micro_usd_per_hour) == (AlarmKind.DEARER, 9_000_000)
        report = await shop.finished(job_id)
        assert report.job.error_code == "max_duration"
        assert shop.desk.alarms() == []
        [told] = loud(shop, job_id)
        assert "9.0000 $/h" in told

    play(scene)


def test_a_pod_over_the_cap_is_ended(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(shop, provider="runpod", max_price_micro_usd_per_hour=6_000_000)
        shop.world.reprice(machine_of(shop, job_id).id, "6.50")
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "too_dear")

    play(scene)


# Idle


@pytest.mark.parametrize("provider", ["huddle", "vastai", "runpod"])
@pytest.mark.parametrize("agent_dies", [False, True])
def test_an_idle_job_is_stopped_also_while_nobody_watches(
    play: Callable[[Play], None], provider: str, agent_dies: bool
) -> None:
    async def scene(shop: AgentWorld) -> None:
        env = {**LONG, "MOCK_IDLE_AFTER_S": "900"}
        job_id = await running(shop, provider=provider, env=env, idle_stop_s=1200)
        began_ms = shop.desk.job(job_id).job.started_at_ms or 0
        if agent_dies:
            await shop.kill_agent()
            await asyncio.sleep(2300)
            shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code, report.job.exit_code) == (JobStatus.STOPPED, "idle_stop", 143)
        assert 2100 <= ((report.job.ended_at_ms or 0) - began_ms) / 1000 <= 2800

    play(scene)


def test_a_job_that_works_is_never_idle(play: Callable[[Play], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        report = await shop.finished(shop.submit(env={"MOCK_DURATION_S": "600"}, idle_stop_s=120))
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)

    play(scene)


@pytest.mark.parametrize("provider", ["huddle", "runpod"])
@pytest.mark.parametrize("trouble", ["missing", "failed"])
def test_where_nobody_knows_the_use_of_the_gpu_the_idle_stop_says_so_and_ends_nothing(
    play: Callable[[Play], None], provider: str, trouble: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        env = {"MOCK_DURATION_S": "900", "MOCK_GPU": trouble, "MOCK_IDLE_AFTER_S": "10"}
        job_id = await running(shop, provider=provider, env=env, idle_stop_s=300)
        idle = guard_shape(shop, job_id)["idle_stop"]
        assert (idle["possible"], "nvidia-smi" in idle["problem"]) == (False, True)
        [told] = loud(shop, job_id)
        assert "cannot work" in told
        assert [alarm.kind for alarm in shop.desk.alarms()] == [AlarmKind.NO_IDLE_STOP]
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)

    play(scene)


def test_the_agent_stops_an_idle_job_that_its_machine_does_not(
    play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputui.sim.workload.WorkloadRun.idle_stop_ms", lambda *values: 1 << 62)

    async def scene(shop: AgentWorld) -> None:
        env = {**LONG, "MOCK_IDLE_AFTER_S": "900"}
        report = await shop.finished(shop.submit(env=env, idle_stop_s=1200))
        assert (report.job.status, report.job.error_code, report.job.exit_code) == (JobStatus.STOPPED, "idle_stop", 143)

    play(scene)


# Patience with a machine that is starting


@pytest.mark.parametrize(
    ("config", "provider", "limit_s"),
    [
        (AgentConfig(), "lambda", 1500),
        (AgentConfig(), "huddle", 900),
        (AgentConfig(boot_timeout_s=60), "lambda", 60),
    ],
)
def test_each_provider_has_its_own_patience_and_the_user_the_last_word(
    tmp_path: Path, config: AgentConfig, provider: str, limit_s: int
) -> None:
    async def whole() -> None:
        async with agent_world(tmp_path, config=Config(agent=replace(config, max_attempts=1))) as shop:
            shop.world.faults.set(slow_provisioning=1.0, slow_provisioning_s=3000)
            job_id = shop.submit(provider=provider)
            report = await shop.finished(job_id)
            assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "boot_timeout")
            [placement] = shop.desk.placements(job_id)
            waited_s = ((placement.terminating_at_ms or 0) - (placement.requested_at_ms or 0)) / 1000
            assert limit_s <= waited_s <= limit_s + 15

    run_virtual(whole())


# Switched off


@pytest.mark.parametrize(
    ("provider", "image"), [("runpod", "runpod/pytorch:1.0"), ("vastai", "pytorch"), ("tensordock", None)]
)
def test_a_rented_machine_that_is_off_is_told_with_what_it_costs_and_kept(
    play: Callable[[Play], None], provider: str, image: str | None
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await running(
            shop, for_s=5, provider=provider, kind=JobKind.MACHINE, command=None, env={}, image=image
        )
        machine_id = machine_of(shop, job_id).id
        client = shop.desk.client(provider)
        assert isinstance(client, StopsMachines)
        await client.stop_machine(machine_id)
        await asyncio.sleep(20)
        off = await client.get(machine_id)
        [alarm] = shop.desk.alarms()
        assert (alarm.kind, alarm.subject, alarm.job_id) == (AlarmKind.SWITCHED_OFF, machine_id, job_id)
        assert alarm.rate_micro_usd_per_hour == off.present_rate_micro_usd_per_hour != 0
        await client.start_machine(machine_id)
        await asyncio.sleep(20)
        assert shop.desk.alarms() == []
        await client.stop_machine(machine_id)
        await asyncio.sleep(240)
        assert shop.desk.job(job_id).job.status is JobStatus.RUNNING
        shop.desk.request_stop(job_id)
        await shop.finished(job_id)
        assert shop.desk.alarms() == []

    play(scene)
