"""Vast.ai's JSON as it travels: one model per item, and the several ways in which a list comes.

Every field is optional and read leniently: one that is missing, null or of the wrong kind becomes None and the rest of the item
stays; the dozens of members that nobody here needs are not read, secrets (`api_key`, `jupyter_token`) among them. What an
item must have is decided in `mapping` and `resources`. Sources: Vast.ai's OpenAPI document (github.com/vast-ai/docs,
api-reference/openapi.yaml, 2026-08) and, where answers differ from it, what public clients read (dstackai/dstack,
dstackai/gpuhunt, vast-ai/vast-cli).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

PROVIDER = "vastai"


class Unreadable(ValueError):
    """A body without the parts that every good answer of this kind has."""


Text = str | None
Whole = Annotated[int, Field(gt=-(10**15), lt=10**15)] | None
# What is reckoned with exactly: money, and moments.
Amount = Annotated[Decimal, Field(gt=-(10**12), lt=10**12)] | None
# All else, several times faster to read.
Measure = Annotated[float, Field(gt=-(10**12), lt=10**12, allow_inf_nan=False)] | None
Flag = bool | None
Values = list[Any] | None
Members = dict[str, Any] | None


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class WireHardware(_Item):
    """What offers and instances tell alike. Memory is in MB, `gpu_ram` per GPU; CPU figures are of the whole host.

    `dph_base` is the price of the GPUs and `dph_total` adds the disk, both in USD per hour; `storage_cost` is USD per GB and
    month of 720 hours. `inet_up` and `inet_down` are Mb/s, their costs USD per GB.
    """

    id: Text = None
    machine_id: Text = None
    gpu_name: Text = None
    num_gpus: Whole = None
    gpu_ram: Measure = None
    geolocation: Text = None
    disk_space: Measure = None
    dph_base: Amount = None
    dph_total: Amount = None
    storage_cost: Amount = None
    inet_up: Measure = None
    inet_down: Measure = None
    inet_up_cost: Amount = None
    inet_down_cost: Amount = None
    is_bid: Flag = None


class WireOffer(WireHardware):
    """An ask: what a host offers now. `end_date` and `duration` (seconds left) tell how long it can be had at most."""

    gpu_frac: Measure = None
    cpu_cores: Measure = None
    cpu_cores_effective: Measure = None
    cpu_ram: Measure = None
    hosting_type: Whole = None
    verification: Text = None
    reliability: Measure = None
    reliability2: Measure = None
    rentable: Flag = None
    rented: Flag = None
    end_date: Measure = None
    duration: Measure = None


class WireMarket(BaseModel):
    """An answer to a search in which every offer is as it should be; its other members stay as they came."""

    model_config = ConfigDict(extra="allow")

    offers: Annotated[list[WireOffer], FailFast()]


class WireInstance(WireHardware):
    """One machine. `actual_status` is the container's, `intended_status` what was wished for, `cur_state` the contract's."""

    actual_status: Text = None
    intended_status: Text = None
    cur_state: Text = None
    status_msg: Text = None
    label: Text = None
    image_runtype: Text = None
    ssh_host: Text = None
    ssh_port: Whole = None
    machine_dir_ssh_port: Whole = None
    direct_port_count: Whole = None
    public_ipaddr: Text = None
    ports: Members = None
    storage_total_cost: Amount = None
    start_date: Amount = None
    inet_up_billed: Amount = None
    inet_down_billed: Amount = None


class WireAccount(_Item):
    """`balance` and `credit` in USD; accounts that prepay keep all of it in `credit`."""

    id: Text = None
    username: Text = None
    balance: Amount = None
    credit: Amount = None


class WireSshKey(_Item):
    """The list calls the key's text `key`, the answer to adding one calls it `public_key`."""

    id: Text = None
    key: Text = None
    public_key: Text = None
    deleted_at: Text = None


class WireVolumeOffer(_Item):
    """Disk on one host that a volume can be made on. `storage_cost` is USD per GB and month of 720 hours."""

    id: Text = None
    disk_space: Measure = None
    storage_cost: Amount = None
    geolocation: Text = None


class WireVolume(_Item):
    """A volume on one host. `storage_total_cost` is USD per hour for all of it."""

    id: Text = None
    label: Text = None
    status: Text = None
    machine_id: Text = None
    disk_space: Measure = None
    storage_total_cost: Amount = None
    instances: Values = None
    geolocation: Text = None
    start_date: Amount = None


class WireCharge(_Item):
    """A line of the bill: of a contract ("instance-36717044"), or one part of it (gpu, disk, bwd, bwu). Amounts in USD."""

    start: Amount = None
    end: Amount = None
    type: Text = None
    source: Text = None
    description: Text = None
    amount: Amount = None
    items: Values = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, and the token that leads to the next one; None on the last."""

    rows: list[Any]
    next_token: str | None


def rows_of(body: Any, name: str) -> list[Any]:
    """Return the list called `name`. Raises Unreadable for anything else, so that it is never taken for an empty list."""
    rows = body.get(name) if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise Unreadable(f"no {name} in the answer")
    return rows


def page_of(body: Any, name: str) -> Page:
    """Return one page of a list called `name`. Raises Unreadable for anything else."""
    rows = rows_of(body, name)
    token = body.get("next_token")
    return Page(rows, token if isinstance(token, str) and token else None)


def bare_rows_of(body: Any) -> list[Any]:
    """Return a list that comes without an envelope. Raises Unreadable for anything else."""
    if not isinstance(body, list):
        raise Unreadable("no list in the answer")
    return body


def instance_in(body: Any) -> dict[str, Any] | None:
    """Return the one machine that was asked for, None where there is none (any more); the member's name is a plural.

    Raises Unreadable for anything else.
    """
    if not isinstance(body, dict) or "instances" not in body:
        raise Unreadable("no instance in the answer")
    found = body["instances"]
    if found is not None and not isinstance(found, dict):
        raise Unreadable("no instance in the answer")
    return found


def made_id_in(body: Any) -> str:
    """Return the id of the machine that an order made. Raises Unreadable when there is none."""
    made = new_contract_in(body)
    if made is None or not made.isdecimal():
        raise Unreadable("no id in the answer")
    return made


def new_contract_in(body: Any) -> str | None:
    """Return the id of a machine that an answer says was made, None when it says nothing of one."""
    made = body.get("new_contract") if isinstance(body, dict) else None
    return str(made) if isinstance(made, int | str) and not isinstance(made, bool) and made else None


_ItemT = TypeVar("_ItemT", bound=_Item)


def read(model: type[_ItemT], value: Any) -> _ItemT | None:
    """Return an item without the members that cannot be read, None when the value is not an object at all.

    One that was read on the way already comes back as it is.
    """
    if isinstance(value, model):
        return value
    if not isinstance(value, dict):
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # Once for all of them: a validator of our own around each member would make a market of thousands four times slower.
        wrong = {problem["loc"][0] for problem in error.errors(include_url=False, include_input=False)}
        return model.model_validate({name: member for name, member in value.items() if name not in wrong})
