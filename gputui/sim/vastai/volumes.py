"""Local volumes: storage on one host's machine, of a fixed size, mounted by one instance of that machine at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.vastai.errors import VastError, bad_args, refused
from gputui.sim.vastai.fields import body_of, number, number_of, text
from gputui.sim.vastai.market import HOURS_PER_MONTH, Listing, Market
from gputui.sim.vastai.offers import country_of
from gputui.sim.vastai.query import NEVER, read_query
from gputui.sim.vastai.state import Caller, StoredVolume, Tenant, VastState

DEFAULT_GB = 15
MOUNT = re.compile(r"-v V\.(?P<id>\d{1,18}):(?P<path>/\S*)")

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_COPIED = (
    "machine_id", "host_id", "disk_bw", "disk_name", "geolocation", "reliability2", "verification", "inet_up", "inet_down",
    "cuda_max_good", "driver_version", "cpu_name", "cpu_arch", "static_ip", "mobo_name", "os_version",
)  # fmt: skip
_COPIED_TO_OFFERS = (
    "bundle_id", "hosting_type", "hostname", "cluster_id", "geolocode", "reliability", "reliability_mult", "vericode",
    "driver_vers", "cpu_ghz", "has_avx", "pci_gen", "pcie_bw", "gpu_arch", "vms_enabled",
)  # fmt: skip


class VolumeRow:
    """One volume offer as a query sees it."""

    def __init__(self, market: Market, listing: Listing, now_ms: int, free_gb: int, query_gb: float) -> None:
        ends_s = market.end_ms(listing) / 1000
        monthly = float(listing.volume_usd_per_gb_month)
        self.shown = {
            "id": listing.volume_ask_id,
            "ask_contract_id": listing.volume_ask_id,
            **{name: listing.fields[name] for name in (*_COPIED, *_COPIED_TO_OFFERS)},
            "external": bool(listing.fields["external"]),
            "disk_space": float(free_gb),
            "storage_cost": monthly,
            "storage_total_cost": monthly * query_gb / HOURS_PER_MONTH,
            "start_date": ends_s - listing.period_ms / 1000,
            "end_date": ends_s,
            "duration": ends_s - now_ms / 1000,
        }

    def value(self, field: str) -> Any:
        match field:
            case "id":
                return NEVER
            case "geolocation":
                return country_of(self.shown["geolocation"])
            case "verified":
                return self.shown["verification"] == "verified"
            case "score":  # what the official client (vastai 1.9.1) orders by; how it is reckoned is not told
                return self.shown["disk_bw"] / self.shown["storage_cost"]
        return self.shown[field]


def new_volume(state: VastState, tenant: Tenant, listing: Listing, size_gb: int, name: str | None) -> StoredVolume:
    """Make a volume on a listing's machine."""
    end_ms = state.market.end_ms(listing)
    volume = StoredVolume(state.new_contract_id(), listing, name, size_gb, state.world.now_ms(), end_ms)
    tenant.volumes[volume.id] = volume
    return volume


def volume_to_mount(tenant: Tenant, volume_id: int, listing: Listing | None) -> StoredVolume:
    """Return a volume that an instance on a listing may mount. Raises VastError."""
    volume = tenant.volumes.get(volume_id)
    if volume is None or not _exists(volume, tenant.world.now_ms()):
        raise no_such_volume()
    if listing is not None and volume.listing.index != listing.index:
        raise bad_args("Invalid args: the volume is on another machine")
    if is_mounted(volume, tenant):
        raise bad_args("Invalid args: the volume is in use")
    return volume


def is_mounted(volume: StoredVolume, tenant: Tenant) -> bool:
    """Say whether an instance holds a volume: also a stopped one, and for a while after it was destroyed."""
    if volume.contract is None:
        return False
    now_ms = tenant.world.now_ms()
    ended_ms = volume.contract.machine.ended_ms(now_ms)
    return ended_ms is None or now_ms < ended_ms + tenant.world.faults.number("volume_release_s") * 1000


def no_such_volume() -> VastError:
    return refused(404, "no_such_volume", "Volume with that ID does not exist.")


class Volumes:
    """The volume calls."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    async def search(self, call: Call, caller: Caller | None) -> Answer:
        """Serve `POST /volumes/search/`, a query like that for offers."""
        listings = [item for item in self._state.market.listings() if item.volume_gb]
        probe = self._row(listings[0], 1.0).shown if listings else {}
        query = read_query(
            body_of(call),
            call.world.faults,
            known=frozenset({"verified", "score", *probe}),
            aliases={},
            defaults={"verified": True},
            default_order="storage_cost",
            default_gb=1.0,
        )
        rows = [self._row(item, query.allocated_gb) for item in listings]
        return Answer(
            {"offers": [row.shown for row in query.run([row for row in rows if row.shown["disk_space"] >= 1])]}
        )

    async def create(self, call: Call, caller: Caller) -> Answer:
        body = body_of(call)
        name, size = text(body, "name"), int(number(body, "size") or DEFAULT_GB)
        if name is not None and not _NAME.fullmatch(name):
            said = f"invalid volume name: {name}. Max length 64, alphanumeric and underscore characters only"
            raise refused(422, "invalid_args", said)
        listing = self._state.market.of_volume_ask(int(number(body, "id") or 0))
        if listing is None or not listing.volume_gb:
            raise refused(404, "no_such_ask", "Volume offer with that ID does not exist.")
        if not 1 <= size <= self._free_gb(listing):
            raise bad_args("Invalid args: 'size' is more than the offer has")
        volume = new_volume(self._state, caller.tenant, listing, size, name)
        return Answer({"success": True, "volume_name": f"V.{volume.id}"})

    async def list_all(self, call: Call, caller: Caller) -> Answer:
        kind, now_ms = call.query("type") or "all_volume", call.world.now_ms()
        if kind not in ("all_volume", "local_volume", "network_volume"):
            raise bad_args("Invalid args: unknown volume type")
        volumes = [item for item in caller.tenant.volumes.values() if _exists(item, now_ms)]
        return Answer({"volumes": [_render(item, caller.tenant) for item in volumes if kind != "network_volume"]})

    async def delete(self, call: Call, caller: Caller) -> Answer:
        """Serve `DELETE /volumes/`, with the id in the query or in the body."""
        wanted = number_of(call.query("id") or body_of(call).get("id"))
        if wanted is None:
            raise bad_args("Please provide a valid volume ID.")
        volume = caller.tenant.volumes.get(int(wanted))
        if volume is None or not _exists(volume, call.world.now_ms()):
            raise no_such_volume()
        if is_mounted(volume, caller.tenant):
            raise bad_args("Volume is in use by an instance.")
        volume.deleted_ms = call.world.now_ms()
        return Answer({"success": True})

    def _row(self, listing: Listing, query_gb: float) -> VolumeRow:
        return VolumeRow(self._state.market, listing, self._state.world.now_ms(), self._free_gb(listing), query_gb)

    def _free_gb(self, listing: Listing) -> int:
        now_ms = self._state.world.now_ms()
        volumes = [
            item for item in self._state.volumes() if item.listing.index == listing.index and _exists(item, now_ms)
        ]
        return listing.volume_gb - sum(item.size_gb for item in volumes)


def _exists(volume: StoredVolume, now_ms: int) -> bool:
    return volume.deleted_ms is None or volume.deleted_ms > now_ms


def _render(volume: StoredVolume, tenant: Tenant) -> Mapping[str, Any]:
    fields, mounted = volume.listing.fields, is_mounted(volume, tenant)
    return {
        "id": volume.id,
        "label": volume.name,
        "status": "in-use" if mounted else "created",
        "type": "machine",
        **{name: fields[name] for name in (*_COPIED, "public_ipaddr")},
        "disk_space": float(volume.size_gb),
        "storage_cost": float(volume.listing.volume_usd_per_gb_month),
        "storage_total_cost": float(volume.usd_per_hour),
        "instances": [{"id": volume.contract.id}] if volume.contract is not None and mounted else [],
        "start_date": volume.created_ms / 1000,
        "end_date": volume.end_ms / 1000,
    }
