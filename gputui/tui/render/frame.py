"""The header line and the red line under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from textual.content import Content

from gputui.core.accounts import Account
from gputui.core.agent_link import AgentCondition, AgentState
from gputui.core.reports import Burn
from gputui.model.units import MicroUsdPerHour, Ms, format_age
from gputui.store.alarms import Alarm, AlarmKind
from gputui.store.offers import ProviderStatus
from gputui.tui.render import money
from gputui.tui.render.text import join, plain, styled


@dataclass(frozen=True, slots=True)
class ProviderDot:
    """One provider in the header. `reason` is the sentence behind the glyph."""

    name: str
    title: str
    short: str
    glyph: str
    style: str
    reason: str


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What every screen's frame shows. `dots` is empty until the accounts are known; `lacks_agent` when jobs need one."""

    now_ms: Ms
    burn: Burn
    dots: Sequence[ProviderDot] = ()
    alert: str | None = None
    lacks_agent: bool = False


def provider_dot(account: Account, status: ProviderStatus | None, *, now_ms: Ms, max_age_s: float) -> ProviderDot:
    """Return how a provider is: fresh, stale, failing, without a key, or not asked yet."""
    glyph, style, reason = _condition(account, status, now_ms, max_age_s)
    return ProviderDot(account.info.name, account.label, account.info.short, glyph, style, reason)


def _condition(account: Account, status: ProviderStatus | None, now_ms: Ms, max_age_s: float) -> tuple[str, str, str]:
    if account.problem is not None:
        return "○", "$faint", plain(account.problem)
    if status is None or (status.last_ok_ms is None and status.error is None):
        return "·", "$muted", "not asked yet"
    if status.error is not None:
        return "✕", "$state-failed", plain(status.error)
    age_ms = now_ms - (status.last_ok_ms or 0)
    if age_ms > max_age_s * 1000:
        return "◐", "$state-waiting", f"stale: fetched {format_age(age_ms)} ago"
    return "●", "$state-running", f"fetched {format_age(age_ms)} ago"


def header(crumbs: Sequence[str], facts: FrameFacts | None, width: int) -> Content:
    """Return the header line in exactly `width` cells; what matters less gives way first when it is narrow."""
    left_side = join((" gputui", "bold"), *_crumbs(crumbs))
    if facts is None:
        return left_side
    burn = facts.burn
    live = join((f"● {burn.alive_jobs} live", "$state-running" if burn.alive_jobs else "$faint"))
    spending = styled(_spending(burn), "bold" if burn.rate_micro_usd_per_hour else "$muted")
    today = join((f"today {money.amount(burn.today.micro_usd)}", "$muted"))
    clock = styled(datetime.fromtimestamp(facts.now_ms / 1000, tz=UTC).strftime("%H:%MZ "), "$muted")
    dots = Content("  ").join([join((f"{dot.glyph} ", dot.style), (dot.short, "$muted")) for dot in facts.dots])
    for parts in (
        [live, spending, today, dots, clock],
        [live, spending, dots, clock],
        [live, spending, dots],
        [live, spending],
        [spending],
    ):
        right_side = Content("   ").join([part for part in parts if part])
        if parts[-1] is not clock:
            right_side = join(right_side, " ")
        gap = width - left_side.cell_length - right_side.cell_length
        if gap >= 2:
            return Content.assemble(left_side, " " * gap, right_side)
    return left_side.truncate(width, ellipsis=True)


def _spending(burn: Burn) -> str:
    if burn.alive_jobs and not burn.machines:
        return "no machine yet"
    return money.rate(burn.rate_micro_usd_per_hour)


def _crumbs(crumbs: Sequence[str]) -> Iterable[tuple[str, str]]:
    for position, crumb in enumerate(crumbs):
        yield " › ", "$faint"
        yield plain(crumb), "" if position == len(crumbs) - 1 else "$muted"


def alert(
    *,
    now_ms: Ms,
    alive_jobs: int,
    rate: MicroUsdPerHour,
    agent: AgentState | None,
    alarms: Sequence[Alarm],
) -> str | None:
    """Return the most urgent thing that needs the user, None when nothing does.

    `agent` is None where the agent lives in this very process.
    """
    costs = f" at {money.rate(rate)}" if rate else ""
    jobs = f"{alive_jobs} job{'s' if alive_jobs != 1 else ''}{costs}"
    for alarm in alarms:
        if alarm.kind is AlarmKind.UNGUARDED and agent is not None and agent.condition is AgentCondition.NONE:
            return f"{jobs} unguarded: no agent is watching. To start one, run: gputui agent run"
        if alarm.kind is AlarmKind.UNGUARDED and agent is not None:
            silent = format_age(now_ms - agent.beat_ms) if agent.beat_ms is not None else "a while"
            return f"{jobs}, and the agent (pid {agent.pid}) has been silent for {silent}. Run: gputui agent stop"
        costs = f" ({money.rate(alarm.rate_micro_usd_per_hour)})" if alarm.rate_micro_usd_per_hour else ""
        return f"{plain(alarm.message)}{costs} {plain(alarm.hint)}"
    return None
