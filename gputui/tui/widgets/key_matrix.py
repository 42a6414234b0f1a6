"""SSH keys down, providers across, with a cursor over the cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message

from gputui.tui import bindings
from gputui.tui.render import ssh_keys
from gputui.tui.render.ssh_keys import KeyColumn, KeyLine
from gputui.tui.widgets.row_list import RowList


class KeyMatrix(RowList):
    """Arrows move by cell; the cursor stays on its key and its provider."""

    BINDING_GROUP_TITLE = "Keys"
    BINDINGS = bindings.KEY_MATRIX

    @dataclass
    class ColumnMoved(Message):
        """The cursor is on another provider."""

        provider: str | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(self._paint, id=id)
        self._lines: dict[str, KeyLine] = {}
        self._columns: Sequence[KeyColumn] = ()
        self._provider: str | None = None

    @property
    def column(self) -> KeyColumn | None:
        """The provider under the cursor."""
        return self._columns[self._position] if self._columns else None

    @property
    def line(self) -> KeyLine | None:
        """The key under the cursor."""
        return self._lines.get(self.key or "")

    def show(self, lines: Iterable[KeyLine], columns: Sequence[KeyColumn]) -> None:
        """Take in what there is to paint; `set_keys` says which rows are shown."""
        self._lines = {line.key: line for line in lines}
        self._columns = columns
        self._show_header()

    def action_move_column(self, columns: int) -> None:
        if self._columns:
            position = max(0, min(self._position + columns, len(self._columns) - 1))
            self._provider = self._columns[position].name
            self._show_header()
            self.repaint()
            self.post_message(self.ColumnMoved(self._provider))

    def on_resize(self) -> None:
        self._show_header()

    def on_click(self, event: events.Click) -> None:
        position = ssh_keys.layout(self._columns, self.size.width).column_at(event.x)
        if position is not None:
            self.action_move_column(position - self._position)

    @property
    def _position(self) -> int:
        return next((place for place, column in enumerate(self._columns) if column.name == self._provider), 0)

    def _show_header(self) -> None:
        self.set_header(ssh_keys.header(self._columns, self.size.width, cursor=self._position))

    def _paint(self, key: str, width: int, here: bool) -> list[Content]:
        line = self._lines[key]
        return [ssh_keys.row(line, self._columns, width, cursor=self._position, here=here, focused=self.has_focus)]
