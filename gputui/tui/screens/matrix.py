"""Screen 1: what every GPU costs at every provider, and what is behind the cell under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import on, work
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gputui.core import catalog, routing
from gputui.core.accounts import Account
from gputui.core.catalog import PriceRow, RefreshOutcome
from gputui.model.types import JobKind, JobSpec, Stock
from gputui.providers.registry import PROVIDERS, provider_info
from gputui.store import offers as offer_store
from gputui.tui import bindings
from gputui.tui.render import matrix
from gputui.tui.render.text import join, plain, rule
from gputui.tui.screens.base import BaseScreen
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_DETAIL_OFFERS = 500
_AGE_EVERY_MS = 10_000


class MatrixScreen(BaseScreen):
    """Prices, refreshed while the screen is open."""

    CRUMBS = ("Matrix",)
    HELP_SCOPES = ("matrix", "list")
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual has it
    CSS_PATH = "matrix.tcss"
    BINDINGS = bindings.MATRIX
    HELP: ClassVar[str] = (
        "One row per GPU model, one column per provider: the cheapest price per GPU and hour, with its stock "
        "(● in stock, ◐ low, ○ sold out). Dim prices are stale. Enter starts a job on the cell under the cursor."
    )

    def __init__(self) -> None:
        super().__init__()
        self._asking: dict[str, RefreshOutcome | None] = {}
        self._is_asked_for = False
        self._filter = ""
        self._cell: matrix.CellView | None = None
        self._age_shown_ms = 0

    def body(self) -> Iterator[Widget]:
        yield Painted(id="market")
        field = Input(placeholder="part of a GPU's name; enter keeps it, esc clears it", compact=True, id="filter")
        field.cursor_blink = False
        yield field
        yield MatrixTable(id="table")
        yield Static(id="empty")
        with Horizontal(id="cell-head"):
            yield Painted(id="cell-title")
            yield Painted(id="cell-age")
        yield Painted(id="cell-body")
        yield Painted(id="first-run")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(MatrixTable).focus()
        self.set_interval(self.desk.config.ui.refresh_s, self._refresh_stale)

    def refresh_data(self) -> None:
        columns = self._columns()
        rows = catalog.price_matrix(self.desk.store, providers=[column.name for column in columns if column.usable])
        shown = [row for row in rows if self._filter.casefold() in row.gpu.casefold()]
        self.query_one(MatrixTable).show(shown, columns)
        self.set_class(not shown, "-empty")
        self.set_class(self._is_first_run(), "-first-run")
        self._show_market(len(shown), len(rows))
        if not shown:
            self.query_one("#empty", Static).update(self._why_empty(rows, columns))
        if self._is_first_run():
            self.query_one("#first-run", Painted).show(self._first_run)
        self._show_detail()

    def tick(self) -> None:
        # Every repainted cell travels over SSH, so an age is renewed now and then, not every second.
        if self.desk.clock.now_ms() - self._age_shown_ms >= _AGE_EVERY_MS:
            self._show_age()

    def accounts_known(self) -> None:
        """Called once the keys were looked up: only now is it known whom to ask."""
        self.reload()
        self._refresh_stale()

    # The cursor

    @on(RowList.Moved)
    @on(MatrixTable.ColumnMoved)
    def _cursor_moved(self) -> None:
        self._show_detail()

    @on(RowList.Chosen)
    def action_deploy(self) -> None:
        """Open the deploy form for the cell under the cursor; without an offer there, for the GPU anywhere."""
        table = self.query_one(MatrixTable)
        if table.key is None:
            self.notify("There is no GPU under the cursor.", markup=False)
            return
        provider = table.provider if table.cell is not None else None
        offers = offer_store.load_offers(
            self.desk.store, gpus=[table.key], providers=[provider] if provider else None, limit=_DETAIL_OFFERS
        )
        # Some models come only several to a machine: ask for what there is.
        count = min((offer.gpu_count for offer in offers), default=1)
        self.gputui.open_deploy(JobSpec(gpu=table.key, gpu_count=count, provider=provider))

    # The filter

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-on")
        field.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._filter = event.value.strip()
        self.reload()

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self.query_one("#filter").set_class(bool(self._filter), "-on")
        self.query_one(MatrixTable).focus()

    def escape(self) -> bool:
        """Clear the filter. Returns False when there was none."""
        field = self.query_one("#filter", Input)
        if not field.has_class("-on"):
            return False
        field.value = ""
        field.remove_class("-on")
        self.query_one(MatrixTable).focus()
        return True

    # Refreshing

    def action_refresh_offers(self) -> None:
        if not self.gputui.accounts:
            self.gputui.look_up_accounts()
            return
        self._is_asked_for = True
        self._fetch([account.info.name for account in self.gputui.accounts if account.usable])

    def _refresh_stale(self) -> None:
        if self.is_current and self.gputui.accounts:
            stale = self.desk.stale_providers(self.desk.config.ui.refresh_s)
            if stale:
                self._fetch(stale)

    @work(group="offers", exit_on_error=False)
    async def _fetch(self, providers: Sequence[str]) -> None:
        """Fetch offers side by side; each provider shows as done on its own."""
        wanted = [name for name in providers if name not in self._asking]
        self._asking.update(dict.fromkeys(wanted))
        self.reload()

        async def one(name: str) -> RefreshOutcome:
            [outcome] = await self.desk.refresh([name])
            self._asking[name] = outcome
            self.gputui.look()
            return outcome

        try:
            await asyncio.gather(*(one(name) for name in wanted))
        finally:
            for name in wanted:
                self._asking.pop(name, None)
            self._is_asked_for = self._is_asked_for and bool(self._asking)
            self.reload()

    # What is shown

    def _columns(self) -> list[matrix.Column]:
        statuses = self.desk.provider_statuses()
        now_ms = self.desk.clock.now_ms()
        oldest_ms = now_ms - self.desk.config.offers.max_age_s * 1000
        accounts = {account.info.name: account for account in self.gputui.accounts}
        names = list(accounts) or [name for name in PROVIDERS if name in statuses]
        columns = []
        for name in names:
            status = statuses.get(name)
            account = accounts.get(name)
            problem = (account.problem if account else None) or (status.error if status else None)
            stale = status is None or status.last_ok_ms is None or status.last_ok_ms < oldest_ms
            title = account.label if account else provider_info(name).title
            usable = account is None or account.usable
            columns.append(matrix.Column(name, title, stale, problem, usable))
        return columns

    def _show_market(self, shown: int, total: int) -> None:
        count = f"{shown} of {total} GPU models" if self._filter else f"{total} GPU models"
        title = join(("Cheapest price per GPU and hour, in dollars", "$muted"))
        shows_progress = self._asking and (self._is_asked_for or not total)
        progress = join(*self._progress()) if shows_progress else join((count, "$muted"))
        self.query_one("#market", Painted).show(lambda width: rule(title, width, right_title=progress))

    def _progress(self) -> Iterator[tuple[str, str]]:
        yield "asking", "$muted"
        for name, outcome in self._asking.items():
            title = plain(provider_info(name).title)
            if outcome is None:
                yield f" {title} …", "$muted"
            elif outcome.error is None:
                yield f" {title} ✓ {outcome.latency_ms / 1000:.1f} s", "$state-running"
            else:
                yield f" {title} ✕", "$state-failed"

    def _show_detail(self) -> None:
        table = self.query_one(MatrixTable)
        column = table.column
        if table.key is None or column is None:
            self._cell = None
            return
        info = provider_info(column.name)
        facts = catalog.provider_facts()[column.name]
        providers = [column.name] if column.usable else []
        offers = offer_store.load_offers(self.desk.store, gpus=[table.key], providers=providers, limit=_DETAIL_OFFERS)
        spec = JobSpec(gpu=table.key, kind=JobKind.MACHINE)
        quotes = sorted((routing.quote(offer, spec, facts) for offer in offers), key=_by_price_in_stock)
        account = next((account for account in self.gputui.accounts if account.info.name == column.name), None)
        count = table.cell.offer_count if table.cell is not None else 0
        view = matrix.CellView(column, table.key, quotes, count, info.billing, info.typical_boot_s, _source(account))
        self._cell = view
        self.query_one("#cell-title", Painted).show(lambda width: matrix.cell_title(view, width))
        body = self.query_one("#cell-body", Painted)
        body.show(lambda width: matrix.cell_body(view, width, body.size.height))
        self._show_age()

    def _show_age(self) -> None:
        view, now_ms = self._cell, self.desk.clock.now_ms()
        if view is not None:
            self._age_shown_ms = now_ms
            self.query_one("#cell-age", Painted).show(lambda width: matrix.cell_age(view, width, now_ms=now_ms))

    def _why_empty(self, rows: Sequence[PriceRow], columns: Sequence[matrix.Column]) -> Content:
        if rows:
            return matrix.empty(
                [(f"No GPU has “{plain(self._filter)}” in its name.", ""), ("esc clears the filter", "$muted")]
            )
        if self._asking or not self.gputui.accounts:
            return matrix.empty([("Asking the providers for their prices …", "$muted")])
        problems = [(f"{plain(c.title)}: {plain(c.problem)}", "$state-failed") for c in columns if c.problem]
        return matrix.empty([("No prices yet.", "bold"), *problems, ("", ""), ("r asks again", "$muted")])

    def _is_first_run(self) -> bool:
        accounts = self.gputui.accounts
        return bool(accounts) and not any(account.usable and account.info.needs_key for account in accounts)

    def _first_run(self, width: int) -> Content:
        names = [account.info.name for account in self.gputui.accounts if account.info.needs_key]
        lines = [
            rule(join(("Welcome", "bold")), width),
            join("   Connect a provider    ", (f"gputui auth login {names[0] if names else 'PROVIDER'}", "$accent")),
            join(
                "   Try the demo          ",
                ("gputui demo", "$accent"),
                ("   simulated clouds, nothing is billed", "$muted"),
            ),
            join("   Run on the mock       ", ("n", "$accent bold"), ("   no key, no network, no cost", "$muted")),
        ]
        return Content("\n").join(lines)


def _by_price_in_stock(quote: routing.Quote) -> tuple[bool, int]:
    offer = quote.offer
    return offer.stock is Stock.NONE, offer.price_micro_usd_per_hour // max(1, offer.gpu_count)


def _source(account: Account | None) -> str:
    """Return with which key prices were fetched."""
    if account is None:
        return ""
    if not account.info.needs_key:
        return "no key needed"
    return "your key" if account.key_source else "no key now"
