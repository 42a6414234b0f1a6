"""What `core` knows of time: clocks that are handed in, so that hours can pass in milliseconds."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time. Sleeps and deadlines are plain asyncio on the running loop, never this."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        ...


class SteadyClock(Protocol):
    """A clock that nobody can set and that counts while the computer sleeps."""

    @property
    def boot_id(self) -> str | None:
        """Name the boot that it counts from; None where that cannot be told."""
        ...

    def now_ms(self) -> int:
        """Return milliseconds since a moment that stays the same for one boot."""
        ...
