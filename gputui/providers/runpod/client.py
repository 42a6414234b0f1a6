"""Client for RunPod's REST API v2 (https://api.runpod.io/v2). I/O only; its neighbours do the thinking.

What public documentation leaves open, and how each doubt is met here:

* A create takes no idempotency key, and names need not be unique: it is sent once, under our label as its name, and whoever
  loses its answer must look for that name. `CreateRequest.resend` changes nothing.
* That nothing is free is a 400 told from a broken rule by its sentence alone: see `refusals`. A 402's body was never seen.
* `args` takes the place of the image's command (not of its entrypoint) and is split as a shell would. Line ends within quotes
  are taken to survive that. A version that takes `cmd` as a list is newer than the published document, and not relied on.
* How large the container disk is when none is asked for is told nowhere: it is always asked for. Too much means no capacity.
* A pod's `cost` may hold its disk, too, and then is slightly more than the list price.
* A pod is called RUNNING while its image is pulled: see `mapping`. Whether a pod whose host has failed shows as EXITED or as
  RUNNING without a runtime is open: both are alive here.
* A stop erases the container disk. It is refused for a pod on which nothing would be kept.
* Hosts of the community cloud may have no public address: a machine there may never be reached by SSH.
* How far back `since` reaches in a log is not told; if it is refused, the longest tail is read instead. Whether a stopped pod
  still has a log is open. A log may withhold its answer until there is a line: silence is an empty page.
* Lists may come in pages (since 2026-09) or whole; both are read. Cluster pods are asked for, too; they are ended elsewhere.
* Stock is told per GPU count: 1, 2, 4 and 8 are asked for. Other counts can be had, but are not offered here.
* The balance is in the older GraphQL API only, which is being taken down: it is unknown once that stops answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from gputui.model.errors import (
    AuthError,
    Gone,
    Malformed,
    NotSupported,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.logs import LogPage
from gputui.model.types import Balance, Charge, CreateRequest, Machine, Offer, Region, SshKey, Volume
from gputui.model.units import MicroUsd, Ms, iso_utc, usd_to_micro
from gputui.providers.base import KeyCheck
from gputui.providers.registry import ClientContext
from gputui.providers.runpod import keys, limits, logs, mapping, resources, wire
from gputui.providers.runpod.calls import RunPodCalls, item_path, malformed, understood
from gputui.providers.runpod.looks import Looks

_LIST, _CHECK_KEY = "list pods", "check the key"
_SET_KEYS = "set the SSH keys"
# Two who write the whole set of keys at once can undo each other's work: it is looked at again, and put right.
_KEY_ATTEMPTS = 3


class RunPodClient:
    """One RunPod account. Implements Provider, HasBalance, HasSshKeys, HasRegions, HasVolumes, StopsMachines, HasCharges and
    StreamsLogs.

    Calls wait for their turn within RunPod's limits. Raises UsageError for a key that no header can carry, ConfigError for
    an address that is not HTTPS.
    """

    name = wire.PROVIDER

    def __init__(self, context: ClientContext) -> None:
        self._clock = context.clock
        self._calls = RunPodCalls(context)
        self._http = self._calls.http
        self._looks = Looks(self._read_pod, self._readable_pods)
        self._setting_keys = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._looks.aclose()
        await self._calls.aclose()

    async def check_key(self) -> KeyCheck:
        """List the pods. A key that may not is asked about once more: a 403 alone does not make it a dead one."""
        try:
            count = len(await self._calls.rows("pods", "pods", _CHECK_KEY))
        except AuthError as error:
            if not error.lacks_permission:
                raise
            await self._calls.rows("catalog/gpus", "gpus", _CHECK_KEY)
            return KeyCheck(self.name, ok=True, detail="The key works, but may not see pods: give it access to them.")
        return KeyCheck(self.name, ok=True, detail=f"{count} pod{'' if count == 1 else 's'}")

    async def fetch_offers(self) -> list[Offer]:
        """Return one offer per GPU type, cloud, count and data centre with stock; what is sold out has one without a region."""
        answers = await self._stock([(cloud, 1) for cloud in mapping.CLOUDS])
        larger = [(cloud, count) for (cloud, _), rows in answers.items() for count in mapping.counts_in(rows, cloud)]
        answers |= await self._stock(larger)
        now_ms = self._clock.now_ms()
        offers = chain.from_iterable(
            mapping.offers_of(row, cloud, count, now_ms) for (cloud, count), rows in answers.items() for row in rows
        )
        return list({offer.id: offer for offer in offers}.values())

    async def _stock(self, questions: list[tuple[str, int]]) -> dict[tuple[str, int], list[Any]]:
        """Return the GPU types with their stock for each (cloud, count)."""
        asked = {"include": "AVAILABILITY", "product": "POD"}
        calls = (
            self._calls.rows("catalog/gpus", "gpus", "list offers", {**asked, "cloud": cloud, "count": count})
            for cloud, count in questions
        )
        return dict(zip(questions, await asyncio.gather(*calls), strict=True))

    async def list_regions(self) -> list[Region]:
        """Return the data centres."""
        return resources.regions_of(await self._calls.rows("catalog/datacenters", "dataCenters", "list data centres"))

    def volume_obstacle(self, volumes: Sequence[Volume], offer: Offer) -> str | None:
        """Return why a pod of this offer cannot have these network volumes, None when it can."""
        return mapping.volume_obstacle(volumes, offer)

    async def create(self, request: CreateRequest) -> Machine:
        """Order one pod named `request.label`, once.

        With an argv the pod runs it instead of the image's command. Without one it is a machine to log in to: our public key
        joins the account's first, as pods are given those. Raises Rejected without an image, and NoCapacity when there is none.
        """
        mapping.check_order(request)
        if not request.argv:
            await self._ensure_key(request.ssh_public_key)
        reply = await self._calls.make("pods", mapping.order_of(request), limits.ORDER)
        machine = mapping.machine_of(reply.data)
        if machine is None:
            raise malformed(reply)
        return replace(
            machine,
            label=machine.label or request.label,
            gpu=machine.gpu or request.offer.gpu,
            gpu_count=machine.gpu_count or request.offer.gpu_count,
        )

    async def get(self, machine_id: str) -> Machine:
        """Return one pod; looks at several at about the same time become one question. Raises Gone for 404."""
        item_path("pods", machine_id)
        return await self._looks.look(machine_id)

    async def list_machines(self) -> list[Machine]:
        """Return every pod that is not gone. Raises Malformed rather than leave one out that it cannot read."""
        machines = []
        for row in await self._pod_rows():
            machine = mapping.machine_of(row)
            if machine is None:
                raise Malformed(
                    "RunPod listed a pod without an id.", provider=self.name, operation=_LIST, may_exist=False
                )
            machines.append(machine)
        return [
            machine for machine in {machine.id: machine for machine in machines}.values() if not machine.state.is_gone
        ]

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """End one pod; all but network volumes is lost. RunPod takes no idempotency key."""
        await self._http.send("DELETE", item_path("pods", machine_id), operation=limits.END)

    async def stop_machine(self, machine_id: str) -> None:
        """Switch a pod off: it gives up its GPUs and keeps its volumes, which go on costing money.

        Raises NotSupported for a pod without a volume, of which nothing would be left, and Conflict for one that is off.
        """
        path = item_path("pods", machine_id)
        reply = await self._http.get(path, operation="read a pod")
        if not mapping.keeps_its_disk(reply.data):
            raise NotSupported(
                "Stopping this pod would erase its disk: it has no volume.",
                provider=self.name,
                operation=limits.STOP,
                hint="End it instead.",
            )
        await self._http.send("POST", f"{path}/action", operation=limits.STOP, json_body={"action": "stop"})

    async def start_machine(self, machine_id: str) -> None:
        """Switch a pod on again, on the same host: NoCapacity when its GPUs went to someone else. Its address changes."""
        path = item_path("pods", machine_id, "action")
        await self._http.send("POST", path, operation="start a pod", json_body={"action": "start"})

    async def read_log(self, machine_id: str, *, after: str | None, wait_s: float) -> LogPage:
        """Return what a pod's container printed after a cursor. Every reading is a request, so it may wait for its turn.

        Raises Gone for 404, which may pass for a pod that was just made.
        """
        path, patience = item_path("pods", machine_id, "logs"), logs.patience(wait_s)

        async def page(headers: Mapping[str, str], **begin: Any) -> LogPage:
            params = {"source": "container", **begin}
            events = await self._http.read_events(
                path, operation=limits.READ_LOG, patience=patience, params=params, headers=headers
            )
            return logs.page_of(events, after)

        try:
            if after is not None:
                return await page({"Last-Event-ID": after})
            try:
                return await page({}, **logs.FROM_THE_START)
            except Rejected:
                return await page({}, **logs.LONGEST_TAIL)
        except RateLimited as error:
            if error.status is not None:
                raise
            return LogPage((), after, was_asked=False)
        except wire.Unreadable:
            raise Malformed(
                "RunPod's log does not say where it stands.",
                provider=self.name,
                operation=limits.READ_LOG,
                may_exist=False,
            ) from None

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the account's public keys. Their ids are their fingerprints."""
        found = {key.id: key for key in map(keys.key_of, await self._key_lines())}
        return list(found.values())

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Add a public key to the account's; one that is there already stays as it is. Pods that run are not given it."""
        line = keys.line_of(name, public_key)
        lines = await self._set_keys(add=line)
        return next(key for key in map(keys.key_of, lines) if key.id == keys.key_of(line).id)

    async def delete_ssh_key(self, key_id: str) -> None:
        """Take a public key out of the account's. Pods that were made with it keep it."""
        await self._set_keys(remove_id=key_id)

    async def list_volumes(self) -> list[Volume]:
        """Return the network volumes and the pods that mount them. Raises Malformed rather than leave one out."""
        operation = "list network volumes"
        volumes = []
        for row in await self._calls.rows("network-volumes", "networkVolumes", operation):
            volume = resources.volume_of(row)
            if volume is None:
                raise Malformed(
                    "RunPod listed a volume without an id.", provider=self.name, operation=operation, may_exist=False
                )
            volumes.append(volume)
        if not volumes:
            return []
        mounts = resources.mounts_in(await self._pod_rows())
        return [replace(volume, attached_to=mounts.get(volume.id, ())) for volume in volumes]

    async def create_volume(self, name: str, *, size_gib: int | None, region: str, kind: str | None) -> Volume:
        """Make a network volume, once; it costs money until it is deleted. Without a kind the data centre's own is taken.

        An error with `may_exist` True means that it may have been made: look for the name in the list.
        """
        body = resources.volume_order(name, size_gib=size_gib, region=region, kind=kind)
        reply = await self._calls.make("network-volumes", body, limits.MAKE_VOLUME)
        volume = resources.volume_of(reply.data)
        if volume is None:
            raise malformed(reply)
        return replace(volume, name=volume.name or name, region=volume.region or body["dataCenter"])

    async def quote_volume(self, *, size_gib: int | None, region: str, kind: str | None) -> MicroUsd | None:
        """Return what a network volume would cost a month, None for the fast kind, whose price is not published."""
        order = resources.volume_order("quote", size_gib=size_gib, region=region, kind=kind)
        centres = await self._calls.rows("catalog/datacenters", "dataCenters", "list data centres")
        return resources.quote_of(order, centres)

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a network volume and all that is on it."""
        path = item_path("network-volumes", volume_id)
        await self._http.send("DELETE", path, operation="delete a network volume")

    async def fetch_balance(self) -> Balance:
        """Return the credit; it is unknown where the older API no longer tells it, or not to this key."""
        operation = "read the balance"
        account = wire.read(wire.WireAccount, await self._calls.ask_account("clientBalance", operation))
        credit = account.client_balance if account else None
        return Balance(self.name, None if credit is None else usd_to_micro(credit), self._clock.now_ms())

    async def fetch_charges(self, *, since_ms: Ms, until_ms: Ms) -> list[Charge]:
        """Return the bill by hour, or by day for more than a week, widened to whole buckets; the last hour may be missing."""
        if until_ms <= since_ms:
            return []
        window = {
            "startTime": iso_utc(since_ms),
            "endTime": iso_utc(until_ms),
            "bucketSize": resources.bucket_for(since_ms, until_ms),
        }
        pods = await self._charges("billing/pods", window, resources.pod_charges_of)
        return pods + await self._charges("billing", window, resources.other_charges_of)

    async def _charges(self, path: str, window: dict[str, Any], read: Any) -> list[Charge]:
        operation = "read the bill"
        rows = await self._calls.rows(path, "records", operation, window)
        try:
            charges: list[Charge] = read(rows)
        except wire.Unreadable:
            raise Malformed(
                "RunPod's bill cannot be read.", provider=self.name, operation=operation, may_exist=False
            ) from None
        return charges

    async def _pod_rows(self) -> list[Any]:
        return await self._calls.rows("pods", "pods", _LIST, {"includeClusterPods": "true"})

    async def _read_pod(self, machine_id: str) -> Machine:
        reply = await self._http.get(item_path("pods", machine_id), operation="read a pod")
        machine = mapping.machine_of(reply.data)
        if machine is None:
            raise malformed(reply)
        return machine

    async def _readable_pods(self) -> dict[str, Machine]:
        """Return the listed pods by id; one that cannot be read is no reason not to tell of the others."""
        return {machine.id: machine for row in await self._pod_rows() if (machine := mapping.machine_of(row))}

    async def _key_lines(self) -> list[str]:
        return understood(await self._calls.read("account/ssh-keys", "list SSH keys"), wire.key_lines_of)

    async def _ensure_key(self, public_key: str) -> None:
        """Have our public key among the account's. Raises what went wrong; no pod exists then."""
        try:
            await self._set_keys(add=keys.line_of("gputui", public_key))
        except ProviderError as error:
            error.may_exist = False
            raise

    async def _set_keys(self, *, add: str | None = None, remove_id: str | None = None) -> list[str]:
        """Add or remove one key and return the whole set as it is then. Raises Gone for one that is not there to remove.

        The set can only be written whole: it is never written unless it was read, and is read again after.
        """
        async with self._setting_keys:
            for attempt in range(_KEY_ATTEMPTS + 1):
                lines = await self._key_lines()
                wanted = keys.with_key(lines, add) if add is not None else keys.without_key(lines, remove_id or "")
                if wanted == lines:
                    if remove_id is not None and attempt == 0:
                        raise Gone(f"RunPod has no SSH key {remove_id!r}.", provider=self.name, operation=_SET_KEYS)
                    return lines
                if attempt < _KEY_ATTEMPTS:
                    body = {"keys": wanted}
                    await self._http.send("PUT", "account/ssh-keys", operation=_SET_KEYS, json_body=body)
        raise Transient(
            "The SSH keys of the RunPod account were changed by someone else at the same time.",
            provider=self.name,
            operation=_SET_KEYS,
            may_exist=False,
            hint="Try again.",
        )
