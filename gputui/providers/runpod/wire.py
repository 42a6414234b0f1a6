"""RunPod's JSON as it travels: one model per item, and what each answer wraps its items in.

Every field is optional and read leniently: one that is missing, null or of the wrong kind becomes None and the rest of the
item stays; members we do not know are ignored. What an item must have is decided in `mapping` and `resources`. Source: RunPod
REST API 2.0.0 (api.runpod.io/v2/openapi.json, 2026-08) with the additions of 2026-09. `env`, which holds a pod's secrets in
clear, is not read at all.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.alias_generators import to_camel

PROVIDER = "runpod"


class Unreadable(ValueError):
    """A body without the parts that every good answer of this API has."""


def _none_if_invalid(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


_Lenient = WrapValidator(_none_if_invalid)
Text = Annotated[str | None, _Lenient]
Whole = Annotated[Annotated[int, Field(ge=0, lt=10**9)] | None, _Lenient]
Amount = Annotated[Annotated[Decimal, Field(gt=-(10**9), lt=10**9)] | None, _Lenient]
Flag = Annotated[bool | None, _Lenient]
Values = Annotated[list[Any] | None, _Lenient]
Members = Annotated[dict[str, Any] | None, _Lenient]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True, alias_generator=to_camel)


class WirePrices(_Item):
    """USD per hour for one GPU. A cloud that does not have the type may carry 0."""

    secure: Amount = None
    community: Amount = None


class WireCounts(_Item):
    """How many GPUs the largest host of a type has."""

    secure: Whole = None
    community: Whole = None


class WireGpuType(_Item):
    """A GPU type; `memory` is GB of one GPU. Stock is that of the cloud and count that were asked for."""

    id: Text = None
    memory: Whole = None
    secure: Flag = None
    community: Flag = None
    price: Annotated[WirePrices | None, _Lenient] = None
    max_count: Annotated[WireCounts | None, _Lenient] = None
    availability: Text = None
    data_centers: Values = None


class WireDataCenter(_Item):
    """A data centre; `availability` only where it is listed under a GPU type."""

    id: Text = None
    name: Text = None
    availability: Text = None
    network_volume_types: Values = None


class WireGpu(_Item):
    id: Text = None
    count: Whole = None


class WireSsh(_Item):
    """One way in. Told whether or not an sshd runs in the image."""

    host: Text = None
    port: Whole = None
    username: Text = None


class WireWays(_Item):
    direct: Annotated[WireSsh | None, _Lenient] = None


class WirePersistent(_Item):
    size: Whole = None


class WireMounts(_Item):
    persistent: Annotated[WirePersistent | None, _Lenient] = None
    network: Values = None


class WireNetworkMount(_Item):
    volume_id: Text = None


class WirePod(_Item):
    """A pod. `cost` is USD per hour of the whole pod now, `disk` GB of its container's disk.

    `runtime` is empty or null until its container has begun.
    """

    id: Text = None
    name: Text = None
    status: Text = None
    gpu: Annotated[WireGpu | None, _Lenient] = None
    data_center_id: Text = None
    cost: Amount = None
    disk: Whole = None
    ssh: Annotated[WireWays | None, _Lenient] = None
    mounts: Annotated[WireMounts | None, _Lenient] = None
    runtime: Members = None
    created_at: Text = None
    started_at: Text = None


class WireVolume(_Item):
    """A network volume; `size` is GB."""

    id: Text = None
    name: Text = None
    size: Whole = None
    data_center: Text = None
    type: Text = None


class WireCharge(_Item):
    """One bucket of the bill: of a pod where it names one, else of the whole account. Amounts are USD."""

    start_time: Text = None
    end_time: Text = None
    pod_id: Text = None
    total_amount: Amount = None
    pod_gpu_amount: Amount = None
    pod_cpu_amount: Amount = None
    pod_disk_amount: Amount = None


class WireLogLine(_Item):
    source: Text = None
    line: Text = None
    ts: Text = None


class WireAccount(_Item):
    """What the older GraphQL API says of the account, in USD."""

    client_balance: Amount = None


def rows_of(body: Any, member: str) -> list[Any]:
    """Return the list an answer wraps. Raises Unreadable for anything else, so that it is never taken for empty."""
    rows = body.get(member) if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise Unreadable(f"no {member} in the answer")
    return rows


def next_cursor(body: Any) -> str | None:
    """Return where the next page begins, None when this was the last (or the API has no pages yet)."""
    pagination = body.get("pagination") if isinstance(body, dict) else None
    if not isinstance(pagination, dict) or pagination.get("hasNextPage") is not True:
        return None
    cursor = pagination.get("nextCursor")
    if not isinstance(cursor, str) or not cursor:
        raise Unreadable("there is a next page, but nobody says where")
    return cursor


def key_lines_of(body: Any) -> list[str]:
    """Return the registered public keys, all of them. Raises Unreadable when one cannot be read: the set is written whole."""
    lines = rows_of(body, "keys")
    if not all(isinstance(line, str) for line in lines):
        raise Unreadable("a key that is no text")
    return lines


_ItemT = TypeVar("_ItemT", bound=_Item)


def read(model: type[_ItemT], value: Any) -> _ItemT | None:
    """Return an item, None when the value is not an object at all."""
    return model.model_validate(value) if isinstance(value, dict) else None
