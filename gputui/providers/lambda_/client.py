"""Client for Lambda Cloud's API v1 (https://cloud.lambda.ai/api/v1). I/O only; `mapping` and `resources` do the thinking.

What public documentation leaves open, and how each doubt is met here:

* A launch takes no idempotency key, and names need not be unique: it is sent once, under our label as its name, and whoever
  loses its answer must look for that name. `CreateRequest.resend` changes nothing.
* A launch answers an id only: the machine's own price is read with the first look at it.
* A type is listed with the regions where it can be had now. A launch may be refused all the same.
* Fields that a booting machine has not (address, name) are absent in the document and null in older answers: both are read.
* Whether the limits hold per key, account or address is unknown: this client keeps to them by itself. Over them
  the edge answers 429 with text, and 403 with text for a client it does not like: neither says anything of the key.
* `unhealthy` is alive and taken for billed; a shut-down guest ends up there. There is no stop, and a restart is none.
* A terminate with one unknown id ends nothing: ids go one at a time. Whether ended machines are listed, and for how long they
  can be read, is unknown: both read as gone.
* A key of the API sees one workspace; what is in another is absent without an error. A machine is therefore gone for us when
  the key is swapped for one of another workspace.
* Two SSH keys of one name make a launch fail: such names are avoided.
* File systems are listed at /file-systems, made and deleted at /filesystems. They can be mounted at launch only.
* Which image a launch without one gets is described as the latest Lambda Stack; one report names an older release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from gputui.model.errors import Gone, Malformed, NoCapacity, ProviderError, RateLimited, Rejected
from gputui.model.keys import check_key_text
from gputui.model.types import CreateRequest, Machine, Offer, OsImage, Region, SshKey, Volume
from gputui.providers.base import KeyCheck
from gputui.providers.http import HttpClient
from gputui.providers.lambda_ import mapping, refusals, resources, wire
from gputui.providers.pacing import Pace, Pacer
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply

T = TypeVar("T")

_LAUNCH = "order a machine"
_END = "end a machine"
_MAKE_VOLUME = "create a file system"

# Lambda Cloud API 1.10.0, rate limits: about one request a second, one launch in 12 seconds. Bursts are not mentioned, so
# they are kept small; the spare second between launches is for what the network adds.
LAUNCH_EVERY_S = 12.0
PACES = (
    Pace("requests", every_s=1.0, burst=4, reserve=2),
    Pace("launches", every_s=LAUNCH_EVERY_S + 1, operations=frozenset({_LAUNCH})),
)


class LambdaClient:
    """One Lambda account. Implements Provider, HasSshKeys, HasOsImages, HasRegions and HasVolumes.

    Calls wait for their turn within Lambda's limits. Raises UsageError for a key that no header can carry, ConfigError for an
    address that is not HTTPS.
    """

    name = wire.PROVIDER
    volume_names_are_unique = True  # Lambda Cloud API 1.10.0, create filesystem: "global/duplicate"

    def __init__(self, context: ClientContext) -> None:
        key = check_key_text(self.name, context.api_key)
        self._clock = context.clock
        self._http = HttpClient(
            self.name,
            context.url or provider_info(self.name).default_url,
            clock=context.clock,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            map_error=lambda reply: refusals.error_in(reply, context.clock.now_ms()),
            transport=context.transport,
            pacer=Pacer(context.state_dir / "pacing", self.name, PACES, clock=context.clock, urgent=frozenset({_END})),
        )
        self._registering_key = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def check_key(self) -> KeyCheck:
        """Read the SSH keys, which every key may. Lambda names no account; an SSH key tells the workspace."""
        workspace = resources.workspace_of(await self._rows("ssh-keys", "check the key"))
        return KeyCheck(self.name, ok=True, identity=f"workspace {workspace}" if workspace else None)

    async def fetch_offers(self) -> list[Offer]:
        """Return one offer per instance type and region with capacity, and one per type that is sold out everywhere."""
        reply = await self._read("instance-types", "list offers")
        types = self._understood(reply, wire.types_of)
        now_ms = self._clock.now_ms()
        offers = [offer for row in types.values() for offer in mapping.offers_of(row, now_ms)]
        return list({offer.id: offer for offer in offers}.values())

    async def list_regions(self) -> list[Region]:
        """Return the places where machines stand."""
        return resources.regions_of(await self._rows("regions", "list regions"))

    async def list_os_images(self, offer: Offer | None = None) -> list[OsImage]:
        """Return image families, those that fit the offer when one is given; Lambda's default comes first."""
        return resources.images_of(await self._rows("images", "list images"), offer)

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the registered public keys."""
        rows = await self._rows("ssh-keys", "list SSH keys")
        return [key for row in rows if (key := resources.ssh_key_of(row))]

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Register a public key. Sent once: look at the list before trying again. Rejected for a name that is taken."""
        fingerprint = resources.fingerprint_of(public_key)
        body = {"name": resources.check_key_name(name), "public_key": public_key.strip()}
        reply = await self._make("ssh-keys", body, "add an SSH key")
        key = self._understood(reply, lambda answer: resources.ssh_key_of(wire.data_of(answer)))
        if key is None:
            raise self._malformed(reply)
        return replace(key, name=key.name or name, fingerprint=key.fingerprint or fingerprint)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a public key. Machines that were made with it keep it."""
        await self._http.send("DELETE", _item_path("ssh-keys", key_id), operation="delete an SSH key")

    async def list_volumes(self) -> list[Volume]:
        """Return the file systems and what mounts them. Raises Malformed rather than leave one out that it cannot read."""
        rows = await self._rows("file-systems", "list file systems")
        volumes = [resources.volume_of(row) or self._unreadable("list file systems") for row in rows]
        if all(volume.raw_state != resources.IN_USE for volume in volumes):
            return volumes
        mounts = resources.mounts_of(await self._rows("instances", "list machines"))
        return [resources.attached(volume, mounts) for volume in volumes]

    async def create_volume(self, name: str, *, size_gib: int | None, region: str, kind: str | None) -> Volume:
        """Make a file system in a region, once; it takes neither size nor kind and is billed by what is used.

        An error with `may_exist` True means that it may have been made: look for the name in the list.
        """
        resources.check_filesystem(name, size_gib=size_gib, kind=kind)
        reply = await self._make("filesystems", {"name": name, "region": region}, _MAKE_VOLUME)
        volume = self._understood(reply, lambda answer: resources.volume_of(wire.data_of(answer)))
        if volume is None:
            raise self._malformed(reply)
        return replace(volume, name=volume.name or name, region=volume.region or region)

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a file system and all that is on it. Raises Conflict while a machine mounts it."""
        await self._http.send("DELETE", _item_path("filesystems", volume_id), operation="delete a file system")

    def volume_obstacle(self, volumes: Sequence[Volume], offer: Offer) -> str | None:
        """Return why a machine of this offer cannot have these file systems, None when it can."""
        return resources.volume_obstacle(volumes, offer)

    async def create(self, request: CreateRequest) -> Machine:
        """Order one machine named `request.label`, once, after waiting for a turn (one launch in 12 seconds).

        Raises NoCapacity when there is none, and RateLimited with the seconds to wait where too many launches are ahead.
        """
        with _nothing_exists():
            mapping.check_order(request)
            body = mapping.order_of(request, await self._name_of_our_key(request.ssh_public_key))
        try:
            reply = await self._make("instance-operations/launch", body, _LAUNCH)
        except NoCapacity as error:
            error.message = f"Lambda has no free {body['instance_type_name']} in {body['region_name']} now."
            error.args = (error.message,)
            raise
        except RateLimited as error:
            error.retry_after_s = error.retry_after_s or LAUNCH_EVERY_S
            raise
        return mapping.ordered_machine(self._understood(reply, wire.launched_id), request)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine; an ended one may still be told, with state GONE. Raises Gone for 404."""
        reply = await self._http.get(_item_path("instances", machine_id), operation="read a machine")
        machine = self._understood(reply, lambda answer: mapping.machine_of(wire.data_of(answer)))
        return machine or self._unreadable(reply.operation)

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        rows = await self._rows("instances", "list machines")
        machines = [mapping.machine_of(row) or self._unreadable("list machines") for row in rows]
        return [
            machine for machine in {machine.id: machine for machine in machines}.values() if not machine.state.is_gone
        ]

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Ask for the end of one machine; its local disk is lost. Lambda takes no idempotency key."""
        if not machine_id.strip():
            raise Gone("Lambda has no machine without an id.", provider=self.name, operation=_END)
        body = {"instance_ids": [machine_id]}
        await self._http.send("POST", "instance-operations/terminate", operation=_END, json_body=body)

    async def _name_of_our_key(self, public_key: str) -> str:
        """Return the name of a public key, registering it first if need be, never twice."""
        fingerprint = resources.fingerprint_of(public_key)
        async with self._registering_key:
            keys = await self.list_ssh_keys()
            if name := resources.name_of_our_key(keys, fingerprint):
                return name
            try:
                return (await self.add_ssh_key(resources.free_key_name(keys, fingerprint), public_key)).name
            except Rejected:
                # Another process of ours may have been quicker.
                if name := resources.name_of_our_key(await self.list_ssh_keys(), fingerprint):
                    return name
                raise

    async def _make(self, path: str, body: dict[str, Any], operation: str) -> Reply:
        """Ask for something new. What is missing then is a part of the request, so it is Rejected, never Gone."""
        try:
            return await self._http.send("POST", path, operation=operation, json_body=body)
        except Gone as error:
            raise Rejected(
                error.message,
                provider=error.provider,
                operation=error.operation,
                request_id=error.request_id,
                status=error.status,
            ) from None

    async def _read(self, path: str, operation: str) -> Reply:
        """Read something that is always there, so that a 404 means another server than we think."""
        try:
            return await self._http.get(path, operation=operation)
        except Gone as error:
            raise Malformed(
                f"There is no {path} at this address (404).",
                provider=self.name,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
                may_exist=False,
                hint="Check the URL set for Lambda.",
            ) from None

    async def _rows(self, path: str, operation: str) -> list[Any]:
        return self._understood(await self._read(path, operation), wire.rows_of)

    def _understood(self, reply: Reply, read: Callable[[Any], T]) -> T:
        try:
            return read(reply.data)
        except wire.Unreadable:
            raise self._malformed(reply) from None

    def _malformed(self, reply: Reply) -> Malformed:
        """Return the error for a 2xx that does not hold what it must. Only after an order may something exist unseen."""
        return Malformed(
            f"Lambda answered {reply.operation} without what was asked for.",
            provider=self.name,
            operation=reply.operation,
            status=reply.status,
            request_id=reply.request_id,
            may_exist=reply.operation in (_LAUNCH, _MAKE_VOLUME),
        )

    def _unreadable(self, operation: str) -> NoReturn:
        raise Malformed(
            f"Lambda answered {operation} with something that has no id.",
            provider=self.name,
            operation=operation,
            may_exist=False,
        )


@contextmanager
def _nothing_exists() -> Iterator[None]:
    """Mark what fails before an order leaves: no machine exists of it."""
    try:
        yield
    except ProviderError as error:
        error.may_exist = False
        raise


def _item_path(collection: str, item_id: str) -> str:
    """Return the path of one item. Raises Gone for an id that would lead to another address."""
    if not item_id.strip("./ "):
        raise Gone(f"Lambda has nothing with the id {item_id!r}.", provider=wire.PROVIDER)
    return f"{collection}/{quote(item_id, safe='')}"
