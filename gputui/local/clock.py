"""The real clocks."""

from __future__ import annotations

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """Wall time of this machine, UTC."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class BootClock:
    """Time since this machine's boot, with the time that it slept where the system counts that (Linux)."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    @property
    def boot_id(self) -> str | None:
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return None

    def now_ms(self) -> int:
        return time.clock_gettime_ns(self._source) // 1_000_000
