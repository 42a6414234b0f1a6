"""Random keys: nothing falls over, and nothing is spent or ended without a review or a question.

500 keys in the gate; GPUTUI_MONKEY_KEYS says how many else.
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

KEYS = int(os.environ.get("GPUTUI_MONKEY_KEYS", "500"))
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
_NAMES = {
    "/": "slash", ":": "colon", "?": "question_mark", "-": "minus", "$": "dollar_sign", "[": "left_square_bracket",
    "]": "right_square_bracket", ".": "full_stop", " ": "space",
}  # fmt: skip
# What the interface writes when somebody wishes to spend or to end something.
_WISHES = """
    SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM jobs WHERE stop_requested_at_ms IS NOT NULL)
         + (SELECT count(*) FROM terminations) + (SELECT count(*) FROM volume_orders)
"""


def wishes(desk: Desk) -> int:
    return int(desk.store.read(_WISHES)[0][0])


def count_confirmations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by one whenever a question is answered with yes or a review is submitted."""
    confirmed: list[str] = []
    dismiss, deploy = ConfirmScreen.dismiss, ReviewScreen.action_deploy

    def answered(self: ConfirmScreen, result: bool | None = None) -> Any:
        if result:
            confirmed.append(self._question.title)
        return dismiss(self, result)

    def deployed(self: ReviewScreen) -> None:
        confirmed.append("review")
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
    before = wishes(desk)
    app = GputuiApp(desk, demo=True)
    confirmed = count_confirmations(monkeypatch)
    keys = [*_LETTERS, *_OFTEN, *_PAGES, *_CONTROL]
    seen: set[str] = set()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause()
        for number in range(0, KEYS, _BURST):
            for key in chance.choices(keys, k=_BURST):
                app.post_message(key_event(key))
            await pilot.pause()
            seen.add(type(app.screen).__name__)
            assert app.is_running, number
            assert wishes(desk) - before <= len(confirmed), (number, confirmed)
        await app.workers.wait_for_complete()
        assert wishes(desk) - before <= len(confirmed), confirmed
    assert {"MatrixScreen", "OffersScreen", "DeployScreen", "JobsScreen", "ConfirmScreen", "HelpScreen"} <= seen
    await desk.aclose()
    desk.close()
