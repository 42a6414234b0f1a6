"""Client for TensorDock's API, version 2 (https://dashboard.tensordock.com/api/v2). I/O only; `mapping` does the thinking.

What is asked for: a machine at a location, whose host TensorDock chooses, with port 22 forwarded from a port it chooses too.
A dedicated address is never asked for: its price is not told, and such a machine cannot be told from one whose forward was
promised and not made. What documentation leaves open, and how each doubt is met here:

* Success codes are not printed: any 2xx counts, unless the body tells of an error. Envelopes differ: see `wire`.
* A listed machine is often not to be had. Known sentences of refusal mean "take the next offer"; those that tell of an error on
  the way leave open what was made, so that the caller looks for the label first.
* `external_port` 0 is taken to mean "any". The port that came is read back, and may change when a machine is started again.
* A machine says "running" before it has an address. A forward that is never made leaves it without one.
* The list may tell no more of a machine than id, name and status; the rest is unknown until it is read by itself.
* Whether an order takes odd threads or memory between the steps is unknown: none is made that would need it. See `shapes`.
* Where a machine stands and when it was made is told nowhere.
* Whether a stopped machine gives up its GPU, and what it costs then, is unknown: count with the full price until it is deleted.
* Whether a 404 is JSON is unknown: without it, the list decides whether a machine is gone.
* No call of this version tells the balance or the bill.
* Offers can be read without a key, so that reading them proves nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from gputui.model.errors import Gone, Malformed, ProviderError, Rejected
from gputui.model.keys import check_key_text
from gputui.model.types import CreateRequest, Machine, Offer, OsImage, Region, SshKey
from gputui.providers.base import KeyCheck
from gputui.providers.http import HttpClient
from gputui.providers.pacing import Pace, Pacer
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply
from gputui.providers.tensordock import first_boot, mapping, refusals, wire
from gputui.providers.tensordock.shapes import disk_holding

# Orders are answered after half a minute, at times after more than one.
ORDER_DEADLINE_S = 115.0
LIST_MACHINES = "list machines"
# TensorDock docs, getting-started: 100 requests a minute and organization. This makes 95 at most; watching machines always
# leaves room for ending them.
PACES = (Pace("requests", every_s=60 / 70, burst=25, reserve=8),)
URGENT = frozenset({refusals.ORDER, refusals.DELETE, refusals.STOP})

T = TypeVar("T")


class TensorDockClient:
    """One TensorDock organization. Implements Provider, HasSshKeys, HasOsImages, HasRegions and StopsMachines.

    Raises UsageError for a key that no header can carry, ConfigError for an address that is not HTTPS.
    """

    name = wire.PROVIDER

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
            pacer=Pacer(context.state_dir / "pacing", self.name, PACES, clock=context.clock, urgent=URGENT),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def check_key(self) -> KeyCheck:
        """List the machines, which every key may. The account is not named."""
        count = len(await self._rows("instances", "instances", "check the key"))
        return KeyCheck(self.name, ok=True, detail=f"{count} machine{'' if count == 1 else 's'}")

    async def fetch_offers(self) -> list[Offer]:
        """Return one offer per location, GPU model and count, sold-out models included.

        The price is that of a whole machine of the shape in `native`. What has no price is left out.
        """
        rows = await self._rows("locations", "locations", "list offers")
        now_ms = self._clock.now_ms()
        offers = [offer for row in rows for offer in mapping.offers_of(row, now_ms)]
        return list({offer.id: offer for offer in offers}.values())

    async def list_regions(self) -> list[Region]:
        """Return the places where machines stand."""
        return mapping.regions_of(await self._rows("locations", "locations", "list regions"))

    async def list_os_images(self, offer: Offer | None = None) -> list[OsImage]:
        """Return the disk images known from the documentation, the same for every offer; others may be named, too."""
        return mapping.images()

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the public keys among the account's secrets. An order needs none of them: it carries its own."""
        return mapping.ssh_keys_of(await self._rows("secrets", "secrets", "list SSH keys"))

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Keep a public key as a secret. Sent once, and names are not unique: look at the list before trying again."""
        fingerprint = mapping.fingerprint_of(public_key)
        text = public_key.strip()
        body = {"data": {"type": "secret", "attributes": {"name": name, "value": text, "type": "SSHKEY"}}}
        reply = await self._write("POST", "secrets", "add an SSH key", body)
        secret = wire.read(wire.WireSecret, self._understood(reply, wire.item_of))
        if secret is None or not secret.id:
            raise self._malformed(reply)
        return SshKey(secret.id, self.name, secret.name or name, fingerprint, text)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a public key. Machines that were made with it keep it."""
        await self._write("DELETE", _item_path("secrets", key_id), "delete an SSH key")

    async def create(self, request: CreateRequest) -> Machine:
        """Order one machine, once. The answer knows neither its address nor its price.

        Raises NoCapacity with `may_exist` set where TensorDock says that it failed, but not how far it got.
        """
        body = order_of(request)
        reply = await self._write("POST", "instances", refusals.ORDER, body, deadline_s=ORDER_DEADLINE_S)
        machine = self._machine_in(reply)
        return replace(machine, label=machine.label or request.label)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine. Raises Gone when there is none of this id."""
        operation = "read a machine"
        try:
            reply = await self._http.get(_item_path("instances", machine_id), operation=operation)
        except Malformed as error:
            if error.status != 404 or machine_id in {machine.id for machine in await self.list_machines()}:
                raise
            raise Gone(
                "TensorDock neither lists this machine nor shows it (404).",
                provider=self.name,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
            ) from None
        return self._machine_in(reply)

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        machines: dict[str, Machine] = {}
        for row in await self._rows("instances", "instances", LIST_MACHINES):
            machine = mapping.machine_of(row)
            if machine is None:
                raise Malformed(
                    "TensorDock lists a machine without an id.",
                    provider=self.name,
                    operation=LIST_MACHINES,
                    may_exist=False,
                )
            machines[machine.id] = machine
        return [machine for machine in machines.values() if not machine.state.is_gone]

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Ask for deletion; no earlier stop is needed. TensorDock takes no key, and deleting twice harms nothing."""
        await self._write("DELETE", _item_path("instances", machine_id), refusals.DELETE)

    async def stop_machine(self, machine_id: str) -> None:
        """Switch a machine off. It may go on costing the full price; or lose its GPU, and then not start again."""
        await self._write("POST", _item_path("instances", machine_id) + "/stop", refusals.STOP)

    async def start_machine(self, machine_id: str) -> None:
        """Switch a machine on. Raises NoCapacity when its GPU is gone, Conflict when it is not off. Its address may change."""
        await self._write("POST", _item_path("instances", machine_id) + "/start", refusals.START)

    async def _rows(self, path: str, name: str, operation: str) -> list[Any]:
        """Return a list that is always there, so that a 404 means another server than we think."""
        try:
            reply = await self._http.get(path, operation=operation)
        except Gone as error:
            raise Malformed(
                f"There is no {path} at this address (404).",
                provider=self.name,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
                may_exist=False,
                hint="Check the URL set for TensorDock.",
            ) from None
        return self._understood(reply, lambda answer: wire.rows_of(answer, name))

    async def _write(
        self, method: str, path: str, operation: str, body: Any = None, *, deadline_s: float | None = None
    ) -> Reply:
        return await self._http.send(method, path, operation=operation, json_body=body, deadline_s=deadline_s)

    def _machine_in(self, reply: Reply) -> Machine:
        machine = mapping.machine_of(self._understood(reply, wire.item_of), is_whole=True)
        if machine is None:
            raise self._malformed(reply)
        return machine

    def _understood(self, reply: Reply, read: Callable[[Any], T]) -> T:
        try:
            return read(reply.data)
        except wire.Unreadable:
            raise self._malformed(reply) from None

    def _malformed(self, reply: Reply) -> Malformed:
        """Return the error for a 2xx that does not hold what it must. Only one about an order means a machine may exist."""
        return Malformed(
            f"TensorDock answered {reply.operation} without what was asked for.",
            provider=self.name,
            operation=reply.operation,
            status=reply.status,
            request_id=reply.request_id,
            may_exist=reply.operation == refusals.ORDER,
        )


def order_of(request: CreateRequest) -> dict[str, Any]:
    """Return the body of an order. Raises Rejected for a request that cannot be one."""
    native = request.offer.native
    if not native.get("location_id") or not native.get("gpu_model"):
        raise _rejected("This offer names no place to run in.", "offer")
    if not request.label.strip():
        raise _rejected("An order needs a label: TensorDock keeps no other mark.", "label")
    if request.disk_gib is not None and request.disk_gib <= 0:
        raise _rejected(f"A disk cannot have {request.disk_gib} GB.", "disk_gib")
    mapping.fingerprint_of(request.ssh_public_key)
    disk_gb = native["storage_gb"] if request.disk_gib is None else disk_holding(request.disk_gib)
    attributes = {
        "name": request.label,
        "type": "virtualmachine",
        "image": request.os_image or mapping.DEFAULT_IMAGE,
        "resources": {
            "vcpu_count": native["vcpu_count"],
            "ram_gb": native["ram_gb"],
            "storage_gb": disk_gb,
            "gpus": {native["gpu_model"]: {"count": request.offer.gpu_count}},
        },
        "location_id": native["location_id"],
        "port_forwards": [{"internal_port": mapping.SSH_PORT, "external_port": 0}],
        "ssh_key": request.ssh_public_key.strip(),
        "cloud_init": {"runcmd": first_boot.commands(request.ssh_public_key, needs_docker=request.image is not None)},
    }
    return {"data": {"type": "virtualmachine", "attributes": attributes}}


def _rejected(message: str, field: str) -> ProviderError:
    return Rejected(message, provider=wire.PROVIDER, operation=refusals.ORDER, field=field)


def _item_path(collection: str, item_id: str) -> str:
    """Return the path of one item. Raises Gone for an id that would lead to another address."""
    if not item_id.strip("./ "):
        raise Gone(f"TensorDock has nothing with the id {item_id!r}.", provider=wire.PROVIDER)
    return f"{collection}/{quote(item_id, safe='')}"
