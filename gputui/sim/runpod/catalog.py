"""The catalog: GPU types with prices and stock, and data centers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gputui.sim.gate import Answer, Call
from gputui.sim.runpod.create import numbers
from gputui.sim.runpod.data import (
    CLOUDS,
    COMMUNITY,
    DATA_CENTERS,
    GPU_BY_ID,
    GPUS,
    HIGH_PERFORMANCE,
    SECURE,
    STANDARD,
    DataCenter,
    GpuModel,
    pool_name,
)
from gputui.sim.runpod.errors import not_found, refused
from gputui.sim.runpod.fields import query_flag, query_whole, query_word, query_words
from gputui.sim.runpod.paging import paged
from gputui.sim.runpod.state import PROVIDER, Tenant
from gputui.sim.world import World

_PRODUCTS = ("POD", "CLUSTER", "SERVERLESS")
_STOCK_FILTERS = ("product", "count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion")
_REGIONS = (
    "NORTH_AMERICA", "SOUTH_AMERICA", "EUROPE", "ASIA", "MIDDLE_EAST", "AFRICA", "OCEANIA", "ANTARCTICA", "UNKNOWN",
)  # fmt: skip
_CERTIFICATES = (
    "GDPR", "ISO_IEC_27001", "ISO_14001", "PCI_DSS", "HITRUST", "SOC_1_TYPE_2", "SOC_2_TYPE_2", "SOC_3_TYPE_2", "ITAR",
    "FISMA_HIGH", "HIPAA", "RENEWABLE",
)  # fmt: skip
_UNKNOWN_GPU: dict[str, Any] = {
    "id": "unknown",
    "name": "unknown",
    "pool": None,
    "manufacturer": "UNKNOWN",
    "memory": 0,
    "secure": False,
    "community": False,
    "price": {"secure": 0.0, "community": 0.0},
    "maxCount": {"secure": 0, "community": 0},
}


@dataclass(frozen=True, slots=True)
class _StockQuery:
    """What stock is asked for: so many GPUs at once in one cloud, in some countries, with some CUDA version."""

    count: int
    cloud: str
    countries: Sequence[str]
    versions: Sequence[str]
    least_version: str | None

    def takes(self, version: str) -> bool:
        """Say whether a CUDA version is one of those asked for."""
        if self.versions:
            return version in self.versions
        return self.least_version is None or numbers(version) >= numbers(self.least_version)


async def gpus(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /catalog/gpus`. With country codes, a type without a data center there is left out."""
    query = _stock_query(call)
    shown = [
        _gpu(call.world, model, query)
        for model in GPUS
        if query is None or not query.countries or _centers_of(model, query)
    ]
    if call.world.faults.flag("runpod_unknown_gpu") and not (query and query.countries):
        shown.append({**_UNKNOWN_GPU, **({"availability": "NONE"} if query else {})})
    return paged(call, "gpus", shown)


async def gpu(call: Call, tenant: Tenant) -> Answer:
    query = _stock_query(call)
    model = GPU_BY_ID.get(unquote(call.path["id"]))
    if model is None:
        raise not_found("gpu type")
    return Answer(_gpu(call.world, model, query))


async def data_centers(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /catalog/datacenters`; filters of different kinds must all be met."""
    regions = query_words(call, "regions", _REGIONS)
    types = query_words(call, "networkVolumeTypes", (STANDARD, HIGH_PERFORMANCE))
    compliance = query_words(call, "compliance", _CERTIFICATES)
    has_network = query_flag(call, "globalNetwork")
    include = _center_include(call)
    found = [
        center
        for center in DATA_CENTERS.values()
        if (not regions or center.region in regions)
        and set(types) <= set(center.volume_types)
        and set(compliance) <= set(center.compliance)
        and has_network in (None, center.has_global_network)
    ]
    return paged(call, "dataCenters", [_center(call.world, center, include) for center in found])


async def data_center(call: Call, tenant: Tenant) -> Answer:
    include = _center_include(call)
    center = DATA_CENTERS.get(call.path["id"])
    if center is None:
        raise not_found("data center")
    return Answer(_center(call.world, center, include))


def _stock_query(call: Call) -> _StockQuery | None:
    """Return what stock is asked for, None where none is. Raises ApiError 400 or 422."""
    include = query_words(call, "include", ("AVAILABILITY",))
    products = query_words(call, "product", _PRODUCTS)
    count = query_whole(call, "count", 1)
    cloud = query_word(call, "cloud", CLOUDS)
    countries = query_words(call, "countryCodes", pattern="[A-Z]{2}")
    versions = query_words(call, "cudaVersions", pattern=r"\d+\.\d+")
    least = query_words(call, "minCudaVersion", pattern=r"\d+(\.\d+)?")
    if not include:
        lone = next((name for name in _STOCK_FILTERS if call.query(name) is not None), None)
        if lone is not None:
            raise refused(f"{lone} is only valid with include=AVAILABILITY")
        return None
    if not products:
        raise refused("product is required with include=AVAILABILITY")
    if versions and least:
        raise refused("cudaVersions and minCudaVersion are mutually exclusive")
    return _StockQuery(count or 1, cloud or SECURE, countries, versions, least[0] if least else None)


def _gpu(world: World, model: GpuModel, query: _StockQuery | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": model.id,
        "name": model.name,
        "pool": model.pool,
        "manufacturer": model.manufacturer,
        "memory": model.vram_gb,
        "secure": bool(model.usd[SECURE]),
        "community": bool(model.usd[COMMUNITY]),
        "price": {cloud.lower(): _price(world, model, cloud) for cloud in CLOUDS},
        "maxCount": {cloud.lower(): model.max_count[cloud] for cloud in CLOUDS},
    }
    if model.serverless_usd is not None:
        shown["price"]["serverless"] = float(model.serverless_usd)
    return shown if query is None else shown | _stock(world, model, query)


def _price(world: World, model: GpuModel, cloud: str) -> float:
    """Return dollars per hour of one GPU, 0 in a cloud that does not have the type."""
    return float(world.list_price_usd(PROVIDER, pool_name(model.id, cloud))) if model.usd[cloud] else 0.0


def _stock(world: World, model: GpuModel, query: _StockQuery) -> dict[str, Any]:
    """Return what a catalog entry says of its stock."""
    offered = [version for version in model.cuda if query.takes(version)]
    is_asked = bool(query.versions) or query.least_version is not None
    has_version = not is_asked or any(version not in model.full_cuda for version in offered)
    fits = has_version and query.count <= model.max_count[query.cloud]
    levels = {
        center.id: _level(world, model, query.cloud, center.id, query.count) if fits else "NONE"
        for center in _centers_of(model, query)
    }
    best = max(levels.values(), key=_LEVELS.index, default="NONE")
    shown: dict[str, Any] = {"availability": best}
    is_placeless = query.cloud == COMMUNITY and world.faults.flag("runpod_placeless_community")
    if best != "NONE" and not is_placeless:
        shown["dataCenters"] = [
            {"id": center_id, "name": DATA_CENTERS[center_id].name, "availability": level}
            for center_id, level in levels.items()
        ]
    if offered:
        shown["cudaVersions"] = [
            {"version": version, "available": best != "NONE" and version not in model.full_cuda} for version in offered
        ]
    return shown


_LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


def _centers_of(model: GpuModel, query: _StockQuery) -> list[DataCenter]:
    """Return where a GPU type stands in the cloud and the countries asked for."""
    centers = [DATA_CENTERS[center_id] for center_id in model.stock[query.cloud]]
    return [center for center in centers if not query.countries or center.country in query.countries]


def _level(world: World, model: GpuModel, cloud: str, center_id: str, count: int) -> str:
    """Return how many pods of so many GPUs could be placed now, in a word."""
    places = world.free(PROVIDER, pool_name(model.id, cloud), center_id) // count
    return _LEVELS[(places >= 1) + (places >= 4) + (places >= 12)]


def _center_include(call: Call) -> list[str]:
    return query_words(call, "include", ("GPU_AVAILABILITY", "CPU_AVAILABILITY"))


def _center(world: World, center: DataCenter, include: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": center.id,
        "name": center.name,
        "region": center.region,
        "globalNetwork": center.has_global_network,
        "networkVolumeTypes": list(center.volume_types),
        "compliance": list(center.compliance),
    }
    standing = [model for model in GPUS if center.id in model.stock[SECURE]]
    if standing and "GPU_AVAILABILITY" in include:
        shown["gpuAvailability"] = [
            {"id": model.id, "name": model.name, "availability": _level(world, model, SECURE, center.id, 1)}
            for model in standing
        ]
    return shown
