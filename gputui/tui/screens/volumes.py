"""Screen 5: storage that outlives machines, what it costs until it is deleted, and who has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.content import Content
from textual.widget import Widget

from gputui.core.asking import who_can
from gputui.core.volume_wishes import VolumeRow
from gputui.model.errors import GputuiError
from gputui.tui import bindings
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import columns, money
from gputui.tui.render import volumes as volumes_render
from gputui.tui.render.text import join, plain
from gputui.tui.screens.asking import AskingScreen, Told, by_provider
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.new_volume import NewVolume, NewVolumeScreen
from gputui.tui.volume_book import VolumeView, volume_views
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList


class VolumesScreen(AskingScreen):
    """A list of volumes and what is known of the one under the cursor."""

    BINDINGS = bindings.VOLUMES + bindings.ASKING
    HELP: ClassVar[str] = (
        "Volumes cost money until they are deleted, in use or not; those that nothing has are marked. The agent makes and "
        "deletes them, also when this window is closed. Deleting one asks for its name: what is on it is lost for good."
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[VolumeRow] = Told()
        self._views: dict[str, VolumeView] = {}

    def below(self) -> Iterator[Widget]:
        yield Painted(id="detail")

    @property
    def view(self) -> VolumeView | None:
        """The volume under the cursor."""
        return self._views.get(self.table.key or "")

    # What is shown

    async def ask(self) -> None:
        asked, now_ms = who_can(self.desk.accounts, "volumes"), self.desk.clock.now_ms()
        rows, problems = await self.desk.volumes(asked)
        answers = by_provider([name for name in asked if name not in problems], rows, lambda row: row.volume.provider)
        self.told = self.told.heard(answers, problems, now_ms)

    def refresh_data(self) -> None:
        views = volume_views(self.desk, self.told.all(), frozenset(self.told.problems), self.told.at_ms)
        appeared = {view.key for view in views if view.row is None} != {
            key for key, view in self._views.items() if view.row is None
        } or any(view.is_made and view.provider not in self.told.problems for view in views)
        self._views = {view.key: view for view in views}
        self._columns = columns.fit(
            volumes_render.columns(self.title_of, self.desk.clock.now_ms()), self.app.size.width
        )
        self.table.set_header(columns.header(self._columns))
        title = join(("Volumes", "bold"), (f" {self.count(views)}", "$muted"))
        nothing = self.hints("There are no volumes.", ("volumes.new", "make one"), ("ask.refresh", "ask again"))
        self.show_list(title, list(self._views), summaries=volumes_render.summaries(views), nothing=nothing)
        self._show_detail()
        if appeared and self.has_asked:
            self.ask_again()  # one that was being made may exist by now

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        view = self._views[key]
        return [columns.row(view, self._columns, here=here, is_dim=view.is_old)]

    @on(RowList.Moved)
    def _show_detail(self) -> None:
        view = self.view
        if view is not None:
            now_ms = self.desk.clock.now_ms()
            self.query_one("#detail", Painted).show(
                lambda width: volumes_render.detail(view, now_ms=now_ms, width=width, title=self.title_of)
            )
        self.refresh_bindings()

    # Keys

    def obstacle(self, action: str) -> str | None:
        view = self.view if self.is_mounted else None
        if action != "delete":
            return None
        if view is None:
            return "There is no volume under the cursor."
        if view.row is None:
            return "There is no such volume yet." if view.order and not view.order.is_over else "It was never made."
        if view.is_being_deleted:
            return "It is being deleted already; the agent repeats that until its provider no longer lists it."
        if view.users:
            return f"{', '.join(plain(user[:60]) for user in view.users)} has it; its provider refuses to delete it until then."
        if view.is_wanted:
            return "A live job is ordered with it."
        return None

    def action_new(self) -> None:
        """Show the form of a new volume."""
        try:
            able = who_can(self.desk.accounts, "volumes")
        except GputuiError as error:
            self.gputui.tell(error)
            return
        providers = [(name, self.title_of(name)) for name in able]
        self.app.push_screen(NewVolumeScreen(self.desk, providers), self._described)

    def _described(self, new: NewVolume | None) -> None:
        if new is not None:
            self._make(new)

    @work(group="make", exit_on_error=False)
    async def _make(self, new: NewVolume) -> None:
        try:
            await on_own_desk(
                self.desk,
                lambda desk: desk.request_volume(
                    new.provider,
                    new.name,
                    size_gib=new.size_gib,
                    region=new.region,
                    kind=new.kind,
                    shown=new.shown_micro_usd_per_month,
                ),
            )
        except GputuiError as error:
            self.gputui.tell(error)
        self.gputui.look()

    def action_delete(self) -> None:
        """Ask for the name, then wish the volume gone."""
        view = self.view
        if not self.explain("delete") and view is not None and view.row is not None:
            row = view.row
            self.app.push_screen(ConfirmScreen(self._question(view)), lambda yes: self._answered(yes, row))

    def _question(self, view: VolumeView) -> Question:
        price = view.price_micro_usd_per_month
        costs = "costs what its provider does not tell" if price is None else f"costs {money.amount(price)} a month"
        size = f" of {view.size_gib:,} GiB" if view.size_gib else ""
        lines = [
            f"The volume{size} at {self.title_of(view.provider)} {plain(view.region, unknown='')} {costs} until it is gone.",
            "Lost for good: everything on it. Nobody can bring it back.",
        ]
        if view.row is not None and not view.row.is_ours:
            lines.insert(0, "This profile did not make it: it may be somebody's work.")
        return Question(
            f"Delete {plain(view.name[:100])}?", lines, yes="Delete it", no="Keep", is_danger=True, typed=view.name
        )

    def _answered(self, yes: bool | None, row: VolumeRow) -> None:
        if yes:
            self._delete(row)

    @work(group="delete", exit_on_error=False)
    async def _delete(self, row: VolumeRow) -> None:
        try:
            await on_own_desk(self.desk, lambda desk: desk.request_volume_deletion(row))
        except GputuiError as error:
            self.gputui.tell(error)
        self.gputui.look()
