"""The simulated providers as one ASGI app, in-process or over loopback.

Provider NAME lives under `/NAME`, the world's own truth and fault knobs under `/_sim`.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gputui.model.clock import Clock
from gputui.model.errors import NotFoundError
from gputui.sim.fleet import SshFleet
from gputui.sim.gate import ProviderApp
from gputui.sim.huddle import app as huddle
from gputui.sim.lambda_ import app as lambda_
from gputui.sim.loopback import listen, serve_until_stopped
from gputui.sim.runpod import app as runpod
from gputui.sim.tensordock import app as tensordock
from gputui.sim.transport import asgi_transport
from gputui.sim.truth import TruthApp
from gputui.sim.vastai import app as vastai
from gputui.sim.world import World

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PROVIDER_APPS", "ProviderSim", "asgi_transport", "build_app", "env_lines", "serve"]


@dataclass(frozen=True, slots=True)
class ProviderSim:
    """A provider's simulator: `build(world, mount_path)` makes its app, `api_path` is what follows the mount path."""

    build: Callable[[World, str], ProviderApp]
    api_path: str


PROVIDER_APPS: Mapping[str, ProviderSim] = {
    "huddle": ProviderSim(huddle.build, huddle.API_PATH),
    "runpod": ProviderSim(runpod.build, runpod.API_PATH),
    "lambda": ProviderSim(lambda_.build, lambda_.API_PATH),
    "vastai": ProviderSim(vastai.build, vastai.API_PATH),
    "tensordock": ProviderSim(tensordock.build, tensordock.API_PATH),
}


def build_app(world: World, providers: Sequence[str]) -> ASGIApp:
    """Return one app with every named provider under `/<name>` and the truth under `/_sim`. Raises NotFoundError."""
    apps: dict[str, ASGIApp] = {name: _sim_of(name).build(world, f"/{name}") for name in providers}
    apps["_sim"] = TruthApp(world)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse

        first = scope.get("path", "/").split("/")[1]
        app = apps.get(first) or JSONResponse({"error": f"nothing here; there are {', '.join(apps)}"}, 404)
        await app(scope, receive, send)

    return dispatch


def env_lines(name: str, port: int) -> list[str]:
    """Return shell lines that point the client of a provider at the simulator on a port. Raises NotFoundError."""
    url = f"http://127.0.0.1:{port}/{name}{_sim_of(name).api_path}"
    variable = f"GPUTUI_{name.upper()}"
    return [f"export {variable}_URL={url}", f"export {variable}_API_KEY=sim-demo"]


async def serve(
    names: Sequence[str],
    *,
    clock: Clock,
    port: int,
    seed: int = 0,
    boot_s: float = 3.0,
    faults: Mapping[str, Any] | None = None,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve providers over loopback, with a real SSH server for every machine, until SIGINT, SIGTERM or cancellation.

    `clock` must be the real one; `port` 0 takes a free one; `on_ready` is told the port once it listens. On the way out
    every SSH server is closed, what ran on the machines is killed and their disks are removed. Raises UsageError when the
    port cannot be had, NotFoundError for a provider without a simulator, ValueError for a knob that cannot be set so.
    """
    world = World(clock, seed, boot_s)
    app = build_app(world, names)
    world.faults.apply(faults or {})
    listener = listen(port)
    actual_port = int(listener.getsockname()[1])
    with (
        contextlib.closing(listener),
        tempfile.TemporaryDirectory(prefix="gputui-sim-", ignore_cleanup_errors=True) as root,
    ):
        fleet = SshFleet(world, Path(root))
        keeping = asyncio.create_task(fleet.run())
        try:
            await serve_until_stopped(app, listener, background=keeping, on_ready=lambda: on_ready(actual_port))
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            await fleet.close()


def _sim_of(name: str) -> ProviderSim:
    try:
        return PROVIDER_APPS[name]
    except KeyError:
        raise NotFoundError(
            f"There is no simulator of {name!r}.", hint=f"There are: {', '.join(PROVIDER_APPS)}."
        ) from None
