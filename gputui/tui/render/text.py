"""The one door for text that is not ours: provider names, commands, error messages, log lines.

Nothing that passes here can move the cursor, be read as markup or swap the order of what is shown around it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from textual.content import Content

ELLIPSIS = "…"
UNKNOWN = "–"

# Marks that reorder or hide neighbouring text (bidirectional controls, zero-width characters, line separators).
_DECEIVING = frozenset(
    "\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)


def plain(text: str | None, *, unknown: str = UNKNOWN) -> str:
    """Return foreign text as one line of harmless characters; `unknown` when there is none."""
    if text is None:
        return unknown
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(character) for character in text if character not in _DECEIVING)


def homely(text: str) -> str:
    """Return text with the user's home folder written as "~"."""
    return text.replace(str(Path.home()), "~")


def trouble_of(title: str, problem: str) -> str:
    """Return what is wrong with whose it is, which most sentences begin with themselves."""
    return problem if problem.startswith(f"{title} ") else f"{title}: {problem}"


def plain_lines(lines: Iterable[str]) -> str:
    """Return several pieces of foreign text as lines of harmless characters."""
    return "\n".join(plain(line) for line in lines)


def _harmless(character: str) -> str:
    if character in "\t\n\r\v\f":
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co") else character


def cut(text: str, width: int) -> str:
    """Return text in at most `width` cells, with an ellipsis where something was left out."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS


def left(text: str, width: int) -> str:
    """Return text in exactly `width` cells, at the left."""
    shown = cut(text, width)
    return shown + " " * (width - cell_len(shown))


def right(text: str, width: int) -> str:
    """Return text at the right of `width` cells. Never cut: these are amounts of money and durations."""
    return " " * max(0, width - cell_len(text)) + text


def styled(text: str, style: str = "") -> Content:
    """Return text that is never parsed as markup, in a style of theme variables."""
    return Content.styled(text, style) if style else Content(text)


def join(*parts: Content | tuple[str, str] | str) -> Content:
    """Return parts side by side; a pair is text and its style. Nothing is parsed as markup."""
    return Content.assemble(*(styled(*part) if isinstance(part, tuple) else part for part in parts))


def spread(left_side: Content, right_side: Content, width: int) -> Content:
    """Return two sides with the space between them filled; the left one gives way when there is not enough."""
    room = width - right_side.cell_length - 1
    if left_side.cell_length > room:
        left_side = left_side.truncate(max(0, room), ellipsis=True)
    gap = max(1, width - left_side.cell_length - right_side.cell_length)
    return Content.assemble(left_side, " " * gap, right_side)


def rule(title: Content | str, width: int, *, right_title: Content | str = "") -> Content:
    """Return a quiet line with a title in it, and one at its right end: the only border there is."""
    head = join(("─ ", "$rule"), title, " ") if title else Content("")
    tail = join(" ", right_title, (" ─", "$rule")) if right_title else Content("")
    fill = width - head.cell_length - tail.cell_length
    if fill < 1:
        return head.truncate(width, ellipsis=True)
    return Content.assemble(head, styled("─" * fill, "$rule"), tail)


def hints(sentence: str, *keys: tuple[str, str]) -> Content:
    """Return a calm block for a page with nothing on it: what is so, and keys with what they do, one under another."""
    width = max((len(key) + len(says) for key, says in keys), default=0) + 2
    lines = [join((key, "$accent bold"), (left(f"  {says}", width - len(key)), "$muted")) for key, says in keys]
    return Content("\n").join([styled(sentence, "bold"), Content(""), *lines])
