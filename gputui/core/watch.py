"""Keep an eye on one machine: ask the provider at a steady pace, tell the ledger, and notice when it is gone."""

from __future__ import annotations

import asyncio
import contextlib

from gputui.core import ledger
from gputui.core.crew import Crew
from gputui.core.endings import known_since_ms
from gputui.core.journal import outliving
from gputui.core.whose import absence_counts, note_account
from gputui.model.errors import Gone, ProviderError, SecretsError
from gputui.model.types import Machine, Placement
from gputui.providers.registry import provider_title

LOOK_DEADLINE_S = 45.0
# How long the end of a machine may be put off for a last reading of its counters.
LAST_LOOK_S = 5.0
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
        self._seen_with: str | None = "nothing yet"
        self.machine: Machine | None = None

    @property
    def has_vanished(self) -> bool:
        """True once the provider has said several times that there is no such machine."""
        return self._misses >= MISSES_NEEDED

    @property
    def is_in_doubt(self) -> bool:
        """True when the provider last said that there is no such machine."""
        return self._misses > 0

    async def look(self) -> Machine | None:
        """Ask once. None when nobody can tell now (`has_vanished` says whether that is final)."""
        asked_ms = self._crew.clock.now_ms()
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                machine = await self._crew.client(self._placement.provider).get(self._placement.machine_id or "")
        except Gone:
            await self._crew.heard(self._placement.provider, None)
            if await absence_counts(self._crew, self._placement.id):
                self._note_miss()
            return None
        except (ProviderError, SecretsError, TimeoutError) as error:
            await self._crew.heard(self._placement.provider, error)
            self._say(
                f"cannot ask {provider_title(self._placement.provider)} about the machine: {error or 'no answer in time'}"
            )
            return None
        self._misses, self._last_trouble = 0, ""
        self.machine = machine
        answered_ms = self._crew.clock.now_ms()
        await self._crew.heard(self._placement.provider, None)
        with outliving("meter a machine"):
            ledger.observe(
                self._crew.store,
                self._placement,
                self._crew.billing(self._placement.provider),
                machine,
                asked_ms=asked_ms,
                answered_ms=answered_ms,
            )
        await self._note_account()
        return machine

    async def _note_account(self) -> None:
        """Keep whose machine this is, each time that it is seen with another key."""
        present = self._crew.accounts.fingerprint(self._placement.provider)
        if present != self._seen_with:
            with outliving("note whose machine this is"):
                await note_account(self._crew, self._placement.id)
                self._seen_with = present

    async def look_once_more(self) -> None:
        """Look before the end is asked for: what the machine costs after the last look is only bounded."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                await self.look()

    def _note_miss(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._crew.clock.now_ms() - known_since_ms(self._placement) < NEW_MACHINE_GRACE_S * 1000:
            return
        if self._last_miss is None or now_s - self._last_miss >= MISS_GAP_S:
            self._misses += 1
            self._last_miss = now_s

    def _say(self, sentence: str) -> None:
        if sentence != self._last_trouble:
            self._last_trouble = sentence
            self._crew.journal.note(self._placement.job_id, sentence, placement_id=self._placement.id)
