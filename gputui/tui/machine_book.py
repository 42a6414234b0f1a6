"""Every machine that is alive in every account, with whose it is: what providers tell joined with what the store knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gputui.core.desk import Desk, MachineRow
from gputui.core.guards import Guard, guard_of
from gputui.core.reports import JobReport, report_job
from gputui.core.sweep import MACHINE_KINDS
from gputui.model.states import MachineState
from gputui.model.types import Machine
from gputui.model.units import MicroUsdPerHour
from gputui.store.findings import Finding, FindingKind
from gputui.store.wishes import Termination


class Whose(StrEnum):
    """Whose a machine is, what needs the user first. `ended`: its job is over and its end not seen yet."""

    LOST = "lost"
    UNRECORDED = "unrecorded"
    STOPPED = "stopped"
    JOB = "job"
    ENDED = "ended"
    OTHER_PROFILE = "other-profile"
    STRANGER = "stranger"

    @property
    def is_certainly_ours(self) -> bool:
        """False for what may be somebody else's work: such a machine is ended only after its id was typed."""
        return self not in (Whose.UNRECORDED, Whose.OTHER_PROFILE, Whose.STRANGER)


_URGENCY = {whose: place for place, whose in enumerate(Whose)}


@dataclass(frozen=True, slots=True)
class MachineView:
    """One machine. `report` is its job's; `is_old` when its provider does not answer now."""

    machine: Machine
    whose: Whose
    report: JobReport | None = None
    guard: Guard | None = None
    finding: Finding | None = None
    wish: Termination | None = None
    is_old: bool = False

    @property
    def key(self) -> str:
        return f"{self.machine.provider} {self.machine.id}"

    @property
    def is_being_ended(self) -> bool:
        if self.wish is not None and self.wish.gone_at_ms is None:
            return True
        return self.report is not None and self.report.job.stop_requested_at_ms is not None

    @property
    def name(self) -> str:
        """What a person knows it by: its job, else its label, else its id."""
        if self.report is not None:
            return self.report.job.name
        return self.machine.label or self.machine.id


def machine_views(desk: Desk, rows: Sequence[MachineRow], old: frozenset[str]) -> list[MachineView]:
    """Return the machines as they are now, what needs the user first; those proven gone since they were told are left out.

    `old` names the providers that do not answer now: of those, what sweeps found before is shown as well.
    """
    findings = {(found.provider, found.id): found for found in desk.findings() if found.kind in MACHINE_KINDS}
    views = [_view(desk, row, findings, row.machine.provider in old) for row in rows]
    known = {(view.machine.provider, view.machine.id) for view in views}
    views += [
        _view_of_finding(desk, found) for key, found in findings.items() if key not in known and found.provider in old
    ]
    alive = [view for view in views if view.wish is None or view.wish.gone_at_ms is None]
    return sorted(alive, key=lambda view: (_URGENCY[view.whose], view.machine.provider, view.machine.id))


def rate_in_all(views: Sequence[MachineView]) -> tuple[MicroUsdPerHour, int]:
    """Return what all machines cost per hour as far as it is told, and of how many it is not."""
    rates = [view.machine.present_rate_micro_usd_per_hour for view in views]
    return sum(rate for rate in rates if rate is not None), sum(rate is None for rate in rates)


def _view(desk: Desk, row: MachineRow, findings: Mapping[tuple[str, str], Finding], is_old: bool) -> MachineView:
    machine, placement = row.machine, row.placement
    finding = findings.get((machine.provider, machine.id))
    report = report_job(desk.store, placement.job_id, now_ms=desk.clock.now_ms()) if placement else None
    has_live_job = placement is not None and report is not None and not report.job.status.is_final
    guard = None
    if has_live_job and report is not None and placement is not None:
        guard = guard_of(report.job.spec, placement.provider, report.vitals)
    return MachineView(
        machine, _whose(row, finding, has_live_job), report, guard, finding, desk.termination(machine), is_old
    )


def _whose(row: MachineRow, finding: Finding | None, has_live_job: bool) -> Whose:
    """Return whose it is. A sweep knows best; before the first one, what the store knows of its id and label."""
    if finding is not None and not (has_live_job and finding.kind is FindingKind.UNRECORDED):
        return Whose(finding.kind.value)
    if row.placement is not None:
        return Whose.JOB if has_live_job else Whose.ENDED
    return Whose.UNRECORDED if row.is_ours else Whose.STRANGER


def _view_of_finding(desk: Desk, found: Finding) -> MachineView:
    machine = Machine(
        found.id,
        found.provider,
        MachineState.UNKNOWN,
        found.state or "",
        found.label,
        price_micro_usd_per_hour=found.rate_micro_usd_per_hour,
    )
    return MachineView(machine, Whose(found.kind.value), finding=found, wish=desk.termination(found), is_old=True)
