"""What all screens share: the frame, following the store, and showing what went wrong instead of falling over."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from gputui.core.desk import Desk
from gputui.model.errors import GputuiError
from gputui.tui.render import text
from gputui.tui.render.frame import FrameFacts
from gputui.tui.ways import key_of
from gputui.tui.widgets.frame import AlertLine, FrameFooter, FrameHeader

if TYPE_CHECKING:
    from gputui.tui.app import GputuiApp

WIDE_FROM = 110
"""Columns from which two panes stand side by side."""


class BaseScreen(Screen[None]):
    """A page with the frame around it. Subclasses compose `body` and reload in `refresh_data`.

    Textual calls the handler of an event in every class, this one's last: a handler does not call the one it overrides.
    """

    CRUMBS: ClassVar[tuple[str, ...]] = ()
    """What a screen that lies on top of a page adds to the way there."""
    HELP: ClassVar[str] = ""
    """What there is to know of the page; keys are named by the ids of their bindings, as in "{ask.refresh}"."""
    HELP_TABLE: ClassVar[tuple[str, Sequence[tuple[str, str]]] | None] = None
    """A title and rows of what is to be known here besides keys."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE_FROM, "-wide")]  # noqa: RUF012 - as Textual has it

    _room_filled: Hashable = None
    _is_shown = False

    def compose(self) -> ComposeResult:
        # Textual sets them once it was resized for the first time, and then goes through all styles again.
        self.set_class(True, "-narrow" if self.is_narrow else "-wide", update=False)
        yield FrameHeader(self._crumbs())
        yield AlertLine()
        yield from self.body()
        yield FrameFooter()

    def body(self) -> Iterator[Widget]:
        """Yield what is between header and footer."""
        raise NotImplementedError

    def refresh_data(self) -> None:
        """Read the store again and show what is there now; called whenever the store has changed."""

    def tick(self) -> None:
        """Repaint what changes with time alone; called every second, every few over SSH."""

    def accounts_known(self) -> None:
        """Called once the keys were looked up: only now is it known whom to ask."""

    def obstacle(self, action: str) -> str | None:
        """Return why an action cannot be done now: its key is dim, and pressing it says so. None when it can."""
        return None

    def explain(self, action: str) -> bool:
        """Say why an action cannot be done; False when it can."""
        why = self.obstacle(action)
        if why is not None:
            self.notify(why, markup=False)
        return why is not None

    def hints(self, sentence: str, *ways: tuple[str, str]) -> Content:
        """Return what stands on the page while nothing is on it: what is so, and bindings with what they do."""
        return text.hints(sentence, *((key_of(self.app, ident), says) for ident, says in ways))

    def _crumbs(self) -> tuple[str, ...]:
        return (*self.gputui.way_here(), *self.CRUMBS)

    @property
    def is_narrow(self) -> bool:
        """True when panes stand one above the other, as the style sheets have it for `-narrow`."""
        return self.app.size.width < WIDE_FROM

    @property
    def gputui(self) -> GputuiApp:
        return cast("GputuiApp", self.app)

    @property
    def desk(self) -> Desk:
        return self.gputui.desk

    def on_mount(self) -> None:
        self.gputui.store_changed.subscribe(self, self._store_changed)
        self.gputui.clock_ticked.subscribe(self, self._clock_ticked)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Show what there is, also for the first time: it is called after `on_mount`, before anything is painted."""
        if not self._is_shown:  # Textual says it twice when a page is opened for the first time
            self._is_shown = True
            self.query_one(FrameFooter).refresh()
            self.show_frame(self.gputui.facts)
            self.reload()

    def on_screen_suspend(self) -> None:
        self._is_shown = False
        self.query_one(FrameFooter).refresh()

    def on_resize(self, _event: events.Resize) -> None:
        self.call_after_refresh(self._fill_room)

    @property
    def room(self) -> Hashable:
        """The sizes that `refresh_data` goes by: it is called again when they are others than they were."""
        return self.app.size

    def _fill_room(self) -> None:
        if self.room != self._room_filled:
            self.reload()

    def _compositor_refresh(self) -> None:
        # While the application starts or changes pages, Textual 8.2.8 paints the whole screen and throws that away.
        if not self.app._batch_count:
            super()._compositor_refresh()

    def reload(self) -> None:
        """Call `refresh_data`, and say so when the store cannot be read."""
        self._room_filled = self.room
        try:
            self.refresh_data()
        except GputuiError as error:
            self.gputui.tell(error)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave, unless it was left already: the second of two keys in a burst would take another screen away."""
        return super().dismiss(result) if self.is_current else AwaitComplete()

    def show_frame(self, facts: FrameFacts | None) -> None:
        if facts is not None:
            self.query_one(FrameHeader).show(facts, self._crumbs())
            self.query_one(AlertLine).show(facts.alert)

    def _store_changed(self, facts: FrameFacts) -> None:
        if self.is_current:
            self.show_frame(facts)
            self.reload()

    def _clock_ticked(self, facts: FrameFacts) -> None:
        if self.is_current:
            self.show_frame(facts)
            self.tick()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.gputui.tell(event.worker.error)
