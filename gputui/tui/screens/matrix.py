"""Screen 1: what every GPU costs at every provider, and what is behind the cell under the cursor."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import on
from textual.app import SuspendNotSupported
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gputui.core import catalog, price_history, routing
from gputui.core.accounts import Account
from gputui.core.catalog import PriceRow
from gputui.core.price_history import Trend
from gputui.model.types import JobKind, JobSpec, Offer
from gputui.providers.registry import PROVIDERS, provider_info
from gputui.store import offers as offer_store
from gputui.tui import bindings
from gputui.tui.render import matrix
from gputui.tui.render.text import join, left, plain, rule, trouble_of
from gputui.tui.screens.market import MarketScreen
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.matrix_table import MatrixTable
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_COUNTED_OFFERS = 500
_AGE_EVERY_MS = 10_000


class MatrixScreen(MarketScreen):
    """Prices, refreshed while the screen is open."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual has it
    CSS_PATH = "matrix.tcss"
    AUTO_FOCUS = (
        "MatrixTable"  # else it is the filter, hidden as it is, and takes what is typed before anything is shown
    )
    BINDINGS = bindings.MATRIX + bindings.MARKET
    HELP: ClassVar[str] = (
        "One row per GPU model, one column per provider: the cheapest price per GPU and hour, with its stock "
        "(● in stock, ◐ low, ○ sold out). Dim prices are stale. Of the cell under the cursor, {matrix.offers} shows the "
        "offers and {matrix.deploy} starts a job there."
    )

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._finds_nothing = False
        self._cell: matrix.CellView | None = None
        self._expected_s = JobSpec(gpu="").expected_s
        self._age_shown_ms = 0
        self._connectable: str | None = None

    def body(self) -> Iterator[Widget]:
        yield Painted(id="market")
        keeps, clears = key_of(self.app, "list.keep-filter"), key_of(self.app, "list.clear-filter")
        hint = f"part of a GPU's name; {keeps} keeps it, {clears} clears it"
        field = Input(placeholder=hint, compact=True, id="filter")
        field.cursor_blink = False
        yield field
        yield MatrixTable(id="table")
        yield Static(id="empty")
        with Horizontal(id="cell-head"):
            yield Painted(id="cell-title")
            yield Painted(id="cell-age")
        yield Painted(id="cell-body")
        yield Painted(id="first-run")

    def refresh_data(self) -> None:
        columns = self._columns()
        rows = catalog.price_matrix(self.desk.store, providers=[column.name for column in columns if column.usable])
        shown = [row for row in rows if self._filter.casefold() in row.gpu.casefold()]
        self.query_one(MatrixTable).show(shown, columns, self._trends(columns))
        self.set_class(not shown, "-empty")
        self._finds_nothing = bool(rows) and not shown
        if self.has_class("-first-run") is not self._is_first_run():
            self.toggle_class("-first-run")
            self.refresh_bindings()
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

    # The cursor

    @on(RowList.Moved)
    @on(MatrixTable.ColumnMoved)
    def _cursor_moved(self) -> None:
        self._show_detail()

    @on(RowList.Chosen)
    def _show_offers(self) -> None:
        """Show the offers behind the cell under the cursor; where there is none, those of the GPU anywhere."""
        from gputui.core.query import quoted  # here, as prices are on the screen sooner without it

        table = self.query_one(MatrixTable)
        if table.key is not None:
            at = f" provider={table.provider}" if table.cell is not None else ""
            self.gputui.open_offers(f"gpu={quoted(table.key)}{at}")

    def action_best(self) -> None:
        table = self.query_one(MatrixTable)
        if table.key is None:
            self.notify("There is no GPU under the cursor.", markup=False)
        elif table.best is None:
            self.notify("Nobody has this GPU now.", markup=False)
        else:
            table.select_provider(table.best.provider)

    def action_hours(self) -> None:
        """Choose the hours of work that the effective price is for."""

        def use(seconds: int) -> None:
            self._expected_s = seconds
            self._show_detail()

        self.ask_hours(self._expected_s, use)

    def action_deploy(self) -> None:
        """Open the deploy form for the cell under the cursor; without an offer there, for the GPU anywhere."""
        table = self.query_one(MatrixTable)
        if table.key is None:
            self.notify("There is no GPU under the cursor.", markup=False)
            return
        provider = table.provider if table.cell is not None else None
        offers = offer_store.load_offers(
            self.desk.store, gpus=[table.key], providers=[provider] if provider else None, limit=_COUNTED_OFFERS
        )
        # Some models come only several to a machine: ask for what there is.
        count = min((offer.gpu_count for offer in offers), default=1)
        self.gputui.open_deploy(JobSpec(gpu=table.key, gpu_count=count, provider=provider))

    # The filter

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-on")
        self.set_focus(field)  # at once, which `focus` is not

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._filter = event.value.strip()
        event.input.set_class(event.input.has_focus or bool(self._filter), "-on")
        self.reload()

    def action_keep_filter(self) -> None:
        """Go to the list; where no GPU is called that, ask all offers: it may be a filter of theirs."""
        field = self.query_one("#filter", Input)
        if self._finds_nothing:
            wanted = self._filter
            self.escape()
            self.gputui.open_offers(wanted)
            return
        field.set_class(bool(field.value.strip()), "-on")
        self.set_focus(self.query_one(MatrixTable))

    def escape(self) -> bool:
        """Clear the filter. Returns False when there was none."""
        field = self.query_one("#filter", Input)
        if not field.has_class("-on"):
            return False
        field.value = ""
        field.remove_class("-on")
        self.query_one(MatrixTable).focus()
        return True

    # What is shown

    def _trends(self, columns: Sequence[matrix.Column]) -> dict[str, Trend]:
        """Return how the best price of each GPU moved over a day, at the providers that can be used."""
        now_ms = self.desk.clock.now_ms()
        usable = {column.name for column in columns if column.usable}
        points: dict[str, list[offer_store.PricePoint]] = defaultdict(list)
        for point in offer_store.load_price_history(self.desk.store, since_ms=now_ms - price_history.TREND_MS):
            if point.provider in usable:
                points[point.gpu].append(point)
        found = {gpu: price_history.trend(some, now_ms=now_ms, slices=matrix.SLICES) for gpu, some in points.items()}
        return {gpu: trend for gpu, trend in found.items() if trend is not None}

    def _past(self, gpu: str, provider: str) -> price_history.Summary | None:
        now_ms = self.desk.clock.now_ms()
        since_ms = now_ms - price_history.SUMMARY_MS
        points = offer_store.load_price_history(self.desk.store, gpu=gpu, since_ms=since_ms)
        return price_history.summary([point for point in points if point.provider == provider], now_ms=now_ms)

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
            # For a key that is missing there is a way from here; one that is refused is looked at where the test is.
            missing = in_keys(self.app, account.problem, here="matrix.connect") if account and account.problem else None
            problem = missing or (in_keys(self.app, status.error) if status and status.error else None)
            stale = status is None or status.last_ok_ms is None or status.last_ok_ms < oldest_ms
            title = account.label if account else provider_info(name).title
            usable = account is None or account.usable
            columns.append(matrix.Column(name, title, stale, problem, usable))
        return columns

    def _show_market(self, shown: int, total: int) -> None:
        count = f"{shown} of {total} GPU models" if self._filter else f"{total} GPU models"
        title = join(("Cheapest price per GPU and hour, in dollars", "$muted"))
        progress = self.progress(nothing_yet=not total) or join((count, "$muted"))
        self.query_one("#market", Painted).show(lambda width: rule(title, width, right_title=progress))

    def _show_detail(self) -> None:
        if self._connectable != (connectable := self._to_connect()):
            self._connectable = connectable
            self.refresh_bindings()
        table = self.query_one(MatrixTable)
        column = table.column
        if table.key is None or column is None:
            self._cell = None
            return
        info = provider_info(column.name)
        facts = catalog.provider_facts()[column.name]
        offers = self._cheapest(table.key, column.name) if column.usable else []
        spec = JobSpec(gpu=table.key, kind=JobKind.MACHINE, expected_s=self._expected_s)
        quotes = [routing.quote(offer, spec, facts) for offer in offers]
        account = next((account for account in self.gputui.accounts if account.info.name == column.name), None)
        view = matrix.CellView(
            column,
            table.key,
            quotes,
            table.cell.offer_count if table.cell is not None else 0,
            table.cell.sold_out_count if table.cell is not None else 0,
            info.billing,
            info.typical_boot_s,
            _source(account),
            spec.expected_s,
            self._past(table.key, column.name) if quotes else None,
        )
        self._cell = view
        self.query_one("#cell-title", Painted).show(lambda width: matrix.cell_title(view, width))
        body = self.query_one("#cell-body", Painted)
        opens = key_of(self.app, "matrix.offers")
        body.show(lambda width: matrix.cell_body(view, width, body.size.height, opens=opens))
        self._show_age()

    def _cheapest(self, gpu: str, provider: str) -> list[Offer]:
        limit = self.app.size.height  # no more can be seen
        return offer_store.load_cheapest_offers(self.desk.store, gpu=gpu, provider=provider, limit=limit)

    def _show_age(self) -> None:
        view, now_ms = self._cell, self.desk.clock.now_ms()
        if view is not None:
            self._age_shown_ms = now_ms
            self.query_one("#cell-age", Painted).show(lambda width: matrix.cell_age(view, width, now_ms=now_ms))

    def _why_empty(self, rows: Sequence[PriceRow], columns: Sequence[matrix.Column]) -> Content:
        if rows:
            keeps, clears = key_of(self.app, "list.keep-filter"), key_of(self.app, "list.clear-filter")
            ways = [(f"{keeps} looks among all offers", "$muted"), (f"{clears} clears the filter", "$muted")]
            return matrix.empty([(f"No GPU has “{plain(self._filter)}” in its name.", ""), *ways])
        if self.gputui.asking or not self.gputui.accounts:
            return matrix.empty([("Asking the providers for their prices …", "$muted")])
        problems = [(trouble_of(plain(c.title), plain(c.problem)), "$state-failed") for c in columns if c.problem]
        again = f"{key_of(self.app, 'list.refresh')} asks again"
        return matrix.empty([("No prices yet.", "bold"), *problems, ("", ""), (again, "$muted")])

    def _is_first_run(self) -> bool:
        accounts = self.gputui.accounts
        return bool(accounts) and not any(account.usable and account.info.needs_key for account in accounts)

    def _first_run(self, width: int) -> Content:
        ways = [
            (key_of(self.app, "matrix.connect"), "Connect a provider", "with a key of your own"),
            (key_of(self.app, "matrix.demo"), "Try the demo", "simulated clouds; nothing is billed"),
            (key_of(self.app, "matrix.deploy"), "Run on the mock", "no key, no network, no cost"),
        ]
        room = max(len(key) for key, _, _ in ways) + 2
        lines = [
            join("   ", (key, "$accent bold"), f"{' ' * (room - len(key))}{left(what, 20)}", (note, "$muted"))
            for key, what, note in ways
        ]
        lines = [line.truncate(width, ellipsis=True) for line in lines]
        return Content("\n").join([rule(join(("Welcome", "bold")), width), *lines])

    # The first run

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "try_demo":
            return self._is_first_run()
        if action == "connect":
            return self._connectable is not None
        return super().check_action(action, parameters)

    def _to_connect(self) -> str | None:
        """Return the provider that a key is missing of: the one under the cursor, or any where there is nothing to see."""
        lacking = [account.info.name for account in self.gputui.accounts if not account.usable]
        table = self.query_one(MatrixTable)
        if table.provider in lacking:
            return table.provider
        return lacking[0] if lacking and (self._is_first_run() or table.key is None) else None

    def action_connect(self) -> None:
        if (name := self._connectable) is not None:
            self.gputui.open_page("providers", lambda screen: screen.select(name))

    def action_try_demo(self) -> None:
        """Lend the terminal to the demo until it is closed."""
        try:
            with self.app.suspend():
                self.gputui.run_outside([sys.executable, "-m", "gputui", "demo"])
        except SuspendNotSupported:
            self.notify("This terminal cannot be lent to the demo. Run: gputui demo", markup=False)


def _source(account: Account | None) -> str:
    """Return with which key prices were fetched."""
    if account is None:
        return ""
    if not account.info.needs_key:
        return "no key needed"
    return "your key" if account.key_source else "no key now"
