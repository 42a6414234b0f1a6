"""Screen 8: accounts: their keys and where those are kept, what works with them, and how each provider bills."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import ClassVar

from textual import on, work
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget

from gputui.core.desk import Desk
from gputui.core.probes import Probe, probe
from gputui.local.secrets import Forgotten, KeySource
from gputui.model.errors import AgentError, GputuiError
from gputui.providers.base import capabilities_of
from gputui.providers.pacing import pause_left_s
from gputui.providers.registry import PROVIDERS, client_class
from gputui.store import jobs as job_store
from gputui.tui import bindings
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import columns
from gputui.tui.render import providers as providers_render
from gputui.tui.render.providers import AccountView, KeyFacts
from gputui.tui.render.text import homely, join, plain, styled
from gputui.tui.screens.asking import AskingScreen
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.connect import ConnectScreen
from gputui.tui.ways import in_keys
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_NOT_OURS = frozenset({KeySource.ENVIRONMENT, KeySource.FILE})


class ProvidersScreen(AskingScreen):
    """A list of providers and everything about the one under the cursor."""

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = ["asking.tcss", "providers.tcss"]
    BINDINGS = bindings.PROVIDERS + bindings.ASKING
    ASK_EVERY_S = 3600.0  # looking for keys may wake a keyring, and nothing changes by itself
    HELP: ClassVar[str] = (
        "A key is typed once, into a field that does not show it, and kept in the OS keyring or in an encrypted vault; "
        "afterwards only its last four characters are shown. {providers.test} asks the provider everything that "
        "changes nothing."
    )

    def __init__(self) -> None:
        super().__init__()
        self._keys: Mapping[str, KeyFacts] = {}
        self._able: Mapping[str, Mapping[str, bool]] = {}
        self._probes: dict[str, Sequence[Probe]] = {}
        self._testing: set[str] = set()
        self._views: dict[str, AccountView] = {}

    def below(self) -> Iterator[Widget]:
        with VerticalScroll(id="page", can_focus=False):
            yield Painted(id="facts")

    @property
    def view(self) -> AccountView | None:
        """The account under the cursor."""
        return self._views.get(self.table.key or "")

    # What is shown

    async def ask(self) -> None:
        names = [account.info.name for account in self.gputui.accounts]
        self._keys = await asyncio.to_thread(_look_for_keys, self.desk, names)
        self._able = await asyncio.to_thread(lambda: {name: capabilities_of(client_class(name)) for name in names})

    def refresh_data(self) -> None:
        now_ms, statuses = self.desk.clock.now_ms(), self.desk.provider_statuses()
        self._views = {
            account.info.name: AccountView(
                replace(account, problem=self._worded(account.problem)),
                replace(status, error=self._worded(status.error))
                if (status := statuses.get(account.info.name))
                else None,
                self._keys.get(account.info.name),
                self._able.get(account.info.name, {}),
                pause_left_s(self.desk.paths.state_dir, account.info.name, now_ms),
                [replace(probe, hint=self._worded(probe.hint)) for probe in self._probes.get(account.info.name, ())],
                account.info.name in self._testing,
            )
            for account in self.gputui.accounts
        }
        self._columns = columns.fit(providers_render.columns(now_ms), self.app.size.width)
        self.table.set_header(columns.header(self._columns))
        self.table.styles.height = len(self._views) + 1
        usable = sum(view.account.usable for view in self._views.values())
        title = join(("Providers", "bold"), (f" {usable} of {len(self._views)} usable", "$muted"))
        looking = styled("Looking up your keys …", "$muted")
        self.show_list(title, list(self._views), summaries=(), nothing=looking)
        self._show_detail()

    def _worded(self, text: str | None) -> str | None:
        """Return a sentence of the core with the keys of this page for the commands that it names."""
        return None if text is None else in_keys(self.app, text, here="providers.connect")

    def select(self, name: str) -> None:
        """Put the cursor on a provider."""
        self.table.select(name)

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        return [columns.row(self._views[key], self._columns, here=here)]

    @on(RowList.Moved)
    def _moved(self) -> None:
        self.query_one("#page").scroll_home(animate=False)
        self._show_detail()

    def _show_detail(self) -> None:
        view = self.view
        if view is not None:
            now_ms = self.desk.clock.now_ms()
            self.query_one("#facts", Painted).show(
                lambda width: providers_render.detail(view, width=width, now_ms=now_ms)
            )
        self.refresh_bindings()

    # Keys

    def obstacle(self, action: str) -> str | None:
        view = self.view if self.is_mounted else None
        if action not in ("connect", "test", "remove"):
            return None
        if view is None:
            return "Your keys are still being looked up."
        info, title = view.account.info, plain(view.account.label)
        if action == "test":
            if info.name in self._testing:
                return f"{title} is being asked already."
            return (
                None if view.account.usable else f"There is nothing to test {title} with: {plain(view.account.problem)}"
            )
        if not info.needs_key:
            return f"{title} needs no key."
        served = view.key.served if view.key else None
        if action == "remove" and served is None:
            return f"No key of {title} is kept here."
        if action == "remove" and served is not None and served.source in _NOT_OURS:
            return f"The key is in {plain(served.where)}, which is not ours to remove."
        return None

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page").scroll_relative(y=lines, animate=False)

    @on(RowList.Chosen)
    def action_connect(self) -> None:
        """Show the form of a key for the provider under the cursor."""
        view = self.view
        if self.explain("connect") or view is None:
            return
        name = view.account.info.name
        self.app.push_screen(ConnectScreen(self.desk.secrets, view.account.info), lambda where: self._kept(name, where))

    def _kept(self, name: str, where: str | None) -> None:
        if where is not None:
            self._probes.pop(name, None)
            self._use_new_keys(name, where)

    @work(group="keys", exit_on_error=False)
    async def _use_new_keys(self, name: str, where: str) -> None:
        """Look again, hand the key to the agent, and see whether it works."""
        self.notify(f"Kept in {homely(plain(where))}. It is never shown again.", markup=False)
        await self._look_again(name)
        view = self._views.get(name)
        served = view.key.served if view is not None and view.key is not None else None
        if served is not None and served.source in _NOT_OURS:
            self.notify(
                f"The key in {plain(served.where)} comes first and is the one in use.", severity="warning", markup=False
            )
        try:
            await on_own_desk(self.desk, _tell_agent)
        except AgentError as error:
            self.gputui.tell(error)
        if view is not None and view.account.usable:
            await self._ask_everything(name)

    async def _look_again(self, name: str) -> None:
        await self.desk.accounts.forget([name])
        names = [account.info.name for account in self.gputui.accounts]
        self._keys = await asyncio.to_thread(_look_for_keys, self.desk, names)
        account = await asyncio.to_thread(self.desk.accounts.account, name)
        self.gputui.accounts = [account if known.info.name == name else known for known in self.gputui.accounts]
        self.gputui.look_up_accounts()
        self.reload()

    @work(group="test", exit_on_error=False)
    async def action_test(self) -> None:
        """Ask the provider everything that changes nothing."""
        view = self.view
        if not self.explain("test") and view is not None:
            await self._ask_everything(view.account.info.name)

    async def _ask_everything(self, name: str) -> None:
        if name in self._testing:
            return
        self._testing.add(name)
        self.reload()
        status = self.desk.provider_statuses().get(name)
        try:
            self._probes[name] = await probe(
                self.desk.accounts,
                self.desk.clock,
                name,
                state_dir=self.desk.paths.state_dir,
                kept_offers_at_ms=status.last_ok_ms if status else None,
            )
        finally:
            self._testing.discard(name)
            self.reload()

    def action_remove(self) -> None:
        """Ask, then remove the key from every place that we keep keys in."""
        view = self.view
        if self.explain("remove") or view is None:
            return
        name, title = view.account.info.name, plain(view.account.label)
        served = view.key.served if view.key else None
        where = homely(plain(served.where)) if served is not None else "here"
        live = sum(placement.provider == name for placement in job_store.load_live_placements(self.desk.store))
        lines = [f"It is kept in {where}. It stays valid at {title}: revoke it there if it is no longer to be used."]
        if live:
            machines = "1 machine of ours runs" if live == 1 else f"{live} machines of ours run"
            lines.append(
                f"{machines} there: the agent has the key until it ends, and cannot end them without one after that."
            )
        question = Question(f"Remove the key of {title}?", lines, yes="Remove it", no="Keep", is_danger=True)
        self.app.push_screen(ConfirmScreen(question), lambda yes: self._answered(yes, name))

    def _answered(self, yes: bool | None, name: str) -> None:
        if yes:
            self._remove(name)

    @work(group="keys", exit_on_error=False)
    async def _remove(self, name: str) -> None:
        try:
            gone: Forgotten = await asyncio.to_thread(self.desk.secrets.delete, name)
        except GputuiError as error:
            self.gputui.tell(error)
            return
        self._probes.pop(name, None)
        await self._look_again(name)
        removed = " and ".join(homely(plain(place)) for place in gone.removed)
        self.notify(f"Removed from {removed}." if removed else "There was no key kept.", markup=False)
        for reason in gone.not_checked:
            self.notify(f"One place could not be looked into. {plain(reason)}", severity="warning", markup=False)


def _look_for_keys(desk: Desk, names: Sequence[str]) -> dict[str, KeyFacts]:
    """Return where each key was looked for; a keyring may take seconds to answer."""
    return {
        name: KeyFacts(tuple(desk.secrets.status(name, PROVIDERS[name].key_variables)))
        for name in names
        if PROVIDERS[name].needs_key
    }


def _tell_agent(desk: Desk) -> None:
    """Hand the keys to the agent, which may be waiting for one to end a machine."""
    if desk.agent_state().pid is None:
        desk.guard()
    else:
        desk.ensure_agent()
