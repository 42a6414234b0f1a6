"""A name for a template, and what of it is not kept unless it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from gputui.tui import bindings
from gputui.tui.deploy_form import Option
from gputui.tui.render.text import join, plain, rule
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import key_of
from gputui.tui.widgets.choice import Choice
from gputui.tui.widgets.painted import Painted

_LEFT_OUT, _KEPT = "no", "yes"


class SaveTemplateScreen(Modal[tuple[str, bool] | None]):
    """Dismissed with the name and whether secrets are to be kept; None when nothing is to be saved."""

    CSS_PATH = "save_template.tcss"
    BINDINGS = bindings.SAVE

    def __init__(self, *, taken: Sequence[str], secrets: Sequence[str], name: str = "") -> None:
        super().__init__()
        self._taken = set(taken)
        self._secrets = list(secrets)
        self._name = name

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Painted(id="title")
            field = Input(value=self._name, placeholder="a name, such as finetune", compact=True, id="name")
            field.cursor_blink = False
            yield field
            yield Static(id="note", markup=False)
            if self._secrets:
                names = ", ".join(plain(name) for name in self._secrets)
                yield Static(join((f"Keep the value of {names} in the file?", "$muted")), id="secrets")
                yield Choice("secrets", [Option(_LEFT_OUT, "no, ask again"), Option(_KEPT, "yes, in plain text")])
            yield Painted(id="keys")

    def on_mount(self) -> None:
        self.query_one("#title", Painted).show(lambda width: rule(join(("Save as a template", "bold")), width))
        save, close = key_of(self.app, "save.keep"), key_of(self.app, "save.close")
        keys = [(save, "$accent bold"), (" save   ", "$muted"), (close, "$accent bold"), (" leave", "$muted")]
        if self._secrets:
            keys = [("tab", "$accent bold"), (" secrets   ", "$muted"), *keys]
        self.query_one("#keys", Painted).show(lambda width: join(*keys))
        self.query_one("#name", Input).focus()

    @on(Input.Changed, "#name")
    def _name_changed(self, event: Input.Changed) -> None:
        name = event.value.strip()
        note = f"{name} is there already and is replaced." if name in self._taken else ""
        self.query_one("#note", Static).update(plain(note))

    def action_save(self) -> None:
        name = self.query_one("#name", Input).value.strip()
        if not name:
            self.query_one("#note", Static).update("It needs a name.")
            return
        self.dismiss((name, bool(self._secrets) and self.query_one(Choice).value == _KEPT))

    def action_close(self) -> None:
        self.dismiss(None)
