"""Keys pressed by intent, and what came of them."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.core.desk import Desk
from gputui.core.runner.logfile import JobLog
from gputui.local.config import Config, UiConfig
from gputui.model.states import JobStatus
from gputui.store import jobs as job_store
from gputui.store import offers as offer_store
from gputui.tui.app import GputuiApp
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.help import HelpScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.frame import AlertLine, FrameHeader
from gputui.tui.widgets.log_view import LogView
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

SIZE = (120, 36)


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def fill(pilot: Pilot[Any], **values: str) -> None:
    pilot.app.screen.query_one(DeployForm).fill(values)
    await settle(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [str(toast.message) for toast in pilot.app._notifications]


# The matrix


async def test_arrows_move_by_cell_and_the_pane_follows(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        table = app.screen.query_one(MatrixTable)
        assert (table.key, table.provider) == ("B200", "huddle")
        await press(pilot, "down", "down", "right")
        assert (table.key, table.provider) == ("H100-SXM", "mock")
        assert "H100-SXM on Mock" in text_of(pilot, "#cell-title")
        await press(pilot, "left", "G")
        assert (table.key, table.provider) == ("T4", "huddle")
        assert "offers none of these" in text_of(pilot, "#cell-body")


async def test_the_cursor_stays_on_its_gpu_through_a_refresh(app: GputuiApp, kit: SimpleNamespace) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down")
        offers = [*kit.HUDDLE_OFFERS, kit.offer("huddle", "B300", 5.0)]
        offer_store.replace_snapshot(app.desk.store, "huddle", offers, now_ms=kit.NOW_MS, latency_ms=1)
        app.look()
        await settle(pilot)
        table = app.screen.query_one(MatrixTable)
        assert table.keys[0] == "B300"
        assert table.key == "H100-SXM"


async def test_the_filter_narrows_and_escape_clears_it(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"h100", "enter")
        table = app.screen.query_one(MatrixTable)
        assert list(table.keys) == ["H100-SXM", "H100-PCIE"]
        assert table.has_focus
        await press(pilot, "escape")
        assert len(table.keys) == 9
        assert not app.screen.query_one("#filter", Input).has_class("-on")


async def test_n_prefills_the_form_with_the_cell(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down", "right", "n")
        values = app.screen.query_one(DeployForm).values
        assert (values["gpu"], values["provider"], values["gpu_count"]) == ("H100-SXM", "mock", "1")
        await press(pilot, "escape")
        assert isinstance(app.screen, MatrixScreen)


async def test_a_refused_key_shows_as_failing_and_keeps_the_old_prices(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "r")
        assert app.facts is not None
        assert [(dot.name, dot.glyph) for dot in app.facts.dots] == [("huddle", "✕"), ("mock", "●")]
        assert "refused the key" in text_of(pilot, "#cell-body")
        assert "B200" in app.screen.query_one(MatrixTable).keys


async def test_providers_that_were_asked_for_show_as_done_one_by_one(make_desk: Any, kit: SimpleNamespace) -> None:
    answer = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        await answer.wait()
        return httpx.Response(401, json={"code": "UNAUTHORIZED", "error": "no"})

    desk = make_desk(handler=slow)
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        for _ in range(10):  # a round that is still under way is not asked again
            await pilot.press("r")
            with contextlib.suppress(TimeoutError):
                await _until(pilot, lambda: "Mock ✓" in text_of(pilot, "#market"), deadline_s=5)
                break
        assert "Huddle …" in text_of(pilot, "#market")
        answer.set()
        await settle(pilot)
        assert "GPU models" in text_of(pilot, "#market")


async def test_what_a_provider_without_a_key_once_offered_is_not_shown(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(keys=())
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "B200" not in app.screen.query_one(MatrixTable).keys


# Jobs


async def test_the_log_follows_what_is_written(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4")
        log = app.screen.query_one(LogView)
        assert log.line_count == 59
        assert log.scroll_offset.y == log.max_scroll_y > 0
        job = app.screen.report.job  # type: ignore[attr-defined]
        with desk.log_path(job.id).open("ab") as file:
            file.write(b"one more\nand another, not ended")
        await _until(pilot, lambda: log.line_count == 61)
        await pilot.pause()
        assert log.scroll_offset.y == log.max_scroll_y
        assert "and another" in log.render_line(log.size.height - 1).text


async def test_scrolling_back_stops_following_until_asked(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "l", "pageup")
        log = app.screen.query_one(LogView)
        assert log.has_focus
        assert not log.follows
        assert "paused" in text_of(pilot, "#log-title")
        before = log.scroll_offset.y
        with desk.log_path(app.screen.report.job.id).open("ab") as file:  # type: ignore[attr-defined]
            file.write(b"one more\n" * 5)
        await _until(pilot, lambda: log.line_count == 64)
        assert log.scroll_offset.y == before
        await press(pilot, "G")
        assert log.follows
        assert log.scroll_offset.y == log.max_scroll_y
        await press(pilot, "escape")
        assert app.screen.query_one(RowList).has_focus


async def test_a_very_long_log_opens_at_its_end(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    job = kit.fill_jobs(desk)[-1]
    with desk.log_path(job.id).open("wb") as file:
        for start in range(0, 400_000, 50_000):
            file.write(b"".join(b"step %7d loss 0.123 lr 2.9e-4\n" % number for number in range(start, start + 50_000)))
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4")
        log = app.screen.query_one(LogView)
        await _until(pilot, lambda: log.line_count == 400_000 and log.scroll_offset.y == log.max_scroll_y)
        assert "step  399999" in log.render_line(log.size.height - 1).text
        await press(pilot, "l", "g")
        assert "step       0" in log.render_line(0).text


async def test_a_lost_stretch_of_a_log_is_told(app: GputuiApp, desk: Desk) -> None:
    JobLog(desk.log_path(desk.jobs()[0].job.id)).mark_gap("the machine's disk was full", now_ms=1)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4")
        assert "1 stretch lost" in text_of(pilot, "#log-title")


async def test_stop_asks_first_and_starts_on_no(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "x")
        assert isinstance(app.screen, ConfirmScreen)
        assert app.focused is not None
        assert app.focused.id == "no"
        await press(pilot, "enter")
        assert desk.jobs()[0].job.stop_requested_at_ms is None
        await press(pilot, "x", "y")
        assert isinstance(app.screen, JobsScreen)
        assert desk.jobs()[0].job.stop_requested_at_ms is not None
        assert desk.events(desk.jobs()[0].job.id)[-1].why == "stop asked for"


async def test_a_job_that_is_over_cannot_be_stopped(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "G", "x")
        assert isinstance(app.screen, JobsScreen)


async def test_run_again_prefills_everything(app: GputuiApp, kit: SimpleNamespace) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "R")
        values = app.screen.query_one(DeployForm).values
        assert values["command"] == kit.TRAINING.command
        assert values["env"] == "WANDB_MODE=offline"
        assert values["max_duration"] == "4h"


async def test_events_and_zoom_go_and_come_back(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "j", "e")
        assert "huddle: no capacity" in text_of(pilot, "#event-lines")
        await press(pilot, "escape", "z")
        assert not app.screen.query_one("#left").display
        assert app.screen.query_one(LogView).size.width > 110
        await press(pilot, "escape")
        assert app.screen.query_one("#left").display
        assert app.screen.query_one(RowList).has_focus


async def test_another_process_s_writing_is_seen_and_the_cursor_stays(
    app: GputuiApp, desk: Desk, make_desk: Any, kit: SimpleNamespace
) -> None:
    other = make_desk()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "j")
        assert isinstance(app.screen, JobsScreen)
        chosen = app.screen.report
        assert chosen is not None
        new = kit.add_job(other, 9, JobStatus.QUEUED, name="from-elsewhere", spec=kit.TRAINING)
        with other.store.write() as tx:
            job_store.update_job(tx, chosen.job.id, phase="waiting for SSH")
        jobs = app.screen.query_one(RowList)
        await _until(pilot, lambda: jobs.keys[0] == new.id)
        assert jobs.key == chosen.job.id
        assert "waiting for SSH" in text_of(pilot, "#detail")


# The frame


async def test_pages_are_remembered_and_escape_never_quits(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "4", "1", "minus")
        assert isinstance(app.screen, JobsScreen)
        await press(pilot, "escape", "escape", "escape", "escape")
        assert isinstance(app.screen, MatrixScreen)
        assert app.is_running


async def test_quitting_with_live_jobs_says_that_they_go_on(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "q")
        assert isinstance(app.screen, ConfirmScreen)
        assert "2 jobs are alive" in app.screen._question.title
        assert "They go on without this window: the agent watches" in app.screen._question.lines[0]
        await press(pilot, "n")
        assert app.is_running
        await pilot.press("q", "y")
        await pilot.pause()
        assert app.return_code == 0


async def test_quitting_the_demo_says_that_everything_stops(desk: Desk) -> None:
    app = GputuiApp(desk, demo=True)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "ctrl+q")
        assert isinstance(app.screen, ConfirmScreen)
        assert "quitting stops everything" in app.screen._question.lines[0]


async def test_help_lists_every_key_of_the_page(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = text_of(pilot, "#text")
        for part in (
            "Stop the job",
            "Go from jobs to machines",
            "In the log",
            "Stay at the end",
            "Choose a theme",
            "jobs.stop",
        ):
            assert part in text, part
        await press(pilot, "escape")
        assert isinstance(app.screen, JobsScreen)


async def test_the_palette_runs_commands_and_finds_jobs(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "colon")
        await press(pilot, *"show job eval-7")
        await press(pilot, "enter")
        await _until(pilot, lambda: isinstance(app.screen, JobsScreen))
        await settle(pilot)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.report is not None
        assert app.screen.report.job.name == "eval-7"


async def test_an_unknown_theme_is_told_and_replaced(make_desk: Any) -> None:
    app = GputuiApp(make_desk(config=Config(ui=UiConfig(theme="[/nope]"))))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert app.theme == "gputui-dark"
        assert "'[/nope]'" in toasts(pilot)[0]


async def test_unguarded_jobs_show_in_red_and_a_key_starts_the_agent(
    make_desk: Any, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(Desk, "guard", lambda self: None)
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: started.append(self.paths.profile))
    desk = make_desk(agent_is_here=False)
    kit.fill_market(desk)
    kit.fill_jobs(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert app.screen.query_one(AlertLine).has_class("-on")
        await press(pilot, "A")
        assert started == ["test"]


async def test_a_view_starts_the_agent_for_jobs_that_nobody_watches(
    make_desk: Any, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: started.append(self.paths.profile))
    desk = make_desk(agent_is_here=False)
    kit.fill_jobs(desk)
    async with GputuiApp(desk).run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert started == ["test"]


async def test_hostile_text_of_a_provider_ends_nothing(make_desk: Any, kit: SimpleNamespace) -> None:
    evil = "[/]\x1b[2J[@click=app.quit]x[bold"

    def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"code": evil, "error": evil})

    desk = make_desk(handler=answers)
    offers = [kit.offer("huddle", evil, 1.0, region=evil)]
    offer_store.replace_snapshot(desk.store, "huddle", offers, now_ms=kit.NOW_MS, latency_ms=1)
    offer_store.note_failed_refresh(desk.store, "huddle", now_ms=kit.NOW_MS, error=evil, error_code=evil)
    spec = kit.TRAINING
    job = kit.add_job(desk, 1, JobStatus.FAILED, name=evil, spec=spec, ended_ago_ms=5, error=evil, refused_first=evil)
    desk.log_path(job.id).write_text(f"{evil}\n" * 50)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "r", "enter", "escape", "4", "e", "e", "z", "escape", "colon")
        await press(pilot, *"show", "escape")
        app.tell(RuntimeError(evil))
        await settle(pilot)
        assert app.is_running
        assert "[/]" in app.export_screenshot()


async def test_an_idle_screen_repaints_nothing(app: GputuiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        painted: list[str] = []
        for kind in (FrameHeader, Painted, MatrixTable):
            monkeypatch.setattr(kind, "refresh", lambda self, *args, **kwargs: painted.append(type(self).__name__))
        for _ in range(5):
            app._tick()
            app.look()
            await pilot.pause()
        assert painted == []


async def _until(pilot: Pilot[Any], condition: Any, *, deadline_s: float = 60.0) -> None:
    """Let the application work until something is so."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await pilot.pause(0.01)
