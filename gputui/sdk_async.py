"""The Python interface for asyncio programs: the same names as `gputui.sdk`, awaited. The event loop is never blocked.

from gputui import AsyncGPU

async with AsyncGPU() as gpu:
    job = await gpu.run(gpu="H100", image="pytorch/pytorch:latest", command="python train.py", budget_max=2.50)
    async for line in job.logs(follow=True):
        print(line)
    print(job.status, job.exit_code, job.cost)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from gputui import sdk_desk
from gputui.core.request import Duration, Money
from gputui.sdk_types import JobView, MachineInfo, OfferInfo, Price, Route, SshKeyInfo, VolumeInfo, volume_made

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.reports import JobReport
    from gputui.model.volumes import VolumeOrder

_T = TypeVar("_T")


class AsyncGPU:
    """Every account of one profile, for asyncio. Close it, or use it in an `async with` statement. See `gputui.sdk.GPU`."""

    def __init__(self, profile: str | None = None) -> None:
        self._desk = sdk_desk.DeskThread(profile)

    async def __aenter__(self) -> AsyncGPU:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the profile; jobs go on."""
        await asyncio.to_thread(self._desk.close)

    async def run(
        self,
        *,
        gpu: str,
        command: str | None = None,
        image: str | None = None,
        machine: bool = False,
        count: int = 1,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        provider: str | None = None,
        region: str | None = None,
        tier: str | None = None,
        os_image: str | None = None,
        disk_gib: int | None = None,
        min_vram_gib: int | None = None,
        volumes: Sequence[str] = (),
        budget_max: Money | None = None,
        max_duration: Duration | None = None,
        idle_stop: Duration | None = None,
        expected: Duration | None = None,
        priority: str = "cost",
    ) -> AsyncJob:
        """Submit a job. This spends money. See `gputui.sdk.GPU.run`.

        Cancelling while it submits does not take the job back; look for it with `jobs`.
        """
        wanted = {key: value for key, value in locals().items() if key != "self"}
        return AsyncJob(self._desk, await self._ask(lambda desk: sdk_desk.submit(desk, wanted)))

    async def plan(
        self,
        *,
        gpu: str,
        count: int = 1,
        provider: str | None = None,
        region: str | None = None,
        tier: str | None = None,
        min_vram_gib: int | None = None,
        volumes: Sequence[str] = (),
        budget_max: Money | None = None,
        max_duration: Duration | None = None,
        expected: Duration | None = None,
        priority: str = "cost",
    ) -> Route:
        """Return what such a job would run on and why every other offer lost. Spends nothing."""
        wanted = {key: value for key, value in locals().items() if key != "self"}
        return await self._ask(lambda desk: sdk_desk.route(desk, wanted))

    async def pricing(self, gpu: str | None = None, *, refresh: bool = False) -> list[Price]:
        """Return the cheapest price per GPU and hour, by GPU model and provider. Old prices are asked for first."""
        return await self._ask(lambda desk: sdk_desk.prices(desk, gpu, refresh))

    async def offers(self, gpu: str | None = None, *, refresh: bool = False) -> list[OfferInfo]:
        """Return everything that can be rented now, cheapest machine first. Old offers are asked for first."""
        return await self._ask(lambda desk: sdk_desk.offers(desk, gpu, refresh))

    async def jobs(self, *, limit: int = 200) -> list[AsyncJob]:
        """Return jobs, newest first."""
        return [AsyncJob(self._desk, report) for report in await self._ask(lambda desk: sdk_desk.jobs(desk, limit))]

    async def job(self, reference: str) -> AsyncJob:
        """Return a job by id, by the beginning or end of one, or by name. Raises NotFoundError, UsageError when several fit."""
        return AsyncJob(self._desk, await self._ask(lambda desk: sdk_desk.job(desk, reference)))

    async def machines(self) -> list[MachineInfo]:
        """Ask every provider what is alive, ours or not; one that does not answer is told as a RuntimeWarning."""
        return await self._ask(sdk_desk.machines)

    async def volumes(self) -> list[VolumeInfo]:
        """Ask every provider for its volumes, ours or not; one that does not answer is told as a RuntimeWarning."""
        return await self._ask(sdk_desk.volumes)

    async def create_volume(
        self,
        name: str,
        *,
        provider: str,
        region: str,
        size_gib: int | None = None,
        kind: str | None = None,
        timeout: float | None = 600,
    ) -> VolumeInfo:
        """Make a volume and return it. It costs money until it is deleted.

        The agent makes it, once. Raises UsageError, NotSupported, AuthError, Rejected, NoCapacity, …; TimeoutError after
        `timeout` seconds, while the agent goes on.
        """
        wanted = {"provider": provider, "name": name, "size_gib": size_gib, "region": region, "kind": kind}
        order = await self._ask(lambda desk: sdk_desk.request_volume(desk, wanted))
        return volume_made(await self._until_done(order, timeout))

    async def delete_volume(
        self, volume: str, *, provider: str | None = None, foreign: bool = False, timeout: float | None = 600
    ) -> None:
        """Delete a volume, by name or id, with all data on it; returns when its provider no longer lists it.

        Raises NotFoundError, UsageError when several fit, GuardRefused for one that this profile did not make (unless
        `foreign`), Conflict or Rejected when a machine has it, TimeoutError after `timeout` seconds, while the agent goes on.
        """
        order = await self._ask(lambda desk: sdk_desk.request_volume_deletion(desk, volume, provider, foreign))
        await self._until_done(order, timeout)

    async def ssh_keys(self) -> list[SshKeyInfo]:
        """Return the public keys registered at the providers; one that does not answer is told as a RuntimeWarning."""
        return await self._ask(sdk_desk.ssh_keys)

    async def add_ssh_key(
        self, public_key: str, *, name: str | None = None, providers: Sequence[str] = ()
    ) -> SshKeyInfo:
        """Register a public key at the providers named, or at all that can; where it is already it stays as it is.

        Raises UsageError for what is no public key, and the first provider's error, after all were asked.
        """
        return await self._ask(lambda desk: sdk_desk.add_ssh_key(desk, public_key, name, providers))

    async def _until_done(self, order: VolumeOrder, timeout: float | None) -> VolumeOrder:
        """Return an order once it is done; keep its agent alive meanwhile."""
        loop = asyncio.get_running_loop()
        next_guard_s = 0.0
        async with asyncio.timeout(timeout):
            while (done := await self._ask(lambda desk: sdk_desk.finished_volume_order(desk, order.id))) is None:
                if loop.time() >= next_guard_s:
                    await self._ask(sdk_desk.guard)
                    next_guard_s = loop.time() + sdk_desk.GUARD_EVERY_S
                await asyncio.sleep(sdk_desk.GLANCE_S)
        return done

    async def _ask(self, question: Callable[[Desk], _T]) -> _T:
        return await asyncio.wrap_future(self._desk.ask(question))


class AsyncJob(JobView):
    """A job. Its attributes show what `refresh`, `wait`, `stop` or `logs` saw last."""

    def __init__(self, desk: sdk_desk.DeskThread, report: JobReport) -> None:
        self._desk = desk
        self._report = report

    async def refresh(self) -> AsyncJob:
        """Read the job anew and return it."""
        job_id = self._report.job.id
        self._report = await asyncio.wrap_future(self._desk.ask(lambda desk: sdk_desk.job(desk, job_id)))
        return self

    async def stop(self) -> None:
        """Ask for its end and return at once; `wait` returns when the machine is gone. Stopping twice changes nothing."""
        job_id = self._report.job.id
        self._report = await asyncio.wrap_future(self._desk.ask(lambda desk: sdk_desk.stop(desk, job_id)))

    async def wait(self, timeout: float | None = None) -> AsyncJob:
        """Return once the job is over and its machine is gone. Raises TimeoutError after `timeout` seconds; the job goes on."""
        async with asyncio.timeout(timeout):
            async for _ in self._glances():
                pass
        return self

    async def logs(self, *, follow: bool = False) -> AsyncIterator[str]:
        """Yield the log's lines, without their ends; with `follow` until the job is over."""
        from gputui.core.runner.logfile import LogFollower

        job_id = self._report.job.id
        log = LogFollower(await asyncio.wrap_future(self._desk.ask(lambda desk: sdk_desk.log_path(desk, job_id))))
        if follow:
            async for _ in self._glances():
                while lines := log.read_lines():
                    for line in lines:
                        yield line
        while lines := log.read_lines():
            for line in lines:
                yield line
        if rest := log.rest():
            yield rest

    async def _glances(self) -> AsyncIterator[None]:
        """Read the job anew, and again a moment after every yield, until it is over; keep its agent alive meanwhile."""
        loop = asyncio.get_running_loop()
        next_guard_s = 0.0
        while not (await self.refresh())._report.job.status.is_final:
            if loop.time() >= next_guard_s:
                await asyncio.wrap_future(self._desk.ask(sdk_desk.guard))
                next_guard_s = loop.time() + sdk_desk.GUARD_EVERY_S
            yield
            await asyncio.sleep(sdk_desk.GLANCE_S)

    def _facts(self) -> JobReport:
        return self._report
