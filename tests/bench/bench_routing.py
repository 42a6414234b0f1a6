"""Ranking 50,000 offers with effective price and a reason for every loser."""

from __future__ import annotations

from dataclasses import replace

from measure import median_s, offers, report

from gputui.core.catalog import provider_facts
from gputui.core.routing import rank
from gputui.model.types import JobSpec

OFFERS = 50_000


def main() -> None:
    facts = provider_facts()
    mixed = sorted(offers(OFFERS, now_ms=0), key=lambda o: o.price_micro_usd_per_hour)  # as the store hands them out
    spec = JobSpec(gpu="H100", command="true", max_price_micro_usd_per_hour=2_500_000)
    plan = rank(mixed, spec, facts)
    report(
        f"rank {OFFERS:,} offers of all models ({len(plan.quotes):,} fit, {len(plan.rejections):,} reasons)",
        median_s(lambda: rank(mixed, spec, facts)),
        target_s=0.12,
    )
    alike = [replace(offer, gpu="H100-SXM") for offer in mixed]
    plan = rank(alike, spec, facts)
    report("the sentences of the first 500 losers", median_s(lambda: [lost.reason for lost in plan.rejections[:500]]))
    report(
        f"rank {OFFERS:,} offers, every one an H100 ({len(plan.quotes):,} fit, {len(plan.rejections):,} reasons)",
        median_s(lambda: rank(alike, spec, facts)),
        target_s=0.12,
    )
