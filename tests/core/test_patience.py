"""How long a machine out of reach is paid for: as long with many agents, one after the other, as with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from agent_world import AgentWorld, agent_world

from gputui.core.endings import SWITCHED_OFF_S, UNREACHABLE_S
from gputui.local.config import AgentConfig, Config
from gputui.model.states import JobStatus
from gputui.sim.machine import SimMachine
from gputui.sim.vtime import run_virtual

Scene: TypeAlias = Callable[[AgentWorld], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Run a scene over a fresh world, then check that nothing is alive."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            config = Config(agent=AgentConfig(poll_s=30.0))
            async with agent_world(tmp_path, config=config, glance_s=10.0) as shop:
                shop.break_every = 10**9
                await scene(shop)
                assert not any(machine.is_alive(shop.world.now_ms()) for machine in shop.world.machines.values())

        run_virtual(whole())

    return run


async def running(shop: AgentWorld, provider: str) -> tuple[str, SimMachine]:
    """Submit a job that takes hours; return it and its machine once that runs."""
    job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "20000"})
    await shop.until_phase(job_id, "running")
    await asyncio.sleep(60)
    [machine] = shop.world.machines.values()
    return job_id, machine


async def replace_agent(shop: AgentWorld, *, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await shop.kill_agent()
    shop.start_agent()


def out_of_reach_s(shop: AgentWorld, job_id: str) -> float:
    [placement] = shop.desk.placements(job_id)
    return placement.out_of_reach_ms / 1000


def test_every_agent_goes_on_counting_where_the_last_one_stopped(play: Callable[[Scene], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, machine = await running(shop, "lambda")
        shop.is_cut_off = True
        cut_ms = shop.world.now_ms()
        for _ in range(5):
            await replace_agent(shop, after_s=600)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")
        lived_s = ((machine.ended_ms(shop.world.now_ms()) or 0) - cut_ms) / 1000
        assert UNREACHABLE_S <= lived_s < UNREACHABLE_S + 200

    play(scene)


@pytest.mark.parametrize(("provider", "looks_every_s"), [("huddle", 20), ("runpod", 40)])
def test_a_machine_that_is_off_is_given_up_soon_whoever_watches(
    play: Callable[[Scene], None], provider: str, looks_every_s: float
) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(runpod_offline_shows="exited")
        job_id, machine = await running(shop, provider)
        shop.world.kill(machine.id)
        died_ms = shop.world.now_ms()
        for _ in range(2):
            await replace_agent(shop, after_s=75)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")
        lived_s = ((machine.ended_ms(shop.world.now_ms()) or 0) - died_ms) / 1000
        assert SWITCHED_OFF_S <= lived_s < SWITCHED_OFF_S + 4 * looks_every_s

    play(scene)


def test_a_provider_that_fails_now_and_then_does_not_keep_a_lost_machine(play: Callable[[Scene], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, machine = await running(shop, "lambda")
        shop.is_cut_off = True
        cut_ms = shop.world.now_ms()
        shop.world.faults.set(connect_error={"probability": 0.4, "operation": "get_instance"})
        await shop.finished(job_id)
        lived_s = ((machine.ended_ms(shop.world.now_ms()) or 0) - cut_ms) / 1000
        assert UNREACHABLE_S <= lived_s < UNREACHABLE_S + 300

    play(scene)


def test_a_machine_that_was_reached_again_has_the_whole_hour_again(play: Callable[[Scene], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, _ = await running(shop, "lambda")
        for _ in range(2):
            shop.is_cut_off = True
            await asyncio.sleep(UNREACHABLE_S * 0.6)
            assert out_of_reach_s(shop, job_id) > UNREACHABLE_S / 3
            shop.is_cut_off = False
            await asyncio.sleep(60)
            assert out_of_reach_s(shop, job_id) == 0
        shop.desk.request_stop(job_id)
        assert (await shop.finished(job_id)).job.status is JobStatus.STOPPED

    play(scene)


def test_the_time_without_answers_is_nobodys_fault(play: Callable[[Scene], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id, _ = await running(shop, "lambda")
        shop.is_cut_off = True
        await asyncio.sleep(600)
        shop.world.faults.set(connect_error=1.0)
        await asyncio.sleep(2 * UNREACHABLE_S)
        shop.world.faults.set(connect_error=None)
        await asyncio.sleep(60)
        assert 500 < out_of_reach_s(shop, job_id) < 700
        shop.is_cut_off = False
        shop.desk.request_stop(job_id)
        assert (await shop.finished(job_id)).job.status is JobStatus.STOPPED

    play(scene)


def test_the_next_agent_does_not_wait_anew_for_a_machine_to_show(play: Callable[[Scene], None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(slow_provisioning=1.0, slow_provisioning_s=3000, delete_s=30)
        job_id = shop.submit(provider="tensordock")
        await shop.until_phase(job_id, "starting")
        await asyncio.sleep(120)
        shop.desk.request_stop(job_id)
        await replace_agent(shop, after_s=25)
        [machine] = shop.world.machines.values()
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.STOPPED
        [placement] = shop.desk.placements(job_id)
        gone_ms = machine.ended_ms(shop.world.now_ms()) or 0
        assert 0 <= (placement.gone_at_ms or 0) - gone_ms < 20_000

    play(scene)
