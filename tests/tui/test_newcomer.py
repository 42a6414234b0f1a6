"""What the screen tells somebody who has never seen it: keys in the footer, commands by their name, the way out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from quiet import press
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.core.desk import Desk
from gputui.tui.app import GputuiApp
from gputui.tui.pages import PAGES
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.screens.offers import OffersScreen
from gputui.tui.widgets.frame import FrameFooter
from gputui.tui.widgets.log_view import LogView
from gputui.tui.widgets.offer_table import OfferTable
from gputui.tui.widgets.painted import Painted

SIZE, SMALL = (120, 36), (80, 24)


@pytest.fixture
def app(desk: Desk) -> GputuiApp:
    return GputuiApp(desk)


def footer(pilot: Pilot[Any]) -> str:
    return pilot.app.screen.query_one(FrameFooter).render().plain


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


# The footer


async def test_the_footer_names_the_keys_of_the_pages_and_the_one_that_quits(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot)
        assert footer(pilot).endswith("0-9 pages   : command   ? help   ^q quit")
        assert " enter offers " in footer(pilot)


async def test_where_it_is_narrow_the_keys_of_the_page_come_before_those(app: GputuiApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "4")
        assert "pages" not in footer(pilot)
        assert footer(pilot).endswith(": command   ? help")
        assert len(footer(pilot)) == 79


async def test_no_key_of_the_page_is_named_while_a_window_is_over_it(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot)
        of_page = app.screen.query_one(FrameFooter)
        for opens, closes in (("ctrl+q", "n"), ("T", "escape"), ("colon", "escape")):
            await press(pilot, opens)
            assert of_page.render().plain == ""
            assert of_page.render_line(0).text.strip() == ""  # it was painted again
            await press(pilot, closes)
            assert " enter offers " in of_page.render_line(0).text


async def test_in_a_field_only_keys_are_named_that_work_there(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "3")
        assert isinstance(app.focused, Input)
        assert "esc back" in footer(pilot)
        assert footer(pilot).endswith("^p command   f1 help   ^q quit")
        assert "pages" not in footer(pilot)
        await press(pilot, "escape")
        assert isinstance(app.screen, MatrixScreen)


@pytest.mark.parametrize("page", ["1", "2"])
async def test_a_filter_says_how_it_is_kept_and_cleared(app: GputuiApp, page: str) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, page)
        assert "esc clear" not in footer(pilot)
        await press(pilot, "slash", *"h100")
        assert footer(pilot).startswith(" enter keep   esc clear")
        await press(pilot, "enter")
        assert "esc clear" in footer(pilot)
        await press(pilot, "escape")
        assert app.screen.query_one("#filter", Input).value == ""
        assert "esc clear" not in footer(pilot)


async def test_the_next_match_is_named_only_while_a_word_is_looked_for(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "4")
        assert "l log" in footer(pilot)
        await press(pilot, "l")
        assert isinstance(app.focused, LogView)
        assert "l log" not in footer(pilot)
        assert "n next" not in footer(pilot)
        await press(pilot, "slash", *"step", "enter")
        assert "n next   N before   esc back" in footer(pilot)
        await press(pilot, "escape")
        assert "n next" not in footer(pilot)


# The palette


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_palette_finds_every_page_by_its_name(app: GputuiApp, page: Any) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "ctrl+p")
        palette = app.screen
        assert isinstance(palette, CommandPalette)
        await press(pilot, *(key if key != " " else "space" for key in page.title.lower()))
        await press(pilot, "enter")
        await press(pilot)
        assert app.current_mode == page.name


async def test_keys_that_close_the_palette_twice_close_nothing_else(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "1", "enter")
        assert isinstance(app.screen, OffersScreen)
        await press(pilot, "ctrl+p")
        palette = app.screen
        assert isinstance(palette, CommandPalette)
        for _ in range(2):
            palette.dismiss()
        await press(pilot)
        assert isinstance(app.screen, OffersScreen)
        assert app.is_running


# The way out


async def test_q_quits_where_a_key_led_and_goes_back_where_a_page_did(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "9", "1", "enter")
        assert isinstance(app.screen, OffersScreen)
        await press(pilot, "q")
        assert isinstance(app.screen, MatrixScreen)
        await press(pilot, "4", "q")
        assert isinstance(app.screen, ConfirmScreen)
        await press(pilot, "n")
        assert isinstance(app.screen, JobsScreen)


# Finding the cheapest


async def test_what_a_filter_leaves_is_seen_from_its_first_row(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "2", "G", "slash", *"h100", "enter")
        table = app.screen.query_one(OfferTable)
        assert len(table.keys) > 3
        assert table.key == table.keys[0]


async def test_e_says_what_the_effective_price_is_for(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot)
        assert "effective for 1 h" in text_of(pilot, "#cell-body")
        before = text_of(pilot, "#cell-body").split()[2]
        await press(pilot, "e", "home", "enter")
        assert "effective for 10 min" in text_of(pilot, "#cell-body")
        # Huddle bills ten minutes at least, of which the start is a part.
        assert float(text_of(pilot, "#cell-body").split()[2]) > float(before)


async def test_at_80_columns_a_fact_stands_whole_or_not_at_all(desk: Desk, kit: SimpleNamespace) -> None:
    kit.fill_history(desk)
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot)
        first = text_of(pilot, "#cell-body").splitlines()[0]
        assert "list" in first
        assert "…" not in first
