"""One simulated machine: a record from which its state and its bill follow at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gputui.sim import billing
from gputui.sim.billing import BillingTerms
from gputui.sim.catalogue import InstanceType
from gputui.sim.lives import ENDED, Life


@dataclass(slots=True)
class SimMachine:
    """A machine as its provider knows it.

    `timeline` holds (from when, state) in order of time and reaches into the future: what is planned happens unless an
    action cuts it. `prices` holds (from when, dollars per hour) alike. `details` is the provider's own, for its answers.
    `ssh_delay_ms` is how long after each start its sshd answers, None when never. `units` is how much of its type's capacity
    it takes. `extras` holds (when, dollars) of what it costs once, beside its price (for traffic, say).
    Until `hidden_until_ms` no answer shows it.
    `environ` are the variables that the provider puts into it, with a key for itself alone perhaps.
    """

    id: str
    provider: str
    account_id: str
    label: str
    instance: InstanceType
    region: str
    created_ms: int
    terms: BillingTerms
    prices: list[tuple[int, Decimal]]
    timeline: list[tuple[int, Life]]
    ip: str
    ssh_port: int | None = None
    ssh_delay_ms: int | None = 0
    authorized_keys: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    vanishes_ms: int | None = None
    hidden_until_ms: int = 0
    billing_stop_ms: int | None = None
    units: int = 1
    extras: list[tuple[int, Decimal]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def life(self, now_ms: int) -> Life:
        """Return its state at a moment (ORDERED before it was ordered)."""
        return ([life for at, life in self.timeline if at <= now_ms] or [Life.ORDERED])[-1]

    def since_ms(self, now_ms: int) -> int:
        """Return when it entered the state it has at a moment."""
        return ([at for at, _ in self.timeline if at <= now_ms] or [self.created_ms])[-1]

    def running_ms(self, now_ms: int) -> int | None:
        """Return when it first ran, None when it has not."""
        return next((at for at, life in self.timeline if life is Life.RUNNING and at <= now_ms), None)

    def ended_ms(self, now_ms: int) -> int | None:
        """Return when it ceased to exist, None while it exists."""
        return next((at for at, life in self.timeline if life in ENDED and at <= now_ms), None)

    def is_alive(self, now_ms: int) -> bool:
        """Say whether it exists at the provider, in whatever state."""
        return self.ended_ms(now_ms) is None

    def holds_capacity(self, now_ms: int) -> bool:
        """Say whether its hardware is kept from others."""
        return self.is_alive(now_ms) and self.life(now_ms) is not Life.RELEASED

    def is_vanished(self, now_ms: int) -> bool:
        """Say whether it disappeared without a trace."""
        return self.vanishes_ms is not None and self.vanishes_ms <= now_ms

    def answers_ssh(self, now_ms: int) -> bool:
        """Say whether its sshd accepts a login."""
        if self.ssh_delay_ms is None or self.life(now_ms) is not Life.RUNNING:
            return False
        return now_ms >= self.since_ms(now_ms) + self.ssh_delay_ms

    def price_usd(self, now_ms: int) -> Decimal:
        """Return its own price, dollars per hour."""
        return ([price for at, price in self.prices if at <= now_ms] or [self.prices[0][1]])[-1]

    def billing_started_ms(self, now_ms: int) -> int | None:
        """Return when its billing began, None when it has not."""
        return billing.billing_start_ms(self.timeline, self.terms, self._billed_until_ms(now_ms))

    def billing_stopped_ms(self, now_ms: int) -> int | None:
        """Return when its billing stopped, None while it goes on."""
        stops = [at for at in (self.billing_stop_ms, self.ended_ms(now_ms)) if at is not None and at <= now_ms]
        return min(stops, default=None)

    def bill_usd(self, now_ms: int) -> Decimal:
        """Return the dollars it truly costs up to a moment: what would be owed were it deleted then."""
        until_ms = self._billed_until_ms(now_ms)
        bill = billing.bill_usd(self.timeline, self.prices, self.terms, until_ms=until_ms)
        return bill + self._extras_usd(until_ms)

    def at_most_usd(self, now_ms: int) -> Decimal:
        """Return what its bill up to a moment cannot be more than, quickly."""
        terms = self.terms
        top = max(
            max(price for _, price in self.prices), terms.released_usd_per_hour, terms.idle_usd_per_hour or Decimal(0)
        )
        longest_ms = max(now_ms - self.created_ms, terms.minimum_s * 1000) + terms.granularity_s * 1000
        return top * longest_ms / 3_600_000 + self._extras_usd(now_ms)

    def settled_usd(self, now_ms: int) -> Decimal:
        """Return the dollars already drawn from its account."""
        settled = billing.settled_usd(
            self.timeline, self.prices, self.terms, now_ms=now_ms, stopped_ms=self.billing_stopped_ms(now_ms)
        )
        return settled + self._extras_usd(self._billed_until_ms(now_ms))

    def next_tick_ms(self, after_ms: int, until_ms: int) -> int | None:
        """Return the first billing tick in (after_ms, until_ms], None when there is none."""
        start_ms = billing.billing_start_ms(self.timeline, self.terms, until_ms)
        if start_ms is None:
            return None
        tick_ms = self.terms.tick_s * 1000
        ticks = max(1, (after_ms - start_ms) // tick_ms + 1)
        at_ms = start_ms + ticks * tick_ms
        stopped_ms = self.billing_stopped_ms(until_ms)
        return at_ms if at_ms <= until_ms and (stopped_ms is None or at_ms <= stopped_ms) else None

    def replan(self, now_ms: int, *steps: tuple[int, Life]) -> None:
        """Drop what was planned after a moment and plan these steps instead."""
        self.timeline = [(at, life) for at, life in self.timeline if at <= now_ms] + list(steps)
        if self.vanishes_ms is not None and self.vanishes_ms > now_ms:
            self.vanishes_ms = None

    def _extras_usd(self, until_ms: int) -> Decimal:
        return sum((usd for at, usd in self.extras if at <= until_ms), Decimal(0))

    def _billed_until_ms(self, now_ms: int) -> int:
        stopped_ms = self.billing_stopped_ms(now_ms)
        return now_ms if stopped_ms is None else stopped_ms
