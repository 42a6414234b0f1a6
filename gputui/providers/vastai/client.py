"""Client for Vast.ai's API, versions 0 and 1 (https://console.vast.ai). I/O only; the other modules do the thinking.

A machine is a container from the job's image on somebody's host. Vast.ai's start-up brings sshd into it, and the workload is
started over SSH like anywhere else. What documentation leaves open, and how each doubt is met here:

* An order takes no idempotency key: it is sent once, and whoever loses its answer looks for the label. A failed order may have
  made a machine all the same (it then names one): `may_exist`.
* Documents name several answers to a refused key, 404 among them: whatever names the key, a login or a session is about
  the key, and never means that a machine is gone.
* A machine that the list leaves out is asked for by itself before it counts as gone; null stands for "destroyed".
* How many offers a search shows, in which order by default, and how many searches a day has, is unknown: see `market`.
* Keys of the account go into new machines by themselves; whether a key that was added just now does, too, is told in two
  ways, and a team's account holds no keys: then the key is attached to the machine. Attached is not yet installed.
* SSH goes to the host's own port where there is one, else through Vast.ai's proxy. A port that a host maps, but does not let
  through, is not told from one that works.
* What `rebooting`, `recycling` and `unknown` cost is unknown: count with the full price.
* Disk costs from the order on, GPUs from when it runs, traffic by the byte: a machine's price has the first two.
* A start that cannot be had stays queued, perhaps for ever: it is called off.
* Volumes lie on one host each; the API finds hosts by country or number.
* A list of charges tells of whole contracts; whether it cuts them at the time asked for is unknown.
* Sizes are in GB, taken for GiB as other sizes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gputui.model.errors import AuthError, Gone, NoCapacity, ProviderError, RateLimited, Rejected
from gputui.model.types import Balance, Charge, CreateRequest, Machine, Offer, SshKey, Volume
from gputui.model.units import MicroUsd
from gputui.providers.base import KeyCheck
from gputui.providers.registry import ClientContext
from gputui.providers.vastai import limits, mapping, refusals, resources, wire
from gputui.providers.vastai.calls import (
    VastCalls,
    as_text,
    item_path,
    malformed,
    no_such,
    nothing_there,
    understood,
    unreadable,
)
from gputui.providers.vastai.market import read_market
from gputui.providers.vastai.together import SharedRead

# More than any account was shown; see `market` for what comes instead.
SEARCH_LIMIT = 5000
# Most that the list of machines and that of charges give at once.
MACHINES_PER_PAGE = 25
CHARGES_PER_PAGE = 500
ATTACH_ATTEMPTS = 3
ORDER_EVERY_S = 4.5


class VastClient:
    """One Vast.ai account. Implements Provider, HasBalance, HasSshKeys, HasVolumes, StopsMachines and HasCharges.

    Calls wait for their turn within Vast.ai's limits. Raises UsageError for a key that no header can carry, ConfigError for an
    address that is not HTTPS.
    """

    name = wire.PROVIDER

    def __init__(self, context: ClientContext) -> None:
        self._clock = context.clock
        self._calls = VastCalls(context)
        self._fleet = SharedRead(self._read_fleet)
        self._registering_key = asyncio.Lock()
        self._model_names: list[str] = []

    async def aclose(self) -> None:
        """Close the connections."""
        await self._calls.aclose()

    async def check_key(self) -> KeyCheck:
        """List a machine, which every useful key may, then ask for the account's name, which a narrow key may not."""
        reply = await self._calls.read("api/v1/instances/", limits.CHECK, {"limit": 1})
        understood(reply, lambda body: wire.page_of(body, "instances"))
        try:
            account = await self._account()
        except AuthError:
            return KeyCheck(self.name, ok=True, detail="This key may not read the account: no balance, no SSH keys.")
        return KeyCheck(self.name, ok=True, identity=account.username or account.id)

    async def fetch_balance(self) -> Balance:
        """Return the credit, which running machines lower every few seconds."""
        return Balance(self.name, resources.balance_of(await self._account()), self._clock.now_ms())

    async def fetch_offers(self) -> list[Offer]:
        """Return on-demand offers of verified hosts: all, or the cheapest of every GPU model where the market is too large.

        Prices are those of a machine with `native["disk_gb"]` GB of disk.
        """
        rows = await read_market(self._search, self._all_model_names)
        now_ms = self._clock.now_ms()
        return [offer for row in rows if (offer := mapping.offer_of(row, now_ms))]

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the public keys of the account."""
        try:
            reply = await self._calls.read_item("api/v0/ssh/", limits.LIST_KEYS)
        except Gone as error:
            if "ssh key" in error.message.lower():  # "No SSH keys found for the user."
                return []
            raise nothing_there("api/v0/ssh/", error) from None
        rows = understood(reply, wire.bare_rows_of)
        return [key for row in rows if (key := resources.ssh_key_of(row))]

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Register a public key; its name becomes its comment. Sent once: look at the list before trying again.

        Raises Rejected for an account of a team, which holds no keys.
        """
        fingerprint = resources.fingerprint_of(public_key)
        text = resources.named_key(name, public_key)
        reply = await self._calls.write("POST", "api/v0/ssh/", limits.ADD_KEY, {"ssh_key": text})
        row = reply.data.get("key") if isinstance(reply.data, dict) else None
        key = resources.ssh_key_of(row)
        if key is None:
            raise malformed(reply)
        return replace(key, name=key.name or name, fingerprint=key.fingerprint or fingerprint)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a public key. Machines that were made with it keep it."""
        await self._calls.write("DELETE", item_path("ssh", key_id), limits.DELETE_KEY)

    async def list_volumes(self) -> list[Volume]:
        """Return the volumes. Raises Malformed rather than leave one out that it cannot read."""
        reply = await self._calls.read("api/v0/volumes/", limits.LIST_VOLUMES, {"owner": "me", "type": "all_volume"})
        rows = understood(reply, lambda body: wire.rows_of(body, "volumes"))
        volumes = [resources.volume_of(row) for row in rows]
        if None in volumes:
            raise malformed(reply)
        return [volume for volume in volumes if volume is not None]

    async def create_volume(self, name: str, *, size_gib: int | None, region: str, kind: str | None) -> Volume:
        """Make a volume on the cheapest host of a country ("CA"), or on the host whose number `region` is. Sent once.

        It is billed until it is deleted. An error with `may_exist` True means that it may have been made: look at the list.
        """
        size_gb = resources.check_volume(name, size_gib=size_gib, kind=kind)
        room = await self._room(region, size_gb)
        body = {"id": int(room.id or 0), "size": size_gb, "name": name}
        made = await self._calls.write("PUT", "api/v0/volumes/", limits.MAKE_VOLUME, body)
        return understood(made, lambda answer: resources.made_volume(answer, name, size_gb, room))

    async def quote_volume(self, *, size_gib: int | None, region: str, kind: str | None) -> MicroUsd | None:
        """Return what a volume would cost a month on the host that `create_volume` would choose now."""
        size_gb = resources.check_size(size_gib, kind)
        return resources.monthly_price(await self._room(region, size_gb), size_gb)

    async def _room(self, region: str, size_gb: int) -> wire.WireVolumeOffer:
        question = resources.volume_search(region, size_gb)
        offers = await self._calls.query("api/v0/volumes/search/", limits.SEARCH_VOLUMES, question)
        return resources.cheapest_room(offers, region, size_gb)

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a volume and all that is on it. It cannot be while a machine mounts it, a stopped one included."""
        if not volume_id.isdecimal():
            raise no_such(volume_id)
        await self._calls.write("DELETE", "api/v0/volumes/", limits.DELETE_VOLUME, {"id": int(volume_id)})

    def volume_obstacle(self, volumes: Sequence[Volume], offer: Offer) -> str | None:
        """Return why a machine of this offer cannot have these volumes, None when it can."""
        return mapping.volume_obstacle(volumes, offer)

    async def create(self, request: CreateRequest) -> Machine:
        """Order one machine with the job's image and our SSH key, once, after waiting for a turn (one in 4.5 seconds).

        Raises NoCapacity when somebody was quicker; losing that race is normal. A machine that is not what was ordered is
        ended at once, and NoCapacity raised with `may_exist`.
        """
        with _nothing_exists():
            mapping.check_order(request, self._clock.now_ms())
            body = mapping.order_of(request)
            is_key_known = await self._is_our_key_known(request.ssh_public_key)
        try:
            reply = await self._calls.write("PUT", f"api/v0/asks/{request.offer.native['ask_id']}/", limits.ORDER, body)
        except RateLimited as error:
            error.retry_after_s = error.retry_after_s or ORDER_EVERY_S
            raise
        machine_id = understood(reply, wire.made_id_in)
        if not is_key_known:
            await self._give_key(machine_id, request.ssh_public_key)
        return await self._made(machine_id, request)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine. Raises Gone when neither the list nor the machine's own page knows it."""
        for machine in await self._fleet.fresh():
            if machine.id == machine_id:
                return machine
        row = await self._row_of(machine_id)
        return mapping.machine_of(row) or unreadable(limits.READ)

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        return [machine for machine in await self._fleet.fresh() if not machine.state.is_gone]

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Ask for the end of a machine; its disk is lost. Vast.ai takes no key, and asking twice harms nothing."""
        await self._calls.write("DELETE", item_path("instances", machine_id), limits.END)

    async def stop_machine(self, machine_id: str) -> None:
        """Switch a machine off: it gives up its GPU and goes on to cost its disk."""
        await self._calls.write("PUT", item_path("instances", machine_id), limits.STOP, {"state": "stopped"})

    async def start_machine(self, machine_id: str) -> None:
        """Switch a machine on. Raises NoCapacity when its GPU is rented out; the wish, which stays queued, is called off."""
        try:
            await self._calls.write("PUT", item_path("instances", machine_id), limits.START, {"state": "running"})
        except NoCapacity as error:
            try:
                await self.stop_machine(machine_id)
            except ProviderError as failure:
                error.hint = f"It may start by itself once the GPU is free: calling it off failed. {failure.message}"
            raise

    async def fetch_charges(self, *, since_ms: int, until_ms: int) -> list[Charge]:
        """Return what was charged in a span of time: GPU, disk and traffic of each machine, volumes too."""
        days = {"day": {"gte": since_ms // 1000, "lte": -(-until_ms // 1000)}}
        question = {"select_filters": as_text(days), "latest_first": "false", "limit": CHARGES_PER_PAGE}
        rows = await self._calls.pages("api/v0/charges/", limits.CHARGES, "results", question)
        try:
            return [
                charge for row in rows for charge in resources.charges_of(row, since_ms=since_ms, until_ms=until_ms)
            ]
        except wire.Unreadable:
            unreadable(limits.CHARGES)

    async def _search(self, filters: dict[str, Any]) -> list[wire.WireOffer | None]:
        question = mapping.search_body(filters, limit=SEARCH_LIMIT)
        rows = await self._calls.query("api/v0/bundles/", limits.SEARCH, question)
        return [wire.read(wire.WireOffer, row) for row in rows]

    async def _all_model_names(self) -> list[str]:
        """Return Vast.ai's spellings of GPU models, which hardly ever change: read once per client."""
        if not self._model_names:
            reply = await self._calls.read("api/v0/gpu_names/unique/", limits.GPU_NAMES)
            rows = understood(reply, lambda body: wire.rows_of(body, "gpu_names"))
            self._model_names = [name for name in rows if isinstance(name, str) and name]
        return self._model_names

    async def _account(self) -> wire.WireAccount:
        reply = await self._calls.read("api/v0/users/current/", limits.ACCOUNT)
        account = wire.read(wire.WireAccount, reply.data)
        if account is None or not account.id:
            raise malformed(reply)
        return account

    async def _is_our_key_known(self, public_key: str) -> bool:
        """Say whether the account has long had our key, so that new machines get it by themselves; else register it, once."""
        fingerprint = resources.fingerprint_of(public_key)
        async with self._registering_key:
            if await self._has_key(fingerprint):
                return True
            try:
                await self.add_ssh_key(resources.our_key_name(fingerprint), public_key)
            except refusals.TeamHoldsNoKeys:
                return False
            except Rejected:
                # Another process of ours may have been quicker.
                if not await self._has_key(fingerprint):
                    raise
            return False

    async def _has_key(self, fingerprint: str) -> bool:
        return any(key.fingerprint == fingerprint for key in await self.list_ssh_keys())

    async def _give_key(self, machine_id: str, public_key: str) -> None:
        """Attach our key to a machine that exists; doing so twice is harmless, so it is tried again."""
        path, body = item_path("instances", machine_id) + "ssh/", {"ssh_key": public_key.strip()}
        for attempt in range(1, ATTACH_ATTEMPTS + 1):
            try:
                await self._calls.write("POST", path, limits.ATTACH_KEY, body)
            except ProviderError as error:
                if attempt == ATTACH_ATTEMPTS:
                    error.may_exist = True
                    raise
            else:
                return

    async def _made(self, machine_id: str, request: CreateRequest) -> Machine:
        """Return a new machine as it is; what only its id is known of where it cannot be read yet."""
        try:
            row = await self._row_of(machine_id)
        except ProviderError:
            return mapping.ordered_machine(machine_id, request)
        machine = mapping.machine_of(row)
        if machine is None:
            return mapping.ordered_machine(machine_id, request)
        if trouble := mapping.difference(row, request):
            raise await self._ended(machine_id, f"The machine was not what was ordered: it {trouble}.")
        if machine.label == request.label:
            return machine
        return replace(machine, label=await self._label(machine_id, request.label) or machine.label)

    async def _ended(self, machine_id: str, why: str) -> NoCapacity:
        """End a machine that is of no use, and return the error that tells of it."""
        error = NoCapacity(why, provider=self.name, operation=limits.ORDER, may_exist=True)
        try:
            await self._calls.write("DELETE", item_path("instances", machine_id), limits.END)
        except ProviderError as failure:
            error.hint = f"Ending it failed: {failure.message}"
        return error

    async def _label(self, machine_id: str, label: str) -> str | None:
        """Put our label on a machine that came without it; None when that fails. Its id is known, so it is not lost."""
        try:
            await self._calls.write("PUT", item_path("instances", machine_id), limits.LABEL, {"label": label})
        except ProviderError:
            return None
        return label

    async def _read_fleet(self) -> list[Machine]:
        """Return every machine the account lists, all pages, each once."""
        question = {"limit": MACHINES_PER_PAGE, "order_by": as_text([{"col": "id", "dir": "asc"}])}
        rows = await self._calls.pages("api/v1/instances/", limits.LIST, "instances", question)
        machines = [mapping.machine_of(row) or unreadable(limits.LIST) for row in rows]
        return list({machine.id: machine for machine in machines}.values())

    async def _row_of(self, machine_id: str) -> dict[str, Any]:
        """Return what a machine's own page tells. Raises Gone where there is none."""
        reply = await self._calls.read_item(item_path("instances", machine_id), limits.READ)
        row = understood(reply, wire.instance_in)
        if row is None:
            raise no_such(machine_id, reply)
        return row


@contextmanager
def _nothing_exists() -> Iterator[None]:
    """Mark what fails before an order leaves: no machine exists of it."""
    try:
        yield
    except ProviderError as error:
        error.may_exist = False
        raise
