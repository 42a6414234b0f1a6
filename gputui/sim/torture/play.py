"""Play a plan: the real supervisor, drivers, store and provider clients over the simulated world, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from gputui.local.config import AgentConfig, Config, ProviderConfig, SweepConfig
from gputui.local.ssh import ensure_key_pair
from gputui.model.types import CreateRequest, Machine, Stock
from gputui.providers.registry import PROVIDERS
from gputui.sim.machine import SimMachine
from gputui.sim.torture import checks
from gputui.sim.torture.agent import Killed
from gputui.sim.torture.facts import LABEL, Facts
from gputui.sim.torture.plan import IMAGE, Deed, Plan, Step
from gputui.sim.torture.stage import Stage, open_stage
from gputui.sim.torture.tell import timeline
from gputui.sim.vtime import Deadlock, VirtualTimeLimit, run_virtual
from gputui.sim.world import World
from gputui.store import db
from gputui.store.jobs import count_alive_jobs
from gputui.store.wishes import load_open_terminations

# After everything that goes wrong is over, this much is enough for any job: six attempts of booting in vain and more.
PATIENCE_S = 6 * 3600.0
SETTLE_S = 60.0
LOOK_EVERY_S = 30.0
MEMORY = Path("/dev/shm")  # noqa: S108  files of a run that nobody keeps


@dataclass(slots=True)
class Outcome:
    """How one seed went. `violations` are sentences; `timeline` is what happened, for people."""

    seed: int
    violations: list[str] = field(default_factory=list)
    timeline: list[str] = field(default_factory=list)


def play(plan: Plan, *, keep_timeline: bool = False) -> Outcome:
    """Play a plan from its start to its end and check it against the world's truth.

    The timeline is told where something did not hold, or always with `keep_timeline`.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="torture-") as folder:
        outcome = Outcome(plan.seed)
        with _quick_disk(), _overheard() as told:
            try:
                run_virtual(
                    _Play(plan, Path(folder), outcome, told, keep_timeline).run(), limit_s=plan.heal_s + 10 * PATIENCE_S
                )
            except (Deadlock, VirtualTimeLimit) as error:
                outcome.violations.append(f"hangs: {error}")
        return outcome


class _Play:
    """One run in progress."""

    _stage: Stage

    def __init__(
        self, plan: Plan, folder: Path, outcome: Outcome, told: list[logging.LogRecord], keep_timeline: bool
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._outcome = outcome
        self._told = told
        self._keep_timeline = keep_timeline
        self._crashes = iter(plan.crashes)
        self._pause_s = 0.0
        self._cut_since_ms = self._gone_since_ms = 0
        self._job_ids: dict[int, str] = {}
        self._guests: dict[str, Machine] = {}

    async def run(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._unheard)
        plan = self._plan
        config = Config(
            agent=AgentConfig(poll_s=plan.poll_s, boot_timeout_s=300, lease_s=plan.lease_s),
            sweep=SweepConfig(every_s=300, terminate_lost=plan.ends_lost),
            providers={name: ProviderConfig(enabled=name in plan.providers) for name in PROVIDERS},
        )
        async with open_stage(
            self._folder,
            seed=plan.seed,
            providers=plan.providers,
            config=config,
            boot_s=plan.boot_s,
            glance_s=plan.glance_s,
        ) as stage:
            self._stage = stage
            await self._invite_guests()
            self._set(plan.knobs)
            keeping = asyncio.create_task(self._keep_agents())
            doing = [asyncio.create_task(self._do_steps()), asyncio.create_task(self._submit_jobs())]
            try:
                async with asyncio.timeout(plan.heal_s + PATIENCE_S):
                    await asyncio.gather(*doing)
                    while not self._is_over():  # noqa: ASYNC110  a person looks now and then
                        await asyncio.sleep(LOOK_EVERY_S)
            except TimeoutError:
                stage.recording.complain("hangs: not every job is over hours after the last disturbance")
            await asyncio.sleep(SETTLE_S)
            keeping.cancel()
            await asyncio.wait({keeping})
            await stage.kill_agents()
            if not keeping.cancelled() and (error := keeping.exception()):
                raise error
            facts = Facts(plan, stage, self._folder, self._job_ids, self._guests, self._told)
            self._outcome.violations += stage.recording.complaints + checks.violations(facts)
            if self._outcome.violations or self._keep_timeline:
                self._outcome.timeline = timeline(facts)

    async def _invite_guests(self) -> None:
        """Put machines of others into the accounts, before anything goes wrong."""
        desk = self._stage.desk
        for provider, label in self._plan.guests:
            client = desk.client(provider)
            offers = [offer for offer in await client.fetch_offers() if offer.stock is not Stock.NONE]
            key = ensure_key_pair(desk.paths.ssh_dir, comment="").public_key
            order = CreateRequest(offers[0], label, f"guest-{label}", key, image=IMAGE)
            self._guests[label] = await client.create(order)

    async def _submit_jobs(self) -> None:
        began = self._now_s()
        for number, job in sorted(enumerate(self._plan.jobs), key=lambda item: item[1].at_s):
            await asyncio.sleep(max(0.0, began + job.at_s - self._now_s()))
            self._job_ids[number] = self._stage.submit(job.spec)
            self._note(f"submits job {number}")

    async def _keep_agents(self) -> None:
        """Keep an agent there: when the last one has died, the next follows after its pause."""
        stage, recording = self._stage, self._stage.recording
        while True:
            crash = next(self._crashes, None)
            self._pause_s = crash.pause_s if crash else 0.0
            agent = stage.start_agent(crash)
            while not agent.ended.is_set() or agent is not stage.agents[-1]:
                agent = stage.agents[-1]
                await agent.ended.wait()
            self._gone_since_ms = since_ms = stage.world.now_ms()
            await asyncio.sleep(self._pause_s)
            recording.absences.append((since_ms, stage.world.now_ms()))

    async def _do_steps(self) -> None:
        began = self._now_s()
        for step in self._plan.steps:
            await asyncio.sleep(max(0.0, began + step.at_s - self._now_s()))
            self._note(f"{step.deed}: {step.about}" if step.about is not None else step.deed.value)
            self._do(step)

    def _do(self, step: Step) -> None:
        stage, world, about = self._stage, self._stage.world, step.about
        match step.deed:
            case Deed.KNOBS:
                self._set(about)
            case Deed.STOP:
                if about in self._job_ids:
                    stage.desk.request_stop(self._job_ids[about])
            case Deed.CUT_LINE if about is not None:
                stage.line.break_every = about
            case Deed.CUT_LINE:
                stage.line.is_cut = True
                self._cut_since_ms = world.now_ms()
            case Deed.MEND_LINE:
                stage.line.is_cut = False
                stage.recording.outages.append((self._cut_since_ms, world.now_ms()))
            case Deed.CLOCK:
                stage.clock.offset_ms += about * 1000
            case Deed.KILL_AGENT:
                self._pause_s = about
                stage.agents[-1].die()
            case Deed.TAKE_OVER:
                if stage.agents[-1].ended.is_set():
                    stage.recording.absences.append((self._gone_since_ms, world.now_ms()))
                stage.start_agent()
            case Deed.KILL_MACHINE:
                for machine in self._living()[:1]:
                    world.kill(machine.id, about)
            case Deed.REPRICE:
                for machine in self._living():
                    world.reprice(machine.id, machine.price_usd(world.now_ms()) * Decimal(str(about)))
            case Deed.LIST_PRICES:
                for name in stage.providers:
                    catalogue = world.catalogues[name]
                    for kind in catalogue.types.values():
                        catalogue.set_price(kind.name, round(kind.usd_per_hour * Decimal(str(about)), 2))
            case Deed.END_LOST:
                for label, guest in self._guests.items():
                    if label.startswith(LABEL) and _is_seen(world, guest.id):  # nobody can wish for what is not seen
                        stage.desk.request_termination(guest)

    def _living(self) -> list[SimMachine]:
        """Return our own machines that exist now, oldest first."""
        now_ms = self._stage.world.now_ms()
        found = self._stage.world.machines.values()
        return [m for m in found if m.is_alive(now_ms) and m.label.startswith(LABEL) and m.label not in self._guests]

    def _set(self, knobs: Mapping[str, Any]) -> None:
        self._stage.world.faults.apply(knobs)

    def _note(self, what: str) -> None:
        self._stage.recording.note("plan", what)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take note of an exception that nobody waited for, unless it is how a killed agent's task ended."""
        error = context.get("exception")
        if not isinstance(error, Killed):
            self._outcome.violations.append(f"unheard: {context.get('message')} ({type(error).__name__}: {error})")

    def _is_over(self) -> bool:
        store = self._stage.desk.store
        return not count_alive_jobs(store) and not load_open_terminations(store)


def _is_seen(world: World, machine_id: str) -> bool:
    """Say whether a provider's list shows a machine now."""
    return world.listed_life(world.machines[machine_id]) is not None and world.is_readable(world.machines[machine_id])


@contextlib.contextmanager
def _quick_disk() -> Iterator[None]:
    """Hours of heartbeats in a second would spend it all on flushing a disk."""
    before, db.SYNCHRONOUS = db.SYNCHRONOUS, "OFF"
    try:
        yield
    finally:
        db.SYNCHRONOUS = before


@contextlib.contextmanager
def _overheard() -> Iterator[list[logging.LogRecord]]:
    """Keep what the product logs from the terminal, for the checks."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    logger = logging.getLogger("gputui")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
