"""The rows of a log on the screen: painted as they are seen, wrapped or cut, with times, finds and marks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gputui.tui.log_book import LogBook
from gputui.tui.log_search import LogSearch
from gputui.tui.render.log_line import paint
from gputui.tui.render.text import plain

_TIME_FORMAT = "%m-%d %H:%M:%S "
_TIME_WIDTH = 15
_STYLES = ("match", "match-here", "time", "note", "gap", "marked", "further")


class LogRows(ScrollView):
    """Paints the places of a book from a row of the place that it is scrolled to; a wrapped line has several rows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"log-view--{name}" for name in _STYLES}
    DEFAULT_CSS = """
    LogRows { height: 1fr; scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; }
    LogRows > .log-view--match { background: $state-waiting; color: $background; }
    LogRows > .log-view--match-here { background: $accent; color: $background; text-style: bold underline; }
    LogRows > .log-view--time { color: $faint; }
    LogRows > .log-view--note { color: $muted; }
    LogRows > .log-view--gap { color: $state-failed; }
    LogRows > .log-view--marked { background: $row-cursor; text-style: bold; }
    LogRows > .log-view--further { color: $accent; text-style: bold; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._book: LogBook | None = None
        self._wraps = False
        self._shows_times = False
        self._row = 0  # of the place at the top
        self._x = 0
        self._search: LogSearch | None = None
        self._match_line: int | None = None
        self._marked: tuple[int, int] | None = None  # the place where marking began, and where it is now
        self._problem = ""
        self._strips: LRUCache[int, list[Strip]] = LRUCache(256)  # the rows of each place
        self._strips_width = 0
        self._styles_known: dict[str, Style] = {}
        self._painted: tuple[object, list[tuple[int, Strip]]] = (None, [])
        self._generation = 0

    @property
    def _place_count(self) -> int:
        return self._book.place_count if self._book else 0

    def _rows_at(self, place: int) -> int:
        return len(self._rows(place)) if self._wraps else 1

    def _top(self) -> tuple[int, int]:
        return self.scroll_offset.y, self._row

    def _end(self) -> tuple[int, int]:
        """Return the place and row that are at the top when the last row is at the bottom."""
        return self._above(self._place_count, 0, self.size.height)

    def _above(self, place: int, row: int, rows: int) -> tuple[int, int]:
        """Return what stands some rows above; at most the first row of all."""
        row -= rows
        while row < 0 and place > 0:
            if not self._wraps:
                return max(0, place + row), 0
            place -= 1
            row += self._rows_at(place)
        return place, max(0, row)

    def _below(self, place: int, row: int, rows: int) -> tuple[int, int]:
        """Return what stands some rows below; at most the end."""
        if not self._wraps:
            return min((place + rows, 0), self._end())
        row += rows
        while place < self._place_count and row >= (here := self._rows_at(place)):
            place, row = place + 1, row - here
        return min((place, row), self._end())

    @property
    def _text_width(self) -> int:
        return max(1, self._width - (_TIME_WIDTH if self._shows_times else 0))

    @property
    def _width(self) -> int:
        """Return the columns there are beside the scrollbar."""
        return self.scrollable_content_region.width

    def _repaint(self) -> None:
        """Forget how everything looked."""
        self._strips.clear()
        self._styles_known.clear()
        self._generation += 1
        self.refresh()

    def render_line(self, y: int) -> Strip:
        seen = self._seen()
        if y >= len(seen):
            return Strip.blank(self._width, self._style(""))
        return seen[y][1]

    def _seen(self) -> list[tuple[int, Strip]]:
        """Return what is on the screen, row by row: the place it belongs to and how it looks."""
        now = (self._top(), self._width, self.size.height, self._x, self._generation)
        if self._painted[0] != now:
            rows: list[tuple[int, Strip]] = []
            place, first = self._top()
            while len(rows) < self.size.height and place < self._place_count:
                for row, strip in enumerate(self._rows(place)):
                    if row >= first and len(rows) < self.size.height:
                        rows.append((place, self._framed(place, row, strip)))
                place, first = place + 1, 0
            self._painted = now, rows
        return self._painted[1]

    def _rows(self, place: int) -> list[Strip]:
        """Return the rows of a place, whole: one, or as many as it is wrapped to."""
        if self._wraps and self._text_width != self._strips_width:
            self._strips.clear()
            self._strips_width = self._text_width
        rows = self._strips.get(place)
        if rows is None:
            strip = self._strip(place)
            rows = [strip]
            if self._wraps and strip.cell_length > self._text_width:
                cuts = range(self._text_width, strip.cell_length + self._text_width, self._text_width)
                rows = list(strip.divide([min(cut, strip.cell_length) for cut in cuts]))
            self._strips[place] = rows
        return rows

    def _strip(self, place: int) -> Strip:
        assert self._book is not None
        note = self._book.note_at(place)
        if note is not None:
            style = self._style("gap" if note.is_gap else "note")
            return Strip([Segment(f"── {plain(note.text)} ──", self._style("") + style)])
        line = self._book.line_at(place)
        try:
            raw, left_out = self._book.line(line)
        except OSError:  # told when the file is looked at next
            return Strip.blank(self._text_width, self._style(""))
        text = paint(raw, bytes_left_out=left_out)
        text.stylize_before(self._style(""))
        if self._search is not None:
            style = self._style("match-here" if line == self._match_line else "match")
            for match in self._search.pattern.finditer(text.plain):
                text.stylize(style, *match.span())
        return Strip(text.render(self.app.console))

    def _framed(self, place: int, row: int, strip: Strip) -> Strip:
        """Return a row in the width there is: its time before it, and signs of what is further left or right."""
        width, style = self._text_width, self._style("")
        shown = strip.crop_extend(self._x, self._x + width, style)
        further = style + self._style("further")
        if not self._wraps and strip.cell_length > self._x + width:
            shown = Strip.join([shown.crop(0, width - 1), Strip([Segment("›", further)])])
        if self._x and strip.cell_length:
            shown = Strip.join([Strip([Segment("‹", further)]), shown.crop(1, width)])
        if self._shows_times:
            shown = Strip.join([Strip([Segment(self._time(place, row), style + self._style("time"))]), shown])
        if self._marked is not None and min(self._marked) <= place <= max(self._marked):
            marked = self._style("marked")
            shown = Strip([Segment(text, (known or Style()) + marked) for text, known, _ in shown])
        return shown

    def _time(self, place: int, row: int) -> str:
        assert self._book is not None
        note = self._book.note_at(place)
        at_ms = note.at_ms if note is not None else self._book.time_of(self._book.line_at(place))
        if row or at_ms is None:
            return " " * _TIME_WIDTH
        return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime(_TIME_FORMAT)

    def _plain(self, place: int) -> str:
        assert self._book is not None
        note = self._book.note_at(place)
        return plain(note.text) if note is not None else paint(self._book.line(self._book.line_at(place))[0]).plain

    def _style(self, name: str) -> Style:
        """Return one of the styles, or with an empty name the one under them all; working them out takes long."""
        style = self._styles_known.get(name)
        if style is None:
            style = self.get_component_rich_style(f"log-view--{name}", partial=True) if name else self.rich_style
            self._styles_known[name] = style
        return style
