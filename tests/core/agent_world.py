"""A whole profile over the simulated world, for tests: desk, agent, providers, all in one process and under one clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gputui.core.desk import Desk
from gputui.core.reports import JobReport
from gputui.core.supervisor import Supervisor, crew_for
from gputui.local.config import AgentConfig, Config
from gputui.local.paths import Paths
from gputui.local.secrets import KeyFound, KeySource, Secrets
from gputui.model.errors import ShellError
from gputui.model.shell import Shell, ShellResult
from gputui.model.types import JobSpec
from gputui.sim.serve import PROVIDER_APPS, build_app
from gputui.sim.torture.stage import furnish
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World
from gputui.store.db import Store, open_store

# How an agent looks after scenes of an hour, in which seconds do not count.
UNHURRIED: dict[str, Any] = {"config": Config(agent=AgentConfig(poll_s=15.0)), "glance_s": 5.0}


class FixedKeys:
    """Every provider has the same obvious fake key, until another one is put in its place, or none (`missing`)."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.missing: set[str] = set()

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        if provider in self.missing:
            return None
        value = self.values.get(provider, "sim-test")
        return KeyFound(value=value, source=KeySource.ENVIRONMENT, where="test")


class WorldClock:
    """True time: the virtual loop's, and the time that this computer slept, in which its loop stood still."""

    def __init__(self) -> None:
        self._loop_clock = VirtualClock()
        self.slept_ms = 0

    def now_ms(self) -> int:
        return self._loop_clock.now_ms() + self.slept_ms


@dataclass
class WallClock:
    """The clock of this computer: right, as long as nobody moves it by `moved_ms`."""

    true: WorldClock
    moved_ms: int = 0

    def now_ms(self) -> int:
        return self.true.now_ms() + self.moved_ms


@dataclass
class BootTime:
    """What no change of the clock moves."""

    true: WorldClock
    boot_id: str | None = "boot-1"

    def now_ms(self) -> int:
        return self.true.now_ms()


class BreakingShell:
    """A shell whose connection breaks now and then, after the machine got the message and before the answer is here."""

    def __init__(self, inner: Shell, shop: AgentWorld) -> None:
        self._inner = inner
        self._shop = shop
        self._is_broken = False

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        await self._inner.put(path, content, mode=mode)
        self._maybe_break()

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        result = await self._inner.run(argv, timeout_s=timeout_s)
        self._maybe_break()
        return result

    async def close(self) -> None:
        await self._inner.close()

    def _maybe_break(self) -> None:
        self._shop.shell_calls += 1
        if self._shop.is_cut_off or self._is_broken or self._shop.shell_calls % self._shop.break_every == 0:
            self._is_broken = True
            raise ShellError("The connection broke (on purpose).")


@dataclass
class AgentWorld:
    """A desk, the world behind its providers, and switches for the agent."""

    desk: Desk
    world: World
    keys: FixedKeys
    clock: WallClock
    boot_time: BootTime
    open_store: Callable[[Path], Store] = open_store
    agent: asyncio.Task[None] | None = None
    idle_exit_s: float | None = None
    is_cut_off: bool = False
    shell_calls: int = 0
    glance_s: float = 1.0  # how often the agent looks for wishes
    break_every: int = 0  # every so many calls of a shell fail and break it; 0 for never

    async def open_shell(self, machine_id: str) -> Shell:
        if self.is_cut_off:
            raise ShellError("The line is down (on purpose).")
        shell = await self.world.open_shell(machine_id)
        return BreakingShell(shell, self) if self.break_every else shell

    def start_agent(self) -> None:
        """Start an agent with a store of its own, as another process would have."""
        store = self.open_store(self.desk.paths.database)
        crew = crew_for(self.desk, store, dict.fromkeys(PROVIDER_APPS, self.open_shell))
        supervisor = Supervisor(
            crew,
            pid=1,
            host="test",
            version="test",
            idle_exit_s=self.idle_exit_s,
            glance_s=self.glance_s,
            steady=self.boot_time,
        )

        async def run() -> None:
            try:
                await supervisor.run()
            finally:
                store.close()

        self.agent = asyncio.get_running_loop().create_task(run())

    async def kill_agent(self) -> None:
        """End the agent between two of its steps; nothing of it is left."""
        if self.agent is not None:
            self.agent.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.agent
            self.agent = None

    async def finished(self, job_id: str, *, within_s: float = 20_000) -> JobReport:
        """Wait in virtual time until a job is final."""
        async with asyncio.timeout(within_s):
            while True:
                report = self.desk.job(job_id)
                if report.job.status.is_final:
                    return report
                if self.agent is not None and self.agent.done():
                    self.agent.result()
                await asyncio.sleep(30)

    async def until_phase(self, job_id: str, phase: str, *, within_s: float = 5_000) -> None:
        """Wait in virtual time until a job's phase or status begins with a word."""
        seen_version = None
        async with asyncio.timeout(within_s):
            while True:
                version = self.desk.store.data_version()
                if version != seen_version:
                    seen_version = version
                    job = self.desk.job(job_id).job
                    if job.phase.startswith(phase) or job.status.value == phase:
                        return
                    assert not job.status.is_final, job
                await asyncio.sleep(0.05)

    def log_lines(self, job_id: str) -> list[str]:
        return self.desk.log_path(job_id).read_text().splitlines()

    async def use_key(self, provider: str, key: str) -> None:
        """Put another key in the place of a provider's, as `auth login` does."""
        self.keys.values[provider] = key
        await self.desk.accounts.forget([provider])

    def submit(self, **changes: object) -> str:
        values: dict[str, object] = {
            "gpu": "H100",
            "image": "pytorch/pytorch:latest",
            "command": "python train.py",
            "provider": "huddle",
        }
        return self.desk.submit(JobSpec(**{**values, **changes})).id  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def agent_world(
    folder: Path, *, seed: int = 1, config: Config | None = None, start: bool = True, glance_s: float = 1.0
) -> AsyncIterator[AgentWorld]:
    """Open a profile in `folder` over a fresh world. Use inside `run_virtual`."""
    paths = Paths(profile="test", config_dir=folder / "c", state_dir=folder / "s", data_dir=folder / "d")
    furnish(paths)
    true_time, keys = WorldClock(), FixedKeys()
    clock = WallClock(true_time)
    world = World(true_time, seed)
    config = config or Config(agent=AgentConfig(poll_s=5.0))
    desk = Desk.assemble(
        paths,
        config,
        secrets=Secrets(paths, environ={}),
        keys=keys,
        clock=clock,
        environ={
            f"GPUTUI_{name.upper()}_URL": f"http://sim/{name}{sim.api_path}" for name, sim in PROVIDER_APPS.items()
        },
        transports=dict.fromkeys(PROVIDER_APPS, asgi_transport(build_app(world, list(PROVIDER_APPS)))),
        agent_is_here=True,
    )
    world.faults.set(offers=300)  # of Vast.ai's thousands, for speed
    shop = AgentWorld(desk, world, keys, clock, BootTime(true_time), glance_s=glance_s)
    if start:
        shop.start_agent()
    try:
        yield shop
    finally:
        await shop.kill_agent()
        await desk.aclose()
        desk.close()
