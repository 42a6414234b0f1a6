"""What a create of the simulated RunPod takes, where the pod lands, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runpod_stage import H100, NO_CAPACITY, RTX4090, RunPodApi

from gputui.sim.runpod.data import pool_name
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


@pytest.mark.parametrize(
    ("changes", "issue"),
    [
        ({"name": None}, "$: missing property 'name'"),
        ({"name": ""}, "$.name: minLength: got 0, want 1"),
        ({"image": None}, "$: missing property 'image'"),
        ({"interruptible": True}, "$: additional properties 'interruptible' not allowed"),
        ({"dataCenterId": "EU-RO-1"}, "$: additional properties 'dataCenterId' not allowed"),
        ({"cmd": ["sh"]}, "$: additional properties 'cmd' not allowed"),
        ({"gpu": {"id": RTX4090, "minRamPerGpu": 8}}, "$.gpu: additional properties 'minRamPerGpu' not allowed"),
        ({"gpu": {}}, "$.gpu: missing property 'id'"),
        ({"gpu": {"id": RTX4090, "count": 0}}, "$.gpu.count: minimum: got 0, want 1"),
        ({"gpu": {"id": RTX4090, "count": "1"}}, "$.gpu.count: got string, want integer"),
        ({"gpu": [RTX4090]}, "$.gpu: got array, want object"),
        ({"gpu": {"id": RTX4090, "minCudaVersion": "12"}}, "$.gpu.minCudaVersion: '12' does not match pattern"),
        ({"cloud": "ALL"}, "$.cloud: value must be one of 'SECURE', 'COMMUNITY'"),
        ({"env": {"A": 1}}, "$.env.A: got number, want string"),
        ({"env": [["A", "1"]]}, "$.env: got array, want object"),
        ({"ports": "22/tcp"}, "$.ports: got string, want array"),
        ({"ports": [22]}, "$.ports[0]: got number, want string"),
        ({"disk": 0}, "$.disk: minimum: got 0, want 1"),
        ({"disk": 1.5}, "$.disk: got number, want integer"),
        ({"startSsh": "yes"}, "$.startSsh: got string, want boolean"),
        ({"mounts": {"persistent": {"size": 5, "path": "/w"}}}, "$.mounts.persistent.size: minimum: got 5, want 10"),
        ({"mounts": {"persistent": {"size": 50}}}, "$.mounts.persistent: missing property 'path'"),
        ({"mounts": {"network": [{"volumeId": "x"}]}}, "$.mounts.network[0]: missing property 'path'"),
        (
            {"mounts": {"network": [{"volumeId": "x", "path": "/w"}] * 2}},
            "$.mounts.network: maxItems: got 2, want 1",
        ),
        ({"cpu": {"id": "cpu5c"}, "gpu": None}, "$.cpu: missing property 'vcpuCount'"),
    ],
)
@in_virtual_time
async def test_a_malformed_create_is_422_and_makes_nothing(api: RunPodApi, changes: dict[str, Any], issue: str) -> None:
    problem = await api.problem(422, "POST", "pods", json=api.order(**changes))
    assert (problem["title"], problem["detail"]) == ("Unprocessable Entity", "Request validation failed.")
    assert len(problem["errors"]) == 1
    assert problem["errors"][0].startswith(issue)
    assert await api.listed() == []


@in_virtual_time
async def test_every_violation_is_told(api: RunPodApi) -> None:
    problem = await api.problem(422, "POST", "pods", json={"nme": "x", "img": "y", "disk": "z"})
    assert sorted(problem["errors"]) == [
        "$.disk: got string, want integer",
        "$: additional properties 'nme', 'img' not allowed",
        "$: missing property 'image'",
        "$: missing property 'name'",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu": None}, "exactly one of gpu or cpu"),
        ({"cpu": {"id": "cpu5c", "vcpuCount": 4}}, "exactly one of gpu or cpu"),
        (
            {"mounts": {"persistent": {"size": 10, "path": "/a"}, "network": [{"volumeId": "x", "path": "/b"}]}},
            "mutually exclusive",
        ),
        (
            {"gpu": {"id": RTX4090, "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.4"}},
            "mutually exclusive",
        ),
        ({"ports": [f"{8000 + number}/http" for number in range(11)]}, "at most 10 http ports"),
        ({"ports": ["53/udp"]}, "invalid port: 53/udp"),
        ({"ports": ["0/tcp"]}, "invalid port"),
        ({"ports": ["65536/tcp"]}, "invalid port"),
        ({"ports": ["22"]}, "invalid port"),
        ({"registry": "reg_abc"}, "registry not found"),
        ({"mounts": {"network": [{"volumeId": "nowhere", "path": "/w"}]}}, "network volume not found"),
    ],
)
@in_virtual_time
async def test_a_create_that_breaks_a_rule_is_400(api: RunPodApi, changes: dict[str, Any], said: str) -> None:
    assert said in await api.refused(400, "POST", "pods", json=api.order(**changes))
    assert await api.listed() == []


@in_virtual_time
async def test_an_unknown_template_is_404(api: RunPodApi) -> None:
    assert (
        await api.refused(404, "POST", "pods", json=api.order(templateId="tpl_1", image=None)) == "template not found"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": {"id": "NVIDIA Abacus"}},
        {"gpu": {"id": RTX4090, "count": 9}},
        {"gpu": {"id": H100}, "cloud": "COMMUNITY"},
        {"gpu": {"id": "NVIDIA B300 SXM6 AC"}},
        {"dataCenterIds": ["CA-MTL-1"]},
        {"dataCenterIds": ["eu-ro-1"]},
        {"gpu": {"id": RTX4090, "allowedCudaVersions": ["11.8"]}},
        {"gpu": {"id": "NVIDIA GeForce RTX 3090", "minCudaVersion": "13.0"}},
        {"gpu": None, "cpu": {"id": "cpu5c", "vcpuCount": 4}},
    ],
)
@in_virtual_time
async def test_what_cannot_be_placed_is_400_with_one_text(api: RunPodApi, changes: dict[str, Any]) -> None:
    assert await api.refused(400, "POST", "pods", json=api.order(**changes)) == NO_CAPACITY


@in_virtual_time
async def test_capacity_runs_out_and_comes_back(api: RunPodApi) -> None:
    for center in ("EU-RO-1", "US-IL-1", "EUR-IS-1"):
        api.world.catalogue("runpod").set_capacity(pool_name(RTX4090, "SECURE"), center, 0)
    api.world.catalogue("runpod").set_capacity(pool_name(RTX4090, "SECURE"), "US-KS-2", 3)
    two = {"id": RTX4090, "count": 2}
    pod = await api.create(gpu=two)
    assert pod["gpu"] == two
    assert await api.refused(400, "POST", "pods", json=api.order(gpu=two)) == NO_CAPACITY
    await api.create()
    assert await api.refused(400, "POST", "pods", json=api.order()) == NO_CAPACITY
    await api.ok("DELETE", f"pods/{pod['id']}", 204)
    await asyncio.sleep(1)
    await api.create(gpu=two)
    api.world.faults.set(no_capacity={"count": 1})
    assert await api.refused(400, "POST", "pods", json=api.order(cloud="COMMUNITY")) == NO_CAPACITY
    assert (await api.create(cloud="COMMUNITY"))["cloud"] == "COMMUNITY"


@in_virtual_time
async def test_a_pod_lands_where_it_is_asked_to(api: RunPodApi) -> None:
    for center in ("EUR-IS-1", "US-IL-1"):
        pod_id = await api.running(dataCenterIds=["CA-MTL-1", center])
        assert (await api.get(pod_id))["dataCenterId"] == center
    pod_id = await api.running(dataCenterIds=[])
    assert (await api.get(pod_id))["dataCenterId"] == "EU-RO-1"


@in_virtual_time
async def test_the_cuda_version_of_the_host(api: RunPodApi) -> None:
    old = "NVIDIA GeForce RTX 3090"
    for gpu, version in (
        ({"id": RTX4090}, "13.0"),
        ({"id": RTX4090, "allowedCudaVersions": ["12.4", "12.8"]}, "12.8"),
        ({"id": RTX4090, "allowedCudaVersions": [], "minCudaVersion": "12.2"}, "13.0"),
        ({"id": old, "minCudaVersion": "12.8"}, "12.8"),
        ({"id": "AMD Instinct MI300X OAM"}, None),
    ):
        assert (await api.create(gpu=gpu))["cudaVersion"] == version


@in_virtual_time
async def test_creating_is_not_idempotent_and_names_may_repeat(api: RunPodApi) -> None:
    first, second = await api.create(), await api.create()
    assert first["id"] != second["id"]
    assert await api.listed() == [second["id"], first["id"]]
    api.world.faults.set(lost_reply={"count": 1, "operation": "create_pod"})
    with pytest.raises(Exception, match="connection reset"):
        await api.create(name="lost")
    assert [item["name"] for item in (await api.ok("GET", "pods"))["pods"]] == ["lost", "box-1", "box-1"]


@in_virtual_time
async def test_host_filters_and_command_words_a_month_later(api: RunPodApi) -> None:
    api.world.faults.set(runpod_api="september")
    gpu = {"id": RTX4090, "minRamPerGpu": 50, "minVcpuCountPerGpu": 8}
    pod = await api.create(gpu=gpu, cmd=["-c", "true"], entrypoint=["sh"])
    assert pod["gpu"] == {"id": RTX4090, "count": 1, "vcpuCount": 8, "memory": 50}
    assert (pod["args"], pod["cmd"], pod["entrypoint"]) == ("", ["-c", "true"], ["sh"])
    for name in ("minRamPerGpu", "minVcpuCountPerGpu"):
        changed = api.order(gpu={**gpu, name: 51})
        assert await api.refused(400, "POST", "pods", json=changed) == NO_CAPACITY
    await api.refused(400, "POST", "pods", json=api.order(cmd=["a"], args="a"))


@in_virtual_time
async def test_lists_come_in_pages_a_month_later(api: RunPodApi) -> None:
    ids = [(await api.create(name=f"box-{number}"))["id"] for number in range(5)][::-1]
    assert await api.ok("GET", "pods", params={"limit": "2", "cursor": "x", "sort": "up"}) == await api.ok(
        "GET", "pods"
    )
    api.world.faults.set(runpod_api="september")
    seen, cursor = [], None
    for _ in range(3):
        page = await api.ok("GET", "pods", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        seen.append([item["id"] for item in page["pods"]])
        cursor = page["pagination"]["nextCursor"]
        assert page["pagination"]["hasNextPage"] == (cursor is not None)
    assert (seen, cursor) == ([ids[:2], ids[2:4], ids[4:]], None)
    whole = await api.ok("GET", "catalog/gpus")
    assert whole["pagination"] == {"nextCursor": None, "hasNextPage": False}
    cursor = (await api.ok("GET", "catalog/gpus", params={"limit": 1}))["pagination"]["nextCursor"]
    for params in ({"cursor": cursor}, {"cursor": "%%%"}, {"limit": 0}, {"limit": 1001}):
        await api.refused(422, "GET", "pods", params=params)
