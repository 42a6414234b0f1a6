"""The ledger against the world's true bill.

1. The bill of a job's machines lies within the ledger's cost plus or minus its uncertainty, to a micro-dollar a machine.
2. The uncertainty is honest work, not a blank cheque. The range it spans (twice the uncertainty) is, for each machine, at
   most its highest price times
     - its boot: from the order's intent (a crash may delay the order itself) to the first moment it served, since no provider
       tells which of the two starts the clock,
     - its end: from the moment it was asked to end, or died by itself, until it was gone; for one that was never ready, as
       long again as it may not show yet, since a new agent cannot tell that from being gone,
     - `POLLS_S` and the plan's own poll and glance intervals: how long a change may go unseen,
     - every disturbed second of its life, and after it until its end was known,
     - two units of the provider's granularity for each state or price it had,
     - its minimum charge where it hardly ran, died by itself, or was disturbed,
   and once more that much for each change of its price. The price of a machine that never told it may be `dearest`. An order
   that got lost may have had a machine from when it left until nobody looked for it any more.
A host's clock that was set wrong by n seconds is good for n more. A price that changes so late that no look came after it
cannot be known: the difference for that long is forgiven, too. So is what a machine that never told its price cost over the
`dearest`, and for how long one that ended itself is listed afterwards, as if it ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gputui.core.ledger import dearest
from gputui.core.ordering import ABSENT_GRACE_S
from gputui.model.states import PlacementState
from gputui.model.types import Placement
from gputui.model.units import usd_to_micro
from gputui.providers.registry import provider_info
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.torture.facts import Facts, Told
from gputui.sim.torture.plan import Deed
from gputui.sim.torture.work import started_ms

POLLS_S = 45.0


def check_money(facts: Facts) -> Iterator[str]:
    """The true bill is inside what a job is said to cost, and that is no wider than it has to be."""
    for told in facts.jobs:
        machines = [(m, placement) for placement in told.placements for m in facts.machines_of(placement)]
        bill = sum(usd_to_micro(str(round(m.bill_usd(facts.now_ms), 6))) for m, _ in machines)
        job = told.report.job
        slip = sum(_slip(facts, told, machine, placement) for machine, placement in machines)
        error = abs(bill - job.cost_micro_usd) - job.cost_uncertainty_micro_usd
        if error > len(machines) + slip:
            yield (
                f"job {told.number} truly cost {bill} micro-USD, the ledger says {job.cost_micro_usd}"
                f" ± {job.cost_uncertainty_micro_usd} ({_spans(told)})"
            )
        bound = sum(_widest(facts, told, m, placement) for m, placement in machines if not _is_lost(placement))
        bound += sum(_of_lost_order(facts, told, placement) for placement in told.placements if _is_lost(placement))
        if 2 * job.cost_uncertainty_micro_usd > bound + slip + len(machines):
            yield (
                f"the cost of job {told.number} is uncertain by ±{job.cost_uncertainty_micro_usd} micro-USD,"
                f" ±{bound // 2} at most could be understood ({_spans(told)})"
            )


def _is_lost(placement: Placement) -> bool:
    return placement.state is PlacementState.ABSENT and placement.requested_at_ms is not None


def _of_lost_order(facts: Facts, told: Told, placement: Placement) -> int:
    """Return the widest range in micro-USD that an order may span of which no machine was ever seen."""
    rule = provider_info(placement.provider).billing
    moments = [facts.true_ms(event) for event in told.events if event.placement_id == placement.id]
    wide_s = (max(moments) - min(moments)) / 1000 + 2 * rule.granularity_s + rule.minimum_s + _clock_s(facts)
    return int(dearest(placement.offer.price_micro_usd_per_hour) * wide_s / 3600)


def _widest(facts: Facts, told: Told, machine: SimMachine, placement: Placement) -> int:
    """Return the widest range in micro-USD that a machine's cost may span."""
    rule = provider_info(machine.provider).billing
    ended_ms = machine.ended_ms(facts.now_ms) or facts.now_ms
    ordered_ms = min(facts.true_ms(e) for e in told.events if e.placement_id == placement.id)
    up_ms = started_ms(machine, facts.now_ms)
    boot_ms = (up_ms if up_ms is not None else ended_ms) - ordered_ms
    deaths = [at_ms for at_ms, life in machine.timeline if life in (Life.OFFLINE, Life.RELEASED, Life.ERROR)]
    asked = [facts.true_ms(e) for e in told.events if e.placement_id == placement.id and e.state_to == "terminating"]
    end_ms = max(0, ended_ms - min([*deaths, *asked, ended_ms]))
    unseen_s = _unseen_s(facts)
    life_s = (ended_ms - machine.created_ms) / 1000
    known_ms = max([facts.true_ms(e) for e in told.events if e.placement_id == placement.id])
    wide_s = (boot_ms + end_ms + facts.disturbed_ms(ordered_ms, known_ms)) / 1000 + unseen_s
    spans = [i for i in told.report.intervals if i.placement_id == placement.id and i.resource != "traffic"]
    wide_s += 2 * rule.granularity_s * max(1, len(spans)) + (0 if placement.ready_at_ms else ABSENT_GRACE_S)
    if up_ms is None or life_s - boot_ms / 1000 < unseen_s or facts.disturbances or deaths:
        wide_s += rule.minimum_s
    top_price = max(_top_price(machine), _assumed_rate(told, placement) or 0)
    return int((top_price + _traffic_rate(told)) * wide_s * len(machine.prices) / 3600)


def _top_price(machine: SimMachine) -> int:
    return int(max(price for _, price in machine.prices) * 1_000_000)


def _traffic_rate(told: Told) -> int:
    """Return the most in micro-USD per hour that the traffic of a job's machines may cost while its counter is not read."""
    return sum(i.rate_micro_usd_per_hour for i in told.report.intervals if i.resource == "traffic")


def _assumed_rate(told: Told, placement: Placement) -> int | None:
    """Return the most that a machine may cost per hour which never told its price; None for one that did."""
    rates = [i for i in told.report.intervals if i.placement_id == placement.id and i.rate_is_assumed]
    return rates[0].rate_micro_usd_per_hour if rates else None


def _slip(facts: Facts, told: Told, machine: SimMachine, placement: Placement) -> int:
    """Return the micro-USD that nobody here can know of: what a wrong clock hides, and a price that was not seen (yet)."""
    unseen_s = _unseen_s(facts) + provider_info(machine.provider).billing.minimum_s
    unseen_s += facts.disturbed_ms(machine.created_ms, facts.now_ms) / 1000
    steps = sum(abs(after - before) for (_, before), (_, after) in pairwise(machine.prices)) * 1_000_000
    assumed = _assumed_rate(told, placement)
    excess = max(0, _top_price(machine) - assumed) if assumed is not None else 0
    life_s = ((machine.ended_ms(facts.now_ms) or facts.now_ms) - machine.created_ms) / 1000
    wrong_s = _clock_s(facts) + _listed_after_s(facts, machine)
    return int(
        ((_top_price(machine) + _traffic_rate(told)) * wrong_s + float(steps) * unseen_s + excess * life_s) / 3600
    )


def _clock_s(facts: Facts) -> float:
    """Return by how many seconds the host's clock was set wrong in all."""
    return float(sum(abs(step.about) for step in facts.plan.steps if step.deed is Deed.CLOCK))


def _listed_after_s(facts: Facts, machine: SimMachine) -> float:
    """Return for how long after its end a machine may be listed without anybody knowing that it was to end."""
    ended_itself = Life.DELETING in {life for _, life in machine.timeline} and not facts.was_asked_to_end(
        machine.id, by_ms=facts.ended_ms(machine)
    )
    return facts.knob("delete_s") + facts.knob("deleted_still_listed_s") if ended_itself else 0.0


def _unseen_s(facts: Facts) -> float:
    """Return how long a change may go unseen when all is well."""
    plan = facts.plan
    return (
        POLLS_S
        + 2 * plan.poll_s
        + 2 * plan.glance_s
        + 20 * facts.knob("latency_s")
        + facts.knob("deleted_still_listed_s")
    )


def _spans(told: Told) -> str:
    return "; ".join(
        f"{i.resource} {i.rate_micro_usd_per_hour}/h {i.cost_low_micro_usd}..{i.cost_high_micro_usd}"
        for i in told.report.intervals
    )
