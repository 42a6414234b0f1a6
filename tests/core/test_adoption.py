"""A lost machine taken back: it has a job again, is metered, looked after and ended like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from agent_world import UNHURRIED, AgentWorld, agent_world

from gputui.core.adoption import adopt
from gputui.core.endings import UNREACHABLE_S
from gputui.core.sweep import SIGHTING_GAP_S
from gputui.model.errors import GuardRefused
from gputui.model.ids import Ids
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import CreateRequest, Job, JobKind, Machine
from gputui.model.units import usd_to_micro
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual
from gputui.store.db import open_store

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world with an agent."""

    def run(scene: Callable[..., object]) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **UNHURRIED) as shop:
                await scene(shop)  # type: ignore[misc]

        run_virtual(whole())

    return run


async def order(shop: AgentWorld, label: str, provider: str) -> Machine:
    """Order a machine behind the product's back."""
    client = shop.desk.client(provider)
    offer = next(offer for offer in await client.fetch_offers() if offer.gpu.startswith("H100"))
    return await client.create(CreateRequest(offer, label, idempotency_key=label, ssh_public_key=SSH_KEY))


async def lose(shop: AgentWorld, provider: str = "huddle") -> Machine:
    """Run a job to its end and let a machine with its label appear at the provider."""
    report = await shop.finished(shop.submit(provider=provider))
    assert report.placement is not None
    machine = await order(shop, report.placement.label, provider)
    await asyncio.sleep(120)
    return await shop.desk.client(provider).get(machine.id)


def alive(shop: AgentWorld) -> set[str]:
    now_ms = shop.world.now_ms()
    return {machine.id for machine in shop.world.machines.values() if machine.is_alive(now_ms)}


@pytest.mark.parametrize("provider", ["huddle", "lambda", "tensordock"])
def test_it_lives_costs_and_ends_as_a_job(
    play: Callable[..., None], provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputui.core.tenancy.SLOWEST_POLL_S", 20.0)  # an hour in which nothing happens

    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop, provider)
        job = shop.desk.adopt(lost)
        assert (job.spec.kind, job.status) == (JobKind.MACHINE, JobStatus.RUNNING)
        await asyncio.sleep(UNREACHABLE_S + 300)  # nothing ends it
        assert alive(shop) == {lost.id}
        shop.desk.request_stop(job.id)
        report = await shop.finished(job.id)
        assert report.job.status is JobStatus.STOPPED
        assert report.placement is not None
        assert (report.placement.state, report.placement.machine_id) == (PlacementState.GONE, lost.id)
        assert alive(shop) == set()
        [bill] = [found["bill_usd"] for found in truth_of(shop.world)["machines"] if found["id"] == lost.id]
        truth = usd_to_micro(bill)
        assert truth > 0
        assert abs(truth - report.job.cost_micro_usd) <= report.job.cost_uncertainty_micro_usd + 1
        assert report.job.cost_uncertainty_micro_usd < truth * 0.1

    play(scene)


def test_a_sweep_finds_nothing_wrong_with_it(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        await shop.desk.sweep()
        shop.desk.adopt(lost)
        assert shop.desk.findings() == []
        for _ in range(3):
            await asyncio.sleep(SIGHTING_GAP_S)
            assert (await shop.desk.sweep()).findings == []
        assert shop.desk.terminate_lost() == []
        assert not shop.desk.alarms()

    play(scene)


def test_its_limit_ends_it(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job = shop.desk.adopt(await lose(shop), max_duration_s=600)
        report = await shop.finished(job.id)
        assert (report.job.status, report.job.error_code) == (JobStatus.STOPPED, "max_duration")
        assert alive(shop) == set()

    play(scene)


def test_one_that_vanishes_orders_no_other(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        job = shop.desk.adopt(lost)
        shop.world.kill(lost.id, "vanish")
        report = await shop.finished(job.id)
        assert report.job.status is JobStatus.FAILED
        assert len(shop.desk.placements(job.id)) == 1
        assert alive(shop) == set()

    play(scene)


def test_only_what_is_lost_can_be_taken(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        strange = await order(shop, "someone-elses", "huddle")
        unrecorded = await order(shop, f"gputui-test-{shop.desk.ids.ulid()}", "huddle")
        for machine in (strange, unrecorded):
            with pytest.raises(GuardRefused, match="was not made by a job of this profile"):
                shop.desk.adopt(machine)
        lost = await lose(shop)
        shop.desk.adopt(lost)
        with pytest.raises(GuardRefused, match="has a job"):
            shop.desk.adopt(lost)
        other = await lose(shop)
        shop.desk.request_termination(other)
        with pytest.raises(GuardRefused, match="being ended"):
            shop.desk.adopt(other)
        assert len([report for report in shop.desk.jobs() if not report.job.status.is_final]) == 1

    play(scene)


def test_of_two_views_that_take_it_at_once_one_gets_it(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        taken: list[Job] = []

        class Overtaken(Ids):
            """Those of a view that has seen that the machine is lost; the other one is quicker to write."""

            def ulid(self) -> str:
                if not taken:
                    taken.append(shop.desk.adopt(lost))
                return super().ulid()

        with (
            closing(open_store(shop.desk.store.path)) as own_connection,
            pytest.raises(GuardRefused, match="has a job"),
        ):
            clock = shop.desk.clock
            adopt(own_connection, lost, clock=clock, ids=Overtaken(clock), profile="test", key_print=None)
        live = [report.job.id for report in shop.desk.jobs() if not report.job.status.is_final]
        assert live == [job.id for job in taken]

    play(scene)
