"""Locations, hosts, what is free on them, what a machine costs there, and on which host an order lands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.tensordock import render
from gputui.sim.tensordock.data import HOSTS, PLACES, Host, Place, host_of
from gputui.sim.tensordock.knobs import STALE_LISTINGS
from gputui.sim.tensordock.state import PROVIDER, Size, Tenant, vm_of
from gputui.sim.world import World

FIRST_PORT = 20_000
LAST_PORT = 60_999
_PORTS_SHOWN = 16


class NoNodes(Exception):
    """No host there has all that was asked for."""


class AboveRatio(Exception):
    """More RAM or vCPUs for each GPU than a host gives."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a machine costs, dollars per hour: `compute_usd` for GPUs, vCPUs and RAM, `storage_usd` for its disk."""

    compute_usd: Decimal
    storage_usd: Decimal

    @property
    def total_usd(self) -> Decimal:
        return self.compute_usd + self.storage_usd


async def locations(call: Call) -> Answer:
    """Serve `GET /locations`, which needs no token: one entry for each GPU model in each place."""
    call.world.settle()
    shown = []
    for place in PLACES:
        groups: dict[str, list[Host]] = {}
        for host in _listed_hosts(call.world):
            if host.place is place:
                groups.setdefault(host.model.id, []).append(host)
        gpus = [_row(call.world, hosts) for hosts in groups.values()]
        if gpus:
            shown.append(render.location(place, gpus))
    return Answer({"data": {"locations": shown}})


async def hostnodes(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /hostnodes`. Query parameters change nothing."""
    hosts = [_shown_host(call.world, host, render.listed_amounts) for host in _listed_hosts(call.world)]
    return Answer({"data": {"hostnodes": hosts}})


async def hostnode(call: Call, tenant: Tenant) -> Answer:
    host = host_of(call.path["id"])
    if host is None or host not in _listed_hosts(call.world):
        raise ApiError(404, "NOT_FOUND", "Hostnode not found")
    return Answer({"data": _shown_host(call.world, host, render.single_amounts)})


def free_on(world: World, host: Host) -> Size:
    """Return what of a host can be had now. A released machine keeps only its disk there."""
    now_ms = world.now_ms()
    here = [machine for machine in world.machines.values() if machine.region == host.id and machine.is_alive(now_ms)]
    holding = [vm_of(machine).size for machine in here if machine.holds_capacity(now_ms)]
    per_gpu = share(host)
    return Size(
        world.free(PROVIDER, host.type_name, host.id),
        max(0, host.vcpus - host.taken * per_gpu.vcpus - sum(size.vcpus for size in holding)),
        max(0, host.ram_gb - host.taken * per_gpu.ram_gb - sum(size.ram_gb for size in holding)),
        max(
            0,
            host.storage_gb - host.taken * per_gpu.storage_gb - sum(vm_of(machine).size.storage_gb for machine in here),
        ),
    )


def share(host: Host) -> Size:
    """Return what of a host belongs to each of its GPUs."""
    return Size(1, host.vcpus // host.gpus, host.ram_gb // host.gpus, host.storage_gb // host.gpus)


def quote(world: World, host: Host, size: Size) -> Quote:
    """Return what a machine of a size on a host costs now."""
    place = host.place
    compute_usd = (
        world.list_price_usd(PROVIDER, host.type_name) * size.gpus
        + place.usd_per_vcpu * size.vcpus
        + place.usd_per_gb_ram * size.ram_gb
    )
    return Quote(compute_usd, place.usd_per_gb_storage * size.storage_gb)


def pick_host(world: World, candidates: Iterable[Host], model_id: str, size: Size, *, public_ip: bool) -> Host:
    """Return the first of some hosts that has a size free, those with dedicated addresses first where one is wanted.

    Raises NoNodes; AboveRatio when the only thing in the way is how much comes with each GPU.
    """
    hosts = [host for host in candidates if host.model.id == model_id and fits(free_on(world, host), size)]
    if not hosts:
        raise NoNodes
    within = [host for host in hosts if _is_within_ratio(host, size)]
    if not within:
        raise AboveRatio
    return max(within, key=lambda host: host.has_public_ips) if public_ip else within[0]


def hosts_in(place: Place) -> list[Host]:
    """Return every host of a location."""
    return [host for host in HOSTS if host.place is place]


def fits(free: Size, size: Size) -> bool:
    """Say whether a size is free."""
    return (
        size.gpus <= free.gpus
        and size.vcpus <= free.vcpus
        and size.ram_gb <= free.ram_gb
        and size.storage_gb <= free.storage_gb
    )


def free_ports(world: World, host: Host) -> list[int]:
    """Return a host's next free external ports, lowest first."""
    taken = _taken_ports(world, host)
    return list(islice((port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in taken), _PORTS_SHOWN))


def external_port(world: World, host: Host, wanted: int, besides: Iterable[int]) -> int:
    """Return `wanted` if that is a free external port of a host, else another one, the same for the same history."""
    taken = _taken_ports(world, host) | set(besides)
    port = wanted
    while not FIRST_PORT <= port <= LAST_PORT or port in taken:
        port = FIRST_PORT + int(world.new_hex(8), 16) % (LAST_PORT + 1 - FIRST_PORT)
    return port


def _taken_ports(world: World, host: Host) -> set[int]:
    now_ms = world.now_ms()
    return {
        port
        for machine in world.machines.values()
        if machine.region == host.id and machine.is_alive(now_ms)
        for port in vm_of(machine).forwards.values()
    }


def _listed_hosts(world: World) -> list[Host]:
    stale = world.faults.flag(STALE_LISTINGS)
    return [host for host in HOSTS if stale or not host.is_phantom]


def _listed_on(world: World, host: Host) -> Size:
    return Size(host.gpus, host.vcpus, host.ram_gb, host.storage_gb) if host.is_phantom else free_on(world, host)


def _row(world: World, hosts: list[Host]) -> dict[str, Any]:
    """Return what a location says of one GPU model: the most of each thing that any host there has."""
    sizes = [_listed_on(world, host) for host in hosts]
    most = Size(
        max(size.gpus for size in sizes),
        max(size.vcpus for size in sizes),
        max(size.ram_gb for size in sizes),
        max(size.storage_gb for size in sizes),
    )
    price_usd = world.list_price_usd(PROVIDER, hosts[0].type_name)
    return render.listed_gpu(hosts[0], most, price_usd, public_ips=any(host.has_public_ips for host in hosts))


def _shown_host(world: World, host: Host, amounts: render.Amounts) -> dict[str, Any]:
    price_usd = world.list_price_usd(PROVIDER, host.type_name)
    free = _listed_on(world, host)
    return render.hostnode(host, amounts(free), free.gpus, price_usd, share(host), free_ports(world, host))


def _is_within_ratio(host: Host, size: Size) -> bool:
    per_gpu = share(host)
    return size.ram_gb <= per_gpu.ram_gb * size.gpus and size.vcpus <= per_gpu.vcpus * size.gpus
