"""The only door from the command line to the terminal interface."""

from __future__ import annotations

import os


def open_tui(profile: str | None) -> int:
    """Open the terminal interface on a profile; returns its exit code when it is closed."""
    _suit_the_line()
    from gputui.tui.app import run_app

    return run_app(profile)


def open_demo() -> int:
    """Open the terminal interface on a simulated world that is thrown away at the end."""
    _suit_the_line()
    from gputui.tui.app import run_demo

    return run_demo()


def _suit_the_line() -> None:
    """Ask for fewer bytes over SSH; textual reads these variables when it is imported."""
    if "SSH_CONNECTION" in os.environ:
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        os.environ.setdefault("TEXTUAL_FPS", "20")
