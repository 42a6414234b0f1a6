"""Sweeps over the simulated world: what is found, what is believed, what is never touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_world import AgentWorld, agent_world

from gputui.core.sweep import SIGHTING_GAP_S, is_confirmed_lost
from gputui.local.config import AgentConfig, Config, SweepConfig
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import CreateRequest, JobKind, Machine
from gputui.sim.vtime import run_virtual
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store.alarms import AlarmKind
from gputui.store.findings import Finding, FindingKind

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
AUTOMATIC = Config(agent=AgentConfig(poll_s=5.0), sweep=SweepConfig(terminate_lost=True))


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world; without an agent unless asked for."""

    def run(scene: Callable[..., object], **options: object) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **{"start": False, **options}) as shop:  # type: ignore[arg-type]
                await scene(shop)  # type: ignore[misc]

        run_virtual(whole())

    return run


async def rent(shop: AgentWorld, label: str, provider: str = "huddle") -> Machine:
    """Order a machine behind the product's back."""
    client = shop.desk.client(provider)
    offer = next(offer for offer in await client.fetch_offers() if offer.gpu.startswith("H100"))
    machine = await client.create(CreateRequest(offer, label, idempotency_key=label, ssh_public_key=SSH_KEY))
    await asyncio.sleep(30)  # its disk is a volume of its own, unattached until it runs
    return machine


async def lose(shop: AgentWorld) -> Machine:
    """Run a job to its end and let the machine of its placement appear at the provider afterwards."""
    shop.start_agent()
    report = await shop.finished(shop.submit())
    await shop.kill_agent()
    assert report.placement is not None
    assert report.placement.state is PlacementState.GONE
    return await rent(shop, report.placement.label)


async def twice(shop: AgentWorld) -> list[Finding]:
    await shop.desk.sweep()
    await asyncio.sleep(SIGHTING_GAP_S)
    return (await shop.desk.sweep()).findings


def alive(shop: AgentWorld) -> set[str]:
    now_ms = shop.world.now_ms()
    return {machine.id for machine in shop.world.machines.values() if machine.is_alive(now_ms)}


def test_each_machine_is_called_what_it_is(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        ulid = shop.desk.ids.ulid()
        labels = {
            lost.id: FindingKind.LOST,
            (await rent(shop, f"gputui-test-{ulid}")).id: FindingKind.UNRECORDED,
            (await rent(shop, f"gputui-te-st-{ulid}")).id: FindingKind.OTHER_PROFILE,
            (await rent(shop, "someone-elses")).id: FindingKind.STRANGER,
        }
        found = await twice(shop)
        assert {finding.id: finding.kind for finding in found if finding.kind is not FindingKind.VOLUME} == labels
        assert [finding.id for finding in found if is_confirmed_lost(finding)] == [lost.id]
        assert all(finding.rate_micro_usd_per_hour for finding in found if finding.id in labels)

    play(scene)


def test_one_sighting_proves_nothing_and_two_at_once_neither(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await lose(shop)
        await shop.desk.sweep()
        [finding] = (await shop.desk.sweep()).findings
        assert (finding.kind, finding.sightings) == (FindingKind.LOST, 1)
        assert not is_confirmed_lost(finding)
        assert not [alarm for alarm in shop.desk.alarms() if alarm.kind is AlarmKind.LOST]
        await asyncio.sleep(SIGHTING_GAP_S)
        [finding] = (await shop.desk.sweep()).findings
        assert is_confirmed_lost(finding)
        [alarm] = shop.desk.alarms()
        assert (alarm.kind, alarm.subject) == (AlarmKind.LOST, finding.id)
        assert alarm.rate_micro_usd_per_hour == finding.rate_micro_usd_per_hour is not None

    play(scene)


@pytest.mark.parametrize("moment_s", [0.2, 1, 3, 8, 20, 61, 66])
def test_a_job_on_its_way_is_never_lost(play: Callable[..., None], moment_s: float) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(lost_reply={"count": 1, "operation": "deploy"})
        job_id = shop.submit(env={"MOCK_DURATION_S": "60"})
        await asyncio.sleep(moment_s)
        for _ in range(4):
            assert (await shop.desk.sweep()).findings == []
            await asyncio.sleep(SIGHTING_GAP_S)
        assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED

    play(scene, start=True)


def test_a_second_machine_of_one_order_is_lost(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.MACHINE, command=None, image=None)
        await shop.until_phase(job_id, "running")
        [placement] = shop.desk.placements(job_id)
        with shop.desk.store.write() as tx:  # as if the order had made two
            job_store.update_placement(tx, placement.id, machine_id="another-id")
        [finding] = await twice(shop)
        assert (finding.kind, finding.id) == (FindingKind.LOST, placement.machine_id)

    play(scene, start=True)


def test_a_provider_that_cannot_be_asked_is_not_read_as_empty(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        await twice(shop)
        shop.world.faults.set(connect_error=1.0)
        swept = await shop.desk.sweep()
        assert "huddle" in swept.problems
        assert [finding.id for finding in swept.findings if finding.kind is FindingKind.LOST] == [lost.id]
        told = shop.desk.swept()["huddle"]
        assert told.error
        assert told.ok_ms is not None
        assert told.ok_ms < told.tried_ms
        shop.world.faults.set(connect_error=[])
        shop.world.kill(lost.id, "vanish")
        assert (await shop.desk.sweep()).findings == []
        assert shop.desk.swept()["huddle"].error is None

    play(scene)


def test_nothing_is_deleted_unasked(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        shop.start_agent()
        await asyncio.sleep(2 * 3600)
        assert alive(shop) == {lost.id}
        assert [alarm.kind for alarm in shop.desk.alarms()] == [AlarmKind.LOST]

    play(scene)


def test_with_the_setting_on_only_what_is_surely_ours_is_deleted(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        lost = await lose(shop)
        others = {
            (await rent(shop, f"gputui-test-{shop.desk.ids.ulid()}")).id,
            (await rent(shop, f"gputui-other-{shop.desk.ids.ulid()}")).id,
            (await rent(shop, "someone-elses")).id,
        }
        shop.start_agent()
        await asyncio.sleep(SIGHTING_GAP_S / 2)
        assert lost.id in alive(shop)  # seen once so far
        await asyncio.sleep(2 * SIGHTING_GAP_S + 60)
        assert alive(shop) == others
        assert not shop.desk.alarms()
        assert lost.id not in {finding.id for finding in shop.desk.findings()}

    play(scene, config=AUTOMATIC)


def test_volumes_attached_to_nothing_are_told_with_their_price(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        client = shop.desk.client("huddle")
        region = next(offer.region for offer in await client.fetch_offers())
        volume = await client.create_volume("data", size_gib=100, region=region, kind=None)  # type: ignore[attr-defined]
        [finding] = (await shop.desk.sweep()).findings
        assert (finding.kind, finding.id, finding.label) == (FindingKind.VOLUME, volume.id, volume.name)
        assert finding.price_micro_usd_per_month == volume.price_micro_usd_per_month is not None
        assert not shop.desk.alarms()
        await client.delete_volume(volume.id)  # type: ignore[attr-defined]
        await asyncio.sleep(60)
        assert (await shop.desk.sweep()).findings == []

    play(scene)


def test_an_idle_agent_looks_once_more_before_it_leaves(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.idle_exit_s = 30
        shop.start_agent()
        report = await shop.finished(shop.submit())
        assert report.placement is not None
        lost = await rent(shop, report.placement.label)
        assert shop.agent is not None
        async with asyncio.timeout(600):
            await shop.agent
        [finding] = shop.desk.findings()
        assert finding.id == lost.id
        assert is_confirmed_lost(finding)

    play(scene)


def test_what_is_no_longer_seen_stays_in_the_history(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        stranger = await rent(shop, "someone-elses")
        await shop.desk.sweep()
        shop.world.kill(stranger.id, "vanish")
        await asyncio.sleep(60)
        await shop.desk.sweep()
        assert finding_store.load_open_findings(shop.desk.store) == []
        [row] = shop.desk.store.read("SELECT * FROM findings")
        assert row["resolved_ms"] > row["last_seen_ms"]

    play(scene)
