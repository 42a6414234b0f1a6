"""Screen 2: every offer one by one, narrowed by a filter, with everything known of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gputui.core import routing
from gputui.core.catalog import provider_facts
from gputui.core.query import EXAMPLES, Query, QueryError, parse_query, settled
from gputui.core.routing import Plan, Quote
from gputui.local.ui_state import load_ui_state, save_ui_state
from gputui.model.errors import GputuiError
from gputui.model.types import JobKind, JobSpec, Stock
from gputui.providers.registry import provider_info
from gputui.store import offers as offer_store
from gputui.tui import bindings
from gputui.tui.offer_book import ORDERS, Arrangement, Book, Stamp, reread, stamps_of
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import offer_detail
from gputui.tui.render import offers as offers_render
from gputui.tui.render.offers import View
from gputui.tui.render.text import join, plain, styled, trouble_of
from gputui.tui.screens.market import MarketScreen
from gputui.tui.screens.pick import Choice, PickScreen
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.offer_table import OfferTable
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_FILTER_INDENT = 2
_AGE_EVERY_MS = 10_000


class OffersScreen(MarketScreen):
    """A list that keeps its cursor, its place and its marks through every refresh."""

    CSS_PATH = "offers.tcss"
    AUTO_FOCUS = "OfferTable"  # else it is the filter
    BINDINGS = bindings.OFFERS + bindings.MARKET
    HELP: ClassVar[str] = (
        "Every offer, by what it really costs: the effective price spreads boot time, rounding and the provider's minimum "
        "over the work you expect ({offers.hours}). Dim rows are stale or sold out. {offers.details} shows everything known "
        "of one, {offers.deploy} starts a job on it."
    )
    HELP_TABLE = ("The filter", EXAMPLES)

    def __init__(self) -> None:
        super().__init__()
        self._book = Book()
        self._arrangement = Arrangement()
        self._wanted: tuple[Arrangement, Mapping[str, Stamp]] | None = None
        self._query = Query()
        self._mistake: QueryError | None = None
        self._opened_with = ""
        self._shown: Sequence[str] = ()
        self._marked: frozenset[str] = frozenset()
        self._marked_only = False
        self._plans: dict[tuple[str, int], Plan] = {}

    def body(self) -> Iterator[Widget]:
        with Horizontal(id="filter-line"):
            yield Static("/", id="slash")
            hint = "gpu:h100 vram>=80 $<2.5 !region:cn"
            field = Input(placeholder=hint, compact=True, select_on_focus=False, id="filter")
            field.cursor_blink = False
            yield field
        yield Painted(id="rule")
        with Container(id="columns"):
            yield OfferTable(self._view_now(), id="offers")
            with VerticalScroll(id="details"):
                yield Painted(id="detail")
        yield Static(id="empty")

    @property
    def _table(self) -> OfferTable:
        return self.query_one(OfferTable)

    # What is shown

    def refresh_data(self) -> None:
        accounts = self.gputui.accounts
        usable = [account.info.name for account in accounts if account.usable] if accounts else None
        stamps = stamps_of(self.desk.store, usable)
        wanted = self._arrangement, stamps
        if not self._book.is_current(*wanted) and not (self._is_reading() and self._wanted == wanted):
            self._wanted = wanted
            self._read(*wanted)
        self._show_rows()

    @work(group="book", exclusive=True, exit_on_error=False)
    async def _read(self, arrangement: Arrangement, stamps: Mapping[str, Stamp]) -> None:
        """Read and sort in a thread; what is on the screen stays until that is done."""
        book = self._book
        self._book = await on_own_desk(self.desk, lambda desk: reread(book, desk.store, arrangement, stamps))
        self._plans.clear()
        self._show_rows()

    def _show_rows(self) -> None:
        shown = self._query.select_ids(self._book.listing)
        if self._marked_only:
            shown = [offer_id for offer_id in shown if offer_id in self._marked]
        self._shown = shown
        self._view = self._view_now()
        self._table.show(shown, self._book.listing.by_id, self._view)
        self._show_rule()
        self.set_class(not shown, "-empty")
        if not shown:
            self.query_one("#empty", Static).update(self._why_empty())
        self._show_detail()

    def _view_now(self) -> View:
        now_ms, arrangement = self.desk.clock.now_ms(), self._book.arrangement
        return View(
            now_ms=now_ms,
            fresh_after_ms=now_ms - self.desk.config.offers.max_age_s * 1000,
            arrangement=arrangement,
            titles={account.info.name: account.label for account in self.gputui.accounts},
            best=_cheapest(map(self._book.listing.by_id.__getitem__, self._shown), arrangement),
            marked=self._marked,
        )

    def _show_rule(self) -> None:
        line = self.query_one("#rule", Painted)
        if (mistake := self._mistake) is not None:
            indent = _FILTER_INDENT - self.query_one("#filter", Input).scroll_offset.x
            line.show(lambda width: offers_render.mistake(mistake, width, indent=indent))
            return
        shown, total, view = len(self._shown), len(self._book.listing.quotes), self._view
        busy = self.progress(nothing_yet=not total)
        only = self._marked_only
        line.show(lambda width: offers_render.title(shown, total, view, width, marked_only=only, busy=busy))

    def tick(self) -> None:
        """Ages move with the clock, in whole minutes."""
        if self.desk.clock.now_ms() - self._view.now_ms >= _AGE_EVERY_MS:
            self._view = self._view_now()
            self._table.look_again(self._view)

    def _why_empty(self) -> Content:
        total = len(self._book.listing.quotes)
        if total:
            what = "None of the marked offers fits the filter." if self._marked_only else "No offer fits the filter."
            clears = key_of(self.app, "list.clear-filter")
            lines = [styled(what), styled(f"{total:,} are hidden; {clears} clears the filter", "$muted")]
        elif self.gputui.asking or not self.gputui.accounts or self._is_reading():
            lines = [styled("Asking the providers for their offers …", "$muted")]
        else:
            statuses = self.desk.provider_statuses()
            problems = [
                trouble_of(plain(account.label), plain(in_keys(self.app, status.error)))
                for account in self.gputui.accounts
                if (status := statuses.get(account.info.name)) is not None and status.error is not None
            ]
            lines = [styled("No offers yet.", "bold"), *(styled(problem, "$state-failed") for problem in problems)]
            lines += [Content(""), join((key_of(self.app, "list.refresh"), "$accent bold"), (" asks again", "$muted"))]
        return Content("\n").join(lines)

    def _is_reading(self) -> bool:
        return any(worker.group == "book" and worker.is_running for worker in self.workers)

    # The cursor

    @on(RowList.Moved)
    def _cursor_moved(self) -> None:
        self._show_detail()

    @on(RowList.Chosen)
    def action_details(self) -> None:
        self.toggle_class("-details")
        self.call_after_refresh(self._show_rows)

    def _show_detail(self) -> None:
        if not self.has_class("-details"):
            return
        shown, now_ms = self._detail(), self.desk.clock.now_ms()
        titles = self._view.titles
        self.query_one("#detail", Painted).show(
            lambda width: (
                Content("")
                if shown is None
                else offer_detail.detail(shown, width, now_ms=now_ms, title=lambda name: titles.get(name, name))
            )
        )

    def _detail(self) -> offer_detail.Detail | None:
        quote = self._table.quote
        if quote is None:
            return None
        offer = offer_store.load_offer(self.desk.store, quote.offer.id) or quote.offer
        account = next((known for known in self.gputui.accounts if known.info.name == offer.provider), None)
        return offer_detail.Detail(
            quote=quote._replace(offer=offer),
            info=provider_info(offer.provider),
            title=plain(account.label if account else provider_info(offer.provider).title),
            plan=self._plan(quote),
            expected_s=self._book.arrangement.expected_s,
            is_stale=offer.fetched_at_ms < self._view.fresh_after_ms,
            source="" if account is None else "your key" if account.info.needs_key else "no key needed",
        )

    def _plan(self, quote: Quote) -> Plan:
        """Return what the router makes of every offer of this GPU, for a machine with as many of them."""
        gpu, count = quote.offer.gpu, quote.offer.gpu_count
        if (gpu, count) not in self._plans:
            spec = JobSpec(gpu=gpu, gpu_count=count, kind=JobKind.MACHINE, expected_s=self._book.arrangement.expected_s)
            alike = [found.offer for found in self._book.listing.quotes if found.offer.gpu == gpu]
            self._plans[gpu, count] = routing.rank(alike, spec, provider_facts())
        return self._plans[gpu, count]

    def action_deploy(self) -> None:
        """Open the deploy form for the offer under the cursor."""
        if (quote := self._table.quote) is not None:
            offer = quote.offer
            self.gputui.open_deploy(
                JobSpec(gpu=offer.gpu, gpu_count=offer.gpu_count, provider=offer.provider, region=offer.region)
            )

    def action_wait(self) -> None:
        """Join the waitlist for the offer under the cursor, which is sold out."""
        if (key := self._table.key) is not None:
            self.gputui.open_page("waitlist", lambda screen: screen.join(key))

    # Marks

    def action_mark(self) -> None:
        if (key := self._table.key) is not None:
            self._marked ^= {key}
            self._show_rows()
            self._table.action_move(1)

    def action_unmark(self) -> None:
        self._marked, self._marked_only = frozenset(), False
        self._show_rows()

    def action_compare(self) -> None:
        self._marked_only = bool(self._marked) and not self._marked_only
        self._show_rows()

    # Order, unit, columns

    def _arrange(self, arrangement: Arrangement) -> None:
        self._arrangement = arrangement
        self.reload()

    def action_order(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._arrange(replace(self._arrangement, order=name, is_reversed=False))

        choices = [Choice(name, order.title) for name, order in ORDERS.items()]
        self.app.push_screen(PickScreen("Order by", choices, current=self._arrangement.order), chosen)

    def action_reverse(self) -> None:
        self._arrange(replace(self._arrangement, is_reversed=not self._arrangement.is_reversed))

    def action_unit(self) -> None:
        self._arrange(replace(self._arrangement, per_gpu=not self._arrangement.per_gpu))

    def action_hours(self) -> None:
        self.ask_hours(
            self._arrangement.expected_s, lambda seconds: self._arrange(replace(self._arrangement, expected_s=seconds))
        )

    def action_wide(self) -> None:
        self._table.toggle_wide()

    def action_columns(self, columns: int) -> None:
        self._table.move_columns(columns)

    # The filter

    def open_filter(self, text: str) -> None:
        """Show what a filter lets pass; escape leads back to where it came from."""
        self._opened_with = text
        self._marked_only = False
        self.query_one("#filter", Input).value = text
        self._table.focus()

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._table.action_edge(-1)  # the first of what is left is what is looked for
        self._use_filter(settled(event.value) if event.input.has_focus else event.value)

    def action_keep_filter(self) -> None:
        self.set_focus(self._table)  # at once, which `focus` is not
        self._use_filter(self.query_one("#filter", Input).value)

    def _use_filter(self, text: str) -> None:
        """Narrow to what fits. While there is a mistake the rows stay, and the line below points at it."""
        try:
            self._query = parse_query(text, now_ms=self.desk.clock.now_ms())
        except QueryError as error:
            self._mistake = error
            self._show_rule()
        else:
            self._mistake = None
            self._show_rows()

    def escape(self) -> bool:
        """Leave the filter, then clear it, then the marks. Returns False when there was nothing of that."""
        field = self.query_one("#filter", Input)
        if field.value not in ("", self._opened_with):
            field.value = self._opened_with
        elif self._marked:
            self.action_unmark()
        elif not field.has_focus:
            return False
        self._table.focus()
        return True

    def action_save_filter(self) -> None:
        text = " ".join(self.query_one("#filter", Input).value.split())
        if not text or self._mistake is not None:
            self.notify("There is no filter to save. / begins one.", markup=False)
            return
        path = self.desk.paths.ui_state_file
        try:
            save_ui_state(path, load_ui_state(path).with_filter(text))
        except GputuiError as error:
            self.gputui.tell(error)
        else:
            self.notify("Saved. B lists the saved filters.", title=plain(text), markup=False)

    def action_saved_filters(self) -> None:
        path = self.desk.paths.ui_state_file
        filters = load_ui_state(path).filters
        if not filters:
            self.notify("No filter is saved yet. b saves the one that is typed.", markup=False)
            return

        def chosen(text: str | None) -> None:
            if text is not None:
                self.query_one("#filter", Input).value = text
                self._table.focus()

        def remove(text: str) -> None:
            save_ui_state(path, load_ui_state(path).without_filter(text))

        self.app.push_screen(
            PickScreen("Saved filters", [Choice(text, text) for text in filters], remove=remove), chosen
        )


def _cheapest(quotes: Iterable[Quote], arrangement: Arrangement) -> str | None:
    """Return the id of the offer that costs least among those that can be had."""
    in_stock = (quote for quote in quotes if quote.offer.stock is not Stock.NONE)
    if arrangement.order == "effective" and not arrangement.is_reversed:
        cheapest = next(in_stock, None)  # it comes first
    else:
        price = partial(_shown_price, arrangement=arrangement)
        cheapest = min(in_stock, key=price, default=None)
    return cheapest.offer.id if cheapest is not None else None


def _shown_price(quote: Quote, arrangement: Arrangement) -> int:
    return offers_render.per_unit(quote.effective_micro_usd_per_hour, quote, arrangement)
