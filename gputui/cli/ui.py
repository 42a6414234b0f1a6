"""The only door from the command line to the terminal interface."""

from __future__ import annotations


def open_tui(profile: str | None, *, mouse: bool = True) -> int:
    """Open the terminal interface on a profile; returns its exit code when it is closed."""
    from gputui.tui.app import run_app

    return run_app(profile, mouse=mouse)


def open_demo(*, mouse: bool = True) -> int:
    """Open the terminal interface on a simulated world that is thrown away at the end."""
    from gputui.tui.app import run_demo

    return run_demo(mouse=mouse)
