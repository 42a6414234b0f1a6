"""Random lives of a machine: the true bill lies inside what the ledger says, and that is no vaguer than what went unseen.

A life is ordered, boots, runs, is perhaps off for a while, may change its price, and ends. It is looked at now and then, each
look taking a while, in the middle of which the answer is true. Between two looks there is one change at most, and none follows
while the answer that tells of one is on its way: what comes and goes unseen nobody can know. The bill is reckoned here anew, in
fractions, from what truly happened.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from gputui.core import ledger
from gputui.core.metering import cost_of
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import BillingRule, BillingStart, Job, JobSpec, Machine, Offer, Placement
from gputui.store import db
from gputui.store import jobs as job_store
from gputui.store import usage as usage_store
from gputui.store.db import Store, open_store

LIVES = 300
LISTED = 3_600_000
HOUR_MS = 3_600_000
PENDING, RUNNING, STOPPED = MachineState.PENDING, MachineState.RUNNING, MachineState.STOPPED


@dataclass(frozen=True)
class Spell:
    """What a machine is from a moment on: its price, and what of it is truly billed in this state."""

    from_ms: int
    state: MachineState
    price: int
    billed: int


@dataclass(frozen=True)
class Look:
    """A question that left, was true, and was answered at these moments."""

    asked_ms: int
    true_ms: int
    answered_ms: int


class Life:
    """One machine's life, drawn by a seed. `ended_ms` lies between the last look and the proof that it is gone."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        start = dice.choice(list(BillingStart))
        granularity_s = dice.choice([1, 1, 60])
        self.rule = BillingRule(granularity_s=granularity_s, minimum_s=0, starts=start, source="test")
        self.tells_what_is_billed = start is BillingStart.BY_STATE
        self.price_told_from = 0 if self.tells_what_is_billed else dice.choice([0, 0, 1, 2])
        accepted_ms = self._while_ms(60)
        self.looks = [Look(accepted_ms, accepted_ms, accepted_ms)]
        while len(self.looks) < 3 or dice.random() < 0.85:
            self.looks.append(self._look(after_ms=self.looks[-1].answered_ms))
        last = self.looks[-1]
        self.gone_ms = last.answered_ms + self._while_ms(90)
        self.spells, has_changed = self._spells()
        certain_ms = last.answered_ms if has_changed else last.true_ms
        self.ended_ms = self._between(certain_ms, self.gone_ms)
        state, price = self.spells[-1].state, self.spells[-1].price
        if state is not PENDING and certain_ms < self.ended_ms and dice.random() < 0.3:
            state = STOPPED if state is RUNNING else RUNNING
            self.spells.append(self._spell(self._between(certain_ms + 1, self.ended_ms), state, price))

    def _while_ms(self, seconds: int) -> int:
        return self.dice.choice([0, self.dice.randrange(seconds * 1000), self.dice.randrange(20 * seconds * 1000)])

    def _between(self, first_ms: int, last_ms: int) -> int:
        """Return a moment: the first, the last, or any in between."""
        return self.dice.choice([first_ms, last_ms, self.dice.randint(first_ms, last_ms)])

    def _look(self, *, after_ms: int) -> Look:
        asked_ms = after_ms + self._while_ms(120)
        true_ms = asked_ms + self.dice.choice([0, self.dice.randrange(15_000)])
        return Look(asked_ms, true_ms, true_ms + self.dice.choice([0, self.dice.randrange(15_000)]))

    def _spells(self) -> tuple[list[Spell], bool]:
        """Return what it was until the last look, and whether that one told of a change."""
        price, state = LISTED * self.dice.randint(5, 10) // 10, PENDING
        spells = [self._spell(0, state, price)]
        has_changed = False
        for place, (before, after) in enumerate(pairwise(self.looks), start=1):
            changes = ["", "", "", "state"]
            if place > self.price_told_from:
                changes += ["price", "state and price"]
            first_ms = (before.answered_ms if has_changed else before.true_ms) + 1
            change = self.dice.choice(changes) if first_ms <= after.true_ms else ""
            has_changed = change != "" or (place == 1 and self.tells_what_is_billed)
            if "price" in change:
                price = LISTED * self.dice.randint(1, 20) // 10
            if "state" in change:
                state = STOPPED if state is RUNNING else RUNNING
            if change:
                spells.append(self._spell(self._between(first_ms, after.true_ms), state, price))
        return spells, has_changed

    def _spell(self, from_ms: int, state: MachineState, price: int) -> Spell:
        if self.tells_what_is_billed:
            return Spell(from_ms, state, price, price if state is RUNNING else price // 20)
        return Spell(from_ms, state, price, price if state is not STOPPED else self.dice.choice([0, price]))

    def spell_at(self, at_ms: int) -> Spell:
        return [spell for spell in self.spells if spell.from_ms <= at_ms][-1]

    def machine_at(self, place: int) -> Machine:
        """Return what the provider says of the machine at a look."""
        spell = self.spell_at(self.looks[place].true_ms)
        billed = (spell.billed if place else 0, spell.billed) if self.tells_what_is_billed else None
        price = spell.price if place >= self.price_told_from else None
        return Machine("m", "p", spell.state, "", price_micro_usd_per_hour=price, billed_micro_usd_per_hour=billed)

    @property
    def ran_from_ms(self) -> int | None:
        return next((spell.from_ms for spell in self.spells if spell.state is RUNNING), None)

    def bills(self) -> Iterator[Fraction]:
        """Yield what the machine may truly have cost: where the rule leaves its start open, from either moment."""
        starts = {BillingStart.RUNNING: [self.ran_from_ms], BillingStart.BY_STATE: [0]}.get(
            self.rule.starts, [0, self.ran_from_ms]
        )
        for start_ms in starts:
            yield Fraction(0) if start_ms is None else self._bill(start_ms)

    def _bill(self, start_ms: int) -> Fraction:
        edges = [*(spell.from_ms for spell in self.spells), self.ended_ms]
        cost = sum(
            (
                Fraction(spell.billed * max(0, end_ms - max(start_ms, spell.from_ms)), HOUR_MS)
                for spell, end_ms in zip(self.spells, edges[1:], strict=True)
            ),
            Fraction(0),
        )
        unit_ms = self.rule.granularity_s * 1000
        started_ms = -max(0, self.ended_ms - start_ms) % unit_ms  # a started unit counts
        return cost + Fraction(self.spells[-1].billed * started_ms, HOUR_MS)

    def metered(self, store: Store, placement: Placement) -> tuple[int, int]:
        """Return the least and the most that the ledger makes of it."""
        now_ms, found = self.looks[0].answered_ms, self.machine_at(0)
        agreed = found.price_micro_usd_per_hour or LISTED
        with store.write() as tx:
            ledger.open_intervals(tx, placement, self.rule, found, price=agreed, start_earliest_ms=0, now_ms=now_ms)
        for place, look in enumerate(self.looks[1:], start=1):
            ledger.observe(
                store,
                placement,
                self.rule,
                self.machine_at(place),
                asked_ms=look.asked_ms,
                answered_ms=look.answered_ms,
            )
        intervals = usage_store.load_open_intervals(store, placement.id)
        with store.write() as tx:
            ledger.close_intervals(
                tx,
                intervals,
                price=self.spells[-1].price,
                end_earliest_ms=self.looks[-1].asked_ms,
                end_latest_ms=self.gone_ms,
                reason="test",
            )
        cost = cost_of(usage_store.load_placement_intervals(store, placement.id), now_ms=self.gone_ms)
        return cost.micro_usd - cost.uncertainty_micro_usd, cost.micro_usd + cost.uncertainty_micro_usd

    def in_doubt_of_rounding(self) -> Fraction:
        """Return what it matters at which of its rates a started unit counts."""
        rates = [spell.billed for spell in self.spells]
        return Fraction((max(rates) - min(rates)) * self.rule.granularity_s, HOUR_MS // 1000)

    def widest(self) -> Fraction:
        """Return how wide the range may be: what lies between two looks with a change, at the difference that it made; a state
        that may be billed or not, the start and the end, at the whole price."""
        top = max(spell.price for spell in self.spells)
        seen = [self.spell_at(look.true_ms) for look in self.looks]
        wide = Fraction(0)
        for (before, after), (was, now) in zip(pairwise(self.looks), pairwise(seen), strict=True):
            gap_ms = after.answered_ms - before.asked_ms
            in_doubt = STOPPED in (was.state, now.state) and not self.tells_what_is_billed
            difference = top if in_doubt else abs(was.billed - now.billed)
            wide += Fraction(difference * gap_ms, HOUR_MS)
        runs = (look.answered_ms for look, spell in zip(self.looks, seen, strict=True) if spell.state is RUNNING)
        # Where the present rate is told, the first answer alone leaves it open.
        start_ms = self.looks[1].answered_ms if self.tells_what_is_billed else next(runs, self.gone_ms)
        ends_ms = self.gone_ms - self.looks[-1].asked_ms
        units_ms = 2 * self.rule.granularity_s * 1000 * (2 * len(self.spells) + 1)
        return wide + Fraction(top * (start_ms + ends_ms + units_ms), HOUR_MS)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(db, "SYNCHRONOUS", "OFF")
    opened = open_store(tmp_path / "gputui.db")
    job = Job(id="j", spec=JobSpec(gpu="H100"), status=JobStatus.PROVISIONING, phase="", created_at_ms=0, name="a job")
    with opened.write() as tx:
        job_store.insert_job(tx, job)
    yield opened
    opened.close()


def a_placement(store: Store, number: int) -> Placement:
    offer = Offer(id="o", provider="p", gpu="H100", gpu_count=1, price_micro_usd_per_hour=LISTED, fetched_at_ms=0)
    placement = Placement(
        id=f"p{number}",
        job_id="j",
        attempt=number,
        provider="p",
        offer=offer,
        label=f"l{number}",
        idempotency_key=f"k{number}",
        nonce="n",
        state=PlacementState.PROVISIONING,
        created_at_ms=0,
    )
    with store.write() as tx:
        job_store.insert_placement(tx, placement)
    return placement


def test_the_true_bill_lies_inside_and_the_range_is_no_wider_than_what_went_unseen(store: Store) -> None:
    for seed in range(LIVES):
        life = Life(seed)
        low, high = life.metered(store, a_placement(store, seed))
        spans = len(usage_store.load_placement_intervals(store, f"p{seed}"))
        for bill in life.bills():
            unsure = life.in_doubt_of_rounding() + spans
            assert low - spans <= bill <= high + unsure, f"seed {seed}: {float(bill)} is not in {low}..{high}"
        widest = float(life.widest()) + 2 * spans
        assert high - low <= widest, f"seed {seed}: {low}..{high} is wider than {widest}"
