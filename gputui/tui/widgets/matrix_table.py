"""The pricing matrix as a list of GPU models with a second cursor over providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message

from gputui.core.catalog import PriceCell, PriceRow
from gputui.core.price_history import Trend
from gputui.tui import bindings
from gputui.tui.render import matrix
from gputui.tui.widgets.row_list import RowList


class MatrixTable(RowList):
    """GPU models down, providers across; arrows move by cell."""

    BINDING_GROUP_TITLE = "Matrix"
    BINDINGS = bindings.MATRIX_TABLE

    @dataclass
    class ColumnMoved(Message):
        """The cursor is on another provider."""

        provider: str | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(self._paint, id=id)
        self._rows: dict[str, PriceRow] = {}
        self._columns: list[matrix.Column] = []
        self._titles: dict[str, str] = {}
        self._provider: str | None = None
        self._trends: Mapping[str, Trend] = {}

    @property
    def provider(self) -> str | None:
        """The provider under the cursor, None when there is none."""
        return self._provider

    @property
    def column(self) -> matrix.Column | None:
        return next((column for column in self._columns if column.name == self._provider), None)

    @property
    def cell(self) -> PriceCell | None:
        """The cell under the cursor, None where nothing is offered."""
        price_row = self._rows.get(self.key or "")
        return price_row.cells.get(self._provider or "") if price_row else None

    @property
    def best(self) -> PriceCell | None:
        """The cheapest cell of the GPU under the cursor, None where none can be had."""
        price_row = self._rows.get(self.key or "")
        return price_row.best if price_row else None

    def show(
        self, rows: Sequence[PriceRow], columns: Sequence[matrix.Column], trends: Mapping[str, Trend] | None = None
    ) -> None:
        """Show prices, and the trends of those GPUs that have one; the cursor stays on its GPU and provider."""
        first_time = not self._rows
        self._trends = trends or {}
        self._rows = {price_row.gpu: price_row for price_row in rows}
        self._columns = list(columns)
        self._titles = {column.name: column.title for column in columns}
        if self._provider not in self._titles:
            self._provider = columns[0].name if columns else None
        if first_time and rows and rows[0].best is not None:
            self._provider = rows[0].best.provider
        self._show_header()
        self.set_keys([price_row.gpu for price_row in rows])

    def select_provider(self, provider: str) -> None:
        """Move the cursor to a provider's column."""
        if provider in self._titles and provider != self._provider:
            self._provider = provider
            self._show_header()
            self.post_message(self.ColumnMoved(provider))

    def action_move_column(self, columns: int) -> None:
        position = max(0, min(self._position() + columns, len(self._columns) - 1))
        if self._columns:
            self.select_provider(self._columns[position].name)

    def on_resize(self) -> None:
        self._show_header()

    def on_click(self, event: events.Click) -> None:
        plan = self._layout()
        position = (event.x - matrix.columns_begin(plan)) // plan.column_width
        if 0 <= position < len(plan.columns):
            self.select_provider(plan.columns[position].name)

    def _position(self) -> int:
        return next((place for place, column in enumerate(self._columns) if column.name == self._provider), 0)

    def _layout(self) -> matrix.Layout:
        return matrix.layout(self._columns, self.size.width, self._position(), has_trends=bool(self._trends))

    def _show_header(self) -> None:
        self.set_header(matrix.header(self._layout(), cursor_column=self._position()))

    def _paint(self, key: str, width: int, here: bool) -> list[Content]:
        plan = matrix.layout(self._columns, width, self._position(), has_trends=bool(self._trends))
        return [
            matrix.row(
                self._rows[key],
                plan,
                cursor_column=self._position(),
                here=here,
                focused=self.has_focus,
                titles=self._titles,
                trend=self._trends.get(key),
            )
        ]
