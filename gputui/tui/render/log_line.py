"""One raw log line as it would look in a terminal: carriage returns folded, colours kept, everything else harmless."""

from __future__ import annotations

import re
from typing import TypeVar

from rich.text import Text

from gputui.tui.render.text import ELLIPSIS

T = TypeVar("T", str, bytes)

_COLORS = re.compile(r"\x1b\[([0-9;:]*)m")
# Operating-system commands (titles, links), other control sequences, and two-character escapes. None goes past its line.
_NOT_COLORS = (
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|\x1b[PX^_][^\x1b\n]*(?:\x1b\\)?"
    r"|\x1b\[[0-9;:?<=>!]*[ -/]*[@-ln-~]"
    r"|\x1b[^\[\]PX^_\n]"
)
_ESCAPES = re.compile(_NOT_COLORS + r"|\x9b[0-9;:?]*[@-~]")
ESCAPES_IN_BYTES = re.compile((_NOT_COLORS + "|" + _COLORS.pattern).encode())
"""Every escape sequence, colours included, in a line that is not decoded yet."""
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def last_written(line: T, carriage_return: T) -> T:
    """Return a line with what was overwritten by carriage returns left out."""
    return line.rstrip(carriage_return).rpartition(carriage_return)[2]


def fold(raw: bytes) -> str:
    """Return a line's text with what was overwritten left out. Bytes that are no UTF-8 are replaced."""
    return last_written(raw.decode("utf-8", errors="replace"), "\r")


def paint(raw: bytes, *, bytes_left_out: int = 0) -> Text:
    """Return a line ready to be shown; colours are the workload's own, nothing in it is markup or a link.

    A line of which only a part was read ends with how much was left out.
    """
    text = _ESCAPES.sub("", fold(raw)).expandtabs(8)
    if "\x1b" in text:
        text = _HIDDEN.sub("", _lone_escapes(text))
        painted = Text.from_ansi(text, no_wrap=True, end="") if text else Text("", no_wrap=True, end="")
    else:
        painted = Text(_HIDDEN.sub("", text), no_wrap=True, end="")
    if bytes_left_out:
        painted.append(f" {ELLIPSIS} {bytes_left_out:,} bytes more", "dim italic")
    return painted


def _lone_escapes(text: str) -> str:
    """Drop every escape that does not begin a colour."""
    kept = []
    position = 0
    for match in _COLORS.finditer(text):
        kept.append(text[position : match.start()].replace("\x1b", ""))
        kept.append(match[0].replace(":", ";"))
        position = match.end()
    kept.append(text[position:].replace("\x1b", ""))
    return "".join(kept)
