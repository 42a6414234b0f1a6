"""Write to the terminal only the cells that changed: over SSH every byte travels.

Textual 8.2.8 writes a changed line from its widget's left edge, colours spelled out again for every piece of text. Here the
screen is remembered as cells, an update is compared with it, and what is left is written with the fewest colour changes.
A list that scrolls is scrolled by the terminal itself (a scroll region, as curses does), so that one new line travels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from gputui.tui.sixteen import of_sixteen

# Attributes, foreground and background as the parameters of an SGR sequence.
Look: TypeAlias = tuple[str, str, str]
# A character with its look; the second half of a wide one has no character. None: what is there is not known.
Cell: TypeAlias = tuple[str, Look] | None

_PLAIN: Look = ("", "39", "49")
_BRIDGED = 4  # unchanged cells that are written again because moving over them costs as much
_LEAST_SCROLLED = 6
_ENDS = {"1": "22", "2": "22", "3": "23", "4": "24", "7": "27"}  # what switches bold, dim, italic ... off again


class Canvas:
    """What is on the terminal."""

    def __init__(self) -> None:
        self._lines: list[list[Cell]] = []
        self._width = 0

    def forget(self) -> None:
        """Something else may have written to the terminal: paint everything next time."""
        self._lines = []

    def update(self, painted: Iterable[tuple[int, int, int, Strip]], width: int, height: int, console: Console) -> str:
        """Take in strips as (line, column, end, strip) and return what has to be written to show them."""
        if (len(self._lines), self._width) != (height, width):
            self._lines, self._width = [[None] * width for _ in range(height)], width
        system = console._color_system or ColorSystem.TRUECOLOR
        lines: dict[int, list[Cell]] = {}
        for y, x, end, strip in painted:
            if 0 <= y < height:
                line = lines.setdefault(y, list(self._lines[y]))
                _put(line, x, min(end, width), strip, system)
        writer = _Writer()
        self._scroll(lines, writer)
        for y, line in sorted(lines.items()):
            writer.line(y, self._lines[y], line)
            self._lines[y] = line
        return writer.text()

    def _scroll(self, lines: dict[int, list[Cell]], writer: _Writer) -> None:
        """Let the terminal move what only moved up or down, when that is most of what changed."""
        if len(lines) < _LEAST_SCROLLED:
            return
        before = {_words(line): y for y, line in enumerate(self._lines)}
        shifts = {
            y: before[words] - y for y, line in lines.items() if (words := _words(line)).strip() and words in before
        }
        moved, count = Counter(shifts.values()).most_common(1)[0] if shifts else (0, 0)
        if not moved or count < max(_LEAST_SCROLLED, len(lines) // 2):
            return
        rows = [y for y, shift in shifts.items() if shift == moved]
        top, bottom = min(rows) + min(moved, 0), max(rows) + max(moved, 0)
        writer.scroll(top, bottom, moved)
        region = self._lines[top : bottom + 1]
        unknown: list[list[Cell]] = [[None] * self._width for _ in range(abs(moved))]
        self._lines[top : bottom + 1] = region[moved:] + unknown if moved > 0 else unknown + region[:moved]
        for y, line in enumerate(region, top):
            lines.setdefault(y, line)  # what is to stay there was moved, too


def _words(line: list[Cell]) -> str:
    """Return a line's characters without its last cell, where a scrollbar may be."""
    return "".join([cell[0] if cell else "\0" for cell in line[:-1]])


def _put(line: list[Cell], x: int, end: int, strip: Strip, system: ColorSystem) -> None:
    for text, style, control in strip:
        if control:
            continue
        look = _PLAIN if style is None else _look(style, system)
        blank = look if look[0] else ("", "39", look[2])  # in whatever colour nothing is written, it looks the same
        for character in text:
            width = 1 if character < "\x7f" else get_character_cell_size(character)
            if width == 0:
                if 0 < x <= end and (cell := line[x - 1]) is not None:
                    line[x - 1] = (cell[0] + character, cell[1])
                continue
            if x + width > end:
                return
            line[x] = (character, blank if character == " " else look)
            if width == 2:
                line[x + 1] = ("", look)
            x += width


@lru_cache(maxsize=4096)
def _look(style: Style, system: ColorSystem) -> Look:
    color, bgcolor = style.color, style.bgcolor
    if system is ColorSystem.STANDARD:
        color = color and of_sixteen(color)
        bgcolor = bgcolor and of_sixteen(bgcolor, is_background=True)
    colours = Style(color=color), Style(bgcolor=bgcolor)
    fore, back = (Strip.render_ansi(colour, system) for colour in colours)
    attributes = Strip.render_ansi(style.without_color, system)
    return attributes, fore or "39", back or "49"


class _Writer:
    """Puts the shortest sequences together that turn the old lines into the new ones."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._look = _PLAIN

    def text(self) -> str:
        return "".join([*self._parts, "\x1b[0m"]) if self._parts else ""

    def scroll(self, top: int, bottom: int, lines: int) -> None:
        start, step = (bottom, "\n") if lines > 0 else (top, "\x1bM")
        self._parts.append(f"\x1b[{top + 1};{bottom + 1}r\x1b[{start + 1};1H{step * abs(lines)}\x1b[r")

    def line(self, y: int, old: list[Cell], new: list[Cell]) -> None:
        for start, end in _runs(old, new):
            self._parts.append(f"\x1b[{y + 1};{start + 1}H")
            for cell in new[start:end]:
                character, look = cell if cell is not None else (" ", _PLAIN)
                if character == " " and not look[0]:
                    look = ("", self._look[1], look[2])
                if look != self._look:
                    self._change_to(look)
                self._parts.append(character)

    def _change_to(self, look: Look) -> None:
        attributes, fore, back = look
        before = self._look
        switch = _switch(before[0], attributes)
        if switch is None:
            codes = ["0", attributes, "" if fore == "39" else fore, "" if back == "49" else back]
        else:
            codes = [switch, fore if fore != before[1] else "", back if back != before[2] else ""]
        self._parts.append(f"\x1b[{';'.join(filter(None, codes))}m")
        self._look = look


def _switch(before: str, after: str) -> str | None:
    """Return what turns some attributes into others, None when that takes a reset of everything."""
    if before == after:
        return ""
    return after if not before else None if after else _ENDS.get(before)


def _runs(old: list[Cell], new: list[Cell]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a line to write: what differs, near ones joined, wide characters whole."""
    changed = [x for x, (was, now) in enumerate(zip(old, new, strict=True)) if was is None or was != now]
    position = 0
    while position < len(changed):
        start = end = changed[position]
        while position < len(changed) and changed[position] - end <= _BRIDGED:
            end = changed[position]
            position += 1
        while start and (cell := new[start]) is not None and not cell[0]:
            start -= 1
        while end + 1 < len(new) and (cell := new[end + 1]) is not None and not cell[0]:
            end += 1
        yield start, end + 1


class ThinUpdate(CompositorUpdate):
    """An update of the compositor, written through a canvas."""

    def __init__(self, canvas: Canvas, update: CompositorUpdate, width: int, height: int) -> None:
        self._canvas = canvas
        self._update = update
        self._size = width, height

    def render_segments(self, console: Console) -> str:
        return self._canvas.update(_strips(self._update), *self._size, console)


def is_thin(update: object) -> bool:
    """True for the kinds of update that a canvas can take in."""
    return isinstance(update, (ChopsUpdate, LayoutUpdate))


def _strips(update: CompositorUpdate) -> Iterator[tuple[int, int, int, Strip]]:
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in strips:
                yield y, x, x + strip.cell_length, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, x1, x2 in update.spans:
            for end, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=True):
                if chop is not None and x <= x2 and end > x1:
                    yield y, x, min(end, x2), chop
