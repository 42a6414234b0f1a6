"""One line in which something short is typed: a word to look for, the name of a file."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from gputui.tui.render.text import join
from gputui.tui.ways import key_of


class AskLine(Horizontal):
    """Hidden until it is asked to `ask`; posts what is typed, and what was answered when enter was pressed."""

    DEFAULT_CSS = """
    AskLine { height: 1; display: none; }
    AskLine.-on { display: block; }
    AskLine Static { width: auto; }
    AskLine Input { width: 1fr; background: transparent; }
    AskLine Input:focus { background: $row-cursor; background-tint: transparent; }
    """

    @dataclass
    class Typed(Message):
        """The text changed."""

        question: str
        text: str

    @dataclass
    class Answered(Message):
        """Enter was pressed."""

        question: str
        text: str

    def __init__(self) -> None:
        super().__init__()
        self._question = ""

    def compose(self) -> ComposeResult:
        yield Static(id="label")
        yield Input(compact=True)
        leave = key_of(self.app, "app.escape")
        keys = [("  enter", "$accent bold"), (" go  ", "$muted"), (leave, "$accent bold"), (" leave", "$muted")]
        yield Static(join(*keys))

    @property
    def is_asking(self) -> bool:
        return self.has_class("-on")

    def ask(self, question: str, label: str, *, text: str = "", hint: str = "") -> None:
        """Show the line with a label before it and take the keys; `question` is told with what is typed."""
        self._question = question
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        field.placeholder = hint
        field.cursor_position = len(text)
        self.query_one("#label", Static).update(join((f"{label} ", "$accent bold")))
        self.add_class("-on")
        field.focus()

    def close(self) -> None:
        """Hide the line; whoever asked takes the keys again."""
        self.remove_class("-on")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_asking:
            self.post_message(self.Typed(self._question, event.value))

    @on(Input.Submitted)
    def _answered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Answered(self._question, event.value))

    def on_key(self, event: events.Key) -> None:
        """Tab would leave a line that is gone afterwards."""
        if event.key in ("tab", "shift+tab"):
            event.stop()
            event.prevent_default()
