"""Launching an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lambda_ import firewall, render
from gputui.sim.lambda_.data import DEFAULT_FAMILY, IMAGES, Image, architecture_of
from gputui.sim.lambda_.errors import invalid, missing, quota_exceeded
from gputui.sim.lambda_.fields import body_of, objects, optional_text, optional_texts, region, text, texts
from gputui.sim.lambda_.state import PROVIDER, StoredFilesystem, StoredSshKey, Tenant
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.world import Order, OutOfCapacity

BILLED_BY_S = 60
USER_DATA_MOST_BYTES = 1_000_000

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class _Wish:
    """A launch request that has been read and makes sense. `mounts` maps filesystem id to mount point."""

    region: str
    type_name: str
    key: StoredSshKey
    image: Image
    name: str
    hostname: str | None
    mounts: Mapping[str, str]
    tags: tuple[Mapping[str, str], ...]
    ruleset_ids: tuple[str, ...]


async def launch(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /instance-operations/launch`: what was sent, then the quota, then capacity."""
    wish = _Reader(call, tenant, body_of(call)).wish()
    if call.fires("invalid_address"):
        raise ApiError(403, "global/invalid-address", "Your billing address is invalid.")
    if sum(1 for _ in tenant.living()) >= call.world.faults.number("instance_quota"):
        raise quota_exceeded()
    machine = _order(call, tenant, wish)
    firewall.apply(tenant)
    tenant.record("instance", "created", machine.id, instance_type=wish.type_name, region=wish.region)
    return render.ok({"instance_ids": [machine.id]})


def _order(call: Call, tenant: Tenant, wish: _Wish) -> SimMachine:
    world = call.world
    high, low = divmod(len(world.machines), 250)
    order = Order(
        account=tenant.account,
        instance_type=wish.type_name,
        region=wish.region,
        label=wish.name,
        operation=call.operation,
        authorized_keys=(wish.key.line,),
        details={
            "hostname": wish.hostname,
            "private_ip": f"10.19.{high % 256}.{low + 2}",
            "jupyter_token": world.new_hex(32),
            "jupyter_host": f"jupyter-{world.new_hex(32)}",
            "ssh_key_names": (wish.key.name,),
            "image_id": wish.image.id,
            "file_system_names": tuple(tenant.filesystems[item].name for item in wish.mounts),
            "mounts": dict(wish.mounts),
            "tags": wish.tags,
            "ruleset_ids": wish.ruleset_ids,
        },
        granularity_s=BILLED_BY_S,
        machine_id=world.new_hex(32),
    )
    try:
        machine = world.order(order)
    except OutOfCapacity:
        code = "instance-operations/launch/insufficient-capacity"
        raise ApiError(400, code, "Not enough capacity to fulfill launch request.") from None
    machine.prices = [(at, usd.quantize(_CENT, rounding=ROUND_HALF_UP)) for at, usd in machine.prices]
    booted_ms = next((at for at, life in machine.timeline if life is Life.RUNNING), None)
    if booted_ms is not None and call.fires("unhealthy_from_boot"):
        machine.replan(machine.created_ms, *machine.timeline[1:2], (booted_ms, Life.RUNNING), (booted_ms, Life.OFFLINE))
    share = world.faults.number("address_at_boot_share")
    boot_ms = None if booted_ms is None else booted_ms - machine.created_ms
    machine.details["address_ms"] = None if boot_ms is None else machine.created_ms + round(boot_ms * min(1.0, share))
    machine.details["ssh_delay_ms"] = machine.ssh_delay_ms
    return machine


class _Reader:
    """Reads one launch body. Raises ApiError with the first thing that is wrong."""

    def __init__(self, call: Call, tenant: Tenant, body: dict[str, Any]) -> None:
        self._call = call
        self._tenant = tenant
        self._body = body
        self._missing_status = int(call.world.faults.choice("launch_missing_status"))

    def wish(self) -> _Wish:
        body = self._body
        type_name, key_names = text(body, "instance_type_name"), texts(body, "ssh_key_names")
        name = optional_text(body, "name", most=64) or ""
        hostname = optional_text(body, "hostname", 1, 63, "[a-z0-9][0-9a-z-]{0,62}")
        tags = self._tags()
        self._check_quantity()
        if len((optional_text(body, "user_data") or "").encode()) > USER_DATA_MOST_BYTES:
            raise invalid("user_data: User data cannot exceed 1MB")
        if len(key_names) != 1:
            raise invalid("ssh_key_names: Exactly one SSH key must be specified")
        region_name = region(body, "region_name")
        if type_name not in self._call.world.catalogue(PROVIDER).types:
            raise self._missing(f"Instance type {type_name} does not exist.")
        return _Wish(
            region=region_name,
            type_name=type_name,
            key=self._key(key_names[0]),
            image=self._image(type_name, region_name),
            name=name,
            hostname=hostname,
            mounts=self._mounts(region_name),
            tags=tags,
            ruleset_ids=self._ruleset_ids(region_name),
        )

    def _missing(self, sentence: str) -> ApiError:
        return missing(sentence, self._missing_status)

    def _check_quantity(self) -> None:
        """Take the field that older clients still send, as long as it asks for one."""
        quantity = self._body.get("quantity")
        if quantity is None:
            return
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise invalid("quantity: Input should be a valid integer greater than or equal to 1")
        if quantity > 1:
            raise invalid("Requested too many instances.")

    def _tags(self) -> tuple[Mapping[str, str], ...]:
        return tuple(
            {"key": text(tag, "key", 0, 55, "[a-z][a-z0-9-:]+"), "value": text(tag, "value", most=128)}
            for tag in objects(self._body, "tags")
        )

    def _key(self, name: str) -> StoredSshKey:
        found = [key for key in self._tenant.ssh_keys.values() if key.name == name]
        if not found:
            raise self._missing(f"SSH key {name} does not exist.")
        if len(found) > 1:
            status = int(self._call.world.faults.choice("unknown_error_status"))
            raise ApiError(status, "global/unknown", "An unknown error occurred.")
        return found[0]

    def _image(self, type_name: str, region_name: str) -> Image:
        wanted = self._body.get("image")
        if wanted is None:
            wanted = {"family": DEFAULT_FAMILY}
        if not isinstance(wanted, dict) or not ("id" in wanted or "family" in wanted):
            raise invalid("image: Input should have an id or a family")
        field = "id" if "id" in wanted else "family"
        value = text(wanted, field)
        architecture = architecture_of(self._call.world.catalogue(PROVIDER).types[type_name])
        for image in IMAGES:
            fits = image.region == region_name and image.architecture == architecture
            if fits and value == (image.id if field == "id" else image.family):
                return image
        raise self._missing(f"Image {value} does not exist for {type_name} in {region_name}.")

    def _mounts(self, region_name: str) -> dict[str, str]:
        """Return filesystem id -> mount point; a requested mount point goes before the default one."""
        filesystems = self._tenant.filesystems
        mounts: dict[str, str] = {}
        for name in optional_texts(self._body, "file_system_names"):
            found = next((item for item in filesystems.values() if item.name == name), None)
            if found is None:
                raise self._missing(f"Filesystem {name} does not exist.")
            mounts[found.id] = found.mount_point
        for entry in objects(self._body, "file_system_mounts"):
            path = text(entry, "mount_point", 0, 256, "(/home|/lambda/nfs|/data)[/a-zA-Z0-9-]*")
            filesystem_id = text(entry, "file_system_id")
            if filesystem_id not in filesystems:
                raise self._missing(f"Filesystem {filesystem_id} does not exist.")
            mounts[filesystem_id] = path
        for filesystem_id in mounts:
            _check_region(filesystems[filesystem_id], region_name)
        return mounts

    def _ruleset_ids(self, region_name: str) -> tuple[str, ...]:
        ids = tuple(text(entry, "id") for entry in objects(self._body, "firewall_rulesets"))
        for ruleset_id in ids:
            found = self._tenant.rulesets.get(ruleset_id)
            if found is None or found.region != region_name:
                raise self._missing(f"Firewall ruleset {ruleset_id} does not exist in {region_name}.")
        return ids


def _check_region(item: StoredFilesystem, region_name: str) -> None:
    if item.region != region_name:
        code = "instance-operations/launch/file-system-in-wrong-region"
        raise ApiError(400, code, f"Filesystem {item.name} is in {item.region}, not in {region_name}.")
