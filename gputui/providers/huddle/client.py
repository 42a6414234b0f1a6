"""Client for Huddle01 Cloud's GPU API (https://gpu.huddleapis.com/api/v1). I/O only; `mapping` does the thinking.

What public documentation leaves open, and how each doubt is met here:

* Lists come flat or nested under `data`, cursors as `next_cursor` or `cursor`, regions as objects or plain codes: all are read.
* Success codes are not printed: any 2xx counts, unless the body's `code` says otherwise.
* 409 means "no capacity" or "the same idempotency key is still at work". On the first send of a key it can only be the
  former; on a re-send it may be either, so the caller must look before it takes another offer.
* Whether a refusal is replayed for a key, and for how long, is unknown: on a re-send every error says that a machine may exist.
* An image is named by id in the table of the deploy request and by slug in samples: the id is sent where there is one.
* Deleted machines may be listed or not, readable or 404: both read as gone.
* What a delete answers is unknown: any 2xx is taken, and the machine is gone only when the list says so.
* A status we do not know counts as alive. An SSH port is never shown in samples: 22 unless one comes.
* The price of an offer holds for all its regions as far as is told; the machine's own `specs.price_per_hr` is what counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from gputui.model.errors import Conflict, Gone, Malformed, NoCapacity, ProviderError, Rejected
from gputui.model.keys import check_key_text
from gputui.model.types import Balance, CreateRequest, Machine, Offer, OsImage, Region, SshKey
from gputui.model.units import format_usd
from gputui.providers.base import KeyCheck
from gputui.providers.http import HttpClient
from gputui.providers.huddle import mapping, paging, wire
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply

T = TypeVar("T")


class HuddleClient:
    """One Huddle account. Implements Provider, ResendsCreate, HasBalance, HasSshKeys, HasOsImages and HasRegions.

    Raises UsageError for a key that no header can carry, ConfigError for an address that is not HTTPS.
    """

    name = mapping.PROVIDER
    create_is_idempotent = True

    def __init__(self, context: ClientContext) -> None:
        key = check_key_text(self.name, context.api_key)
        self._clock = context.clock
        self._http = HttpClient(
            self.name,
            context.url or provider_info(self.name).default_url,
            clock=context.clock,
            headers={"X-API-Key": key},
            secrets=(key,),
            map_error=lambda reply: mapping.error_in(reply, context.clock.now_ms()),
            transport=context.transport,
        )
        self._registering_key = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def check_key(self) -> KeyCheck:
        """Read the balance, which every key may. Huddle does not name the account."""
        balance = await self.fetch_balance()
        shown = format_usd(balance.balance_micro_usd, unknown="")
        return KeyCheck(self.name, ok=True, detail=f"${shown} of credit" if shown else "")

    async def fetch_balance(self) -> Balance:
        """Return the credit. Huddle settles every 10 minutes, so it lags behind what running machines cost."""
        reply = await self._read("billing/balance", "read the balance")
        data = self._understood(reply, wire.data_of)
        return Balance(self.name, mapping.balance_of(data), self._clock.now_ms())

    async def fetch_offers(self) -> list[Offer]:
        """Return one offer per instance type and region, sold-out ones included. Rows that make no sense are left out."""

        async def fetch(params: dict[str, Any]) -> wire.Page:
            return await self._page("gpus/available", "list offers", {"available_only": "false", **params})

        rows = await paging.by_number(fetch, _offer_key)
        now_ms = self._clock.now_ms()
        offers = [offer for row in rows for offer in mapping.offers_of(row, now_ms)]
        return list({offer.id: offer for offer in offers}.values())

    async def list_regions(self) -> list[Region]:
        """Return the places where machines stand."""
        return mapping.regions_of(await self._rows("regions", "list regions"))

    async def list_os_images(self, offer: Offer | None = None) -> list[OsImage]:
        """Return disk images, those that fit the offer when one is given; the one a create would pick comes first."""
        params = {"cluster_type": offer.native.get("cluster_type")} if offer else {}
        return mapping.images_of(await self._rows("images", "list images", params))

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the registered public keys."""
        rows = await self._rows("ssh-keys", "list SSH keys")
        return [key for row in rows if (key := mapping.ssh_key_of(row))]

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Register a public key. Sent once: Huddle takes no idempotency key here, so look at the list before trying again."""
        fingerprint = mapping.fingerprint_of(public_key)
        body = {"name": name, "public_key": public_key.strip()}
        reply = await self._http.send("POST", "ssh-keys", operation="add an SSH key", json_body=body)
        key = self._understood(reply, lambda answer: mapping.ssh_key_of(wire.data_of(answer)))
        if key is None:
            raise self._malformed(reply)
        return replace(key, name=key.name or name, fingerprint=key.fingerprint or fingerprint)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a public key. Machines that were made with it keep it."""
        path = _item_path("ssh-keys", key_id)
        await self._http.send("DELETE", path, operation="delete an SSH key")

    async def create(self, request: CreateRequest) -> Machine:
        """Order one machine under `request.idempotency_key`; a re-send with `resend` set gets the first one's answer.

        Raises NoCapacity on a first 409, Conflict on a later one; after a re-send every error has `may_exist` set.
        """
        with _nothing_new_exists(request):
            body = await self._order(request)
        try:
            reply = await self._http.send(
                "POST",
                "deployments/clusters",
                operation="order a machine",
                json_body=body,
                headers={"Idempotency-Key": request.idempotency_key},
            )
        except (Conflict, Gone) as error:
            raise _refusal(error, request) from None
        except ProviderError as error:
            error.may_exist = error.may_exist or request.resend
            raise
        machine = self._understood(reply, lambda answer: mapping.machine_of(wire.data_of(answer)))
        if machine is None:
            raise self._malformed(reply)
        return replace(machine, label=machine.label or request.label)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine; a deleted one may still be told, with state GONE. Raises Gone for 404."""
        path = _item_path("deployments", machine_id)
        reply = await self._http.get(path, operation="read a machine")
        machine = self._understood(reply, lambda answer: mapping.machine_of(wire.data_of(answer)))
        if machine is None:
            raise self._malformed(reply)
        return machine

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        machines: dict[str, Machine] = {}
        for row in await self._rows("deployments", "list machines", {"limit": paging.PAGE_SIZE}):
            machine = mapping.machine_of(row)
            if machine is None:
                raise Malformed(
                    "Huddle lists a machine without an id.",
                    provider=self.name,
                    operation="list machines",
                    may_exist=False,
                )
            machines[machine.id] = machine
        return [machine for machine in machines.values() if not machine.state.is_gone]

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Ask for deletion. The same key sent again may get the stored answer of the first time and do nothing more."""
        await self._http.send(
            "DELETE",
            _item_path("deployments", machine_id),
            operation="delete a machine",
            headers={"Idempotency-Key": _checked_key(idempotency_key)},
        )

    async def _order(self, request: CreateRequest) -> dict[str, Any]:
        """Return the body of the deploy request, registering our SSH key where it is not yet."""
        _checked_key(request.idempotency_key)
        label = mapping.check_label(request.label)
        cluster_type, location = request.offer.native.get("cluster_type"), request.offer.native.get("location")
        if not cluster_type or not location:
            raise Rejected("This offer names no place to run in.", provider=self.name, field="region")
        os_volume = mapping.os_volume_of(label, request.disk_gib)
        body = {
            "cluster_type": cluster_type,
            "location": location,
            "hostname": label,
            "ssh_key_ids": [await self._our_key_id(request.ssh_public_key)],
            "image": request.os_image or await self._default_image(request.offer),
        }
        return {**body, "os_volume": os_volume} if os_volume else body

    async def _default_image(self, offer: Offer) -> str:
        images = await self.list_os_images(offer)
        if not images:
            raise Rejected("Huddle lists no disk image for this machine type.", provider=self.name, field="os_image")
        return images[0].value

    async def _our_key_id(self, public_key: str) -> str:
        """Return the id of a public key, registering it first if need be, never twice.

        Its name carries its fingerprint, so that it is found again where fingerprints are told differently.
        """
        fingerprint = mapping.fingerprint_of(public_key)
        name = "gputui-" + "".join(filter(str.isalnum, fingerprint.removeprefix("SHA256:")))[:12]
        async with self._registering_key:
            for key in await self.list_ssh_keys():
                if key.fingerprint == fingerprint or key.name == name:
                    return key.id
            return (await self.add_ssh_key(name, public_key)).id

    async def _read(self, path: str, operation: str, params: dict[str, Any] | None = None) -> Reply:
        """Read something that is always there, so that a 404 means another server than we think."""
        try:
            return await self._http.get(path, operation=operation, params=params)
        except Gone as error:
            raise Malformed(
                f"There is no {path} at this address (404).",
                provider=self.name,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
                may_exist=False,
                hint="Check the URL set for Huddle.",
            ) from None

    async def _page(self, path: str, operation: str, params: dict[str, Any]) -> wire.Page:
        reply = await self._read(path, operation, params)
        return self._understood(reply, wire.page_of)

    async def _rows(self, path: str, operation: str, params: dict[str, Any] | None = None) -> list[Any]:
        """Return all rows of a list, following cursors where it gives any."""

        async def fetch(place: dict[str, Any]) -> wire.Page:
            return await self._page(path, operation, {**(params or {}), **place})

        return await paging.by_cursor(fetch)

    def _understood(self, reply: Reply, read: Callable[[Any], T]) -> T:
        try:
            return read(reply.data)
        except wire.Unreadable:
            raise self._malformed(reply) from None

    def _malformed(self, reply: Reply) -> Malformed:
        """Return the error for a 2xx that does not hold what it must. Only one about an order means a machine may exist."""
        return Malformed(
            f"Huddle answered {reply.operation} without what was asked for.",
            provider=self.name,
            operation=reply.operation,
            status=reply.status,
            request_id=reply.request_id,
            may_exist=reply.operation == "order a machine",
        )


@contextmanager
def _nothing_new_exists(request: CreateRequest) -> Iterator[None]:
    """Mark what fails before an order leaves: a machine may exist only from an earlier send."""
    try:
        yield
    except ProviderError as error:
        error.may_exist = request.resend
        raise


def _refusal(error: ProviderError, request: CreateRequest) -> ProviderError:
    """Return what a 409 or 404 on an order means, given whether its key was sent before."""
    facts: dict[str, Any] = {
        "provider": error.provider,
        "operation": error.operation,
        "request_id": error.request_id,
        "status": error.status,
    }
    if isinstance(error, Gone):
        return Rejected(error.message, may_exist=request.resend, **facts)
    if not request.resend:
        place = f"{request.offer.native['cluster_type']} in {request.offer.native['location']}"
        return NoCapacity(f"Huddle has no free {place}.", **facts)
    return Conflict(
        "Huddle is still working on this order, or has no capacity for it (409).",
        hint="Look for the machine by its label before ordering another.",
        **facts,
    )


def _offer_key(row: Any) -> str:
    """Return what tells one row from another across pages."""
    if isinstance(row, dict) and (row.get("id") or row.get("instance_type")):
        return f"{row.get('id')}:{row.get('instance_type')}"
    return repr(row)


def _item_path(collection: str, item_id: str) -> str:
    """Return the path of one item. Raises Gone for an id that would lead to another address."""
    if not item_id.strip("./ "):
        raise Gone(f"Huddle has nothing with the id {item_id!r}.", provider=mapping.PROVIDER)
    return f"{collection}/{quote(item_id, safe='')}"


def _checked_key(idempotency_key: str) -> str:
    """Return an idempotency key fit for a header. Raises Rejected: without one, sending again could order twice."""
    if not idempotency_key or not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise Rejected("An order needs an idempotency key.", provider=mapping.PROVIDER, field="idempotency_key")
    return idempotency_key
