"""Terminals with few colours, or users who want none: what colour tells elsewhere can still be told apart."""

from __future__ import annotations

from typing import Any

import pytest
from rich.color import Color, ColorSystem
from rich.style import Style

from gputui.cli.ui import open_demo, open_tui
from gputui.local.config import Config, UiConfig
from gputui.model.errors import UsageError
from gputui.tui.app import GputuiApp
from gputui.tui.colourless import without_colour
from gputui.tui.pages import PAGES
from gputui.tui.sixteen import of_sixteen
from gputui.tui.themes import load_themes, shipped_folder
from gputui.tui.thin_output import _look

SIZE = (120, 36)
THEMES = {name: theme for name, theme in load_themes([shipped_folder()])[0].items() if not theme.ansi}


def _styles_on_screen(app: GputuiApp) -> list[Style]:
    strips = app.screen._compositor.render_strips()
    return [style for strip in strips for _, style, _ in strip if style is not None]


@pytest.mark.parametrize("theme", ["gputui-dark", "gputui-light", "terminal"])
async def test_with_no_color_none_is_sent_from_any_page(make_desk: Any, kit: Any, monkeypatch: Any, theme: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    desk = make_desk(config=Config(ui=UiConfig(theme=theme)))
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE) as pilot:
        for page in PAGES:
            app.action_go(page.name)
            await pilot.pause()
            styles = _styles_on_screen(app)
            assert styles
            for style in styles:
                assert style.color is None or style.color.is_default
                assert style.bgcolor is None or style.bgcolor.is_default
        app.action_go("matrix")
        await pilot.pause()
        assert any(style.reverse for style in _styles_on_screen(app))  # the cell under the cursor


async def test_an_empty_no_color_is_none(make_desk: Any, kit: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    desk = make_desk()
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE):
        greys = [style.color.get_truecolor() for style in _styles_on_screen(app) if style.color is not None]
        assert any(len({colour.red, colour.green, colour.blue}) > 1 for colour in greys)


@pytest.mark.parametrize("name", THEMES)
def test_without_colour_what_is_marked_is_reversed_and_what_is_faint_is_dim(name: str) -> None:
    theme = THEMES[name]

    def plain(text: str, under: str) -> tuple[bool | None, bool | None]:
        style = without_colour(Style(color=text, bgcolor=under), is_dark=theme.dark)
        return style.reverse, style.dim

    colours, base = theme.variables, str(theme.background)
    assert plain(colours["cell-cursor-text"], colours["cell-cursor"]) == (True, False)
    assert plain(str(theme.foreground), base) == (False, False)
    assert plain(str(theme.foreground), str(theme.panel)) == (False, False)
    assert plain(colours["muted"], base) == (False, False)
    if name != "gputui-contrast":  # where nothing is faint
        assert plain(colours["faint"], base) == (False, True)


@pytest.mark.parametrize("name", THEMES)
def test_in_sixteen_colours_states_differ_and_nothing_vanishes(name: str) -> None:
    theme = THEMES[name]

    def number(colour: str, *, is_background: bool = False) -> int | None:
        return of_sixteen(Color.parse(colour), is_background=is_background).number

    under = number(str(theme.background), is_background=True)
    text = [
        number(theme.variables[word]) for word in ("muted", "state-running", "state-waiting", "state-failed", "best")
    ]
    assert len(set(text)) == len(text)
    seen = [*text, number(theme.variables["faint"]), number(theme.variables["rule"]), number(str(theme.foreground))]
    assert under not in seen
    cursor = number(theme.variables["cell-cursor"], is_background=True)
    assert cursor not in (under, number(theme.variables["cell-cursor-text"]))
    alert = number(theme.variables["alert"], is_background=True)
    assert alert != number(theme.variables["alert-text"])


def test_the_terminals_own_colours_stay() -> None:
    for colour in (Color.default(), Color.from_ansi(3), Color.from_ansi(12)):
        assert of_sixteen(colour) is colour
        assert of_sixteen(colour, is_background=True) is colour


def test_green_is_sent_as_green() -> None:
    style = Style(color="#7cc98a", bgcolor="#11151a")
    assert _look(style, ColorSystem.STANDARD)[1:] == ("92", "40")
    assert _look(style, ColorSystem.TRUECOLOR)[1] == "38;2;124;201;138"


@pytest.mark.parametrize("is_demo", [True, False])
def test_a_terminal_without_a_cursor_is_told(monkeypatch: pytest.MonkeyPatch, is_demo: bool) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(UsageError, match="TERM=dumb"):
        open_demo() if is_demo else open_tui(None)
