"""TensorDock's JSON as it travels: the several envelopes of the v2 API, and one model per item.

Documentation and answers disagree about where things lie, so that every form met is read: an item bare, under `data`, or
under `data.attributes`; a list as `data`, as a member of `data`, or of `data.attributes`. Every field is optional and read
leniently: one that is missing or of the wrong kind becomes None and the rest of the item stays. What an item must have is
decided in `mapping`. Sources: TensorDock docs, getting-started, instance-creation, instance-management and secrets; live
answers as read by public clients (apartmentlines/terraform-provider-tensordock, acaracappa/cloud-gpu-shopper).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator

PROVIDER = "tensordock"


class Unreadable(ValueError):
    """A body without the parts that every good answer of this API has."""


def _none_if_invalid(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


def _whole_part(value: Any) -> Any:
    """Return the whole units of a number that may be fractional, as sizes of hosts are."""
    return math.floor(value) if isinstance(value, float) and math.isfinite(value) else value


_Lenient = WrapValidator(_none_if_invalid)
Text = Annotated[str | None, _Lenient]
Whole = Annotated[Annotated[int, Field(ge=0, lt=10**9)] | None, BeforeValidator(_whole_part), _Lenient]
Amount = Annotated[Annotated[Decimal, Field(ge=0, lt=10**9)] | None, _Lenient]
Flag = Annotated[bool | None, _Lenient]
Values = Annotated[list[Any] | None, _Lenient]
Members = Annotated[dict[str, Any] | None, _Lenient]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class WireResources(_Item):
    """The most that can be had of each part at a place: threads and GB, not per GPU."""

    max_vcpus: Whole = None
    max_ram_gb: Whole = None
    max_storage_gb: Whole = None


class WirePricing(_Item):
    """USD per hour for one thread, one GB of memory and one GB of disk."""

    per_vcpu_hr: Amount = None
    per_gb_ram_hr: Amount = None
    per_gb_storage_hr: Amount = None


class WireNetwork(_Item):
    port_forwarding_available: Flag = None


class WireGpu(_Item):
    """One GPU model at one location. `price_per_hr` is USD for one GPU; `max_count` the most in one machine, 0 for none."""

    v0_name: Text = Field(default=None, validation_alias="v0Name")
    max_count: Whole = None
    price_per_hr: Amount = None
    resources: Annotated[WireResources | None, _Lenient] = None
    pricing: Annotated[WirePricing | None, _Lenient] = None
    network_features: Annotated[WireNetwork | None, _Lenient] = None


class WireLocation(_Item):
    """A place. `tier` runs from 0 (someone's home) to 4 (a data centre)."""

    id: Text = None
    city: Text = None
    stateprovince: Text = None
    country: Text = None
    tier: Whole = None
    gpus: Values = None


class WireForward(_Item):
    internal_port: Whole = None
    external_port: Whole = None


class WireMachineParts(_Item):
    """`gpus` maps a display name or a model id to `{"count", "v0Name"}`."""

    gpus: Members = None


class WireInstance(_Item):
    """One machine. `rateHourly` is USD per hour for all of it. `region` is in one page of the documentation only."""

    id: Text = None
    name: Text = None
    status: Text = None
    region: Text = None
    ip_address: Text = Field(default=None, validation_alias=AliasChoices("ipAddress", "ip_address"))
    port_forwards: Values = Field(default=None, validation_alias=AliasChoices("portForwards", "port_forwards"))
    resources: Annotated[WireMachineParts | None, _Lenient] = None
    rate_hourly: Amount = Field(default=None, validation_alias="rateHourly")


class WireMachineGpu(_Item):
    count: Whole = None
    v0_name: Text = Field(default=None, validation_alias="v0Name")


class WireSecret(_Item):
    """`type` is SSHKEY, GENERIC or SECRET in lists, and plain "secret" where one is shown by itself. Values are not read."""

    id: Text = None
    name: Text = None
    type: Text = None


_ItemT = TypeVar("_ItemT", bound=_Item)


def read(model: type[_ItemT], value: Any) -> _ItemT | None:
    """Return an item, None when the value is not an object at all."""
    return model.model_validate(value) if isinstance(value, dict) else None


def item_of(body: Any) -> dict[str, Any]:
    """Return the item an answer is about, with its attributes beside its id. Raises Unreadable for anything but an object."""
    inner = body.get("data") if isinstance(body, dict) else None
    item = inner if isinstance(inner, dict) else body
    if not isinstance(item, dict):
        raise Unreadable("no item in the answer")
    return _flat(item)


def rows_of(body: Any, name: str) -> list[Any]:
    """Return a list from any of its forms; `name` is what its member is called where it has a name.

    Raises Unreadable when there is none, so that a list that was not understood is never taken for an empty one.
    """
    inner = body.get("data") if isinstance(body, dict) else None
    if isinstance(inner, dict):
        inner = _flat(inner).get(name)
    if not isinstance(inner, list):
        raise Unreadable("no list in the answer")
    return [_flat(row) if isinstance(row, dict) else row for row in inner]


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    attributes = item.get("attributes")
    if not isinstance(attributes, dict):
        return item
    return {**item, **attributes, "id": item.get("id") or attributes.get("id")}
