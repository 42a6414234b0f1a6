"""Copying over the terminal's own line (OSC 52). Terminals do not answer, so what was copied is shown, and what to doubt."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gputui.tui.render.text import ELLIPSIS, cut, plain_lines

if TYPE_CHECKING:
    from textual.app import App

MOST_BYTES = 74_994
"""What fits into the 100,000 characters that terminals take of one such sequence, its base64 included."""
_LINES_TOLD = 4
_COLUMNS_TOLD = 64


def copy(app: App[object], lines: Sequence[str], what: str) -> None:
    """Copy lines, and show what was copied. Nothing is copied when it is more than terminals take."""
    text = "\n".join(lines)
    size = len(text.encode())
    if size > MOST_BYTES:
        app.notify(
            f"{what} are {size:,} bytes, and a terminal takes {MOST_BYTES:,}. Mark fewer, or save the log with ^s.",
            title="Not copied",
            severity="warning",
            markup=False,
        )
        return
    app.copy_to_clipboard(text)
    told = [cut(line, _COLUMNS_TOLD) for line in lines[:_LINES_TOLD]]
    if len(lines) > _LINES_TOLD:
        told.append(f"{ELLIPSIS} and {len(lines) - _LINES_TOLD:,} more")
    if doubt := doubt_of(os.environ):
        told.append(doubt)
    app.notify(plain_lines(told), title=f"Copied {what}", markup=False, timeout=8)


def doubt_of(environ: Mapping[str, str]) -> str | None:
    """Return why the terminal may not have taken a copy, None when it probably has."""
    term = environ.get("TERM", "")
    if "TMUX" in environ:
        return "In tmux this needs: set -g set-clipboard on"
    if "STY" in environ or term.startswith("screen"):
        return "GNU screen keeps copies to itself: mark the text with the mouse and shift instead."
    if environ.get("TERM_PROGRAM") == "Apple_Terminal" or term in ("linux", "vt100", "vt220"):
        return "This terminal is not known to take copies: mark the text with the mouse and shift instead."
    return None
