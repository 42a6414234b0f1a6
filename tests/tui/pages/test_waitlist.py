"""The waitlist: what is waited for, joining from an offer, leaving."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gputui.model.errors import Transient
from gputui.model.types import WaitlistEntry
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.pick import PickScreen
from gputui.tui.screens.waitlist import WaitlistScreen
from gputui.tui.widgets.row_list import RowList


def entries(now_ms: int) -> list[WaitlistEntry]:
    day_ms = 86_400_000
    return [
        WaitlistEntry("w-1", "huddle", "8x H100 SXM5", "waiting", "FIN-01", False, now_ms - 2 * day_ms),
        WaitlistEntry("w-2", "huddle", "V100 16GB", "notified", None, True, now_ms - 9 * day_ms),
        WaitlistEntry("w-3", "huddle", "B200", "waiting", "FIN-03", None, None),
    ]


@pytest.fixture
def stage(make_stage: Any, kit: SimpleNamespace) -> Any:
    made = make_stage()
    made.clouds["huddle"].waitlist = entries(kit.NOW_MS)
    return made


async def test_what_is_waited_for_is_listed_and_who_orders_by_itself_is_told_in_red(
    stage: Any, play: SimpleNamespace
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0")
        assert list(app.screen.query_one("#list", RowList).keys) == ["huddle w-1", "huddle w-2", "huddle w-3"]
        assert "you are told" in play.line_of(pilot, "huddle w-1")
        assert "▲ ordered and billed" in play.line_of(pilot, "huddle w-2")
        assert "any" in play.line_of(pilot, "huddle w-2")


async def test_joining_from_what_is_sold_out(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0", "n")
        assert isinstance(app.screen, PickScreen)
        await play.press(pilot, "G", "enter")  # 8 × H100-SXM, the dearest
        assert isinstance(app.screen, PickScreen)
        await play.press(pilot, "down", "enter")
        assert "join_waitlist H100-SXM None" in stage.clouds["huddle"].calls
        assert len(app.screen.query_one("#list", RowList).keys) == 4
        assert "Huddle will tell you when 8 × H100-SXM is back." in play.toasts(pilot)


async def test_joining_from_the_page_of_offers(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "2", "slash", *"v100", "enter", "W", "enter")
        assert isinstance(app.screen, WaitlistScreen)
        assert "join_waitlist V100-16GB FIN-01" in stage.clouds["huddle"].calls
        await play.press(pilot, "escape", "escape", "slash", *"t4", "enter", "W")
        assert play.toasts(pilot)[-1] == "Mock keeps no waitlist."


async def test_what_can_be_had_is_not_waited_for(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "2", "slash", *"b200", "enter", "W")
        assert play.toasts(pilot)[-1] == "1 × B200 can be had now; there is nothing to wait for."


async def test_leaving_asks_first(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0", "down", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        await play.press(pilot, "n")
        assert len(stage.clouds["huddle"].waitlist) == 3
        await play.press(pilot, "ctrl+d", "y")
        assert "leave_waitlist w-2" in stage.clouds["huddle"].calls
        assert app.screen.query_one("#list", RowList).key == "huddle w-3"


async def test_a_provider_that_fails_to_leave_is_told(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0")
        stage.clouds["huddle"].problem = Transient("huddle failed for a moment.", provider="huddle")
        await play.press(pilot, "ctrl+d", "y")
        assert "huddle failed for a moment." in play.toasts(pilot)[-1]
        assert "no answer from Huddle" in play.text_of(pilot, "#title")
        assert len(app.screen.query_one("#list", RowList).keys) == 3


async def test_without_a_key_it_says_which_provider_has_one(make_stage: Any, play: SimpleNamespace) -> None:
    app = make_stage(["runpod"]).app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0")
        assert "Nobody can be asked." in str(app.screen.query_one("#empty").render())


async def test_hostile_words_end_nothing(make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()
    evil = play.EVIL * 400
    stage.clouds["huddle"].waitlist = [WaitlistEntry(evil, "huddle", evil, evil, evil)]
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "0", "ctrl+d", "n", "r")
        assert isinstance(app.screen, WaitlistScreen)
        assert "[/]" in play.line_of(pilot, f"huddle {evil}")


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_full(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("0"))


def test_picture_empty(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(make_stage().app(), terminal_size=play.SIZE, run_before=play.pressing("0"))


def test_picture_error(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["huddle"].problem = Transient("huddle failed for a moment.", provider="huddle")
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("0"))


def test_picture_of_joining(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("0", "n"))
