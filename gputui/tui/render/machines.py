"""Machines for people: whose each is, what it costs, who ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from gputui.core.sweep import may_be_lost
from gputui.model.states import MachineState
from gputui.model.units import Ms, format_age
from gputui.tui.machine_book import MachineView, Whose, rate_in_all
from gputui.tui.render import money
from gputui.tui.render.columns import Column
from gputui.tui.render.states import Badge
from gputui.tui.render.text import UNKNOWN, join, plain, rule, styled

_LABEL = 10

_WHOSE: dict[Whose, Badge] = {
    Whose.LOST: Badge("▲", "LOST", "$state-failed bold"),
    Whose.UNRECORDED: Badge("▲", "unknown", "$state-waiting"),
    Whose.STOPPED: Badge("■", "stopped", "$state-waiting"),
    Whose.JOB: Badge("●", "ours", "$state-running"),
    Whose.ENDED: Badge("◌", "job over", "$state-waiting"),
    Whose.OTHER_PROFILE: Badge("○", "profile", "$muted"),
    Whose.STRANGER: Badge("○", "stranger", "$muted"),
}
_SENTENCES: dict[Whose, str] = {
    Whose.LOST: "LOST: ours, and no job has it. It costs money until it is ended.",
    Whose.UNRECORDED: "Its label is of this profile, but nothing here knows it: perhaps it is yours, from another computer.",
    Whose.STOPPED: "Ours: its job's machine is switched off and goes on costing money.",
    Whose.JOB: "Ours: a job has it.",
    Whose.ENDED: "Ours: its job is over. When it stays, a sweep calls it lost.",
    Whose.OTHER_PROFILE: "Of another profile of gputui. It is left alone.",
    Whose.STRANGER: "Not made by gputui. It is left alone.",
}
_STATES: dict[MachineState, str] = {
    MachineState.RUNNING: "$state-running",
    MachineState.PENDING: "$state-waiting",
    MachineState.STOPPED: "$state-stopped",
    MachineState.DELETING: "$state-waiting",
    MachineState.ERROR: "$state-failed",
}


def columns(title: Callable[[str], str], now_ms: Ms) -> list[Column[MachineView]]:
    """Return the columns of the list of machines."""
    return [
        Column("machine", 17, 0, lambda view: (view.name, ""), grows=True),
        Column("whose", 12, 0, _whose),
        Column("provider", 12, 1, lambda view: (title(view.machine.provider), "")),
        Column("GPU", 16, 3, lambda view: (_gpu(view), "")),
        Column("state", 12, 2, _state),
        Column("region", 13, 6, lambda view: (view.machine.region or UNKNOWN, "$muted")),
        Column("$/h", 9, 1, _rate, is_right=True),
        Column("age", 9, 5, lambda view: (_age(view, now_ms), "$muted"), is_right=True),
        Column("guard", 12, 4, lambda view: (view.guard.word if view.guard else UNKNOWN, "$muted")),
    ]


def badge_of(view: MachineView) -> Badge:
    return _WHOSE[view.whose]


def _whose(view: MachineView) -> tuple[str, str]:
    badge = badge_of(view)
    return f"{badge.glyph} {badge.word}", badge.style


def _gpu(view: MachineView) -> str:
    machine = view.machine
    if machine.gpu is None:
        return UNKNOWN
    return machine.gpu if machine.gpu_count in (None, 1) else f"{machine.gpu_count}×{machine.gpu}"


def _state(view: MachineView) -> tuple[str, str]:
    if view.is_being_ended:
        return "◌ ending", "$state-waiting"
    state = view.machine.state
    if state is MachineState.UNKNOWN:
        return (f"? {view.machine.raw_state}" if view.machine.raw_state else UNKNOWN), "$muted"
    return state.value, _STATES.get(state, "$muted")


def _rate(view: MachineView) -> tuple[str, str]:
    rate = view.machine.present_rate_micro_usd_per_hour
    return money.price(rate), "$faint" if rate is None else "bold"


def _age(view: MachineView, now_ms: Ms) -> str:
    since_ms = view.machine.created_at_ms or view.machine.started_at_ms
    if since_ms is None and view.report is not None and view.report.placement is not None:
        since_ms = view.report.placement.created_at_ms
    return UNKNOWN if since_ms is None else format_age(now_ms - since_ms)


def summary(views: Sequence[MachineView]) -> Content:
    """Return what all of them cost together, and how many need the user."""
    rate, unknown = rate_in_all(views)
    parts = [lost] if (lost := lost_count(views)) else []
    if views:
        more = f" and {unknown} of unknown price" if unknown else ""
        parts.append(join((money.rate(rate), "bold"), (f" in all{more}", "$muted")))
    return Content("   ").join(parts)


def lost_count(views: Sequence[MachineView]) -> Content:
    """Return how many are lost, empty when none is."""
    lost = sum(view.whose is Whose.LOST for view in views)
    return styled(f"▲ {lost} lost", "$state-failed bold") if lost else Content("")


def detail(view: MachineView, *, now_ms: Ms, width: int, title: Callable[[str], str]) -> Content:
    """Return what is known of the machine under the cursor."""
    machine, badge = view.machine, badge_of(view)
    head = join((plain(view.name[:400]), "bold"), (" on ", "$muted"), (title(machine.provider), "bold"))
    lines = [rule(head, width, right_title=join((f"{badge.glyph} {badge.word}", badge.style)))]
    sentence = _SENTENCES[view.whose]
    if view.whose is Whose.JOB and view.report is not None:
        sentence = f"Ours: job {plain(view.report.job.name)} has it, {plain(view.report.job.phase)}."
    if view.finding is not None and may_be_lost(view.finding):
        sentence = "Ours, and no job has it. Seen once so far: a second look in half a minute makes it certain."
    lines.append(_fact("whose", sentence, badge.style.replace(" bold", "") if view.whose is Whose.LOST else ""))
    label = f"   {plain(machine.label[:400])}" if machine.label and machine.label != view.name else ""
    lines.append(_fact("machine", f"{plain(machine.id[:400])}{label}"))
    address = f"{plain(machine.ssh_user, unknown='root')}@{plain(machine.ip)}:{machine.ssh_port or 22}"
    state = f"{machine.state.value}, in the provider's word “{plain(machine.raw_state[:100])}”"
    lines.append(_fact("state", state + (f"   {address}" if machine.ip else "")))
    if view.guard is not None:
        why = f": {view.guard.why}" if view.guard.why else ": it ends itself where nobody watches it"
        lines.append(_fact("guard", f"{view.guard.word}{why}"))
    if view.finding is not None:
        seen = "once" if view.finding.sightings == 1 else f"{view.finding.sightings} times"
        lines.append(_fact("swept", f"seen {seen}, first {format_age(now_ms - view.finding.first_seen_ms)} ago"))
    if (wish := view.wish) is not None:
        said = f": {plain(wish.last_error[:400])}" if wish.last_error else ""
        asked = f"asked for {format_age(now_ms - wish.requested_at_ms)} ago, {wish.attempts} attempts{said}"
        lines.append(_fact("end", asked, "$state-waiting"))
    return Content("\n").join([line.truncate(width, ellipsis=True) for line in lines])


def _fact(label: str, value: str, style: str = "") -> Content:
    return join((f"   {label:<{_LABEL}}", "$muted"), (value, style))
