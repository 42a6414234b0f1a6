"""Which offer a job should run on, and why each other one lost. Pure.

Constraints are checked in a fixed order, from what the user asked for to what they would pay, so that "which constraint
removed the last offer" has one answer and the advice that follows from it is the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from gputui.core.metering import effective_rate, expected_seconds
from gputui.model.errors import NoMatch
from gputui.model.gpus import ORDER, fold, gpus_for_request
from gputui.model.types import BillingRule, JobSpec, Offer, Priority, Stock, Volume
from gputui.model.units import MicroUsd, MicroUsdPerHour, cost_of_seconds, micro_to_usd
from gputui.providers.registry import provider_title


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """What ranking needs of a provider: its billing rule and how long a machine there usually takes to start."""

    title: str
    billing: BillingRule
    boot_s: int


class Quote(NamedTuple):
    """An offer that fits, with its expected total for the job and that total per hour of useful work."""

    offer: Offer
    total_micro_usd: MicroUsd
    effective_micro_usd_per_hour: MicroUsdPerHour


class Rejection(NamedTuple):
    """An offer of the right GPU that does not fit, and the name of the constraint that removed it.

    `note` is the reason itself where a volume or an earlier attempt ruled the offer out.
    """

    offer: Offer
    constraint: str
    spec: JobSpec
    note: str = ""

    @property
    def have(self) -> str:
        """Return what the offer has of what was asked for."""
        return self.note or CONSTRAINTS[self.constraint].have(self.offer)

    @property
    def want(self) -> str:
        """Return what was asked for."""
        return CONSTRAINTS[self.constraint].want(self.spec)

    @property
    def reason(self) -> str:
        """Return the sentence people read; made only when read, because most losers are never looked at."""
        return CONSTRAINTS[self.constraint].sentence.format(have=self.have, want=self.want)


@dataclass(frozen=True)
class Plan:
    """The candidates in the order they will be tried, and the offers of the right GPU that lost.

    `lost` holds those by the constraint that removed them; `notes` the reasons of those that "volumes" or earlier attempts
    ("excluded") ruled out, by offer id. `volumes` are what the machine will be ordered with.
    """

    spec: JobSpec
    quotes: Sequence[Quote]
    lost: Mapping[str, Sequence[Offer]]
    notes: Mapping[str, str] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Volume] = ()

    @property
    def considered(self) -> int:
        """Return how many offers of the right GPU there were."""
        return len(self.quotes) + sum(len(offers) for offers in self.lost.values())

    @cached_property
    def rejections(self) -> Sequence[Rejection]:
        """Return the offers that lost with their reasons, cheapest first; made when first asked for."""
        made = [
            Rejection(offer, constraint, self.spec, self.notes.get(offer.id, "") if constraint in _NOTED else "")
            for constraint, offers in self.lost.items()
            for offer in offers
        ]
        return sorted(made, key=lambda rejection: (rejection.offer.price_micro_usd_per_hour, rejection.offer.id))

    def require_quote(self) -> Quote:
        """Return the best candidate. Raises NoMatch naming what removed the last offer and what would have to change."""
        if self.quotes:
            return self.quotes[0]
        raise no_match(self)


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing an offer must satisfy. `applies` says whether the job asks for it at all."""

    applies: Callable[[JobSpec], bool]
    passes: Callable[[Offer, JobSpec], bool]
    have: Callable[[Offer], str]
    want: Callable[[JobSpec], str]
    sentence: str


def _enough_memory(offer: Offer, spec: JobSpec) -> bool:
    return offer.vram_gib is not None and offer.vram_gib >= (spec.min_vram_gib or 0)


def _same_region(offer: Offer, spec: JobSpec) -> bool:
    return (offer.region or "").casefold() == (spec.region or "").casefold()


def _under_cap(offer: Offer, spec: JobSpec) -> bool:
    cap = spec.max_price_micro_usd_per_hour
    return cap is None or offer.price_micro_usd_per_hour <= cap


_SOLD_OUT = Stock.NONE  # looking a member up on its class costs more than the comparison

# From what the user asked for to what they would pay; the last one is for offers that an earlier attempt ruled out. What
# stands against volumes is for the provider's client to say.
CONSTRAINTS: dict[str, Constraint] = {
    "gpu-count": Constraint(
        lambda spec: True,
        lambda offer, spec: offer.gpu_count == spec.gpu_count,
        lambda offer: str(offer.gpu_count),
        lambda spec: str(spec.gpu_count),
        "has {have} GPUs, {want} asked for",
    ),
    "provider": Constraint(
        lambda spec: spec.provider is not None,
        lambda offer, spec: offer.provider == spec.provider,
        lambda offer: offer.provider,
        lambda spec: str(spec.provider),
        "is at {have}, only {want} allowed",
    ),
    "vram": Constraint(
        lambda spec: spec.min_vram_gib is not None,
        _enough_memory,
        lambda offer: _gib(offer.vram_gib),
        lambda spec: _gib(spec.min_vram_gib),
        "has {have} of memory, {want} asked for",
    ),
    "region": Constraint(
        lambda spec: spec.region is not None,
        _same_region,
        lambda offer: offer.region or "an unknown region",
        lambda spec: str(spec.region),
        "is in {have}, only {want} allowed",
    ),
    "volumes": Constraint(
        lambda spec: bool(spec.volumes),
        lambda offer, spec: True,
        lambda offer: "",
        lambda spec: ", ".join(spec.volumes),
        "{have}",
    ),
    "tier": Constraint(
        lambda spec: spec.tier is not None,
        lambda offer, spec: offer.tier is spec.tier,
        lambda offer: offer.tier.value,
        lambda spec: spec.tier.value if spec.tier else "",
        "is {have}, only {want} allowed",
    ),
    "stock": Constraint(
        lambda spec: True,
        lambda offer, spec: offer.stock is not _SOLD_OUT,
        lambda offer: "none",
        lambda spec: "some",
        "no capacity",
    ),
    "price": Constraint(
        lambda spec: spec.max_price_micro_usd_per_hour is not None,
        _under_cap,
        lambda offer: format_rate(offer.price_micro_usd_per_hour),
        lambda spec: format_rate(spec.max_price_micro_usd_per_hour or 0),
        "over your cap: {have} > {want}",
    ),
    "excluded": Constraint(lambda spec: False, lambda offer, spec: True, lambda offer: "", lambda spec: "", "{have}"),
}
_NOTED = ("volumes", "excluded")


def format_rate(rate: MicroUsdPerHour) -> str:
    """Return "2.29 $/h", with as many places as the rate has: a cap is compared exactly."""
    return f"{micro_to_usd(rate)} $/h"


def rank(
    offers: Iterable[Offer],
    spec: JobSpec,
    facts: Mapping[str, ProviderFacts],
    *,
    excluded: Mapping[str, str] | None = None,
    unavailable: Mapping[str, str] | None = None,
    volumes: Sequence[Volume] = (),
    obstacle: Callable[[Offer], str | None] | None = None,
) -> Plan:
    """Order the offers that satisfy `spec` by its priority, and say why every other offer of that GPU lost.

    cost: least expected total first. speed: the fastest GPU, then the shortest start. availability: high stock first,
    then reliability. Ties break on total, then on the offer's id, so that the order is stable.
    `excluded` maps offer id -> reason for offers that an earlier attempt ruled out; `unavailable` maps provider -> why it
    could not be asked at all, and is only passed on. `obstacle` tells why an offer cannot have the `volumes`.
    """
    excluded = excluded or {}
    notes = dict(excluded)
    names = gpus_for_request(spec.gpu)
    folded = fold(spec.gpu)
    checks = {name: c.passes for name, c in CONSTRAINTS.items() if c.applies(spec)}
    if obstacle is not None:
        checks["volumes"] = _noting(obstacle, notes)
    active = list(checks.items())
    seconds = {name: _billed_seconds(spec, provider) for name, provider in facts.items()}
    quotes: list[Quote] = []
    lost: dict[str, list[Offer]] = {name: [] for name in CONSTRAINTS}
    for offer in offers:
        if offer.gpu not in names and (names or fold(offer.gpu) != folded):
            continue
        for name, passes in active:
            if not passes(offer, spec):
                lost[name].append(offer)
                break
        else:
            if offer.id in excluded:
                lost["excluded"].append(offer)
            else:
                quotes.append(_quote(offer, spec, seconds[offer.provider]))
    quotes.sort(key=_ORDERS[spec.priority](facts))
    return Plan(spec, quotes, lost, notes, unavailable or {}, volumes)


def _noting(obstacle: Callable[[Offer], str | None], notes: dict[str, str]) -> Callable[[Offer, JobSpec], bool]:
    def passes(offer: Offer, spec: JobSpec) -> bool:
        if trouble := obstacle(offer):
            notes[offer.id] = trouble
        return not trouble

    return passes


def quote(offer: Offer, spec: JobSpec, facts: ProviderFacts) -> Quote:
    """Return what running `spec` on `offer` is expected to cost."""
    return _quote(offer, spec, _billed_seconds(spec, facts))


def _quote(offer: Offer, spec: JobSpec, seconds: int) -> Quote:
    total = cost_of_seconds(offer.price_micro_usd_per_hour, seconds)
    return Quote(offer, total, effective_rate(total, expected_s=spec.expected_s))


def _billed_seconds(spec: JobSpec, facts: ProviderFacts) -> int:
    return expected_seconds(facts.billing, expected_s=spec.expected_s, boot_s=facts.boot_s)


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
    missing = "; ".join(f"{provider_title(provider)}: {why}" for provider, why in plan.unavailable.items())
    also = f" Not asked: {missing}." if missing else ""
    wanted = f"{spec.gpu_count} × {spec.gpu}"
    if not plan.considered:
        return NoMatch(f"No provider you can use offers {spec.gpu} now.{also}", hint="See: gputui pricing --refresh")
    last = next(name for name in reversed(CONSTRAINTS) if plan.lost.get(name))
    losers = [rejection for rejection in plan.rejections if rejection.constraint == last]
    offer = losers[0].offer
    where = f"{provider_title(offer.provider)} {offer.region or ''}".strip()
    count = f"{len(losers)} offer{'s' if len(losers) != 1 else ''} of {wanted}"
    sentences = {
        "gpu-count": (
            f"Nobody offers {wanted} in one machine.",
            f"Counts on offer: {_choices(str(loser.offer.gpu_count) for loser in losers)}.",
        ),
        "provider": (
            f"{provider_title(spec.provider or '')} offers no {wanted}.",
            f"Others do: {_choices(provider_title(loser.have) for loser in losers)}.",
        ),
        "vram": (f"No {wanted} has {losers[0].want} per GPU.", f"The nearest has {losers[0].have}."),
        "region": (
            f"No {wanted} in region {spec.region}.",
            f"Regions on offer: {_choices(loser.have for loser in losers)}.",
        ),
        "volumes": (f"No {wanted} can have {_volumes(spec)}.", f"The nearest {losers[0].have}."),
        "tier": (f"No {losers[0].want} offer of {wanted}.", f"Try --tier {losers[0].have}."),
        "stock": (f"No capacity: all {count} are sold out.", "Try another GPU, or again later."),
        "price": (
            f"No {wanted} under your cap of {losers[0].want}: the cheapest is {losers[0].have} at {where}.",
            f"Raise the cap to {micro_to_usd(_whole_cents(offer.price_micro_usd_per_hour))} or choose another GPU.",
        ),
        "excluded": (
            f"Every {wanted} that fits was tried: {provider_title(offer.provider)} {losers[0].have}.",
            "Try again later.",
        ),
    }
    sentence, hint = sentences[last]
    return NoMatch(sentence + also, hint=hint)


def _whole_cents(rate: MicroUsdPerHour) -> MicroUsdPerHour:
    """Return a rate rounded up, so that a cap of so much lets it pass."""
    return -(-rate // 10_000) * 10_000


def _volumes(spec: JobSpec) -> str:
    return f"the volume{'s' if len(spec.volumes) > 1 else ''} {', '.join(spec.volumes)}"


def _choices(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _gib(value: int | None) -> str:
    return f"{value} GiB" if value is not None else "an unknown amount"
