"""What `core` knows of time: a clock that is handed in, so that hours can pass in milliseconds."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time. Sleeps and deadlines are plain asyncio on the running loop, never this."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        ...
