"""The deploy form: a label, what is typed or chosen, and under it what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static, TextArea

from gputui.tui import bindings
from gputui.tui.deploy_form import Field, FieldKind, Section
from gputui.tui.render.text import plain
from gputui.tui.widgets.choice import Choice
from gputui.tui.widgets.env_area import EnvArea


class LineField(Input):
    """A line of text; up and down leave it."""

    BINDINGS = bindings.FIELD

    def __init__(self, placeholder: str, *, id: str | None = None) -> None:
        super().__init__(placeholder=placeholder, compact=True, id=id)
        self.cursor_blink = False  # blinking costs bytes for as long as the form is open


class FieldRow(Vertical):
    """One field with its label and, when there is one, its mistake, or why it does not apply."""

    DEFAULT_CSS = """
    FieldRow { height: auto; }
    FieldRow Horizontal { height: auto; }
    FieldRow .label { width: 11; color: $muted; }
    FieldRow Input { width: 1fr; background: transparent; }
    FieldRow Input:focus { background: $row-cursor; background-tint: transparent; }
    FieldRow.-here .label { color: $accent; text-style: bold; }
    FieldRow .reason { display: none; width: 1fr; height: auto; color: $faint; }
    FieldRow.-unused .reason { display: block; }
    FieldRow.-unused .editor { display: none; }
    FieldRow .mistake { display: none; height: auto; padding: 0 0 0 11; color: $state-failed; }
    FieldRow.-wrong .mistake { display: block; }
    FieldRow.-wrong .label { color: $state-failed; }
    """

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"row-{field.name.replace('_', '-')}")
        self._field = field
        self._mistake: str | None = None
        self._unused: str | None = None
        self.editor = _editor(field)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(self._field.label, classes="label")
            yield self.editor
            yield Static(classes="reason", markup=False)
        yield Static(classes="mistake", markup=False)

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        # A class, because Textual 8.2.8 does not renew what depends on :focus-within of a parent.
        self.add_class("-here")

    def on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        self.remove_class("-here")

    def show_mistake(self, text: str | None) -> None:
        if text == self._mistake:
            return  # showing even the same again would lay out the whole page
        self._mistake = text
        self.set_class(text is not None, "-wrong")
        self.query_one(".mistake", Static).update(Content(plain(text)) if text else "")

    def show_unused(self, reason: str | None) -> None:
        if reason == self._unused:
            return
        self._unused = reason
        self.set_class(reason is not None, "-unused")
        self.query_one(".reason", Static).update(Content(plain(reason)) if reason else "")


def _editor(field: Field) -> Input | Choice | EnvArea:
    ident = f"field-{field.name.replace('_', '-')}"
    made: Input | Choice | EnvArea
    if field.kind is FieldKind.LINE:
        made = LineField(field.hint, id=ident)
    elif field.kind is FieldKind.LINES:
        made = EnvArea(field.hint, id=ident)
    else:
        made = Choice(field.label, field.options, many=field.kind is FieldKind.MANY, id=ident)
    return made.add_class("editor")


class DeployForm(Vertical):
    """The fields in sections. Posts `Changed` whenever one of them does, `Moved` when another has the focus."""

    DEFAULT_CSS = """
    DeployForm { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
    DeployForm .section { height: 1; color: $faint; margin: 1 0 0 0; }
    DeployForm .section.-first { margin: 0; }
    """

    @dataclass
    class Changed(Message):
        values: dict[str, str]

    class Moved(Message):
        """Another field has the focus."""

    def __init__(self, sections: Sequence[Section], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sections = sections
        self._rows = {field.name: FieldRow(field) for section in sections for field in section.fields}

    def compose(self) -> ComposeResult:
        for position, section in enumerate(self._sections):
            yield Static(section.title, classes="section" if position else "section -first")
            yield from (self._rows[field.name] for field in section.fields)

    @property
    def values(self) -> dict[str, str]:
        """Field -> what is typed or chosen."""
        return {name: row.editor.value for name, row in self._rows.items()}

    def fill(self, values: Mapping[str, str]) -> None:
        """Put values in; fields that are not named are left alone."""
        with self.prevent(Input.Changed, Choice.Changed, TextArea.Changed):
            for name, value in values.items():
                self._rows[name].editor.value = value
        self._say_changed()

    def choice(self, name: str) -> Choice:
        """Return a field that is a choice."""
        return self._rows[name].query_one(Choice)

    def suggest(self, name: str, words: Sequence[str]) -> None:
        """Offer to complete what is typed into a line to one of these."""
        self._rows[name].query_one(Input).suggester = SuggestFromList(words, case_sensitive=False)

    def show_mistakes(self, mistakes: Mapping[str, str]) -> None:
        """Show each mistake at its field; fields without one lose theirs."""
        for name, row in self._rows.items():
            row.show_mistake(mistakes.get(name))
        here = self.focused_field
        if here is not None and here in mistakes:
            self.call_after_refresh(self._rows[here].scroll_visible, animate=False)

    def show_unused(self, reasons: Mapping[str, str]) -> None:
        """Show why these fields do not apply, instead of their editors."""
        for name, row in self._rows.items():
            row.show_unused(reasons.get(name))

    def focus_field(self, name: str) -> None:
        self.screen.set_focus(self._rows[name].editor)  # at once, which `focus` is not

    @property
    def focused_field(self) -> str | None:
        """The field that has the focus."""
        focused = self.screen.focused
        return next((name for name, row in self._rows.items() if row.editor is focused), None)

    @property
    def section(self) -> int:
        """The section that has the focus, the last one when the focus is behind the form."""
        here = self.focused_field
        places = (place for place, section in enumerate(self._sections) if here in {f.name for f in section.fields})
        return next(places, len(self._sections) - 1)

    def focus_section(self, place: int) -> None:
        """Go to the first field of a section that can be filled in."""
        for name in self._usable(self._sections[place]):
            self.focus_field(name)
            return

    def _usable(self, section: Section) -> Iterator[str]:
        return (field.name for field in section.fields if not self._rows[field.name].has_class("-unused"))

    @on(Input.Changed)
    @on(Choice.Changed)
    @on(TextArea.Changed)
    def _say_changed(self) -> None:
        self.post_message(self.Changed(self.values))

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        self.post_message(self.Moved())
