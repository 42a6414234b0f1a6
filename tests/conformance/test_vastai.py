"""The Vast.ai client's requests and the simulator's exchanges against Vast.ai's OpenAPI document (1.0.0 of August 2026)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from known_faults import faults_of
from vastai_stage import VastApi, public_key
from witness import SOURCES, Noted, Witness, document_of, public_calls, watch

from gputui.model.errors import NoCapacity
from gputui.model.types import CreateRequest
from gputui.providers.registry import ClientContext
from gputui.providers.vastai.client import VastClient
from gputui.sim.transport import asgi_transport
from gputui.sim.vastai.app import build
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

PROVIDER = "vastai"
CLIENT = VastClient


class WatchedApi(VastApi):
    """A raw client whose every exchange is looked at, those of its others among them."""

    def __init__(self, source: str, key: str = "sim-a", *, behind: WatchedApi | None = None) -> None:
        super().__init__(key, behind=behind)
        self.source = source
        self.witness = watch(self.http, PROVIDER, source)
        if behind is not None:
            self.witness.exchanges, self.witness.used_faults = behind.witness.exchanges, behind.witness.used_faults

    def other(self, key: str) -> WatchedApi:
        return WatchedApi(self.source, key, behind=self)


@pytest.fixture(params=SOURCES)
def api(request: pytest.FixtureRequest) -> WatchedApi:
    return WatchedApi(request.param)


def new_witness(source: str) -> tuple[Witness, World]:
    """Return a witness before a simulator at the address where the provider is, and the world behind it."""
    world = World(VirtualClock(), seed=7)
    witness = Witness(asgi_transport(build(world)), PROVIDER, document_of(PROVIDER, source))
    world.faults.set(offers=400)
    return witness, world


@pytest.mark.parametrize("source", SOURCES)
@in_virtual_time
async def test_all_that_the_client_asks_is_as_documented(source: str, tmp_path: Path) -> None:
    witness, world = new_witness(source)
    assert await every_call(witness, world, tmp_path) == public_calls(VastClient)
    assert witness.request_problems == []
    assert witness.answer_problems == []


@in_virtual_time
async def test_every_operation_answers_as_documented(api: WatchedApi) -> None:
    await tour(api)
    assert api.witness.request_problems == []
    assert api.witness.answer_problems == []
    assert api.witness.succeeded >= document_of(PROVIDER).operations


@in_virtual_time
async def test_errors_are_as_documented(api: WatchedApi) -> None:
    await wrong_turns(api)
    assert api.witness.answer_problems == []


@in_virtual_time
async def test_every_known_fault_of_the_document_is_one_still(tmp_path: Path) -> None:
    api = WatchedApi("facts")
    await tour(api)
    await wrong_turns(api)
    witness, world = new_witness("facts")
    await every_call(witness, world, tmp_path)
    assert faults_of(PROVIDER) - api.witness.used_faults - witness.used_faults == set()


async def every_call(witness: Witness, world: World, state_dir: Path) -> set[str]:
    """Use all that the client can do, over a simulator at the address where the provider is; return what was called."""
    began_ms = VirtualClock().now_ms()
    context = ClientContext(VirtualClock(), state_dir, api_key="sim-conformance", transport=witness)
    client: Any = Noted(VastClient(context))
    await client.check_key()
    await client.fetch_balance()
    key = await client.add_ssh_key("desk", public_key("z"))
    await client.list_ssh_keys()
    await client.delete_ssh_key(key.id)
    offers = sorted(await client.fetch_offers(), key=lambda offer: offer.price_micro_usd_per_hour)
    for offer in offers:
        wanted: dict[str, Any] = {"size_gib": 20, "region": str(offer.native["machine_id"]), "kind": None}
        with contextlib.suppress(NoCapacity):  # not every host has volumes
            await client.quote_volume(**wanted)
            volume = await client.create_volume("data_1", **wanted)
            break
    country = next(offer.region for offer in offers if offer.region)
    await client.quote_volume(size_gib=None, region=country, kind=None)
    listed = await client.list_volumes()
    order = CreateRequest(offer, "gputui-t-1", "idem-1", public_key("k"), image="org/image:1", disk_gib=60)
    machine = await client.create(replace(order, volumes=tuple(listed)))
    other = next(one for one in offers if one.native["machine_id"] != offer.native["machine_id"])
    await client.create(replace(order, offer=other, label="gputui-t-2", image=None, disk_gib=None))
    await client.list_machines()
    await asyncio.sleep(600)
    await client.get(machine.id)
    await client.stop_machine(machine.id)
    await asyncio.sleep(60)
    world.faults.set(start_refused={"count": 1})
    with pytest.raises(NoCapacity):  # whereupon the wish is called off
        await client.start_machine(machine.id)
    await client.start_machine(machine.id)
    for rented in await client.list_machines():
        await client.terminate(rented.id, idempotency_key="t")
    await asyncio.sleep(60)
    await client.delete_volume(volume.id)
    await asyncio.sleep(86_400)
    await client.fetch_charges(since_ms=began_ms, until_ms=VirtualClock().now_ms())
    await client.aclose()
    called: set[str] = client.called
    return called


async def tour(api: WatchedApi) -> None:
    """Use every documented operation that the simulator has, as a good client does."""
    key = (await api.ok("POST", "ssh/", json={"ssh_key": public_key()}))["key"]["id"]
    await api.ok("GET", "ssh/")
    await api.ok("PUT", f"ssh/{key}/", json={"ssh_key": public_key("z")})
    await api.offers(type="bid", order=[["dph_total", "asc"]])
    volume_offers = (await api.ok("POST", "volumes/search/", json={}))["offers"]
    name = (await api.ok("PUT", "volumes/", json={"id": volume_offers[0]["id"], "size": 20}))["volume_name"]
    (machine,) = await api.offers(machine_id={"eq": volume_offers[0]["machine_id"]})
    contract_id = await api.running(machine["id"], env={f"-v {name}:/data": "1", "-p 8000:8000": "1"}, onstart="true")
    bid_offer = await api.offer(type="bid")
    bid_id = await api.running(bid_offer["id"], price=bid_offer["min_bid"])
    await api.ok("PUT", f"instances/bid_price/{bid_id}/", json={"client_id": "me", "price": bid_offer["min_bid"] + 0.1})
    await api.get(contract_id)
    await api.listed()
    await api.listed(limit=1)
    await api.ok("GET", "volumes")
    path = f"instances/{contract_id}/ssh/"
    await api.ok("POST", path, json={"ssh_key": public_key("y")})
    attached = json.loads((await api.ok("GET", path))["ssh_keys"])
    await api.ok("DELETE", f"{path}{attached[1]['id']}/")
    await api.ok("PUT", f"instances/request_logs/{contract_id}/", json={"tail": "10"})
    await api.ok("PUT", f"instances/reboot/{contract_id}/")
    await asyncio.sleep(10)
    await api.ok("PUT", f"instances/recycle/{contract_id}/")
    await asyncio.sleep(3600)
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(10)
    await api.get(contract_id)
    await api.ok("GET", "users/current/")
    now_ms = api.world.now_ms()
    await api.charges(now_ms - 86_400_000, now_ms)
    when = {"when": {"gte": now_ms / 1000 - 86_400, "lte": now_ms / 1000}}
    await api.ok("GET", "v1/invoices/", params={"select_filters": json.dumps(when)})
    made = await api.ok("POST", "auth/apikeys/", json={"name": "ci", "permissions": {"api": {"misc": {}}}})
    await api.ok("GET", "auth/apikeys/")
    await api.ok("DELETE", f"auth/apikeys/{made['id']}/")
    await api.ok("DELETE", f"instances/{contract_id}/")
    await api.get(contract_id)
    await api.ok("DELETE", f"instances/{bid_id}/")
    await asyncio.sleep(60)
    await api.ok("DELETE", "volumes/", json={"id": int(name.removeprefix("V."))})
    await api.ok("DELETE", f"ssh/{key}/")


async def wrong_turns(api: WatchedApi) -> None:
    """Get every kind of refusal."""
    nobody, stranger = api.other(""), api.other("wrong")
    now_ms = api.world.now_ms()
    days = {"select_filters": json.dumps({"day": {"gte": now_ms / 1000, "lte": now_ms / 1000}})}
    await stranger.call("POST", "bundles/", json={})
    await api.call("POST", "bundles/", content=b"{")
    for caller in (nobody, stranger):
        await caller.call("GET", "charges/", params=days)
        await caller.call("GET", "v1/invoices/", params=days)
    await nobody.call("GET", "volumes")
    api.world.faults.set(bad_key_status="401")
    for path in ("instances/1/", "users/current/", "ssh/"):
        await stranger.call("GET", path)
    offer = await api.offer()
    await api.call("PUT", "asks/nonsense/", json=api.order())
    await api.call("PUT", f"asks/{offer['id']}/", json=api.order(price=1000))
    await api.call("PUT", "asks/1/", json=api.order())
    api.world.faults.set(offer_race={"count": 1})
    await api.call("PUT", f"asks/{offer['id']}/", json=api.order())
    await api.call("DELETE", "instances/nonsense/")
    await api.call("DELETE", "instances/1/")
    await api.call("PUT", "instances/1/", json={"state": "stopped"})
    await api.call("PUT", "instances/bid_price/1/", json={"price": 1})
    await api.call("PUT", "instances/request_logs/1/")
    await api.call("POST", "ssh/", json={})
    await api.call("GET", "charges/")
    await api.call("GET", "charges/", params={**days, "after_token": "?"})
    await api.call("GET", "v1/invoices/")
    await api.call("GET", "v1/instances/", params={"after_token": "?"})
    await api.call("GET", "v1/instances/", params={"select_filters": '{"dph_total": {"lt": 1}}'})
    await api.call("DELETE", "volumes/", params={"id": 1})
    api.world.faults.set(interval_scale=1, too_frequent_body="detail")
    for _ in range(2):
        await api.call("GET", "v1/instances/")
        await api.call("DELETE", "instances/1/")
        await api.call("GET", "instances/1/")
        await api.call("PUT", f"asks/{offer['id']}/", json=api.order())
