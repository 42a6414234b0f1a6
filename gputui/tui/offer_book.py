"""Every offer that can be had, priced and in order, as the offers screen shows them.

Tens of thousands of them are read and sorted in a thread, and only those of a provider that was asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from gputui.core.query import Listing
from gputui.core.request import quotes_for
from gputui.core.routing import Quote
from gputui.model.gpus import ORDER as GPU_ORDER
from gputui.model.types import Stock
from gputui.model.units import HOUR_S, MicroUsdPerHour, Ms
from gputui.store.db import Store
from gputui.store.offers import load_listing, load_statuses
from gputui.tui.terminal import collector_held

# When a provider's offers were fetched, and how many there were: they are read again when this changes.
Stamp = tuple[Ms | None, int]

_STOCK_ORDER = {Stock.HIGH: 0, Stock.LOW: 1, None: 2, Stock.NONE: 3}


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How offers are priced and ordered."""

    order: str = "effective"
    is_reversed: bool = False
    per_gpu: bool = False
    expected_s: int = HOUR_S


@dataclass(frozen=True, slots=True)
class Order:
    """One way to order. `value` is what is compared, None where it is unknown: those stand last, whichever way round."""

    title: str
    value: Callable[[Quote], Any]
    is_price: bool = False


ORDERS: Mapping[str, Order] = {
    "effective": Order("effective price", attrgetter("effective_micro_usd_per_hour"), is_price=True),
    "price": Order("list price", attrgetter("offer.price_micro_usd_per_hour"), is_price=True),
    "gpu": Order("GPU, the newest and largest first", lambda q: (GPU_ORDER.get(q.offer.gpu, len(GPU_ORDER)), q.offer.gpu)),
    "count": Order("number of GPUs", attrgetter("offer.gpu_count")),
    "vram": Order("GPU memory", attrgetter("offer.vram_gib")),
    "provider": Order("provider", attrgetter("offer.provider")),
    "region": Order("region", attrgetter("offer.region")),
    "stock": Order("stock", lambda q: _STOCK_ORDER[q.offer.stock]),
    "reliability": Order("reliability", attrgetter("offer.reliability")),
    "age": Order("age of the price", lambda q: -q.offer.fetched_at_ms),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Book:
    """What was read: offers by provider with the stamps they were read at, and all of them in order."""

    arrangement: Arrangement = Arrangement()
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    quotes: Mapping[str, Sequence[Quote]] = field(default_factory=dict)
    listing: Listing = field(default_factory=Listing)

    def is_current(self, arrangement: Arrangement, stamps: Mapping[str, Stamp]) -> bool:
        return self.arrangement == arrangement and self.stamps == stamps


def stamps_of(store: Store, providers: Sequence[str] | None) -> dict[str, Stamp]:
    """Return the stamp of each provider that has offers; `providers` are those that can be used (None: any)."""
    return {
        name: (status.last_ok_ms, status.offer_count)
        for name, status in load_statuses(store).items()
        if status.offer_count and (providers is None or name in providers)
    }


def reread(book: Book, store: Store, arrangement: Arrangement, stamps: Mapping[str, Stamp]) -> Book:
    """Return the book as it is now: providers with a new stamp read again, everything priced and in order."""
    keep = book.quotes if book.arrangement.expected_s == arrangement.expected_s else {}
    with collector_held():
        quotes = {
            name: keep[name]
            if name in keep and book.stamps.get(name) == stamp
            else sorted(quotes_for(load_listing(store, name), expected_s=arrangement.expected_s), key=_by_price)
            for name, stamp in stamps.items()
        }
        listing = Listing(_in_order([quote for some in quotes.values() for quote in some], arrangement))
        listing.prepare()
    return replace(book, arrangement=arrangement, stamps=dict(stamps), quotes=quotes, listing=listing)


def _by_price(quote: Quote) -> tuple[MicroUsdPerHour, str]:
    return quote.effective_micro_usd_per_hour, quote.offer.id


def _in_order(quotes: list[Quote], arrangement: Arrangement) -> list[Quote]:
    order = ORDERS[arrangement.order]
    value = order.value
    if order.is_price and arrangement.per_gpu:
        value = lambda quote: order.value(quote) / max(1, quote.offer.gpu_count)  # noqa: E731
    # What is equal stays in the order of price, then of id, so that nothing moves without a reason. Each provider's quotes
    # are in that order already, which makes this quick: the interface stands still meanwhile.
    quotes.sort(key=_by_price)
    known = [quote for quote in quotes if value(quote) is not None]
    unknown = [quote for quote in quotes if value(quote) is None]
    known.sort(key=value, reverse=arrangement.is_reversed)
    return known + unknown
