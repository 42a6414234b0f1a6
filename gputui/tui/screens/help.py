"""Every key of a page, from the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen

from gputui.tui import bindings
from gputui.tui.render.text import join, left, rule, spread, styled
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import key_display, with_keys
from gputui.tui.widgets.frame import FrameFooter
from gputui.tui.widgets.painted import Painted

WIDTH = 88


class HelpScreen(Modal[None]):
    """A page of keys, grouped by where they work."""

    CSS_PATH = "help.tcss"
    BINDINGS = bindings.HELP

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page"):
            yield Painted(id="text")
        yield FrameFooter()

    def on_mount(self) -> None:
        self.query_one("#text", Painted).show(self._text)

    def _text(self, width: int) -> Content:
        about = self._about
        width = min(width, WIDTH)
        about_it = Content(with_keys(self.app, getattr(about, "HELP", "")))
        lines = [*about_it.wrap(max(1, width)), Content("")]
        groups = self._groups()
        last = groups.popitem() if len(groups) > 1 else None  # what works everywhere comes at the end
        for title, found in groups.items():
            lines += self._section(title, found, width)
        if table := getattr(about, "HELP_TABLE", None):
            title, rows = table
            lines += [rule(join((title, "bold")), width), *(_row(shown, says, 28) for shown, says in rows), Content("")]
        if last is not None:
            lines += self._section(*last, width)
        return Content("\n").join(lines)

    def _groups(self) -> dict[str, list[Binding]]:
        """Return every binding that works on the page by its group: the page's own, its widgets', the application's."""
        groups: dict[str, list[Binding]] = {}
        seen: set[str] = set()
        for node in (self._about, *self._about.query("*"), self.app):
            keys: set[str] = set()
            for binding in _bindings_of(type(node)):
                own = set(binding.key.split(","))
                if binding.id and binding.group and binding.id not in seen and not own <= keys:
                    seen.add(binding.id)
                    groups.setdefault(binding.group.description, []).append(binding)
                keys |= own
        return groups

    def _section(self, title: str, found: Sequence[Binding], width: int) -> list[Content]:
        rows = [_row(self._written(binding), binding.tooltip, 14, binding.id or "", width) for binding in found]
        return [rule(join((title, "bold")), width), *rows, Content("")]

    def _written(self, binding: Binding) -> str:
        """Return every key of a binding as it is written, the user's own ones where there are any."""
        keys = self.app._keymap.get(binding.id or "") or binding.key
        shown = [key_display(self.app, replace(binding, key=key, key_display=None)) for key in keys.split(",")]
        return " ".join(dict.fromkeys(shown))


def _bindings_of(kind: type) -> Iterator[Binding]:
    """Yield the bindings of a class, then of what it is made from: those are hidden by the same keys of the former."""
    for base in kind.__mro__:
        for binding in base.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding):
                yield binding


def _row(shown: str, says: str, room: int, ident: str = "", width: int = 0) -> Content:
    line = join("  ", (left(shown, room), "$accent bold"), says)
    return spread(line, styled(ident, "$faint"), width) if line.cell_length + len(ident) + 2 <= width else line
