"""The agent: the only process that creates or ends machines. One per profile; everything it knows is in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gputui.core.clockwatch import ClockWatch, Jump
from gputui.core.crew import Crew, ShellOpener
from gputui.core.jobs import JobDriver
from gputui.core.journal import LostRace, outliving
from gputui.core.sweeper import Sweeper
from gputui.core.termination import Terminator
from gputui.core.volumes import VolumeDriver
from gputui.core.whose import wished_absence_counts
from gputui.model.clock import SteadyClock
from gputui.providers.registry import provider_title
from gputui.store import agents as agent_store
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import volumes as volume_store
from gputui.store import wishes as wish_store
from gputui.store.alarms import AlarmKind
from gputui.store.db import Store
from gputui.store.moments import shift_live_moments
from gputui.store.wishes import Termination

if TYPE_CHECKING:
    from gputui.core.desk import Desk

BEAT_S = 2.0
GLANCE_S = 0.2
RESTART_FIRST_S = 2.0
RESTART_SLOWEST_S = 60.0

log = logging.getLogger("gputui.agent")


class Replaced(Exception):
    """Another agent has taken this profile over; this one must not act any more."""


@dataclass(slots=True)
class _Task:
    task: asyncio.Task[None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Watches the store for wishes and keeps one driver running per live job, termination and order of a volume.

    `identity` (pid, host, version) is written beside the heartbeat. `run` returns when nothing was alive for
    `idle_exit_s` seconds (None: never) and `may_exit` agrees. The store is glanced at every `glance_s` seconds. `steady`
    tells when the clock was moved or the computer slept; without one neither is noticed. `on_beat` is called with every
    heartbeat, also with one that cannot be written.
    """

    def __init__(
        self,
        crew: Crew,
        *,
        pid: int,
        host: str,
        version: str,
        idle_exit_s: float | None = None,
        may_exit: Callable[[], bool] = lambda: True,
        glance_s: float = GLANCE_S,
        steady: SteadyClock | None = None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._crew = crew
        self._pid, self._host, self._version = pid, host, version
        self._idle_exit_s = idle_exit_s
        self._may_exit = may_exit
        self._glance_s = glance_s
        self._steady = steady
        self._on_beat = on_beat
        self._drivers: dict[str, _Task] = {}
        self._endings: dict[str, _Task] = {}
        self._volumes: dict[str, _Task] = {}

    async def run(self, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """Supervise until idle or cancelled. Cancelling leaves every job as the store says; the next agent goes on."""
        loop = asyncio.get_running_loop()
        clocks = ClockWatch(self._crew.clock, self._steady, loop.time) if self._steady else None
        if clocks is not None:
            self._catch_up_with_clock(clocks)
        with outliving("register this agent"):
            self.publish_accounts()
        on_ready()
        sweeper = Sweeper(self._crew, self._follow_wishes)
        sweeping = asyncio.create_task(sweeper.run()) if self._crew.config.sweep.every_s else None
        seen_version = -1
        last_beat = last_busy = loop.time()
        try:
            while True:
                if clocks is not None and (jump := clocks.look()) is not None:
                    await self._after_jump(jump)
                    seen_version = -1
                finished = self._reap()
                with outliving("look for wishes"):
                    version = self._crew.store.data_version()
                    if version != seen_version or finished:
                        self._follow_wishes()
                        seen_version = version
                if self._drivers or self._endings or self._volumes:
                    last_busy = loop.time()
                elif self._idle_exit_s is not None and loop.time() - last_busy >= self._idle_exit_s:
                    has_looked = sweeping is None or sweeper.has_looked_since(last_busy)
                    if has_looked and self._may_exit():
                        return
                    seen_version = -1
                if loop.time() - last_beat >= BEAT_S:
                    last_beat = loop.time()
                    self._on_beat()
                    with outliving("write the heartbeat"):
                        self._beat()
                await asyncio.sleep(self._glance_s)
        finally:
            if sweeping is not None:
                sweeping.cancel()
                await asyncio.wait({sweeping})
            await self._cancel_all()
            with outliving("sign off"):
                agent_store.sign_off(self._crew.store, self._crew.epoch, now_ms=self._crew.clock.now_ms())

    def _catch_up_with_clock(self, clocks: ClockWatch) -> None:
        """Notice that the clock was moved since the last agent's heart beat, if the computer did not start anew since."""
        last = agent_store.load_agent(self._crew.store)
        if last is None or self._steady is None or last.steady_ms is None or last.boot_id != self._steady.boot_id:
            return
        if jump := clocks.since(last.beat_ms, last.steady_ms):
            with outliving("move the moments of live jobs along with the clock"):
                self._take_in(jump)

    async def _after_jump(self, jump: Jump) -> None:
        """Begin again with every driver, which asks for every machine at once, in the time as it is now."""
        log.warning("%s; looking at everything anew", jump)
        await self._cancel_all()
        with outliving("move the moments of live jobs along with the clock"):
            self._take_in(jump)

    def _take_in(self, jump: Jump) -> None:
        with self._crew.journal.entry() as entry:
            if jump.moved_ms:
                shift_live_moments(entry.tx, jump.moved_ms, now_ms=entry.now_ms)
            for job in job_store.load_alive_jobs(self._crew.store):
                entry.note(job.id, str(jump), facts={"moved_ms": jump.moved_ms, "slept_ms": jump.slept_ms})

    def publish_accounts(self) -> None:
        """Write who we are and which accounts we hold keys for (as fingerprints)."""
        self._crew.epoch = agent_store.register_agent(
            self._crew.store,
            pid=self._pid,
            host=self._host,
            version=self._version,
            accounts=self._crew.accounts.fingerprints(),
            now_ms=self._crew.clock.now_ms(),
            steady_ms=self._steady.now_ms() if self._steady else None,
            boot_id=self._steady.boot_id if self._steady else None,
        )

    def has_work(self) -> bool:
        """True when the store holds anything an agent must act on."""
        store = self._crew.store
        wishes = wish_store.load_open_terminations(store) or volume_store.load_open_orders(store)
        return bool(job_store.count_alive_jobs(store) or wishes)

    def _beat(self) -> None:
        if self._crew.epoch == 0:  # the disk did not take our registration
            self.publish_accounts()
        steady_ms = self._steady.now_ms() if self._steady else None
        now_ms = self._crew.clock.now_ms()
        if not agent_store.beat(self._crew.store, self._crew.epoch, now_ms=now_ms, steady_ms=steady_ms):
            raise Replaced("another agent has taken over")

    def _follow_wishes(self) -> None:
        for job in job_store.load_alive_jobs(self._crew.store):
            entry = self._drivers.get(job.id)
            if entry is None:
                stop = asyncio.Event()
                driver = JobDriver(self._crew, job.id, stop)
                entry = self._drivers[job.id] = _Task(
                    asyncio.create_task(self._guarded(driver.run, f"job {job.id}", job.id)), stop
                )
            if job.stop_requested_at_ms is not None:
                entry.stop.set()
        for wish in wish_store.load_open_terminations(self._crew.store):
            if wish.id not in self._endings:
                run = _Ending(self._crew, wish).run
                self._endings[wish.id] = _Task(asyncio.create_task(self._guarded(run, f"termination {wish.id}", None)))
        for order in volume_store.load_open_orders(self._crew.store):
            if order.id not in self._volumes:
                run = VolumeDriver(self._crew, order).run
                self._volumes[order.id] = _Task(asyncio.create_task(self._guarded(run, f"volume {order.id}", None)))

    def _reap(self) -> bool:
        """Drop finished drivers; True when there were any."""
        finished = False
        for tasks in (self._drivers, self._endings, self._volumes):
            for key in [key for key, entry in tasks.items() if entry.task.done()]:
                finished = True
                del tasks[key]
        return finished

    async def _guarded(self, run: Callable[[], Coroutine[Any, Any, None]], what: str, job_id: str | None) -> None:
        """Run a driver for as long as it takes: what it stumbles over is told and it is started again, never dropped."""
        pause_s = RESTART_FIRST_S
        while True:
            try:
                return await run()
            except LostRace:
                log.warning("%s: the store moved on without us; starting from what it says now", what)
            except Exception as error:  # whatever it is, a machine may be alive: go on trying
                log.exception("%s stumbled", what)
                if job_id is not None:
                    with contextlib.suppress(Exception):
                        self._crew.journal.note(job_id, f"the agent stumbled and starts again: {type(error).__name__}")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_SLOWEST_S)

    async def _cancel_all(self) -> None:
        groups = (self._drivers, self._endings, self._volumes)
        tasks = [entry.task for group in groups for entry in group.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for group in groups:
            group.clear()


class _Ending:
    """Carries out one wish that a machine be gone."""

    def __init__(self, crew: Crew, wish: Termination) -> None:
        self._crew = crew
        self._wish = wish

    async def run(self) -> None:
        provider, machine_id = self._wish.provider, self._wish.machine_id
        gone_ms = await Terminator(
            lambda: self._crew.client(provider),
            machine_id,
            clock=self._crew.clock,
            ids=self._crew.ids,
            report=self._report,
            heard=lambda error: self._crew.heard(provider, error),
            absence_counts=lambda: wished_absence_counts(self._crew, self._wish.id),
        ).until_gone()
        self._crew.alarms.end(AlarmKind.UNDYING, machine_id)
        with self._crew.store.write() as tx:
            wish_store.note_termination(tx, self._wish.id, last_error=None, gone_at_ms=gone_ms)
            finding_store.resolve_machine(tx, provider, machine_id, now_ms=gone_ms)

    def _report(self, trouble: str, loud: bool) -> None:
        provider, machine_id = self._wish.provider, self._wish.machine_id
        with self._crew.store.write() as tx:
            wish_store.note_termination(tx, self._wish.id, last_error=trouble, gone_at_ms=None)
        if loud:
            title = provider_title(provider)
            self._crew.alarms.sound(
                AlarmKind.UNDYING,
                machine_id,
                f"{title} machine {machine_id} will not end: {trouble}.",
                f"The agent goes on trying; in need, delete it at {title} yourself.",
                provider=provider,
            )


def crew_for(desk: Desk, store: Store, shell_openers: Mapping[str, ShellOpener] | None = None) -> Crew:
    """Return the tools of an agent that shares a desk's accounts and configuration and has a store of its own.

    It needs its own, because a connection does not see its own commits as changes.
    """
    return Crew(
        store=store,
        accounts=desk.accounts,
        clock=desk.clock,
        ids=desk.ids,
        config=desk.config,
        paths=desk.paths,
        shell_openers=shell_openers or {},
    )
