"""The palette: whatever a key does here, every job and every theme, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from gputui.model.ids import short_id
from gputui.tui import bindings
from gputui.tui.pages import TITLES
from gputui.tui.render.states import job_badge
from gputui.tui.render.text import plain
from gputui.tui.ways import key_display

if TYPE_CHECKING:
    from gputui.tui.app import GputuiApp

_JOBS_LISTED = 100
_FIRST = 1000.0  # more than any score of a match inside a sentence
_NOT_LISTED = frozenset({"app.palette", "app.escape", "app.back"})


class Palette(CommandPalette):
    """Of two keys in one burst that close it the second finds it gone; Textual 8.2.8 would take another screen away."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_current else AwaitComplete()


class Commands(Provider):
    """Commands as (what it says, its key, what it does)."""

    async def discover(self) -> Hits:
        for text, key, run in self._commands():
            yield DiscoveryHit(Content(f"{text}  {key}"), run, text=text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, key, run in self._commands():
            score = matcher.match(text)
            if score > 0:
                begins_with_it = text.casefold().startswith(query.casefold())
                yield Hit(
                    score + _FIRST if begins_with_it else score,
                    Content.assemble(matcher.highlight(text), f"  {key}"),
                    run,
                    text=text,
                )

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        yield from self._keys()
        app = cast("GputuiApp", self.app)
        for report in app.desk.jobs(limit=_JOBS_LISTED):
            job = report.job
            text = f"Show job {plain(job.name)}, {job_badge(job).word}"
            yield text, short_id(job.id), partial(app.open_job, job.id)
        for name in sorted(app.our_themes):
            yield f"Theme {name}", "", partial(setattr, app, "theme", name)

    def _keys(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Yield whatever a key does on the page the palette was opened from, moving about in lists left out."""
        seen: set[str] = set(_NOT_LISTED)
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.id is None or binding.id in seen or not active.enabled or binding.id in bindings.MOVES:
                continue
            seen.add(binding.id)
            yield (
                _said(binding),
                key_display(self.app, binding),
                partial(self.app.run_action, binding.action, active.node),
            )


def _said(binding: Binding) -> str:
    """Return what the palette says of a key, with the short word by which it is looked for before the sentence."""
    page = TITLES.get((binding.id or "").removeprefix("go."))
    word = page or binding.description.capitalize()
    return binding.tooltip if word.casefold() in binding.tooltip.casefold() else f"{word}: {binding.tooltip}"
