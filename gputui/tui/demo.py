"""`gputui demo`: the whole product on simulated clouds, in a folder that is removed at the end.

The agent runs inside this process, so quitting ends everything. It has a desk and a store of its own, as it has in its
own process in real life: the interface learns of its doings from the store alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gputui import __version__
from gputui.core.accounts import HandedKeys
from gputui.core.desk import Desk
from gputui.core.supervisor import Supervisor, crew_for
from gputui.local.clock import SystemClock
from gputui.local.config import Config, load_config
from gputui.local.paths import Paths, paths_for
from gputui.local.secrets import Secrets
from gputui.model.clock import Clock
from gputui.model.types import JobSpec
from gputui.sim.serve import PROVIDER_APPS, build_app
from gputui.sim.transport import asgi_transport
from gputui.sim.world import World
from gputui.tui.app import GputuiApp
from gputui.tui.terminal import run_in_terminal

PROFILE = "demo"
FAKE_KEY = "sim-demo"
FIRST_JOBS = (
    JobSpec(
        gpu="H100",
        image="pytorch/pytorch:latest",
        command="python train.py --epochs 3",
        name="finetune",
        env={"MOCK_DURATION_S": "5400"},
        provider="huddle",
        max_duration_s=7200,
    ),
    JobSpec(
        gpu="RTX-4090",
        image="vllm/vllm-openai:latest",
        command="python eval.py --suite mmlu",
        name="eval",
        provider="mock",
        max_duration_s=1800,
    ),
)


class DemoWorld:
    """Simulated clouds, a folder and as many desks on them as are asked for."""

    def __init__(self, root: Path, clock: Clock, *, seed: int = 7, boot_s: float = 3.0) -> None:
        self.world = World(clock, seed, boot_s)
        self._app = build_app(self.world, list(PROVIDER_APPS))
        self._clock = clock
        self.paths = Paths(PROFILE, root / "config", root / "state", root / "data")
        self.paths.ensure()

    def desk(self, config: Config | None = None) -> Desk:
        """Open a desk whose providers are the simulated ones, with a connection of its own to the demo's store."""
        environ = self._environ()
        return Desk.assemble(
            self.paths,
            config or Config(),
            secrets=Secrets(self.paths, environ=environ),
            keys=HandedKeys(dict.fromkeys(PROVIDER_APPS, FAKE_KEY)),
            clock=self._clock,
            environ=environ,
            transports=self._transports(),
            agent_is_here=True,
        )

    def supervisor(self, desk: Desk) -> Supervisor:
        """Return an agent for this world, working at a desk of its own."""
        crew = crew_for(desk, desk.store, shell_openers=dict.fromkeys(PROVIDER_APPS, self.world.open_shell))
        return Supervisor(crew, pid=os.getpid(), host=socket.gethostname(), version=__version__)

    def _environ(self) -> Mapping[str, str]:
        return {
            f"GPUTUI_{name.upper()}_URL": f"http://{name}.sim/{name}{sim.api_path}"
            for name, sim in PROVIDER_APPS.items()
        }

    def _transports(self) -> Mapping[str, Any]:
        return {name: asgi_transport(self._app) for name in PROVIDER_APPS}


def run(*, mouse: bool = True) -> int:
    """Open the interface on the demo until it is closed; returns the exit code. Raises ConfigError, UsageError."""
    with tempfile.TemporaryDirectory(prefix="gputui-demo-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        with _agent_log(root / "agent.log"):
            code = asyncio.run(_run(root, mouse=mouse))
    if not code:
        sys.stdout.write("The demo is over: its clouds and all that ran there are gone. Nothing was billed.\n")
    return code


async def _run(root: Path, *, mouse: bool) -> int:
    demo = DemoWorld(root, SystemClock())
    own = paths_for()
    # It looks as the user has set it up: who needs plain ASCII needs it here, too.
    view, agents = demo.desk(Config(ui=load_config(own).ui)), demo.desk()
    app = GputuiApp(view, demo=True)
    app.usual_env = {"MOCK_DURATION_S": "300"}  # long enough to look at, and to stop
    app.crash_dir = own.state_dir  # the demo's own folder is removed
    agent = asyncio.create_task(demo.supervisor(agents).run())
    opening = asyncio.create_task(_open_with_jobs(view))
    agent.add_done_callback(lambda task: _tell_agent_died(app, task))
    try:
        await run_in_terminal(app, mouse=mouse)
    finally:
        for task in (opening, agent):
            task.cancel()
        await asyncio.wait({opening, agent}, timeout=5)
        for desk in (view, agents):
            await desk.aclose()
            desk.close()
    return app.return_code or 0


async def _open_with_jobs(desk: Desk) -> None:
    """Submit the first jobs, so that there is something to look at."""
    await desk.refresh()
    for spec in FIRST_JOBS:
        desk.submit(spec)


def _tell_agent_died(app: GputuiApp, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and app.is_running:
        app.tell(error)


@contextlib.contextmanager
def _agent_log(path: Path) -> Any:
    """Send what the agent logs to a file: on the terminal it would paint over the interface."""
    logger = logging.getLogger("gputui")
    handler = logging.FileHandler(path)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
        handler.close()
