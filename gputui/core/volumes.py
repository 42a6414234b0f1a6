"""Making and deleting volumes, which cost money until they are gone: one driver per order, intent first.

A volume is never ordered twice: after a lost reply its label is looked for until it is found or provably not there. A
deletion is repeated until the provider's own list, twice in a row, no longer shows the volume.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from gputui.core.crew import Crew
from gputui.core.journal import LostRace
from gputui.core.ledger import dearest
from gputui.core.ordering import (
    ABSENT_GAP_S,
    ABSENT_GRACE_S,
    ABSENT_SIGHTINGS,
    CLEAN_RETRIES,
    CREATE_DEADLINE_S,
    LOOK_DEADLINE_S,
    clean_retry_wait,
)
from gputui.core.termination import (
    CALL_DEADLINE_S,
    LOUD_AFTER_S,
    RESEND_AFTER_S,
    SIGHTING_GAP_S,
    SIGHTINGS_NEEDED,
    SLOWEST_S,
)
from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    GputuiError,
    NotSupported,
    ProviderError,
    Rejected,
    SecretsError,
    Unreachable,
)
from gputui.model.types import Volume
from gputui.model.units import div_half_up, format_usd
from gputui.model.volumes import VolumeOrder, VolumeOrderState, VolumeWish, check_volume_order_move
from gputui.providers.base import HasVolumes, NamesVolumesUniquely
from gputui.providers.registry import provider_title
from gputui.store import volumes as volume_store
from gputui.store.alarms import AlarmKind

# A machine that has just ended may hold its volume for half a minute more (Vast.ai).
IN_USE_PATIENCE_S = 45.0
_HOURS_PER_MONTH = 730  # as the providers reckon

_S = VolumeOrderState


class VolumeDriver:
    """Carries one order to its end, from wherever a crash left it."""

    def __init__(self, crew: Crew, order: VolumeOrder) -> None:
        self._crew = crew
        self._order = order
        self._title = provider_title(order.provider)

    async def run(self) -> None:
        """Return when the order is over. Raises LostRace when another agent took it on, StoreError."""
        self._order = volume_store.load_order(self._crew.store, self._order.id) or self._order
        if self._order.wish is VolumeWish.DELETE:
            if not self._order.is_over:
                await self._delete()
            return
        if self._order.state is _S.INTENDED:
            await self._request()
        elif self._order.state is _S.REQUESTING:
            self._move(_S.OUTCOME_UNKNOWN, error="The agent was interrupted while it asked.")
        if self._order.state is _S.OUTCOME_UNKNOWN:
            await self._find_out()

    # Making one

    async def _request(self) -> None:
        """Send the order; what certainly left nothing behind may be tried again a few times."""
        for attempt in range(CLEAN_RETRIES):
            try:
                client = self._client()
                if self._order.state is _S.INTENDED:
                    await self._check_name_is_free(client)
                    self._move(_S.REQUESTING, requested_at_ms=self._crew.clock.now_ms())
                self._made(await self._send(client))
                return
            except (ProviderError, SecretsError) as error:
                was_sent = self._order.state is _S.REQUESTING
                if was_sent and isinstance(error, ProviderError) and error.may_exist:
                    self._move(_S.OUTCOME_UNKNOWN, **self._told(error))
                    return
                wait_s = clean_retry_wait(error, attempt)
                if wait_s is None:
                    self._move(_S.REFUSED, **self._told(error))
                    return
                self._note(error)
                await asyncio.sleep(wait_s)

    async def _check_name_is_free(self, client: HasVolumes) -> None:
        """Where a name is the user's own and stands for one volume only, one of that name must not be taken for ours."""
        if isinstance(client, NamesVolumesUniquely) and await self._look(client) is not None:
            raise Rejected(
                f"There is a volume called {self._order.label} at {self._title} already.",
                provider=self._order.provider,
                field="name",
                hint="Choose another name.",
            )

    async def _send(self, client: HasVolumes) -> Volume:
        order = self._order
        try:
            async with asyncio.timeout(CREATE_DEADLINE_S):
                return await client.create_volume(
                    order.label, size_gib=order.size_gib, region=order.region or "", kind=order.kind
                )
        except TimeoutError:
            raise self._silence("make a volume", CREATE_DEADLINE_S) from None

    async def _find_out(self) -> None:
        """Look until the volume is found, or provably not there. Never ends on a mere failure to look."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        sightings, pause_s = 0, 1.0
        while True:
            try:
                volume = await self._look(self._client())
            except (ProviderError, SecretsError) as error:
                sightings = 0
                self._note(error)
                await self._crew.heard(self._order.provider, error)
            else:
                await self._crew.heard(self._order.provider, None)
                if volume is not None:
                    return self._made(volume)
                if loop.time() - began >= ABSENT_GRACE_S and self._is_same_account():
                    sightings, pause_s = sightings + 1, ABSENT_GAP_S
                    if sightings >= ABSENT_SIGHTINGS:
                        why = f"The order got lost: {self._title} has no such volume. Nothing was made; order it again."
                        return self._move(_S.ABSENT, error=why, error_code="absent")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.6, 15.0)

    async def _look(self, client: HasVolumes) -> Volume | None:
        return next((volume for volume in await self._list(client) if volume.name == self._order.label), None)

    def _made(self, volume: Volume) -> None:
        order = self._order
        shown, told = order.price_micro_usd_per_month, volume.price_micro_usd_per_month
        is_dearer = shown is not None and told is not None and told > dearest(shown)
        self._move(
            _S.MADE,
            volume_id=volume.id,
            size_gib=order.size_gib if volume.size_gib is None else volume.size_gib,
            price_micro_usd_per_month=told,
            error=f"It costs {format_usd(told)} $ a month; {format_usd(shown)} $ were shown." if is_dearer else None,
            error_code="too_dear" if is_dearer else None,
        )

    # Deleting one

    async def _delete(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._order.state is _S.INTENDED:
            self._move(_S.DELETING, requested_at_ms=self._crew.clock.now_ms())
        accepted_at: float | None = None
        refused_at: float | None = None
        sightings, pause_s = 0, 1.0
        while True:
            if sightings == 0 and (accepted_at is None or loop.time() - accepted_at > RESEND_AFTER_S):
                obstacle = await self._ask_for_deletion()
                if obstacle is None:
                    accepted_at = loop.time()
                elif accepted_at is None and isinstance(obstacle, Conflict | Rejected | NotSupported):
                    refused_at = loop.time() if refused_at is None else refused_at
                    if loop.time() - refused_at >= IN_USE_PATIENCE_S:
                        self._crew.alarms.end(AlarmKind.UNDYING, self._order.volume_id or "")
                        return self._move(_S.REFUSED, **self._told(obstacle))
            is_absent = await self._is_absent()
            sightings = sightings + 1 if is_absent else 0
            if sightings >= SIGHTINGS_NEEDED:
                self._crew.alarms.end(AlarmKind.UNDYING, self._order.volume_id or "")
                return self._move(_S.GONE, error=None, error_code=None)
            if loop.time() - began > LOUD_AFTER_S:
                self._sound_alarm()
            await asyncio.sleep(SIGHTING_GAP_S if is_absent else pause_s)
            if not is_absent:
                pause_s = min(pause_s * 1.5, SLOWEST_S if accepted_at is None else RESEND_AFTER_S / 3)

    def _sound_alarm(self) -> None:
        order, title = self._order, self._title
        month = order.price_micro_usd_per_month
        self._crew.alarms.sound(
            AlarmKind.UNDYING,
            order.volume_id or "",
            f"{title} volume {order.name} will not go: {order.error or 'it is still listed.'}",
            f"The agent goes on trying; in need, delete it at {title} yourself.",
            provider=order.provider,
            rate=None if month is None else div_half_up(month, _HOURS_PER_MONTH),
        )

    async def _ask_for_deletion(self) -> GputuiError | None:
        """Ask once and return what stands in the way. A volume that is gone already is as good as deleted."""
        obstacle: GputuiError
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                await self._client().delete_volume(self._order.volume_id or "")
                return None
        except Gone:
            return None
        except (ProviderError, SecretsError) as error:
            obstacle = error
        except TimeoutError:
            obstacle = self._silence("delete a volume", CALL_DEADLINE_S)
        self._note(obstacle)
        return obstacle

    async def _is_absent(self) -> bool:
        """Say whether the provider's list does without the volume; False, too, when it could not be read."""
        try:
            volumes = await self._list(self._client())
        except (ProviderError, SecretsError) as error:
            self._note(error)
            await self._crew.heard(self._order.provider, error)
            return False
        await self._crew.heard(self._order.provider, None)
        return all(volume.id != self._order.volume_id for volume in volumes) and self._is_same_account()

    # Both

    def _client(self) -> HasVolumes:
        client = self._crew.client(self._order.provider)
        if not isinstance(client, HasVolumes):
            raise NotSupported(f"{self._title} has no volumes.", provider=self._order.provider)
        return client

    async def _list(self, client: HasVolumes) -> list[Volume]:
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                return await client.list_volumes()
        except TimeoutError:
            raise self._silence("list volumes", LOOK_DEADLINE_S) from None

    def _is_same_account(self) -> bool:
        """Say whether an absence can be believed; a key that was changed may be of an account that never had the volume."""
        # As it is now: the user may have vouched for the key.
        order = volume_store.load_order(self._crew.store, self._order.id)
        present = self._crew.accounts.fingerprint(self._order.provider)
        if order is None or order.key_print in (None, present):
            return True
        provider = order.provider
        sentence = (
            f"The key of {self._title} has changed, and the new one, perhaps of another account, sees no such volume."
        )
        hint = f"Give back the first one, or say that both are of one account: gputui auth same-account {provider}"
        self._note(AuthError(sentence, provider=provider, hint=hint))
        return False

    def _silence(self, operation: str, after_s: float) -> Unreachable:
        sentence = f"{self._title} did not answer within {after_s:.0f} s when asked to {operation}."
        return Unreachable(sentence, provider=self._order.provider, operation=operation)

    def _note(self, error: GputuiError) -> None:
        """Keep what stands in the way where a view finds it."""
        told = self._told(error)
        if told["error"] != self._order.error:
            self._move(self._order.state, **told)

    def _move(self, to: VolumeOrderState, **changes: Any) -> None:
        check_volume_order_move(self._order.state, to)
        changes["state"] = to
        if to.is_final:
            changes["ended_at_ms"] = self._crew.clock.now_ms()
        with self._crew.store.write() as tx:
            if not volume_store.update_order(tx, self._order, changes):
                raise LostRace(f"Volume order {self._order.id} is no longer {self._order.state}.")
        self._order = replace(self._order, **changes)

    def _told(self, error: GputuiError) -> dict[str, Any]:
        """Return an error as it is kept, with the volume called as the user calls it."""
        return {"error": str(error).replace(self._order.label, self._order.name), "error_code": error.code}
