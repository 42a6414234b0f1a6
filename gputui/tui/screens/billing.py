"""Screen 7: what was spent by day, by provider and by job, and how long credit lasts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import ClassVar

from textual import on
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget

from gputui.core.reports import UsageRow
from gputui.core.spending import Month, month_of, rates_by_provider, spent_by_day, spent_in
from gputui.model.types import Balance
from gputui.store import usage as usage_store
from gputui.tui import bindings
from gputui.tui.render import billing as billing_render
from gputui.tui.render import columns
from gputui.tui.render.billing import Credit, Spending
from gputui.tui.render.text import join, rule
from gputui.tui.screens.asking import AskingScreen, Told, by_provider
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList


class BillingScreen(AskingScreen):
    """A month: bars by day, balances beside them, jobs under them."""

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = ["asking.tcss", "billing.tcss"]
    BINDINGS = bindings.BILLING + bindings.ASKING
    ASK_EVERY_S = 300.0
    HELP: ClassVar[str] = (
        "Metered here by each provider's billing rule; ± covers what a provider does not tell to the second. Days are in "
        "UTC. The jobs are those that billed in the month, each with all it cost. Balances are asked from the providers; "
        "how long one lasts is reckoned at what is being paid there now."
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[Balance] = Told()
        self._months_ago = 0
        self._rows: dict[str, UsageRow] = {}

    def body(self) -> Iterator[Widget]:
        with Container(id="top"):
            with Vertical(id="left"):
                yield Painted(id="month")
                yield Painted(id="chart")
            with Vertical(id="right"):
                yield Painted(id="balances-title")
                yield Painted(id="balances")
        yield from super().body()

    # What is shown

    async def ask(self) -> None:
        found, problems = await self.desk.balances()
        answers = by_provider([], found, lambda balance: balance.provider)
        self.told = self.told.heard(answers, problems, self.desk.clock.now_ms())

    def tick(self) -> None:
        """Costs of what is alive move with the clock."""
        super().tick()
        if any(row.billed_to_ms is None for row in self._rows.values()):
            self.reload()

    def refresh_data(self) -> None:
        now_ms = self.desk.clock.now_ms()
        month = month_of(now_ms, months_ago=self._months_ago)
        self._show_month(month, now_ms)
        self._show_balances()
        rows = [row for row in self.desk.usage(since_ms=month.start_ms) if row.billed_from_ms < month.end_ms]
        self._rows = {f"{row.job.id} {row.provider} {row.billed_from_ms}": row for row in rows}
        self._columns = columns.fit(billing_render.columns(self.title_of, now_ms), self.app.size.width)
        self.table.set_header(columns.header(self._columns))
        title = join(("By job", "bold"), (f" {len(rows)}", "$muted"))
        whole = [join(("whole jobs that billed in the month, newest first", "$muted"))] if rows else []
        nothing = self.hints(
            "No job billed in this month.", ("billing.before", "the month before"), ("go.deploy", "describe a job")
        )
        self.show_list(title, list(self._rows), summaries=whole, nothing=nothing)

    def _show_month(self, month: Month, now_ms: int) -> None:
        intervals = usage_store.load_intervals(self.desk.store, since_ms=month.start_ms)
        spending = Spending(
            month, spent_by_day(intervals, month, now_ms=now_ms), spent_in(intervals, month, now_ms=now_ms)
        )
        self.query_one("#month", Painted).show(lambda width: rule(billing_render.month_title(spending), width))
        chart = self.query_one("#chart", Painted)
        height = 7 if self.is_narrow else 12
        chart.show(lambda width: billing_render.chart(spending, width=width, height=height, title=self.title_of))

    def _show_balances(self) -> None:
        rates = rates_by_provider(usage_store.load_intervals(self.desk.store, since_ms=self.desk.clock.now_ms()))
        told = {balance.provider: balance.balance_micro_usd for balance in self.told.all()}
        credits = [
            Credit(name, amount, rates.get(name, 0), name in self.told.problems)
            for name, amount in told.items()
            if amount is not None
        ]
        heard = {credit.provider for credit in credits} | set(self.told.problems)
        with_key = [account.info.name for account in self.gputui.accounts if account.usable and account.info.needs_key]
        silent = [name for name in with_key if name not in heard] if self.has_asked else []
        is_asking = self.is_asking
        self.query_one("#balances-title", Painted).show(lambda width: billing_render.balances_title(width, is_asking))
        self.query_one("#balances", Painted).show(
            lambda width: (
                billing_render.balances(credits, silent, width=width, title=self.title_of)
                if self.has_asked
                else Content("")
            )
        )

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        return [columns.row(self._rows[key], self._columns, here=here)]

    def why_empty(self, nothing: Content) -> Content:
        return nothing  # what jobs cost is known without asking anybody

    # Keys

    def obstacle(self, action: str) -> str | None:
        if action == "open_job" and self.is_mounted and self.table.key is None:
            return "There is no job under the cursor."
        if action == "month_after" and not self._months_ago:
            return "This is the present month."
        return None

    @on(RowList.Chosen)
    def action_open_job(self) -> None:
        if not self.explain("open_job") and self.table.key is not None:
            self.gputui.open_job(self._rows[self.table.key].job.id)

    def action_month_before(self) -> None:
        self._months_ago += 1
        self.reload()

    def action_month_after(self) -> None:
        if not self.explain("month_after"):
            self._months_ago -= 1
            self.reload()
