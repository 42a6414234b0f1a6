"""Whole jobs on machines that are ordered with volumes, over the simulated world under the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from agent_world import AgentWorld, agent_world

from gputui.core.request import fresh_plan, make_spec
from gputui.core.routing import Plan
from gputui.model.errors import NoCapacity, NoMatch, NotFoundError, NotSupported, UsageError
from gputui.model.states import JobStatus
from gputui.model.types import JobKind, Volume
from gputui.sim.machine import SimMachine
from gputui.sim.truth import truth_of
from gputui.sim.vtime import run_virtual

Play = Callable[[AgentWorld], Coroutine[Any, Any, None]]
# Not where the cheapest offer would be.
REGION = {"lambda": "us-southeast-1", "runpod": "CA-MTL-3"}


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world; nothing may be alive after it."""

    def run(scene: Play, **options: Any) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **options) as shop:
                await scene(shop)
                assert [machine for machine in truth_of(shop.world)["machines"] if machine["alive"]] == []

        run_virtual(whole())

    return run


async def make_volume(shop: AgentWorld, provider: str, name: str = "datasets", region: str | None = None) -> Volume:
    client: Any = shop.desk.client(provider)
    size_gib = None if provider == "lambda" else 20
    made: Volume = await client.create_volume(name, size_gib=size_gib, region=region or REGION[provider], kind=None)
    return made


async def volume_on_some_host(shop: AgentWorld) -> Volume:
    """Make a Vast.ai volume on the dearest host of an RTX 4090 that has room for one."""
    for quote in reversed((await plan_of(shop, gpu="RTX 4090", provider="vastai")).quotes):
        with contextlib.suppress(NoCapacity):
            made = await make_volume(shop, "vastai", "data_1", str(quote.offer.native["machine_id"]))
            return await volume_of(shop, "vastai", made.id)
    raise AssertionError("no host has room for a volume")


async def volume_of(shop: AgentWorld, provider: str, volume_id: str) -> Volume:
    client: Any = shop.desk.client(provider)
    volumes: list[Volume] = await client.list_volumes()
    return next(volume for volume in volumes if volume.id == volume_id)


async def plan_of(shop: AgentWorld, **wanted: Any) -> Plan:
    plan, _ = await fresh_plan(shop.desk, make_spec(**{"gpu": "H100", "command": "train", **wanted}))
    return plan


def the_machine(shop: AgentWorld) -> SimMachine:
    (machine,) = shop.world.machines.values()
    return machine


def mounts_told(shop: AgentWorld) -> str:
    """Return the paths that the harness on the machine was told to mount."""
    host = shop.world.host(the_machine(shop).id)
    assert host is not None
    (job,) = host.to_json().values()
    return str(job["spec"]["mounts"])


class TestWholeJobs:
    def test_lambda_mounts_a_file_system_into_the_jobs_container(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            volume = await make_volume(shop, "lambda")
            job_id = shop.submit(provider="lambda", volumes=("datasets",), env={"MOCK_DURATION_S": "300"})
            await shop.until_phase(job_id, "running")
            machine = the_machine(shop)
            assert (machine.region, machine.details["mounts"]) == (volume.region, {volume.id: "/lambda/nfs/datasets"})
            assert mounts_told(shop) == "/lambda/nfs/datasets"
            assert (await volume_of(shop, "lambda", volume.id)).attached_to == (machine.id,)
            report = await shop.finished(job_id)
            assert (report.job.status, report.job.exit_code) == (JobStatus.COMPLETED, 0), report.job
            await asyncio.sleep(600)
            assert (await volume_of(shop, "lambda", volume.id)).attached_to == ()

        play(scene)

    @pytest.mark.parametrize("kind", [JobKind.BATCH, JobKind.MACHINE])
    def test_runpod_mounts_a_network_volume_by_its_id(self, play: Callable[..., None], kind: JobKind) -> None:
        async def scene(shop: AgentWorld) -> None:
            volume = await make_volume(shop, "runpod")
            command = "python train.py" if kind is JobKind.BATCH else None
            image = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
            job_id = shop.submit(
                provider="runpod", volumes=(volume.id,), kind=kind, command=command, image=image,
                env={"MOCK_DURATION_S": "300"}, max_duration_s=600,
            )  # fmt: skip
            await shop.until_phase(job_id, "running")
            machine = the_machine(shop)
            mount = machine.details["pod"].mount
            assert (machine.region, mount.volume_id, mount.path) == (volume.region, volume.id, "/workspace")
            assert (await volume_of(shop, "runpod", volume.id)).attached_to == (machine.id,)
            report = await shop.finished(job_id)
            expected = JobStatus.COMPLETED if kind is JobKind.BATCH else JobStatus.STOPPED
            assert report.job.status is expected, report.job
            assert (await volume_of(shop, "runpod", volume.id)).attached_to == ()

        play(scene)

    def test_vastai_takes_the_host_that_the_volume_is_on(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            volume = await volume_on_some_host(shop)
            job_id = shop.submit(gpu="RTX 4090", provider="vastai", volumes=("data_1",), env={"MOCK_DURATION_S": "300"})
            await shop.until_phase(job_id, "running")
            (placement,) = shop.desk.placements(job_id)
            assert placement.offer.native["machine_id"] == volume.host
            assert (await volume_of(shop, "vastai", volume.id)).attached_to == (placement.machine_id,)
            again = await plan_of(shop, gpu="RTX 4090", provider="vastai", volumes=["data_1"])
            assert again.quotes == []
            assert {rejection.have for rejection in again.rejections if rejection.constraint == "volumes"} == {
                f"cannot have the volume data_1 while machine {placement.machine_id} has it"
            }
            report = await shop.finished(job_id)
            assert report.job.status is JobStatus.COMPLETED, report.job

        play(scene)

    def test_what_was_ordered_outlives_the_agent(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            await make_volume(shop, "lambda")
            job_id = shop.submit(provider="lambda", volumes=("datasets",))
            await shop.until_phase(job_id, "starting")
            await shop.kill_agent()
            shop.start_agent()
            await shop.until_phase(job_id, "running")
            assert mounts_told(shop) == "/lambda/nfs/datasets"
            assert (await shop.finished(job_id)).job.status is JobStatus.COMPLETED

        play(scene)

    def test_a_provider_that_fails_for_a_moment_is_asked_again(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            volume = await make_volume(shop, "lambda")
            shop.world.faults.set(server_error={"count": 5, "operation": "list_filesystems"})
            report = await shop.finished(shop.submit(provider="lambda", volumes=("datasets",)))
            assert report.job.status is JobStatus.COMPLETED, report.job
            assert the_machine(shop).details["mounts"] == {volume.id: "/lambda/nfs/datasets"}

        play(scene)


class TestRouting:
    @pytest.mark.parametrize("provider", ["lambda", "runpod"])
    def test_only_offers_in_its_region_remain_and_the_others_say_why(
        self, play: Callable[..., None], provider: str
    ) -> None:
        async def scene(shop: AgentWorld) -> None:
            volume = await make_volume(shop, provider)
            plan = await plan_of(shop, provider=provider, volumes=["datasets"])
            assert {quote.offer.region for quote in plan.quotes} == {volume.region}
            elsewhere = [r for r in plan.rejections if r.constraint == "volumes" and r.offer.region]
            assert elsewhere
            for rejection in elsewhere:
                assert rejection.offer.region != volume.region or "community" in rejection.reason
                assert str(volume.region) in rejection.reason or "community" in rejection.reason

        play(scene)

    def test_two_network_volumes_fit_no_pod(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            for name in ("a", "b"):
                await make_volume(shop, "runpod", name)
            plan = await plan_of(shop, provider="runpod", volumes=["a", "b"])
            assert plan.quotes == []
            with pytest.raises(NoMatch, match="can have one network volume, not 2"):
                plan.require_quote()

        play(scene)

    def test_file_systems_in_two_regions_fit_no_machine(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            await make_volume(shop, "lambda", "a", "us-south-2")
            await make_volume(shop, "lambda", "b", "us-southeast-1")
            assert (await plan_of(shop, provider="lambda", volumes=["a", "b"])).quotes == []

        play(scene)


class TestRefusals:
    """Each is told before anything is ordered."""

    @pytest.mark.parametrize(
        ("wanted", "error", "sentence"),
        [
            ({"volumes": ["x"]}, UsageError, "--provider"),
            ({"provider": "lambda", "volumes": ["x", "x"]}, UsageError, "twice"),
            ({"provider": "lambda", "volumes": [" "]}, UsageError, "no name"),
            ({"provider": "huddle", "volumes": ["x"]}, NotSupported, r"Huddle cannot.*Lambda"),
            ({"provider": "tensordock", "volumes": ["x"]}, NotSupported, r"TensorDock cannot"),
            ({"provider": "mock", "volumes": ["x"]}, NotSupported, "Mock cannot"),
            ({"provider": "lambda", "volumes": ["x"]}, NotFoundError, "There are: datasets"),
            ({"provider": "runpod", "volumes": ["twin"]}, UsageError, "2 volumes"),
            ({"provider": "lambda", "volumes": "datasets", "gpu": "H1000"}, UsageError, "H1000"),
        ],
    )
    def test_when_it_is_planned(
        self, play: Callable[..., None], wanted: dict[str, Any], error: type[Exception], sentence: str
    ) -> None:
        async def scene(shop: AgentWorld) -> None:
            await make_volume(shop, "lambda")
            for _ in range(2):
                await make_volume(shop, "runpod", "twin")
            with pytest.raises(error, match=sentence):
                await plan_of(shop, **wanted)

        play(scene, start=False)

    @pytest.mark.parametrize("wanted", [{"provider": "huddle"}, {"provider": None}])
    def test_when_it_is_submitted(self, play: Callable[..., None], wanted: dict[str, Any]) -> None:
        async def scene(shop: AgentWorld) -> None:
            with pytest.raises((UsageError, NotSupported)):
                shop.submit(volumes=("x",), **wanted)
            assert shop.desk.jobs() == []

        play(scene, start=False)

    @pytest.mark.parametrize(
        ("prepare", "code"),
        [
            (lambda shop: asyncio.sleep(0), "not_found"),
            (lambda shop: make_volume(shop, "lambda", region="europe-central-1"), "no_match"),
        ],
        ids=["gone meanwhile", "where no such machine is"],
    )
    def test_when_the_agent_comes_to_it(
        self, play: Callable[..., None], prepare: Callable[[AgentWorld], Awaitable[Any]], code: str
    ) -> None:
        async def scene(shop: AgentWorld) -> None:
            await prepare(shop)
            report = await shop.finished(shop.submit(provider="lambda", volumes=("datasets",)))
            assert (report.job.status, report.job.error_code) == (JobStatus.FAILED, code), report.job
            assert shop.world.machines == {}

        play(scene)

    def test_a_stop_ends_the_wait_for_a_silent_provider(self, play: Callable[..., None]) -> None:
        async def scene(shop: AgentWorld) -> None:
            await make_volume(shop, "lambda")
            shop.world.faults.set(server_error={"operation": "list_filesystems"})
            job_id = shop.submit(provider="lambda", volumes=("datasets",))
            await asyncio.sleep(5)
            shop.desk.request_stop(job_id)
            report = await shop.finished(job_id, within_s=400)
            assert report.job.status is JobStatus.STOPPED
            assert shop.world.machines == {}

        play(scene)
