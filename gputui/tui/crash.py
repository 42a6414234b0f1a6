"""An application that ends with one line when it falls over; the traceback goes into the crash log."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType
from rich.text import Text
from textual.app import App

from gputui.local.crash import keep_crash


class CrashLoggedApp(App[None]):
    """Textual's own report would fill the terminal, and show the values of local variables with it."""

    crash_dir: Path
    """The folder of the crash log."""

    def _handle_exception(self, error: Exception) -> None:
        what = f"gputui fell over ({type(error).__name__}). Jobs go on."
        try:
            line = f"{what} The details are in {keep_crash(self.crash_dir, error)}; please report them."
        except OSError as reason:
            line = f"{what} The details could not be kept: {reason.strerror}."
        self._exit_renderables.append(Text(line))
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """Print the first line alone: further errors follow from the first."""
        del self._exit_renderables[1:]
        super()._print_error_renderables()
