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
