from __future__ import annotations

from collections.abc import Mapping

import pytest

from gputui.core.routing import ProviderFacts, format_rate, rank
from gputui.model.errors import NoMatch
from gputui.model.types import BillingRule, BillingStart, JobSpec, Offer, Priority, Stock, Tier

PER_SECOND = BillingRule(granularity_s=1, minimum_s=0, starts=BillingStart.RUNNING, source="test")
TEN_MINUTES = BillingRule(granularity_s=1, minimum_s=600, starts=BillingStart.ORDERED_OR_RUNNING, source="test")
FACTS: Mapping[str, ProviderFacts] = {
    "alpha": ProviderFacts("Alpha", PER_SECOND, boot_s=30),
    "beta": ProviderFacts("Beta", TEN_MINUTES, boot_s=120),
}


def offer(name: str, price: float, **changes: object) -> Offer:
    values: dict[str, object] = {
        "id": f"alpha:{name}",
        "provider": "alpha",
        "gpu": "H100-SXM",
        "gpu_count": 1,
        "price_micro_usd_per_hour": round(price * 1_000_000),
        "fetched_at_ms": 0,
        "vram_gib": 80,
        "region": "US-1",
        "stock": Stock.HIGH,
    }
    return Offer(**{**values, **changes})  # type: ignore[arg-type]


def names(spec: JobSpec, *offers: Offer) -> list[str]:
    return [quote.offer.id.partition(":")[2] for quote in rank(offers, spec, FACTS).quotes]


def spec(**changes: object) -> JobSpec:
    return JobSpec(**{"gpu": "H100", "command": "true", **changes})  # type: ignore[arg-type]


def test_cost_ranks_by_expected_total_not_by_list_price() -> None:
    short = spec(expected_s=60)
    dear_but_exact = offer("exact", 3.0)
    cheap_with_minimum = offer("minimum", 2.0, provider="beta")
    assert names(short, cheap_with_minimum, dear_but_exact) == ["exact", "minimum"]
    assert names(spec(expected_s=36_000), cheap_with_minimum, dear_but_exact) == ["minimum", "exact"]


def test_effective_price_counts_minimum_and_boot_where_billed() -> None:
    [quote] = rank([offer("a", 1.8, provider="beta")], spec(expected_s=60), FACTS).quotes
    assert quote.total_micro_usd == 300_000  # ten minutes of 1.80 $/h
    assert quote.effective_micro_usd_per_hour == 18_000_000
    [longer] = rank([offer("a", 1.8, provider="beta")], spec(expected_s=3480), FACTS).quotes
    assert longer.total_micro_usd == 1_800_000  # 58 minutes of work and 2 of boot


def test_speed_prefers_the_faster_gpu_then_the_shorter_start() -> None:
    wanted = spec(priority=Priority.SPEED)
    pcie = offer("pcie", 1.0, gpu="H100-PCIE")
    slow_start = offer("slow", 2.0, provider="beta")
    quick_start = offer("quick", 2.5)
    assert names(wanted, pcie, slow_start, quick_start) == ["quick", "slow", "pcie"]


def test_availability_prefers_stock_then_reliability() -> None:
    wanted = spec(priority=Priority.AVAILABILITY)
    assert names(
        wanted,
        offer("low", 1.0, stock=Stock.LOW),
        offer("unknown", 1.0, stock=None),
        offer("shaky", 1.0, reliability=0.9),
        offer("solid", 2.0, reliability=0.999),
    ) == ["solid", "shaky", "unknown", "low"]


def test_ties_are_stable() -> None:
    offers = [offer("c", 1.0), offer("a", 1.0), offer("b", 1.0)]
    assert names(spec(), *offers) == names(spec(), *reversed(offers)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wanted", "loser", "constraint", "reason"),
    [
        ({"gpu_count": 8}, {}, "gpu-count", "has 1 GPUs, 8 asked for"),
        ({"provider": "beta"}, {}, "provider", "is at alpha, only beta allowed"),
        ({"min_vram_gib": 94}, {}, "vram", "has 80 GiB of memory, 94 GiB asked for"),
        ({"min_vram_gib": 80}, {"vram_gib": None}, "vram", "has an unknown amount of memory, 80 GiB asked for"),
        ({"region": "EU-1"}, {}, "region", "is in US-1, only EU-1 allowed"),
        ({"tier": Tier.SPOT}, {}, "tier", "is on-demand, only spot allowed"),
        ({}, {"stock": Stock.NONE}, "stock", "no capacity"),
        ({"max_price_micro_usd_per_hour": 1_999_999}, {}, "price", "over your cap: 2.00 $/h > 1.999999 $/h"),
    ],
)
def test_every_loser_has_a_reason(
    wanted: dict[str, object], loser: dict[str, object], constraint: str, reason: str
) -> None:
    plan = rank([offer("x", 2.0, **loser)], spec(**wanted), FACTS)
    [rejection] = plan.rejections
    assert (rejection.constraint, rejection.reason) == (constraint, reason)
    with pytest.raises(NoMatch):
        plan.require_quote()


def test_the_cap_itself_is_allowed() -> None:
    assert names(spec(max_price_micro_usd_per_hour=2_000_000), offer("x", 2.0)) == ["x"]


def test_other_gpus_are_not_candidates_at_all() -> None:
    plan = rank([offer("x", 1.0, gpu="A100-80GB-SXM")], spec(), FACTS)
    assert (plan.considered, plan.rejections) == (0, [])
    with pytest.raises(NoMatch, match="offers H100"):
        plan.require_quote()


def test_no_match_names_the_last_constraint_and_the_smallest_change() -> None:
    plan = rank(
        [offer("sold", 1.0, stock=Stock.NONE), offer("dear", 3.25), offer("dearer", 4.0)],
        spec(max_price_micro_usd_per_hour=2_000_000),
        FACTS,
    )
    with pytest.raises(NoMatch) as caught:
        plan.require_quote()
    assert "under your cap of 2.00 $/h: the cheapest is 3.25 $/h at alpha US-1" in str(caught.value)
    assert "Raise the cap to 3.25 " in str(caught.value)


def test_sold_out_is_told_apart_from_too_dear() -> None:
    with pytest.raises(NoMatch, match="sold out"):
        rank([offer("sold", 1.0, stock=Stock.NONE)], spec(), FACTS).require_quote()


def test_accounts_that_were_not_asked_are_said_to_be() -> None:
    plan = rank([], spec(), FACTS, unavailable={"beta": "no key"})
    with pytest.raises(NoMatch, match="beta: no key"):
        plan.require_quote()


def test_an_offer_that_failed_before_is_not_taken_again() -> None:
    plan = rank([offer("a", 1.0), offer("b", 2.0)], spec(), FACTS, excluded={"alpha:a": "tried: no capacity"})
    assert [quote.offer.id for quote in plan.quotes] == ["alpha:b"]
    assert plan.rejections[0].reason == "tried: no capacity"


def test_an_unknown_spelling_can_be_asked_for_as_it_came() -> None:
    assert names(spec(gpu="quantum leap-9000"), offer("x", 1.0, gpu="Quantum Leap 9000")) == ["x"]


def test_rates_show_what_two_places_would_hide() -> None:
    assert format_rate(2_290_000) == "2.29 $/h"
    assert format_rate(1_999_999) == "1.999999 $/h"
    assert format_rate(1_872_300) == "1.8723 $/h"
