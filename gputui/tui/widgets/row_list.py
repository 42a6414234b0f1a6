"""A list of painted rows with one cursor. Only visible rows are painted, and the cursor stays on its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from gputui.tui import bindings
from gputui.tui.render.diff import changed_cells

# Paints one row: key, width in cells, whether the cursor is there. Returns as many lines as the list's row height.
Painter = Callable[[str, int, bool], Sequence[Content]]


class RowList(ScrollView, can_focus=True):
    """Rows identified by keys and painted on demand."""

    BINDING_GROUP_TITLE = "List"
    BINDINGS = bindings.LIST
    COMPONENT_CLASSES: ClassVar[set[str]] = {"row-list--cursor", "row-list--header"}
    DEFAULT_CSS = """
    RowList { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; text-wrap: nowrap; text-overflow: clip; }
    RowList > .row-list--cursor { background: $row-cursor; }
    RowList > .row-list--header { color: $muted; }
    """

    @dataclass
    class Moved(Message):
        """The cursor was moved to another row; when rows come and go, whoever shows them knows."""

        row_list: RowList
        key: str | None

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a row, or it was clicked twice."""

        row_list: RowList
        key: str

    def __init__(self, painter: Painter, *, row_height: int = 1, id: str | None = None) -> None:
        super().__init__(id=id)
        self.auto_links = False  # there are none, and looking for them is a good part of the painting
        self._painter = painter
        self._row_height = row_height
        self._keys: list[str] = []
        self._cursor = 0
        self._header: Content | None = None
        self._on_screen: dict[
            int, tuple[Content, bool]
        ] = {}  # what each line of the widget showed when it was last painted

    @property
    def keys(self) -> Sequence[str]:
        return self._keys

    @property
    def key(self) -> str | None:
        """The key under the cursor, None when the list is empty."""
        return self._keys[self._cursor] if self._keys else None

    @property
    def row_height(self) -> int:
        return self._row_height

    @row_height.setter
    def row_height(self, height: int) -> None:
        if height != self._row_height:
            self._row_height = height
            self._resize()
            self._show_cursor()

    def set_header(self, header: Content | None) -> None:
        """Set the line that stays on top."""
        before, self._header = self._header, header
        if (before is None) != (header is None):
            self._resize()
        if before is None or header is None or not header.is_same(before):
            self.refresh()

    def set_keys(self, keys: Sequence[str], *, cursor: str | None = None) -> None:
        """Show these rows. The cursor stays on its key, or at its place when that is gone; `cursor` moves it."""
        before, row_before, count_before = self.key, self._cursor, len(self._keys)
        self._keys = list(keys)
        self._cursor = self._place(cursor, before)
        self._resize()
        if self.key == before:
            self._keep_in_place(row_before)
        else:
            self._show_cursor()
        if len(self._keys) == count_before:
            self._repaint_changed()
        else:
            self.refresh()  # its scrollbar changes, so that it is painted anew whatever differs

    def _place(self, *wanted: str | None) -> int:
        """Return the row of the first of these keys that there is, else the nearest to where the cursor was."""
        for key in wanted:
            if key is not None and key in self._keys:
                return self._keys.index(key)
        return max(0, min(self._cursor, len(self._keys) - 1))

    def _keep_in_place(self, row_before: int) -> None:
        """Scroll by what came or went above the cursor's row, so that it stays where the eye has it; at the top, stay there."""
        if self.scroll_offset.y:
            moved = (self._cursor - row_before) * self._row_height
            self.scroll_to(y=self.scroll_offset.y + moved, animate=False, immediate=True)
        self._show_cursor()

    def repaint(self) -> None:
        """Paint again what looks different by now, though the rows are the same."""
        self._repaint_changed()

    def select(self, key: str) -> None:
        """Move the cursor to a row; nothing happens when there is no such row."""
        if key in self._keys:
            self._move_to(self._keys.index(key))

    def action_move(self, rows: int) -> None:
        self._move_to(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        self._move_to(self._cursor + pages * max(1, self._rows_visible() - 1))

    def action_edge(self, side: int) -> None:
        self._move_to(0 if side < 0 else len(self._keys) - 1)

    def action_choose(self) -> None:
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: events.Click) -> None:
        row = self._row_at(event.y)
        if row is not None:
            self._move_to(row)
            if event.chain == 2:
                self.action_choose()

    def on_resize(self) -> None:
        self._resize()
        self._show_cursor()

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._header is not None and y == 0:
            return self._strip(self._header, width, "row-list--header")
        content, here = self._line(y, width)
        self._on_screen[y] = content, here
        return self._strip(content, width, "row-list--cursor" if here else None)

    def _line(self, y: int, width: int) -> tuple[Content, bool]:
        """Return what line `y` of the widget shows, and whether the cursor is there."""
        offset = y - (1 if self._header is not None else 0) + self.scroll_offset.y
        row, line = divmod(offset, self._row_height)
        if row >= len(self._keys):
            return Content(""), False
        here = row == self._cursor
        lines = self._painter(self._keys[row], width, here)
        return (lines[line] if line < len(lines) else Content("")), here

    def _repaint_changed(self) -> None:
        """Repaint the lines that differ from what is on the screen: over SSH every one of them travels."""
        width = self.size.width
        for y in range(1 if self._header is not None else 0, self.size.height):
            before, here_before = self._on_screen.get(y, (None, False))
            after, here = self._line(y, width)
            if before is None or here != here_before:
                self.refresh(Region(0, y, width, 1))
            elif (cells := changed_cells(before, after, width)) is not None:
                self.refresh(Region(cells[0], y, max(1, cells[1] - cells[0]), 1))

    def _strip(self, content: Content, width: int, component: str | None) -> Strip:
        style = self.visual_style if component is None else self.visual_style + self.get_visual_style(component)
        strips = Visual.to_strips(self, content.truncate(width), width, 1, style)
        background = style.background_style.rich_style
        strip = strips[0] if strips else Strip([Segment("", background)])
        return strip.adjust_cell_length(width, background)

    def _move_to(self, row: int) -> None:
        row = max(0, min(row, len(self._keys) - 1))
        if row != self._cursor and self._keys:
            self._cursor = row
            self._show_cursor()
            self._repaint_changed()
            self.post_message(self.Moved(self, self.key))

    def _row_at(self, y: int) -> int | None:
        line = y - (1 if self._header is not None else 0)
        row = (line + self.scroll_offset.y) // self._row_height
        return row if line >= 0 and row < len(self._keys) else None

    def _rows_visible(self) -> int:
        return max(1, (self.size.height - (1 if self._header is not None else 0)) // self._row_height)

    def _resize(self) -> None:
        height = len(self._keys) * self._row_height + (1 if self._header is not None else 0)
        self.virtual_size = Size(self.size.width, height)

    def _show_cursor(self) -> None:
        visible = self._rows_visible() * self._row_height
        first = self._cursor * self._row_height
        top = self.scroll_offset.y
        if first < top:
            top = first
        elif first + self._row_height > top + visible:
            top = first + self._row_height - visible
        self.scroll_to(y=top, animate=False, immediate=True)
