"""The only door from the command line to the terminal interface."""

from __future__ import annotations

import gc
import os

from gputui.model.errors import UsageError


def open_tui(profile: str | None, *, mouse: bool = True) -> int:
    """Open the terminal interface on a profile; returns its exit code when it is closed. Raises UsageError."""
    _check_terminal()
    gc.disable()  # what is loaded stays; `calm_collector` has garbage looked for again
    from gputui.tui.app import run_app

    return run_app(profile, mouse=mouse)


def open_demo(*, mouse: bool = True) -> int:
    """Open the terminal interface on a simulated world that is thrown away at the end. Raises UsageError."""
    _check_terminal()
    gc.disable()  # what is loaded stays; `calm_collector` has garbage looked for again
    from gputui.tui.app import run_demo

    return run_demo(mouse=mouse)


def _check_terminal() -> None:
    term = os.environ.get("TERM", "")
    if term in ("dumb", "unknown"):
        raise UsageError(
            f"The interface cannot be drawn on this terminal (TERM={term}): it has no cursor to move.",
            hint="On the command line, try: gputui pricing",
        )
