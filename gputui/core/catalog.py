"""The market: refresh every account side by side, and read offers and prices back from the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gputui.core import mounts
from gputui.core.accounts import Accounts
from gputui.core.routing import Plan, ProviderFacts, rank
from gputui.model.clock import Clock
from gputui.model.errors import GputuiError, Malformed, Unreachable
from gputui.model.gpus import ORDER, fold, gpus_for_request, vram_of
from gputui.model.types import JobSpec, Offer, Stock, Volume
from gputui.model.units import MicroUsdPerHour, Ms
from gputui.providers.registry import PROVIDERS, provider_title
from gputui.store import offers as offer_store
from gputui.store.db import Store

REFRESH_DEADLINE_S = 25.0


@dataclass(frozen=True, slots=True)
class RefreshOutcome:
    """How one provider's refresh went. `error` is None when it succeeded; the old rows stay when it did not."""

    provider: str
    offer_count: int
    latency_ms: int
    error: GputuiError | None = None


@dataclass(frozen=True, slots=True)
class PriceCell:
    """The cheapest offer of one GPU model at one provider, per GPU and hour; a sold-out one only when nothing else is."""

    provider: str
    gpu: str
    price_micro_usd_per_gpu_hour: MicroUsdPerHour
    stock: Stock | None
    offer_id: str
    region: str | None
    offer_count: int
    sold_out_count: int
    fetched_at_ms: Ms


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One GPU model across providers. `best` is the cheapest cell that is not sold out."""

    gpu: str
    vram_gib: int | None
    cells: Mapping[str, PriceCell]
    best: PriceCell | None


def provider_facts() -> dict[str, ProviderFacts]:
    """Return what ranking needs of every provider."""
    return {name: ProviderFacts(info.title, info.billing, info.typical_boot_s) for name, info in PROVIDERS.items()}


async def refresh(
    store: Store,
    accounts: Accounts,
    clock: Clock,
    *,
    providers: Sequence[str] | None = None,
    deadline_s: float = REFRESH_DEADLINE_S,
) -> list[RefreshOutcome]:
    """Fetch offers of all usable accounts (or of `providers`) side by side; each replaces its own rows when it is done.

    Never raises for a provider: a failure is an outcome, and the store remembers why.
    """
    import asyncio  # a tenth of a second that views which only read the store do not pay

    wanted = accounts.usable() if providers is None else list(providers)
    return list(await asyncio.gather(*(_refresh_one(store, accounts, clock, name, deadline_s) for name in wanted)))


async def _refresh_one(store: Store, accounts: Accounts, clock: Clock, name: str, deadline_s: float) -> RefreshOutcome:
    import asyncio

    title, started_ms = provider_title(name), clock.now_ms()
    try:
        async with asyncio.timeout(deadline_s):
            offers = await accounts.client(name).fetch_offers()
    except TimeoutError:
        error: GputuiError = Unreachable(f"{title} sent no complete list within {deadline_s:.0f} s.", provider=name)
    except GputuiError as failure:
        error = failure
    except (ValueError, TypeError, KeyError, LookupError) as failure:
        # A client that trips over an answer must not take the other providers down with it.
        error = Malformed(f"{title} sent offers that could not be read ({type(failure).__name__}).", provider=name)
    else:
        latency_ms = clock.now_ms() - started_ms
        count = offer_store.replace_snapshot(store, name, offers, now_ms=clock.now_ms(), latency_ms=latency_ms)
        return RefreshOutcome(name, count, latency_ms)
    now_ms = clock.now_ms()
    offer_store.note_failed_refresh(store, name, now_ms=now_ms, error=str(error), error_code=error.code)
    return RefreshOutcome(name, 0, now_ms - started_ms, error)


def stale_providers(store: Store, accounts: Accounts, *, now_ms: Ms, max_age_s: float) -> list[str]:
    """Return the usable providers whose offers are older than `max_age_s`, or were never fetched."""
    statuses = offer_store.load_statuses(store)
    oldest_ms = now_ms - int(max_age_s * 1000)
    due = [
        name
        for name in accounts.names()
        if (status := statuses.get(name)) is None
        or status.last_ok_ms is None
        or not oldest_ms <= status.last_ok_ms <= now_ms  # later than now: the clock went back
    ]
    return [name for name in due if accounts.account(name).usable]  # last: a look into the keyring takes its time


def price_matrix(store: Store, *, gpu: str | None = None, providers: Sequence[str] | None = None) -> list[PriceRow]:
    """Return one row per GPU model on offer, in the order of the model table; unknown spellings last.

    `gpu` narrows to what a request for it would accept.
    """
    names = _names_for(store, gpu) if gpu is not None else None
    rows: dict[str, dict[str, PriceCell]] = {}
    for cell in offer_store.load_cheapest(store, gpus=names, providers=providers):
        cells = rows.setdefault(cell.gpu, {})
        in_stock = cells.get(cell.provider)  # what can be had comes before what is sold out
        if in_stock is not None:
            both = in_stock.offer_count + cell.offer_count
            cells[cell.provider] = replace(in_stock, offer_count=both, sold_out_count=cell.offer_count)
            continue
        stock = Stock(cell.stock) if cell.stock else None
        cells[cell.provider] = PriceCell(
            provider=cell.provider,
            gpu=cell.gpu,
            price_micro_usd_per_gpu_hour=cell.price_micro_usd_per_gpu_hour,
            stock=stock,
            offer_id=cell.offer_id,
            region=cell.region,
            offer_count=cell.offer_count,
            sold_out_count=cell.offer_count if stock is Stock.NONE else 0,
            fetched_at_ms=cell.fetched_at_ms,
        )
    last = len(ORDER)
    ordered = sorted(rows.items(), key=lambda item: (ORDER.get(item[0], last), item[0]))
    return [PriceRow(name, vram_of(name), cells, _best(cells)) for name, cells in ordered]


def _names_for(store: Store, gpu: str) -> Collection[str]:
    """Return the names on offer that serve a request: those of our table, else a provider's own spelling of it."""
    own = fold(gpu)
    return gpus_for_request(gpu) or {name for name in offer_store.known_gpus(store) if fold(name) == own}


def _best(cells: Mapping[str, PriceCell]) -> PriceCell | None:
    available = [cell for cell in cells.values() if cell.stock is not Stock.NONE]
    return min(available, key=lambda cell: (cell.price_micro_usd_per_gpu_hour, cell.provider), default=None)


def plan(
    store: Store,
    accounts: Accounts,
    spec: JobSpec,
    *,
    volumes: Sequence[Volume] = (),
    excluded_offers: Mapping[str, str] | None = None,
    excluded_providers: Mapping[str, str] | None = None,
) -> Plan:
    """Rank what the store knows for a job. Offers of accounts that cannot be used are left out, and said to be.

    `volumes` are those that the job names, already found (`mounts.find_volumes`). `excluded_offers` (by offer id) and
    `excluded_providers` (by name) give the reasons of earlier attempts. Raises AuthError, NotSupported.
    """
    if len(volumes) != len(spec.volumes):
        raise ValueError("the volumes of a job are found before it is planned")
    usable = accounts.usable()
    wanted = [spec.provider] if spec.provider else accounts.names()
    unavailable = {name: account.problem for name in wanted if (account := accounts.account(name)).problem is not None}
    offers = offer_store.load_offers(store, gpus=gpus_for_request(spec.gpu) or None, providers=usable)
    excluded = dict(excluded_offers or {})
    if excluded_providers:
        excluded.update({o.id: excluded_providers[o.provider] for o in offers if o.provider in excluded_providers})
    obstacle = mounts.obstacle(accounts.client(spec.provider), volumes) if spec.provider and volumes else None
    return rank(
        offers,
        spec,
        provider_facts(),
        excluded=excluded,
        unavailable=unavailable,
        volumes=volumes,
        obstacle=obstacle,
    )


def load_offers(
    store: Store, *, gpu: str | None = None, provider: str | None = None, limit: int | None = None
) -> list[Offer]:
    """Return offers for a GPU request (None: all) at one provider (None: all), cheapest first."""
    names = _names_for(store, gpu) if gpu is not None else None
    return offer_store.load_offers(store, gpus=names, providers=[provider] if provider else None, limit=limit)
