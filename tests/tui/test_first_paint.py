"""What is done before a page is seen, and again when the terminal has another size."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from gputui.core.desk import Desk
from gputui.tui import terminal
from gputui.tui.app import GputuiApp
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.terminal import collector_held


async def test_a_page_is_read_once_before_it_is_seen_and_again_for_another_size(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    reads_when_painted: list[int] = []
    refresh_data, display = MatrixScreen.refresh_data, GputuiApp._display

    def counted(screen: MatrixScreen) -> None:
        nonlocal reads
        reads += 1
        refresh_data(screen)

    def noted(app: GputuiApp, *painted: Any) -> None:
        reads_when_painted.append(reads)
        display(app, *painted)

    monkeypatch.setattr(MatrixScreen, "refresh_data", counted)
    monkeypatch.setattr(GputuiApp, "_display", noted)
    async with GputuiApp(desk).run_test(size=(120, 36)) as pilot:
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert reads_when_painted[0] == 1
        before = reads
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert reads > before


def test_the_collector_is_held_only_while_things_that_stay_are_made() -> None:
    frozen_before = gc.get_freeze_count()
    with pytest.raises(ValueError, match="read"), collector_held():
        assert not gc.isenabled()
        made = [[number] for number in range(1_000)]
        raise ValueError("it cannot be read")
    assert gc.isenabled()
    assert gc.get_freeze_count() - frozen_before >= len(made)


def test_rings_among_what_stayed_are_found_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ring:
        def __init__(self) -> None:
            self.me = self

    with collector_held():
        ring = Ring()
    let_go = weakref.ref(ring)
    del ring
    with collector_held():
        assert let_go() is not None
    monkeypatch.setattr(terminal, "_all_looked_through_s", -terminal._LOOK_THROUGH_ALL_EVERY_S)
    with collector_held():
        assert let_go() is None
