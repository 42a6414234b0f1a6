"""One raw log line as it would look in a terminal: carriage returns folded, colours kept, everything else harmless."""

from __future__ import annotations

import re

from rich.text import Text

from gputui.tui.render.text import ELLIPSIS

MAX_SHOWN = 4_096
"""Characters shown of one line."""

_COLORS = re.compile(r"\x1b\[([0-9;:]*)m")
# Operating-system commands (titles, links), other control sequences, and two-character escapes.
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|\x1b\[[0-9;:?<=>!]*[ -/]*[@-ln-~]"
    r"|\x1b[^\[\]PX^_]"
    r"|\x9b[0-9;:?]*[@-~]"
)
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def fold(raw: bytes) -> str:
    """Return a line's text with what was overwritten by carriage returns left out. Bytes that are no UTF-8 are replaced."""
    text = raw.decode("utf-8", errors="replace").rstrip("\r")
    last = text.rfind("\r")
    return text[last + 1 :] if last >= 0 else text


def paint(raw: bytes) -> Text:
    """Return a line ready to be shown; colours are the workload's own, nothing in it is markup or a link."""
    text = _ESCAPES.sub("", fold(raw)).expandtabs(8)
    if len(text) > MAX_SHOWN:
        text = text[:MAX_SHOWN] + ELLIPSIS
    if "\x1b" not in text:
        return Text(_HIDDEN.sub("", text), no_wrap=True, end="")
    text = _HIDDEN.sub("", _lone_escapes(text))
    return Text.from_ansi(text, no_wrap=True, end="") if text else Text("", no_wrap=True, end="")


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
