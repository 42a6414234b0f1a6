"""A question before something that is hard to undo. The focus starts on No, or where a name has to be typed first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from gputui.tui import bindings
from gputui.tui.render.text import join, plain
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import key_of


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a title, lines that say what it means, and the words on the two buttons.

    With `typed`, yes can be said only once exactly that was typed: the name of what is lost, or the id of a stranger.
    """

    title: str
    lines: Sequence[str]
    yes: str = "Yes"
    no: str = "No"
    is_danger: bool = False
    typed: str = ""


class ConfirmScreen(Modal[bool]):
    """Dismissed with True or False."""

    CSS_PATH = "confirm.tcss"
    BINDINGS = bindings.CONFIRM

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        question = self._question
        no = key_of(self.app, "confirm.no", in_field=bool(question.typed))
        yes = "enter" if question.typed else key_of(self.app, "confirm.yes")
        with Vertical(id="box"):
            yield Static(join(plain(question.title)), id="title")
            for line in question.lines:
                yield Static(join(plain(line)), classes="line")
            if question.typed:
                yield Static(
                    join(("Type ", "$muted"), (plain(question.typed), "bold"), (" to say yes:", "$muted")),
                    classes="line",
                )
                field = Input(compact=True, id="typed")
                field.cursor_blink = False
                yield field
            with Horizontal(id="buttons"):
                yield Button(join(f"{question.no} ", (no, "not bold")), id="no", compact=True)
                yield Button(join(f"{question.yes} ", (yes, "not bold")), id="yes", compact=True)

    def on_mount(self) -> None:
        self.set_class(self._question.is_danger, "-danger")
        self.query_one("#yes", Button).disabled = bool(self._question.typed)
        self.query_one("#typed" if self._question.typed else "#no").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    @on(Input.Changed, "#typed")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = event.value.strip() != plain(self._question.typed).strip()

    @on(Input.Submitted, "#typed")
    def _submitted(self) -> None:
        """Whoever has typed the whole name has said yes."""
        self.action_answer(True)

    def action_answer(self, yes: bool) -> None:
        if not (yes and self.query_one("#yes", Button).disabled):
            self.dismiss(yes)

    def action_other(self) -> None:
        focused = self.focused
        if self._question.typed:
            self.focus_next()
            return
        other = "#yes" if focused is not None and focused.id == "no" else "#no"
        self.query_one(other, Button).focus()
