"""The pages that stand beside each other as tabs: jobs, machines, waitlist."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from gputui.tui.render.text import join

TABS = ("jobs", "machines", "waitlist")


def tab_title(here: str, count: int | str) -> Content:
    """Return the tabs' names, the one that is shown with its count."""
    return join(*_words(here, count))


def neighbour(here: str, steps: int) -> str:
    """Return the tab so many steps from one, going round."""
    return TABS[(TABS.index(here) + steps) % len(TABS)]


def _words(here: str, count: int | str) -> Iterator[tuple[str, str]]:
    for position, name in enumerate(TABS):
        yield ("  " if position else ""), ""
        if name == here:
            yield name.capitalize(), "bold"
            yield f" {count}", "$muted"
        else:
            yield name.capitalize(), "$faint"
