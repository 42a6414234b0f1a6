"""Plain ASCII for terminals and fonts without the other glyphs: whatever is painted is translated on its way out."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ASCII = {
    "●": "*", "◐": "o", "○": ".", "◌": "~", "✕": "x", "✓": "+", "■": "#", "▲": "!", "▌": ">", "▎": "|", "›": ">", "‹": "<",
    "▸": ">", "◂": "<", "–": "-", "—": "-", "−": "-", "─": "-", "━": "-", "│": "|", "┃": "|", "·": ".", "…": "~", "×": "x",
    "±": "~", "≤": "<", "≥": ">", "→": ">", "←": "<", "↑": "^", "↓": "v", "’": "'", "◆": "+", "“": '"', "”": '"',
    "•": "*", "▓": "#", "▒": "=", "░": ":",
    **dict.fromkeys("▀▁▂▃▄▅▆▇█▉▊▋▍▏▐", " "),  # parts of scrollbars, told by their background
}  # fmt: skip
_BARS = dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True))


def to_ascii(text: str) -> str:
    """Return text of the same width in ASCII; a character without a stand-in becomes question marks."""
    if text.isascii():
        return text
    glyphs = _ASCII if len(text) == 1 else _ASCII | _BARS  # a part of a scrollbar stands alone, a chart's bars do not
    return "".join(
        character if character.isascii() else glyphs.get(character) or "?" * cell_len(character) for character in text
    )


class AsciiFilter(LineFilter):
    """Applied to every line of every widget, Textual's own included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
