"""Aligned text tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "
_NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title; `right` aligns numbers; `shrinks` lets it give way when lines are too wide, the last one first."""

    title: str
    right: bool = False
    shrinks: bool = False


def render_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None = None) -> str:
    """Return a title line and one line per row. `width` None never cuts; otherwise cells are cut, with "…", to fit it."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(display_width(column.title), *(display_width(row[index]) for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    if width is not None:
        _shrink(widths, columns, width)
    lines = [_line([column.title for column in columns], columns, widths)]
    lines += [_line(row, columns, widths) for row in cells]
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters become "�", line breaks and tabs a space."""
    if text.isprintable():
        return text
    return "".join(_printable_character(character) for character in text)


def display_width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _printable_character(character: str) -> str:
    import unicodedata

    if character in "\t\r\n":
        return " "
    return "�" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else character


def _character_width(character: str) -> int:
    import unicodedata

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _shrink(widths: list[int], columns: Sequence[Column], width: int) -> None:
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for index in reversed(range(len(columns))):
        if excess > 0 and columns[index].shrinks:
            least = max(_NARROWEST, display_width(columns[index].title))
            given = max(0, min(excess, widths[index] - least))
            widths[index] -= given
            excess -= given


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = _cut(cell, width)
        space = " " * (width - display_width(text))
        padded.append(space + text if column.right else text + space)
    return _GAP.join(padded).rstrip()


def _cut(text: str, width: int) -> str:
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
