"""A whole profile over the simulated world, for tests: desk, agent, providers, all in one process and under one clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World
from gputui.store.db import open_store


class FixedKeys:
    """Every provider has the same obvious fake key."""

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        return KeyFound(value="sim-test", source=KeySource.ENVIRONMENT, where="test")


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
    agent: asyncio.Task[None] | None = None
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
        store = open_store(self.desk.paths.database)
        crew = crew_for(self.desk, store, dict.fromkeys(PROVIDER_APPS, self.open_shell))
        supervisor = Supervisor(crew, pid=1, host="test", version="test", glance_s=self.glance_s)

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
        async with asyncio.timeout(within_s):
            while True:
                job = self.desk.job(job_id).job
                if job.phase.startswith(phase) or job.status.value == phase:
                    return
                assert not job.status.is_final, job
                await asyncio.sleep(0.05)

    def log_lines(self, job_id: str) -> list[str]:
        return self.desk.log_path(job_id).read_text().splitlines()

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
    paths.ensure()
    clock = VirtualClock()
    world = World(clock, seed)
    config = config or Config(agent=AgentConfig(poll_s=5.0))
    desk = Desk.assemble(
        paths,
        config,
        secrets=Secrets(paths, environ={}),
        keys=FixedKeys(),
        clock=clock,
        environ={
            f"GPUTUI_{name.upper()}_URL": f"http://sim/{name}{sim.api_path}" for name, sim in PROVIDER_APPS.items()
        },
        transports=dict.fromkeys(PROVIDER_APPS, asgi_transport(build_app(world, list(PROVIDER_APPS)))),
        agent_is_here=True,
    )
    shop = AgentWorld(desk, world, glance_s=glance_s)
    if start:
        shop.start_agent()
    try:
        yield shop
    finally:
        await shop.kill_agent()
        await desk.aclose()
        desk.close()
