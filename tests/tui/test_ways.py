"""Sentences of the core that name a command: the interface names the keys that do the same, whatever keys the user has."""

from __future__ import annotations

from typing import Any

import pytest
from quiet import press
from textual.pilot import Pilot

from gputui.local.config import Config, ProviderConfig
from gputui.model.errors import AuthError, GputuiError
from gputui.model.keys import check_key_text
from gputui.providers.registry import foreign_key_hint
from gputui.providers.replies import new_key_hint
from gputui.tui.app import GputuiApp
from gputui.tui.screens.providers import ProvidersScreen
from gputui.tui.ways import in_keys
from gputui.tui.widgets.frame import FrameFooter
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("no key; run: gputui auth login vastai", "no key; press 8, then c on its line"),
        ("Run: gputui auth login huddle. What runs goes on.", "Press 8, then c on its line. What runs goes on."),
        ("of the first (run: gputui auth login runpod). If", "of the first (press 8, then c on its line). If"),
        ("To end it, run: gputui machines terminate 123", "To end it, press 9, then ^d on its line."),
        ("To stop it, run: gputui jobs stop train.v2.", "To stop it, press 4, then x on its line."),
        ("To start one, run: gputui agent run", "To start one, press A."),
        ("Run: gputui auth same-account vastai", "Run: gputui auth same-account vastai"),
    ],
)
def test_a_command_becomes_the_keys_that_do_the_same(app: GputuiApp, sentence: str, said: str) -> None:
    assert in_keys(app, sentence) == said


async def test_the_keys_are_the_users_own(make_desk: Any) -> None:
    app = GputuiApp(make_desk(config=Config(keys={"go.providers": "ctrl+g", "providers.connect": "v,f7"})))
    async with app.run_test(size=SIZE):
        assert in_keys(app, "Run: gputui auth login vastai") == "Press ^g, then v on its line."


def _pasted_with_quotes() -> str:
    with pytest.raises(GputuiError) as caught:
        check_key_text("vastai", "'fake-key'")
    return str(caught.value)


def test_no_advice_about_a_key_sends_a_user_of_the_interface_to_the_shell(app: GputuiApp, make_desk: Any) -> None:
    accounts = make_desk(keys=()).accounts
    with pytest.raises(AuthError) as missing:
        accounts.client("huddle")
    advice = [
        new_key_hint("vastai"),
        foreign_key_hint("vastai", "rpa_fake") or "",
        _pasted_with_quotes(),
        accounts.account("huddle").problem or "",
        str(missing.value),
    ]
    for sentence in advice:
        assert "gputui auth login" in sentence
        assert "gputui" not in in_keys(app, sentence)


async def test_a_toast_names_keys(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        app.tell(AuthError("There is no key for Lambda.", provider="lambda", hint="Run: gputui auth login lambda"))
        await pilot.pause()
        assert [str(toast.message) for toast in app._notifications] == [
            "There is no key for Lambda. Press 8, then c on its line."
        ]


async def test_c_connects_the_provider_without_a_key_under_the_cursor(make_desk: Any, kit: Any) -> None:
    desk = make_desk(config=Config(providers={"lambda": ProviderConfig()}), keys=["huddle", "runpod"])
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot)
        table = app.screen.query_one(MatrixTable)
        table.select_provider("huddle")
        await press(pilot)
        assert "connect" not in app.screen.query_one(FrameFooter).render().plain
        table.select_provider("lambda")
        await press(pilot)
        assert "Lambda: no key; press c" in text_of(pilot, "#cell-body")
        assert "c connect" in app.screen.query_one(FrameFooter).render().plain
        await press(pilot, "c")
        assert isinstance(app.screen, ProvidersScreen)
        assert app.screen.view is not None
        assert app.screen.view.account.info.name == "lambda"
        assert "no key; press c" in text_of(pilot, "#facts")
