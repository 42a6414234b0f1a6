"""The page of money: bars by day, balances with how long they last, jobs with what they cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gputui.core.metering import Cost
from gputui.core.spending import Day, month_of
from gputui.model.errors import Unreachable
from gputui.model.states import JobStatus, PlacementState
from gputui.store import usage as usage_store
from gputui.tui.render.billing import Credit, Spending, chart, runway_badge
from gputui.tui.screens.billing import BillingScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.widgets.row_list import RowList

DAY_MS = 86_400_000
# provider, days ago, hours, dollars an hour
HISTORY = (
    ("huddle", 12.5, 9, 2.29), ("vastai", 11.2, 14, 0.71), ("runpod", 9.6, 20, 2.99), ("huddle", 9.3, 6, 2.29),
    ("lambda", 7.4, 11, 1.29), ("runpod", 5.8, 16, 2.99), ("vastai", 5.5, 22, 0.71), ("huddle", 3.6, 30, 2.29),
    ("lambda", 2.2, 8, 1.29), ("runpod", 1.4, 12, 2.99), ("huddle", 16.0, 30, 2.29),
)  # fmt: skip


def spend(stage: Any, kit: SimpleNamespace) -> None:
    """Let jobs of two weeks have cost something, one with traffic, two alive."""
    kit.fill_jobs(stage.desk)
    for number, (provider, days_ago, hours, dollars) in enumerate(HISTORY, 20):
        started_ms = round(days_ago * DAY_MS)
        job = kit.add_job(
            stage.desk,
            number,
            JobStatus.COMPLETED,
            name=f"run-{number}",
            spec=kit.TRAINING,
            started_ago_ms=started_ms,
            ended_ago_ms=started_ms - hours * 3_600_000,
            placement_state=PlacementState.GONE,
            found=kit.offer(provider, "H100-SXM", dollars),
        )
        end_ms = kit.NOW_MS - started_ms + hours * 3_600_000
        with stage.desk.store.write() as tx:
            interval = tx.read("SELECT max(id) AS id FROM usage_intervals")[0]["id"]
            cost = round(hours * dollars * 1_000_000)
            ended = {"end_earliest_ms": end_ms, "end_latest_ms": end_ms}
            usage_store.update_interval(tx, interval, **ended, cost_low_micro_usd=cost, cost_high_micro_usd=cost + 2544)
            if provider == "vastai":
                usage_store.insert_interval(
                    tx, job_id=job.id, placement_id=job.placement_id, provider=provider, resource="traffic",
                    rate_micro_usd_per_hour=0, granularity_s=1, minimum_s=0, start_earliest_ms=kit.NOW_MS - started_ms,
                    start_latest_ms=kit.NOW_MS - started_ms, last_seen_ms=end_ms, **ended,
                    metered_micro_usd=1_420_000, cost_low_micro_usd=1_420_000, cost_high_micro_usd=1_420_000,
                )  # fmt: skip
    for name, dollars in (("huddle", 11.4), ("runpod", 86.4), ("vastai", 4.02)):
        stage.clouds[name].balance_micro_usd = round(dollars * 1_000_000)


@pytest.fixture
def stage(make_stage: Any, kit: SimpleNamespace) -> Any:
    made = make_stage()
    spend(made, kit)
    return made


async def test_a_month_shows_by_day_by_provider_and_by_job(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7")
        assert "March 2026" in play.text_of(pilot, "#month")
        picture = play.text_of(pilot, "#chart")
        assert "▓▓ Huddle $" in picture
        assert "░░ Lambda $" in picture
        assert picture.splitlines()[0].lstrip().startswith("$80")
        rows = app.screen.query_one("#list", RowList)
        traffic = next(key for key in rows.keys if " vastai " in key)
        line = play.line_of(pilot, traffic)
        assert "$1.4200" in line
        assert "$15.6213" in line
        assert "$17.0413" in line


async def test_a_balance_says_how_long_it_lasts_at_what_is_paid_now(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7")
        await play.until(pilot, lambda: "no balance told" in play.text_of(pilot, "#balances"))
        text = play.text_of(pilot, "#balances")
        assert "$11.40  ▲ 4 h at $2.29/h" in text
        assert "$86.40  ○ nothing runs there" in text
        assert "Lambda: no balance told" in text


async def test_the_month_before_and_back(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7")
        assert app.screen.obstacle("month_after") == "This is the present month."
        await play.press(pilot, "left_square_bracket")
        assert app.screen.obstacle("month_after") is None
        assert "February 2026" in play.text_of(pilot, "#month")
        assert len(app.screen.query_one("#list", RowList).keys) == 1
        await play.press(pilot, "right_square_bracket", "right_square_bracket")
        assert "March 2026" in play.text_of(pilot, "#month")
        assert play.toasts(pilot)[-1] == "This is the present month."


async def test_enter_shows_the_job(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7", "down", "enter")
        assert isinstance(app.screen, JobsScreen)


async def test_a_silent_provider_is_told_and_its_balance_stays_dim(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7")
        await play.until(pilot, lambda: "$11.40" in play.text_of(pilot, "#balances"))
        stage.clouds["huddle"].problem = Unreachable("huddle is away.", provider="huddle")
        await play.press(pilot, "r")
        await play.until(pilot, lambda: "no answer from Huddle" in play.text_of(pilot, "#title"))
        assert "$11.40" in play.text_of(pilot, "#balances")


async def test_an_empty_month_is_calm(make_stage: Any, play: SimpleNamespace) -> None:
    app = make_stage().app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "7", "enter")
        assert "Nothing was spent in this month." in play.text_of(pilot, "#chart")
        assert "No job billed" in str(app.screen.query_one("#empty").render())
        assert isinstance(app.screen, BillingScreen)


def test_less_than_a_cent_is_not_shown_as_nothing() -> None:
    month = month_of(1_773_500_966_000)
    days = [Day(0, {"huddle": 2_000_000, "mock": 1_300})]
    legend = chart(Spending(month, days, Cost(0, 0)), width=80, height=12, title=str).plain.splitlines()[-1]
    assert "huddle $2.00" in legend
    assert "mock $0.0013" in legend


def test_bars_are_as_high_as_what_was_spent() -> None:
    month = month_of(1_773_500_966_000)
    days = [Day(0, {"huddle": 6_000_000, "runpod": 4_000_000}), Day(1, {}), Day(2, {"runpod": 10_000})]
    painted = chart(Spending(month, days, Cost(0, 0)), width=80, height=12, title=str).plain.splitlines()
    first, second, third = ([line[9 + 2 * day] for line in painted[:10]] for day in range(3))
    assert first == ["▒"] * 4 + ["▓"] * 6
    assert second == [" "] * 10
    assert third == [" "] * 9 + ["▒"]


def test_how_urgent_a_balance_is() -> None:
    def glyph(dollars: int, rate: int) -> str:
        return runway_badge(Credit("huddle", dollars * 1_000_000, rate)).glyph

    assert [glyph(5, 1_000_000), glyph(10, 1_000_000), glyph(100, 1_000_000)] == ["▲", "◐", "●"]
    assert [glyph(5, 0), glyph(-3, 1_000_000)] == ["○", "▲"]


# Pictures


@pytest.mark.parametrize(("size", "theme"), [((120, 36), "gputui-dark"), ((80, 24), "gputui-dark"),
                                             ((120, 36), "gputui-light")], ids=["wide", "small", "light"])  # fmt: skip
def test_picture_full(
    snap_compare: Any, make_stage: Any, kit: SimpleNamespace, play: SimpleNamespace, size: Any, theme: str
) -> None:
    stage = make_stage(theme=theme)
    spend(stage, kit)
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("7"))


def test_picture_empty(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(make_stage().app(), terminal_size=play.SIZE, run_before=play.pressing("7"))


def test_picture_error(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    async def run(pilot: Any) -> None:
        await play.pressing("7")(pilot)
        stage.clouds["huddle"].problem = Unreachable("huddle did not answer within 20 s.", provider="huddle")
        await play.press(pilot, "r")

    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=run)


def test_picture_ascii(snap_compare: Any, make_stage: Any, kit: SimpleNamespace, play: SimpleNamespace) -> None:
    stage = make_stage(ascii=True)
    spend(stage, kit)
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("7"))
