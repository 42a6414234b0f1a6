"""Searching the market: what each offer shows and costs depends on the time, on who asks and on the query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.vastai.errors import bad_query, refused
from gputui.sim.vastai.fields import body_of, json_object
from gputui.sim.vastai.hardware import GPUS
from gputui.sim.vastai.market import HOURS_PER_MONTH, Listing
from gputui.sim.vastai.query import NEVER, Query, read_query
from gputui.sim.vastai.state import Caller, Contract, VastState, gives_way

DEFAULT_STORAGE_GB = 8.0

ALIASES: Mapping[str, str] = {
    "gpu_totalram": "gpu_total_ram",
    "dphtotal": "dph_total",
    "dph": "dph_total",
    "cuda_vers": "cuda_max_good",
    "dlperf_usd": "dlperf_per_dphtotal",
    "flops_usd": "flops_per_dphtotal",
    "ubuntu_version": "os_version",
    "target_reliability": "expected_reliability",
}
_DEFAULTS = {"verified": True, "rentable": True, "rented": False}


class OfferRow:
    """One offer as one caller's query sees it."""

    def __init__(
        self, state: VastState, listing: Listing, query: Query, *, holder: Contract | None, is_rented: bool
    ) -> None:
        self.listing = listing
        self.is_bid = query.kind == "bid"
        self.is_rented = is_rented
        self._state = state
        self._gb = query.allocated_gb
        self._holder = holder

    def value(self, field: str) -> Any:
        if field in _FILTERED:
            return _FILTERED[field](self)
        return _COMPUTED[field](self) if field in _COMPUTED else self.listing.fields[field]

    @property
    def id(self) -> int:
        return self._state.market.offer_id(self.listing)

    @property
    def is_rentable(self) -> bool:
        """Whether it can be had: it is free, or held by a bid that an on-demand rental or a higher bid beats."""
        state = self._state
        return state.market.exists(self.listing) and gives_way(self._holder, state.world.now_ms())

    @cached_property
    def min_bid(self) -> float:
        return float(bid_floor_usd(self.listing, self._holder))

    @cached_property
    def dph_base(self) -> float:
        return self.min_bid if self.is_bid else float(self._state.market.gpu_usd(self.listing))

    @cached_property
    def storage(self) -> float:
        return float(self.listing.storage_usd_per_gb_month) * self._gb / HOURS_PER_MONTH

    @property
    def dph_total(self) -> float:
        return self.dph_base + self.storage

    @property
    def ends_s(self) -> float:
        return self._state.market.end_ms(self.listing) / 1000

    @property
    def lasts_s(self) -> float:
        return self.ends_s - self._state.world.now_ms() / 1000

    def render(self) -> dict[str, Any]:
        """Return the offer as an answer shows it."""
        shown = {"id": self.id, **self.listing.fields}
        shown.update((field, compute(self)) for field, compute in _COMPUTED.items())
        return shown


def bid_floor_usd(listing: Listing, holder: Contract | None) -> Decimal:
    """Return the lowest bid that gets a listing now: one cent more than that of an interruptible instance on it."""
    if holder is None or not holder.is_bid:
        return listing.bid_floor_usd
    return max(listing.bid_floor_usd, holder.gpu_usd_per_hour + Decimal("0.01"))


def country_of(geolocation: str | None) -> str | None:
    """Return the two-letter country code at the end of "City, CC"."""
    return geolocation[-2:] if geolocation else None


def breakdown(gpu: float, disk: float) -> dict[str, Any]:
    total = gpu + disk
    return {
        "gpuCostPerHour": gpu,
        "diskHour": disk,
        "totalHour": total,
        "discountTotalHour": 0,
        "discountedTotalPerHour": total,
    }


def _adjusted(row: OfferRow) -> float:
    return row.dph_total + float(row.listing.up_usd_per_gb) + float(row.listing.down_usd_per_gb)


_COMPUTED: Mapping[str, Callable[[OfferRow], Any]] = {
    "ask_contract_id": lambda row: row.id,
    "dph_base": lambda row: row.dph_base,
    "dph_total": lambda row: row.dph_total,
    "dph_total_adj": _adjusted,
    "discounted_dph_total": lambda row: row.dph_total,
    "min_bid": lambda row: row.min_bid,
    "is_bid": lambda row: row.is_bid,
    "storage_cost": lambda row: float(row.listing.storage_usd_per_gb_month),
    "storage_total_cost": lambda row: row.storage,
    "inet_up_cost": lambda row: float(row.listing.up_usd_per_gb),
    "inet_down_cost": lambda row: float(row.listing.down_usd_per_gb),
    "internet_up_cost_per_tb": lambda row: float(row.listing.up_usd_per_gb * 1024),
    "internet_down_cost_per_tb": lambda row: float(row.listing.down_usd_per_gb * 1024),
    "vram_costperhour": lambda row: row.dph_base / (row.listing.fields["gpu_total_ram"] / 1024),
    "search": lambda row: breakdown(row.dph_base, row.storage),
    "instance": lambda row: breakdown(0, row.storage),
    "dlperf_per_dphtotal": lambda row: row.listing.fields["dlperf"] / row.dph_total,
    "flops_per_dphtotal": lambda row: row.listing.fields["total_flops"] / row.dph_total,
    "score": lambda row: row.listing.fields["dlperf"] / row.dph_total * row.listing.fields["reliability"],
    "rentable": lambda row: row.is_rentable,
    "rented": lambda row: row.is_rented,
    "avail_vol_ask_id": lambda row: row.listing.volume_ask_id if row.listing.volume_gb else None,
    "avail_vol_size": lambda row: row.listing.volume_gb or None,
    "avail_vol_dph": lambda row: (
        float(row.listing.volume_usd_per_gb_month / HOURS_PER_MONTH) if row.listing.volume_gb else None
    ),
    "start_date": lambda row: row.ends_s - row.listing.period_ms / 1000,
    "end_date": lambda row: row.ends_s,
    "duration": lambda row: row.lasts_s,
}
# Fields that a filter reads otherwise than an answer shows them.
_FILTERED: Mapping[str, Callable[[OfferRow], Any]] = {
    "id": lambda row: NEVER,
    "geolocation": lambda row: country_of(row.listing.fields["geolocation"]),
    "datacenter": lambda row: row.listing.fields["hosting_type"] == 1,
    "verified": lambda row: row.listing.fields["verification"] == "verified",
    "driver_version": lambda row: row.listing.fields["driver_vers"],
}


class Offers:
    """The three forms of the offer search, and the list of GPU names. None of them needs a key."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    async def search(self, call: Call, caller: Caller | None) -> Answer:
        """Serve `POST /bundles/`, whose body is the query, and `GET /bundles/?q=`."""
        if call.request.method == "GET":
            query = call.query("q") or "{}"
            body = json_object(query, refused(400, "invalid_request", "Invalid json body"))
        else:
            body = body_of(call)
        return Answer({"offers": self._find(call, caller, body)})

    async def search_asks(self, call: Call, caller: Caller | None) -> Answer:
        """Serve `PUT /search/asks/`: the query lies under `q`, beside the columns to be answered."""
        body = body_of(call)
        query, columns = body.get("q") or {}, body.get("select_cols") or ["*"]
        if not isinstance(query, dict):
            raise bad_query("q: Input should be a valid dictionary")
        found = self._find(call, caller, query)
        if isinstance(columns, list) and "*" not in columns:
            found = [{name: offer.get(name) for name in columns} for offer in found]
        return Answer({"offers": found})

    async def gpu_names(self, call: Call, caller: Caller | None) -> Answer:
        return Answer({"gpu_names": sorted({gpu.name for gpu in GPUS})})

    def _find(self, call: Call, caller: Caller | None, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        query = read_query(
            body,
            call.world.faults,
            known=frozenset({*_FILTERED, *_COMPUTED, *self._state.market.fields}),
            aliases=ALIASES,
            defaults=_DEFAULTS,
            default_order="score",
            default_gb=DEFAULT_STORAGE_GB,
        )
        return [row.render() for row in query.run(self._rows(caller, query))]

    def _rows(self, caller: Caller | None, query: Query) -> list[OfferRow]:
        state = self._state
        holders = state.market.holders()
        mine = {item.listing.index for item in state.living(caller.tenant)} if caller else set()
        rows = []
        for listing in state.market.listings():
            machine = holders.get(listing.instance.name)
            holder = state.of_machine(machine) if machine is not None else None
            rows.append(OfferRow(state, listing, query, holder=holder, is_rented=listing.index in mine))
        return rows
