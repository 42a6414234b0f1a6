"""Work that is done once: a style sheet is read once, an event is handled once."""

from __future__ import annotations

from typing import Any

import pytest
from textual.css import stylesheet as textual_stylesheet

from gputui.tui.app import GputuiApp
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.row_list import RowList


async def test_no_style_sheet_is_read_twice(make_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    parse = textual_stylesheet.parse

    def counted(scope: str, css: str, read_from: Any, **rest: Any) -> Any:
        read.append(read_from)
        return parse(scope, css, read_from, **rest)

    monkeypatch.setattr(textual_stylesheet, "parse", counted)
    async with GputuiApp(make_desk()).run_test(size=(120, 36)) as pilot:
        for key in "281":
            await pilot.press(key)
            await pilot.pause()
    assert len(read) == len(set(read))


async def test_two_clicks_choose_once(make_desk: Any, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    choose = RowList.action_choose
    monkeypatch.setattr(RowList, "action_choose", lambda rows: (chosen.append(rows.key), choose(rows)))
    desk = make_desk()
    kit.fill_market(desk)
    async with GputuiApp(desk).run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        await pilot.click(MatrixTable, offset=(20, 1), times=2)
    assert len(chosen) == 1
