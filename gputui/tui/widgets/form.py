"""Form fields of one line each: a label, what is typed or chosen, and under it what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from gputui.tui import bindings
from gputui.tui.deploy_form import Field, Section
from gputui.tui.render.text import join, plain


class Choice(Widget, can_focus=True):
    """One of a few words; left, right and space change it."""

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; }
    """
    BINDING_GROUP_TITLE = "Choice"
    BINDINGS = bindings.FORM
    value: reactive[str] = reactive("")

    @dataclass
    class Changed(Message):
        choice: Choice
        value: str

    def __init__(self, choices: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices = list(choices)
        self.set_reactive(Choice.value, self._choices[0])

    def set_choices(self, choices: Sequence[str]) -> None:
        self._choices = list(choices)
        if self.value not in self._choices:
            self.value = self._choices[0]
        self.refresh()

    def validate_value(self, value: str) -> str:
        return value if value in self._choices else self._choices[0]

    def watch_value(self, value: str) -> None:
        if self.is_mounted:
            self.post_message(self.Changed(self, value))

    def action_turn(self, steps: int) -> None:
        self.value = self._choices[(self._choices.index(self.value) + steps) % len(self._choices)]

    def on_click(self, _event: events.Click) -> None:
        self.action_turn(1)

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh()

    def render(self) -> Content:
        arrows = "$accent bold" if self.has_focus else "$faint"
        fits = sum(len(choice) + 2 for choice in self._choices) + 2 <= self.size.width
        if fits and len(self._choices) <= 4:
            words = [(plain(choice), self._style(choice)) for choice in self._choices]
            return join(*(part for word in words for part in (word, "  ")))
        return join(("‹ ", arrows), (plain(self.value), self._style(self.value)), (" ›", arrows))

    def _style(self, choice: str) -> str:
        if choice != self.value:
            return "$faint"
        return "$accent bold underline" if self.has_focus else "$foreground bold"


class FieldRow(Vertical):
    """One field with its label and, when there is one, its mistake."""

    DEFAULT_CSS = """
    FieldRow { height: auto; }
    FieldRow Horizontal { height: 1; }
    FieldRow .label { width: 11; color: $muted; }
    FieldRow Input { width: 1fr; background: transparent; }
    FieldRow Input:focus { background: $row-cursor; background-tint: transparent; }
    FieldRow:focus-within .label { color: $accent; text-style: bold; }
    FieldRow .mistake { display: none; height: auto; padding: 0 0 0 11; color: $state-failed; }
    FieldRow.-wrong .mistake { display: block; }
    FieldRow.-wrong .label { color: $state-failed; }
    """

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"row-{field.name.replace('_', '-')}")
        self._field = field

    def compose(self) -> ComposeResult:
        ident = f"field-{self._field.name.replace('_', '-')}"
        with Horizontal():
            yield Static(self._field.label, classes="label")
            if self._field.choices:
                yield Choice(self._field.choices, id=ident)
            else:
                field = Input(placeholder=self._field.hint, compact=True, id=ident)
                field.cursor_blink = False  # blinking costs bytes for as long as the form is open
                yield field
        yield Static(classes="mistake", markup=False)

    @property
    def editor(self) -> Input | Choice:
        return self.query_one(Choice) if self._field.choices else self.query_one(Input)

    def show_mistake(self, text: str | None) -> None:
        self.set_class(text is not None, "-wrong")
        self.query_one(".mistake", Static).update(Content(plain(text)) if text else "")


class DeployForm(Vertical):
    """The fields in sections. Posts `Changed` whenever one of them does."""

    DEFAULT_CSS = """
    DeployForm { height: 1fr; overflow-y: auto; }
    DeployForm .section { height: 1; color: $faint; margin: 1 0 0 0; }
    DeployForm .section.-first { margin: 0; }
    """

    @dataclass
    class Changed(Message):
        values: dict[str, str]

    def __init__(self, sections: Sequence[Section], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sections = sections

    def compose(self) -> ComposeResult:
        for position, section in enumerate(self._sections):
            yield Static(section.title, classes="section" if position else "section -first")
            for field in section.fields:
                yield FieldRow(field)

    @property
    def values(self) -> dict[str, str]:
        """Field -> what is typed or chosen."""
        return {field.name: row.editor.value for field, row in self._rows()}

    def fill(self, values: dict[str, str]) -> None:
        """Put values in; fields that are not named are left alone."""
        with self.prevent(Input.Changed, Choice.Changed):
            for field, row in self._rows():
                if field.name in values:
                    row.editor.value = values[field.name]
        self._say_changed()

    def set_choices(self, name: str, choices: Sequence[str]) -> None:
        for field, row in self._rows():
            if field.name == name:
                row.query_one(Choice).set_choices(choices)

    def show_mistakes(self, mistakes: dict[str, str]) -> None:
        """Show each mistake at its field; fields without one lose theirs."""
        for field, row in self._rows():
            row.show_mistake(mistakes.get(field.name))

    def focus_field(self, name: str) -> None:
        for field, row in self._rows():
            if field.name == name:
                row.editor.focus()

    @on(Input.Changed)
    @on(Choice.Changed)
    def _say_changed(self) -> None:
        self.post_message(self.Changed(self.values))

    def _rows(self) -> Iterator[tuple[Field, FieldRow]]:
        for section in self._sections:
            for field in section.fields:
                yield field, self.query_one(f"#row-{field.name.replace('_', '-')}", FieldRow)
