"""Keep an eye on one machine: ask the provider at a steady pace, tell the ledger, and notice when it is gone."""

from __future__ import annotations

import asyncio

from gputui.core import ledger
from gputui.core.crew import Crew
from gputui.model.errors import Gone, ProviderError, SecretsError
from gputui.model.states import MachineState
from gputui.model.types import Machine, Placement

LOOK_DEADLINE_S = 45.0
# A machine may be missing for a moment after its order; only a repeated "no such machine" means that it is gone.
MISSES_NEEDED = 3
MISS_GAP_S = 5.0
NEW_MACHINE_GRACE_S = 30.0


class MachineWatch:
    """What the provider says of a placement's machine."""

    def __init__(self, crew: Crew, placement: Placement) -> None:
        self._crew = crew
        self._placement = placement
        self._misses = 0
        self._last_miss: float | None = None
        self._last_trouble = ""
        self.machine: Machine | None = None

    @property
    def has_vanished(self) -> bool:
        """True once the provider has said several times that there is no such machine."""
        return self._misses >= MISSES_NEEDED

    async def look(self) -> Machine | None:
        """Ask once. None when nobody can tell now (`has_vanished` says whether that is final)."""
        asked_ms = self._crew.clock.now_ms()
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                machine = await self._crew.client(self._placement.provider).get(self._placement.machine_id or "")
        except Gone:
            self._note_miss()
            return None
        except (ProviderError, SecretsError, TimeoutError) as error:
            self._say(f"cannot ask {self._placement.provider} about the machine: {error or 'no answer in time'}")
            return None
        self._misses, self._last_trouble = 0, ""
        self.machine = machine
        ledger.observe(
            self._crew.store,
            self._placement,
            self._crew.billing(self._placement.provider),
            asked_ms=asked_ms,
            answered_ms=self._crew.clock.now_ms(),
            is_running=machine.state is MachineState.RUNNING,
            rate=machine.price_micro_usd_per_hour,
        )
        return machine

    def _note_miss(self) -> None:
        now_s = asyncio.get_running_loop().time()
        age_ms = self._crew.clock.now_ms() - (self._placement.requested_at_ms or 0)
        if age_ms < NEW_MACHINE_GRACE_S * 1000:
            return
        if self._last_miss is None or now_s - self._last_miss >= MISS_GAP_S:
            self._misses += 1
            self._last_miss = now_s

    def _say(self, sentence: str) -> None:
        if sentence != self._last_trouble:
            self._last_trouble = sentence
            self._crew.journal.note(self._placement.job_id, sentence, placement_id=self._placement.id)
