"""What an answer tells besides its content: how long it took, and what time it is at the provider.

Whoever wants to know collects the exchanges of a question with `exchanges()`; the client that asks it knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from gputui.model.units import Ms, format_age

# What TLS, signatures and the age of prices bear without harm.
CLOCK_TOLERANCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer. `took_ms` is from sending until the end of the body; `clock_gap_s` as in `clock_gap_s`."""

    operation: str
    status: int
    took_ms: Ms
    clock_gap_s: float | None


_collecting: ContextVar[list[Exchange] | None] = ContextVar("gputui.exchanges", default=None)


@contextmanager
def exchanges() -> Iterator[list[Exchange]]:
    """Collect what this task, and the tasks it starts, exchange with providers meanwhile."""
    collected: list[Exchange] = []
    token = _collecting.set(collected)
    try:
        yield collected
    finally:
        _collecting.reset(token)


def note(exchange: Exchange) -> None:
    """Tell of an exchange to whoever collects them."""
    collected = _collecting.get()
    if collected is not None:
        collected.append(exchange)


def clock_gap_s(headers: Mapping[str, str], now_ms: Ms) -> float | None:
    """Return by how many seconds the provider's clock is ahead of ours, None where it does not tell the time.

    An answer kept by a cache is as old as its `Age` says.
    """
    with suppress(ValueError, TypeError, OverflowError, KeyError):
        theirs_s = parsedate_to_datetime(headers["date"]).timestamp()
        return theirs_s + float(headers.get("age") or 0) - now_ms / 1000
    return None


def clock_problem(gap_s: float | None) -> str | None:
    """Return a sentence about our clock where it is more than five minutes off, else None."""
    if gap_s is None or abs(gap_s) <= CLOCK_TOLERANCE_S:
        return None
    return f"This machine's clock is {format_age(int(abs(gap_s) * 1000))} {'slow' if gap_s > 0 else 'fast'}."
