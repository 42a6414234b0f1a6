"""Which offer a job should run on, and why each other one lost. Pure.

Constraints are checked in a fixed order, from what the user asked for to what they would pay, so that "which constraint
removed the last offer" has one answer and the advice that follows from it is the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gputui.core.metering import effective_rate, expected_total
from gputui.model.errors import NoMatch
from gputui.model.gpus import ORDER, fold, gpus_for_request
from gputui.model.types import BillingRule, JobSpec, Offer, Priority, Stock
from gputui.model.units import MicroUsd, MicroUsdPerHour, format_usd


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """What ranking needs of a provider: its billing rule and how long a machine there usually takes to start."""

    title: str
    billing: BillingRule
    boot_s: int


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer that fits, with its expected total for the job and that total per hour of useful work."""

    offer: Offer
    total_micro_usd: MicroUsd
    effective_micro_usd_per_hour: MicroUsdPerHour


@dataclass(frozen=True, slots=True)
class Rejection:
    """An offer of the right GPU that does not fit: which constraint removed it, and the two sides of it."""

    offer: Offer
    constraint: str
    have: str
    want: str

    @property
    def reason(self) -> str:
        """Return the sentence people read."""
        return _REASONS[self.constraint].format(have=self.have, want=self.want)


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates in the order they will be tried, and the offers of the right GPU that lost, cheapest first."""

    spec: JobSpec
    quotes: Sequence[Quote]
    rejections: Sequence[Rejection]
    considered: int
    unavailable: Mapping[str, str] = field(default_factory=dict)

    def require_quote(self) -> Quote:
        """Return the best candidate. Raises NoMatch naming what removed the last offer and what would have to change."""
        if self.quotes:
            return self.quotes[0]
        raise no_match(self)


_REASONS = {
    "gpu-count": "has {have} GPUs, {want} asked for",
    "provider": "is at {have}, only {want} allowed",
    "vram": "has {have} of memory, {want} asked for",
    "region": "is in {have}, only {want} allowed",
    "tier": "is {have}, only {want} allowed",
    "disk": "has {have} of disk, {want} asked for",
    "stock": "no capacity",
    "price": "over your cap: {have} > {want}",
    "excluded": "{have}",
}

_Check = Callable[[Offer, JobSpec], tuple[str, str] | None]


def _count(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    return None if offer.gpu_count == spec.gpu_count else (str(offer.gpu_count), str(spec.gpu_count))


def _provider(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    return None if spec.provider is None or offer.provider == spec.provider else (offer.provider, spec.provider)


def _vram(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    if spec.min_vram_gib is None or (offer.vram_gib is not None and offer.vram_gib >= spec.min_vram_gib):
        return None
    return _gib(offer.vram_gib), _gib(spec.min_vram_gib)


def _region(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    if spec.region is None or (offer.region or "").casefold() == spec.region.casefold():
        return None
    return offer.region or "an unknown region", spec.region


def _tier(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    return None if spec.tier is None or offer.tier is spec.tier else (offer.tier.value, spec.tier.value)


def _stock(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    return ("", "") if offer.stock is Stock.NONE else None


def _price(offer: Offer, spec: JobSpec) -> tuple[str, str] | None:
    cap = spec.max_price_micro_usd_per_hour
    if cap is None or offer.price_micro_usd_per_hour <= cap:
        return None
    return format_rate(offer.price_micro_usd_per_hour), format_rate(cap)


CONSTRAINTS: tuple[tuple[str, _Check], ...] = (
    ("gpu-count", _count),
    ("provider", _provider),
    ("vram", _vram),
    ("region", _region),
    ("tier", _tier),
    ("stock", _stock),
    ("price", _price),
)


def format_rate(rate: MicroUsdPerHour) -> str:
    """Return "2.29 $/h"; four places where two would hide something."""
    places = 2 if rate % 10_000 == 0 else 4
    return f"{format_usd(rate, places=places)} $/h"


def rank(
    offers: Iterable[Offer],
    spec: JobSpec,
    facts: Mapping[str, ProviderFacts],
    *,
    excluded: Mapping[str, str] | None = None,
    unavailable: Mapping[str, str] | None = None,
) -> Plan:
    """Order the offers that satisfy `spec` by its priority, and say why every other offer of that GPU lost.

    cost: least expected total first. speed: the fastest GPU, then the shortest start. availability: high stock first,
    then reliability. Ties break on total, then on the offer's id, so that the order is stable.
    `excluded` maps offer id -> reason for offers that an earlier attempt ruled out; `unavailable` maps provider -> why it
    could not be asked at all, and is only passed on.
    """
    excluded = excluded or {}
    names = gpus_for_request(spec.gpu)
    folded = fold(spec.gpu)
    quotes: list[Quote] = []
    rejections: list[Rejection] = []
    considered = 0
    for offer in offers:
        if offer.gpu not in names and (names or fold(offer.gpu) != folded):
            continue
        considered += 1
        for constraint, check in CONSTRAINTS:
            sides = check(offer, spec)
            if sides is not None:
                rejections.append(Rejection(offer, constraint, *sides))
                break
        else:
            if offer.id in excluded:
                rejections.append(Rejection(offer, "excluded", excluded[offer.id], ""))
            else:
                quotes.append(quote(offer, spec, facts[offer.provider]))
    quotes.sort(key=_ORDERS[spec.priority](facts))
    rejections.sort(key=lambda rejection: (rejection.offer.price_micro_usd_per_hour, rejection.offer.id))
    return Plan(spec, quotes, rejections, considered, unavailable or {})


def quote(offer: Offer, spec: JobSpec, facts: ProviderFacts) -> Quote:
    """Return what running `spec` on `offer` is expected to cost."""
    total = expected_total(
        offer.price_micro_usd_per_hour, facts.billing, expected_s=spec.expected_s, boot_s=facts.boot_s
    )
    return Quote(offer, total, effective_rate(total, expected_s=spec.expected_s))


_Key = Callable[[Quote], tuple[object, ...]]
_STOCK_ORDER = {Stock.HIGH: 0, Stock.LOW: 2, Stock.NONE: 3, None: 1}


def _by_cost(facts: Mapping[str, ProviderFacts]) -> _Key:
    return lambda q: (q.total_micro_usd, -(q.offer.reliability or 0.0), q.offer.id)


def _by_speed(facts: Mapping[str, ProviderFacts]) -> _Key:
    last = len(ORDER)
    return lambda q: (ORDER.get(q.offer.gpu, last), facts[q.offer.provider].boot_s, q.total_micro_usd, q.offer.id)


def _by_availability(facts: Mapping[str, ProviderFacts]) -> _Key:
    return lambda q: (_STOCK_ORDER[q.offer.stock], -(q.offer.reliability or 0.0), q.total_micro_usd, q.offer.id)


_ORDERS: Mapping[Priority, Callable[[Mapping[str, ProviderFacts]], _Key]] = {
    Priority.COST: _by_cost,
    Priority.SPEED: _by_speed,
    Priority.AVAILABILITY: _by_availability,
}


def no_match(plan: Plan) -> NoMatch:
    """Return the error for an empty plan: the constraint that removed the last offer, and the smallest change that helps."""
    spec = plan.spec
    missing = "; ".join(f"{provider}: {why}" for provider, why in plan.unavailable.items())
    also = f" Not asked: {missing}." if missing else ""
    wanted = f"{spec.gpu_count} × {spec.gpu}"
    if not plan.considered:
        return NoMatch(f"No provider you can use offers {spec.gpu} now.{also}", hint="See: gputui pricing --refresh")
    order = [name for name, _ in CONSTRAINTS] + ["excluded"]
    last = max((rejection.constraint for rejection in plan.rejections), key=order.index)
    losers = [rejection for rejection in plan.rejections if rejection.constraint == last]
    offer = losers[0].offer
    where = f"{offer.provider} {offer.region or ''}".strip()
    count = f"{len(losers)} offer{'s' if len(losers) != 1 else ''} of {wanted}"
    sentences = {
        "gpu-count": (
            f"Nobody offers {wanted} in one machine.",
            f"Counts on offer: {_choices(str(loser.offer.gpu_count) for loser in losers)}.",
        ),
        "provider": (f"{spec.provider} offers no {wanted}.", f"Others do: {_choices(loser.have for loser in losers)}."),
        "vram": (f"No {wanted} has {losers[0].want} per GPU.", f"The nearest has {losers[0].have}."),
        "region": (
            f"No {wanted} in region {spec.region}.",
            f"Regions on offer: {_choices(loser.have for loser in losers)}.",
        ),
        "tier": (f"No {losers[0].want} offer of {wanted}.", f"Try --tier {losers[0].have}."),
        "stock": (f"No capacity: all {count} are sold out.", "Try another GPU, or again later."),
        "price": (
            f"No {wanted} under your cap of {losers[0].want}: the cheapest is {losers[0].have} at {where}.",
            f"Raise the cap to {format_usd(offer.price_micro_usd_per_hour, places=4)} or choose another GPU.",
        ),
        "excluded": (f"Every {wanted} that fits was tried: {offer.provider} {losers[0].have}.", "Try again later."),
    }
    sentence, hint = sentences[last]
    return NoMatch(sentence + also, hint=hint)


def _choices(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _gib(value: int | None) -> str:
    return f"{value} GiB" if value is not None else "an unknown amount"
