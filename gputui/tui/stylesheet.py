"""A style sheet that reads each of its sources once."""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet

_SOURCES = 1_000
"""More than there are: Textual's own 64 are not enough for every page, and one too many makes it read all of them again."""


class LastingStylesheet(Stylesheet):
    """Keeps what was read until a colour changes; Textual 8.2.8 reads all sources again for every page that is opened."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._parse_cache.grow(_SOURCES)

    def set_variables(self, variables: dict[str, str]) -> None:
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        self.parse()
