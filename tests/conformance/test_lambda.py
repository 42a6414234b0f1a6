"""The Lambda client's requests and the simulator's answers against Lambda's OpenAPI document (1.10.0)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from known_faults import faults_of
from lambda_stage import PUBLIC_KEY, LambdaApi
from witness import SOURCES, Noted, Witness, document_of, public_calls, watch

from gputui.model.types import CreateRequest, Stock
from gputui.providers.lambda_.client import LambdaClient
from gputui.providers.registry import ClientContext
from gputui.sim.lambda_.app import build
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

PROVIDER = "lambda"
CLIENT = LambdaClient
NOBODY = "0" * 32
TERMINATE, RESTART = "instance-operations/terminate", "instance-operations/restart"


class WatchedApi(LambdaApi):
    """A raw client whose every exchange is looked at."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.witness = watch(self.http, PROVIDER, source)


@pytest.fixture(params=SOURCES)
def api(request: pytest.FixtureRequest) -> WatchedApi:
    return WatchedApi(request.param)


def new_witness(source: str) -> Witness:
    """Return a witness before a simulator at the address where the provider is."""
    return Witness(asgi_transport(build(World(VirtualClock(), seed=7))), PROVIDER, document_of(PROVIDER, source))


@pytest.fixture(params=SOURCES)
def witness(request: pytest.FixtureRequest) -> Witness:
    return new_witness(request.param)


@in_virtual_time
async def test_all_that_the_client_asks_is_as_documented(witness: Witness, tmp_path: Path) -> None:
    assert await every_call(witness, tmp_path) == public_calls(CLIENT)
    assert witness.request_problems == []
    assert witness.answer_problems == []


@in_virtual_time
async def test_every_operation_answers_as_documented(api: WatchedApi) -> None:
    await tour(api)
    assert api.witness.request_problems == []
    assert api.witness.answer_problems == []
    assert api.witness.succeeded == document_of(PROVIDER).operations


@in_virtual_time
async def test_without_undocumented_fields_the_document_has_no_fault(api: WatchedApi) -> None:
    api.world.faults.set(undocumented_fields=False)
    await tour(api)
    assert api.witness.answer_problems == []
    assert api.witness.used_faults == set()


@in_virtual_time
async def test_errors_are_as_documented(api: WatchedApi) -> None:
    api.world.faults.set(undocumented_fields=False)
    await wrong_turns(api)
    assert api.witness.answer_problems == []
    assert api.witness.used_faults == set()


@in_virtual_time
async def test_every_known_fault_of_the_document_is_one_still(tmp_path: Path) -> None:
    api = WatchedApi("facts")
    client_side = new_witness("facts")
    await every_call(client_side, tmp_path)
    await tour(api)
    await undocumented_turns(api)
    assert api.witness.answer_problems == []
    assert faults_of(PROVIDER) - api.witness.used_faults - client_side.used_faults == set()


async def every_call(witness: Witness, state_dir: Path) -> set[str]:
    """Use all that the client can do, over a simulator at the address where the provider is; return what was called."""
    context = ClientContext(VirtualClock(), state_dir, api_key="sim-conformance", transport=witness)
    client: Any = Noted(LambdaClient(context))
    await client.check_key()
    await client.list_regions()
    offers = [offer for offer in await client.fetch_offers() if offer.stock is Stock.LOW]
    images = await client.list_os_images(offers[0])
    key = await client.add_ssh_key("desk", PUBLIC_KEY)
    await client.list_ssh_keys()
    await client.delete_ssh_key(key.id)
    volume = await client.create_volume("data", size_gib=None, region=str(offers[0].region), kind=None)
    for os_image, volumes in ((None, ()), (images[0].value, (volume,))):
        order = CreateRequest(offers[0], "gputui-t-1", "idem-1", PUBLIC_KEY, os_image=os_image, volumes=volumes)
        machine = await client.create(order)
        await client.get(machine.id)
        await client.list_machines()
        await asyncio.sleep(600)
        await client.get(machine.id)
        await client.list_volumes()
        await client.terminate(machine.id, idempotency_key="t")
    await asyncio.sleep(600)
    await client.delete_volume(volume.id)
    await client.aclose()
    called: set[str] = client.called
    return called


async def wrong_turns(api: WatchedApi) -> None:
    """Get every documented refusal."""
    for path in ("instance-types", "regions", "images", "instances", "ssh-keys", "file-systems", "firewall-rules"):
        for authorization in ("", "Bearer fake-key"):
            await api.refused(401, "global/invalid-api-key", "GET", path, headers={"Authorization": authorization})
        api.world.faults.set(account_inactive={"count": 1})
        await api.refused(403, "global/account-inactive", "GET", path)
    api.world.faults.set(forbidden={"count": 1})
    await api.refused(403, "global/forbidden", "GET", "instances")

    launch_refused = api.launch_refused
    await launch_refused(400, "global/invalid-parameters", region_name="mars-1")
    api.world.faults.set(invalid_address={"count": 2})
    await launch_refused(403, "global/invalid-address")
    filesystem = {"name": "far", "region": "us-west-1"}
    await api.refused(403, "global/invalid-address", "POST", "filesystems", json=filesystem)
    for status in ("400", "404"):
        api.world.faults.set(launch_missing_status=status)
        await launch_refused(int(status), "global/object-does-not-exist", image={"family": "none"})
    api.world.faults.set(no_capacity={"count": 1})
    await launch_refused(400, "instance-operations/launch/insufficient-capacity")
    await api.ok("POST", "filesystems", json=filesystem)
    await api.refused(400, "global/duplicate", "POST", "filesystems", json=filesystem)
    wrong_region = "instance-operations/launch/file-system-in-wrong-region"
    await launch_refused(400, wrong_region, file_system_names=["far"])
    api.world.faults.set(instance_quota=0, filesystem_quota=0, ruleset_quota=0)
    await launch_refused(400, "global/quota-exceeded")
    await api.refused(400, "global/quota-exceeded", "POST", "filesystems", json={**filesystem, "name": "more"})
    ruleset = {"name": "web", "region": "us-east-1", "rules": []}
    await api.refused(400, "global/quota-exceeded", "POST", "firewall-rulesets", json=ruleset)
    api.world.faults.set(instance_quota=9, ruleset_quota=9)

    missing = "global/object-does-not-exist"
    paths = {"instances": ("GET", "POST"), "filesystems": ("DELETE",), "firewall-rulesets": ("GET", "PATCH", "DELETE")}
    for path, method in ((path, method) for path, methods in paths.items() for method in methods):
        await api.refused(404, missing, method, f"{path}/{NOBODY}", json={})
    for path in (TERMINATE, RESTART):
        await api.refused(404, missing, "POST", path, json={"instance_ids": [NOBODY]})
        await api.refused(400, "global/invalid-parameters", "POST", path, json={})
    await api.refused(404, "global/not-found", "DELETE", f"ssh-keys/{NOBODY}")
    ruleset_id = (await api.ok("POST", "firewall-rulesets", json=ruleset))["id"]
    machine_id = await api.launch(firewall_rulesets=[{"id": ruleset_id}])
    await api.refused(409, "global/conflict", "POST", RESTART, json={"instance_ids": [machine_id]})
    in_use = "firewall-rulesets/firewall-ruleset-in-use"
    await api.refused(400, in_use, "DELETE", f"firewall-rulesets/{ruleset_id}")


async def undocumented_turns(api: WatchedApi) -> None:
    """Get the answers that are seen and not documented."""
    api.world.faults.set(block_default_user_agents=True)
    await api.call("GET", "regions", headers={"User-Agent": ""})
    await api.call("POST", "file-systems")
    api.world.faults.set(rate_limited={"count": 1})
    await api.call("GET", "regions")
    api.world.faults.set(server_error={"count": 1})
    await api.call("GET", "regions")
    api.world.faults.set(provider_unavailable={"count": 1})
    await api.call("GET", "regions")
    machine_id = await api.launch()
    api.world.faults.set(key_in_use_refused=True)
    (key,) = await api.ok("GET", "ssh-keys")
    await api.refused(400, "ssh-keys/key-in-use", "DELETE", f"ssh-keys/{key['id']}")
    api.world.faults.set(key_name_race={"count": 1})
    await api.ok("POST", "ssh-keys", json={"name": "mine", "public_key": PUBLIC_KEY})
    await api.launch_refused(500, "global/unknown")
    await api.terminate(machine_id)


async def tour(api: WatchedApi) -> None:
    """Ask every operation once so that it succeeds, and read what there is in every state of an instance."""
    rule = {"protocol": "tcp", "port_range": [22, 22], "source_network": "0.0.0.0/0", "description": ""}
    ping = {"protocol": "icmp", "source_network": "0.0.0.0/0", "description": "ping"}
    for path in ("instance-types", "regions", "images"):
        await api.ok("GET", path)
    made = await api.ok("POST", "ssh-keys", json={"name": "gen"})
    await api.ok("DELETE", f"ssh-keys/{made['id']}")
    filesystem = await api.ok("POST", "filesystems", json={"name": "data", "region": "us-east-1"})
    ruleset = {"name": "web", "region": "us-east-1", "rules": [rule, ping]}
    ruleset_id = (await api.ok("POST", "firewall-rulesets", json=ruleset))["id"]
    machine_id = await api.launch(
        file_system_names=["data"],
        firewall_rulesets=[{"id": ruleset_id}],
        tags=[{"key": "owner", "value": "fleet"}],
    )
    await look(api, machine_id)
    await asyncio.sleep(20)
    await api.ok("POST", f"instances/{machine_id}", json={"name": "renamed"})
    await api.ok("POST", RESTART, json={"instance_ids": [machine_id]})
    for died_as in ("offline", "released"):
        await look(api, machine_id)
        api.world.kill(machine_id, died_as)
    await look(api, machine_id)
    await api.ok("PUT", "firewall-rules", json={"data": [rule, ping]})
    await api.ok("GET", "firewall-rules")
    await api.ok("GET", "firewall-rulesets/global")
    await api.ok("PATCH", "firewall-rulesets/global", json={"rules": [rule]})
    await api.ok("PATCH", f"firewall-rulesets/{ruleset_id}", json={"name": "later"})
    await asyncio.sleep(4 * 3600)
    await look(api, machine_id)
    await api.terminate(machine_id)
    await look(api, machine_id)
    await asyncio.sleep(2)
    await look(api, machine_id)
    for path in ("firewall-rulesets", f"firewall-rulesets/{ruleset_id}"):
        await api.ok("GET", path)
    await api.ok("DELETE", f"firewall-rulesets/{ruleset_id}")
    await api.ok("DELETE", f"filesystems/{filesystem['id']}")
    assert (await api.call("GET", "audit-events")).json()["data"]


async def look(api: WatchedApi, machine_id: str) -> None:
    await api.get(machine_id)
    for path in ("instances", "ssh-keys", "file-systems", "firewall-rulesets"):
        await api.ok("GET", path)
