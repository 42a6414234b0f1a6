"""A piece of a log as a provider's API hands it out: whole lines and a cursor, no byte offsets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines in order, without their line ends, and the cursor to go on from. `cursor` None: nothing was ever read.

    `was_asked` is False where our turn to ask did not come in time: then no lines do not mean that there are none.
    """

    lines: tuple[str, ...]
    cursor: str | None
    was_asked: bool = True
