"""A workload on a machine that can be reached: put the job there, start it, follow its log, learn how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gputui.core.crew import Crew
from gputui.core.runner.base import Runner
from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import GRACE_S, ExitOutcome, PollReply, RunState, exit_outcome
from gputui.core.runner.vm import POLL_LIMIT_BYTES
from gputui.core.watch import MachineWatch
from gputui.model.errors import HostKeyChanged, ProviderError, SecretsError, ShellError
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import Job, Machine, Placement

WATCH_EVERY_S = 10.0
RECONNECT_SLOWEST_S = 15.0
# After the grace period the harness gave the workload, how long its end is waited for before the machine is ended anyway.
STOP_PATIENCE_S = GRACE_S + 20.0
# The harness enforces the maximum duration itself; should it fail to, the machine is ended this much later.
OVERTIME_S = GRACE_S + 60.0
# A machine that the provider says is well but that cannot be reached: how long it may cost money like that.
UNREACHABLE_S = 3600.0
SWITCHED_OFF_S = 180.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a machine is no longer needed. `outcome` None: it failed us before the workload began, try the next offer."""

    code: str
    why: str
    outcome: JobStatus | None = None
    exit_code: int | None = None


class Patience:
    """How long a machine that cannot be reached goes on costing money.

    Only time in which the provider answered counts: while nobody can be asked, it is our own line that is down, and a
    workload that is well must not be ended for that.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def is_over(self, machine: Machine | None, now_s: float) -> bool:
        """Take in what the provider just said (None: it did not answer); True when the machine is given up."""
        if machine is None:
            self._since = None
            return False
        if self._since is None:
            self._since = now_s
        limit_s = SWITCHED_OFF_S if machine.state is MachineState.STOPPED else UNREACHABLE_S
        return now_s - self._since > limit_s


class Workload:
    """Drives one placement from `ready` through `running` to `draining`."""

    def __init__(
        self,
        crew: Crew,
        job: Job,
        placement: Placement,
        stop: asyncio.Event,
        watch: MachineWatch,
        connect: Callable[[], Awaitable[Runner]],
    ) -> None:
        self._crew = crew
        self.job = job
        self.placement = placement
        self._stop = stop
        self._watch = watch
        self._connect = connect
        self._log = JobLog(crew.paths.logs_dir / f"{job.id}.log")
        self._stop_sent_at: float | None = None
        self._trouble = ""
        self._cursor: str | None = None
        self._patience = Patience()

    async def follow(self, runner: Runner) -> Ending:
        """Copy the log until the workload has ended and every byte is here. Closes the runner."""
        loop = asyncio.get_running_loop()
        current: Runner | None = runner
        last_watch = last_contact = loop.time()
        pause_s = 0.0
        self._log.begin(self.placement.id, now_ms=self._crew.clock.now_ms())
        try:
            while True:
                try:
                    current = current or await self._connect()
                    reply = await self._poll(current)
                except HostKeyChanged as error:
                    return Ending("host_key_changed", str(error), self._outcome(JobStatus.FAILED))
                except (ShellError, ProviderError, SecretsError, TimeoutError) as error:
                    if current is not None:
                        await current.close()
                    current = None
                    if ending := await self._cut_off(error, loop.time() - last_contact):
                        return ending
                    pause_s = min(max(pause_s, 0.5) * 1.6, RECONNECT_SLOWEST_S)
                    await asyncio.sleep(pause_s)
                    continue
                if self._trouble:
                    self._say("reached the machine again")
                    self._trouble = ""
                last_contact, pause_s = loop.time(), 0.0
                self._patience = Patience()
                if ending := self._take(reply):
                    return ending
                if ending := self._overdue(loop.time()):
                    return ending
                if not current.takes_orders and (ending := self._unordered(reply)):
                    return ending
                if self._stop.is_set() and self._stop_sent_at is None:
                    await self._send_stop(current, loop.time())
                if loop.time() - last_watch >= WATCH_EVERY_S:
                    last_watch = loop.time()
                    await self._watch.look()
                if len(reply.payload) < POLL_LIMIT_BYTES:
                    await self._pause()
        finally:
            if current is not None:
                await current.close()

    async def _poll(self, runner: Runner) -> PollReply:
        offset = self._log.remote_offset(self.placement.id)
        reply = await runner.poll(offset)
        if reply.nonce != self.placement.nonce:
            raise ShellError("Another job's folder answered; this is not the machine we started.")
        now_ms = self._crew.clock.now_ms()
        if reply.payload:
            self._log.append(self.placement.id, offset, reply.payload, now_ms=now_ms)
        if reply.cursor is not None and reply.cursor != self._cursor:
            self._log.mark_cursor(reply.cursor, now_ms=now_ms)
            self._cursor = reply.cursor
        return reply

    def _take(self, reply: PollReply) -> Ending | None:
        """Note what the harness said; an ending once the workload is over and the whole log is here."""
        if reply.state is RunState.NONE:
            return Ending("machine_lost", "the machine no longer knows the job", self._outcome(JobStatus.FAILED))
        outcome = exit_outcome(reply)
        if outcome is None:
            return None
        if self.placement.state is PlacementState.RUNNING:
            self._drain(outcome, reply)
        if self._log.remote_offset(self.placement.id) < reply.size:
            return None
        return Ending(
            outcome.error_code or "done", outcome.error or "the workload ended", outcome.status, outcome.exit_code
        )

    def _drain(self, outcome: ExitOutcome, reply: PollReply) -> None:
        """Keep how it ended at once; a crash from here on cannot lose the exit code."""
        code = "" if outcome.exit_code is None else f" with exit code {outcome.exit_code}"
        with self._crew.journal.entry() as entry:
            self.placement = entry.move_placement(
                self.placement,
                PlacementState.DRAINING,
                f"the workload ended{code} ({reply.reason or 'no reason'})",
                facts={"exit_code": outcome.exit_code, "reason": reply.reason},
            )
            self.job = entry.move_job(
                self.job,
                self.job.status,
                "",
                phase="collecting the log",
                outcome=outcome.status.value,
                exit_code=outcome.exit_code,
                error=outcome.error,
                error_code=outcome.error_code,
            )

    async def _cut_off(self, error: Exception, silent_s: float) -> Ending | None:
        """The machine cannot be reached: say so once, ask the provider, and decide whether to go on trying."""
        sentence = str(error) or "no answer in time"
        if not self._trouble:
            self._trouble = sentence
            self._say(f"lost the machine: {sentence}")
        machine = await self._watch.look()
        if self._watch.has_vanished:
            return Ending("machine_lost", "the provider no longer knows the machine", self._outcome(JobStatus.FAILED))
        if machine is not None and machine.state in (MachineState.ERROR, MachineState.GONE, MachineState.DELETING):
            return Ending("machine_lost", f"the machine is {machine.raw_state}", self._outcome(JobStatus.FAILED))
        if self._stop.is_set() and silent_s > STOP_PATIENCE_S:
            return Ending("stopped", "stopped while the machine could not be reached", self._outcome(JobStatus.STOPPED))
        if self._patience.is_over(machine, asyncio.get_running_loop().time()):
            return Ending(
                "machine_lost",
                f"the machine could not be reached for {silent_s:.0f} s",
                self._outcome(JobStatus.FAILED),
            )
        return self._overdue(asyncio.get_running_loop().time())

    async def _send_stop(self, runner: Runner, now_s: float) -> None:
        with contextlib.suppress(ShellError, TimeoutError):
            await runner.stop()
            self._stop_sent_at = now_s
            self._say("asked the workload to end")
            self.job = self._crew.journal.phase(self.job, "stopping")

    def _unordered(self, reply: PollReply) -> Ending | None:
        """Where nobody on the machine takes orders: a stop is the machine's end, and one that never begins is given up."""
        if self._stop.is_set():
            return Ending("stopped", "stopped", self._outcome(JobStatus.STOPPED))
        began_ms = self.placement.requested_at_ms or self.placement.created_at_ms
        limit_s = self._crew.config.agent.boot_timeout_s
        if reply.state is RunState.STARTING and self._crew.clock.now_ms() - began_ms > limit_s * 1000:
            return Ending("boot_timeout", f"the container printed nothing within {limit_s} s")
        return None

    def _overdue(self, now_s: float) -> Ending | None:
        if self._stop_sent_at is not None and now_s - self._stop_sent_at > STOP_PATIENCE_S:
            return Ending("stopped", "the workload did not end when asked", self._outcome(JobStatus.STOPPED))
        limit_s = self.job.spec.max_duration_s
        if limit_s is None or self.placement.running_at_ms is None:
            return None
        ran_s = (self._crew.clock.now_ms() - self.placement.running_at_ms) / 1000
        if ran_s > limit_s + OVERTIME_S:
            return Ending("max_duration", "the maximum duration was reached", self._outcome(JobStatus.STOPPED))
        return None

    def _outcome(self, otherwise: JobStatus) -> JobStatus:
        """Return how the workload ended when that is already known."""
        return self.job.outcome or otherwise

    async def _pause(self) -> None:
        """Wait for the next poll; a stop wakes at once."""
        pause_s = self._crew.config.agent.poll_s
        if self._stop.is_set():
            await asyncio.sleep(min(pause_s, 0.5))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stop.wait()

    def _say(self, sentence: str) -> None:
        self._crew.journal.note(self.job.id, sentence, placement_id=self.placement.id)
