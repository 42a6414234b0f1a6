"""The form of a provider's key: it says where the key will be kept before it is kept, and never shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input

from gputui.local.secrets import Backend, BackendStatus, Secrets
from gputui.model.errors import GputuiError, UsageError
from gputui.model.keys import check_key_text
from gputui.providers.registry import ProviderInfo, foreign_key_hint
from gputui.tui import bindings
from gputui.tui.deploy_form import Field, FieldKind, Option, Section
from gputui.tui.render.text import homely, join, plain, rule, styled
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted

_PLACES = (Backend.KEYRING, Backend.VAULT)
_TITLES = {Backend.KEYRING: "OS keyring", Backend.VAULT: "encrypted vault"}
_SECRET_FIELDS = ("key", "passphrase", "again")


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a key can be kept now; the vault may need a passphrase, twice when it is a new one."""

    usable: Sequence[BackendStatus]
    needs_passphrase: bool
    is_new_vault: bool
    why_not: str


class ConnectScreen(Modal[str | None]):
    """Dismissed with the place where the key is kept now, in words; None when none was kept."""

    CSS_PATH = "connect.tcss"
    BINDINGS = bindings.CONNECT

    def __init__(self, secrets: Secrets, info: ProviderInfo) -> None:
        super().__init__()
        self._secrets = secrets
        self._info = info
        self._places: _Places | None = None
        self._doubted: str | None = None
        self._is_keeping = False

    def compose(self) -> ComposeResult:
        fields = (
            Field("key", "key", "paste it here; it is not shown"),
            Field("place", "keep in", kind=FieldKind.ONE, options=(Option("", "…"),)),
            Field("passphrase", "passphrase", "of the vault"),
            Field("again", "again", "the same passphrase"),
        )
        with Vertical(id="box"):
            yield Painted(id="heading")
            yield DeployForm([Section("", fields)], id="form")
            yield Painted(id="words")
            with Horizontal(id="buttons"):
                yield Button(join("Leave ", (key_of(self.app, "connect.close"), "not bold")), id="leave", compact=True)
                yield Button(join("Keep it ", (key_of(self.app, "connect.keep"), "not bold")), id="keep", compact=True)

    def on_mount(self) -> None:
        title = join(("Key of ", "bold"), (self._info.title, "bold"))
        self.query_one("#heading", Painted).show(lambda width: rule(title, width))
        for name in _SECRET_FIELDS:
            self.query_one(f"#field-{name}", Input).password = True
        self._form.show_unused({"passphrase": "", "again": "", "place": ""})
        self._form.focus_field("key")
        self._say("Looking where it can be kept …", "$muted")
        self._look_for_places()

    @property
    def _form(self) -> DeployForm:
        return self.query_one(DeployForm)

    @work(group="places", exit_on_error=False)
    async def _look_for_places(self) -> None:
        try:
            self._places = await asyncio.to_thread(_find_places, self._secrets, self._info.name)
        except GputuiError as error:
            self._say(in_keys(self.app, str(error)), "$state-failed")
            return
        options = [Option(place.name.value, _TITLES[place.name]) for place in self._places.usable]
        if options:
            self._form.choice("place").set_options(options)
            self._form.fill({"place": options[0].value})
        self._show_place()

    @on(DeployForm.Changed)
    def _changed(self) -> None:
        self._form.show_mistakes({})
        self._show_place()

    def _show_place(self) -> None:
        """Say where the key would go, and ask for a passphrase only where one is needed."""
        places = self._places
        if places is None:
            return
        unused = {} if len(places.usable) > 1 else {"place": ""}
        place = self._place()
        if place is None or place.name is not Backend.VAULT or not places.needs_passphrase:
            unused |= {"passphrase": "", "again": ""}
        elif not places.is_new_vault:
            unused["again"] = ""
        self._form.show_unused(unused)
        if place is None:
            self._say(f"There is no safe place for it here. {places.why_not}", "$state-failed")
            return
        page = f"Get one at {self._info.key_page}."
        self._say(f"It will be kept in {place.where} ({place.reason}). {page}", "")

    def _place(self) -> BackendStatus | None:
        places = self._places
        if places is None:
            return None
        wanted = self._form.values["place"]
        return next((place for place in places.usable if place.name.value == wanted), None)

    def _say(self, text: str, style: str) -> None:
        words = styled(homely(plain(text)), style)
        self.query_one("#words", Painted).show(lambda width: Content("\n").join(words.wrap(max(1, width))))

    # Keeping it

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#leave")
    def action_close(self) -> None:
        self._forget()
        self.dismiss(None)

    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Keep the key, once it can be one; one that looks like another provider's only when asked twice."""
        place, values = self._place(), self._form.values
        if place is None or self._is_keeping:
            return
        try:
            key = check_key_text(self._info.name, values["key"])
        except UsageError as error:
            self._form.show_mistakes({"key": error.message})
            self._form.focus_field("key")
            return
        hint = foreign_key_hint(self._info.name, key)
        if hint and self._doubted != hint:
            self._doubted = hint
            self._form.show_mistakes({"key": f"{hint.partition(' If it is')[0]} Keep it again if it is right."})
            return
        passphrase = self._passphrase(place, values)
        if passphrase is not False:
            self._is_keeping = True
            self._keep(key, place.name, passphrase)

    def _passphrase(self, place: BackendStatus, values: dict[str, str]) -> str | bool | None:
        """Return the passphrase to use, None where none is needed, False when there is a mistake in it."""
        places = self._places
        if places is None or place.name is not Backend.VAULT or not places.needs_passphrase:
            return None
        if not values["passphrase"]:
            mistake = {"passphrase": "The vault needs one. There is no way back to the keys without it."}
        elif places.is_new_vault and values["passphrase"] != values["again"]:
            mistake = {"again": "The two are not the same."}
        else:
            return values["passphrase"]
        self._form.show_mistakes(mistake)
        self._form.focus_field(next(iter(mistake)))
        return False

    @work(group="keep", exit_on_error=False)
    async def _keep(self, key: str, backend: Backend, passphrase: str | None) -> None:
        self._say(f"Keeping it in the {_TITLES[backend]} …", "$muted")
        try:
            where = await asyncio.to_thread(self._secrets.store, self._info.name, key, backend, passphrase)
        except GputuiError as error:
            self._is_keeping = False
            self._show_place()
            self._form.show_mistakes({"passphrase" if backend is Backend.VAULT else "key": str(error)})
            return
        self._forget()
        self.dismiss(where)

    def _forget(self) -> None:
        """Leave nothing of a secret in the fields."""
        with self.prevent(Input.Changed):
            for name in _SECRET_FIELDS:
                self.query_one(f"#field-{name}", Input).value = ""


def _find_places(secrets: Secrets, provider: str) -> _Places:
    """Look where a key can be kept: a keyring may take seconds to answer."""
    found = [secrets.backend(name, provider) for name in _PLACES]
    usable = [place for place in found if place.usable]
    has_vault = any(place.name is Backend.VAULT for place in usable)
    return _Places(
        usable,
        needs_passphrase=has_vault and secrets.needs_passphrase(),
        is_new_vault=not secrets.vault_exists(),
        why_not=" ".join(f"The {_TITLES[place.name]}: {place.reason}." for place in found if not place.usable),
    )
