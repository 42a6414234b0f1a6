"""Lambda's JSON as it travels: the envelope `{"data": …}` and one model per item.

Every field is optional and read leniently: one that is missing, null or of the wrong kind becomes None and the rest of the
item stays; members we do not know are ignored, because Lambda adds them without a new version. What an item must have is
decided in `mapping`. Source: Lambda Cloud API 1.10.0 (cloud.lambda.ai/api/v1/openapi.json). `jupyter_token` and
`jupyter_url`, which are secrets, are not read at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator

PROVIDER = "lambda"


class Unreadable(ValueError):
    """A body without the parts that every good answer of this API has."""


def _none_if_invalid(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


_Lenient = WrapValidator(_none_if_invalid)
Text = Annotated[str | None, _Lenient]
Whole = Annotated[Annotated[int, Field(ge=0, lt=10**18)] | None, _Lenient]
Cents = Annotated[Annotated[int, Field(ge=0, lt=10**11)] | None, _Lenient]
Flag = Annotated[bool | None, _Lenient]
Values = Annotated[list[Any] | None, _Lenient]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class WireRegion(_Item):
    """`description` is a place in words: "California, USA"."""

    name: Text = None
    description: Text = None


Place = Annotated[WireRegion | None, _Lenient]


class WireSpecs(_Item):
    vcpus: Whole = None
    memory_gib: Whole = None
    storage_gib: Whole = None
    gpus: Whole = None


class WireType(_Item):
    """An instance type. The price is in US cents per hour for the whole instance, the same in every region.

    `architecture` ("x86_64" or "arm64") is not in the document but in the answers.
    """

    name: Text = None
    description: Text = None
    gpu_description: Text = None
    price_cents_per_hour: Cents = None
    architecture: Text = None
    specs: Annotated[WireSpecs | None, _Lenient] = None


class WireTypeEntry(_Item):
    """A type and the regions where it can be had now; an empty list means nowhere."""

    instance_type: Annotated[WireType | None, _Lenient] = None
    regions_with_capacity_available: Values = None


class WireInstance(_Item):
    """One machine. No moment of any kind is told. `ssh_port` is in no document and read in case it comes."""

    id: Text = None
    name: Text = None
    ip: Text = None
    ssh_port: Whole = None
    status: Text = None
    region: Place = None
    instance_type: Annotated[WireType | None, _Lenient] = None
    file_system_names: Values = None
    file_system_mounts: Values = None


class WireMount(_Item):
    file_system_id: Text = None


class WireSshKey(_Item):
    """`workspace_id` is not in the document but in the answers: a key of the API sees one workspace only."""

    id: Text = None
    name: Text = None
    public_key: Text = None
    workspace_id: Text = None


class WireImage(_Item):
    """One image in one region."""

    id: Text = None
    name: Text = None
    family: Text = None
    updated_time: Text = None
    architecture: Text = None
    region: Place = None


class WireFilesystem(_Item):
    """`bytes_used` is an estimate that Lambda renews every few hours."""

    id: Text = None
    name: Text = None
    mount_point: Text = None
    created: Text = None
    is_in_use: Flag = None
    region: Place = None
    bytes_used: Whole = None


def data_of(body: Any) -> Any:
    """Return what the envelope holds. Raises Unreadable when there is no `data`."""
    if not isinstance(body, dict) or "data" not in body:
        raise Unreadable("no data in the answer")
    return body["data"]


def rows_of(body: Any) -> list[Any]:
    """Return a list; every list comes whole. Raises Unreadable for anything else, so that it is never taken for empty."""
    data = data_of(body)
    if not isinstance(data, list):
        raise Unreadable("no list in the answer")
    return data


def types_of(body: Any) -> dict[str, Any]:
    """Return instance types by name: this one collection is an object. Raises Unreadable for anything else."""
    data = data_of(body)
    if not isinstance(data, dict):
        raise Unreadable("no map in the answer")
    return data


def launched_id(body: Any) -> str:
    """Return the id of the machine that a launch made. Raises Unreadable when there is none."""
    data = data_of(body)
    ids = data.get("instance_ids") if isinstance(data, dict) else None
    if not isinstance(ids, list) or not ids or not isinstance(ids[0], str) or not ids[0]:
        raise Unreadable("no id in the answer")
    return ids[0]


_ItemT = TypeVar("_ItemT", bound=_Item)


def read(model: type[_ItemT], value: Any) -> _ItemT | None:
    """Return an item, None when the value is not an object at all."""
    return model.model_validate(value) if isinstance(value, dict) else None
