"""What three clocks that disagree tell."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gputui.core.clockwatch import ClockWatch, Jump

HOUR_MS = 3_600_000


@dataclass
class Hands:
    """Any of the clocks."""

    ms: int = 0
    boot_id: str | None = None

    def now_ms(self) -> int:
        return self.ms


@pytest.mark.parametrize(
    ("wall_ms", "steady_ms", "loop_ms", "seen"),
    [
        (200, 200, 200, None),
        (HOUR_MS, HOUR_MS, HOUR_MS, None),  # a loop that was blocked: time passed for all of them
        (200 + 9_000, 200, 200, None),
        (200 + HOUR_MS, 200, 200, Jump(HOUR_MS, 0)),
        (200 - HOUR_MS, 200, 200, Jump(-HOUR_MS, 0)),
        (HOUR_MS, HOUR_MS, 0, Jump(0, HOUR_MS)),
        (3 * HOUR_MS, HOUR_MS, 0, Jump(2 * HOUR_MS, HOUR_MS)),
    ],
)
def test_each_look_tells_what_happened_since_the_last(
    wall_ms: int, steady_ms: int, loop_ms: int, seen: Jump | None
) -> None:
    wall, steady, loop = Hands(1_000_000), Hands(5), Hands(7)
    watch = ClockWatch(wall, steady, lambda: loop.ms / 1000)
    wall.ms, steady.ms, loop.ms = wall.ms + wall_ms, steady.ms + steady_ms, loop.ms + loop_ms
    assert watch.look() == seen
    assert watch.look() is None


def test_a_clock_that_drifts_slowly_never_jumps() -> None:
    wall, steady = Hands(), Hands()
    watch = ClockWatch(wall, steady, lambda: steady.ms / 1000)
    for _ in range(100):
        wall.ms += 2_000
        steady.ms += 1_000
        assert watch.look() is None


def test_jumps_are_told_in_words() -> None:
    assert str(Jump(-2 * HOUR_MS, 0)) == "the clock of this computer was moved back by 2 h"
    assert str(Jump(HOUR_MS, 3 * HOUR_MS)).endswith("forwards by 60 min and this computer slept for 3 h")
