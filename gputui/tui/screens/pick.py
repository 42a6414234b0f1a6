"""A short list to choose one thing from: an order, a theme, a saved filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from gputui.tui import bindings
from gputui.tui.render.text import cut, join, left, plain, rule, styled
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import key_of
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_MOST_SHOWN = 14


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose: what it is called, and a word about it."""

    key: str
    title: str
    note: str = ""


class PickScreen(Modal[str | None]):
    """Dismissed with the key that was chosen, None when none was.

    `preview` is told each key the cursor comes to, and at the end, when nothing was chosen, the one it began at.
    `remove` makes ctrl+d take a choice off the list.
    """

    CSS_PATH = "pick.tcss"
    BINDINGS = bindings.PICK

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        *,
        current: str | None = None,
        preview: Callable[[str], None] | None = None,
        remove: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._choices = {choice.key: choice for choice in choices}
        self._current = current
        self._preview = preview
        self._remove = remove

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Painted(id="title")
            yield RowList(self._paint, id="choices")
            yield Painted(id="keys")

    def on_mount(self) -> None:
        choices = self.query_one(RowList)
        self.query_one("#title", Painted).show(lambda width: rule(join((self._title, "bold")), width))
        self.query_one("#keys", Painted).show(self._keys)
        choices.styles.height = min(len(self._choices), _MOST_SHOWN)
        choices.set_keys(list(self._choices), cursor=self._current)
        choices.focus()

    def _paint(self, key: str, width: int, here: bool) -> list[Content]:
        choice = self._choices[key]
        now = "● " if key == self._current else "  "
        noted = [len(plain(known.title)) for known in self._choices.values() if known.note]
        name = left(plain(choice.title), min(max(noted) + 3 if noted else width, width - 3))
        note = cut(plain(choice.note), width - 3 - len(name))
        if here:
            return [styled(left(f" {now}{name}{note}", width), "$cell-cursor-text on $cell-cursor")]
        return [join(" ", (now, "$accent"), name, (note, "$muted"))]

    def _keys(self, width: int) -> Content:
        ways = [("list.open", "choose"), ("pick.remove", "remove"), ("pick.close", "leave")]
        if self._remove is None:
            del ways[1]
        words = (join((key_of(self.app, ident), "$accent bold"), (f" {says}", "$muted")) for ident, says in ways)
        return join(" ", Content("   ").join(words))

    @on(RowList.Moved)
    def _moved(self, event: RowList.Moved) -> None:
        if self._preview is not None and event.key is not None:
            self._preview(event.key)

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        self.dismiss(event.key)

    def action_remove(self) -> None:
        choices = self.query_one(RowList)
        if self._remove is None or choices.key is None:
            return
        gone = choices.key
        self._remove(gone)
        del self._choices[gone]
        if self._choices:
            choices.styles.height = min(len(self._choices), _MOST_SHOWN)
            choices.set_keys(list(self._choices))
        else:
            self.dismiss(None)

    def action_close(self) -> None:
        if self._preview is not None and self._current is not None:
            self._preview(self._current)
        self.dismiss(None)
