"""Order one machine for a placement: intent first, and never a blind second order.

The placement row is committed before the create call leaves. When the reply is lost the outcome is unknown: we look the
label up at the provider, adopt what is there, and give up the placement only when it is provably absent. A provider that
replays a create sent again with the same idempotency key gets the same one again; the others are only looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gputui.core import ledger
from gputui.core.crew import Crew
from gputui.core.journal import Entry
from gputui.core.runner.container import container_start
from gputui.core.whose import absence_counts
from gputui.model.errors import (
    AuthError,
    GputuiError,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    SecretsError,
    Unreachable,
    UsageError,
)
from gputui.model.states import PlacementState
from gputui.model.types import CreateRequest, JobKind, JobSpec, Machine, Placement
from gputui.model.units import format_usd
from gputui.providers.base import Provider, ResendsCreate
from gputui.providers.registry import Runs, provider_info, provider_title

CREATE_DEADLINE_S = 120.0
LOOK_DEADLINE_S = 45.0
CLEAN_RETRIES = 3
RESENDS = 5
ABSENT_SIGHTINGS = 3
ABSENT_GAP_S = 5.0
# How long after the last send a machine may take to appear in the provider's list.
ABSENT_GRACE_S = 45.0
SLOWEST_LOOK_S = 15.0

# Refusals that speak of the account or the request, not of the offer: other offers there would be refused the same way.
ACCOUNT_WIDE = frozenset({"auth", "not_funded", "rejected", "unreachable", "not_supported", "rate_limited"})


@dataclass(frozen=True, slots=True)
class Ordered:
    """The end of an order: the placement as it is now, and the machine when there is one."""

    placement: Placement
    machine: Machine | None


class Orderer:
    """Carries one placement from `intended` to `provisioning`, `refused` or `absent`."""

    def __init__(self, crew: Crew, spec: JobSpec, stop: asyncio.Event) -> None:
        self._crew = crew
        self._spec = spec
        self._stop = stop

    async def order(self, placement: Placement) -> Ordered:
        """Drive the order to its end from wherever a crash left it."""
        if placement.state is PlacementState.INTENDED:
            if self._stop.is_set():
                return Ordered(
                    self._end(placement, PlacementState.ABSENT, "stopped", "stopped before anything was ordered"), None
                )
            with self._crew.journal.entry() as entry:
                placement = entry.move_placement(
                    placement,
                    PlacementState.REQUESTING,
                    f"asking {provider_title(placement.provider)} for {placement.offer.gpu_count} × {placement.offer.gpu}",
                    requested_at_ms=entry.now_ms,
                    key_print=self._crew.accounts.fingerprint(placement.provider),
                )
            return await self._request(placement)
        if placement.state is PlacementState.REQUESTING:
            placement = self._unknown(placement, "the agent was interrupted while asking", None)
        return await self._find_out(placement, may_resend=True)

    async def _request(self, placement: Placement) -> Ordered:
        """Send the order; a failure that certainly left nothing behind may be tried again a few times."""
        for attempt in range(CLEAN_RETRIES):
            try:
                machine = await self._create(placement, resend=attempt > 0)
            except (ProviderError, SecretsError) as error:
                if isinstance(error, ProviderError) and error.may_exist:
                    placement = self._unknown(placement, str(error), error)
                    return await self._find_out(placement, may_resend=True)
                wait_s = clean_retry_wait(error, attempt)
                if wait_s is None or self._stop.is_set():
                    return Ordered(self._refused(placement, error), None)
                self._crew.journal.note(placement.job_id, f"trying again: {error}", placement_id=placement.id)
                await asyncio.sleep(wait_s)
            else:
                return self._accepted(placement, machine, "ordered")
        raise AssertionError("the last attempt always returns")  # pragma: no cover

    async def _create(self, placement: Placement, *, resend: bool) -> Machine:
        env: Mapping[str, str] = self._spec.env
        argv: tuple[str, ...] = ()
        if provider_info(placement.provider).runs is Runs.POD and self._spec.kind is JobKind.BATCH:
            try:
                start = container_start(
                    self._spec,
                    placement,
                    lease_s=self._crew.config.agent.lease_s,
                    end_calls=self._crew.end_calls(placement.provider),
                )
            except UsageError as error:
                raise Rejected(error.message, provider=placement.provider, field=error.field) from None
            argv, env = start.argv, {**env, **start.env}
        request = CreateRequest(
            offer=placement.offer,
            label=placement.label,
            idempotency_key=placement.idempotency_key,
            ssh_public_key=self._crew.ssh_public_key(),
            image=self._spec.image,
            os_image=self._spec.os_image or self._crew.config.jobs.default_os_image,
            command=self._spec.command,
            argv=argv,
            env=env,
            disk_gib=self._spec.disk_gib,
            nonce=placement.nonce,
            max_duration_s=self._spec.max_duration_s,
            resend=resend,
            volumes=placement.volumes,
        )
        try:
            async with asyncio.timeout(CREATE_DEADLINE_S):
                return await self._crew.client(placement.provider).create(request)
        except TimeoutError:
            raise Unreachable(
                f"{provider_title(placement.provider)} did not answer the order within {CREATE_DEADLINE_S:.0f} s.",
                provider=placement.provider,
                operation="create",
                sent=True,
            ) from None

    async def _find_out(self, placement: Placement, *, may_resend: bool) -> Ordered:
        """Look until the machine is found, or provably not there. Never ends on a mere failure to look."""
        loop = asyncio.get_running_loop()
        last_sent = loop.time()
        resends = sightings = 0
        pause_s = 1.0
        refusal: GputuiError | None = None
        while True:
            try:
                client = self._crew.client(placement.provider)
                machine = await self._look(client, placement)
            except (ProviderError, SecretsError, TimeoutError) as error:
                sightings = 0
                await self._crew.heard(placement.provider, error)
                self._say_once(placement, f"cannot look for the machine: {error or 'no answer in time'}")
            else:
                if machine is not None:
                    return self._accepted(placement, machine, "found at the provider by its label")
                if not await absence_counts(self._crew, placement.id):
                    sightings, pause_s = 0, SLOWEST_LOOK_S
                    await asyncio.sleep(pause_s)
                    continue
                resend = may_resend and resends < RESENDS and _is_idempotent(client) and not self._stop.is_set()
                if resend and refusal is None:
                    resends += 1
                    last_sent, sightings = loop.time(), 0
                    try:
                        machine = await self._create(placement, resend=True)
                    except (ProviderError, SecretsError) as error:
                        if not (isinstance(error, ProviderError) and error.may_exist):
                            refusal = error
                        self._say_once(placement, f"asked again with the same key: {error}")
                    else:
                        return self._accepted(placement, machine, "answered when asked again with the same key")
                elif loop.time() - last_sent >= ABSENT_GRACE_S:
                    sightings += 1
                    if sightings >= ABSENT_SIGHTINGS:
                        return Ordered(self._absent(placement, refusal), None)
                    pause_s = ABSENT_GAP_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.6, SLOWEST_LOOK_S)

    async def _look(self, client: Provider, placement: Placement) -> Machine | None:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            machines = await client.list_machines()
        return next((machine for machine in machines if machine.label == placement.label), None)

    def _accepted(self, placement: Placement, machine: Machine, why: str) -> Ordered:
        listed = placement.offer.price_micro_usd_per_hour
        rate = machine.price_micro_usd_per_hour or listed  # one that is off may be said to cost nothing
        was_asked = placement.state is PlacementState.REQUESTING
        with self._crew.journal.entry() as entry:
            placement = entry.move_placement(
                placement,
                PlacementState.PROVISIONING,
                f"{why}: {provider_title(placement.provider)} machine {machine.id} at {format_usd(rate, places=4)} $/h",
                facts={"machine_id": machine.id, "provider_state": machine.raw_state},
                machine_id=machine.id,
                agreed_price_micro_usd_per_hour=rate,
                accepted_at_ms=entry.now_ms,
            )
            ledger.open_intervals(
                entry.tx,
                placement,
                self._crew.billing(placement.provider),
                machine,
                price=rate,
                price_before=0 if was_asked else listed,
                start_earliest_ms=placement.requested_at_ms or placement.created_at_ms,
                now_ms=entry.now_ms,
            )
        return Ordered(placement, machine)

    def _unknown(self, placement: Placement, why: str, error: ProviderError | None) -> Placement:
        with self._crew.journal.entry() as entry:
            return entry.move_placement(
                placement,
                PlacementState.OUTCOME_UNKNOWN,
                f"a machine may or may not exist: {why}",
                facts=error.facts() if error else None,
            )

    def _refused(self, placement: Placement, error: GputuiError) -> Placement:
        facts = error.facts() if isinstance(error, ProviderError) else {"code": error.code}
        return self._end(placement, PlacementState.REFUSED, error.code, str(error), facts)

    def _absent(self, placement: Placement, refusal: GputuiError | None) -> Placement:
        if refusal is not None:  # the same order again would have been answered with its machine, had there been one
            return self._end(placement, PlacementState.ABSENT, refusal.code, str(refusal))
        why = "the order got lost; the provider has no machine of that label"
        with self._crew.journal.entry() as entry:
            rule = self._crew.billing(placement.provider)
            ledger.book_lost_order(entry.tx, placement, rule, now_ms=entry.now_ms)
            return self._ended(entry, placement, PlacementState.ABSENT, "absent", why)

    def _end(
        self, placement: Placement, to: PlacementState, code: str, why: str, facts: dict[str, Any] | None = None
    ) -> Placement:
        with self._crew.journal.entry() as entry:
            return self._ended(entry, placement, to, code, why, facts)

    @staticmethod
    def _ended(
        entry: Entry,
        placement: Placement,
        to: PlacementState,
        code: str,
        why: str,
        facts: dict[str, Any] | None = None,
    ) -> Placement:
        return entry.move_placement(
            placement, to, why, facts=facts, reason_code=code, reason=why, gone_at_ms=entry.now_ms
        )

    def _say_once(self, placement: Placement, sentence: str) -> None:
        if sentence != getattr(self, "_last_said", None):
            self._last_said = sentence
            self._crew.journal.note(placement.job_id, sentence, placement_id=placement.id)


def _is_idempotent(client: Provider) -> bool:
    return isinstance(client, ResendsCreate) and client.create_is_idempotent


def clean_retry_wait(error: GputuiError, attempt: int) -> float | None:
    """Return how long to wait before sending an order again that certainly left nothing behind; None: don't."""
    if attempt >= CLEAN_RETRIES - 1 or isinstance(error, (NoCapacity, NotFunded, AuthError)):
        return None
    if isinstance(error, RateLimited):
        wait_s = 5.0 if error.retry_after_s is None else error.retry_after_s
        return wait_s if wait_s <= 120 else None
    if isinstance(error, Unreachable):
        return (2.0, 6.0)[attempt]
    return None
