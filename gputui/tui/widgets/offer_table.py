"""The offers as a list with columns: what matters most where it is narrow, or every one behind a window that moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from gputui.core.routing import Quote
from gputui.tui.render import offers
from gputui.tui.render.offers import View
from gputui.tui.widgets.row_list import RowList


class OfferTable(RowList):
    """Offers by their ids."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(self._paint, id=id)
        self._quotes: Mapping[str, Quote] = {}
        self._view = view
        self._is_wide = False
        self._first = 0
        self._layout = offers.Layout(())

    @property
    def quote(self) -> Quote | None:
        """The offer under the cursor."""
        return self._quotes.get(self.key or "")

    def show(self, ids: Sequence[str], quotes: Mapping[str, Quote], view: View) -> None:
        """Show the offers of these ids, of all there are; the cursor and the marks stay on theirs."""
        self._quotes = quotes
        self._view = view
        self._lay_out()
        self.set_keys(ids)

    def look_again(self, view: View) -> None:
        """Show the same offers as they look now."""
        self._view = view
        self._lay_out()
        self.repaint()

    def toggle_wide(self) -> None:
        self._is_wide, self._first = not self._is_wide, 0
        self.look_again(self._view)

    def move_columns(self, columns: int) -> None:
        """With every column: move the window over them."""
        if self._is_wide and (columns < 0 or self._layout.after):
            self._first = offers.last_start(self._first + columns)
            self.look_again(self._view)

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        self._layout = offers.layout(self.size.width, wide=self._is_wide, first=self._first)
        self.set_header(offers.header(self._layout, self._view))

    def _paint(self, key: str, width: int, here: bool) -> list[Content]:
        return [offers.row(self._quotes[key], self._layout, self._view, here=here)]
