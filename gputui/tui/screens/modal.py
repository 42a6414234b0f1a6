"""A window over a page that gives an answer back once."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Modal(ModalScreen[ScreenResultType]):
    """While another window is over it, its own box is not painted: two boxes with two rows of buttons look like one.

    Over a slow line keys arrive in bursts: the second of two that dismiss it finds it gone already.

    Textual 8.2.8 would take another screen off the stack then, or fall over.
    """

    def on_screen_suspend(self) -> None:
        self._show_box(False)

    def on_screen_resume(self) -> None:
        self._show_box(True)

    def _show_box(self, shown: bool) -> None:
        self.query("#box").set(visible=shown)  # not the screen itself, through which the page shines

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        if self.is_current:
            return super().dismiss(result)
        return AwaitComplete()
