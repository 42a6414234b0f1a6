"""The page of providers: keys that are kept and never shown, what works, how each bills."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from textual.widgets import Input

from gputui.core.probes import Outcome, Probe
from gputui.local.secrets import Backend
from gputui.model.errors import AuthError, Rejected, Transient
from gputui.store import offers as offer_store
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.connect import ConnectScreen
from gputui.tui.screens.providers import ProvidersScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.row_list import RowList

KEY = "rpa_fake0123456789abcdefWXYZ"
PHRASE = "fake passphrase"


@pytest.fixture
def stage(make_stage: Any, kit: SimpleNamespace) -> Any:
    made = make_stage(["huddle", "lambda", "vastai", "mock"], more_accounts=["runpod"])
    for name, latency_ms in (("lambda", 610), ("vastai", 1_380)):
        then_ms = kit.NOW_MS - 12_000
        offer_store.replace_snapshot(made.desk.store, name, [], now_ms=then_ms, latency_ms=latency_ms)
    offer_store.note_failed_refresh(
        made.desk.store, "lambda", now_ms=kit.NOW_MS, error="lambda did not answer.", error_code="unreachable"
    )
    return made


async def type_key(pilot: Any, play: SimpleNamespace, **values: str) -> None:
    pilot.app.screen.query_one(DeployForm).fill(values)
    await play.settle(pilot)


def screen_text(pilot: Any) -> str:
    return pilot.app.export_screenshot(simplify=True)


async def test_each_account_says_what_key_it_has_and_how_it_answers(stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["lambda"].problem = Transient("lambda failed for a moment.", provider="lambda")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8")
        assert "● yes" in play.line_of(pilot, "huddle")
        assert "○ no key" in play.line_of(pilot, "runpod")
        assert "● none needed" in play.line_of(pilot, "mock")
        assert "✕ lambda did not answer." in play.line_of(pilot, "lambda")
        facts = play.text_of(pilot, "#facts")
        for part in (
            "by the second, at least 10",
            "Huddle docs, gpu-billing",
            "agent-only",
            "waitlist",
            "its own bill",
        ):
            assert part in facts, part
        await play.press(pilot, "down")
        facts = play.text_of(pilot, "#facts")
        for part in ("no key; press c", "GPUTUI_RUNPOD_API_KEY: not set", "console.runpod.io", "armed"):
            assert part in facts, part


async def test_a_key_is_kept_where_the_form_says_and_never_shown(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "down", "c")
        assert isinstance(app.screen, ConnectScreen)
        assert "It will be kept in the encrypted vault" in play.text_of(pilot, "#words")
        await play.press(pilot, *"rpa_fa")
        assert app.screen.query_one("#field-key", Input).password
        assert "rpa_fa" not in screen_text(pilot)
        await type_key(pilot, play, key=KEY, passphrase=PHRASE, again="another")
        await play.press(pilot, "pagedown")
        assert app.screen.query_one("#row-again").has_class("-wrong")
        await type_key(pilot, play, again=PHRASE)
        await play.press(pilot, "pagedown")
        assert isinstance(app.screen, ProvidersScreen)
        kept = stage.desk.secrets.status("runpod")[-1]
        assert kept.found is not None
        assert kept.found.value == KEY
        assert "vault" in play.toasts(pilot)[0]
        assert "…WXYZ" in play.text_of(pilot, "#facts")
        assert KEY not in screen_text(pilot)
        assert PHRASE not in screen_text(pilot)


async def test_what_cannot_be_a_key_is_told_without_repeating_it(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "down", "c")
        await type_key(pilot, play, key="Bearer sim-secret-value", passphrase=PHRASE, again=PHRASE)
        await play.press(pilot, "pagedown")
        assert app.screen.query_one("#row-key").has_class("-wrong")
        assert "sim-secret-value" not in screen_text(pilot)
        await type_key(pilot, play, key="secret_fake_of_lambda_0123")
        await play.press(pilot, "pagedown")
        assert isinstance(app.screen, ConnectScreen)  # it looks like a key of Lambda
        await play.press(pilot, "escape")
        assert stage.desk.secrets.status("runpod")[-1].found is None


async def test_a_test_shows_what_works_as_a_table(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "t")
        facts = play.text_of(pilot, "#facts")
        for part in ("✓ key", "team@example.com", "✓ offers", "✓ machines", "✓ ssh-keys"):
            assert part in facts, part
        stage.clouds["huddle"].problem = AuthError("huddle refused the key.", provider="huddle")
        await play.press(pilot, "t")
        facts = play.text_of(pilot, "#facts")
        assert "✕ key" in facts
        assert "○ offers      not asked" in facts
        await play.press(pilot, "down", "t")
        assert "nothing to test RunPod with" in play.toasts(pilot)[-1]


async def test_a_key_is_removed_after_a_question(stage: Any, play: SimpleNamespace) -> None:
    stage.desk.secrets.store("runpod", KEY, Backend.VAULT, PHRASE)
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "down", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        assert "stays valid at RunPod" in app.screen._question.lines[0]
        await play.press(pilot, "n")
        assert stage.desk.secrets.status("runpod")[-1].found is not None
        await play.press(pilot, "ctrl+d", "y")
        assert stage.desk.secrets.status("runpod")[-1].found is None
        assert "Removed from the encrypted vault" in play.toasts(pilot)[-1]
        await play.press(pilot, "ctrl+d")
        assert play.toasts(pilot)[-1] == "No key of RunPod is kept here."


async def test_a_provider_without_a_key_needs_none(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "G", "c")
        assert app.screen.query_one("#list", RowList).key == "mock"
        assert play.toasts(pilot)[-1] == "Mock needs no key."


async def test_hostile_words_end_nothing(stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["huddle"].problem = Transient(play.EVIL * 400, provider="huddle")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "8", "r", "t", "space", "b")
        assert isinstance(app.screen, ProvidersScreen)


# Pictures


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_full(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    stage.clouds["lambda"].problem = Transient("lambda failed for a moment.", provider="lambda")
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("8"))


def test_picture_without_a_key(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("8", "down"))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_of_the_form(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("8", "down", "c", *"rpa_fa"))


def test_picture_of_a_test(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    refused = Rejected("The account may not do that.", provider="huddle")
    found = [
        Probe("huddle", "key", Outcome.OK, "team@example.com", took_ms=180),
        Probe("huddle", "offers", Outcome.OK, "31, 22 available; those kept here are 12 s old", took_ms=1_240),
        Probe("huddle", "machines", Outcome.OK, "1 alive", took_ms=95),
        Probe("huddle", "volumes", Outcome.FAILED, refused.message, took_ms=88, error=refused),
        Probe("huddle", "charges", Outcome.NOT_OFFERED),
        Probe("huddle", "clock", Outcome.WARNING, "Our clock is 95 s behind.", "Set it right (timedatectl)."),
    ]

    async def run(pilot: Any) -> None:
        await play.pressing("8")(pilot)
        pilot.app.screen._probes["huddle"] = found
        pilot.app.screen.reload()

    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=run)
