"""Everything that is alive in every account: ours with its job, what is lost, and strangers, which are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.content import Content
from textual.widget import Widget

from gputui.core.desk import MachineRow
from gputui.core.sweep import to_look_through
from gputui.model.errors import GputuiError
from gputui.model.units import format_age
from gputui.tui import bindings
from gputui.tui.machine_book import MachineView, Whose, machine_views
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import columns, money
from gputui.tui.render import machines as machines_render
from gputui.tui.render.tabs import neighbour, tab_title
from gputui.tui.render.text import plain, styled
from gputui.tui.screens.asking import AskingScreen, Told, by_provider
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList


class MachinesScreen(AskingScreen):
    """A list of machines and what is known of the one under the cursor."""

    BINDINGS = bindings.MACHINES + bindings.ASKING + bindings.TABS
    HELP: ClassVar[str] = (
        "Every machine that any account has, asked from the providers themselves. What a sweep found lost is ours and no job "
        "has it: it costs money until it is ended. Strangers were not made by gputui and are left alone; one of them is "
        "ended only after its id was typed."
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[MachineRow] = Told()
        self._views: dict[str, MachineView] = {}

    def below(self) -> Iterator[Widget]:
        yield Painted(id="detail")

    @property
    def view(self) -> MachineView | None:
        """The machine under the cursor."""
        return self._views.get(self.table.key or "")

    # What is shown

    async def ask(self) -> None:
        asked = to_look_through(self.desk.store, self.desk.accounts)
        rows, problems = await self.desk.machines()
        answered = [name for name in asked if name not in problems]
        answers = by_provider(answered, rows, lambda row: row.machine.provider)
        self.told = self.told.heard(answers, problems, self.desk.clock.now_ms())

    def refresh_data(self) -> None:
        views = machine_views(self.desk, self.told.all(), frozenset(self.told.problems))
        self._views = {view.key: view for view in views}
        found = machines_render.columns(self.title_of, self.desk.clock.now_ms())
        self._columns = columns.fit(found, self.app.size.width)
        self.table.set_header(columns.header(self._columns))
        title = tab_title("machines", self.count(views))
        nothing = self.hints(
            "Nothing is alive in any account.",
            ("machines.new", "describe a job"),
            ("machines.sweep", "sweep for what is forgotten"),
        )
        self.show_list(title, list(self._views), summaries=self._summaries(views), nothing=nothing)
        self._show_detail()

    def _summaries(self, views: list[MachineView]) -> list[Content]:
        swept = [done.ok_ms for done in self.desk.swept().values() if done.ok_ms is not None]
        age = (
            styled(f"swept {format_age(self.desk.clock.now_ms() - min(swept))} ago", "$muted") if swept else Content("")
        )
        summary = machines_render.summary(views)
        return [Content("   ").join(filter(None, (summary, age))), summary, machines_render.lost_count(views)]

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        view = self._views[key]
        return [columns.row(view, self._columns, here=here, is_dim=view.is_old)]

    @on(RowList.Moved)
    def _show_detail(self) -> None:
        view = self.view
        if view is not None:
            now_ms = self.desk.clock.now_ms()
            self.query_one("#detail", Painted).show(
                lambda width: machines_render.detail(view, now_ms=now_ms, width=width, title=self.title_of)
            )
        self.refresh_bindings()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "adopt":
            return self.is_mounted and self.view is not None and self.view.whose in (Whose.LOST, Whose.ENDED)
        return super().check_action(action, parameters)

    def obstacle(self, action: str) -> str | None:
        view = self.view if self.is_mounted else None
        if action == "terminate" and view is None:
            return "There is no machine under the cursor."
        if action in ("terminate", "adopt") and view is not None and view.is_being_ended:
            return "It is being ended already; the agent repeats that until the provider no longer lists it."
        if action == "open_job" and (view is None or view.report is None):
            return "No job of ours has this machine."
        return None

    def action_tab(self, steps: int) -> None:
        self.gputui.action_go(neighbour("machines", steps))

    def action_new(self) -> None:
        self.gputui.action_go("deploy")

    @on(RowList.Chosen)
    def action_open_job(self) -> None:
        if not self.explain("open_job") and (view := self.view) is not None and view.report is not None:
            self.gputui.open_job(view.report.job.id)

    @work(group="sweep", exclusive=True, exit_on_error=False)
    async def action_sweep(self) -> None:
        """Look for what no job accounts for; what is lost shows as such after it was seen twice."""
        self.notify("Looking through every account for what no job accounts for …", markup=False)
        swept = await self.desk.sweep()
        self.gputui.look()
        machines = [found for found in swept.findings if found.rate_micro_usd_per_hour is not None]
        if swept.problems:
            names = ", ".join(self.title_of(name) for name in swept.problems)
            self.notify(f"No answer from {names}: there may be more.", severity="warning", markup=False)
        elif not swept.findings:
            self.notify("Everything that exists is accounted for.", markup=False)
        else:
            self.notify(f"{len(swept.findings)} things found, {len(machines)} of them machines.", markup=False)
        self.ask_again()

    def action_adopt(self) -> None:
        """Ask, then give the machine to a job of its own."""
        view = self.view
        if self.explain("adopt") or view is None:
            return
        rate = view.machine.present_rate_micro_usd_per_hour
        lines = [
            f"Nothing on it changes, and it goes on costing {money.rate(rate) if rate is not None else 'money'}: metered, and "
            "watched by the agent, until you stop that job.",
        ]
        question = Question(f"Take {plain(view.name[:100])} back as a job?", lines, yes="Adopt it", no="Leave it")

        def answered(yes: bool | None) -> None:
            if yes:
                self._adopt(view)

        self.app.push_screen(ConfirmScreen(question), answered)

    @work(group="adopt", exit_on_error=False)
    async def _adopt(self, view: MachineView) -> None:
        try:
            job = await on_own_desk(self.desk, lambda desk: desk.adopt(view.machine))
        except GputuiError as error:
            self.gputui.tell(error)
        else:
            self.notify(f"Job {job.name} has it now. To end it, stop that job.", markup=False)
        self.gputui.look()

    def action_terminate(self) -> None:
        """Ask, then wish the machine gone; one that is not certainly ours only after its id was typed."""
        view = self.view
        if not self.explain("terminate") and view is not None:
            self.app.push_screen(ConfirmScreen(self._question(view)), lambda yes: self._answered(yes, view))

    def _question(self, view: MachineView) -> Question:
        machine = view.machine
        rate = machine.present_rate_micro_usd_per_hour
        costs = f"costs {money.rate(rate)} now" if rate is not None else "costs what its provider does not tell"
        where = f" {plain(machine.region)}" if machine.region else ""
        lines = [
            f"Machine {plain(machine.id[:100])} at {self.title_of(machine.provider)}{where} {costs}. "
            "It is billed until the provider takes the deletion; nothing keeps billing after that but volumes.",
            "Lost: everything on its disk.",
        ]
        if view.whose is Whose.JOB and view.report is not None:
            title = f"Stop job {plain(view.report.job.name)} and end its machine?"
            lines[1] = "Lost: what the job has not written elsewhere, and the machine's disk. Kept: its log, here."
        else:
            title = f"End {plain(view.name[:100])}?"
        if not view.whose.is_certainly_ours:
            lines.insert(0, "This machine may be somebody's work: no job here has made it.")
        typed = "" if view.whose.is_certainly_ours else machine.id
        return Question(title, lines, yes="End it", no="Keep", is_danger=True, typed=typed)

    def _answered(self, yes: bool | None, view: MachineView) -> None:
        if yes:
            self._terminate(view)

    @work(group="terminate", exit_on_error=False)
    async def _terminate(self, view: MachineView) -> None:
        try:
            await on_own_desk(self.desk, lambda desk: desk.request_termination(view.machine))
        except GputuiError as error:
            self.gputui.tell(error)
        else:
            name = plain(view.name[:100])
            self.notify(
                f"{name} is being ended: the agent repeats it until the provider no longer lists it.", markup=False
            )
        self.gputui.look()
