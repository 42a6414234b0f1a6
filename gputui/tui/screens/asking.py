"""What the pages share that show what is at the providers now: asking, keeping what was told, saying who did not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, ClassVar, Generic, TypeVar

from textual import events, work
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from gputui.model.errors import GputuiError
from gputui.model.units import Ms, format_age
from gputui.providers.registry import provider_title
from gputui.tui.render import columns
from gputui.tui.render.text import cut, join, plain, styled
from gputui.tui.screens.base import BaseScreen
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

_AGE_EVERY_MS = 10_000
_LONGEST = 2000  # of a provider's words

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """What each provider told, when it last did, and why some do not answer now: of those it is what they told before."""

    rows: Mapping[str, Sequence[T]] = field(default_factory=dict)
    at_ms: Mapping[str, Ms] = field(default_factory=dict)
    problems: Mapping[str, GputuiError] = field(default_factory=dict)

    def heard(self, answers: Mapping[str, Sequence[T]], problems: Mapping[str, GputuiError], now_ms: Ms) -> Told[T]:
        """Return what is known after another round of asking; who was not asked is forgotten."""
        asked = {*answers, *problems}
        old = {name: rows for name, rows in self.rows.items() if name in asked}
        return replace(
            self,
            rows={**old, **answers},
            at_ms={**{name: self.at_ms[name] for name in old}, **dict.fromkeys(answers, now_ms)},
            problems=dict(problems),
        )

    def all(self) -> list[T]:
        return [row for rows in self.rows.values() for row in rows]


def by_provider(answered: Iterable[str], rows: Iterable[T], provider_of: Callable[[T], str]) -> dict[str, list[T]]:
    """Return rows under the providers that answered; one that has nothing has an empty list."""
    found: dict[str, list[T]] = {name: [] for name in answered}
    for row in rows:
        found.setdefault(provider_of(row), []).append(row)
    return found


class AskingScreen(BaseScreen):
    """A page that asks providers when it is opened, when r is pressed, and now and then while it is open.

    A title, a list, perhaps something under it. Subclasses put the question in `ask` and call `show_list` from
    `refresh_data`. Nothing that was shown goes away while they ask.
    """

    CSS_PATH: ClassVar[str | PurePath | list[str | PurePath] | None] = "asking.tcss"
    ASK_EVERY_S: ClassVar[float] = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[Any] = Told()
        self.is_asking = False
        self.has_asked = False
        self._problem: GputuiError | None = None
        self._asked_ms: Ms = 0
        self._painted_ms: Ms = 0

    def body(self) -> Iterator[Widget]:
        yield Painted(id="title")
        with Vertical(id="problems"):
            yield Painted(id="problem-lines")
        yield self.make_list()
        yield from self.below()
        yield Static(id="empty")

    def make_list(self) -> RowList:
        return RowList(self.paint, id="list")

    def below(self) -> Iterator[Widget]:
        """Yield what is under the list."""
        return iter(())

    async def ask(self) -> None:
        """Ask the providers, each within a deadline, and keep what they tell in `told`. May raise GputuiError."""
        raise NotImplementedError

    def paint(self, key: str, width: int, here: bool) -> list[Content]:
        """Return the line of a row."""
        raise NotImplementedError

    @property
    def table(self) -> RowList:
        return self.query_one("#list", RowList)

    # Asking

    def on_mount(self) -> None:
        self.table.focus()
        self.set_interval(self.ASK_EVERY_S, self._ask_when_due)
        self.ask_again()

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        self._ask_when_due()

    def accounts_known(self) -> None:
        self.ask_again()

    def action_ask(self) -> None:
        self.ask_again()

    def tick(self) -> None:
        if self.desk.clock.now_ms() - self._painted_ms >= _AGE_EVERY_MS:
            self._painted_ms = self.desk.clock.now_ms()
            self.reload()

    def _ask_when_due(self) -> None:
        if self.is_current and self.desk.clock.now_ms() - self._asked_ms >= self.ASK_EVERY_S * 1000:
            self.ask_again()

    def ask_again(self) -> None:
        """Ask now, once it is known who can be asked; nothing while a question is under way."""
        if self.gputui.accounts and not self.is_asking:
            self._ask()

    @work(group="ask", exit_on_error=False)
    async def _ask(self) -> None:
        self.is_asking, self._asked_ms = True, self.desk.clock.now_ms()
        self.reload()
        try:
            await self.ask()
            self._problem = None
        except GputuiError as error:
            self._problem = error
        finally:
            self.is_asking, self.has_asked = False, True
            self.reload()

    # Showing

    def title_of(self, provider: str) -> str:
        """Return what an account is called; a provider that this version does not know has its raw name."""
        label = next((account.label for account in self.gputui.accounts if account.info.name == provider), None)
        return plain(label or provider_title(provider))

    def _said(self, error: GputuiError) -> str:
        return plain(in_keys(self.app, str(error)[:_LONGEST]))

    def count(self, rows: Sequence[object]) -> str:
        """Return how many there are for the title; nothing while that is not known."""
        return str(len(rows)) if rows or (self.told.rows and self.has_asked) else ""

    def show_list(self, title: Content, keys: Sequence[str], *, summaries: Sequence[Content], nothing: Content) -> None:
        """Show these rows under a title; `summaries` are what may stand at its right, the fullest first."""
        told = self.told
        right_titles: Sequence[Content] = self._progress() or summaries
        self.query_one("#title", Painted).show(lambda width: columns.title_rule(title, width, right_titles))
        self.query_one("#problems").display = bool(told.problems and keys)
        self.query_one("#problem-lines", Painted).show(lambda width: Content("\n").join(self._problem_lines(width)))
        self.set_class(not keys, "-empty")
        if not keys:
            self.query_one("#empty", Static).update(self.why_empty(nothing))
        self.table.set_keys(keys)
        self.refresh_bindings()

    def _progress(self) -> list[Content]:
        """Return who is asked or who did not answer, for the right end of the title."""
        if self.is_asking:
            return [styled("asking …", "$muted")]
        if self.told.problems:
            names = ", ".join(self.title_of(name) for name in self.told.problems)
            count = len(self.told.problems)
            return [styled(f"✕ no answer from {names}", "$state-failed"), styled(f"✕ {count} silent", "$state-failed")]
        return []

    def _problem_lines(self, width: int) -> list[Content]:
        """Return a line for each provider that could not be asked, with how old is what is shown of it."""
        now_ms = self.desk.clock.now_ms()
        lines = []
        for name, error in self.told.problems.items():
            at_ms = self.told.at_ms.get(name)
            shown = "nothing is known of it" if at_ms is None else f"shown as told {format_age(now_ms - at_ms)} ago"
            head, tail = f"  ✕ {self.title_of(name)}: ", f" ({shown})"
            why = cut(self._said(error), max(10, width - len(head) - len(tail)))
            lines.append(
                join((head, "$state-failed"), (why, "$muted"), (tail, "$faint")).truncate(width, ellipsis=True)
            )
        return lines

    def why_empty(self, nothing: Content) -> Content:
        """Return what stands on a page without rows: waiting, nobody to ask, no answer, or that there is nothing."""
        told = self.told
        if self._problem is not None:
            why = cut(self._said(self._problem), self.app.size.width - 4)
            return Content("\n").join([styled("Nobody can be asked.", "bold"), Content(""), styled(why, "$muted")])
        if not self.has_asked:
            return styled("Asking the providers …", "$muted")
        if not told.problems:
            return nothing
        lines = [
            join((f"{self.title_of(name)}: ", "$state-failed"), (self._said(error), "$muted")).truncate(
                self.app.size.width - 4, ellipsis=True
            )
            for name, error in told.problems.items()
        ]
        first = "No provider answered." if not told.rows else "Nothing from those that answered."
        again = join((key_of(self.app, "ask.refresh"), "$accent bold"), (" asks again", "$muted"))
        return Content("\n").join([styled(first, "bold"), Content(""), *lines, Content(""), again])
