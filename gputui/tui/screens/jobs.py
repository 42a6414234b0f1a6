"""Screen 4: every job, what it costs, how it got here, and its log as it is written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import ClassVar

from textual import events, on, work
from textual.app import SuspendNotSupported
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from gputui.core.login import login_argv
from gputui.core.reports import JobReport
from gputui.model.errors import GputuiError
from gputui.providers.registry import provider_title
from gputui.tui import bindings
from gputui.tui.clipboard import copy
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import jobs as jobs_render
from gputui.tui.render import money
from gputui.tui.render.tabs import neighbour, tab_title
from gputui.tui.render.text import join, plain, rule, styled
from gputui.tui.screens.base import BaseScreen
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.ways import key_of
from gputui.tui.widgets.log_pane import LogPane
from gputui.tui.widgets.log_view import LogView
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

JOBS_SHOWN = 200
_OF_A_JOB = ("stop", "ssh", "copy_ssh", "again", "focus_log", "toggle_events", "zoom")


class JobsScreen(BaseScreen):
    """A list and the job under its cursor."""

    CSS_PATH = "jobs.tcss"
    BINDINGS = bindings.JOBS + bindings.TABS
    HELP: ClassVar[str] = (
        "Go to the log with {list.open} or {jobs.log}, back to the list with {app.escape}. Closing gputui changes nothing "
        "for a job: the agent goes on, and the log is here when you come back. {jobs.stop} asks before it stops anything. "
        "Armed: the machine ends itself where nobody watches it; agent-only: the agent alone ends it."
    )

    def __init__(self) -> None:
        super().__init__()
        self._reports: dict[str, JobReport] = {}
        self._wanted: str | None = None

    def body(self) -> Iterator[Widget]:
        with Container(id="columns"):
            with Vertical(id="left"):
                yield Painted(id="list-title")
                yield RowList(self._paint, row_height=2, id="list")
            with Vertical(id="right"):
                yield Painted(id="detail")
                yield Painted(id="log-title")
                yield LogPane(id="log-pane")
                with VerticalScroll(id="events"):
                    yield Painted(id="event-lines")
        yield Static(id="empty")

    def on_mount(self) -> None:
        self.query_one(RowList).focus()

    @property
    def report(self) -> JobReport | None:
        """The job under the cursor."""
        return self._reports.get(self.query_one("#list", RowList).key or "")

    def select(self, job_id: str) -> None:
        """Put the cursor on a job, now or as soon as it is listed."""
        self._wanted = job_id
        self.reload()
        self.query_one(RowList).focus()

    def refresh_data(self) -> None:
        reports = self.desk.jobs(limit=JOBS_SHOWN)
        self._reports = {report.job.id: report for report in reports}
        self.set_class(not reports, "-empty")
        jobs = self.query_one("#list", RowList)
        jobs.row_height = 1 if self.is_narrow else 2
        if self._wanted is not None and self._wanted in self._reports:
            jobs.set_keys(list(self._reports), cursor=self._wanted)
            self._wanted = None
        else:
            jobs.set_keys(list(self._reports))
        if not reports:
            self.query_one("#empty", Static).update(self._nothing())
        self._show_job()

    def tick(self) -> None:
        """Costs and durations of what is alive move with the clock."""
        if any(not report.job.status.is_final for report in self._reports.values()):
            self.reload()

    @on(RowList.Moved)
    def _show_job(self) -> None:
        report = self.report
        pane = self.query_one(LogPane)
        if report is None:
            pane.open(None, name="")
            return
        pane.open(self.desk.log_path(report.job.id), name=report.job.name)
        now_ms = self.desk.clock.now_ms()
        events = self.desk.events(report.job.id)
        self.query_one("#detail", Painted).show(
            lambda width: jobs_render.detail(report, events, now_ms=now_ms, width=width, title=provider_title)
        )
        if self.has_class("-events"):
            self.query_one("#event-lines", Painted).show(lambda width: jobs_render.event_lines(report, events, width))
        alive = sum(not found.job.status.is_final for found in self._reports.values())
        title = tab_title("jobs", f"{JOBS_SHOWN}+" if len(self._reports) == JOBS_SHOWN else len(self._reports))
        self.query_one("#list-title", Painted).show(
            lambda width: rule(title, width, right_title=styled(f"{alive} live", "$muted"))
        )
        self._show_log_title()
        self.refresh_bindings()

    @on(LogView.Changed)
    def _show_log_title(self) -> None:
        report = self.report
        if report is None:
            return
        tabs = ("Events", "Log") if self.has_class("-events") else ("Log", "Events")
        title = join((tabs[0], "bold"), (f"  {tabs[1]} {key_of(self.app, 'jobs.events')}", "$faint"))
        if self.has_class("-zoomed"):
            title = join((plain(report.job.name), "bold"), "  ", title)
        facts = self.query_one(LogPane).facts(is_over=report.job.status.is_final)
        if self.has_class("-events"):
            facts = []
        self.query_one("#log-title", Painted).show(lambda width: jobs_render.log_title(title, facts, width))

    def _paint(self, key: str, width: int, here: bool) -> list[Content]:
        paint = jobs_render.wide_row if self.is_narrow else jobs_render.row
        return paint(self._reports[key], now_ms=self.desk.clock.now_ms(), width=width, here=here, title=provider_title)

    def _nothing(self) -> Content:
        return self.hints("No jobs yet.", ("jobs.new", "describe one"), ("go.matrix", "compare prices first"))

    # Keys

    @property
    def untold(self) -> frozenset[str]:
        """Actions that the footer leaves out: in the log there is no going to it."""
        return frozenset({"focus_log"} if isinstance(self.focused, LogView) else ())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if self.is_mounted and self._why_not(action) else True

    def on_key(self, event: events.Key) -> None:
        """Say why a key that is dim does nothing."""
        active = self.active_bindings.get(event.key)
        if active is not None and not active.enabled and active.node is self:
            event.stop()
            why = self._why_not(active.binding.action)
            self.notify(why or "Not now.", markup=False)

    def _why_not(self, action: str) -> str | None:
        """Return why something cannot be done with the job under the cursor, None when it can."""
        if action not in _OF_A_JOB:
            return None
        report = self.report
        if report is None:
            return f"There is no job yet. {key_of(self.app, 'jobs.new')} describes one."
        if action == "stop" and report.job.status.is_final:
            return f"{plain(report.job.name)} is over: there is nothing to stop."
        if action in ("ssh", "copy_ssh"):
            if self.gputui.demo:
                return "The machines of the demo are simulated: there is nothing to log in to."
            return jobs_render.why_no_login(report)
        return None

    @on(RowList.Chosen)
    def action_focus_log(self) -> None:
        self.remove_class("-events")
        self._show_log_title()
        self.query_one(LogView).focus()

    def action_zoom(self) -> None:
        self.toggle_class("-zoomed")
        (self.query_one(LogView) if self.has_class("-zoomed") else self.query_one("#list", RowList)).focus()
        self.call_after_refresh(self._show_job)

    def action_toggle_events(self) -> None:
        self.toggle_class("-events")
        (self.query_one("#events") if self.has_class("-events") else self.query_one(LogView)).focus()
        self._show_job()

    def escape(self) -> bool:
        """Give the screen back, leave the log. Returns False when there was nothing to leave."""
        if not self.has_class("-events") and self.query_one(LogPane).escape():
            return True
        if self.has_class("-zoomed"):
            self.action_zoom()
            return True
        if self.has_class("-events"):
            self.remove_class("-events")
            self._show_log_title()
            self.query_one("#list", RowList).focus()
            return True
        if not self.query_one("#list", RowList).has_focus and self._reports:
            self.query_one("#list", RowList).focus()
            return True
        return False

    def action_tab(self, steps: int) -> None:
        self.gputui.action_go(neighbour("jobs", steps))

    def action_new(self) -> None:
        self.gputui.action_go("deploy")

    def action_again(self) -> None:
        if self.report is not None:
            self.gputui.open_deploy(self.report.job.spec)

    def action_ssh(self) -> None:
        """Give the terminal to ssh until it ends."""
        argv = self._login_argv()
        if argv is None:
            return
        try:
            with self.app.suspend():
                self.gputui.run_outside(argv)
        except SuspendNotSupported:
            self.notify(
                f"This terminal cannot be lent to ssh. Run: {shlex.join(argv)}",
                title="Log in",
                markup=False,
                timeout=30,
            )
        except OSError as error:
            self.notify(f"ssh could not be started: {error.strerror}.", severity="error", markup=False)
        self.gputui.look()

    def action_copy_ssh(self) -> None:
        """Copy the command that logs in."""
        argv = self._login_argv()
        if argv is not None:
            copy(self.app, [shlex.join(argv)], "the ssh command")

    def _login_argv(self) -> list[str] | None:
        report = self.report
        if report is None or report.placement is None:
            return None
        try:
            return login_argv(self.desk.paths, report.placement)
        except GputuiError as error:
            self.gputui.tell(error)
            return None

    def action_stop(self) -> None:
        """Ask, then wish the job stopped."""
        report = self.report
        if report is not None:
            self.app.push_screen(
                ConfirmScreen(self._stop_question(report)), lambda yes: self._stop_answered(yes, report.job.id)
            )

    def _stop_question(self, report: JobReport) -> Question:
        placement = report.placement
        if placement is None or not placement.state.may_bill:
            where = "It has no machine yet, so nothing is being paid."
        else:
            region = f" {plain(placement.offer.region)}" if placement.offer.region else ""
            where = (
                f"Its machine at {plain(provider_title(placement.provider))}{region} costs "
                f"{money.rate(report.rate_micro_usd_per_hour)} now, {money.spent(report.job.cost_micro_usd)} so far. "
                "It is deleted, and billed until the provider takes the deletion; nothing keeps billing after that."
            )
        lost = "Lost: what the job has not written elsewhere, and the machine's disk. Kept: its log, here."
        return Question(f"Stop {plain(report.job.name)}?", [where, lost], yes="Stop it", no="Keep", is_danger=True)

    def _stop_answered(self, yes: bool | None, job_id: str) -> None:
        if yes:
            self._stop(job_id)

    @work(group="stop", exit_on_error=False)
    async def _stop(self, job_id: str) -> None:
        try:
            await on_own_desk(self.desk, lambda desk: desk.request_stop(job_id))
        except GputuiError as error:
            self.gputui.tell(error)
        self.gputui.look()
