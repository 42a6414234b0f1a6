"""One question for everybody who asks about a machine at about the same time.

RunPod counts requests per user, not per pod: many jobs that each look at their machine every few seconds would use the quota
up. Nobody is told what was read before they asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from gputui.model.types import Machine

# The least time between two questions. One that comes alone after a pause is sent at once.
EVERY_S = 3.0


class Looks:
    """Gathers looks at single machines. `read_one` asks for one (raises Gone), `read_all` for as many as the list tells."""

    def __init__(
        self,
        read_one: Callable[[str], Awaitable[Machine]],
        read_all: Callable[[], Awaitable[Mapping[str, Machine]]],
    ) -> None:
        self._read_one = read_one
        self._read_all = read_all
        self._wanted: set[str] = set()
        self._next: asyncio.Task[Mapping[str, Machine]] | None = None
        self._not_before_s = 0.0
        self._running: set[asyncio.Task[Mapping[str, Machine]]] = set()

    async def look(self, machine_id: str) -> Machine:
        """Return a machine as it is now. What is not in the list is asked for by itself: only that tells that it is gone."""
        self._wanted.add(machine_id)
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
            self._running.add(self._next)
            self._next.add_done_callback(self._finished)
        found = (await asyncio.shield(self._next)).get(machine_id)
        return found if found is not None else await self._read_one(machine_id)

    async def aclose(self) -> None:
        """Stop asking."""
        for task in list(self._running):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    async def _ask(self) -> Mapping[str, Machine]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before_s - loop.time())
        wanted, self._wanted, self._next = self._wanted, set(), None
        self._not_before_s = loop.time() + EVERY_S
        return await self._read_all() if len(wanted) > 1 else {}

    def _finished(self, task: asyncio.Task[Mapping[str, Machine]]) -> None:
        """Whoever asked may have given up meanwhile: then nobody hears of an error."""
        self._running.discard(task)
        if not task.cancelled():
            task.exception()
