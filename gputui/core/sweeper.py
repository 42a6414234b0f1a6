"""The agent's sweeps: one when it starts, one every so often, a second look at what seems lost, one before it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gputui.core.crew import Crew
from gputui.core.sweep import SIGHTING_GAP_S, may_be_lost, sweep, wish_lost_gone

log = logging.getLogger("gputui.agent")


class Sweeper:
    """Sweeps until cancelled. `on_wish` is called after machines were wished gone."""

    def __init__(self, crew: Crew, on_wish: Callable[[], None]) -> None:
        self._crew = crew
        self._on_wish = on_wish
        self._wake = asyncio.Event()
        self._began_s = float("-inf")
        self._is_done = False

    async def run(self) -> None:
        """Sweep, whatever a sweep stumbles over; a lost machine costs money until it is seen."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            self._began_s, self._is_done = loop.time(), False
            look_again = False
            try:
                look_again = await self._sweep()
            except Exception:
                log.exception("a sweep stumbled")
            self._is_done = not look_again
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SIGHTING_GAP_S if look_again else self._crew.config.sweep.every_s):
                    await self._wake.wait()

    def has_looked_since(self, moment_s: float) -> bool:
        """True once a sweep that began after a moment of the loop's time left nothing to look at again; else asks for one."""
        if self._is_done and self._began_s < moment_s:
            self._is_done = False
            self._wake.set()
        return self._is_done

    async def _sweep(self) -> bool:
        """Sweep once; True when something must be looked at a second time soon."""
        crew = self._crew
        swept = await sweep(crew.store, crew.accounts, crew.clock, profile=crew.paths.profile)
        for name, error in swept.problems.items():
            log.warning("could not sweep %s: %s", name, error)
        if crew.config.sweep.terminate_lost:
            for finding in (wished := wish_lost_gone(crew.store, crew.accounts, crew.clock, crew.ids)):
                log.warning("deleting the lost machine %s at %s", finding.id, finding.provider)
            if wished:
                self._on_wish()
        return any(may_be_lost(finding) and finding.provider not in swept.problems for finding in swept.findings)
