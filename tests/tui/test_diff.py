"""What is repainted when a line changes."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region

from gputui.tui.render.diff import changed_cells, changed_regions
from gputui.tui.render.text import join


def test_the_same_line_is_not_repainted() -> None:
    line = join(("a", "bold"), "b")
    assert changed_cells(line, join(("a", "bold"), "b"), 10) is None


def test_only_the_part_that_changed_is() -> None:
    before = join("cost ", ("$1.00", "bold"), " left")
    after = join("cost ", ("$1.25", "bold"), " left")
    first, end = changed_cells(before, after, 80) or (0, 0)
    assert first <= 8
    assert 10 <= end <= 15


def test_a_change_of_style_alone_is_seen() -> None:
    assert changed_cells(join("ab", ("cd", "bold")), join("ab", ("cd", "italic")), 4) is not None


def test_a_line_of_another_length_is_repainted_to_its_end() -> None:
    assert changed_cells(Content("9 s"), Content("10 s"), 40) == (0, 40)


def test_each_line_by_itself() -> None:
    assert changed_regions(Content("a\nb\nc"), Content("a\nx\nc"), 5) == [Region(0, 1, 1, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_every_cell_that_differs_is_inside(seed: int) -> None:
    chance = random.Random(seed)

    def line() -> Content:
        parts = [(chance.choice(["a", "bb", "日", "–"]), chance.choice(["", "bold"])) for _ in range(8)]
        return join(*parts)

    before, after = line(), line()
    width = max(before.cell_length, after.cell_length)
    first, end = changed_cells(before, after, width) or (width, width)
    if before.cell_length == after.cell_length:
        outside = lambda text: (_cells(text, 0, first), _cells(text, end, width))  # noqa: E731
        assert outside(before.plain) == outside(after.plain)


def _cells(text: str, start: int, end: int) -> str:
    """Return the characters that begin inside a range of cells."""
    found, at = [], 0
    for character in text:
        if start <= at < end:
            found.append(character)
        at += cell_len(character)
    return "".join(found)
