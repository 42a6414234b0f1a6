"""What an agent lives through: clocks that are moved, computers that sleep, keys that are revoked, swapped and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_world import UNHURRIED, AgentWorld, agent_world

from gputui.core import workload
from gputui.core.runner import base
from gputui.core.runner.logfile import read_marks
from gputui.core.supervisor import Replaced
from gputui.core.workload import Workload
from gputui.local.config import AgentConfig, Config
from gputui.model.errors import StoreError
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import JobKind
from gputui.model.units import usd_to_micro
from gputui.providers.huddle.client import HuddleClient
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual
from gputui.store.alarms import AlarmKind

HOUR_S = 3600


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world, then check that nothing is alive and that the bill is inside what was metered."""

    def run(scene: Callable[..., Any], **options: Any) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **{**UNHURRIED, **options}) as shop:
                await scene(shop)
                check_books(shop)

        run_virtual(whole())

    return run


def check_books(shop: AgentWorld) -> None:
    found = truth_of(shop.world)
    assert [machine["id"] for machine in found["machines"] if machine["alive"]] == []
    bills = {machine["label"]: usd_to_micro(machine["bill_usd"]) for machine in found["machines"]}
    for report in shop.desk.jobs():
        assert report.job.status.is_final
        bill = sum(bills.get(placement.label, 0) for placement in shop.desk.placements(report.job.id))
        job = report.job
        assert abs(bill - job.cost_micro_usd) <= job.cost_uncertainty_micro_usd + 1, (bill, job)


def alarms(shop: AgentWorld) -> list[AlarmKind]:
    return [alarm.kind for alarm in shop.desk.alarms()]


def said(shop: AgentWorld, job_id: str) -> str:
    return "\n".join(event.why for event in shop.desk.events(job_id))


# Clocks


@pytest.mark.parametrize("hours", [-30, -2, 2, 30])
@pytest.mark.parametrize("provider", ["huddle", "runpod"])
def test_a_clock_that_is_moved_changes_neither_the_bill_nor_the_end(
    play: Callable[..., None], hours: int, provider: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(provider=provider, env={"MOCK_DURATION_S": "900"}, max_duration_s=1200)
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(400)
        shop.clock.moved_ms += hours * HOUR_S * 1000
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0), report.job
        assert len(truth_of(shop.world)["machines"]) == 1
        assert f"moved {'forwards' if hours > 0 else 'back'}" in said(shop, job_id)

    play(scene)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_rented_machine_is_kept_for_its_whole_time_and_no_longer(play: Callable[..., None], hours: int) -> None:
    async def scene(shop: AgentWorld) -> None:
        loop = asyncio.get_running_loop()
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=1200)
        await shop.until_phase(job_id, "running")
        began_s = loop.time()
        await asyncio.sleep(600)
        shop.clock.moved_ms += hours * HOUR_S * 1000
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")
        assert 1200 <= loop.time() - began_s < 1320

    play(scene)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_moved_while_no_agent_was_there_is_noticed_too(play: Callable[..., None], hours: int) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "900"}, max_duration_s=1200)
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(200)
        await shop.kill_agent()
        shop.clock.moved_ms += hours * HOUR_S * 1000
        await asyncio.sleep(200)
        shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0)

    play(scene)


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_time_limit_holds_for_an_agent_that_never_reached_the_machine(
    play: Callable[..., None], kind: JobKind
) -> None:
    async def scene(shop: AgentWorld) -> None:
        what = {"command": None, "image": None} if kind is JobKind.MACHINE else {"env": {"MOCK_DURATION_S": "20000"}}
        job_id = shop.submit(kind=kind, provider="lambda", max_duration_s=300, **what)
        await shop.until_phase(job_id, "running")
        await shop.kill_agent()
        shop.is_cut_off = True
        await asyncio.sleep(600)
        began_s = asyncio.get_running_loop().time()
        shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")
        assert asyncio.get_running_loop().time() - began_s < 120

    play(scene)


@pytest.mark.parametrize("agent_dies", [False, True])
def test_the_rest_of_a_log_is_not_waited_for_an_hour(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch, agent_dies: bool
) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.break_every = 10**9
        drain = Workload._drain

        def drain_and_cut(self: Workload, *told: Any) -> None:
            drain(self, *told)
            shop.is_cut_off = True

        monkeypatch.setattr(Workload, "_drain", drain_and_cut)
        for module in (base, workload):
            monkeypatch.setattr(module, "POLL_LIMIT_BYTES", 16)  # so that the log is not here when the end is
        job_id = shop.submit(env={"MOCK_DURATION_S": "60", "MOCK_EXIT_CODE": "3"})
        await shop.until_phase(job_id, "collecting the log")
        began_s = asyncio.get_running_loop().time()
        if agent_dies:
            await shop.kill_agent()
            shop.start_agent()
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.exit_code) == (JobStatus.FAILED, 3)
        assert 60 < asyncio.get_running_loop().time() - began_s < 180
        assert any(mark.gap for mark in read_marks(shop.desk.log_path(job_id)))

    play(scene)


def test_after_a_reboot_wall_time_is_all_there_is(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=2 * HOUR_S)
        await shop.until_phase(job_id, "running")
        await shop.kill_agent()
        shop.boot_time.boot_id = "boot-2"
        await asyncio.sleep(3 * HOUR_S)
        shop.start_agent()
        assert (await shop.finished(job_id)).job.error_code == "max_duration"
        assert "moved" not in said(shop, job_id)

    play(scene)


def test_sleep_counts_as_time_and_every_machine_is_asked_for_at_once(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None, max_duration_s=2 * HOUR_S)
        await shop.until_phase(job_id, "running")
        await asyncio.sleep(60)
        shop.clock.true.slept_ms += 3 * HOUR_S * 1000
        report = await shop.finished(job_id, within_s=120)
        assert report.job.error_code == "max_duration"
        assert "slept for 3 h" in said(shop, job_id)
        assert "moved" not in said(shop, job_id)

    play(scene)


# Keys


def test_a_key_that_is_revoked_is_loud_and_one_that_comes_back_is_used(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "1500"})
        other_id = shop.submit(provider="runpod", env={"MOCK_DURATION_S": "300"})
        await shop.until_phase(job_id, "running")
        await shop.use_key("huddle", "a-key-nobody-knows")
        await asyncio.sleep(1000)
        assert shop.desk.job(other_id).job.status is JobStatus.COMPLETED
        assert not shop.desk.job(job_id).job.status.is_final
        [alarm] = shop.desk.alarms()
        assert (alarm.kind, alarm.subject) == (AlarmKind.KEY_REFUSED, "huddle")
        assert (alarm.rate_micro_usd_per_hour or 0) > 0
        assert "auth login huddle" in alarm.hint
        shop.keys.values["huddle"] = "sim-test"  # in its store; nobody tells the agent
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED
        assert alarms(shop) == []

    play(scene)


def test_machines_in_another_account_are_not_believed_to_be_gone(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "1800"})
        ending_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None)
        rented_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None)
        await shop.until_phase(job_id, "running")
        await shop.until_phase(rented_id, "running")
        await shop.until_phase(ending_id, "running")
        await asyncio.sleep(60)
        await shop.use_key("huddle", "sim-of-another-account")
        shop.desk.request_stop(ending_id)
        await asyncio.sleep(900)
        assert not shop.desk.job(job_id).job.status.is_final
        assert not shop.desk.job(ending_id).job.status.is_final
        assert [p.state for p in shop.desk.placements(rented_id)] == [PlacementState.RUNNING]
        assert AlarmKind.OTHER_ACCOUNT in alarms(shop)
        assert "not believed to be gone" in said(shop, ending_id)
        await shop.use_key("huddle", "sim-test")
        assert (await shop.finished(ending_id)).job.status is JobStatus.STOPPED
        shop.desk.request_stop(rented_id)
        assert (await shop.finished(rented_id)).job.status is JobStatus.STOPPED
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED
        assert alarms(shop) == []

    play(scene)


def test_a_lost_order_is_not_sent_again_with_a_key_of_another_account(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(timeout_after={"count": 1, "operation": "deploy"})
        job_id = shop.submit(env={"MOCK_DURATION_S": "60"})
        async with asyncio.timeout(600):
            while not shop.world.machines:
                await asyncio.sleep(0.01)
        await shop.use_key("huddle", "sim-of-another-account")
        await asyncio.sleep(1800)
        assert len(shop.world.machines) == 1
        assert [p.state for p in shop.desk.placements(job_id)] == [PlacementState.OUTCOME_UNKNOWN]
        await shop.use_key("huddle", "sim-test")
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED
        assert len(shop.world.machines) == 1

    play(scene)


def test_a_new_key_of_the_same_account_is_believed_once_it_sees_the_machine(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "20000"})
        await shop.until_phase(job_id, "running")
        account = shop.world.account("huddle", "sim-test")
        monkeypatch.setattr(shop.world, "account", lambda provider, key: account)
        await shop.use_key("huddle", "sim-rotated")
        await asyncio.sleep(120)
        [placement] = shop.desk.placements(job_id)
        assert placement.key_print == shop.desk.accounts.fingerprint("huddle")
        shop.world.kill(placement.machine_id or "", "vanish")
        report = await shop.finished(job_id)
        assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, "machine_lost")

    play(scene)


def test_a_person_can_vouch_for_a_key(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "20000"})
        await shop.until_phase(job_id, "running")
        [placement] = shop.desk.placements(job_id)
        await shop.use_key("huddle", "sim-rotated")
        shop.world.kill(placement.machine_id or "", "vanish")
        await asyncio.sleep(900)
        assert not shop.desk.job(job_id).job.status.is_final
        assert shop.desk.vouch_for_key("huddle") == 1
        assert (await shop.finished(job_id)).job.error_code == "machine_lost"
        assert alarms(shop) == []

    play(scene)


def test_where_the_provider_names_the_account_that_decides(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(shop: AgentWorld) -> None:
        names = {"sim-test": "ada", "sim-rotated": "ada"}
        original = HuddleClient.check_key

        async def check_key(client: HuddleClient) -> Any:
            from dataclasses import replace

            return replace(await original(client), identity=names[shop.keys.values.get("huddle", "sim-test")])

        monkeypatch.setattr(HuddleClient, "check_key", check_key)
        job_id = shop.submit(env={"MOCK_DURATION_S": "20000"})
        await shop.until_phase(job_id, "running")
        [placement] = shop.desk.placements(job_id)
        assert placement.account == "ada"
        await shop.use_key("huddle", "sim-rotated")
        shop.world.kill(placement.machine_id or "", "vanish")
        assert (await shop.finished(job_id)).job.error_code == "machine_lost"

    play(scene)


# Alarms


def test_a_machine_that_will_not_end_rings_until_it_does(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(env={"MOCK_DURATION_S": "60"})
        await shop.until_phase(job_id, "running")
        shop.world.faults.set(stuck_terminate=1.0)
        await asyncio.sleep(1200)
        [alarm] = shop.desk.alarms()
        [placement] = shop.desk.placements(job_id)
        assert (alarm.kind, alarm.subject, alarm.job_id) == (AlarmKind.UNDYING, placement.machine_id, job_id)
        await shop.kill_agent()
        shop.start_agent()
        shop.world.faults.set(stuck_terminate=[])
        await shop.finished(job_id)
        assert alarms(shop) == []

    play(scene)


def test_an_agent_that_was_replaced_writes_no_more_of_a_log(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(provider="runpod", env={"MOCK_DURATION_S": "900"})
        await shop.until_phase(job_id, "running")
        for _ in range(5):
            await asyncio.sleep(37)
            replaced = shop.agent
            shop.start_agent()
            assert replaced is not None
            with pytest.raises(Replaced):
                await replaced
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED
        steps = [line for line in shop.log_lines(job_id) if line.startswith("step")]
        assert len(steps) == len(set(steps)) > 50

    play(scene, glance_s=60.0, config=Config(agent=AgentConfig(poll_s=20.0)))


def test_an_alarm_that_cannot_be_kept_rings_once_it_can(play: Callable[..., None], tmp_path: Path) -> None:
    async def scene(shop: AgentWorld) -> None:
        from gputui.core.alarms import AlarmBook

        book = AlarmBook(shop.desk.store, shop.clock)
        write = shop.desk.store.write

        def refuse() -> Any:
            raise StoreError("The disk is full.")

        shop.desk.store.write = refuse  # type: ignore[method-assign]
        assert not book.sound(AlarmKind.UNDYING, "m1", "It will not end.", "Wait.")
        shop.desk.store.write = write  # type: ignore[method-assign]
        assert alarms(shop) == []
        assert book.sound(AlarmKind.UNDYING, "m1", "It will not end.", "Wait.")
        assert not book.sound(AlarmKind.UNDYING, "m1", "It will not end.", "Wait.")
        assert alarms(shop) == [AlarmKind.UNDYING]
        book.end(AlarmKind.UNDYING, "m1")
        assert alarms(shop) == []

    play(scene, start=False)
