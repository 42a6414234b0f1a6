"""What is waited for: machine types that were sold out, of which a provider tells when they are back."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.content import Content

from gputui.core import resources
from gputui.core.asking import who_can
from gputui.model.errors import GputuiError
from gputui.model.types import Offer, Stock, WaitlistEntry
from gputui.model.units import format_age
from gputui.providers.base import capabilities_of
from gputui.providers.registry import client_class
from gputui.store import offers as offer_store
from gputui.tui import bindings
from gputui.tui.render import columns, money
from gputui.tui.render.columns import Column
from gputui.tui.render.tabs import neighbour, tab_title
from gputui.tui.render.text import UNKNOWN, plain
from gputui.tui.screens.asking import AskingScreen, Told
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.pick import Choice, PickScreen

_HERE, _ANYWHERE = "here", "anywhere"


class WaitlistScreen(AskingScreen):
    """A list of places in waitlists."""

    BINDINGS = bindings.WAITLIST + bindings.ASKING + bindings.TABS
    HELP: ClassVar[str] = (
        "Some providers keep a list of who wants a machine type that is sold out, and tell them when it is back. "
        "Joining orders nothing, then or later. {waitlist.join} joins for an offer that is sold out; so does {offers.wait} on "
        "the page of offers."
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[WaitlistEntry] = Told()
        self._entries: dict[str, WaitlistEntry] = {}

    @property
    def entry(self) -> WaitlistEntry | None:
        """What the cursor is on."""
        return self._entries.get(self.table.key or "")

    # What is shown

    async def ask(self) -> None:
        asked = await resources.list_waitlist(self.desk.accounts)
        self.told = self.told.heard(asked.answers, asked.problems, self.desk.clock.now_ms())

    def refresh_data(self) -> None:
        entries = sorted(self.told.all(), key=lambda entry: (-(entry.created_at_ms or 0), entry.provider, entry.id))
        self._entries = {f"{entry.provider} {entry.id}": entry for entry in entries}
        self._columns = columns.fit(self._all_columns(), self.app.size.width)
        self.table.set_header(columns.header(self._columns))
        nothing = self.hints("Nothing is waited for.", ("waitlist.join", "wait for something that is sold out"))
        self.show_list(tab_title("waitlist", self.count(entries)), list(self._entries), summaries=(), nothing=nothing)

    def _all_columns(self) -> list[Column[WaitlistEntry]]:
        now_ms = self.desk.clock.now_ms()
        return [
            Column("machine type", 28, 0, lambda entry: (entry.machine_type, ""), grows=True, most=44),
            Column("provider", 12, 1, lambda entry: (self.title_of(entry.provider), "")),
            Column("region", 14, 2, lambda entry: (entry.region or "any", "$muted")),
            Column("state", 12, 3, lambda entry: (entry.raw_state or UNKNOWN, "$muted")),
            Column("since", 9, 4, lambda entry: (_since(entry, now_ms), "$muted"), is_right=True),
            Column("when it is back", 23, 2, _what_happens),
        ]

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        entry = self._entries[key]
        return [columns.row(entry, self._columns, here=here, is_dim=entry.provider in self.told.problems)]

    # Keys

    def obstacle(self, action: str) -> str | None:
        if action == "leave" and self.is_mounted and self.entry is None:
            return "There is nothing under the cursor to stop waiting for."
        return None

    def action_tab(self, steps: int) -> None:
        self.gputui.action_go(neighbour("waitlist", steps))

    def action_join(self) -> None:
        """Choose among what is sold out where a waitlist is kept."""
        try:
            names = who_can(self.desk.accounts, "waitlist")
        except GputuiError as error:
            self.gputui.tell(error)
            return
        sold_out = [offer for name in names for offer in self.desk.offers(provider=name) if offer.stock is Stock.NONE]
        if not sold_out:
            self.notify(
                f"Nothing is sold out at {', '.join(self.title_of(name) for name in names)}: what is there can be had now.",
                markup=False,
            )
            return
        choices = [Choice(offer.id, _name(offer), self._note(offer)) for offer in sold_out]
        self.app.push_screen(PickScreen("Wait for", choices), self._chosen)

    def _note(self, offer: Offer) -> str:
        price = money.rate(offer.price_micro_usd_per_hour)
        return f"{self.title_of(offer.provider)} {plain(offer.region, unknown='')}   {price}"

    def _chosen(self, offer_id: str | None) -> None:
        if offer_id is not None:
            self.join(offer_id)

    def join(self, offer_id: str) -> None:
        """Ask where, then join the waitlist for an offer."""
        offer = offer_store.load_offer(self.desk.store, offer_id)
        if offer is None:
            self.notify("The offer is gone: there is nothing to wait for by that name.", markup=False)
        elif not capabilities_of(client_class(offer.provider))["waitlist"]:
            self.notify(f"{self.title_of(offer.provider)} keeps no waitlist.", markup=False)
        elif offer.stock is not Stock.NONE:
            self.notify(f"{_name(offer)} can be had now; there is nothing to wait for.", markup=False)
        elif offer.region is None:
            self._join(offer, anywhere=True)
        else:
            choices = [Choice(_HERE, f"Only in {plain(offer.region)}"), Choice(_ANYWHERE, "In any region")]

            def answered(where: str | None) -> None:
                if where is not None:
                    self._join(offer, anywhere=where == _ANYWHERE)

            title = f"Wait for {_name(offer)} at {self.title_of(offer.provider)}; nothing is ordered"
            self.app.push_screen(PickScreen(title, choices), answered)

    @work(group="join", exit_on_error=False)
    async def _join(self, offer: Offer, *, anywhere: bool) -> None:
        try:
            await resources.join_waitlist(self.desk.accounts, offer, anywhere=anywhere)
        except GputuiError as error:
            self.gputui.tell(error)
        else:
            self.notify(f"{self.title_of(offer.provider)} will tell you when {_name(offer)} is back.", markup=False)
        self.ask_again()

    def action_leave(self) -> None:
        entry = self.entry
        if self.explain("leave") or entry is None:
            return
        question = Question(
            f"Stop waiting for {plain(entry.machine_type[:100])}?",
            [
                f"{self.title_of(entry.provider)} will no longer tell you when it is back. You can join again, further back."
            ],
            yes="Leave the list",
            no="Stay",
        )
        self.app.push_screen(ConfirmScreen(question), lambda yes: self._left(yes, entry))

    def _left(self, yes: bool | None, entry: WaitlistEntry) -> None:
        if yes:
            self._leave(entry)

    @work(group="leave", exit_on_error=False)
    async def _leave(self, entry: WaitlistEntry) -> None:
        try:
            await resources.leave_waitlist(self.desk.accounts, entry)
        except GputuiError as error:
            self.gputui.tell(error)
        self.ask_again()


def _name(offer: Offer) -> str:
    return f"{offer.gpu_count} × {plain(offer.gpu[:100])}"


def _since(entry: WaitlistEntry, now_ms: int) -> str:
    return UNKNOWN if entry.created_at_ms is None else format_age(now_ms - entry.created_at_ms)


def _what_happens(entry: WaitlistEntry) -> tuple[str, str]:
    if entry.auto_deploys:
        return "▲ ordered and billed", "$state-failed bold"
    return ("you are told" if entry.auto_deploys is False else UNKNOWN), "$muted"
