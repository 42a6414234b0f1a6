"""A whole profile over the simulated world: desk, agents and providers in one process, under one virtual clock."""

from __future__ import annotations

import contextlib
import functools
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx

from gputui.core.accounts import Accounts
from gputui.core.crew import Crew
from gputui.core.desk import Desk
from gputui.local.config import Config
from gputui.local.paths import Paths
from gputui.local.secrets import KeyFound, KeySource, Secrets
from gputui.local.ssh import ensure_key_pair
from gputui.model.errors import ShellError
from gputui.model.ids import Ids
from gputui.model.shell import Shell
from gputui.model.types import JobSpec
from gputui.sim.serve import PROVIDER_APPS, build_app
from gputui.sim.torture.agent import Agent, Crash, Leash, LeashedShell, LeashedTransport, WatchedStore, logs_on_a_leash
from gputui.sim.torture.recording import Recording, ToldFaults
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock
from gputui.sim.world import World
from gputui.store.db import open_store

PROFILE = "torture"
SECRET = "sim-torture-key-5eed"  # noqa: S105
"""The key of every provider: an obvious fake, looked for in everything that is written down."""


VASTAI_OFFERS = 60  # enough for some of the GPUs there are most of, few enough to be quick


class FixedKeys:
    """Every provider has the same key."""

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        return KeyFound(value=SECRET, source=KeySource.ENVIRONMENT, where="the simulation")


class HostClock:
    """The clock of the machine that the product runs on: the world's own, and wrong by `offset_ms`."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self._true = VirtualClock()

    def now_ms(self) -> int:
        return self._true.now_ms() + self.offset_ms


class BootTime:
    """The clock of that machine that nobody can set."""

    boot_id = "boot-1"

    def __init__(self) -> None:
        self._true = VirtualClock()

    def now_ms(self) -> int:
        return self._true.now_ms()


class Line:
    """The network between the host and its machines' shells."""

    def __init__(self) -> None:
        self.is_cut = False
        self.break_every = 0  # every so many calls of a shell fail and break it; 0 for never
        self._calls = 0

    def check(self) -> None:
        """Raise ShellError when nothing comes back now."""
        self._calls += 1
        if self.is_cut or (self.break_every and self._calls % self.break_every == 0):
            raise ShellError("The connection broke (on purpose).")


class Stage:
    """The world, a desk for the person, and the agents that come and go. Use inside `run_virtual`."""

    def __init__(
        self, folder: Path, *, seed: int, providers: Sequence[str], config: Config, boot_s: float, glance_s: float
    ) -> None:
        self.providers = tuple(providers)
        self.glance_s = glance_s
        self.clock = HostClock()
        self.line = Line()
        self.agents: list[Agent] = []
        self.survivors: list[str] = []  # those that had to be killed in the end
        self.world = World(VirtualClock(), seed, boot_s)
        self.recording = Recording(self.world.now_ms)
        self.world.faults = ToldFaults(seed, self.recording)
        self._random = random.Random(f"stage:{seed}")
        self._transport = asgi_transport(build_app(self.world, self.providers))
        if "vastai" in self.providers:
            self.world.faults.set(offers=VASTAI_OFFERS)
        if "runpod" in self.providers:
            # A pod whose host is gone and that is said to run cannot be told from one whose job prints nothing.
            self.world.faults.set(runpod_offline_shows="exited")
        self._environ = {
            f"GPUTUI_{name.upper()}_URL": f"http://sim/{name}{PROVIDER_APPS[name].api_path}" for name in self.providers
        }
        paths = Paths(profile=PROFILE, config_dir=folder / "c", state_dir=folder / "s", data_dir=folder / "d")
        furnish(paths)
        self.desk = Desk.assemble(
            paths,
            config,
            secrets=Secrets(paths, environ={}),
            keys=FixedKeys(),
            clock=self.clock,
            environ=self._environ,
            transports=dict.fromkeys(self.providers, self._transport),
            agent_is_here=True,
        )
        self.desk.store = WatchedStore(self.desk.store, self.recording)
        self.desk.ids = Ids(self.clock, self._random.randbytes)

    def start_agent(self, crash: Crash | None = None) -> Agent:
        """Start an agent with everything of its own, as another process would have."""
        name = f"agent {len(self.agents) + 1}"
        leash = Leash(crash)
        crew = Crew(
            store=WatchedStore(open_store(self.desk.paths.database), self.recording, leash),
            accounts=self._accounts(LeashedTransport(self._transport, self.recording, name, leash)),
            clock=self.clock,
            ids=Ids(self.clock, self._random.randbytes),
            config=self.desk.config,
            paths=self.desk.paths,
            shell_openers=dict.fromkeys(self.providers, lambda machine_id: self._open_shell(machine_id, leash)),
        )
        agent = Agent(name, crew, leash, self.recording, glance_s=self.glance_s, steady=BootTime())
        self.agents.append(agent)
        return agent

    async def kill_agents(self) -> None:
        """End every agent between two of its steps; nothing of them is left."""
        self.survivors += [agent.name for agent in self.agents if not agent.ended.is_set()]
        for agent in self.agents:
            agent.die()
            await agent.ended.wait()

    def submit(self, spec: JobSpec) -> str:
        """Submit a job as a person does and return its id."""
        return self.desk.submit(spec).id

    async def _open_shell(self, machine_id: str, leash: Leash) -> Shell:
        leash.check()
        if self.line.is_cut:
            raise ShellError("The line is down (on purpose).")
        return LeashedShell(await self.world.open_shell(machine_id), leash, self.line.check)

    def _accounts(self, transport: httpx.AsyncBaseTransport) -> Accounts:
        return Accounts(
            config=self.desk.config,
            keys=FixedKeys(),
            clock=self.clock,
            state_dir=self.desk.paths.state_dir,
            environ=self._environ,
            transports=dict.fromkeys(self.providers, transport),
        )


@contextlib.asynccontextmanager
async def open_stage(
    folder: Path, *, seed: int, providers: Sequence[str], config: Config, boot_s: float = 3.0, glance_s: float = 1.0
) -> AsyncIterator[Stage]:
    """Open a profile in `folder` over a fresh world, with no agent yet."""
    with logs_on_a_leash():
        stage = Stage(folder, seed=seed, providers=providers, config=config, boot_s=boot_s, glance_s=glance_s)
        try:
            yield stage
        finally:
            await stage.kill_agents()
            await stage.desk.aclose()
            stage.desk.close()


def furnish(paths: Paths) -> None:
    """Make a new profile's folders, with copies of a database and a key pair that were made once."""
    paths.ensure()
    template = _template()
    for path in (paths.database, paths.ssh_dir / "id_ed25519"):
        path.write_bytes(template[path.name])
        path.chmod(0o600)


@functools.cache
def _template() -> dict[str, bytes]:
    """Return the files of a fresh profile whose making takes long: a database at the newest schema, a key pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_store(folder / "gputui.db").close()
        ensure_key_pair(folder, comment="")
        return {file: (folder / file).read_bytes() for file in ("gputui.db", "id_ed25519")}
