"""The matrix: trends, what is known of a cell, and the first run."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static

from gputui.core.desk import Desk
from gputui.core.price_history import Trend
from gputui.model.states import JobStatus
from gputui.tui.app import GputuiApp
from gputui.tui.render import matrix
from gputui.tui.screens.review import ReviewScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.frame import FrameFooter
from gputui.tui.widgets.glyphs import to_ascii
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def line_of(pilot: Pilot[Any], gpu: str) -> str:
    table = pilot.app.screen.query_one(MatrixTable)
    return table.render_line(1 + list(table.keys).index(gpu)).text


# What is painted


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_what_matters_less_gives_way_first_and_everything_fits(width: int) -> None:
    columns = [matrix.Column(f"p{number}", f"Provider {number}") for number in range(3)]
    plan = matrix.layout(columns, width, 0, has_trends=True)
    kept = [part for part in ("name", "spark", "change", "vram") if part in plan.parts]
    assert kept == ["name", "spark", "change", "vram"][4 - len(kept) :]
    assert plan.hidden or matrix.header(plan, cursor_column=0).cell_length <= width
    assert not {"spark", "change"} & matrix.layout(columns, width, 0).parts


@pytest.mark.parametrize(
    ("trend", "shown"),
    [
        (Trend((None, 100, 200, 150), 0.5), " ▁▇▄"),
        (Trend((100, 100), 0.0), "▃▃"),
        (None, " " * matrix.SLICES),
    ],
)
def test_a_trend_is_drawn_with_blanks_where_nothing_is_known(trend: Trend | None, shown: str) -> None:
    assert matrix._spark(trend) == shown


def test_a_change_is_told_in_plain_characters_too() -> None:
    assert to_ascii(matrix._change(Trend((100, 80), -0.2))[0]).strip() == "-20 %"
    assert matrix._change(Trend((100, 101), 0.001)) == ("    0 %", "$faint")


# The page


async def test_a_day_of_prices_shows_as_a_trend_and_a_week_as_shares_of_it(
    make_desk: Any, kit: SimpleNamespace
) -> None:
    desk = make_desk()
    kit.fill_history(desk)
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "▇▇▇▄▄▃▃▁  −17 %" in line_of(pilot, "H200")
        assert "▇" not in line_of(pilot, "V100-16GB")  # sold out now
        body = " ".join(text_of(pilot, "#cell-body").split())
        assert "6 d p10 4.39 p50 4.99 p90 4.99 in stock 100% of the time" in body


async def test_without_a_history_there_is_no_trend(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "%" not in line_of(pilot, "H200")
        assert "p50" not in text_of(pilot, "#cell-body")


async def test_the_details_count_what_is_behind_the_cell(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down")
        assert "2.39 effective for 1 h   3 offers, 1 sold out" in text_of(pilot, "#cell-body")
        assert "fetched 12 s ago, your key" in text_of(pilot, "#cell-age")


async def test_keys_that_come_in_one_burst_land_where_they_are_meant_to(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        for key in ["slash", *"h100", "enter", "j", "b"]:
            app.post_message(events.Key(key, {"slash": "/"}.get(key, key if len(key) == 1 else None)))
        await settle(pilot)
        table = app.screen.query_one(MatrixTable)
        assert app.screen.query_one("#filter", Input).value == "h100"
        assert app.screen.query_one("#filter", Input).display
        assert (table.key, table.provider) == ("H100-PCIE", "mock")


async def test_keys_that_are_typed_before_anything_is_shown_land_there_too(app: GputuiApp) -> None:
    for key in ["slash", *"h100", "enter", "j", "b"]:
        app.post_message(events.Key(key, {"slash": "/"}.get(key, key if len(key) == 1 else None)))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        table = app.screen.query_one(MatrixTable)
        assert app.screen.query_one("#filter", Input).value == "h100"
        assert app.screen.query_one("#filter", Input).display
        assert (table.key, table.provider) == ("H100-PCIE", "mock")


async def test_b_goes_to_the_cheapest_provider(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "down", "b")
        table = app.screen.query_one(MatrixTable)
        assert (table.key, table.provider) == ("H200", "mock")
        table.select("V100-16GB")  # sold out everywhere
        await press(pilot, "b")
        assert "Nobody has this GPU now" in str(list(app._notifications)[-1].message)


async def test_a_filter_that_no_name_answers_to_goes_on_to_the_offers(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"vram")
        await press(pilot, "greater_than_sign", *"100")
        empty = app.screen.query_one("#empty", Static)
        assert "enter looks among all offers" in str(empty.render())
        await press(pilot, "enter")
        assert app.current_mode == "offers"
        assert app.screen.query_one("#filter", Input).value == "vram>100"
        await press(pilot, "minus")
        assert app.screen.query_one("#filter", Input).value == ""
        assert app.screen.query_one(MatrixTable).keys


# The first run


@pytest.fixture
def newcomer(make_desk: Any, kit: SimpleNamespace) -> GputuiApp:
    """Return the interface of a profile without keys."""
    desk: Desk = make_desk(keys=())
    kit.fill_market(desk)
    return GputuiApp(desk)


async def test_c_leads_to_the_providers(newcomer: GputuiApp) -> None:
    async with newcomer.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "Connect a provider" in text_of(pilot, "#first-run")
        await press(pilot, "c")
        assert newcomer.current_mode == "providers"


async def test_d_lends_the_terminal_to_the_demo(newcomer: GputuiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(newcomer, "run_outside", lambda argv: ran.append(argv) or 0)
    async with newcomer.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "d")  # a terminal that cannot be lent
        assert "gputui demo" in str(list(newcomer._notifications)[-1].message)
        monkeypatch.setattr(newcomer, "suspend", contextlib.nullcontext)
        await press(pilot, "d")
        assert [argv[1:] for argv in ran] == [["-m", "gputui", "demo"]]


async def test_n_runs_on_the_mock(newcomer: GputuiApp) -> None:
    async with newcomer.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "n")
        newcomer.screen.query_one(DeployForm).fill({"command": "echo hello"})
        await press(pilot, "ctrl+r")
        assert isinstance(newcomer.screen, ReviewScreen)
        assert "Mock" in text_of(pilot, "#text")
        await press(pilot, "ctrl+j")
        [job] = [report.job for report in newcomer.desk.jobs()]
        assert job.status is JobStatus.QUEUED


async def test_those_keys_are_for_the_first_run_only(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "connect" not in app.screen.query_one(FrameFooter).render().plain
        await press(pilot, "c", "d")
        assert app.current_mode == "matrix"
