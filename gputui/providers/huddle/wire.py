"""Huddle's JSON as it travels: the envelope, the two list forms, and one model per item.

Every field is optional and read leniently: one that is missing or of the wrong kind becomes None and the rest of the item
stays. What an item must have is decided in `mapping`. Sources: Huddle docs, gpu-overview, gpu-offers/listAvailableGPUs,
gpu-deployments, gpu-ssh-keys, gpu-billing, gpu-volumes, gpu-waitlist, gpu-webhooks, gpu-api-keys; the vendor's client
(github.com/Huddle01/get-hudl) for list forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator


class Unreadable(ValueError):
    """A body without the parts that every answer of this API has."""


def _none_if_invalid(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


_Lenient = WrapValidator(_none_if_invalid)
Text = Annotated[str | None, _Lenient]
Whole = Annotated[Annotated[int, Field(gt=-(10**15), lt=10**15)] | None, _Lenient]
Amount = Annotated[Annotated[Decimal, Field(gt=-(10**9), lt=10**9)] | None, _Lenient]
Flag = Annotated[bool | None, _Lenient]
Values = Annotated[list[Any] | None, _Lenient]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class WireBalance(_Item):
    """`balance_cents` in US cents, `balance_usd` in US dollars."""

    balance_cents: Whole = None
    balance_usd: Amount = None


class WireRegion(_Item):
    code: Text = None
    name: Text = None
    country_code: Text = None


class WireOffer(_Item):
    """One instance type. Prices are USD per hour for the whole instance; `regions` holds objects or plain codes."""

    instance_type: Text = None
    gpu_model: Text = None
    gpu_count: Whole = None
    gpu_vram_gb: Whole = None
    vcpu_count: Whole = None
    ram_gb: Whole = None
    storage_gb: Whole = None
    price_per_hr: Amount = None
    currency: Text = None
    is_available: Flag = None
    regions: Values = None


class WireSpecs(_Item):
    gpu_model: Text = None
    gpu_count: Whole = None
    gpu_vram_gb: Whole = None
    price_per_hr: Amount = None
    currency: Text = None


class WireDeployment(_Item):
    """One machine. `ssh_port` and `started_at` are in no sample and read in case they come."""

    id: Text = None
    provider_id: Text = None
    hostname: Text = None
    location: Text = None
    status: Text = None
    ip: Text = None
    ssh_user: Text = None
    ssh_port: Whole = None
    specs: Annotated[WireSpecs | None, _Lenient] = None
    created_at: Text = None
    started_at: Text = None


class WireImage(_Item):
    id: Text = None
    image_type: Text = None
    slug: Text = None
    name: Text = None
    details: Values = None
    is_default: Flag = None
    is_cluster: Flag = None


class WireSshKey(_Item):
    id: Text = None
    name: Text = None
    fingerprint: Text = None


class WireVolume(_Item):
    """One volume. `size` is in GB; `monthly_price` and `base_hourly_cost` are USD for the whole of it."""

    id: Text = None
    instance_id: Text = None
    name: Text = None
    status: Text = None
    size: Whole = None
    type: Text = None
    location: Text = None
    created_at: Text = None
    monthly_price: Amount = None
    base_hourly_cost: Amount = None
    currency: Text = None


class WireVolumePrice(_Item):
    price_per_month_per_gb: Amount = None
    currency: Text = None


class WireVolumeType(_Item):
    """One kind of volume. Its members are not documented; these are the upstream cloud's."""

    type: Text = None
    price: Annotated[WireVolumePrice | None, _Lenient] = None


class WireWaitRequest(_Item):
    """One place in the waitlist; an empty `location` means any."""

    id: Text = None
    cluster_type: Text = None
    location: Text = None
    status: Text = None
    auto_deploy: Flag = None
    created_at: Text = None


class WireWebhook(_Item):
    """One webhook. `secret` comes once, when it is made."""

    id: Text = None
    url: Text = None
    events: Values = None
    is_active: Flag = None
    created_at: Text = None
    secret: Annotated[str | None, _Lenient, Field(repr=False)] = None


class WireApiKey(_Item):
    """One API key. `secret` comes once, when it is made."""

    id: Text = None
    name: Text = None
    prefix: Text = None
    created_at: Text = None
    revoked_at: Text = None
    secret: Annotated[str | None, _Lenient, Field(repr=False)] = None


class _WireMeta(_Item):
    total: Whole = None
    next_cursor: Text = None
    cursor: Text = None
    has_more: Flag = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its rows as they came, and what was said of the pages after it."""

    rows: list[Any]
    total: int | None = None
    cursor: str | None = None
    has_more: bool | None = None


def data_of(body: Any) -> Any:
    """Return what the envelope `{"code":"OK","data":…}` holds. Raises Unreadable when there is no `data`."""
    if not isinstance(body, dict) or "data" not in body:
        raise Unreadable("no data in the answer")
    return body["data"]


def page_of(body: Any) -> Page:
    """Return a page from either list form: `{"data":[…],"meta":{…}}` flat, or nested one level down under `data`.

    A null list is an empty one. Raises Unreadable for anything else, so that it is never taken for an empty list.
    """
    data = data_of(body)
    holder = body
    if isinstance(data, dict):
        holder, data = data, data_of(data)
    if data is None:
        data = []
    if not isinstance(data, list):
        raise Unreadable("no list in the answer")
    meta = read(_WireMeta, holder.get("meta")) or _WireMeta()
    return Page(data, meta.total, meta.next_cursor or meta.cursor or None, meta.has_more)


_ItemT = TypeVar("_ItemT", bound=_Item)


def read(model: type[_ItemT], value: Any) -> _ItemT | None:
    """Return an item, None when the value is not an object at all."""
    return model.model_validate(value) if isinstance(value, dict) else None
