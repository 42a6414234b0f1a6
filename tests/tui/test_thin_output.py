"""What is written to the terminal, read back by a small terminal."""

from __future__ import annotations

import random
import re

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gputui.tui.thin_output import Canvas

WIDTH, HEIGHT = 30, 12
CONSOLE = Console(color_system="truecolor", width=WIDTH)
_SEQUENCE = re.compile(r"\x1b\[([\d;]*)([Hmr])|\x1bM|\n|[^\x1b\n]")


class Screen:
    """A terminal that knows cursor moves, colours, scroll regions, line feeds and nothing else."""

    def __init__(self) -> None:
        self.cells = [[(" ", "")] * WIDTH for _ in range(HEIGHT)]
        self._row = self._column = 0
        self._region = 0, HEIGHT - 1
        self._look: tuple[str, str, str] = ("", "39", "49")

    def write(self, data: str) -> None:
        assert "".join(found.group() for found in _SEQUENCE.finditer(data)) == data
        for found in _SEQUENCE.finditer(data):
            numbers, kind = found.groups()
            if kind == "H":
                row, column = numbers.split(";")
                self._row, self._column = int(row) - 1, int(column) - 1
            elif kind == "r":
                top, bottom = numbers.split(";") if numbers else ("1", str(HEIGHT))
                self._region, self._row, self._column = (int(top) - 1, int(bottom) - 1), 0, 0
            elif kind == "m":
                self._colour(numbers)
            elif found.group() == "\n":
                assert self._row == self._region[1]
                self._roll(self._region[0], self._region[1])
            elif found.group() == "\x1bM":
                assert self._row == self._region[0]
                self._roll(self._region[1], self._region[0])
            else:
                attributes, fore, back = self._look
                look = (back,) if found.group() == " " and not attributes else (attributes, fore, back)
                self.cells[self._row][self._column] = (found.group(), ";".join(filter(None, look)))
                self._column += 1

    def _roll(self, gone: int, new: int) -> None:
        del self.cells[gone]
        self.cells.insert(new, [("#", "unknown")] * WIDTH)

    def _colour(self, numbers: str) -> None:
        attributes, fore, back = self._look
        if numbers.startswith("0"):
            attributes, fore, back = "", "39", "49"
            numbers = numbers[2:]
        for code in re.findall(r"[34]8;2;\d+;\d+;\d+|\d+", numbers):
            if code.startswith(("38", "39")):
                fore = code
            elif code.startswith(("48", "49")):
                back = code
            else:
                attributes = "" if code in ("22", "23", "24", "27") else code
        self._look = attributes, fore, back


STYLES = [
    None,
    *(Style.parse(text) for text in ("#ff0000", "bold #ff0000", "underline", "#ff0000 on #222222", "on #333333")),
]


def frame(rows: list[str], styles: list[int]) -> list[tuple[int, int, int, Strip]]:
    return [
        (y, 0, WIDTH, Strip([Segment(row[:9].ljust(9), STYLES[style]), Segment(row[9:].ljust(WIDTH - 9)[:21])]))
        for y, (row, style) in enumerate(zip(rows, styles, strict=True))
    ]


def shown_after(*frames: list[tuple[int, int, int, Strip]]) -> tuple[Screen, list[str]]:
    canvas, screen, written = Canvas(), Screen(), []
    for painted in frames:
        written.append(canvas.update(painted, WIDTH, HEIGHT, CONSOLE))
        screen.write(written[-1])
    return screen, written


def test_whatever_comes_after_whatever_the_terminal_shows_the_last_frame() -> None:
    chance = random.Random(7)
    words = ["alpha", "beta", "", "gamma delta", "a longer line of text", "0.1234 ● high"]
    for _ in range(150):
        rows = [f"{chance.choice(words)} {number}" for number in range(40)]
        styles = [chance.randrange(len(STYLES)) for _ in rows]
        frames = []
        for _ in range(4):
            top = chance.randrange(28)
            some = chance.random() < 0.3
            painted = frame(rows[top : top + HEIGHT], styles[top : top + HEIGHT])
            frames.append([line for line in painted if chance.random() < 0.5] if some else painted)
        last = frame(rows[:HEIGHT], styles[:HEIGHT])
        assert shown_after(*frames, last)[0].cells == shown_after(last)[0].cells


def test_the_same_again_writes_nothing() -> None:
    painted = frame(["one", "two"] * 6, [0, 1] * 6)
    assert shown_after(painted, painted)[1][1] == ""


def test_one_changed_cell_writes_one_cell() -> None:
    rows = [f"line {number}" for number in range(HEIGHT)]
    changed = [*rows[:5], "line 5 x", *rows[6:]]
    written = shown_after(frame(rows, [0] * HEIGHT), frame(changed, [0] * HEIGHT))[1][1]
    assert written == "\x1b[6;8Hx\x1b[0m"


def test_a_list_that_scrolls_is_scrolled_by_the_terminal() -> None:
    rows = [f"a row of the list, number {number}" for number in range(30)]
    for first, second in ((3, 4), (4, 3), (3, 6)):
        before, after = (frame(rows[at : at + HEIGHT], [2] * HEIGHT) for at in (first, second))
        screen, written = shown_after(before, after)
        assert screen.cells == shown_after(after)[0].cells
        assert len(written[1]) < len(written[0]) / 2


def test_wide_characters_stay_whole() -> None:
    lines = [
        (0, 0, WIDTH, Strip([Segment("a語b".ljust(WIDTH - 1))])),
        (0, 0, WIDTH, Strip([Segment("a謎b".ljust(WIDTH - 1))])),
    ]
    canvas = Canvas()
    canvas.update([lines[0]], WIDTH, HEIGHT, CONSOLE)
    assert canvas.update([lines[1]], WIDTH, HEIGHT, CONSOLE) == "\x1b[1;2H謎\x1b[0m"
    narrow = (0, 0, WIDTH, Strip([Segment("axyb".ljust(WIDTH))]))
    assert canvas.update([narrow], WIDTH, HEIGHT, CONSOLE) == "\x1b[1;2Hxy\x1b[0m"


def test_after_forgetting_everything_is_written_again() -> None:
    painted = frame(["one", "two"] * 6, [0, 1] * 6)
    canvas = Canvas()
    first = canvas.update(painted, WIDTH, HEIGHT, CONSOLE)
    canvas.forget()
    assert canvas.update(painted, WIDTH, HEIGHT, CONSOLE) == first
