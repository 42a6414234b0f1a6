"""A question before something that is hard to undo. The focus starts on No."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from gputui.tui import bindings
from gputui.tui.render.text import join, plain


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a title, lines that say what it means, and the words on the two buttons."""

    title: str
    lines: Sequence[str]
    yes: str = "Yes"
    no: str = "No"
    is_danger: bool = False


class ConfirmScreen(ModalScreen[bool]):
    """Dismissed with True or False."""

    CSS_PATH = "confirm.tcss"
    BINDINGS = bindings.CONFIRM
    HELP_SCOPES: ClassVar[tuple[str, ...]] = ("confirm",)
    HELP: ClassVar[str] = "y does it; n, escape or enter leave everything as it is."

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        question = self._question
        with Vertical(id="box"):
            yield Static(join(plain(question.title)), id="title")
            for line in question.lines:
                yield Static(join(plain(line)), classes="line")
            with Horizontal(id="buttons"):
                yield Button(join((question.no, ""), (" n", "$faint")), id="no", compact=True)
                yield Button(join((question.yes, ""), (" y", "$faint")), id="yes", compact=True)

    def on_mount(self) -> None:
        self.set_class(self._question.is_danger, "-danger")
        self.query_one("#no", Button).focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        focused = self.focused
        other = "#yes" if focused is not None and focused.id == "no" else "#no"
        self.query_one(other, Button).focus()
