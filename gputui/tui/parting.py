"""What is said on the terminal once the interface is closed: what goes on without it, and what that costs."""

from __future__ import annotations

from gputui.core.desk import Desk
from gputui.store.findings import FindingKind
from gputui.tui.render import money


def parting_words(desk: Desk) -> str:
    """Return what still costs money as far as is known here, a line for each, with what to type. Raises StoreError."""
    burn = desk.burn()
    lines = [f"{alarm.message} {alarm.hint}".rstrip() for alarm in desk.alarms()]
    if burn.alive_jobs:
        jobs = "1 job goes on" if burn.alive_jobs == 1 else f"{burn.alive_jobs} jobs go on"
        costs = f" at {money.rate(burn.rate_micro_usd_per_hour)}" if burn.machines else "; no machine yet"
        lines.append(f"{jobs}{costs}. To look: gputui jobs list")
    unused = [finding for finding in desk.findings() if finding.kind is FindingKind.VOLUME]
    if unused:
        volumes = "1 unused volume costs" if len(unused) == 1 else f"{len(unused)} unused volumes cost"
        month = sum(finding.price_micro_usd_per_month or 0 for finding in unused)
        cost = f"{money.amount(month)} a month" if month else "money"
        lines.append(f"{volumes} {cost}. To look: gputui volumes list")
    return "\n".join(lines or ["Nothing that gputui started is running."])
