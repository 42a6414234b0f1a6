"""Offers, availability, regions, images and the balance."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gputui.sim.catalogue import InstanceType
from gputui.sim.gate import Answer, Call
from gputui.sim.huddle import render
from gputui.sim.huddle.data import IMAGES, PLACES, VOLUME_TYPES, Place, stable_id
from gputui.sim.huddle.fields import bad, not_found, query_flag, query_number, query_whole
from gputui.sim.huddle.state import PROVIDER, Tenant
from gputui.sim.world import World

_SORTS = {
    "price": lambda offer: offer["price_per_hr"],
    "vram": lambda offer: offer["total_vram_gb"],
    "gpu_count": lambda offer: offer["gpu_count"],
    "gpu_model": lambda offer: offer["gpu_model"],
}


def free_places(world: World, type_name: str) -> list[Place]:
    """Return the regions where a type can be ordered now."""
    return [place for place in PLACES if world.free(PROVIDER, type_name, place.code)]


async def balance(call: Call, tenant: Tenant) -> Answer:
    return render.ok(render.balance(call.world.balance_usd(tenant.account)))


async def offers(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /gpus/available`: by page number, six to a page unless asked otherwise."""
    page, limit = query_whole(call, "page", 1, 10_000), query_whole(call, "limit", 6, 100)
    sort_by, order = call.query("sort_by") or "price", call.query("sort_order") or "asc"
    if sort_by not in _SORTS:
        raise bad(f"sort_by must be one of {', '.join(_SORTS)}")
    if order not in ("asc", "desc"):
        raise bad("sort_order must be asc or desc")
    found = [offer for offer in map(_offer_in(call.world), _types(call.world)) if _wanted(call, offer)]
    found.sort(key=lambda offer: offer["instance_type"])
    found.sort(key=_SORTS[sort_by], reverse=order == "desc")
    if call.fires("offers_shift"):
        found = found[1:] + found[:1]
    return render.page(call.world.faults, found[(page - 1) * limit : page * limit], total=len(found))


async def summary(call: Call, tenant: Tenant) -> Answer:
    offer_of = _offer_in(call.world)
    everything = [offer_of(item) for item in _types(call.world)]
    models: dict[str, list[dict[str, Any]]] = {}
    for offer in everything:
        models.setdefault(offer["gpu_model"], []).append(offer)
    return render.ok(
        {
            "total_types": len(everything),
            "available_types": sum(offer["is_available"] for offer in everything),
            "models": [
                {
                    "gpu_model": model,
                    "available": any(offer["is_available"] for offer in group),
                    "min_price_per_hr": min(offer["price_per_hr"] for offer in group),
                    "regions": [
                        place.code
                        for place in PLACES
                        if any(call.world.free(PROVIDER, offer["instance_type"], place.code) for offer in group)
                    ],
                }
                for model, group in models.items()
            ],
        }
    )


async def availability(call: Call, tenant: Tenant) -> Answer:
    name = call.path["cluster_type"]
    if name not in call.world.catalogue(PROVIDER).types:
        raise not_found("instance type", name)
    places = free_places(call.world, name)
    return render.ok(
        {"cluster_type": name, "is_available": bool(places), "regions": [render.place(place) for place in places]}
    )


async def regions(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.place(place) for place in PLACES])


async def images(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /images`; asked for a type, only what boots on a single machine of it."""
    wanted_type, image_type = call.query("cluster_type"), call.query("image_type")
    known = wanted_type is None or wanted_type in call.world.catalogue(PROVIDER).types
    found = [
        image
        for image in IMAGES
        if known and not (wanted_type and image.is_cluster) and image_type in (None, image.image_type)
    ]
    return render.page(call.world.faults, [render.image(image) for image in found], total=len(found))


async def volume_types(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.volume_type(item) for item in VOLUME_TYPES])


def _types(world: World) -> list[InstanceType]:
    return list(world.catalogue(PROVIDER).types.values())


def _offer_in(world: World) -> Callable[[InstanceType], dict[str, Any]]:
    strings = world.faults.choice("region_shape") == "strings"

    def offer(item: InstanceType) -> dict[str, Any]:
        price = world.list_price_usd(PROVIDER, item.name)
        places = free_places(world, item.name)
        stand = places or [place for place in PLACES if item.capacity.get(place.code)] or list(PLACES)
        spot = item.spot_usd_per_hour or price
        return {
            "id": stable_id(f"offer:{item.name}"),
            "instance_type": item.name,
            "gpu_model": item.gpu,
            "gpu_count": item.gpu_count,
            "gpu_vram_gb": item.vram_gib,
            "total_vram_gb": item.gpu_count * item.vram_gib,
            "vcpu_count": item.vcpus,
            "ram_gb": item.ram_gib,
            "storage_gb": item.storage_gib,
            "price_per_hr": float(price),
            "price_per_sec": _per_second(price),
            "spot_price_per_hr": float(spot),
            "spot_price_per_sec": _per_second(spot),
            "currency": "USD",
            "is_available": bool(places),
            "regions": [place.code if strings else render.place(place) for place in stand],
        }

    return offer


def _wanted(call: Call, offer: dict[str, Any]) -> bool:
    model, max_price = call.query("gpu_model"), query_number(call, "max_price")
    min_vram = query_number(call, "min_vram")
    return (
        (offer["is_available"] or not query_flag(call, "available_only", True))
        and (model is None or offer["gpu_model"].lower() == model.lower())
        and (max_price is None or offer["price_per_hr"] <= max_price)
        and (min_vram is None or offer["total_vram_gb"] >= min_vram)
    )


def _per_second(usd_per_hour: Decimal) -> float:
    return float(f"{usd_per_hour / 3600:.3g}")
