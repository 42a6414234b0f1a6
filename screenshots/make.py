"""Make the pictures of this folder: every screen in every shipped theme, on the simulated clouds.

Run from anywhere: `python screenshots/make.py`. An hour and more of simulated work passes first, under a virtual clock; then
time stands still and each screen is drawn. The same code draws the same pictures.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.core.desk import Desk
from gputui.local.config import Config, UiConfig
from gputui.model.ids import Ids
from gputui.model.types import JobSpec
from gputui.providers.pacing import FOLDER as PACING_FOLDER
from gputui.sim.vtime import VirtualClock, run_virtual
from gputui.tui.app import GputuiApp
from gputui.tui.demo import DemoWorld
from gputui.tui.widgets.form import DeployForm

FOLDER = Path(__file__).parent
SIZE = (120, 36)
THEMES = {"": "gputui-dark", "-light": "gputui-light"}
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
PNG_WIDTH = 960
USERS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFJLONYJBdR7lyuSb6PpD+00Efu1ZxHpVMAG2O8r8mfJ anna@jump-host\n"

Action = Callable[[Pilot[Any]], Awaitable[None]]


@dataclass(slots=True)
class StoppableClock:
    """Virtual time until `stopped_ms` is set, that moment ever after."""

    stopped_ms: int | None = None

    def now_ms(self) -> int:
        return VirtualClock().now_ms() if self.stopped_ms is None else self.stopped_ms


def _spec(gpu: str, provider: str, image: str, command: str, name: str, *, seconds: int, **more: Any) -> JobSpec:
    env = {"MOCK_DURATION_S": str(seconds), **more.pop("env", {})}
    return JobSpec(gpu=gpu, provider=provider, image=image, command=command, name=name, env=env, **more)


TORCH = "pytorch/pytorch:latest"
# Each with the minutes that pass after it was submitted.
HISTORY = (
    (_spec("RTX-4090", "mock", TORCH, "python eval.py --suite mmlu", "eval-7", seconds=840), 16),
    (_spec("L40S", "huddle", TORCH, "python prep.py", "prep-c4", seconds=400, env={"MOCK_EXIT_CODE": "1"}), 12),
    (
        _spec(
            "H100-SXM",
            "huddle",
            TORCH,
            "python train.py --epochs 3",
            "ft-run-0142",
            seconds=20_000,
            max_duration_s=14_400,
        ),
        72,
    ),
    (
        _spec(
            "H200", "mock", "vllm/vllm-openai:latest", "python serve.py", "sweep-a", seconds=600, max_duration_s=3600
        ),
        0,
    ),
)


async def _history(demo: DemoWorld) -> None:
    """Let the agent live through HISTORY, and stop right after the last job was taken up."""
    agents, view = demo.desk(), demo.desk()
    for desk, seed in ((agents, 1), (view, 2)):
        desk.ids = Ids(desk.clock, random.Random(seed).randbytes)
    agent = asyncio.create_task(demo.supervisor(agents).run())
    for spec, minutes in HISTORY:
        await view.refresh()
        view.submit(spec)
        await asyncio.sleep(60 * minutes + 1.2)
    await view.refresh()
    agent.cancel()
    await asyncio.wait({agent})
    for desk in (agents, view):
        await desk.aclose()
        desk.close()


async def _settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()


async def _matrix(pilot: Pilot[Any]) -> None:
    await pilot.press(*["down"] * 6, *["left"] * 4)  # H100-SXM at Huddle


async def _offers(pilot: Pilot[Any]) -> None:
    await pilot.press("2")
    await _settle(pilot)
    pilot.app.screen.query_one("#filter", Input).value = "gpu:h100 $<3 stock:high,low"
    await _settle(pilot)
    await pilot.press("down", "down", "d")


async def _deploy(pilot: Pilot[Any]) -> None:
    await pilot.press("3")
    await _settle(pilot)
    pilot.app.screen.query_one(DeployForm).fill(
        {
            "gpu": "H100",
            "image": TORCH,
            "command": "python train.py --epochs 3",
            "env": "WANDB_MODE=offline",
            "max_price": "2.50",
            "max_duration": "4h",
        }
    )


async def _review(pilot: Pilot[Any]) -> None:
    await _deploy(pilot)
    await _settle(pilot)
    await pilot.press("ctrl+r")


async def _jobs(pilot: Pilot[Any]) -> None:
    await pilot.press("4")
    await _settle(pilot)
    await pilot.press("down")


def _page(key: str) -> Action:
    async def go(pilot: Pilot[Any]) -> None:
        await pilot.press(key)
        await _settle(pilot)

    return go


SCREENS: dict[str, Action] = {
    "matrix": _matrix,
    "offers": _offers,
    "deploy": _deploy,
    "review": _review,
    "jobs": _jobs,
    "machines": _page("9"),
    "waitlist": _page("0"),
    "volumes": _page("5"),
    "ssh-keys": _page("6"),
    "billing": _page("7"),
    "providers": _page("8"),
}


async def _draw(desk: Desk, action: Action) -> str:
    app = GputuiApp(desk, demo=True)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await _settle(pilot)
        await action(pilot)
        await _settle(pilot)
        return _portable(app.export_screenshot())


def put_fake_key(ssh_dir: Path) -> None:
    """Give a profile the same SSH key in every run, known to everybody: its fingerprint is on a page."""
    key = Ed25519PrivateKey.from_private_bytes(b"fake key of the screenshots only")
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (ssh_dir / "id_ed25519").write_bytes(written)


def _portable(svg: str) -> str:
    """Return a picture that needs no font from the network and keeps its spaces in every viewer."""
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    svg = re.sub(r"font-family:\s*[^;]*;", f"font-family: {FONTS};", svg)
    svg = re.sub(r"terminal-\d+-", "t-", svg)
    return re.sub(r"\n\s*\n+", "\n", svg.replace("<text ", '<text xml:space="preserve" ')).strip() + "\n"


def _write_png(svg: Path) -> None:
    """Draw the PNG beside an SVG with rsvg-convert, else with CairoSVG."""
    png = svg.with_suffix(".png")
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-w", str(PNG_WIDTH), str(svg), "-o", str(png)], check=True)
    else:
        import cairosvg

        cairosvg.svg2png(url=str(svg), write_to=str(png), output_width=PNG_WIDTH)


def main() -> int:
    """Write every picture; returns the exit code."""
    for name in ("SSH_CONNECTION", "NO_COLOR"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="gputui-screenshots-") as folder:
        os.environ["HOME"] = folder  # nobody's own keys are in a picture
        users_key = Path(folder) / ".ssh" / "id_ed25519.pub"
        users_key.parent.mkdir()
        users_key.write_text(USERS_KEY)
        clock = StoppableClock()
        demo = DemoWorld(Path(folder), clock, boot_s=90)
        put_fake_key(demo.paths.ssh_dir)

        async def live_and_stop() -> None:
            await _history(demo)
            clock.stopped_ms = clock.now_ms() + 4_000
            demo.world.faults.set(interval_scale=0.0)  # nor would what Vast.ai lets through again in a moment

        run_virtual(live_and_stop())
        for suffix, theme in THEMES.items():
            for name, action in SCREENS.items():
                desk = demo.desk(Config(ui=UiConfig(theme=theme)))
                # Where time stands still, a share of the providers' request limits would never come back.
                shutil.rmtree(desk.paths.state_dir / PACING_FOLDER, ignore_errors=True)
                try:
                    svg = asyncio.run(_draw(desk, action))
                finally:
                    desk.close()
                path = FOLDER / f"{name}{suffix}.svg"
                path.write_text(svg, encoding="utf-8")
                _write_png(path)
                print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
