"""Look through every account for what no job accounts for: lost machines, strangers, forgotten volumes.

A provider that cannot be asked is told as such and what was found there before stays; it is never read as empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gputui.core.accounts import Accounts
from gputui.core.asking import ask_all
from gputui.model.clock import Clock
from gputui.model.errors import GputuiError
from gputui.model.ids import ULID_LENGTH
from gputui.model.states import MachineState
from gputui.model.types import Machine, Placement, Volume
from gputui.model.units import Ms
from gputui.providers.registry import PROVIDERS, client_class
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import volumes as volume_store
from gputui.store import wishes as wish_store
from gputui.store.db import Store
from gputui.store.findings import Finding, FindingKind

if TYPE_CHECKING:
    from gputui.model.ids import Ids

# Lists may lag behind what has just been ordered or ended: only what is seen twice, this far apart, is believed.
SIGHTING_GAP_S = 30.0
SIGHTINGS_NEEDED = 2

MACHINE_KINDS = frozenset(set(FindingKind) - {FindingKind.VOLUME})
_OUR_LABEL = re.compile(rf"gputui-(?P<profile>[a-z0-9-]+)-[0-9a-z]{{{ULID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Swept:
    """What is open after a sweep, of every provider, and why some could not be asked."""

    findings: list[Finding]
    problems: Mapping[str, GputuiError]


def is_confirmed_lost(finding: Finding) -> bool:
    """True for a machine that this profile made, that no job has, seen often enough not to be one on its way."""
    return finding.kind is FindingKind.LOST and finding.sightings >= SIGHTINGS_NEEDED


def may_be_lost(finding: Finding) -> bool:
    """True for one that was not seen often enough yet to say."""
    return finding.kind is FindingKind.LOST and not is_confirmed_lost(finding)


def to_look_through(store: Store, accounts: Accounts) -> list[str]:
    """Return every usable provider, and the others where something of ours may cost money: switched off, or without a key."""
    costly = {placement.provider for placement in job_store.load_live_placements(store)}
    costly |= {wish.provider for wish in wish_store.load_open_terminations(store)}
    costly |= {order.provider for order in volume_store.load_open_orders(store)}
    findings = finding_store.load_open_findings(store)
    costly |= {finding.provider for finding in findings if finding.kind is FindingKind.LOST}
    usable = accounts.usable()
    return [*usable, *sorted(costly.intersection(PROVIDERS).difference(usable))]


async def sweep(store: Store, accounts: Accounts, clock: Clock, *, profile: str) -> Swept:
    """Ask every usable account what is there and keep what was found. Never raises for a provider. Raises StoreError."""
    import asyncio  # a tenth of a second that views which only read the store do not pay

    names = to_look_through(store, accounts)
    with_volumes = [name for name in names if _has_volumes(name)]
    asked_ms = clock.now_ms()
    machines, volumes = await asyncio.gather(
        ask_all(accounts, names, lambda client: client.list_machines()),
        ask_all(accounts, with_volumes, lambda client: client.list_volumes()),
    )
    now_ms = clock.now_ms()
    gap_ms = round(SIGHTING_GAP_S * 1000)
    problems = {**volumes.problems, **machines.problems}
    with store.write() as tx:
        for name in names:
            if name in machines.answers:
                seen = [
                    _machine_finding(store, profile, machine, asked_ms, now_ms) for machine in machines.answers[name]
                ]
                found = [finding for finding in seen if finding is not None]
                finding_store.keep_findings(tx, name, MACHINE_KINDS, found, now_ms=now_ms, gap_ms=gap_ms)
            if name in volumes.answers:
                forgotten = _volume_findings(store, name, volumes.answers[name], now_ms)
                finding_store.keep_findings(tx, name, {FindingKind.VOLUME}, forgotten, now_ms=now_ms, gap_ms=gap_ms)
            error = problems.get(name)
            finding_store.note_swept(tx, name, now_ms=now_ms, error=str(error) if error else None)
    return Swept(finding_store.load_open_findings(store), problems)


def wish_lost_gone(store: Store, accounts: Accounts, clock: Clock, ids: Ids) -> list[Finding]:
    """Wish that every machine confirmed as lost be gone, and return them; the agent carries it out."""
    lost = [finding for finding in finding_store.load_open_findings(store) if is_confirmed_lost(finding)]
    prints = accounts.fingerprints() if lost else {}
    if lost:
        with store.write() as tx:
            for finding in lost:
                wish_store.wish_termination(
                    tx,
                    wish_id=ids.ulid(),
                    provider=finding.provider,
                    machine_id=finding.id,
                    label=finding.label,
                    now_ms=clock.now_ms(),
                    key_print=prints.get(finding.provider),
                )
    return lost


def _machine_finding(store: Store, profile: str, machine: Machine, asked_ms: Ms, now_ms: Ms) -> Finding | None:
    """Return what is to be said of a machine that exists, None when a job accounts for it."""
    if machine.state.is_gone:
        return None
    kind = kind_of(store, profile, machine, asked_ms)
    if kind is None:
        return None
    return Finding(
        kind=kind,
        provider=machine.provider,
        id=machine.id,
        label=machine.label,
        state=machine.raw_state,
        sightings=1,
        first_seen_ms=now_ms,
        last_seen_ms=now_ms,
        rate_micro_usd_per_hour=machine.present_rate_micro_usd_per_hour,
    )


def kind_of(store: Store, profile: str, machine: Machine, asked_ms: Ms) -> FindingKind | None:
    """Return what a machine is that was listed after `asked_ms`; None for one that a job accounts for."""
    placement = placement_of(store, machine)
    if placement is None:
        ours = _OUR_LABEL.fullmatch(machine.label or "")
        if ours is None:
            return FindingKind.STRANGER
        return FindingKind.UNRECORDED if ours["profile"] == profile else FindingKind.OTHER_PROFILE
    if placement.state.is_final:
        # One that ended while the list was on its way may still stand on it.
        ended_since = placement.gone_at_ms is not None and placement.gone_at_ms >= asked_ms
        return None if ended_since else FindingKind.LOST
    if _is_a_twin(placement, machine):
        return FindingKind.LOST
    is_billed = machine.present_rate_micro_usd_per_hour != 0
    return FindingKind.STOPPED if machine.state is MachineState.STOPPED and is_billed else None


def placement_of(store: Store, machine: Machine) -> Placement | None:
    """Return the placement that has a machine, else the one that it was made for."""
    by_id = job_store.load_placements_by_machine(store, machine.provider).get(machine.id)
    if by_id is not None and not by_id.state.is_final:
        return by_id
    # A provider may cut or change a label; the id that it gave the machine stays.
    return job_store.load_placement_by_label(store, machine.label or "") or by_id


def _is_a_twin(placement: Placement, machine: Machine) -> bool:
    """True for a second machine of one order: the job has the other one."""
    return placement.machine_id is not None and placement.machine_id != machine.id


def _volume_findings(store: Store, provider: str, volumes: list[Volume], now_ms: Ms) -> list[Finding]:
    """Return the volumes that are attached to nothing, wanted by no live job, and ours or not free."""
    ours = volume_store.load_made(store, provider)
    live = [placement for placement in job_store.load_live_placements(store) if placement.provider == provider]
    wanted = {volume.id for placement in live for volume in placement.volumes}
    # A machine's own disk is a volume too at some providers, and not attached yet while the machine is being made.
    labels = tuple(placement.label for placement in live)
    return [
        Finding(
            kind=FindingKind.VOLUME,
            provider=provider,
            id=volume.id,
            label=volume.name,
            state=volume.raw_state,
            sightings=1,
            first_seen_ms=now_ms,
            last_seen_ms=now_ms,
            price_micro_usd_per_month=volume.price_micro_usd_per_month,
        )
        for volume in volumes
        if not volume.attached_to
        and volume.id not in wanted
        and not volume.name.startswith(labels)
        and (volume.id in ours or volume.price_micro_usd_per_month != 0)
    ]


def _has_volumes(name: str) -> bool:
    from gputui.providers.base import capabilities_of

    return capabilities_of(client_class(name))["volumes"]
