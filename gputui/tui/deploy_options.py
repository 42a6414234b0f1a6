"""What the choices of the deploy form offer, and why some fields do not apply. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gputui.core.routing import Plan
from gputui.core.volume_wishes import VolumeRow
from gputui.model.types import JobKind, Offer, OsImage, Stock
from gputui.providers.base import capabilities_of
from gputui.providers.registry import client_class, provider_info
from gputui.tui.deploy_form import ANY, Option
from gputui.tui.render import money

_ANYWHERE = Option(ANY, "any")


def can(provider: str, capability: str) -> bool:
    """True when a provider's client implements a capability (a name of `providers.base.CAPABILITIES`)."""
    return capabilities_of(client_class(provider))[capability]


def unused(values: Mapping[str, str]) -> dict[str, str]:
    """Return field -> why it does not go with what the other fields say."""
    reasons = {}
    if values.get("kind") == JobKind.MACHINE:
        reasons["command"] = "none: you log in to it"
        reasons["idle_stop"] = "none: use of a machine to log in to cannot be seen"
    provider = values.get("provider")
    title = provider_info(provider).title if provider else ""
    if not values.get("os_image"):
        if not provider:
            reasons["os_image"] = "choose a provider"
        elif not can(provider, "os-images"):
            reasons["os_image"] = f"{title} has none"
    if not values.get("volumes"):
        if not provider:
            reasons["volumes"] = "choose a provider"
        elif not can(provider, "attach volumes at create"):
            reasons["volumes"] = f"not at {title}"
    return reasons


def market_options(plan: Plan | None, accounts: Mapping[str, str], *, provider: str) -> dict[str, list[Option]]:
    """Return the providers, regions and tiers to choose from, with what the GPU costs there.

    `plan` holds every offer of the GPU (None: no GPU is named), `accounts` the titles of the providers that can be used.
    """
    offers = _right_count(plan)
    there = [offer for offer in offers if provider in (ANY, offer.provider)]
    by_provider = {name: [offer for offer in offers if offer.provider == name] for name in accounts}
    regions = sorted({offer.region for offer in there if offer.region})
    tiers = sorted({offer.tier for offer in there})
    return {
        "provider": [
            _ANYWHERE,
            *(Option(name, title, _from(by_provider[name]) if plan else "") for name, title in accounts.items()),
        ],
        "region": [
            _ANYWHERE,
            *(Option(code, code, _from([offer for offer in there if offer.region == code])) for code in regions),
        ],
        "tier": [
            _ANYWHERE,
            *(Option(tier, tier.value, _from([offer for offer in there if offer.tier is tier])) for tier in tiers),
        ],
    }


def _right_count(plan: Plan | None) -> list[Offer]:
    """Return every offer of a plan's GPU in the number wanted, whatever else stands against it."""
    if plan is None:
        return []
    lost = (offer for name, offers in plan.lost.items() if name != "gpu-count" for offer in offers)
    return [*(quote.offer for quote in plan.quotes), *lost]


def _from(offers: Sequence[Offer]) -> str:
    """Return what the cheapest of these costs."""
    if not offers:
        return "none of these"
    rates = [offer.price_micro_usd_per_hour for offer in offers if offer.stock is not Stock.NONE]
    return f"from {money.rate(min(rates))}" if rates else "sold out"


def image_options(images: Iterable[OsImage]) -> list[Option]:
    """Return a provider's disk images; the first choice leaves it to the provider."""
    listed = list(images)
    usual = next((image.name for image in listed if image.is_default), "")
    return [
        Option(ANY, "the usual one", usual),
        *(Option(image.value, image.name, image.value if image.value != image.name else "") for image in listed),
    ]


def volume_options(rows: Sequence[VolumeRow]) -> list[Option]:
    """Return an account's volumes by name, by id where several share one."""
    count = Counter(row.name for row in rows)
    return [_volume(row, row.name if row.name and count[row.name] == 1 else row.volume.id) for row in rows]


def _volume(row: VolumeRow, value: str) -> Option:
    volume = row.volume
    facts = [
        f"{volume.size_gib} GiB" if volume.size_gib is not None else "",
        volume.region or "",
        f"{money.amount(volume.price_micro_usd_per_month)} a month" if volume.price_micro_usd_per_month else "",
        "in use" if volume.attached_to else "",
        "being deleted" if row.deletion else "",
    ]
    return Option(value, row.name or volume.id, ", ".join(filter(None, facts)))
