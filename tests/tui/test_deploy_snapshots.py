"""Pictures of the deploy form, its templates and the matrix in states that others leave out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from gputui.core.desk import Desk
from gputui.core.templates import save_template
from gputui.local.config import Config, UiConfig
from gputui.model.errors import Unreachable
from gputui.model.types import JobSpec, OsImage
from gputui.providers.huddle.client import HuddleClient
from gputui.tui.app import GputuiApp
from gputui.tui.widgets.form import DeployForm

WIDE, SMALL = (120, 36), (80, 24)
Snap = Callable[..., bool]
Before = Callable[[Pilot[Any]], Awaitable[None]]
FULL = {
    "gpu": "H100",
    "image": "pytorch/pytorch:latest",
    "command": "python train.py --epochs 3",
    "env": "HF_TOKEN=fake-token\nWANDB_MODE=offline",
    "max_duration": "4h",
    "max_price": "2.40",
    "idle_stop": "30m",
}


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def filling(*keys: str, **values: str) -> Before:
    """Fill the form, then press keys."""

    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        pilot.app.screen.query_one(DeployForm).fill({**FULL, **values})
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await settle(pilot)

    return run


def pressing(*keys: str) -> Before:
    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await settle(pilot)

    return run


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    async def images(self: HuddleClient, offer: object = None) -> list[OsImage]:
        return [OsImage("huddle", "ubuntu-22.04-cuda", "Ubuntu 22.04 with CUDA", is_default=True)]

    monkeypatch.setattr(HuddleClient, "list_os_images", images)


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize("theme", ["gputui-dark", "gputui-light"], ids=["dark", "light"])
def test_every_field_filled(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, size: tuple[int, int], theme: str
) -> None:
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=size, run_before=filling("pagedown", provider="huddle"))


def test_a_machine_to_log_in_to(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=filling(kind="machine"))


def test_images_that_cannot_be_had(snap_compare: Snap, app: GputuiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def images(self: HuddleClient, offer: object = None) -> list[OsImage]:
        raise Unreachable("Huddle does not answer.", provider="huddle")

    monkeypatch.setattr(HuddleClient, "list_os_images", images)
    assert snap_compare(app, terminal_size=WIDE, run_before=filling("pagedown", "pagedown", "down", provider="huddle"))


@pytest.mark.parametrize("ascii_only", [False, True], ids=["no-color", "ascii"])
def test_the_form_in_plain_terminals(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, ascii_only: bool
) -> None:
    if not ascii_only:
        monkeypatch.setenv("NO_COLOR", "1")
    desk = make_desk(config=Config(ui=UiConfig(ascii=ascii_only)))
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=filling(max_price="cheap"))


def test_the_list_of_a_choice(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=filling("pagedown", "down", "space"))


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_the_review_of_everything(snap_compare: Snap, app: GputuiApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=filling("ctrl+r", provider="huddle"))


def test_saving_a_template(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=filling("ctrl+s", *"train"))


def test_the_list_of_templates(snap_compare: Snap, app: GputuiApp, desk: Desk) -> None:
    for name, command in (("train", "python train.py --epochs 3"), ("eval", "[/]\x1b[2J")):
        spec = JobSpec(gpu="H100", gpu_count=8, command=command, max_duration_s=4 * 3600)
        save_template(desk.paths.templates_file, name, spec)
    assert snap_compare(app, terminal_size=SMALL, run_before=filling("ctrl+t"))


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_a_matrix_with_a_history(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, size: tuple[int, int]
) -> None:
    desk = make_desk()
    kit.fill_history(desk)
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=size, run_before=pressing("down", "down"))


def test_the_first_run_in_a_small_terminal(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(keys=())
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=SMALL, run_before=pressing())
