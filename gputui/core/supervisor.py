"""The agent: the only process that creates or ends machines. One per profile; everything it knows is in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gputui.core.crew import Crew, ShellOpener
from gputui.core.jobs import JobDriver
from gputui.core.journal import LostRace
from gputui.core.termination import Terminator
from gputui.model.errors import StoreError
from gputui.store import agents as agent_store
from gputui.store import jobs as job_store
from gputui.store import wishes as wish_store
from gputui.store.db import Store
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
    """Watches the store for wishes and keeps one driver running per live job and per termination.

    `identity` (pid, host, version) is written beside the heartbeat. `run` returns when nothing was alive for
    `idle_exit_s` seconds (None: never) and `may_exit` agrees. The store is glanced at every `glance_s` seconds.
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
    ) -> None:
        self._crew = crew
        self._pid, self._host, self._version = pid, host, version
        self._idle_exit_s = idle_exit_s
        self._may_exit = may_exit
        self._glance_s = glance_s
        self._drivers: dict[str, _Task] = {}
        self._endings: dict[str, _Task] = {}
        self._epoch = 0

    async def run(self, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """Supervise until idle or cancelled. Cancelling leaves every job as the store says; the next agent goes on."""
        self.publish_accounts()
        on_ready()
        loop = asyncio.get_running_loop()
        seen_version = -1
        last_beat = last_busy = loop.time()
        try:
            while True:
                finished = self._reap()
                with self._outliving("look for wishes"):
                    version = self._crew.store.data_version()
                    if version != seen_version or finished:
                        self._follow_wishes()
                        seen_version = version
                if self._drivers or self._endings:
                    last_busy = loop.time()
                elif self._idle_exit_s is not None and loop.time() - last_busy >= self._idle_exit_s:
                    if self._may_exit():
                        return
                    seen_version = -1
                if loop.time() - last_beat >= BEAT_S:
                    last_beat = loop.time()
                    with self._outliving("write the heartbeat"):
                        self._beat()
                await asyncio.sleep(self._glance_s)
        finally:
            await self._cancel_all()
            with self._outliving("sign off"):
                agent_store.sign_off(self._crew.store, self._epoch, now_ms=self._crew.clock.now_ms())

    @contextlib.contextmanager
    def _outliving(self, what: str) -> Iterator[None]:
        """A store that fails for a moment (a full disk) must not end the supervision of machines that cost money."""
        try:
            yield
        except StoreError as error:
            log.error("could not %s: %s", what, error)

    def publish_accounts(self) -> None:
        """Write who we are and which accounts we hold keys for (as fingerprints)."""
        self._epoch = agent_store.register_agent(
            self._crew.store,
            pid=self._pid,
            host=self._host,
            version=self._version,
            accounts=self._crew.accounts.fingerprints(),
            now_ms=self._crew.clock.now_ms(),
        )

    def has_work(self) -> bool:
        """True when the store holds anything an agent must act on."""
        return bool(job_store.count_alive_jobs(self._crew.store) or wish_store.load_open_terminations(self._crew.store))

    def _beat(self) -> None:
        if not agent_store.beat(self._crew.store, self._epoch, now_ms=self._crew.clock.now_ms()):
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

    def _reap(self) -> bool:
        """Drop finished drivers; True when there were any."""
        finished = False
        for tasks in (self._drivers, self._endings):
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
        tasks = [entry.task for group in (self._drivers, self._endings) for entry in group.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drivers.clear()
        self._endings.clear()


class _Ending:
    """Carries out one wish that a machine be gone."""

    def __init__(self, crew: Crew, wish: Termination) -> None:
        self._crew = crew
        self._wish = wish

    async def run(self) -> None:
        gone_ms = await Terminator(
            lambda: self._crew.client(self._wish.provider),
            self._wish.machine_id,
            clock=self._crew.clock,
            ids=self._crew.ids,
            report=lambda sentence, loud: self._note(sentence),
        ).until_gone()
        self._note(None, gone_ms)

    def _note(self, trouble: str | None, gone_ms: int | None = None) -> None:
        with self._crew.store.write() as tx:
            wish_store.note_termination(tx, self._wish.id, last_error=trouble, gone_at_ms=gone_ms)


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
