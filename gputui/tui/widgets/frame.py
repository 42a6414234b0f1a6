"""The frame of every screen: header line, the red line when something needs the user, footer of keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from gputui.tui.render import frame
from gputui.tui.render.diff import changed_cells
from gputui.tui.render.text import join, plain

_RIGHT_SIDE = ("app.palette", "app.help")


class FrameHeader(Widget):
    """Where you are, what it costs now, how the providers are, what time it is."""

    DEFAULT_CSS = """
    FrameHeader { height: 1; background: $surface; }
    """

    def __init__(self, crumbs: Sequence[str]) -> None:
        super().__init__()
        self._crumbs = tuple(crumbs)  # the way here, the page itself last
        self._facts: frame.FrameFacts | None = None
        self._shown: Content | None = None

    def show(self, facts: frame.FrameFacts, crumbs: Sequence[str]) -> None:
        """Repaint only when something that is visible changed."""
        self._facts, self._crumbs = facts, tuple(crumbs)
        painted = frame.header(self._crumbs, facts, self.size.width)
        if self._shown is None:
            self.refresh()
        elif (cells := changed_cells(self._shown, painted, self.size.width)) is not None:
            self.refresh(Region(cells[0], 0, max(1, cells[1] - cells[0]), 1))
        reasons = [f"{plain(dot.title)}: {dot.reason}" for dot in facts.dots]
        self.tooltip = Content("\n".join(reasons)) if reasons else None

    def render(self) -> Content:
        self._shown = frame.header(self._crumbs, self._facts, self.size.width)
        return self._shown


class AlertLine(Static):
    """One red line, there only when something costs money and needs the user."""

    DEFAULT_CSS = """
    AlertLine { height: auto; max-height: 2; padding: 0 1; background: $alert; color: $alert-text; display: none; }
    AlertLine.-on { display: block; }
    """

    _text: str | None = None

    def show(self, text: str | None) -> None:
        if text != self._text:
            self._text = text
            self.set_class(text is not None, "-on")
            self.update(join(("▲ ", "bold"), text) if text is not None else "")


class FrameFooter(Widget):
    """The keys that work here, from the bindings themselves; the ones that always work stay at the right."""

    DEFAULT_CSS = """
    FrameFooter { dock: bottom; height: 1; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []
        self._parts: list[tuple[str, str, bool, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        parts = self._collect()
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def _collect(self) -> list[tuple[str, str, bool, str]]:
        seen: set[str] = set()
        here: list[tuple[str, str, bool, str]] = []
        always: list[tuple[str, str, bool, str]] = []
        for active in self.screen.active_bindings.values():
            binding = active.binding
            ident = binding.id or ""
            if not binding.show or ident in seen or not ident:
                continue
            seen.add(ident)
            side = always if ident in _RIGHT_SIDE else here
            side.append(
                (
                    key_display(self.app.get_key_display(binding), binding),
                    binding.description,
                    active.enabled and not self._obstacle(binding),
                    binding.key,
                )
            )
        return [*here, ("", "", False, ""), *always]

    def _obstacle(self, binding: Binding) -> str | None:
        obstacle = getattr(self.screen, "obstacle", None)
        return obstacle(binding.action.partition("(")[0]) if obstacle is not None else None

    def render(self) -> Content:
        parts = self._parts or self._collect()
        split = parts.index(("", "", False, ""))
        right_side = Content("   ").join([self._word(*part[:3]) for part in parts[split + 1 :]])
        room = self.size.width - right_side.cell_length - 4
        shown = Content(" ")
        self._spans = []
        for display, word, enabled, key in parts[:split]:
            piece = self._word(display, word, enabled)
            if shown.cell_length + piece.cell_length > room:
                break
            self._spans.append((shown.cell_length, shown.cell_length + piece.cell_length, key))
            shown = Content.assemble(shown, piece, "   ")
        gap = max(1, self.size.width - shown.cell_length - right_side.cell_length - 1)
        return Content.assemble(shown, " " * gap, right_side)

    @staticmethod
    def _word(display: str, word: str, enabled: bool) -> Content:
        return join((display, "$accent bold" if enabled else "$faint"), (f" {word}", "$muted" if enabled else "$faint"))

    def on_click(self, event: events.Click) -> None:
        for start, end, key in self._spans:
            if start <= event.x < end:
                self.app.simulate_key(key)


def key_display(default: str, binding: Binding) -> str:
    """Return how a key is written: our own word for it, else Textual's."""
    return binding.key_display or default
