"""A workload on a machine that can be reached: put the job there, start it, follow its log, learn how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gputui.core import guards
from gputui.core.crew import Crew
from gputui.core.endings import (
    DRAIN_PATIENCE_S,
    SWITCHED_OFF_S,
    UNREACHABLE_S,
    Ending,
    Patience,
    PriceGuard,
    ending_of_loss,
    known_since_ms,
)
from gputui.core.journal import outliving
from gputui.core.runner.base import Runner
from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import GRACE_S, ExitOutcome, PollReply, RunState, exit_outcome
from gputui.core.runner.vm import POLL_LIMIT_BYTES
from gputui.core.watch import MachineWatch
from gputui.model.errors import HostKeyChanged, ProviderError, SecretsError, ShellError, StoreError
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import Job, Machine, Placement
from gputui.model.vitals import Vitals
from gputui.store.alarms import AlarmKind
from gputui.store.vitals import load_vitals, save_vitals

WATCH_EVERY_S = 10.0
RECONNECT_SLOWEST_S = 15.0
# After the grace period the harness gave the workload, how long its end is waited for before the machine is ended anyway.
STOP_PATIENCE_S = GRACE_S + 20.0
# The harness enforces the maximum duration itself; should it fail to, the machine is ended this much later.
OVERTIME_S = GRACE_S + 60.0
# How long a machine whose workload has ended is kept because the disk here does not take its log.
LOG_PATIENCE_S = 60.0
# The machine stops an idle workload itself; should it fail to, it is asked to this much later.
IDLE_MARGIN_S = 60
VITALS_EVERY_MS = 15_000
# Codes of a workload that the agent asked to end because of a guard.
GUARD_STOPS = frozenset({"too_dear", "idle_stop"})


class Workload:
    """Drives one placement from `ready` through `running` to `draining`."""

    def __init__(
        self,
        crew: Crew,
        job: Job,
        placement: Placement,
        stop: asyncio.Event,
        watch: MachineWatch,
        patience: Patience,
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
        self._log_trouble = ""
        self._ended_at: float | None = None
        self._patience = patience
        self._price = PriceGuard(crew, job, placement)
        self._vitals = load_vitals(crew.store, placement.id)
        self._wish: Ending | None = None
        if job.error_code in GUARD_STOPS and job.outcome is None:
            self._wish = Ending(job.error_code or "", job.error or "", JobStatus.STOPPED)

    async def follow(self, runner: Runner | None) -> Ending:
        """Copy the log until the workload has ended and every byte is here. Opens a runner where there is none; closes it."""
        loop = asyncio.get_running_loop()
        current = runner
        last_watch = last_contact = loop.time()
        pause_s = 0.0
        self._log.begin(self.placement.id, now_ms=self._crew.clock.now_ms())
        self._wish_for(self._price.check(self._watch.machine))
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
                if current.takes_orders:  # a log that is read from its provider says nothing of the machine
                    self._patience.begin_anew()
                self._keep_vitals(reply)
                if ending := self._take(reply, loop.time()):
                    return ending
                if ending := self._overdue(loop.time()):
                    return ending
                if loop.time() - last_watch >= WATCH_EVERY_S:
                    last_watch = loop.time()
                    news = await self._watch.look()
                    self._wish_for(self._price.check(news))
                    if not current.takes_orders and (ending := self._died_unheard(news)):
                        return ending
                self._wish_for(self._too_idle(reply))
                if not current.takes_orders and (ending := self._unordered(reply)):
                    return ending
                if (self._stop.is_set() or self._wish) and self._stop_sent_at is None:
                    await self._send_stop(current, loop.time())
                if self._log_trouble:
                    # What could not be kept is asked for again: by a new reader, as this one has gone on.
                    await current.close()
                    current = None
                if len(reply.payload) < POLL_LIMIT_BYTES or self._log_trouble:
                    await self._pause()
        finally:
            if current is not None:
                await current.close()

    async def _poll(self, runner: Runner) -> PollReply:
        offset = self._log.remote_offset(self.placement.id)
        reply = await runner.poll(offset)
        if reply.nonce != self.placement.nonce:
            raise ShellError("Another job's folder answered; this is not the machine we started.")
        self._keep_log(reply, offset)
        return reply

    def _keep_log(self, reply: PollReply, offset: int) -> None:
        """Write what came of the log. A disk that is full keeps nobody from watching the workload; it is fetched later."""
        self._crew.check_in_charge()
        now_ms = self._crew.clock.now_ms()
        try:
            if reply.payload:
                self._log.append(self.placement.id, offset, reply.payload, now_ms=now_ms)
            if reply.cursor is not None and reply.cursor != self._cursor:
                self._log.mark_cursor(reply.cursor, now_ms=now_ms)
                self._cursor = reply.cursor
        except StoreError as error:
            if not self._log_trouble:
                self._say(f"the log waits on the machine: {error}")
            self._log_trouble = str(error)
        else:
            self._log_trouble = ""

    def _take(self, reply: PollReply, now_s: float) -> Ending | None:
        """Note what the harness said; an ending once the workload is over and the whole log is here."""
        if reply.state is RunState.NONE:
            return Ending("machine_lost", "the machine no longer knows the job", self._outcome(JobStatus.FAILED))
        outcome = exit_outcome(reply)
        if outcome is None:
            return None
        if self._wish is not None and reply.reason == "cancelled":
            outcome = ExitOutcome(JobStatus.STOPPED, outcome.exit_code, self._wish.why, self._wish.code)
        if self.placement.state is PlacementState.RUNNING:
            with outliving("keep how the workload ended"):
                self._drain(outcome, reply)
        self._ended_at = self._ended_at or now_s
        gap = f"cut off: {outcome.error}" if reply.state is RunState.LOST else None
        if self._log.remote_offset(self.placement.id) < reply.size:
            if not self._log_trouble or now_s - self._ended_at <= LOG_PATIENCE_S:
                return None
            gap = f"the rest of the log could not be kept: {self._log_trouble}"
        return Ending(
            outcome.error_code or "done", outcome.error or "the workload ended", outcome.status, outcome.exit_code, gap
        )

    def _drain(self, outcome: ExitOutcome, reply: PollReply) -> None:
        """Keep how it ended at once; a crash from here on cannot lose the exit code."""
        code = "" if outcome.exit_code is None else f" with exit code {outcome.exit_code}"
        with self._crew.journal.entry() as entry:
            placement = entry.move_placement(
                self.placement,
                PlacementState.DRAINING,
                f"the workload ended{code} ({reply.reason or 'no reason'})",
                facts={"exit_code": outcome.exit_code, "reason": reply.reason},
            )
            job = entry.move_job(
                self.job,
                self.job.status,
                "",
                phase="collecting the log",
                outcome=outcome.status.value,
                exit_code=outcome.exit_code,
                error=outcome.error,
                error_code=outcome.error_code,
            )
        self.placement, self.job = placement, job  # not before it is committed

    def _keep_vitals(self, reply: PollReply) -> None:
        """Keep what the machine says of itself: what is new of it at once, figures every few seconds."""
        now_ms = self._crew.clock.now_ms()
        before = self._vitals or Vitals(self.placement.id, 0)
        vitals = replace(before, contact_ms=now_ms, guard=reply.guard or before.guard)
        if reply.idle is not None:
            vitals = replace(vitals, idle=reply.idle, gpu_at_ms=now_ms)
        if reply.gpu is not None:
            vitals = replace(
                vitals,
                gpu_at_ms=now_ms,
                gpu_percent=reply.gpu.util_percent,
                gpu_used_mib=reply.gpu.mem_used_mib,
                gpu_total_mib=reply.gpu.mem_total_mib,
                gpu_watts=reply.gpu.power_w,
            )
        problem = _idle_problem(self.job, vitals)
        is_news = vitals.guard != before.guard or problem != _idle_problem(self.job, before)
        if not is_news and now_ms - before.contact_ms < VITALS_EVERY_MS:
            return
        with outliving("keep what the machine says of itself"), self._crew.journal.entry() as entry:
            save_vitals(entry.tx, vitals)
            if problem is not None and problem != _idle_problem(self.job, before):
                sentence = f"the idle stop cannot work: {problem}"
                entry.note(self.job.id, sentence, placement_id=self.placement.id, facts={"loud": True})
        self._vitals = vitals
        machine_id = self.placement.machine_id or ""
        if problem is None:
            self._crew.alarms.end(AlarmKind.NO_IDLE_STOP, machine_id)
        else:
            self._crew.alarms.sound(
                AlarmKind.NO_IDLE_STOP,
                machine_id,
                f"Job {self.job.name} cannot be stopped for being idle: {problem}.",
                f"It goes on. To stop it, run: gputui jobs stop {self.job.name}",
                provider=self.placement.provider,
                job_id=self.job.id,
                rate=self.placement.agreed_price_micro_usd_per_hour,
            )

    def _too_idle(self, reply: PollReply) -> Ending | None:
        """The machine's own idle stop should have worked by now."""
        limit_s = self.job.spec.idle_stop_s
        if (
            limit_s is None
            or reply.idle is None
            or not reply.idle.isdecimal()
            or int(reply.idle) < limit_s + IDLE_MARGIN_S
        ):
            return None
        return Ending("idle_stop", f"the GPUs have been idle for {reply.idle} s", JobStatus.STOPPED)

    def _wish_for(self, ending: Ending | None) -> None:
        """Have the workload asked to end because of a guard, whose word it then bears; the first one counts."""
        if ending is None or self._wish is not None or self.job.outcome is not None:
            return
        self._wish = ending
        with outliving(f"note that {ending.why}"), self._crew.journal.entry() as entry:
            entry.note(
                self.job.id, ending.why, placement_id=self.placement.id, facts={"loud": True, "code": ending.code}
            )
            self.job = entry.move_job(self.job, self.job.status, "", error=ending.why, error_code=ending.code)

    async def _cut_off(self, error: Exception, silent_s: float) -> Ending | None:
        """The machine cannot be reached: say so once, ask the provider, and decide whether to go on trying."""
        sentence = str(error) or "no answer in time"
        if not self._trouble:
            self._trouble = sentence
            self._say(f"lost the machine: {sentence}")
        machine = await self._watch.look()
        if self._watch.has_vanished:
            return self._lost("the provider no longer knows the machine")
        if machine is not None and machine.state in (MachineState.GONE, MachineState.DELETING):
            return self._lost(f"the machine is {machine.raw_state}")
        if machine is not None and machine.state is MachineState.ERROR:
            return Ending("machine_lost", f"the machine is {machine.raw_state}", self._outcome(JobStatus.FAILED))
        self._wish_for(self._price.check(machine))
        if self._stop.is_set() and silent_s > STOP_PATIENCE_S:
            return Ending("stopped", "stopped while the machine could not be reached", self._outcome(JobStatus.STOPPED))
        if self._watch.is_in_doubt:
            return None  # soon it has either vanished or not; until then no other reason may take the blame
        if self._wish is not None and silent_s > STOP_PATIENCE_S:
            return self._wish
        is_draining = self.placement.state is PlacementState.DRAINING
        limit_s = DRAIN_PATIENCE_S if is_draining else UNREACHABLE_S
        if self._patience.is_over(machine, limit_s=limit_s):
            if is_draining:
                return Ending("log_cut", "the workload ended", self.job.outcome, log_gap=f"cut off: {sentence}")
            return Ending(
                "machine_lost",
                f"the machine could not be reached for {self._patience.spent_s:.0f} s",
                self._outcome(JobStatus.FAILED),
            )
        return self._overdue(asyncio.get_running_loop().time())

    async def _send_stop(self, runner: Runner, now_s: float) -> None:
        with contextlib.suppress(ShellError, TimeoutError):
            await runner.stop()
            self._stop_sent_at = now_s
            self._say("asked the workload to end")
            self.job = self._crew.journal.phase(self.job, "stopping")

    def _died_unheard(self, machine: Machine | None) -> Ending | None:
        """Where only the provider's log is to be had, it can be read long after the machine has died."""
        if self._watch.has_vanished:
            return self._lost("the provider no longer knows the machine")
        if machine is None:
            return None
        if machine.state in (MachineState.ERROR, MachineState.GONE, MachineState.DELETING):
            return self._lost(f"the machine is {machine.raw_state}")
        if machine.state is not MachineState.STOPPED:
            self._patience.begin_anew()
        elif self._patience.is_over(machine):
            return self._lost(f"the machine has been {machine.raw_state} for {SWITCHED_OFF_S:.0f} s")
        return None

    def _unordered(self, reply: PollReply) -> Ending | None:
        """Where nobody on the machine takes orders: a stop is the machine's end, and one that never begins is given up."""
        if self._stop.is_set():
            return Ending("stopped", "stopped", self._outcome(JobStatus.STOPPED))
        if self._wish is not None:
            return self._wish
        waited_ms = self._crew.clock.now_ms() - known_since_ms(self.placement)
        limit_s = self._crew.boot_timeout_s(self.placement.provider)
        if reply.state is RunState.STARTING and waited_ms > limit_s * 1000:
            return Ending("boot_timeout", f"the container printed nothing within {limit_s} s")
        return None

    def _overdue(self, now_s: float) -> Ending | None:
        if self._stop_sent_at is not None and now_s - self._stop_sent_at > STOP_PATIENCE_S:
            return self._wish or Ending(
                "stopped", "the workload did not end when asked", self._outcome(JobStatus.STOPPED)
            )
        limit_s = self.job.spec.max_duration_s
        if limit_s is None or self.placement.running_at_ms is None:
            return None
        ran_s = (self._crew.clock.now_ms() - self.placement.running_at_ms) / 1000
        if ran_s > limit_s + OVERTIME_S:
            return Ending("max_duration", "the maximum duration was reached", self._outcome(JobStatus.STOPPED))
        return None

    def _lost(self, why: str) -> Ending:
        return ending_of_loss(self._crew, self.job, self.placement, why, JobStatus.FAILED)

    def _outcome(self, otherwise: JobStatus) -> JobStatus:
        """Return how the workload ended when that is already known."""
        return self.job.outcome or otherwise

    async def _pause(self) -> None:
        """Wait for the next poll; a stop wakes at once."""
        pause_s = self._crew.config.agent.poll_s
        if self._stop.is_set() or self._wish is not None:
            await asyncio.sleep(min(pause_s, 0.5))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stop.wait()

    def _say(self, sentence: str) -> None:
        self._crew.journal.note(self.job.id, sentence, placement_id=self.placement.id)


def _idle_problem(job: Job, vitals: Vitals) -> str | None:
    idle = guards.idle_guard_of(job.spec, vitals)
    return idle.problem if idle else None
