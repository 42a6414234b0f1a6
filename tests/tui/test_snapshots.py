"""Pictures of every screen in its states. The theme is the shipped one, the clock stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from textual.pilot import Pilot

from gputui.core.desk import Desk
from gputui.local.config import Config, ProviderConfig, UiConfig
from gputui.tui.app import GputuiApp
from gputui.tui.screens.deploy import DeployScreen

WIDE, SMALL = (120, 36), (80, 24)
NO_MOCK = {"mock": ProviderConfig(enabled=False)}
Snap = Callable[..., bool]
Before = Callable[[Pilot[Any]], Awaitable[None]]


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def pressing(*keys: str) -> Before:
    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await settle(pilot)

    return run


def filling_the_form(*keys: str) -> Before:
    """Describe a job, then press keys."""

    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, DeployScreen)
        values = {"gpu": "H100", "image": "pytorch/pytorch:latest", "command": "python train.py", "max_duration": "4h"}
        screen._form.fill(values)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await settle(pilot)

    return run


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize("theme", ["gputui-dark", "gputui-light"], ids=["dark", "light"])
def test_matrix_full(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, size: tuple[int, int], theme: str
) -> None:
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=size, run_before=pressing("down", "down"))


def test_matrix_of_old_prices_is_dim(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, text="upstream is away")

    desk = make_desk(config=Config(providers=NO_MOCK), handler=fails)
    kit.fill_market(desk, age_ms=20 * kit.MINUTE_MS)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing())


def test_matrix_on_the_first_run(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(keys=())
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing())


def test_matrix_empty_after_a_filter(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("slash", "x", "y"))


def test_matrix_error(snap_compare: Snap, make_desk: Any) -> None:
    desk = make_desk(config=Config(providers=NO_MOCK))
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing())


def test_matrix_loading(snap_compare: Snap, make_desk: Any) -> None:
    asked = asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def until_asked(pilot: Pilot[Any]) -> None:
        await asyncio.wait_for(asked.wait(), 60)
        await pilot.pause()

    desk = make_desk(config=Config(providers=NO_MOCK), handler=never)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=until_asked)


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_deploy_full(snap_compare: Snap, app: GputuiApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=filling_the_form())


def test_deploy_empty(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("3"))


def test_deploy_error(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("3", *"H1000", "tab", "0", "x", "pagedown"))


def test_deploy_when_nothing_fits(snap_compare: Snap, app: GputuiApp) -> None:
    async def run(pilot: Pilot[Any]) -> None:
        await filling_the_form()(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, DeployScreen)
        screen._form.fill({"max_price": "1.00"})
        await settle(pilot)

    assert snap_compare(app, terminal_size=WIDE, run_before=run)


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_review_full(snap_compare: Snap, app: GputuiApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=filling_the_form("ctrl+r"))


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize("theme", ["gputui-dark", "gputui-light"], ids=["dark", "light"])
def test_jobs_full(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, size: tuple[int, int], theme: str) -> None:
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    kit.write_log(desk, kit.fill_jobs(desk)[-1])
    assert snap_compare(GputuiApp(desk), terminal_size=size, run_before=pressing("4"))


def test_jobs_empty(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing("4"))


def test_jobs_with_a_failed_one(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "G"))


def test_jobs_starting_without_a_log(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "j"))


def test_jobs_events(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "e"))


def test_log_zoomed(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "z"))


def test_stop_question(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "x"))


def test_help(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("4", "question_mark"))


def test_unguarded_jobs_are_told_in_red(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Desk, "guard", lambda self: None)
    desk = make_desk(agent_is_here=False)
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing())


def test_plain_ascii(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(config=Config(ui=UiConfig(ascii=True)))
    kit.fill_market(desk)
    kit.write_log(desk, kit.fill_jobs(desk)[-1])
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing("4"))


def test_no_color(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    desk = make_desk()
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=pressing())
