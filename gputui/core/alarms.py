"""Alarms: what costs money and needs the user now, each with what it costs per hour and what to do."""

from __future__ import annotations

import logging
import shutil

from gputui.core.agent_link import AgentCondition, AgentState
from gputui.core.reports import Burn
from gputui.core.sweep import is_confirmed_lost
from gputui.local.config import Config
from gputui.local.paths import Paths
from gputui.model.clock import Clock
from gputui.model.errors import AuthError, GputuiError, StoreError, VaultLocked
from gputui.model.units import MicroUsdPerHour, Ms, format_age
from gputui.providers.registry import provider_title
from gputui.store import alarms as alarm_store
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import volumes as volume_store
from gputui.store import wishes as wish_store
from gputui.store.alarms import Alarm, AlarmKind
from gputui.store.db import Store
from gputui.store.findings import Finding

log = logging.getLogger("gputui.agent")

_OF_A_PROVIDER = frozenset({AlarmKind.KEY_REFUSED, AlarmKind.OTHER_ACCOUNT})
_URGENCY = {kind: place for place, kind in enumerate(AlarmKind)}


class AlarmBook:
    """Raises and ends the agent's alarms. Neither ever fails for a store that cannot be written; it is tried again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._open = {(alarm.kind, alarm.subject): alarm.message for alarm in alarm_store.load_open_alarms(store)}

    def sound(
        self,
        kind: AlarmKind,
        subject: str,
        message: str,
        hint: str,
        *,
        provider: str | None = None,
        job_id: str | None = None,
        rate: MicroUsdPerHour | None = None,
    ) -> bool:
        """Raise an alarm; False when it says the same already."""
        if self._open.get((kind, subject)) == message:
            return False
        alarm = Alarm(kind, subject, message, hint, self._clock.now_ms(), provider, job_id, rate)
        try:
            with self._store.write() as tx:
                alarm_store.keep_alarm(tx, alarm)
        except StoreError as error:
            log.error("%s %s (could not be kept: %s)", message, hint, error)
            return False
        log.error("%s %s", message, hint)
        self._open[kind, subject] = message
        return True

    def end(self, kind: AlarmKind, subject: str) -> None:
        """Say that it is over; nothing when it was not open."""
        if (kind, subject) not in self._open:
            return
        try:
            with self._store.write() as tx:
                alarm_store.end_alarm(tx, kind, subject, now_ms=self._clock.now_ms())
        except StoreError as error:
            log.error("could not end an alarm: %s", error)
            return
        del self._open[kind, subject]

    def heard(self, provider: str, error: GputuiError | TimeoutError | None) -> None:
        """Take in how a question about a machine was answered: a key that is refused is told, one that works ends that."""
        if error is None:
            self.end(AlarmKind.KEY_REFUSED, provider)
        elif isinstance(error, (AuthError, VaultLocked)):
            self.sound(
                AlarmKind.KEY_REFUSED,
                provider,
                f"{provider_title(provider)} does not take our key while something of ours may run there: {error.message}",
                f"Run: gputui auth login {provider}. What runs there goes on costing money.",
                provider=provider,
                rate=self.rate_at(provider),
            )

    def rate_at(self, provider: str) -> MicroUsdPerHour | None:
        """Return what our live machines at a provider cost per hour, None when that is not known."""
        live = job_store.load_live_placements(self._store)
        return sum(p.agreed_price_micro_usd_per_hour or 0 for p in live if p.provider == provider) or None


def free_disk_problem(paths: Paths, config: Config) -> str | None:
    """Return why nothing may be ordered for want of room on the disk, None when there is enough."""
    free_mb = shutil.disk_usage(paths.state_dir).free // 1_000_000
    if free_mb >= config.agent.min_free_mb:
        return None
    return f"Only {free_mb} MB are free in {paths.state_dir}; {config.agent.min_free_mb} are needed to keep logs and costs."


FREE_DISK_HINT = "Free some space, set GPUTUI_HOME to a larger disk, or lower agent.min_free_mb."


def current_alarms(
    store: Store, paths: Paths, config: Config, *, agent: AgentState | None, burn: Burn, now_ms: Ms
) -> list[Alarm]:
    """Return what needs the user now, most urgent first. `agent` is None where the agent is this very process."""
    alarms = [alarm for alarm in alarm_store.load_open_alarms(store) if _still_matters(store, alarm)]
    alarms += [_lost(finding) for finding in finding_store.load_open_findings(store) if is_confirmed_lost(finding)]
    if agent is not None and (unguarded := _unguarded(store, agent, burn, now_ms)):
        alarms.append(unguarded)
    if problem := free_disk_problem(paths, config):
        rate = burn.rate_micro_usd_per_hour or None
        alarms.append(Alarm(AlarmKind.DISK_FULL, "disk", problem, FREE_DISK_HINT, now_ms, rate_micro_usd_per_hour=rate))
    return sorted(alarms, key=lambda alarm: (_URGENCY[alarm.kind], -(alarm.rate_micro_usd_per_hour or 0)))


def _still_matters(store: Store, alarm: Alarm) -> bool:
    """A key is the user's own business again once nothing of ours is left at its provider."""
    if alarm.kind not in _OF_A_PROVIDER:
        return True
    live = [placement.provider for placement in job_store.load_live_placements(store)]
    live += [wish.provider for wish in wish_store.load_open_terminations(store)]
    live += [order.provider for order in volume_store.load_open_orders(store)]
    return alarm.provider in live


def _unguarded(store: Store, agent: AgentState, burn: Burn, now_ms: Ms) -> Alarm | None:
    wishes = len(wish_store.load_open_terminations(store))
    if agent.condition is AgentCondition.RUNNING or not (burn.alive_jobs or wishes):
        return None
    what = f"{burn.alive_jobs} job{'' if burn.alive_jobs == 1 else 's'}"
    message = f"{what} unguarded: no agent is watching."
    hint = "Run any command, or: gputui agent run"
    if agent.condition is AgentCondition.HUNG:
        silent = format_age(now_ms - agent.beat_ms) if agent.beat_ms is not None else "a while"
        message = f"{what} unguarded: the agent (pid {agent.pid}) has been silent for {silent}."
        hint = "Run: gputui agent stop"
    rate = burn.rate_micro_usd_per_hour or None
    return Alarm(AlarmKind.UNGUARDED, "agent", message, hint, now_ms, rate_micro_usd_per_hour=rate)


def _lost(finding: Finding) -> Alarm:
    return Alarm(
        AlarmKind.LOST,
        finding.id,
        f"{provider_title(finding.provider)} machine {finding.id} is ours and no job has it.",
        f"To end it, run: gputui machines terminate {finding.id}",
        finding.first_seen_ms,
        provider=finding.provider,
        rate_micro_usd_per_hour=finding.rate_micro_usd_per_hour,
    )
