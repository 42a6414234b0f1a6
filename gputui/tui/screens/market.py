"""What the pages that show the market share: asking the providers while one of them is open, and telling how that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from textual import on, work
from textual.content import Content
from textual.widgets import Input

from gputui.core.catalog import RefreshOutcome
from gputui.model.units import parse_duration, span
from gputui.providers.registry import provider_info
from gputui.tui.render.text import join, plain
from gputui.tui.screens.base import BaseScreen

_HOURS = ("10m", "30m", "1h", "2h", "4h", "8h", "24h", "3d", "7d")


class MarketScreen(BaseScreen):
    """A page of prices, which are fetched again as they grow old."""

    def __init__(self) -> None:
        super().__init__()
        self._is_asked_for = False

    def on_mount(self) -> None:
        self.set_interval(self.desk.config.ui.refresh_s, self._refresh_stale)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("filter", "keep_filter"):
            return isinstance(self.focused, Input) is (action == "keep_filter")
        if action == "clear_filter":
            return isinstance(self.focused, Input) or bool(self.query_one("#filter", Input).value)
        return super().check_action(action, parameters)

    def accounts_known(self) -> None:
        self._refresh_stale()

    @on(Input.Changed, "#filter")
    def _can_be_cleared_or_not(self) -> None:
        self.refresh_bindings()

    def action_clear_filter(self) -> None:
        self.gputui.action_escape()

    def action_refresh_offers(self) -> None:
        if not self.gputui.accounts:
            self.gputui.look_up_accounts()
            return
        self._is_asked_for = True
        self._fetch([account.info.name for account in self.gputui.accounts if account.usable])

    def ask_hours(self, current_s: int, use: Callable[[int], None]) -> None:
        """Let somebody choose how many seconds the work is expected to take: effective prices depend on it."""
        from gputui.tui.screens.pick import Choice, PickScreen  # not before the first paint

        choices = [Choice(str(seconds), span(seconds)) for seconds in map(parse_duration, _HOURS)]
        title = "How long the work is expected to take"

        def chosen(seconds: str | None) -> None:
            if seconds is not None:
                use(int(seconds))

        self.app.push_screen(PickScreen(title, choices, current=str(current_s)), chosen)

    def _refresh_stale(self) -> None:
        if self.is_current and self.gputui.accounts:
            stale = self.desk.stale_providers(self.desk.config.ui.refresh_s)
            if stale:
                self._fetch(stale)

    @work(group="offers", exit_on_error=False)
    async def _fetch(self, providers: Sequence[str]) -> None:
        """Fetch offers side by side; each provider shows as done on its own. One that is being asked is not asked twice."""
        asking = self.gputui.asking
        wanted = [name for name in providers if name not in asking]
        asking.update(dict.fromkeys(wanted))
        self._reload_shown()

        async def one(name: str) -> RefreshOutcome:
            [outcome] = await self.desk.refresh([name])
            asking[name] = outcome
            self.gputui.look()
            return outcome

        try:
            await asyncio.gather(*(one(name) for name in wanted))
        finally:
            for name in wanted:
                asking.pop(name, None)
            self._is_asked_for = self._is_asked_for and bool(asking)
            self._reload_shown()

    def _reload_shown(self) -> None:
        """Reload the page that is shown, which may be another one by now."""
        page = self.app.screen_stack[0]
        if isinstance(page, MarketScreen):
            page.reload()

    def progress(self, *, nothing_yet: bool) -> Content | None:
        """Return how the asking goes, when somebody asked for it or waits for it; None otherwise."""
        if self.gputui.asking and (self._is_asked_for or nothing_yet):
            return join(*_progress(self.gputui.asking.items()))
        return None


def _progress(asked: Iterable[tuple[str, RefreshOutcome | None]]) -> Iterator[tuple[str, str]]:
    yield "asking", "$muted"
    for name, outcome in asked:
        title = plain(provider_info(name).title)
        if outcome is None:
            yield f" {title} …", "$muted"
        elif outcome.error is None:
            yield f" {title} ✓ {outcome.latency_ms / 1000:.1f} s", "$state-running"
        else:
            yield f" {title} ✕", "$state-failed"
