"""The form of a new volume: what it would cost shows while it is filled in; making it is asked for once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Input
from textual.worker import Worker

from gputui.core.desk import Desk
from gputui.core.resources import list_regions
from gputui.model.errors import GputuiError, Rejected, UsageError
from gputui.model.units import MicroUsd
from gputui.providers.base import capabilities_of
from gputui.providers.registry import client_class
from gputui.tui import bindings
from gputui.tui.deploy_form import Field, FieldKind, Option, Section
from gputui.tui.render import money
from gputui.tui.render.text import join, plain, rule, styled
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.modal import Modal
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted

_TYPING_S = 0.4
_FIELDS = {"size_gib": "size", "size": "size", "name": "name", "region": "region", "kind": "kind"}


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A volume as it was described, and the price a month that was shown for it."""

    provider: str
    name: str
    size_gib: int | None
    region: str
    kind: str | None
    shown_micro_usd_per_month: MicroUsd | None = field(default=None, compare=False)


def read(values: dict[str, str]) -> tuple[NewVolume, dict[str, str]]:
    """Return what was typed, and field -> what is wrong with it. Pure."""
    problems: dict[str, str] = {}
    size_text = values["size"].strip()
    if size_text and not (size_text.isascii() and size_text.isdigit() and int(size_text) > 0):
        problems["size"] = "A whole number of GiB."
    name, region = values["name"].strip(), values["region"].strip()
    if not name:
        problems["name"] = "What should it be called?"
    if not region:
        problems["region"] = "A volume stands in one region."
    size_gib = int(size_text) if size_text and "size" not in problems else None
    return NewVolume(values["provider"], name, size_gib, region, values["kind"].strip() or None), problems


class NewVolumeScreen(Modal[NewVolume | None]):
    """Dismissed with the volume to make, None for none. `providers` are (name, title) of those that have volumes."""

    CSS_PATH = "new_volume.tcss"
    BINDINGS = bindings.NEW_VOLUME

    def __init__(self, desk: Desk, providers: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._desk = desk
        self._titles = dict(providers)
        self._regions: tuple[str, Sequence[str]] = "", ()  # a provider and where it has machines
        self._timer: Timer | None = None
        self._asked: tuple[NewVolume, Worker[None]] | None = None
        self._quoted: tuple[NewVolume, MicroUsd | None] | None = None
        self._to_make: NewVolume | None = None  # goes on to the question once its price is told
        self._words: Content = Content("")

    def compose(self) -> ComposeResult:
        options = tuple(Option(name, title) for name, title in self._titles.items())
        fields = (
            Field("provider", "provider", kind=FieldKind.ONE, options=options),
            Field("name", "name", "data"),
            Field("size", "GiB", "100"),
            Field("region", "region", "where machines are to use it"),
            Field("kind", "kind", "the usual one"),
        )
        with Vertical(id="box"):
            yield Painted(id="heading")
            yield DeployForm([Section("", fields)], id="form")
            yield Painted(id="price")
            with Horizontal(id="buttons"):
                yield Button(
                    join("Leave ", (key_of(self.app, "newvolume.close"), "not bold")), id="leave", compact=True
                )
                yield Button(
                    join("Make it ", (key_of(self.app, "newvolume.make"), "not bold")), id="make", compact=True
                )

    def on_mount(self) -> None:
        self.query_one("#heading", Painted).show(lambda width: rule(join(("A new volume", "bold")), width))
        self._form.focus_field("name")
        self._say_what_is_missing()
        self._look_up_regions(self._form.values["provider"])

    @property
    def _form(self) -> DeployForm:
        return self.query_one(DeployForm)

    def _say(self, text: str, style: str) -> None:
        self._words = styled(text, style)
        words = self._words
        self.query_one("#price", Painted).show(lambda width: Content("\n").join(words.wrap(max(1, width))))

    def _say_what_is_missing(self) -> None:
        """Say that the price will stand here, and which regions there are while none is chosen."""
        values = self._form.values
        provider, regions = self._regions
        where = ""
        if regions and provider == values["provider"] and not values["region"].strip():
            where = f"Regions at {self._titles[provider]}: {', '.join(regions)}; the right arrow completes one. "
        self._say(f"{where}Its price shows here as soon as it is described.", "$muted")

    # The price

    @on(DeployForm.Changed)
    def _changed(self, event: DeployForm.Changed) -> None:
        new, problems = read(event.values)
        self._form.show_mistakes({"size": problems["size"]} if "size" in problems else {})
        if new.provider != self._regions[0]:
            self._look_up_regions(new.provider)
        if new == self._to_make:
            return  # the key was quicker than the news of what was typed before it
        self._to_make = None
        if self._timer is not None:
            self._timer.stop()
        if problems:
            self._quoted = None
            self._say_what_is_missing()
        elif self._quoted is None or self._quoted[0] != new:
            self._timer = self.set_timer(_TYPING_S, lambda: self._ask(new))

    def _ask(self, new: NewVolume) -> None:
        """Ask for the price, unless that is under way."""
        if self._asked is None or self._asked[0] != new or self._asked[1].is_finished:
            self._asked = new, self._ask_price(new)

    @work(group="quote", exclusive=True, exit_on_error=False)
    async def _ask_price(self, new: NewVolume) -> None:
        self._quoted = None
        self._say(f"Asking {self._titles[new.provider]} what it costs …", "$muted")
        try:
            price = await self._desk.volume_quote(new.provider, size_gib=new.size_gib, region=new.region, kind=new.kind)
        except GputuiError as error:
            self._to_make = None
            place = (
                _FIELDS.get(getattr(error, "field", None) or "") if isinstance(error, Rejected | UsageError) else None
            )
            if place is not None:
                self._form.show_mistakes({place: in_keys(self.app, str(error)[:600])})
                self._say("Its price shows here once that is right.", "$muted")
            else:
                self._say(plain(in_keys(self.app, str(error)[:600])), "$state-failed")
            return
        self._quoted = new, price
        self._say(*self._price_words(new, price))
        if new == self._to_make and self.is_active:
            self._ask_once_more(new, price)
        self._to_make = None

    def _price_words(self, new: NewVolume, price: MicroUsd | None) -> tuple[str, str]:
        if price is None:
            return f"{self._titles[new.provider]} does not tell what it costs.", "$state-waiting"
        return f"{money.amount(price)} a month, from now until it is deleted, in use or not.", "bold"

    @work(group="regions", exclusive=True, exit_on_error=False)
    async def _look_up_regions(self, provider: str) -> None:
        """Offer the provider's regions while one is typed; without them it is typed in full."""
        self._regions = provider, ()
        if capabilities_of(client_class(provider))["regions"]:
            asked = await list_regions(self._desk.accounts, [provider])
            self._regions = provider, [plain(region.code[:60]) for region in asked.answers.get(provider, ())]
        self._form.suggest("region", self._regions[1])
        if self._quoted is None and read(self._form.values)[1]:
            self._say_what_is_missing()

    # Leaving

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#leave")
    def action_close(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#make")
    def action_make(self) -> None:
        """Ask once more, with the price of exactly this; when that is not known yet, as soon as it is told."""
        new, problems = read(self._form.values)
        if problems:
            self._form.show_mistakes(problems)
            self._form.focus_field(next(iter(problems)))
        elif self._quoted is None or self._quoted[0] != new:
            if self._timer is not None:
                self._timer.stop()
            self._to_make = new
            self._ask(new)
        else:
            self._ask_once_more(*self._quoted)

    def _ask_once_more(self, new: NewVolume, price: MicroUsd | None) -> None:
        self.app.push_screen(ConfirmScreen(self._question(new, price)), self._answered)

    def _question(self, new: NewVolume, price: MicroUsd | None) -> Question:
        size = f" of {new.size_gib:,} GiB" if new.size_gib else ""
        kind = f", {plain(new.kind)}" if new.kind else ""
        return Question(
            f"Make volume {plain(new.name)}?",
            [
                f"A volume{size} in {plain(new.region)} at {self._titles[new.provider]}{kind}.",
                self._price_words(new, price)[0] + " The agent makes it, once.",
            ],
            yes="Make it",
            no="Back",
        )

    def _answered(self, yes: bool | None) -> None:
        if yes and self._quoted is not None:
            new, price = self._quoted
            self.dismiss(replace(new, shown_micro_usd_per_month=price))
