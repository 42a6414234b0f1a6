"""Keys that are named in a sentence, on a button or on an empty page are the ones that are bound, the user's own too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from quiet import press
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from gputui.local.config import Config
from gputui.tui.app import GputuiApp
from gputui.tui.pages import PAGES
from gputui.tui.screens.base import BaseScreen
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.ways import key_of, with_keys
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)


def app_with(make_desk: Any, own: Mapping[str, str], **more: Any) -> GputuiApp:
    return GputuiApp(make_desk(config=Config(keys=own), **more))


def pages(kind: type[BaseScreen] = BaseScreen) -> Iterator[type[BaseScreen]]:
    for below in kind.__subclasses__():
        yield below
        yield from pages(below)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def nothing_on(pilot: Pilot[Any]) -> str:
    return str(pilot.app.screen.query_one("#empty", Static).content)


async def test_the_welcome_names_the_users_own_keys(make_desk: Any, kit: Any) -> None:
    app = app_with(make_desk, {"matrix.connect": "v", "matrix.demo": "ctrl+g"}, keys=())
    kit.fill_market(app.desk)
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot)
        lines = text_of(pilot, "#first-run").splitlines()
        assert [line.split("  ")[0].strip() for line in (text.strip() for text in lines[1:])] == ["v", "^g", "n"]
        assert len({line.index(word) for line, word in zip(lines[1:], ("Connect", "Try", "Run"), strict=True)}) == 1


@pytest.mark.parametrize(
    ("page", "keys", "said"),
    [
        ("jobs", {"jobs.new": "f7", "go.matrix": "f8"}, ["f7  describe one", "f8  compare prices first"]),
        ("billing", {"billing.before": "f7", "go.deploy": "f8"}, ["f7  the month before", "f8  describe a job"]),
    ],
)
async def test_an_empty_page_names_the_users_own_keys(make_desk: Any, page: str, keys: Any, said: list[str]) -> None:
    app = app_with(make_desk, keys, keys=())
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, next(found.key for found in PAGES if found.name == page))
        for words in said:
            assert words in nothing_on(pilot)


async def test_a_filter_names_the_users_own_keys(make_desk: Any, kit: Any) -> None:
    app = app_with(make_desk, {"list.clear-filter": "f7"})
    kit.fill_market(app.desk)
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "slash")
        assert app.screen.query_one("#filter", Input).placeholder.endswith("enter keeps it, f7 clears it")
        await press(pilot, "x", "y")
        assert "f7 clears the filter" in nothing_on(pilot)


async def test_buttons_name_the_users_own_keys(make_desk: Any) -> None:
    app = app_with(make_desk, {"confirm.yes": "f7", "confirm.no": "f8,ctrl+n"})
    async with app.run_test(size=SIZE) as pilot:
        await app.push_screen(ConfirmScreen(Question("Quit?", [], yes="Quit", no="Stay")))
        await press(pilot)
        assert [str(button.label) for button in app.screen.query(Button)] == ["Stay f8", "Quit f7"]


async def test_in_a_field_no_key_is_named_that_writes(make_desk: Any) -> None:
    app = app_with(make_desk, {"confirm.yes": "f7"})
    async with app.run_test(size=SIZE):
        assert key_of(app, "confirm.no") == "n"
        assert key_of(app, "confirm.no", in_field=True) == "esc"


async def test_help_names_only_keys_that_there_are(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE):
        for page in pages():
            assert not re.search(r"[{}]", with_keys(app, page.HELP)), page


async def test_help_names_the_users_own_keys(make_desk: Any) -> None:
    app = app_with(make_desk, {"jobs.log": "f7", "jobs.stop": "f8"})
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "4", "question_mark")
        said = " ".join(text_of(pilot, "#text").split())
        assert "Go to the log with enter or f7, back to the list with esc." in said
        assert "f8 asks before it stops anything" in said
