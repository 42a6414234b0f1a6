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
* No way is documented to attach a volume that exists to a machine, neither when it is ordered nor later. A volume outlives
  the machine it was on, and whether Huddle tells the machine by its own id or by the upstream cloud's is open: both are read.
* The waitlist is joined to be told only: a machine that Huddle orders by itself would be outside every limit set here. Of its
  states only `waiting` is documented; whatever else is passed on as it comes.
* Any API key may do anything, also revoke itself. Whether revoked ones are listed is open: they are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gputui.model.errors import Conflict, Gone, Malformed, NoCapacity, ProviderError, Rejected
from gputui.model.types import (
    ApiKey,
    Balance,
    CreateRequest,
    Machine,
    NewApiKey,
    NewWebhook,
    Offer,
    OsImage,
    Region,
    SshKey,
    Volume,
    WaitlistEntry,
    Webhook,
)
from gputui.model.units import MicroUsd, format_usd
from gputui.providers.base import KeyCheck
from gputui.providers.huddle import calls, mapping, paging, resources, wire
from gputui.providers.huddle.calls import HuddleCalls, item_path, read_in, understood
from gputui.providers.registry import ClientContext


class HuddleClient:
    """One Huddle account. Implements Provider, ResendsCreate, HasBalance, HasSshKeys, HasOsImages, HasRegions, HasVolumes,
    HasWaitlist, HasWebhooks and HasApiKeys.

    Raises UsageError for a key that no header can carry, ConfigError for an address that is not HTTPS.
    """

    name = mapping.PROVIDER
    create_is_idempotent = True
    webhook_events = resources.EVENTS

    def __init__(self, context: ClientContext) -> None:
        self._clock = context.clock
        self._key = context.api_key.strip()
        self._calls = HuddleCalls(context)
        self._http = self._calls.http
        self._registering_key = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._calls.aclose()

    async def check_key(self) -> KeyCheck:
        """Read the balance, which every key may. Huddle does not name the account."""
        balance = await self.fetch_balance()
        shown = format_usd(balance.balance_micro_usd, unknown="")
        return KeyCheck(self.name, ok=True, detail=f"${shown} of credit" if shown else "")

    async def fetch_balance(self) -> Balance:
        """Return the credit. Huddle settles every 10 minutes, so it lags behind what running machines cost."""
        reply = await self._calls.read("billing/balance", "read the balance")
        data = understood(reply, wire.data_of)
        return Balance(self.name, mapping.balance_of(data), self._clock.now_ms())

    async def fetch_offers(self) -> list[Offer]:
        """Return one offer per instance type and region, sold-out ones included. Rows that make no sense are left out."""

        async def fetch(params: dict[str, Any]) -> wire.Page:
            return await self._calls.page("gpus/available", "list offers", {"available_only": "false", **params})

        rows = await paging.by_number(fetch, _offer_key)
        now_ms = self._clock.now_ms()
        offers = [offer for row in rows for offer in mapping.offers_of(row, now_ms)]
        return list({offer.id: offer for offer in offers}.values())

    async def list_regions(self) -> list[Region]:
        """Return the places where machines stand."""
        return mapping.regions_of(await self._calls.rows("regions", "list regions"))

    async def list_os_images(self, offer: Offer | None = None) -> list[OsImage]:
        """Return disk images, those that fit the offer when one is given; the one a create would pick comes first."""
        params = {"cluster_type": offer.native.get("cluster_type")} if offer else {}
        return mapping.images_of(await self._calls.rows("images", "list images", params))

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the registered public keys."""
        rows = await self._calls.rows("ssh-keys", "list SSH keys")
        return [key for row in rows if (key := mapping.ssh_key_of(row))]

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Register a public key. Sent once: Huddle takes no idempotency key here, so look at the list before trying again."""
        fingerprint = mapping.fingerprint_of(public_key)
        body = {"name": name, "public_key": public_key.strip()}
        key = await self._calls.make("ssh-keys", body, calls.ADD_KEY, mapping.ssh_key_of)
        return replace(key, name=key.name or name, fingerprint=key.fingerprint or fingerprint)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a public key. Machines that were made with it keep it."""
        await self._calls.delete("ssh-keys", key_id, "delete an SSH key")

    async def list_volumes(self) -> list[Volume]:
        """Return the volumes, boot disks included. Raises Malformed rather than leave one out that it cannot read."""
        listed = await self._calls.items("volumes", "list volumes", resources.volume_of)
        volumes = [volume for volume in listed if volume.raw_state.lower() != resources.DELETED]
        if not any(volume.attached_to for volume in volumes):
            return volumes
        aliases = resources.machine_aliases(await self._machine_rows())
        return [resources.with_machine_ids(volume, aliases) for volume in volumes]

    async def create_volume(self, name: str, *, size_gib: int | None, region: str, kind: str | None) -> Volume:
        """Make a volume of NVMe (or of another kind by Huddle's own name), once; it costs money until it is deleted.

        An error with `may_exist` True means that it may have been made: look for the name in the list.
        """
        body = resources.volume_order(name, size_gib=size_gib, region=region, kind=kind)
        volume = await self._calls.make("volumes", body, calls.MAKE_VOLUME, resources.volume_of)
        return replace(
            volume,
            name=volume.name or name,
            size_gib=volume.size_gib or size_gib,
            region=volume.region or body["location"],
        )

    async def quote_volume(self, *, size_gib: int | None, region: str, kind: str | None) -> MicroUsd | None:
        """Return what such a volume would cost a month as the list of kinds tells it, None where it does not."""
        order = resources.volume_order("a name", size_gib=size_gib, region=region, kind=kind)
        return resources.quote_of(order, await self._calls.rows("volume-types", "list kinds of volumes"))

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a volume and all that is on it. Raises Conflict while a machine has it."""
        await self._calls.delete("volumes", volume_id, "delete a volume")

    async def list_waitlist(self) -> list[WaitlistEntry]:
        """Return our places in the waitlist, those that are over included as far as Huddle tells them."""
        return await self._calls.items("deployments/requests", "list the waitlist", resources.waitlist_entry_of)

    async def join_waitlist(self, offer: Offer, *, anywhere: bool = False) -> WaitlistEntry:
        """Ask to be told (by e-mail and webhook) when the offer's machine type is back in its region, or in any.

        Sent once: look at the list before trying again.
        """
        body = resources.waitlist_request(offer, anywhere=anywhere)
        return await self._calls.make("deployments/requests", body, calls.JOIN, resources.waitlist_entry_of)

    async def leave_waitlist(self, entry_id: str) -> None:
        """Give up a place in the waitlist. Raises Conflict for one that is over."""
        await self._calls.delete("deployments/requests", entry_id, "leave the waitlist")

    async def list_webhooks(self) -> list[Webhook]:
        """Return the webhooks; their secrets are told once only, when they are made."""
        return await self._calls.items("webhooks", "list webhooks", resources.webhook_of)

    async def create_webhook(self, url: str, events: Sequence[str]) -> NewWebhook:
        """Make a webhook, once. After a lost answer delete what the list then shows: its secret is lost, too."""
        body = resources.webhook_body(url=url, events=events)
        return await self._calls.make("webhooks", body, calls.MAKE_WEBHOOK, resources.new_webhook_of)

    async def update_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Change what is given of a webhook and leave the rest, its secret included."""
        body = resources.webhook_body(url=url, events=events, is_active=is_active)
        path = item_path("webhooks", webhook_id)
        reply = await self._http.send("PUT", path, operation="change a webhook", json_body=body)
        return read_in(reply, resources.webhook_of)

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook."""
        await self._calls.delete("webhooks", webhook_id, "delete a webhook")

    async def list_api_keys(self) -> list[ApiKey]:
        """Return the keys that are not revoked."""
        rows = await self._calls.items("api-keys", "list API keys", self._api_key_row)
        return [key for key, is_revoked in rows if not is_revoked]

    async def create_api_key(self, name: str) -> NewApiKey:
        """Make a key, once; it may do anything that this one may. After a lost answer revoke what the list then shows."""
        if not name.strip():
            raise Rejected("An API key needs a name.", provider=self.name, field="name")
        return await self._calls.make("api-keys", {"name": name}, calls.MAKE_API_KEY, resources.new_api_key_of)

    async def revoke_api_key(self, key_id: str) -> None:
        """Revoke a key at once and for ever, the one in use included."""
        await self._calls.delete("api-keys", key_id, "revoke an API key")

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
                operation=calls.ORDER,
                json_body=body,
                headers={"Idempotency-Key": request.idempotency_key},
            )
        except (Conflict, Gone) as error:
            raise _refusal(error, request) from None
        except ProviderError as error:
            error.may_exist = error.may_exist or request.resend
            raise
        machine = read_in(reply, mapping.machine_of)
        return replace(machine, label=machine.label or request.label)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine; a deleted one may still be told, with state GONE. Raises Gone for 404."""
        reply = await self._http.get(item_path("deployments", machine_id), operation="read a machine")
        return read_in(reply, mapping.machine_of)

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        machines: dict[str, Machine] = {}
        for row in await self._machine_rows():
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
            item_path("deployments", machine_id),
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

    async def _machine_rows(self) -> list[Any]:
        return await self._calls.rows("deployments", "list machines", {"limit": paging.PAGE_SIZE})

    def _api_key_row(self, row: Any) -> tuple[ApiKey, bool] | None:
        key = resources.api_key_of(row, self._key)
        return (key, resources.is_revoked(row)) if key else None


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


def _checked_key(idempotency_key: str) -> str:
    """Return an idempotency key fit for a header. Raises Rejected: without one, sending again could order twice."""
    if not idempotency_key or not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise Rejected("An order needs an idempotency key.", provider=mapping.PROVIDER, field="idempotency_key")
    return idempotency_key
