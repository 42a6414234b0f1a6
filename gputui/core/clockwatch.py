"""Noticing that the clock of this computer was moved, or that it slept.

Durations are taken between stored moments of wall time, so that they span restarts of the agent. When the clock is moved,
every moment of what is alive is moved along with it: no maximum duration ends early, no bill shrinks or grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gputui.model.clock import Clock, SteadyClock
from gputui.model.units import Ms, format_age

# Smaller steps are the daily business of keeping a clock right, and within what a bill's edges leave open.
JUMP_MS = 10_000


@dataclass(frozen=True, slots=True)
class Jump:
    """How far the clock was moved (positive: forwards), and how long this computer slept, in milliseconds."""

    moved_ms: int
    slept_ms: int

    def __str__(self) -> str:
        parts = []
        if self.moved_ms:
            direction = "forwards" if self.moved_ms > 0 else "back"
            parts.append(f"the clock of this computer was moved {direction} by {format_age(abs(self.moved_ms))}")
        if self.slept_ms:
            parts.append(f"this computer slept for {format_age(self.slept_ms)}")
        return " and ".join(parts)


class ClockWatch:
    """Compares three clocks at every look: the wall's, one that nobody can move, and the loop's, which sleeps too."""

    def __init__(self, clock: Clock, steady: SteadyClock, loop_time_s: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._loop_time_s = loop_time_s
        self._last = self._read()

    def look(self) -> Jump | None:
        """Return what happened since the last look, None when all three agree."""
        before, self._last = self._last, self._read()
        wall_ms, steady_ms, loop_ms = (now - last for now, last in zip(self._last, before, strict=True))
        return _jump(wall_ms - steady_ms, steady_ms - loop_ms)

    def since(self, wall_ms: Ms, steady_ms: int) -> Jump | None:
        """Return how far the clock was moved since it and the steady one were read together, by an earlier agent."""
        now_wall_ms, now_steady_ms, _ = self._last
        return _jump((now_wall_ms - wall_ms) - (now_steady_ms - steady_ms), 0)

    def _read(self) -> tuple[int, int, int]:
        return self._clock.now_ms(), self._steady.now_ms(), round(self._loop_time_s() * 1000)


def _jump(moved_ms: int, slept_ms: int) -> Jump | None:
    moved_ms = moved_ms if abs(moved_ms) >= JUMP_MS else 0
    slept_ms = slept_ms if slept_ms >= JUMP_MS else 0
    return Jump(moved_ms, slept_ms) if moved_ms or slept_ms else None
