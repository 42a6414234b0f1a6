"""Moments as the RunPod API writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)  # a log is read again and again, and has one for each line
def stamp(ms: int) -> str:
    """Return an RFC 3339 timestamp to the second, UTC."""
    return datetime.fromtimestamp(ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
