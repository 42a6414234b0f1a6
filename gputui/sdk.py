"""The Python interface: rent a GPU, run something on it, know what it cost.

    from gputui import GPU

    with GPU() as gpu:
        job = gpu.run(gpu="H100", image="pytorch/pytorch:latest", command="python train.py", budget_max=2.50, max_duration="4h")
        for line in job.logs(follow=True):
            print(line)
        print(job.status, job.exit_code, job.cost)

A job belongs to the profile's agent, not to this process: it goes on when the program that submitted it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


class GPU:
    """Every account of one profile. May be used from any thread; close it, or use it in a `with` statement.

    Every call raises a `GputuiError` with a sentence and a hint: UsageError, AuthError, NoMatch, NotFoundError, …
    Nothing is opened before the first call.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._desk = sdk_desk.DeskThread(profile)

    def __enter__(self) -> GPU:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the profile; jobs go on."""
        self._desk.close()

    def run(
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
    ) -> Job:
        """Submit a job and return it at once. This spends money; `plan` does not.

        `budget_max` is the most dollars per machine and hour, `max_duration` ("4h", seconds or a timedelta) the time after
        which it is stopped, `idle_stop` ("30m", "30m:10%") how long its GPUs may be idle. `machine=True` instead of a command
        rents a box to log in to. `volumes` are names or ids of volumes at `provider`. Raises UsageError for a mistake in the
        request, AuthError, NoMatch when nothing on offer fits (saying what would have to change), AgentError.

            job = gpu.run(gpu="H100", image="pytorch/pytorch:latest", command="python train.py", max_duration="4h")
        """
        wanted = {key: value for key, value in locals().items() if key != "self"}
        return Job(self._desk, self._ask(lambda desk: sdk_desk.submit(desk, wanted)))

    def plan(
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
        """Return what such a job would run on, in the order of trying, and why every other offer lost. Spends nothing.

        best = gpu.plan(gpu="H100", budget_max=2.50).best
        """
        wanted = {key: value for key, value in locals().items() if key != "self"}
        return self._ask(lambda desk: sdk_desk.route(desk, wanted))

    def pricing(self, gpu: str | None = None, *, refresh: bool = False) -> list[Price]:
        """Return the cheapest price per GPU and hour, by GPU model and provider. Old prices are asked for first.

        for row in gpu.pricing("H100"):
            print(row.gpu_model, row.price, row.provider)
        """
        return self._ask(lambda desk: sdk_desk.prices(desk, gpu, refresh))

    def offers(self, gpu: str | None = None, *, refresh: bool = False) -> list[OfferInfo]:
        """Return everything that can be rented now, cheapest machine first. Old offers are asked for first."""
        return self._ask(lambda desk: sdk_desk.offers(desk, gpu, refresh))

    def jobs(self, *, limit: int = 200) -> list[Job]:
        """Return jobs, newest first."""
        return [Job(self._desk, report) for report in self._ask(lambda desk: sdk_desk.jobs(desk, limit))]

    def job(self, reference: str) -> Job:
        """Return a job by id, by the beginning or end of one, or by name. Raises NotFoundError, UsageError when several fit."""
        return Job(self._desk, self._ask(lambda desk: sdk_desk.job(desk, reference)))

    def machines(self) -> list[MachineInfo]:
        """Ask every provider what is alive, ours or not; one that does not answer is told as a RuntimeWarning."""
        return self._ask(sdk_desk.machines)

    def volumes(self) -> list[VolumeInfo]:
        """Ask every provider for its volumes, ours or not; one that does not answer is told as a RuntimeWarning."""
        return self._ask(sdk_desk.volumes)

    def create_volume(
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
        order = self._ask(lambda desk: sdk_desk.request_volume(desk, wanted))
        return volume_made(self._until_done(order, timeout))

    def delete_volume(
        self, volume: str, *, provider: str | None = None, foreign: bool = False, timeout: float | None = 600
    ) -> None:
        """Delete a volume, by name or id, with all data on it; returns when its provider no longer lists it.

        Raises NotFoundError, UsageError when several fit, GuardRefused for one that this profile did not make (unless
        `foreign`), Conflict or Rejected when a machine has it, TimeoutError after `timeout` seconds, while the agent goes on.
        """
        order = self._ask(lambda desk: sdk_desk.request_volume_deletion(desk, volume, provider, foreign))
        self._until_done(order, timeout)

    def ssh_keys(self) -> list[SshKeyInfo]:
        """Return the public keys registered at the providers; one that does not answer is told as a RuntimeWarning."""
        return self._ask(sdk_desk.ssh_keys)

    def add_ssh_key(self, public_key: str, *, name: str | None = None, providers: Sequence[str] = ()) -> SshKeyInfo:
        """Register a public key at the providers named, or at all that can; where it is already it stays as it is.

        Raises UsageError for what is no public key, and the first provider's error, after all were asked.
        """
        return self._ask(lambda desk: sdk_desk.add_ssh_key(desk, public_key, name, providers))

    def _until_done(self, order: VolumeOrder, timeout: float | None) -> VolumeOrder:
        """Return an order once it is done; keep its agent alive meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout
        next_guard_s = 0.0
        while (done := self._ask(lambda desk: sdk_desk.finished_volume_order(desk, order.id))) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"the order of volume {order.name} was not done within {timeout} s; the agent goes on"
                )
            if time.monotonic() >= next_guard_s:
                self._ask(sdk_desk.guard)
                next_guard_s = time.monotonic() + sdk_desk.GUARD_EVERY_S
            time.sleep(sdk_desk.GLANCE_S)
        return done

    def _ask(self, question: Callable[[Desk], _T]) -> _T:
        return self._desk.ask(question).result()


class Job(JobView):
    """A job. Its attributes are read anew at every access until the job is over.

    while not job.is_over:
        time.sleep(1)
    """

    def __init__(self, desk: sdk_desk.DeskThread, report: JobReport) -> None:
        self._desk = desk
        self._report = report

    def refresh(self) -> Job:
        """Read the job anew and return it; the attributes do so by themselves."""
        job_id = self._report.job.id
        self._report = self._desk.ask(lambda desk: sdk_desk.job(desk, job_id)).result()
        return self

    def stop(self) -> None:
        """Ask for its end and return at once; `wait` returns when the machine is gone. Stopping twice changes nothing."""
        job_id = self._report.job.id
        self._report = self._desk.ask(lambda desk: sdk_desk.stop(desk, job_id)).result()

    def wait(self, timeout: float | None = None) -> Job:
        """Return once the job is over and its machine is gone. Raises TimeoutError after `timeout` seconds; the job goes on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for _ in self._glances():
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {self._report.job.id} is {self._report.job.status.value} after {timeout:g} s")
        return self

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Yield the log's lines, without their ends; with `follow` until the job is over.

        for line in job.logs(follow=True):
            print(line)
        """
        from gputui.core.runner.logfile import LogFollower

        job_id = self._report.job.id
        log = LogFollower(self._desk.ask(lambda desk: sdk_desk.log_path(desk, job_id)).result())
        if follow:
            for _ in self._glances():
                while lines := log.read_lines():
                    yield from lines
        while lines := log.read_lines():
            yield from lines
        if rest := log.rest():
            yield rest

    def _glances(self) -> Iterator[None]:
        """Read the job anew, and again a moment after every yield, until it is over; keep its agent alive meanwhile."""
        next_guard_s = 0.0
        while not self.refresh()._report.job.status.is_final:
            if time.monotonic() >= next_guard_s:
                self._desk.ask(sdk_desk.guard).result()
                next_guard_s = time.monotonic() + sdk_desk.GUARD_EVERY_S
            yield
            time.sleep(sdk_desk.GLANCE_S)

    def _facts(self) -> JobReport:
        if not self._report.job.status.is_final:
            self.refresh()
        return self._report
