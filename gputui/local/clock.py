"""The real clock."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time of this machine, UTC."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
