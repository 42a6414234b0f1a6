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

from gputui.tui.pages import PAGES
from gputui.tui.render import frame
from gputui.tui.render.diff import changed_cells
from gputui.tui.render.text import join, plain
from gputui.tui.ways import in_keys, key_display

_RIGHT_SIDE = ("app.palette", "app.help", "app.quit")
_PAGE_IDS = frozenset(f"go.{page.name}" for page in PAGES)
_Part = tuple[str, str, bool, str]  # how a key is written, its word, whether it can be used now, the key itself


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
        reasons = [f"{plain(dot.title)}: {in_keys(self.app, dot.reason)}" for dot in facts.dots]
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
        if text is not None:
            text = in_keys(self.app, text)
        if text != self._text:
            self._text = text
            self.set_class(text is not None, "-on")
            self.update(join(("▲ ", "bold"), text) if text is not None else "")


class FrameFooter(Widget):
    """The keys that work here, from the bindings themselves; the ones that always work stay at the right.

    Where it is narrow, the keys of the pages give way first, then the one that quits. While a window is over the page, none
    of them works: the window has keys of its own.
    """

    DEFAULT_CSS = """
    FrameFooter { dock: bottom; height: 1; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []
        self._parts: tuple[list[_Part], list[_Part]] = [], []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        parts = self._collect()
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def _collect(self) -> tuple[list[_Part], list[_Part]]:
        """Return what stands at the left, and at the right from what gives way first on."""
        here: dict[str, _Part] = {}
        always: dict[str, _Part] = {}
        pages: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            ident = binding.id or ""
            display = key_display(self.app, binding)
            if ident in _PAGE_IDS:
                pages.add(display)
            elif binding.show and ident and _action(binding) not in getattr(active.node, "untold", ()):
                can = active.enabled and not self._obstacle(binding)
                side = always if ident in _RIGHT_SIDE else here
                side.setdefault(ident, (display, binding.description, can, binding.key))
        to_pages = [(f"{min(pages)}-{max(pages)}", "pages", True, "")] if len(pages) == len(_PAGE_IDS) else []
        return [*here.values()], [*to_pages, *(always[ident] for ident in _RIGHT_SIDE if ident in always)]

    def _obstacle(self, binding: Binding) -> str | None:
        obstacle = getattr(self.screen, "obstacle", None)
        return obstacle(_action(binding)) if obstacle is not None else None

    def render(self) -> Content:
        if not self.screen.is_active:
            return Content("")
        here, always = self._parts if any(self._parts) else self._collect()
        words = [self._word(*part[:3]) for part in here]
        left_width = 1 + sum(word.cell_length + 3 for word in words)
        kept = next((some for some in _giving_way(always) if left_width + _width(some) < self.size.width), None)
        right_side = Content("   ").join([self._word(*part[:3]) for part in kept or _giving_way(always)[-1]])
        room = self.size.width - right_side.cell_length - 4
        shown = Content(" ")
        self._spans = []
        for piece, part in zip(words, here, strict=True):
            if shown.cell_length + piece.cell_length > room:
                break
            self._spans.append((shown.cell_length, shown.cell_length + piece.cell_length, part[3]))
            shown = Content.assemble(shown, piece, "   ")
        gap = max(0, self.size.width - shown.cell_length - right_side.cell_length - 1)
        return Content.assemble(shown, " " * gap, right_side)

    @staticmethod
    def _word(display: str, word: str, enabled: bool) -> Content:
        return join((display, "$accent bold" if enabled else "$faint"), (f" {word}", "$muted" if enabled else "$faint"))

    def on_click(self, event: events.Click) -> None:
        for start, end, key in self._spans:
            if start <= event.x < end:
                self.app.simulate_key(key)


def _action(binding: Binding) -> str:
    return binding.action.partition("(")[0]


def _giving_way(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Return what may stand at the right, the fullest first: without the pages, without the key that quits."""
    some = [list(parts)]
    for word in ("pages", "quit"):
        some.append([part for part in some[-1] if part[1] != word])
    return some


def _width(parts: Sequence[_Part]) -> int:
    return sum(len(display) + len(word) + 4 for display, word, _, _ in parts)
