"""The application: pages, themes, global keys, and the one place that notices that the store has changed.

What is imported here delays the first page: whatever is not needed for it is imported where it is used.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.dom import DOMNode
from textual.filter import LineFilter, Monochrome, NoColor
from textual.reactive import Initialize, Reactive
from textual.screen import Screen
from textual.signal import Signal
from textual.theme import Theme

from gputui.core.accounts import Account
from gputui.core.catalog import RefreshOutcome
from gputui.core.desk import Desk
from gputui.core.keymap import check_keymap
from gputui.local.ui_state import load_ui_state, save_ui_state
from gputui.model.errors import GputuiError
from gputui.model.types import JobSpec
from gputui.tui import bindings, thin_output
from gputui.tui.colourless import Colourless
from gputui.tui.commands import Commands, Palette
from gputui.tui.crash import CrashLoggedApp
from gputui.tui.frame_facts import load_frame_facts
from gputui.tui.own_desk import on_own_desk
from gputui.tui.pages import PAGES, TITLES, screens
from gputui.tui.render.frame import FrameFacts
from gputui.tui.render.text import plain, plain_lines
from gputui.tui.screens.base import BaseScreen
from gputui.tui.stylesheet import LastingStylesheet
from gputui.tui.terminal import lend, run_in_terminal
from gputui.tui.themes import DEFAULT_THEME, fallback_variables, load_themes, shipped_folder, theme_note
from gputui.tui.ways import in_keys
from gputui.tui.widgets.glyphs import AsciiFilter

LOOK_S = 0.25
TICK_S, TICK_OVER_SSH_S = 1.0, 5.0


class GputuiApp(CrashLoggedApp):
    """Shows one profile. In the `demo` the agent ends with the interface. `run_outside` gives the terminal to a command."""

    TITLE = "gputui"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings.GLOBAL
    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {Commands}  # noqa: RUF012 - Textual's own way
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = screens()
    DEFAULT_MODE = PAGES[0].name

    def __init__(self, desk: Desk, *, demo: bool = False, run_outside: Callable[[list[str]], int] = lend) -> None:
        self.desk = desk
        self.crash_dir = desk.paths.state_dir
        self.run_outside = run_outside
        self.demo = demo
        self.usual_env: Mapping[str, str] = {}
        """What an empty deploy form has in its environment."""
        self.accounts: Sequence[Account] = ()
        self.facts: FrameFacts | None = None
        self._own_filters: list[LineFilter] = []
        if desk.config.ui.ascii:
            self._own_filters.append(AsciiFilter())
        if os.environ.get("NO_COLOR"):
            self._own_filters.append(Colourless(lambda: self.current_theme.dark))
        self.asking: dict[str, RefreshOutcome | None] = {}
        self._canvas = thin_output.Canvas()
        self._trail: list[str] = []
        self._came_from: dict[str, str] = {}
        self._stamp: tuple[int, int] | None = None
        self._last_problem = ""
        self.our_themes, self._theme_problems = load_themes([shipped_folder(), desk.paths.themes_dir])
        super().__init__()
        self.stylesheet = LastingStylesheet(self.get_css_variables())
        self.store_changed: Signal[FrameFacts] = Signal(self, "store-changed")
        self.clock_ticked: Signal[FrameFacts] = Signal(self, "clock-ticked")

    # Start and end

    def on_load(self) -> None:
        self._take_keymap()
        self.look()  # so that the first page is painted with everything at once

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: self.action_repaint())
        self._tell_theme_problems()
        self.set_interval(LOOK_S, self.look)
        self.set_interval(TICK_OVER_SSH_S if "SSH_CONNECTION" in os.environ else TICK_S, self._tick)
        self.look_up_accounts()

    def _wanted_theme(self) -> str:
        wanted = load_ui_state(self.desk.paths.ui_state_file).theme_for(self.desk.config.ui.theme)
        if wanted in self.available_themes:
            return wanted
        self._theme_problems.append(f"there is no theme {wanted!r}; using {DEFAULT_THEME}")
        return DEFAULT_THEME

    # Worn from the start: a theme that is put on later makes Textual read and apply every style again.
    theme: Reactive[str] = Reactive(Initialize(_wanted_theme))

    @cached_property  # Textual asks for it at every look at a colour
    def available_themes(self) -> dict[str, Theme]:
        return {**super().available_themes, **self.our_themes}

    def _tell_theme_problems(self) -> None:
        if self._theme_problems:
            lines = plain_lines(self._theme_problems)
            self.notify(lines, title="Themes", severity="warning", markup=False, timeout=15)

    def _take_keymap(self) -> None:
        """Use the user's own keys, and say in one message which of them cannot be used."""
        keymap, problems = check_keymap(self.desk.config.keys, bindings.keys_by_place(), guarded=bindings.GUARDED)
        self.set_keymap(keymap)
        if problems:
            self.notify(plain_lines(problems), title="Keys", severity="warning", markup=False, timeout=15)

    def look_up_accounts(self) -> None:
        """Find out which providers can be asked; screens hear of it when it is known."""
        self.run_worker(self._look_up_accounts(), group="accounts", exclusive=True, exit_on_error=False)

    async def _look_up_accounts(self) -> None:
        """Look for keys off the loop: a keyring may take seconds to say no."""
        accounts = self.desk.accounts
        try:
            self.accounts = await asyncio.to_thread(lambda: [accounts.account(name) for name in accounts.names()])
            await on_own_desk(self.desk, lambda desk: desk.guard())
        except GputuiError as error:
            self.tell(error)
        self._stamp = None
        self.look()
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.accounts_known()

    # Following the store

    def look(self) -> None:
        """Publish new facts when anything has been written since the last look, by us or by another process."""
        try:
            store = self.desk.store
            stamp = (store.data_version(), int(store.read("SELECT total_changes()")[0][0]))
            if stamp == self._stamp:
                return
            self.facts = load_frame_facts(self.desk, self.accounts)
        except GputuiError as error:
            self.tell(error)
            return
        self._stamp = stamp
        self.store_changed.publish(self.facts)

    def _tick(self) -> None:
        try:
            self.facts = load_frame_facts(self.desk, self.accounts)
        except GputuiError as error:
            self.tell(error)
            return
        self.clock_ticked.publish(self.facts)

    def tell(self, error: BaseException) -> None:
        """Show an error as a toast; the same one in a row only once."""
        if isinstance(error, GputuiError):
            text, title = in_keys(self, str(error)), error.code.replace("_", " ")
        else:
            text, title = f"{type(error).__name__}: {error}", "unexpected"
        if text != self._last_problem:
            self._last_problem = text
            self.notify(plain(text), title=title, severity="error", markup=False, timeout=10)

    # Pages

    def action_go(self, page: str) -> None:
        """Show a page, remembering the one before; it is the beginning of a way of its own."""
        self._came_from.pop(page, None)
        self._go(page)

    def open_page(self, page: str, show: Callable[[Any], None]) -> None:
        """Go deeper, from the page that is shown to another one, and tell its screen what to show."""
        here = self.current_mode
        if page != here and page not in self._way_to(here):
            self._came_from[page] = here
        self._go(page)
        self.call_after_refresh(self._tell_page, page, show)

    def way_here(self) -> list[str]:
        """Return the titles of the pages on the way to this one, itself last."""
        return [TITLES[page] for page in self._way_to(self.current_mode)]

    def _way_to(self, page: str) -> list[str]:
        way = [page]
        while (before := self._came_from.get(way[0])) is not None:
            way.insert(0, before)
        return way

    def _go(self, page: str) -> None:
        while len(self.screen_stack) > 1 and self.screen.is_modal:
            self.pop_screen()
        if page != self.current_mode:
            self._trail.append(self.current_mode)
            self.switch_mode(page)

    def _tell_page(self, page: str, show: Callable[[Any], None]) -> None:
        if self.current_mode == page:
            show(self.screen_stack[0])

    def action_previous_page(self) -> None:
        """Show the page before this one: the one under it, else the one shown last."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self._trail:
            self.switch_mode(self._trail.pop())

    def action_escape(self) -> None:
        """One level back: what the page has open, else the page on top, else the page before; never out."""
        screen = self.screen
        closes = getattr(screen, "escape", None)
        if closes is not None and closes():
            return
        self.action_previous_page()

    async def action_back_or_quit(self) -> None:
        """Go back to where this page was opened from; from a page that a key showed there is nothing further back."""
        if len(self.screen_stack) > 1 or self.current_mode in self._came_from:
            self.action_escape()
        else:
            await self.action_quit_asked()

    async def action_quit_asked(self) -> None:
        """Leave; with jobs alive, say first what becomes of them."""
        from gputui.tui.screens.confirm import ConfirmScreen, Question

        if isinstance(self.screen, ConfirmScreen):
            self.exit()
            return
        alive = self.facts.burn.alive_jobs if self.facts else 0
        if not alive:
            self.exit()
            return
        one = alive == 1
        jobs = "1 job is alive" if one else f"{alive} jobs are alive"
        what = (
            "This is the demo: quitting stops everything, and the simulated clouds vanish."
            if self.demo
            else f"{'It goes' if one else 'They go'} on without this window: the agent watches and ends every machine."
        )
        self.push_screen(ConfirmScreen(Question(f"{jobs}. Quit?", [what], yes="Quit", no="Stay")), self._quit_answered)

    def _quit_answered(self, yes: bool | None) -> None:
        if yes:
            self.exit()

    def open_offers(self, filter_text: str) -> None:
        """Show the offers that a filter lets pass."""
        self.open_page("offers", lambda screen: screen.open_filter(filter_text))

    def open_deploy(self, spec: JobSpec) -> None:
        """Show the deploy form filled with a spec."""
        self.open_page("deploy", lambda screen: screen.fill(spec))

    def open_job(self, job_id: str) -> None:
        """Show a job with its log."""
        self.open_page("jobs", lambda screen: screen.select(job_id))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        from gputui.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # The agent

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "guard":
            return bool(self.facts and self.facts.lacks_agent)
        return True

    def action_guard(self) -> None:
        self.run_worker(self._guard(), group="agent", exclusive=True, exit_on_error=False)

    async def _guard(self) -> None:
        try:
            await on_own_desk(self.desk, lambda desk: desk.ensure_agent())
        except GputuiError as error:
            self.tell(error)
        self._tick()

    # Looks

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if thin_output.is_thin(renderable) and not self.is_inline:
            renderable = thin_output.ThinUpdate(self._canvas, renderable, self.size.width, self.size.height)
        super()._display(screen, renderable)

    def action_repaint(self) -> None:
        """Paint everything, in case something else has written to the terminal."""
        self._canvas.forget()
        self.refresh(layout=True)

    def action_pick_theme(self) -> None:
        """Choose a theme from a list, seeing each one on the way."""
        from gputui.tui.screens.pick import Choice, PickScreen

        choices = [Choice(name, name, theme_note(theme)) for name, theme in sorted(self.our_themes.items())]
        self.push_screen(PickScreen("Theme", choices, current=self.theme, preview=self._show_theme), self._theme_picked)

    def _show_theme(self, name: str) -> None:
        self.theme = name

    def _theme_picked(self, name: str | None) -> None:
        if name is None:
            return
        self.theme = name
        path, configured = self.desk.paths.ui_state_file, self.desk.config.ui.theme
        try:
            save_ui_state(path, replace(load_ui_state(path), theme=name, theme_instead_of=configured))
        except GputuiError as error:
            self.tell(error)

    def update_styles(self, node: DOMNode, animate: bool = True) -> None:
        """Leave out a widget that is only being made: it is given its styles when it comes to its page."""
        if node.is_attached:
            super().update_styles(node, animate)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return fallback_variables(self.current_theme)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return Textual's own filters, but for those of NO_COLOR: its greys are colours, too."""
        filters = [some for some in super().get_line_filters() if not isinstance(some, Monochrome | NoColor)]
        return [*filters, *self._own_filters]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Ours replace Textual's own, which speak of things this program does not have."""
        return ()


def run_app(profile: str | None, *, mouse: bool = True) -> int:
    """Open the interface on a profile and return the exit code. Raises ConfigError, StoreError, UsageError."""
    from gputui.tui.parting import parting_words  # here, as prices are on the screen sooner without it

    desk = Desk.open(profile)
    app = GputuiApp(desk)

    async def run() -> None:
        try:
            await run_in_terminal(app, mouse=mouse)
        finally:
            await desk.aclose()

    try:
        asyncio.run(run())
        if not app.return_code:
            sys.stdout.write(f"{parting_words(desk)}\n")
    finally:
        desk.close()
    return app.return_code or 0


def run_demo(*, mouse: bool = True) -> int:
    """Open the interface on a throw-away profile with simulated clouds and return the exit code."""
    from gputui.tui.demo import run

    return run(mouse=mouse)
