"""Which cells of a line differ from what is on the screen: over SSH every repainted cell is bytes on the wire.

Textual 8.2.8 writes a line of a widget from its start to the last cell that was marked, so what changes often belongs at
the left or in a narrow widget.
"""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region


def changed_cells(before: Content, after: Content, width: int) -> tuple[int, int] | None:
    """Return (first, end) of the cells that differ between two versions of a line of `width` cells; None when none do."""
    if before.is_same(after):
        return None
    old, new = before.plain, after.plain
    head = _common(old, new)
    while head and not before[:head].is_same(after[:head]):
        head //= 2
    start = cell_len(new[:head])
    if cell_len(old) != cell_len(new):
        return start, width
    tail = min(_common(old[::-1], new[::-1]), len(old) - head, len(new) - head)
    while tail and not before[len(old) - tail :].is_same(after[len(new) - tail :]):
        tail //= 2
    return start, cell_len(new) - cell_len(new[len(new) - tail :])


def changed_regions(before: Content, after: Content, width: int) -> list[Region]:
    """Return the regions that differ between two paintings of equal height."""
    regions = []
    for y, (old, new) in enumerate(zip(before.split("\n"), after.split("\n"), strict=True)):
        cells = changed_cells(old, new, width)
        if cells is not None:
            regions.append(Region(cells[0], y, max(1, cells[1] - cells[0]), 1))
    return regions


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their start."""
    for position, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return position
    return min(len(one), len(other))
