"""One reading for all who ask at the same time: Vast.ai's list tells of every machine, and may be asked once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Reads for several callers at once. Nobody gets an answer to a question that left before they asked."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._begun = 0
        self._answer: tuple[int, T] | None = None

    async def fresh(self) -> T:
        """Return what a reading found that began after this call. When one fails, the next caller reads for itself."""
        wanted = self._begun + 1
        async with self._turn:
            if self._answer is not None and self._answer[0] >= wanted:
                return self._answer[1]
            self._begun += 1
            number = self._begun
            found = await self._read()
            self._answer = (number, found)
            return found
