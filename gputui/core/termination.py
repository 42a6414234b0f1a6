"""Terminate is a loop, not a call: repeated until the provider's own list, twice in a row, no longer shows the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gputui.core.journal import outliving
from gputui.model.clock import Clock
from gputui.model.errors import Gone, GputuiError, ProviderError, SecretsError
from gputui.model.ids import Ids
from gputui.model.units import Ms

if TYPE_CHECKING:
    from gputui.providers.base import Provider

CALL_DEADLINE_S = 90.0
SIGHTINGS_NEEDED = 2
SIGHTING_GAP_S = 2.0
RESEND_AFTER_S = 30.0
SLOWEST_S = 60.0
LOUD_AFTER_S = 120.0


class Terminator:
    """Ends one machine and proves it.

    `get_client` is asked each time, so that a key that comes back is used. `report(sentence, loud)` hears every new
    trouble once; `loud` is True when it has gone on for two minutes and a person should know. `heard` is told how each
    question was answered (None: well), `on_seen` when the provider showed the machine; `absence_counts` says whether that
    it is not seen means anything: nothing before `shows_by_ms`, until when a new machine may not show yet. A store that
    cannot be written keeps nothing from being ended.
    """

    def __init__(
        self,
        get_client: Callable[[], Provider],
        machine_id: str,
        *,
        clock: Clock,
        ids: Ids,
        report: Callable[[str, bool], None],
        heard: Callable[[GputuiError | TimeoutError | None], Awaitable[None]],
        absence_counts: Callable[[], Awaitable[bool]],
        on_seen: Callable[[], None] = lambda: None,
        shows_by_ms: Ms = 0,
    ) -> None:
        self._get_client = get_client
        self._machine_id = machine_id
        self._clock = clock
        self._ids = ids
        self._report = report
        self._heard = heard
        self._absence_counts = absence_counts
        self._on_seen = on_seen
        self._shows_by_ms = shows_by_ms
        self._said: set[str] = set()

    async def until_gone(self) -> Ms:
        """Return when it was proven that the machine is gone: it may have lived until then, as one look alone may err.

        Returns only then; cancel it to stop.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        pause_s = 1.0
        accepted_at: float | None = None
        sightings = 0
        while True:
            if sightings == 0 and (accepted_at is None or loop.time() - accepted_at > RESEND_AFTER_S):
                # A new key each time: a replayed "accepted" of an order that got lost would end nothing.
                accepted_at = loop.time() if await self._try(self._ask_once(), "delete") else None
            absent = await self._is_absent()
            if absent:
                sightings += 1
                if sightings >= SIGHTINGS_NEEDED:
                    return self._clock.now_ms()
                await asyncio.sleep(SIGHTING_GAP_S)
                continue
            if absent is False:
                sightings = 0
                with outliving("note that the machine is still there"):
                    self._on_seen()
            if loop.time() - began > LOUD_AFTER_S:
                self._say("the machine is still there after two minutes of asking for its end", loud=True)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, SLOWEST_S if accepted_at is None else RESEND_AFTER_S / 3)

    async def _ask_once(self) -> None:
        try:
            await self._get_client().terminate(self._machine_id, idempotency_key=f"end-{self._ids.ulid()}")
        except Gone:
            if self._may_not_show_yet():
                raise

    async def _is_absent(self) -> bool | None:
        """Return True when neither list nor look-up shows the machine, False when one does, None when nobody can tell."""
        found: list[bool] = []
        is_told = False

        async def look() -> None:
            nonlocal is_told
            client = self._get_client()
            machines = await client.list_machines()
            if any(machine.id == self._machine_id and not machine.state.is_gone for machine in machines):
                found.append(True)
                return
            try:
                machine = await client.get(self._machine_id)
            except Gone:
                found.append(False)
            else:
                is_told = machine.state.is_gone
                found.append(not is_told)

        if not await self._try(look(), "look"):
            return None
        is_missing = not found[0] and not is_told
        if is_missing and (self._may_not_show_yet() or not await self._absence_counts()):
            return None
        return not found[0]

    def _may_not_show_yet(self) -> bool:
        return self._clock.now_ms() < self._shows_by_ms

    async def _try(self, call: Awaitable[None], what: str) -> bool:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                await call
        except (ProviderError, SecretsError) as error:
            self._say(f"could not {what}: {error}", loud=False)
            await self._heard(error)
            return False
        except TimeoutError as error:
            self._say(f"could not {what}: no answer within {CALL_DEADLINE_S:.0f} s", loud=False)
            await self._heard(error)
            return False
        await self._heard(None)
        return True

    def _say(self, sentence: str, *, loud: bool) -> None:
        if sentence not in self._said:
            with outliving(f"note that {sentence}"):
                self._report(sentence, loud)
                self._said.add(sentence)
