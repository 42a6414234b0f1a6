"""Lines of NAME=value in which the values of secrets cannot be read over one's shoulder."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import TextArea

from gputui.core.templates import looks_secret

_MOST_LINES = 5
_MASK = "•"


class EnvArea(TextArea):
    """Grows with its lines."""

    DEFAULT_CSS = """
    EnvArea { width: 1fr; height: 1; padding: 0; border: none; background: transparent; scrollbar-size: 1 1; }
    EnvArea:focus { background: $row-cursor; background-tint: transparent; border: none; }
    EnvArea .text-area--placeholder { color: $faint; }
    """

    def __init__(self, placeholder: str, *, id: str | None = None) -> None:
        super().__init__(
            soft_wrap=False, compact=True, placeholder=placeholder, highlight_cursor_line=False, theme="css", id=id
        )
        self.cursor_blink = False

    @property
    def value(self) -> str:
        return self.text

    @value.setter
    def value(self, text: str) -> None:
        self.text = text
        self._fit()

    def get_line(self, line_index: int) -> Text:
        """Return the line as it is painted."""
        name, equals, value = self.document.get_line(line_index).partition("=")
        shown = _MASK * len(value) if looks_secret(name) else value
        return Text(f"{name}{equals}{shown}", end="", no_wrap=True)

    def on_text_area_changed(self) -> None:
        self._fit()

    def _fit(self) -> None:
        self.styles.height = max(1, min(_MOST_LINES, self.document.line_count))

    def move(self, lines: int) -> bool:
        """Move the cursor up or down. Returns False at the first or the last line."""
        row, column = self.cursor_location
        if not 0 <= row + lines < self.document.line_count:
            return False
        self.move_cursor((row + lines, min(column, len(self.document.get_line(row + lines)))))
        return True
