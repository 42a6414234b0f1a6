"""The application: pages, themes, global keys, and the one place that notices that the store has changed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.filter import LineFilter
from textual.screen import Screen
from textual.signal import Signal

from gputui.core.accounts import Account
from gputui.core.desk import Desk
from gputui.model.errors import GputuiError
from gputui.model.types import JobSpec
from gputui.tui import bindings
from gputui.tui.commands import Commands
from gputui.tui.frame_facts import load_frame_facts
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render.frame import FrameFacts
from gputui.tui.render.text import plain
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.deploy import DeployScreen
from gputui.tui.screens.help import HelpScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.themes import DEFAULT_THEME, fallback_variables, load_themes, shipped_folder
from gputui.tui.widgets.glyphs import AsciiFilter

LOOK_S = 0.25
TICK_S, TICK_OVER_SSH_S = 1.0, 5.0


class GputuiApp(App[None]):
    """Shows one profile. In the `demo` the agent ends with the interface. `run_outside` gives the terminal to a command."""

    TITLE = "gputui"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings.GLOBAL
    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {Commands}  # noqa: RUF012 - Textual's own way
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "matrix": MatrixScreen,
        "deploy": DeployScreen,
        "jobs": JobsScreen,
    }
    DEFAULT_MODE = "matrix"

    def __init__(
        self, desk: Desk, *, demo: bool = False, run_outside: Callable[[list[str]], int] = subprocess.call
    ) -> None:
        self.desk = desk
        self.run_outside = run_outside
        self.demo = demo
        self.accounts: Sequence[Account] = ()
        self.facts: FrameFacts | None = None
        self._ascii = AsciiFilter(enabled=desk.config.ui.ascii)
        self._trail: list[str] = []
        self._stamp: tuple[int, int] | None = None
        self._last_problem = ""
        self.our_themes, self._theme_problems = load_themes([shipped_folder(), desk.paths.themes_dir])
        super().__init__()
        self.store_changed: Signal[FrameFacts] = Signal(self, "store-changed")
        self.clock_ticked: Signal[FrameFacts] = Signal(self, "clock-ticked")

    # Start and end

    def on_mount(self) -> None:
        for theme in self.our_themes.values():
            self.register_theme(theme)
        wanted = self.desk.config.ui.theme
        self.theme = wanted if wanted in self.available_themes else DEFAULT_THEME
        problems = list(self._theme_problems)
        if wanted not in self.available_themes:
            problems.append(f"there is no theme {wanted!r}; using {DEFAULT_THEME}")
        if problems:
            self.notify(plain("\n".join(problems)), title="Themes", severity="warning", markup=False)
        self.look()
        self.set_interval(LOOK_S, self.look)
        self.set_interval(TICK_OVER_SSH_S if "SSH_CONNECTION" in os.environ else TICK_S, self._tick)
        self.look_up_accounts()

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
            if isinstance(screen, MatrixScreen):
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
            text, title = str(error), error.code.replace("_", " ")
        else:
            text, title = f"{type(error).__name__}: {error}", "unexpected"
        if text != self._last_problem:
            self._last_problem = text
            self.notify(plain(text), title=title, severity="error", markup=False, timeout=10)

    # Pages

    def action_go(self, page: str) -> None:
        """Show a page, remembering the one before."""
        while len(self.screen_stack) > 1 and self.screen.is_modal:
            self.pop_screen()
        if page != self.current_mode:
            self._trail.append(self.current_mode)
            self.switch_mode(page)

    def action_previous_page(self) -> None:
        if self._trail:
            self.switch_mode(self._trail.pop())

    def action_escape(self) -> None:
        """One level back: what the page has open, else the page on top, else the page before; never out."""
        screen = self.screen
        closes = getattr(screen, "escape", None)
        if closes is not None and closes():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.action_previous_page()

    async def action_back_or_quit(self) -> None:
        if len(self.screen_stack) > 1 or self._trail:
            self.action_escape()
        else:
            await self.action_quit_asked()

    async def action_quit_asked(self) -> None:
        """Leave; with jobs alive, say first what becomes of them."""
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

    def open_deploy(self, spec: JobSpec) -> None:
        """Show the deploy form filled with a spec."""
        self.action_go("deploy")
        self.call_after_refresh(self._fill_deploy, spec)

    def _fill_deploy(self, spec: JobSpec) -> None:
        if isinstance(self.screen, DeployScreen):
            self.screen.fill(spec)

    def open_job(self, job_id: str) -> None:
        """Show a job with its log."""
        self.action_go("jobs")
        self.call_after_refresh(self._select_job, job_id)

    def _select_job(self, job_id: str) -> None:
        if isinstance(self.screen, JobsScreen):
            self.screen.select(job_id)

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # The agent

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "guard":
            return bool(self.facts and self.facts.alert and "Press A" in self.facts.alert)
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

    def action_next_theme(self) -> None:
        names = sorted(self.our_themes)
        here = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(here + 1) % len(names)]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return fallback_variables(self.current_theme)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *([self._ascii] if self._ascii.enabled else [])]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Ours replace Textual's own, which speak of things this program does not have."""
        return ()


def run_app(profile: str | None) -> int:
    """Open the interface on a profile and return the exit code. Raises ConfigError, StoreError, UsageError."""
    desk = Desk.open(profile)
    app = GputuiApp(desk)

    async def run() -> None:
        try:
            await app.run_async()
        finally:
            await desk.aclose()

    try:
        asyncio.run(run())
    finally:
        desk.close()
    return app.return_code or 0


def run_demo() -> int:
    """Open the interface on a throw-away profile with simulated clouds and return the exit code."""
    from gputui.tui.demo import run

    return run()
