"""Every key of a page, from the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen

from gputui.tui import bindings
from gputui.tui.render.text import join, left, rule
from gputui.tui.widgets.frame import FrameFooter
from gputui.tui.widgets.painted import Painted

WIDTH = 88
_TITLES = {"list": "In the list", "log": "In the log", "form": "In a choice"}


class HelpScreen(ModalScreen[None]):
    """A page of keys, grouped by where they work."""

    CSS_PATH = "help.tcss"
    BINDINGS = bindings.HELP
    HELP: ClassVar[str] = ""

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
        lines = [*Content(getattr(about, "HELP", "")).wrap(max(1, width)), Content("")]
        for scope in getattr(about, "HELP_SCOPES", ()):
            lines += self._section(_TITLES.get(scope, "This page"), (scope,), width)
        lines += self._section("Everywhere", ("go", "app"), width)
        return Content("\n").join(lines)

    def _section(self, title: str, scopes: tuple[str, ...], width: int) -> list[Content]:
        rows = [(self._written(binding), binding.tooltip) for binding in bindings.in_scopes(*scopes)]
        return [rule(join((title, "bold")), width), *self._table(rows), Content("")]

    def _written(self, binding: Binding) -> str:
        """Return every key of a binding as it is written."""
        keys = [self.app.get_key_display(replace(binding, key=key, key_display=None)) for key in binding.key.split(",")]
        return " ".join(dict.fromkeys(keys))

    @staticmethod
    def _table(rows: Iterable[tuple[str, str]]) -> Iterator[Content]:
        for shown, tooltip in rows:
            yield join("  ", (left(shown, 14), "$accent bold"), tooltip)
