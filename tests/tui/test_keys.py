"""The user's own keys, the pages, the themes to choose from, and help made from what the keys are."""

from __future__ import annotations

from typing import Any

from quiet import press
from textual.widgets import Input

from gputui.core.keymap import check_keymap
from gputui.local.config import Config, UiConfig
from gputui.tui import bindings
from gputui.tui.app import GputuiApp
from gputui.tui.pages import PAGES
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.screens.pick import PickScreen
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)


def toasts(app: GputuiApp) -> list[str]:
    return [str(toast.message) for toast in app._notifications]


async def test_own_keys_work_everywhere_they_are_shown(make_desk: Any, kit: Any) -> None:
    desk = make_desk(config=Config(keys={"list.filter": "f,f3", "go.jobs": "ctrl+g"}))
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "slash")
        field = app.screen.query_one("#filter", Input)
        assert not field.has_focus
        await press(pilot, "f3")
        assert field.has_focus
        await press(pilot, "escape", "f")
        assert field.has_focus
        await press(pilot, "escape", "question_mark")
        text = app.screen.query_one("#text", Painted).render().plain
        line = next(line for line in text.splitlines() if "list.filter" in line)
        assert line.split()[:2] == ["f", "f3"]
        await press(pilot, "escape", "ctrl+g")
        assert app.current_mode == "jobs"
        assert toasts(app) == []


async def test_what_is_wrong_with_own_keys_is_one_message_and_the_rest_works(make_desk: Any, kit: Any) -> None:
    keys = {"list.filter": "n", "review.deploy": "d", "go.jobz": "9", "list.refresh": "f9"}
    desk = make_desk(config=Config(keys=keys))
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot)
        [message] = toasts(app)
        assert len(message.splitlines()) == 3
        for part in ("list.filter: n already is", "review.deploy: this spends", "go.jobz: there is no such command"):
            assert part in message
        await press(pilot, "slash")
        assert app.screen.query_one("#filter", Input).has_focus


def test_our_own_keys_pass_the_check_of_own_keys() -> None:
    for place, keys in bindings.keys_by_place().items():
        wanted = {ident: written for ident, written in keys.items() if ident not in bindings.GUARDED}
        _, problems = check_keymap(wanted, {place: keys})
        assert problems == []


async def test_every_page_has_a_number_a_title_and_a_screen(app: GputuiApp) -> None:
    assert len({page.key for page in PAGES}) == len({page.name for page in PAGES}) == len(PAGES)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        for page in PAGES:
            await press(pilot, page.key)
            assert app.current_mode == page.name
            assert app.way_here() == [page.title]
            await press(pilot, "escape", "escape")


async def test_themes_are_seen_before_one_is_taken_and_it_is_remembered(make_desk: Any, kit: Any) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "T")
        assert isinstance(app.screen, PickScreen)
        await press(pilot, "down")
        assert app.theme == "gputui-light"
        await press(pilot, "escape")
        assert app.theme == "gputui-dark"
        await press(pilot, "T", "G", "enter")
        assert app.theme == "terminal"
        assert isinstance(app.screen, MatrixScreen)
    again = GputuiApp(make_desk())
    async with again.run_test(size=SIZE) as pilot:
        await press(pilot)
        assert again.theme == "terminal"
    other = GputuiApp(make_desk(config=Config(ui=UiConfig(theme="gputui-light"))))
    async with other.run_test(size=SIZE) as pilot:
        await press(pilot)
        assert other.theme == "gputui-light"


async def test_what_is_wrong_with_themes_is_one_message(make_desk: Any, kit: Any) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    desk.paths.themes_dir.mkdir(parents=True, exist_ok=True)
    (desk.paths.themes_dir / "one.toml").write_text('name = "[/x]"\ncolours = 1\n')
    (desk.paths.themes_dir / "two.toml").write_text("nonsense")
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot)
        [message] = toasts(app)
        assert [line.partition(":")[0] for line in message.splitlines()] == ["one.toml", "two.toml"]


async def test_the_palette_knows_every_page_and_every_key_of_this_one(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2", "colon", *"north europe")
        await press(pilot, "escape", "colon", *"choose what to order", "enter")
        await press(pilot)
        assert isinstance(app.screen, PickScreen)
