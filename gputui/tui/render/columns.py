"""Tables of painted rows: which columns fit into a width, and how header and cells are laid out in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual.content import Content

from gputui.tui.render.text import cut, join, left, plain, right, rule

_BAR = 2
_LONGEST_CELL = 400  # a provider may send ten thousand characters where a name is expected

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """`cell` returns a text and its style. Where it is narrow, the columns of the highest `rank` give way first.

    Numbers stand at the right and are never cut; a column that `grows` takes what width is left, up to `most`.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[R], tuple[str, str]]
    is_right: bool = False
    grows: bool = False
    most: int = 40


def fit(columns: Sequence[Column[R]], width: int) -> list[tuple[Column[R], int]]:
    """Return the columns that fit, each with its width; the first one that matters is always there."""
    room = width - _BAR
    chosen: set[str] = set()
    for column in sorted(columns, key=lambda column: column.rank):
        if column.width <= room or not chosen:
            chosen.add(column.title)
            room -= column.width
    shown = []
    for column in columns:
        if column.title in chosen:
            more = max(0, min(room, column.most - column.width)) if column.grows else 0
            room -= more
            shown.append((column, column.width + more))
    return shown


def header(shown: Sequence[tuple[Column[R], int]]) -> Content:
    """Return the line of column titles."""
    return join(" " * _BAR, *((_laid(column.title, column, width), "$muted") for column, width in shown))


def row(thing: R, shown: Sequence[tuple[Column[R], int]], *, here: bool, is_dim: bool = False) -> Content:
    """Return one line. `here` is the cursor's row; a dim one is not as it was just told, but what is bad stays red."""
    parts: list[tuple[str, str]] = [("▌" if here else " ", "$accent"), (" ", "")]
    for position, (column, width) in enumerate(shown):
        text, style = column.cell(thing)
        if here and position == 0 and not style:
            style = "bold"
        if is_dim and "$state-failed" not in style:
            style = "$faint"
        parts.append((_laid(plain(text[:_LONGEST_CELL]), column, width), style))
    return join(*parts)


def title_rule(title: Content, width: int, right_titles: Sequence[Content]) -> Content:
    """Return the line over a list; of the texts for its right end the first one that there is room for."""
    room = width - title.cell_length - 8
    fitting = next((text for text in right_titles if text.cell_length <= room), Content(""))
    return rule(title, width, right_title=fitting)


def _laid(text: str, column: Column[R], width: int) -> str:
    return right(text, width - 2) + "  " if column.is_right else left(cut(text, width - 2), width)
