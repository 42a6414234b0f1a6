"""Whole jobs over the simulated world under the virtual clock: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from agent_world import UNHURRIED, AgentWorld, agent_world

from gputui.core.endings import UNREACHABLE_S
from gputui.core.runner.logfile import read_marks
from gputui.local.config import AgentConfig, Config
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import JobKind
from gputui.model.units import cost_of_seconds, usd_to_micro
from gputui.sim.lives import Life
from gputui.sim.serve import PROVIDER_APPS
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual

Play = Callable[[AgentWorld], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world, then check what must hold after any of them."""

    def run(scene: Play, **options: Any) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **options) as shop:
                await scene(shop)
                check_nothing_leaks(shop)

        run_virtual(whole())

    return run


def check_nothing_leaks(shop: AgentWorld) -> None:
    """Every job is over, nothing is alive, and the true bill of each machine lies inside what its job says it cost."""
    found = truth_of(shop.world)
    assert [machine for machine in found["machines"] if machine["alive"]] == []
    assert all(report.job.status.is_final for report in shop.desk.jobs())
    bills: dict[str, int] = {machine["label"]: usd_to_micro(machine["bill_usd"]) for machine in found["machines"]}
    for report in shop.desk.jobs():
        placements = shop.desk.placements(report.job.id)
        if any(placement.provider == "mock" for placement in placements):
            continue  # the mock keeps its own books
        bill = sum(bills.get(placement.label, 0) for placement in placements)
        job = report.job
        assert abs(bill - job.cost_micro_usd) <= job.cost_uncertainty_micro_usd + 1, (bill, job)


def machines_ever(shop: AgentWorld) -> int:
    return len(truth_of(shop.world)["machines"])


def test_a_job_of_hours_runs_in_no_time(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "18000"}, expected_s=18_000)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)
        assert 18_000 <= (report.job.ended_at_ms - report.job.created_at_ms) / 1000 < 18_300  # type: ignore[operator]
        lines = shop.log_lines(job_id)
        assert len(lines) == len(set(lines)) or len(lines) > 100
        assert any("python train.py" in line for line in lines)
        assert machines_ever(shop) == 1
        assert report.job.cost_micro_usd > 5 * 1_000_000

    # An agent that looks once a minute: five hours of it pass in well under a second.
    play(scene, config=Config(agent=AgentConfig(poll_s=60)), glance_s=30)


@pytest.mark.parametrize("provider", list(PROVIDER_APPS))
def test_a_job_runs_to_its_end_at_every_provider(play: Callable[..., None], provider: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        report = await shop.finished(shop.submit(provider=provider, env={"MOCK_DURATION_S": "900"}))
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0), report.job
        assert any("python train.py" in line for line in shop.log_lines(report.job.id))

    play(scene, **UNHURRIED)


@pytest.mark.parametrize("provider", list(PROVIDER_APPS))
@pytest.mark.parametrize("fault", ["lost_reply", "server_error_after_commit"])
def test_a_lost_reply_makes_no_second_machine_at_any_provider(
    play: Callable[..., None], provider: str, fault: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        order = {
            "huddle": "deploy",
            "lambda": "launch",
            "tensordock": "create",
            "runpod": "create_pod",
            "vastai": "create_instance",
        }[provider]
        shop.world.faults.set(**{fault: {"count": 1, "operation": order}})
        report = await shop.finished(shop.submit(provider=provider))
        assert report.job.status is JobStatus.COMPLETED, report.job
        assert machines_ever(shop) == 1

    play(scene)


@pytest.mark.parametrize("provider", list(PROVIDER_APPS))
def test_a_stop_ends_the_machine_at_every_provider(play: Callable[..., None], provider: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "7200"})
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(300)
        asked_ms = shop.desk.clock.now_ms()
        shop.desk.request_stop(job_id)
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.STOPPED
        assert (report.job.ended_at_ms or 0) - asked_ms < 180_000

    play(scene)


@pytest.mark.parametrize("provider", list(PROVIDER_APPS))
def test_the_log_is_whole_however_often_the_agent_dies(play: Callable[..., None], provider: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.start_agent()
        undisturbed = await shop.finished(shop.submit(provider=provider, env={"MOCK_DURATION_S": "120"}))
        await shop.kill_agent()
        job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "120"})
        for _ in range(20):
            shop.start_agent()
            await asyncio.sleep(7.3)
            await shop.kill_agent()
        shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0), report.job
        steps = [line for line in shop.log_lines(job_id) if line.startswith("step")]
        assert len(steps) == len(set(steps))
        # pulling an image prints what the machine's cache makes of it; what the job prints is always the same
        assert len(steps) == sum(line.startswith("step") for line in shop.log_lines(undisturbed.job.id))
        assert machines_ever(shop) == 2

    play(scene, start=False)


@pytest.mark.parametrize(
    "knobs",
    [
        {"runpod_log_stalls": 1.0},
        {"runpod_log_stalls": 1.0, "runpod_stalled_keepalives": False},
        {"runpod_log_cut": 1.0},
        {"runpod_log_duplicates": 1.0, "runpod_log_id_frames": 1.0},
        {"runpod_no_final_newline": 1.0},
        {"eventual_get_s": 5.0},
    ],
)
def test_a_log_service_with_moods_loses_and_doubles_nothing(play: Callable[..., None], knobs: dict[str, Any]) -> None:
    async def scene(shop: AgentWorld) -> None:
        undisturbed = await shop.finished(shop.submit(provider="runpod", env={"MOCK_DURATION_S": "120"}))
        shop.world.faults.set(**knobs)
        job_id = shop.submit(provider="runpod", env={"MOCK_DURATION_S": "120"})
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0), report.job
        assert shop.log_lines(job_id) == shop.log_lines(undisturbed.job.id)

    play(scene)


@pytest.mark.parametrize("wipes", [False, True])
def test_a_container_started_again_ends_the_job_instead_of_running_it_twice(
    play: Callable[..., None], wipes: bool
) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(runpod_container_restarts=1.0, runpod_restart_after_s=60, runpod_restart_wipes_disk=wipes)
        report = await shop.finished(shop.submit(provider="runpod", env={"MOCK_DURATION_S": "600"}))
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "restarted"), report.job
        assert machines_ever(shop) == 1
        [gap] = [mark.gap for mark in read_marks(shop.desk.log_path(report.job.id)) if mark.gap]
        assert "started the container again" in gap

    play(scene)


def test_the_ten_minute_minimum_makes_a_short_job_exact(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        report = await shop.finished(shop.submit())
        assert report.job.cost_uncertainty_micro_usd == 0
        assert report.rate_micro_usd_per_hour is not None
        assert report.job.cost_micro_usd == cost_of_seconds(report.rate_micro_usd_per_hour, 600)

    play(scene)


def test_the_command_that_fails_fails_the_job_with_its_code(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        report = await shop.finished(shop.submit(env={"MOCK_EXIT_CODE": "3"}))
        assert (report.job.status, report.job.exit_code, report.job.error_code) == (JobStatus.FAILED, 3, "exit_code")

    play(scene)


@pytest.mark.parametrize("phase", ["waiting", "asking", "starting", "waiting for SSH", "running"])
def test_a_stop_is_honoured_in_any_phase(play: Callable[..., None], phase: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(ssh_after_s=20, latency_s=0.5)
        job_id = shop.submit(env={"MOCK_DURATION_S": "7200"})
        await shop.until_phase(job_id, phase)
        asked_ms = shop.desk.clock.now_ms()
        shop.desk.request_stop(job_id)
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.STOPPED
        assert (report.job.ended_at_ms or 0) - asked_ms < 180_000

    play(scene)


def test_the_maximum_duration_is_enforced(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        report = await shop.finished(shop.submit(env={"MOCK_DURATION_S": "7200"}, max_duration_s=900))
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")
        assert (report.job.ended_at_ms or 0) - (report.job.started_at_ms or 0) < 1_000_000

    play(scene, **UNHURRIED)


def test_a_rented_machine_lives_until_its_time_is_over(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=1200)
        await shop.until_phase(job_id, "running")
        [placement] = shop.desk.placements(job_id)
        assert (placement.ssh_host, placement.ssh_user) != (None, None)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")

    play(scene, **UNHURRIED)


def test_no_capacity_moves_on_to_the_next_offer(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(no_capacity={"count": 1, "operation": "deploy"})
        job_id = shop.submit()
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.COMPLETED
        first, second = shop.desk.placements(job_id)
        assert (first.state, first.reason_code) == (PlacementState.REFUSED, "no_capacity")
        assert first.offer.id != second.offer.id

    play(scene)


def test_without_capacity_anywhere_the_job_fails_and_says_what_was_tried(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(no_capacity=1.0)
        report = await shop.finished(shop.submit())
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "no_capacity")
        assert "Huddle" in (report.job.error or "")
        assert machines_ever(shop) == 0

    play(scene)


@pytest.mark.parametrize("fault", ["lost_reply", "server_error_after_commit", "timeout_after"])
def test_a_lost_reply_never_makes_a_second_machine(play: Callable[..., None], fault: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(**{fault: {"count": 1, "operation": "deploy"}})
        job_id = shop.submit()
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.COMPLETED
        assert machines_ever(shop) == 1
        states = [event.state_to for event in shop.desk.events(job_id)]
        assert PlacementState.OUTCOME_UNKNOWN.value in states

    play(scene)


def test_a_request_that_never_took_effect_is_asked_again(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(cut_before={"count": 1, "operation": "deploy"})
        report = await shop.finished(shop.submit())
        assert report.job.status is JobStatus.COMPLETED
        assert machines_ever(shop) == 1

    play(scene)


@pytest.mark.parametrize("provider", ["huddle", "runpod"])
def test_a_machine_dearer_than_the_ceiling_is_ended_before_it_runs(provider: str, play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.boot_s = 60.0
        shop.world.faults.set(price_surprise=1.0, price_surprise_factor=1.5)
        job_id = shop.submit(provider=provider)
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.FAILED
        assert {placement.reason_code for placement in shop.desk.placements(job_id)} == {"too_dear"}
        assert not shop.desk.log_path(job_id).exists()
        lives = [life for machine in shop.world.machines.values() for _, life in machine.timeline]
        assert Life.RUNNING not in lives

    play(scene)


def test_accepted_then_no_capacity_moves_on(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(no_capacity_after_accept={"count": 1})
        report = await shop.finished(shop.submit())
        assert report.job.status is JobStatus.COMPLETED

    play(scene)


@pytest.mark.parametrize("died_as", ["vanish", "offline", "error"])
def test_a_machine_that_dies_mid_run_fails_the_job(play: Callable[..., None], died_as: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "3600"})
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(600)
        [placement] = shop.desk.placements(job_id)
        shop.world.kill(placement.machine_id or "", died_as)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")

    play(scene, **UNHURRIED)


@pytest.mark.parametrize("died_as", ["vanish", "offline"])
def test_a_machine_that_died_while_no_agent_was_there_is_noticed(play: Callable[..., None], died_as: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "3600"})
        await shop.until_phase(job_id, "running")
        await shop.kill_agent()
        [placement] = shop.desk.placements(job_id)
        shop.world.kill(placement.machine_id or "", died_as)
        await asyncio.sleep(300)
        shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")

    play(scene)


def test_a_delete_that_is_forgotten_is_repeated_until_the_list_agrees(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(stuck_terminate={"count": 2})
        report = await shop.finished(shop.submit())
        assert report.job.status is JobStatus.COMPLETED

    play(scene)


@pytest.mark.parametrize("step_ms", [0, 150, 700, 1_500, 3_300, 5_000, 9_000, 14_000, 60_000, 61_500])
def test_an_agent_killed_anywhere_is_replaced_without_loss(play: Callable[..., None], step_ms: int) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "60"})
        for _ in range(12):
            shop.start_agent()
            await asyncio.sleep(step_ms / 1000 + 0.25)
            await shop.kill_agent()
        shop.start_agent()
        report = await shop.finished(job_id)
        assert report.job.status is JobStatus.COMPLETED
        assert machines_ever(shop) == 1
        undisturbed = shop.log_lines(job_id)
        assert sum("python train.py" in line for line in undisturbed) >= 1
        other = await shop.finished(shop.submit(env={"MOCK_DURATION_S": "60"}))
        assert len(shop.log_lines(other.job.id)) == len(undisturbed)

    play(scene, start=False)


@pytest.mark.parametrize("break_every", [7, 9, 20])
def test_a_connection_that_keeps_breaking_loses_and_doubles_nothing(
    play: Callable[..., None], break_every: int
) -> None:
    async def scene(shop: AgentWorld) -> None:
        undisturbed = (await shop.finished(shop.submit(env={"MOCK_DURATION_S": "300"}))).job.id
        shop.break_every = break_every
        job_id = shop.submit(env={"MOCK_DURATION_S": "300"})
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)
        assert machines_ever(shop) == 2
        assert len(shop.log_lines(job_id)) == len(shop.log_lines(undisturbed))
        assert len(shop.desk.placements(job_id)) == 1

    play(scene)


def test_an_outage_of_the_provider_is_outlived(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "1200"})
        await shop.until_phase(job_id, "running")
        shop.world.faults.set(unavailable=1.0)
        await asyncio.sleep(1800)
        assert not shop.desk.job(job_id).job.status.is_final
        shop.world.faults.set(unavailable=[])
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED

    play(scene, **UNHURRIED)


@pytest.mark.parametrize("agent_dies", [False, True])
def test_a_line_that_is_down_for_long_ends_no_job(play: Callable[..., None], agent_dies: bool) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.break_every = 10**9
        job_id = shop.submit(env={"MOCK_DURATION_S": "6000"})
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(60)
        shop.is_cut_off = True
        shop.world.faults.set(connect_error=1.0)
        if agent_dies:
            await shop.kill_agent()
            shop.start_agent()
        await asyncio.sleep(UNREACHABLE_S + 1200)
        assert not shop.desk.job(job_id).job.status.is_final
        shop.is_cut_off = False
        shop.world.faults.set(connect_error=None)
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)

    play(scene, **UNHURRIED)


def test_a_machine_that_cannot_be_reached_for_an_hour_is_given_up(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.break_every = 10**9
        job_id = shop.submit(env={"MOCK_DURATION_S": "20000"})
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(60)
        shop.is_cut_off = True
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")
        assert 3600 < (report.job.ended_at_ms or 0) / 1000 - (report.job.started_at_ms or 0) / 1000 < 4000

    play(scene, **UNHURRIED)


def test_a_machine_of_nobody_is_ended_when_wished(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None)
        await shop.until_phase(job_id, "running")
        [row] = (await shop.desk.machines())[0]
        assert row.placement is not None
        shop.desk.request_termination(row.machine)
        assert (await shop.finished(job_id)).job.status is JobStatus.STOPPED
        assert (await shop.desk.machines())[0] == []

    play(scene)


def test_too_little_credit_is_told_and_nothing_is_left(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        account = shop.world.account("huddle", "sim-test")
        assert account is not None
        shop.world.add_credit(account, "-90")
        report = await shop.finished(shop.submit())
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "not_funded")
        assert machines_ever(shop) == 0

    play(scene)


def test_several_jobs_run_side_by_side(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        ids = [shop.submit(provider=provider) for provider in ("huddle", "mock", "huddle", None)]
        reports = [await shop.finished(job_id) for job_id in ids]
        assert {report.job.status for report in reports} == {JobStatus.COMPLETED}

    play(scene)
