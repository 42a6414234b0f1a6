"""The life of a job on one machine: wait until it is up, check its price, reach it, run the workload, follow its log.

A tenancy ends by saying how: `Ending` carries the job's outcome, or none when the next offer should be tried. Whatever
happens, the machine is terminated afterwards by whoever drives the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from gputui.core.crew import DEFAULT_SSH_USER, Crew
from gputui.core.endings import Ending, Patience, PriceGuard, ending_of_loss, known_since_ms, watch_power
from gputui.core.journal import Entry
from gputui.core.runner.base import Runner, ShellRunner
from gputui.core.runner.container import ContainerRunner
from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import JobFile, job_files
from gputui.core.watch import MachineWatch
from gputui.core.workload import Workload
from gputui.model.errors import HostKeyChanged, ProviderError, SecretsError, ShellError, UsageError
from gputui.model.logs import LogPage
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import Job, JobKind, Machine, Placement
from gputui.model.units import MicroUsdPerHour, format_usd
from gputui.providers.base import Shell, StreamsLogs
from gputui.providers.registry import Runs, provider_info, provider_title

FIRST_POLL_S = 1.0
SLOWEST_POLL_S = 5.0
BEGIN_ATTEMPTS = 4
# How long a provider's log is waited for when nothing new is printed, and how long one reading may take in all.
LOG_WAIT_S = 20.0
LOG_DEADLINE_S = 60.0
DEAD_STATES = frozenset({MachineState.ERROR, MachineState.GONE, MachineState.NO_CAPACITY, MachineState.DELETING})


class Tenancy:
    """Drives one placement from `provisioning` to the moment its machine should end."""

    def __init__(self, crew: Crew, job: Job, placement: Placement, stop: asyncio.Event) -> None:
        self._crew = crew
        self.job = job
        self.placement = placement
        self._stop = stop
        self._watch = MachineWatch(crew, placement)
        self._patience = Patience(crew, placement)
        self._pinned: str | None = placement.host_key

    async def run(self) -> Ending:
        """Return how it ended; raises only for bugs and a broken store."""
        ending = await self._until_it_ends()
        await self._watch.look_once_more()
        return ending

    async def _until_it_ends(self) -> Ending:
        if self.placement.state is PlacementState.PROVISIONING:
            ending = self._too_dear(self.placement.agreed_price_micro_usd_per_hour) or await self._machine_up()
            if ending is not None:
                return ending
        else:
            await self._watch.look()  # taking over from an earlier agent: where is it now?
        return await self._live()

    async def _live(self) -> Ending:
        """Reach the machine and run the job on it."""
        runs = provider_info(self.placement.provider).runs
        if runs is Runs.POD and self.job.spec.kind is JobKind.BATCH:
            return await self._follow_pod()
        files: Sequence[JobFile] = ()
        try:
            if self.job.spec.kind is JobKind.BATCH:
                # Where the image is the machine we are inside it already: the harness runs the command as it is.
                spec = self.job.spec if runs is Runs.VM else replace(self.job.spec, image=None)
                files = job_files(
                    spec,
                    self.placement,
                    lease_s=self._crew.config.agent.lease_s,
                    end_calls=self._crew.end_calls(self.placement.provider),
                    # In an image that is the machine the provider has mounted them where the command sees them.
                    mounts=[volume.mount_path or "" for volume in self.placement.volumes] if runs is Runs.VM else (),
                )
        except UsageError as error:
            return Ending("rejected", str(error), JobStatus.FAILED)

        async def reconnect() -> Runner:
            return self._runner(await self._connect(), files)

        if self._has_begun:
            # Whoever follows it knows when to give up a machine that cannot be reached; here only one that never was.
            return await (self._stay() if self.job.spec.kind is JobKind.MACHINE else self._follow(None, reconnect))
        for _ in range(BEGIN_ATTEMPTS):
            shell = await self._reach()
            if isinstance(shell, Ending):
                return shell
            runner = self._runner(shell, files)
            if self.job.spec.kind is JobKind.MACHINE:
                await runner.close()
                self._start_running("the machine is ready to log in to")
                return await self._stay()
            try:
                await runner.begin()
            except (ShellError, TimeoutError) as error:
                await runner.close()
                if isinstance(error, HostKeyChanged):
                    return Ending("host_key_changed", str(error))
                sentence = f"the workload could not be started: {error or 'no answer in time'}"
                self._crew.journal.note(self.job.id, sentence, placement_id=self.placement.id)
                continue
            except BaseException:
                await runner.close()
                raise
            self._start_running("the workload was started")
            return await self._follow(runner, reconnect)
        return Ending("machine_failed", f"the workload could not be started in {BEGIN_ATTEMPTS} attempts")

    async def _follow_pod(self) -> Ending:
        """Follow a container that began by itself, by the log its provider hands out."""
        if self.placement.state is PlacementState.PROVISIONING and self._watch.machine is not None:
            self._become_ready(self._watch.machine)
        self._start_running("the container was started")
        log = JobLog(self._crew.paths.logs_dir / f"{self.job.id}.log")
        log.begin(self.placement.id, now_ms=self._crew.clock.now_ms())

        async def connect() -> Runner:
            self._crew.check_in_charge()
            cursor = log.resume_cursor(self.placement.id)
            has_begun = log.remote_offset(self.placement.id) > 0
            return ContainerRunner(self._read_page, self.placement.nonce, cursor=cursor, has_begun=has_begun)

        return await self._follow(await connect(), connect)

    async def _read_page(self, after: str | None) -> LogPage:
        client = self._crew.client(self.placement.provider)
        if not isinstance(client, StreamsLogs):
            raise ShellError(f"{provider_title(self.placement.provider)} hands out no logs.")
        async with asyncio.timeout(LOG_DEADLINE_S):
            return await client.read_log(self.placement.machine_id or "", after=after, wait_s=LOG_WAIT_S)

    async def _follow(self, runner: Runner | None, reconnect: Callable[[], Awaitable[Runner]]) -> Ending:
        workload = Workload(self._crew, self.job, self.placement, self._stop, self._watch, self._patience, reconnect)
        try:
            return await workload.follow(runner)
        finally:
            self.placement, self.job = workload.placement, workload.job

    def _runner(self, shell: Shell, files: Sequence[JobFile]) -> Runner:
        return ShellRunner(shell, self.placement.id, files, lease_s=self._crew.config.agent.lease_s)

    async def _machine_up(self) -> Ending | None:
        """Poll until the machine runs, at a price that is no higher than it may be; return why it should end instead."""
        pause_s = FIRST_POLL_S
        while True:
            machine = await self._watch.look()
            if self._stop.is_set():
                return Ending("stopped", "stopped while the machine was starting", JobStatus.STOPPED)
            if machine is not None:
                if too_dear := self._too_dear(machine.price_micro_usd_per_hour):
                    return too_dear
                if machine.state is MachineState.RUNNING:
                    return None
                if self._will_not_get_up(machine):
                    return self._dead(machine)
                self.job = self._crew.journal.phase(self.job, f"starting ({machine.raw_state})")
            if self._watch.has_vanished:
                return self._vanished()
            if self._is_late():
                return Ending("boot_timeout", f"not running after {self._boot_timeout_s} s")
            await self._pause(pause_s)
            pause_s = min(pause_s * 1.4, SLOWEST_POLL_S)

    def _too_dear(self, price: MicroUsdPerHour | None) -> Ending | None:
        """Compare the machine's own price with the ceiling, as soon as it is told: a container may begin by itself."""
        ceiling = self.placement.price_ceiling_micro_usd_per_hour
        if ceiling is None or price is None or price <= ceiling:
            return None
        costs, allowed = format_usd(price, places=4), format_usd(ceiling, places=4)
        return Ending("too_dear", f"the machine costs {costs} $/h, over the ceiling of {allowed} $/h")

    async def _reach(self) -> Shell | Ending:
        """Open a shell for the first time, patiently: a machine that runs may not answer SSH yet."""
        self.job = self._crew.journal.phase(self.job, "waiting for SSH")
        pause_s = FIRST_POLL_S
        while True:
            try:
                shell = await self._connect()
            except HostKeyChanged as error:
                return Ending("host_key_changed", str(error))
            except (ShellError, ProviderError, SecretsError, TimeoutError) as error:
                trouble = str(error) or "no answer in time"
            else:
                if self.placement.state is PlacementState.PROVISIONING and self._watch.machine is not None:
                    self._become_ready(self._watch.machine)
                return shell
            if self._stop.is_set():
                return Ending(
                    "stopped", f"stopped while the machine could not be reached: {trouble}", JobStatus.STOPPED
                )
            if self._is_late():
                return Ending("unreachable_machine", f"no shell after {self._boot_timeout_s} s: {trouble}")
            news = await self._watch.look()
            if self._watch.has_vanished:
                return self._vanished()
            if news is not None and self._will_not_get_up(news):
                return self._dead(news)
            await self._pause(pause_s)
            pause_s = min(pause_s * 1.4, SLOWEST_POLL_S)

    async def _connect(self) -> Shell:
        """Open a shell on the machine as last seen, pinning its host key on first sight."""
        machine = self._watch.machine
        if machine is None:
            raise ShellError("The provider has not told where the machine is.")

        def pin(host_key: str) -> None:
            self._pinned = host_key
            with self._crew.journal.entry() as entry:
                self.placement = entry.move_placement(self.placement, self.placement.state, "", host_key=host_key)

        return await self._crew.open_shell(machine, self.placement, pin)

    async def _stay(self) -> Ending:
        """Keep a rented machine until it is stopped, its time is over, or it dies."""
        limit_s = self.job.spec.max_duration_s
        began_ms = self.placement.running_at_ms or self._crew.clock.now_ms()
        price = PriceGuard(self._crew, self.job, self.placement)
        is_known = self._pinned is not None
        while True:
            if self._stop.is_set():
                return Ending("stopped", "stopped", JobStatus.STOPPED)
            left_s = None if limit_s is None else limit_s - (self._crew.clock.now_ms() - began_ms) / 1000
            if left_s is not None and left_s <= 0:
                return Ending("max_duration", "the maximum duration was reached", JobStatus.STOPPED)
            machine = await self._watch.look()
            if self._watch.has_vanished:
                return self._vanished()
            if machine is not None and machine.state in DEAD_STATES:
                return self._dead(machine)
            if too_dear := price.check(machine):
                return too_dear
            if machine is not None:
                watch_power(self._crew, self.job, machine)
            is_known = is_known or await self._get_to_know()
            await self._pause(SLOWEST_POLL_S if left_s is None else min(SLOWEST_POLL_S, left_s))

    async def _get_to_know(self) -> bool:
        """Pin the host key of an adopted machine that nobody has reached yet, so that a person can log in."""
        try:
            shell = await self._connect()
        except (ShellError, ProviderError, SecretsError, TimeoutError):
            return False
        await shell.close()
        return True

    def _become_ready(self, machine: Machine) -> None:
        with self._crew.journal.entry() as entry:
            self.placement = entry.move_placement(
                self.placement,
                PlacementState.READY,
                "the machine answers",
                ready_at_ms=entry.now_ms,
                ssh_host=machine.ip,
                ssh_port=machine.ssh_port,
                ssh_user=machine.ssh_user or DEFAULT_SSH_USER,
                agreed_price_micro_usd_per_hour=machine.price_micro_usd_per_hour
                or self.placement.agreed_price_micro_usd_per_hour,
            )
            self.job = entry.move_job(self.job, self.job.status, "", phase="sending the job")

    def _start_running(self, why: str) -> None:
        if self.placement.state is not PlacementState.READY:
            return
        with self._crew.journal.entry() as entry:
            self.placement = entry.move_placement(
                self.placement, PlacementState.RUNNING, why, running_at_ms=entry.now_ms
            )
            self.job = self._job_running(entry)

    def _job_running(self, entry: Entry) -> Job:
        return entry.move_job(
            self.job,
            JobStatus.RUNNING,
            "the workload runs",
            phase="running",
            started_at_ms=self.job.started_at_ms or entry.now_ms,
        )

    def _will_not_get_up(self, machine: Machine) -> bool:
        """Say of a machine that never answered whether it has failed, or been off for long."""
        if machine.state is MachineState.STOPPED:
            return self._patience.is_over(machine)
        self._patience.begin_anew()
        return machine.state in DEAD_STATES

    def _dead(self, machine: Machine) -> Ending:
        if machine.state is MachineState.NO_CAPACITY:
            return Ending("no_capacity", f"accepted, then no capacity ({machine.raw_state})")
        if machine.state is not MachineState.ERROR and self._has_begun:
            return self._lost(f"the machine is {machine.raw_state}")
        return Ending("machine_failed", f"the machine is {machine.raw_state}", self._outcome_of_loss())

    def _vanished(self) -> Ending:
        return self._lost("the provider no longer knows the machine")

    def _lost(self, why: str) -> Ending:
        return ending_of_loss(self._crew, self.job, self.placement, why, self._outcome_of_loss())

    def _outcome_of_loss(self) -> JobStatus | None:
        """A loss after the workload began is the job's end (it may have done things); before, the next offer is tried."""
        return JobStatus.FAILED if self._has_begun else None

    @property
    def _has_begun(self) -> bool:
        return self.placement.state in (PlacementState.RUNNING, PlacementState.DRAINING)

    def _is_late(self) -> bool:
        return self._crew.clock.now_ms() - known_since_ms(self.placement) > self._boot_timeout_s * 1000

    @property
    def _boot_timeout_s(self) -> int:
        return self._crew.boot_timeout_s(self.placement.provider)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but wake when a stop is asked for."""
        if self._stop.is_set():
            await asyncio.sleep(min(seconds, FIRST_POLL_S))
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
