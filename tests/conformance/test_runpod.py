"""The RunPod client's requests and the simulator's exchanges against RunPod's OpenAPI document (2.0.0)."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from known_faults import faults_of
from runpod_stage import PUBLIC_KEY, RTX4090, RunPodApi
from witness import SOURCES, Noted, Witness, document_of, public_calls, watch

from gputui.model.errors import Rejected
from gputui.model.types import CreateRequest, Stock, Tier
from gputui.providers.registry import ClientContext
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.runpod.app import build
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

PROVIDER = "runpod"
CLIENT = RunPodClient
STOCK = {"include": "AVAILABILITY", "product": "POD"}
WRONG: tuple[Any, ...] = (None, True, 0, 1, -3, 1.5, 20, "", "x", "12.8", [], ["x"], [{}], {}, {"x": "y"}, {"x": 1})
# A frame of a log in the document's example, with its digits as 0 and its words left out.
FRAME = 'id: 0000-00-00T00:00:00Z/000000000000\ndata: {"ts":"0000-00-00T00:00:00Z","source":"","line":""}'


class WatchedApi(RunPodApi):
    """A raw client whose every exchange is looked at."""

    def __init__(self, source: str) -> None:
        super().__init__(limited=True)
        self.world.faults.set(runpod_per_minute=10_000, runpod_per_hour=10_000)
        self.witness = watch(self.http, PROVIDER, source)


@pytest.fixture(params=SOURCES)
def api(request: pytest.FixtureRequest) -> WatchedApi:
    return WatchedApi(request.param)


def new_witness(source: str) -> tuple[Witness, World]:
    """Return a witness before a simulator at the address where the provider is, and the world behind it."""
    world = World(VirtualClock(), seed=7)
    return Witness(asgi_transport(build(world)), PROVIDER, document_of(PROVIDER, source)), world


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("version", ["august", "september"])
@in_virtual_time
async def test_all_that_the_client_asks_is_as_documented(source: str, version: str, tmp_path: Path) -> None:
    witness, world = new_witness(source)
    world.faults.set(runpod_api=version)
    assert await every_call(witness, world, tmp_path) == public_calls(RunPodClient)
    assert witness.request_problems == []
    assert witness.answer_problems == []


@in_virtual_time
async def test_every_operation_answers_as_documented(api: WatchedApi) -> None:
    await tour(api)
    assert api.witness.request_problems == []
    assert api.witness.answer_problems == []
    assert api.witness.succeeded == document_of(PROVIDER).operations
    assert api.witness.used_faults == set()


@in_virtual_time
async def test_other_defaults_do_not_break_the_document(api: WatchedApi) -> None:
    api.world.faults.set(
        runpod_no_runtime_shows="empty",
        runpod_placeless_community=True,
        runpod_unknown_gpu=False,
        runpod_no_public_port=1.0,
        runpod_offline_shows="exited",
        runpod_terminated_readable_s=60,
        runpod_billing_lag_s=0,
        runpod_log_numbers="per_second",
    )
    await tour(api)
    assert api.witness.answer_problems == []


@in_virtual_time
async def test_errors_are_as_documented(api: WatchedApi) -> None:
    await wrong_turns(api)
    assert api.witness.answer_problems == []


@in_virtual_time
async def test_every_known_fault_of_the_document_is_one_still(tmp_path: Path) -> None:
    refused, newer = WatchedApi("facts"), WatchedApi("facts")
    await wrong_turns(refused)
    await undocumented_turns(newer)
    assert newer.witness.answer_problems == []
    witness, world = new_witness("facts")
    await every_call(witness, world, tmp_path)
    used = refused.witness.used_faults | newer.witness.used_faults | witness.used_faults
    assert faults_of(PROVIDER) - used == set()


@in_virtual_time
async def test_frames_of_a_log_are_as_in_the_documents_example(api: WatchedApi) -> None:
    pod_id = await api.running()
    async with api.http.stream("GET", f"pods/{pod_id}/logs") as response:
        frame = await anext(response.aiter_text())
    assert form_of(frame.partition("\n\n")[0]) == FRAME


def form_of(frame: str) -> str:
    """Return what stays the same from frame to frame."""
    return re.sub(r"\d", "0", re.sub(r'"(source|line)":"[^"]*"', r'"\1":""', frame.strip()))


@in_virtual_time
async def test_the_document_and_the_simulator_refuse_the_same_bodies(api: WatchedApi) -> None:
    statuses: Counter[int] = Counter()
    differences = []
    for method, path, body in await bodies(api):
        for changed in mutations(body):
            answer = await api.call(method, path, json=changed)
            statuses[answer.status_code] += 1
            found = api.witness.exchanges[-1].request_problems
            if changed is not None and bool(found) != (answer.status_code == 422):
                differences.append(f"{method} {path} {changed!r}: {found}, answered {answer.text}")
    assert differences == []
    assert api.witness.answer_problems == []
    assert statuses[422] > 500
    assert statuses.total() - statuses[422] > 100


async def every_call(witness: Witness, world: World, state_dir: Path) -> set[str]:
    """Use all that the client can do, over a simulator at the address where the provider is; return what was called."""
    began_ms = VirtualClock().now_ms()
    context = ClientContext(VirtualClock(), state_dir, api_key="sim-conformance", transport=witness)
    client: Any = Noted(RunPodClient(context))
    await client.check_key()
    await client.fetch_balance()
    await client.list_regions()
    key = await client.add_ssh_key("desk", PUBLIC_KEY)
    await client.list_ssh_keys()
    await client.delete_ssh_key(key.id)
    offers = [offer for offer in await client.fetch_offers() if offer.stock in (Stock.HIGH, Stock.LOW)]
    for offer in sorted(offers, key=lambda offer: offer.price_micro_usd_per_hour):
        if offer.tier is Tier.SECURE:
            wanted: dict[str, Any] = {"size_gib": 50, "region": offer.region, "kind": "standard"}
            await client.quote_volume(**wanted)
            with contextlib.suppress(Rejected):  # not every data centre has volumes
                volume = await client.create_volume("data", **wanted)
                break
    order = CreateRequest(offer, "gputui-t-1", "idem-1", PUBLIC_KEY, image="org/image:1", disk_gib=60)
    job = replace(order, label="gputui-t-2", argv=("sh", "-c", 'echo "$A"\nwait'), env={"A": "it's\n1"})
    box, pod = await client.create(order), await client.create(replace(job, volumes=(volume,)))
    await asyncio.gather(client.get(box.id), client.get(pod.id))
    await asyncio.sleep(600)
    await client.list_machines()
    await client.list_volumes()
    page = await client.read_log(pod.id, after=None, wait_s=20)
    await client.read_log(pod.id, after=page.cursor, wait_s=20)
    await client.stop_machine(box.id)
    await asyncio.sleep(60)
    await client.start_machine(box.id)
    for machine in (box, pod):
        await client.terminate(machine.id, idempotency_key="t")
    await client.delete_volume(volume.id)
    for days in (1, 30):
        await asyncio.sleep(days * 86_400)
        await client.fetch_charges(since_ms=began_ms, until_ms=VirtualClock().now_ms())
    await client.aclose()
    called: set[str] = client.called
    return called


async def tour(api: WatchedApi) -> None:
    """Ask every operation once so that it succeeds, and read what there is in every state of a pod."""
    api.world.faults.set(starting_credit_usd=1000)
    for path in ("catalog/gpus", "catalog/datacenters"):
        await api.ok("GET", path)
    for cloud in ("SECURE", "COMMUNITY"):
        for more in ({}, {"countryCodes": "US,RO"}, {"cudaVersions": "12.8"}, {"minCudaVersion": "13"}, {"count": 8}):
            await api.ok("GET", "catalog/gpus", params={**STOCK, "cloud": cloud, **more})
    await api.ok("GET", f"catalog/gpus/{quote(RTX4090)}", params=STOCK)
    include = {"include": "GPU_AVAILABILITY,CPU_AVAILABILITY"}
    await api.ok("GET", "catalog/datacenters", params=include)
    await api.ok("GET", "catalog/datacenters/EU-RO-1", params=include)
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    await api.ok("GET", "account/ssh-keys")
    wanted = {"name": "data", "size": 50, "dataCenter": "US-KS-2", "type": "HIGH_PERFORMANCE"}
    volume_id = (await api.ok("POST", "network-volumes", 201, json=wanted))["id"]
    for path in ("network-volumes", f"network-volumes/{volume_id}"):
        await api.ok("GET", path)
    await api.ok("PATCH", f"network-volumes/{volume_id}", json={"size": 60})
    network = {"network": [{"volumeId": volume_id, "path": "/w"}]}
    pods = [
        await api.create(mounts=network, ports=["22/tcp", "8888/http"], globalNetworking=True, startSsh=True),
        await api.create(mounts={"persistent": {"size": 20, "path": "/w"}}, gpu={"id": "AMD Instinct MI300X OAM"}),
        await api.create(cloud="COMMUNITY", gpu={"id": RTX4090, "count": 2, "minCudaVersion": "12.4"}),
    ]
    ids = [pod["id"] for pod in pods]
    for _ in range(5):
        await look(api, ids)
        await asyncio.sleep(4)
    await api.ok("PATCH", f"pods/{ids[0]}", json={"name": "later", "env": {"A": "1"}})
    await api.act(ids[0], "restart")
    for pod_id, died_as in zip(ids, ("offline", "error", "released"), strict=True):
        api.world.kill(pod_id, died_as)
    await look(api, ids)
    for pod_id in ids[1:]:
        await api.act(pod_id, "start")
    await look(api, ids)
    await api.refused(409, "POST", f"pods/{ids[1]}/action", json={"action": "start"})
    async with api.logs(ids[1]):
        pass
    await asyncio.sleep(2 * 86_400)
    await api.act(ids[2], "stop")
    for path in ("billing", "billing/pods", "billing/network-volumes"):
        for size in ("hour", "day", "week", "month", "year"):
            assert (await api.ok("GET", path, params={"bucketSize": size}))["records"]
    await api.ok("GET", "billing/pods", params={"podId": ids[0], "lastN": 3})
    await api.act(ids[1], "terminate", 204)
    await api.ok("DELETE", f"pods/{ids[0]}", 204)
    if api.world.faults.number("runpod_terminated_readable_s"):
        assert await api.status(ids[0]) == "TERMINATED"
    await api.ok("DELETE", f"network-volumes/{volume_id}", 204)


async def look(api: WatchedApi, ids: list[str]) -> None:
    await api.ok("GET", "pods")
    for pod_id in ids:
        await api.get(pod_id)


async def wrong_turns(api: WatchedApi) -> None:
    """Get every documented refusal."""
    for path in ("pods", "catalog/gpus", "account/ssh-keys", "network-volumes", "billing/pods", "pods/x/logs"):
        for authorization in ("", "Bearer fake-key"):
            await api.refused(401, "GET", path, headers={"Authorization": authorization})
        api.world.faults.set(runpod_key_scope="none")
        await api.refused(403, "GET", path)
        api.world.faults.set(runpod_key_scope="all", runpod_per_day=1)
        await api.refused(429, "GET", path)
        api.world.faults.set(runpod_per_day=50_000)
        api.world.faults.set(server_error={"count": 1})
        assert (await api.call("GET", path)).status_code == 500
    api.world.faults.set(no_capacity={"count": 1})
    await api.refused(400, "POST", "pods", json=api.order())
    await api.refused(413, "POST", "pods", json=api.order(name="x" * 102_400))
    api.world.faults.set(runpod_spend_limit_usd=0)
    await api.refused(402, "POST", "pods", json=api.order())
    for method, path in (("GET", "pods/x"), ("DELETE", "pods/x"), ("GET", "pods/x/logs"), ("GET", "catalog/gpus/x")):
        await api.refused(404, method, path)
    for method, path in (
        ("GET", "network-volumes/x"),
        ("DELETE", "network-volumes/x"),
        ("GET", "catalog/datacenters/x"),
    ):
        await api.refused(404, method, path)


async def undocumented_turns(api: WatchedApi) -> None:
    """Get the answers that are not documented."""
    await api.call("GET", "pods", headers={"User-Agent": ""})
    await api.call("PUT", "pods")
    api.world.faults.set(runpod_api="september")
    pod_id = await api.running()
    for path in ("pods", f"pods/{pod_id}", "catalog/gpus", "catalog/datacenters"):
        await api.ok("GET", path)


async def bodies(api: WatchedApi) -> list[tuple[str, str, Any]]:
    """Return requests with bodies that use what the document knows."""
    pod_id = await api.running(mounts={"persistent": {"size": 20, "path": "/w"}})
    volume = {"name": "data", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}
    volume_id = (await api.ok("POST", "network-volumes", 201, json=volume))["id"]
    whole = api.order(
        args="sleep 1",
        env={"A": "1"},
        registry=None,
        cloud="SECURE",
        cpu={"id": "cpu5c", "vcpuCount": 2},
        dataCenterIds=["EU-RO-1"],
        globalNetworking=False,
        gpu={"id": RTX4090, "count": 1, "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.8"},
        mounts={"persistent": {"size": 10, "path": "/w"}, "network": [{"volumeId": "x", "path": "/w"}]},
        startJupyter=True,
        startSsh=True,
        templateId="tpl",
    )
    return [
        ("POST", "pods", whole),
        ("POST", "pods", api.order()),
        ("PATCH", f"pods/{pod_id}", {name: whole[name] for name in ("args", "disk", "env", "mounts", "name", "image")}),
        ("PATCH", f"pods/{pod_id}", {"locked": False, "globalNetworking": False, "templateId": "x", "ports": []}),
        ("POST", "pods/nobody/action", {"action": "stop"}),
        ("PUT", "account/ssh-keys", {"keys": [PUBLIC_KEY, "ssh-rsa AAAA"]}),
        ("POST", "network-volumes", volume),
        ("PATCH", f"network-volumes/{volume_id}", {"name": "data", "size": 4096}),
    ]


def mutations(body: Any) -> Iterator[Any]:
    """Yield a body with each of its values, at any depth, replaced, left out, or joined by a strange one."""
    yield body
    for steps in _places(body):
        for value in WRONG:
            changed = copy.deepcopy(body)
            holder = _holder(changed, steps)
            holder[steps[-1]] = value
            yield changed
        changed = copy.deepcopy(body)
        del _holder(changed, steps)[steps[-1]]
        yield changed
    yield {**body, "strange": 1}
    yield from ([], "x", 1)


def _places(value: Any, *steps: Any) -> Iterator[tuple[Any, ...]]:
    if steps:
        yield steps
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from _places(item, *steps, step)


def _holder(body: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps[:-1]:
        body = body[step]
    return body
