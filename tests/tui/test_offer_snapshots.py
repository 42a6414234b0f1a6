"""Pictures of the offers screen in its states, and of the lists to choose from. The clock stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.local.config import Config, ProviderConfig, UiConfig
from gputui.tui.app import GputuiApp

WIDE, SMALL = (120, 36), (80, 24)
NO_MOCK = {"mock": ProviderConfig(enabled=False)}
Snap = Callable[..., bool]
Before = Callable[[Pilot[Any]], Awaitable[None]]


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def on_offers(*keys: str, filtered: str = "") -> Before:
    """Go to the offers, put a filter in, press keys."""

    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        if filtered:
            pilot.app.screen.query_one("#filter", Input).value = filtered
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        await settle(pilot)

    return run


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
@pytest.mark.parametrize("theme", ["gputui-dark", "gputui-light"], ids=["dark", "light"])
def test_offers_full(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, size: tuple[int, int], theme: str
) -> None:
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=size, run_before=on_offers("down", "down", "space", "down"))


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_offers_with_details(snap_compare: Snap, app: GputuiApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=on_offers("d", "down", filtered="gpu:h100"))


@pytest.mark.parametrize("theme", ["gputui-contrast", "terminal"])
def test_offers_in_other_themes(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, theme: str) -> None:
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=on_offers("d"))


def test_offers_wide_columns_on_a_small_screen(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=on_offers("w", "l", "l"))


def test_offers_with_a_mistake_in_the_filter(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=on_offers("slash", *" vrm>", filtered="gpu:h100"))


def test_offers_empty_after_a_filter(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=on_offers(filtered="gpu:h100 $<1"))


def test_offers_error(snap_compare: Snap, make_desk: Any) -> None:
    desk = make_desk(config=Config(providers=NO_MOCK))
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=on_offers())


def test_offers_loading(snap_compare: Snap, make_desk: Any) -> None:
    asked = asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def until_asked(pilot: Pilot[Any]) -> None:
        await asyncio.wait_for(asked.wait(), 60)
        await pilot.press("2")
        await pilot.pause()

    desk = make_desk(config=Config(providers=NO_MOCK), handler=never)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=until_asked)


def test_offers_of_old_prices_are_dim(snap_compare: Snap, make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(config=Config(providers=NO_MOCK), handler=lambda request: httpx.Response(503, text="away"))
    kit.fill_market(desk, age_ms=20 * kit.MINUTE_MS)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=on_offers())


def test_choosing_an_order(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=on_offers("o", "down"))


def test_choosing_a_theme(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=on_offers("T"))


def test_help_of_the_offers(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=on_offers("question_mark"))


def test_offers_in_ascii_without_colour(
    snap_compare: Snap, make_desk: Any, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    desk = make_desk(config=Config(ui=UiConfig(ascii=True)))
    kit.fill_market(desk)
    assert snap_compare(GputuiApp(desk), terminal_size=WIDE, run_before=on_offers("d", "space"))
