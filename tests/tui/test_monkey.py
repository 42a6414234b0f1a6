"""Random keys: nothing falls over, and nothing is spent or ended without a review or a question.

2,000 keys in the gate; GPUTUI_MONKEY_KEYS says how many else.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from textual import events

from gputui.core.desk import Desk
from gputui.local.clock import SystemClock
from gputui.tui.app import GputuiApp
from gputui.tui.demo import FIRST_JOBS, DemoWorld
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.review import ReviewScreen

KEYS = int(os.environ.get("GPUTUI_MONKEY_KEYS", "2000"))
_BURST = 10
# Moving about and answering come often, so that every page, review and question is reached; themes take long to change.
_LETTERS = list("abcdefghijklmnopqrstuvwxyzABDGNORSY0123456789/:?-$[]. ")
_OFTEN = ["up", "down", "left", "right", "enter", "escape", "tab", "pagedown", "pageup", "home", "end"] * 4
_PAGES = list("12345678") * 2 + ["n", "x", "y", "d"] * 3
_CONTROL = [
    "ctrl+d",
    "ctrl+j",
    "ctrl+l",
    "ctrl+s",
    "ctrl+r",
    "ctrl+t",
    "ctrl+z",
    "ctrl+q",
    "delete",
    "backspace",
    "f1",
    "f5",
] * 2
# What random keys alone reach once in many thousands. The first three keys of each get out of whatever is open.
_OUT = ["escape"] * 3
_PHRASES = [
    [*_OUT, "1", "n", *"ls", "ctrl+r"],
    [*_OUT, "1", "b", "n", *"ls", "ctrl+r", "ctrl+j"],
    [*_OUT, "4", "x"],
    [*_OUT, "4", "x", "y"],
    [*_OUT, "4", "R", "ctrl+r", "ctrl+j"],
]
_PHRASE_EVERY = 7  # bursts
_NAMES = {
    "/": "slash", ":": "colon", "?": "question_mark", "-": "minus", "$": "dollar_sign", "[": "left_square_bracket",
    "]": "right_square_bracket", ".": "full_stop", " ": "space",
}  # fmt: skip
# What the interface writes when somebody wishes to run something, and to end or to buy something else.
_JOBS = "SELECT count(*) FROM jobs"
_OTHERS = """
    SELECT (SELECT count(*) FROM jobs WHERE stop_requested_at_ms IS NOT NULL)
         + (SELECT count(*) FROM terminations) + (SELECT count(*) FROM volume_orders)
"""
_REVIEW = "review"


def count(desk: Desk, sql: str) -> int:
    return int(desk.store.read(sql)[0][0])


def record_confirmations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by one whenever a question is answered with yes or a review is submitted."""
    confirmed: list[str] = []
    dismiss, deploy = ConfirmScreen.dismiss, ReviewScreen.action_deploy

    def answered(self: ConfirmScreen, result: bool | None = None) -> Any:
        if result:
            confirmed.append(self._question.title)
        return dismiss(self, result)

    def deployed(self: ReviewScreen) -> None:
        confirmed.append(_REVIEW)
        deploy(self)

    monkeypatch.setattr(ConfirmScreen, "dismiss", answered)
    monkeypatch.setattr(ReviewScreen, "action_deploy", deployed)
    return confirmed


def key_event(key: str) -> events.Key:
    return events.Key(_NAMES.get(key, key), key if len(key) == 1 else None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [11])
async def test_random_keys_neither_fall_over_nor_spend(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(GputuiApp, "exit", lambda self, *args, **kwargs: None)
    chance = random.Random(seed)
    demo = DemoWorld(tmp_path, SystemClock(), boot_s=0.2)
    desk = demo.desk()
    await desk.refresh()
    for spec in FIRST_JOBS:
        desk.submit(spec)
    app = GputuiApp(desk, demo=True)
    confirmed = record_confirmations(monkeypatch)
    keys = [*_LETTERS, *_OFTEN, *_PAGES, *_CONTROL]
    seen: set[str] = set()

    def nothing_was_wished_for_unasked() -> bool:
        reviews = confirmed.count(_REVIEW)
        jobs, others = count(desk, _JOBS) - len(FIRST_JOBS), count(desk, _OTHERS)
        return jobs <= reviews and others <= len(confirmed) - reviews

    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause()
        pressed = bursts = 0
        while pressed < KEYS:
            bursts += 1
            is_phrase = bursts % _PHRASE_EVERY == 0
            burst = chance.choice(_PHRASES) if is_phrase else chance.choices(keys, k=_BURST)
            for key in burst:
                app.post_message(key_event(key))
                if is_phrase:
                    await pilot.pause()
            pressed += len(burst)
            await pilot.pause()
            seen.add(type(app.screen).__name__)
            assert app.is_running, pressed
            assert nothing_was_wished_for_unasked(), (pressed, confirmed)
        await app.workers.wait_for_complete()
        assert nothing_was_wished_for_unasked(), confirmed
    pages = {"MatrixScreen", "OffersScreen", "DeployScreen", "JobsScreen"}
    assert pages | {"ReviewScreen", "ConfirmScreen", "HelpScreen"} <= seen
    # Else the above would say nothing: jobs were run, and jobs were stopped, each after it was confirmed.
    assert count(desk, _JOBS) > len(FIRST_JOBS)
    assert count(desk, _OTHERS) > 0
    assert {_REVIEW} < set(confirmed)
    await desk.aclose()
    desk.close()
