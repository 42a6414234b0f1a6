"""What the frame shows, read from the store."""

from __future__ import annotations

from collections.abc import Sequence

from gputui.core.accounts import Account
from gputui.core.agent_link import AgentCondition
from gputui.core.desk import Desk
from gputui.store.alarms import AlarmKind
from gputui.tui.render.frame import FrameFacts, alert, provider_dot


def load_frame_facts(desk: Desk, accounts: Sequence[Account]) -> FrameFacts:
    """Return the header's figures and the alert as they are now. Raises StoreError."""
    now_ms = desk.clock.now_ms()
    statuses = desk.provider_statuses()
    burn = desk.burn()
    max_age_s = desk.config.offers.max_age_s
    agent = None if desk.agent_is_here else desk.agent_state()
    alarms = desk.alarms()
    return FrameFacts(
        now_ms=now_ms,
        burn=burn,
        dots=tuple(
            provider_dot(account, statuses.get(account.info.name), now_ms=now_ms, max_age_s=max_age_s)
            for account in accounts
        ),
        alert=alert(
            now_ms=now_ms,
            alive_jobs=burn.alive_jobs,
            rate=burn.rate_micro_usd_per_hour,
            agent=agent,
            alarms=alarms,
        ),
        lacks_agent=agent is not None
        and agent.condition is AgentCondition.NONE
        and any(alarm.kind is AlarmKind.UNGUARDED for alarm in alarms),
    )
