"""A field whose value is chosen: one of a few, or any of a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from gputui.tui import bindings
from gputui.tui.deploy_form import Option
from gputui.tui.render.text import cut, join, plain
from gputui.tui.screens import pick
from gputui.tui.ways import key_of

_MOST_INLINE = 4


class Choice(Widget, can_focus=True):
    """One of a few values; left and right change it, space changes it or opens the list of a longer one.

    With `many`, the value is any of them, one a line, and space opens the list to take one in or out.
    """

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

    @dataclass
    class AskedAgain(Message):
        """Space was pressed while the choice could not say what there is."""

        choice: Choice

    def __init__(self, title: str, options: Sequence[Option], *, many: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._options = list(options)
        self._many = many
        self._waiting: tuple[str, str] | None = None
        if options and not many:
            self.set_reactive(Choice.value, options[0].value)

    def set_options(self, options: Sequence[Option]) -> None:
        """Offer these; a value that is not among them stays, and the list says so."""
        if list(options) != self._options or self._waiting is not None:
            self._options, self._waiting = list(options), None
            self.refresh()

    def set_waiting(self, text: str, *, failed: bool = False) -> None:
        """Show a word instead of values that are not known yet, or could not be had."""
        self._waiting = (text, "$state-failed" if failed else "$muted")
        self.refresh()

    def watch_value(self, value: str) -> None:
        if self.is_mounted:
            self.post_message(self.Changed(self, value))

    def action_turn(self, steps: int) -> None:
        options = self._all()
        if options and not self._many and self._waiting is None:
            place = [option.value for option in options].index(self.value)
            self.value = options[(place + steps) % len(options)].value

    def action_pick(self) -> None:
        """Turn a short choice, show the list of a longer one."""
        if self._waiting is not None:
            self.post_message(self.AskedAgain(self))
        elif self._is_inline():
            self.action_turn(1)
        elif options := self._all():
            taken = self._taken() if self._many else []
            choices = [
                pick.Choice(option.value, f"✓ {option.title}" if option.value in taken else option.title, option.note)
                for option in options
            ]
            current = None if self._many else self.value
            self.app.push_screen(pick.PickScreen(self._title, choices, current=current), self._picked)

    def _picked(self, value: str | None) -> None:
        if value is None:
            return
        if self._many:
            taken = self._taken()
            value = "\n".join([one for one in taken if one != value] if value in taken else [*taken, value])
        self.value = value

    def on_click(self, _event: events.Click) -> None:
        self.action_pick()

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh()

    def render(self) -> Content:
        width = self.size.width
        if self._waiting is not None:
            text, style = self._waiting
            return join((cut(plain(text), width), f"{style} underline" if self.has_focus else style))
        if self._many:
            return self._render_many(width)
        options = self._all()
        if self._is_inline():
            words = [(plain(option.title), self._style(option)) for option in options]
            return join(*(part for word in words for part in (word, "  ")))
        now = next((option for option in options if option.value == self.value), Option("", ""))
        arrows = "$accent bold" if self.has_focus else "$faint"
        title = cut(plain(now.title), max(1, width - 4))
        shown = join(("‹ ", arrows), (title, self._style(now)), (" ›", arrows))
        note = cut(plain(now.note), max(0, width - shown.cell_length - 2))
        return join(shown, (f"  {note}", "$faint")) if len(note) > 3 else shown

    def _render_many(self, width: int) -> Content:
        titles = {option.value: option.title for option in self._all()}
        taken = ", ".join(plain(titles[value]) for value in self._taken())
        count = len(self._options)
        hint = f"none of {count}; {key_of(self.app, 'form.pick')} chooses" if count else "there are none"
        style = "$accent" if self.has_focus else "$foreground bold" if taken else "$faint"
        return join((cut(taken or hint, width), style))

    def _all(self) -> list[Option]:
        """Return what can be chosen, with what is chosen but not offered."""
        known = {option.value for option in self._options}
        gone = self._taken() if self._many else [self.value]
        return [*self._options, *(Option(value, value, "not on offer now") for value in gone if value not in known)]

    def _taken(self) -> list[str]:
        return self.value.splitlines() if self._many else [self.value]

    def _is_inline(self) -> bool:
        options = self._all()
        fits = sum(len(plain(option.title)) + 2 for option in options) <= self.size.width
        return not self._many and fits and len(options) <= _MOST_INLINE

    def _style(self, option: Option) -> str:
        if option.value != self.value:
            return "$faint"
        return "$accent bold underline" if self.has_focus else "$foreground bold"
