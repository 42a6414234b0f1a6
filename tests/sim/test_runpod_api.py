"""The simulated RunPod API: who may ask, the catalog, what a create takes, and a pod's life."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from runpod_stage import BOOT_S, CONTAINER_S, NO_CAPACITY, PUBLIC_KEY, RTX4090, RunPodApi

from gputui.sim.runpod.data import DATA_CENTERS, GPUS, pool_name
from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

H100 = "NVIDIA H100 80GB HBM3"
STOCK = {"include": "AVAILABILITY", "product": "POD"}


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


# Who may ask


@in_virtual_time
async def test_only_good_keys_are_let_in(api: RunPodApi) -> None:
    for authorization, text in (
        ("", "missing bearer token"),
        ("Bearer ", "missing bearer token"),
        ("sim-a", "missing bearer token"),
        ("Bearer fake-key", "invalid bearer token"),
    ):
        for path in ("pods", "catalog/gpus", "account/ssh-keys", "billing/pods"):
            assert await api.refused(401, "GET", path, headers={"Authorization": authorization}) == text
    assert await api.ok("GET", "account/ssh-keys") == {"keys": []}


@in_virtual_time
async def test_a_key_may_be_restricted(api: RunPodApi) -> None:
    api.world.faults.set(runpod_key_scope="read_only")
    assert await api.listed() == []
    assert await api.refused(403, "POST", "pods", json=api.order()) == "access denied"
    assert await api.refused(403, "PUT", "account/ssh-keys", json={"keys": []}) == "access denied"
    api.world.faults.set(runpod_key_scope="none")
    assert await api.problem(403, "GET", "pods") == {"title": "Forbidden", "status": 403, "detail": "access denied"}


@in_virtual_time
async def test_cloudflare_blocks_some_agents(api: RunPodApi) -> None:
    for agent in ("", "Python-urllib/3.11"):
        blocked = await api.call("GET", "pods", headers={"User-Agent": agent, "Authorization": ""})
        assert (blocked.status_code, blocked.text) == (403, "error code: 1010")
        assert blocked.headers["content-type"].startswith("text/plain")
    api.world.faults.set(runpod_blocks_agents=False)
    assert await api.ok("GET", "pods", headers={"User-Agent": ""}) == {"pods": []}


@in_virtual_time
async def test_paths_methods_and_bodies(api: RunPodApi) -> None:
    assert await api.refused(404, "GET", "nowhere") == "The requested path was not found."
    response = await api.call("DELETE", "pods")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert response.json()["detail"] == "The requested method is not allowed for this path."
    big = api.order(env={"A": "x" * 102_400})
    assert "102400 bytes" in await api.refused(413, "POST", "pods", json=big, headers={"Authorization": ""})
    await api.refused(400, "POST", "pods", content=b"{")
    assert (await api.problem(422, "POST", "pods", content=b"[]"))["errors"] == ["$: got array, want object"]


@in_virtual_time
async def test_accounts_do_not_see_one_another(api: RunPodApi) -> None:
    other = RunPodApi("sim-b", behind=api)
    pod_id = await api.running()
    assert await other.listed() == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/action")):
        body = {"action": "stop"} if path else None
        assert await other.refused(404, method, f"pods/{pod_id}{path}", json=body) == "pod not found"


# Request limits


@in_virtual_time
async def test_requests_are_limited_for_each_user_in_three_windows() -> None:
    api = RunPodApi(limited=True)
    await api.ok("GET", "pods")
    await asyncio.sleep(10)
    response = await api.call("GET", "pods")
    assert response.headers["ratelimit"] == '"minute";r=58;t=50, "hour";r=2998;t=3590, "day";r=49998;t=86390'
    policy = '"minute";q=60;w=60, "hour";q=3000;w=3600, "day";q=50000;w=86400'
    assert response.headers["ratelimit-policy"] == policy
    for _ in range(58):
        await api.refused(404, "GET", "pods/nobody")
    over = await api.call("GET", "pods")
    assert (over.status_code, over.headers["retry-after"]) == (429, "50")
    assert over.json() == {
        "title": "Too Many Requests",
        "status": 429,
        "detail": "rate limit exceeded for the minute window",
    }
    assert over.headers["ratelimit"].startswith('"minute";r=0;t=50')
    assert (await RunPodApi("sim-b", behind=api).call("GET", "pods")).status_code == 200
    await asyncio.sleep(50)
    assert (await api.call("GET", "pods")).headers["ratelimit"].startswith('"minute";r=59;t=60, "hour";r=2939;')
    api.world.faults.set(runpod_per_minute=0, runpod_per_hour=62, runpod_per_day=0)
    assert (await api.call("GET", "pods")).headers["ratelimit"] == '"hour";r=0;t=3540'
    assert await api.refused(429, "GET", "pods") == "rate limit exceeded for the hour window"
    refused = await api.call("GET", "pods", headers={"Authorization": ""})
    assert "ratelimit" not in refused.headers


# The catalog


@in_virtual_time
async def test_gpu_types_and_their_prices(api: RunPodApi) -> None:
    gpus = {item["id"]: item for item in (await api.ok("GET", "catalog/gpus"))["gpus"]}
    assert gpus[RTX4090] == {
        "id": RTX4090,
        "name": "RTX 4090",
        "pool": "ADA_24",
        "manufacturer": "NVIDIA",
        "memory": 24,
        "secure": True,
        "community": True,
        "price": {"secure": 0.74, "community": 0.34, "serverless": 1.04},
        "maxCount": {"secure": 8, "community": 4},
    }
    assert (gpus[H100]["community"], gpus[H100]["price"]["community"]) == (False, 0.0)
    assert (gpus["unknown"]["manufacturer"], gpus["unknown"]["price"]["secure"]) == ("UNKNOWN", 0.0)
    assert gpus["AMD Instinct MI300X OAM"]["manufacturer"] == "AMD"
    assert len(gpus) == len(GPUS) + 1
    assert await api.ok("GET", f"catalog/gpus/{quote(RTX4090)}") == gpus[RTX4090]
    await api.refused(404, "GET", "catalog/gpus/unknown")
    api.world.faults.set(runpod_unknown_gpu=False)
    assert len((await api.ok("GET", "catalog/gpus"))["gpus"]) == len(GPUS)
    api.world.catalogue("runpod").set_price(pool_name(RTX4090, "COMMUNITY"), "0.29")
    assert (await api.ok("GET", f"catalog/gpus/{quote(RTX4090)}"))["price"]["community"] == 0.29


@in_virtual_time
async def test_stock_by_cloud_count_and_data_center(api: RunPodApi) -> None:
    async def stock(gpu: str = RTX4090, **params: Any) -> dict[str, Any]:
        shown = dict(await api.ok("GET", f"catalog/gpus/{quote(gpu)}", params={**STOCK, **params}))
        return {
            "level": shown["availability"],
            **{item["id"]: item["availability"] for item in shown.get("dataCenters", [])},
        }

    assert await stock() == {
        "level": "HIGH",
        "EU-RO-1": "HIGH",
        "US-KS-2": "HIGH",
        "US-IL-1": "HIGH",
        "EUR-IS-1": "MEDIUM",
    }
    assert await stock(count=8) == {
        "level": "MEDIUM",
        "EU-RO-1": "MEDIUM",
        "US-KS-2": "LOW",
        "US-IL-1": "LOW",
        "EUR-IS-1": "LOW",
    }
    assert await stock(count=9) == {"level": "NONE"}
    assert await stock(cloud="COMMUNITY") == {"level": "HIGH", "US-TX-1": "HIGH", "OC-AU-1": "MEDIUM"}
    assert await stock(H100, cloud="COMMUNITY") == {"level": "NONE"}
    assert await stock(countryCodes="IS,FR") == {"level": "MEDIUM", "EUR-IS-1": "MEDIUM"}
    assert await stock(countryCodes="FR") == {"level": "NONE"}
    for center in ("EU-RO-1", "US-KS-2", "US-IL-1", "EUR-IS-1"):
        api.world.catalogue("runpod").set_capacity(pool_name(RTX4090, "SECURE"), center, int(center == "US-KS-2"))
    assert await stock() == {"level": "LOW", "EU-RO-1": "NONE", "US-KS-2": "LOW", "US-IL-1": "NONE", "EUR-IS-1": "NONE"}
    await api.create()
    assert await stock() == {"level": "NONE"}
    api.world.faults.set(runpod_placeless_community=True)
    assert await stock(cloud="COMMUNITY") == {"level": "HIGH"}


@in_virtual_time
async def test_stock_by_cuda_version(api: RunPodApi) -> None:
    async def shown(gpu: str, **params: Any) -> Any:
        answer = await api.ok("GET", f"catalog/gpus/{quote(gpu)}", params={**STOCK, **params})
        return answer["availability"], [(item["version"], item["available"]) for item in answer.get("cudaVersions", [])]

    old = "NVIDIA GeForce RTX 3090"
    assert await shown(old) == ("HIGH", [("13.0", False), ("12.8", True), ("12.4", True)])
    assert await shown(old, cudaVersions="13.0") == ("NONE", [("13.0", False)])
    assert await shown(old, cudaVersions="12.4,13.0") == ("HIGH", [("13.0", False), ("12.4", True)])
    assert await shown(old, minCudaVersion="13") == ("NONE", [("13.0", False)])
    assert await shown(RTX4090, minCudaVersion="12.11") == ("HIGH", [("13.0", True)])
    assert await shown(RTX4090, cudaVersions="11.8") == ("NONE", [])
    assert await shown("AMD Instinct MI300X OAM") == ("MEDIUM", [])


@in_virtual_time
async def test_countries_narrow_the_list(api: RunPodApi) -> None:
    gpus = (await api.ok("GET", "catalog/gpus", params={**STOCK, "countryCodes": "FR"}))["gpus"]
    assert [item["id"] for item in gpus] == [H100, "NVIDIA H200"]
    assert [item["id"] for item in gpus[0]["dataCenters"]] == ["EU-FR-1"]


@pytest.mark.parametrize(
    ("status", "params"),
    [
        (400, {"include": "AVAILABILITY"}),
        (400, {"product": "POD"}),
        (400, {"count": "2"}),
        (400, {"cloud": "SECURE"}),
        (400, {"countryCodes": "FR"}),
        (400, {"cudaVersions": "12.8"}),
        (400, {**STOCK, "cudaVersions": "12.8", "minCudaVersion": "12.1"}),
        (422, {"include": "PRICES"}),
        (422, {"include": "AVAILABILITY,AVAILABILITY,X"}),
        (422, {**STOCK, "product": "BARE_METAL"}),
        (422, {**STOCK, "count": "0"}),
        (422, {**STOCK, "cloud": "ALL"}),
        (422, {**STOCK, "countryCodes": "fr"}),
        (422, {**STOCK, "cudaVersions": "12"}),
        (422, {**STOCK, "minCudaVersion": "new"}),
    ],
)
@in_virtual_time
async def test_wrong_catalog_questions(api: RunPodApi, status: int, params: dict[str, str]) -> None:
    for path in ("catalog/gpus", f"catalog/gpus/{quote(RTX4090)}"):
        problem = await api.problem(status, "GET", path, params=params)
        assert ("errors" in problem) == (status == 422)


@in_virtual_time
async def test_data_centers(api: RunPodApi) -> None:
    centers = {item["id"]: item for item in (await api.ok("GET", "catalog/datacenters"))["dataCenters"]}
    assert centers.keys() == DATA_CENTERS.keys()
    assert not any("gpuAvailability" in item for item in centers.values())
    params = {"include": "GPU_AVAILABILITY", "regions": "OCEANIA,ASIA"}
    some = (await api.ok("GET", "catalog/datacenters", params=params))["dataCenters"]
    assert [item["id"] for item in some] == ["AP-JP-1", "OC-AU-1"]
    assert some[0]["gpuAvailability"] == [{"id": H100, "name": "H100 SXM", "availability": "MEDIUM"}]
    assert "gpuAvailability" not in some[1], "only community hosts stand there"
    params = {"networkVolumeTypes": "STANDARD,HIGH_PERFORMANCE", "compliance": "GDPR", "globalNetwork": "true"}
    assert [item["id"] for item in (await api.ok("GET", "catalog/datacenters", params=params))["dataCenters"]] == [
        "EU-RO-1"
    ]
    assert await api.ok("GET", "catalog/datacenters/US-DE-1") == centers["US-DE-1"]
    assert centers["US-DE-1"]["networkVolumeTypes"] == []
    await api.refused(404, "GET", "catalog/datacenters/us-de-1")
    for params in ({"regions": "MARS"}, {"networkVolumeTypes": "FLOPPY"}, {"globalNetwork": "yes"}, {"include": "ALL"}):
        await api.refused(422, "GET", "catalog/datacenters", params=params)


# What a create takes


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


# A pod's life


@in_virtual_time
async def test_a_pod_from_create_to_gone(api: RunPodApi) -> None:
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    made = await api.create(ports=["22/tcp", "8888/http"], env={"A": "1"}, startSsh=True, startJupyter=True)
    pod_id = made["id"]
    assert re.fullmatch(r"[0-9a-z]{14}", pod_id)
    assert (made["status"], made["actions"]) == ("PROVISIONING", ["stop", "terminate"])
    assert (made["dataCenterId"], made["startedAt"], made["runtime"]) == (None, None, None)
    assert made["ssh"] == {"proxy": None, "direct": None}
    assert made["cost"] == pytest.approx(0.74 + 40 * 0.10 / 730, abs=1e-6)
    password = made["env"]["JUPYTER_PASSWORD"]
    assert made["env"] == {"A": "1", "PUBLIC_KEY": PUBLIC_KEY, "JUPYTER_PASSWORD": password}

    seen: list[tuple[str, bool, bool, bool]] = []
    for _ in range(80):
        pod = await api.get(pod_id)
        look = (pod["status"], bool(pod["ssh"]["proxy"]), bool(pod["runtime"]), bool(pod["ssh"]["direct"]))
        if look not in seen:
            seen.append(look)
        await asyncio.sleep(0.25)
    assert seen == [
        ("PROVISIONING", False, False, False),
        ("STARTING", True, False, False),
        ("RUNNING", True, False, False),
        ("RUNNING", True, True, False),
        ("RUNNING", True, True, True),
    ]
    direct, ports = pod["ssh"]["direct"], pod["runtime"]["ports"]
    proxy = pod["ssh"]["proxy"]
    assert proxy == {
        "host": "ssh.runpod.io",
        "port": 22,
        "username": proxy["username"],
        "command": f"ssh {proxy['username']}@ssh.runpod.io",
    }
    assert re.fullmatch(rf"{pod_id}-6441[0-9a-f]{{4}}", proxy["username"])
    assert (direct["host"], direct["username"]) == ("203.0.113.1", "root")
    assert direct["command"] == f"ssh root@203.0.113.1 -p {direct['port']}"
    assert ports == [
        {"private": 22, "public": direct["port"], "type": "tcp", "ip": "203.0.113.1"},
        {"private": 8888, "public": ports[1]["public"], "type": "http", "ip": "100.65.14.7"},
    ]
    assert pod["dataCenterId"] in DATA_CENTERS
    assert pod["actions"] == ["stop", "restart", "terminate"]
    assert pod["startedAt"] > pod["createdAt"]
    uptime = pod["runtime"]["uptime"]
    assert 20 - CONTAINER_S - 1 <= uptime <= 20
    await asyncio.sleep(60)
    later = await api.get(pod_id)
    assert later["runtime"]["uptime"] == uptime + 60
    assert (await api.ok("GET", "pods"))["pods"] == [later]

    await api.ok("DELETE", f"pods/{pod_id}", 204)
    assert await api.listed() == []
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/action", {"action": "stop"})):
        assert await api.refused(404, method, f"pods/{pod_id}{path}", json=body) == "pod not found"


@in_virtual_time
async def test_ssh_works_where_an_sshd_runs_and_a_key_is(api: RunPodApi) -> None:
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    official, start = "runpod/base:1.0", "bash -c '/start.sh & python train.py'"
    expected = {
        await api.running(startSsh=True): (PUBLIC_KEY,),
        await api.running(env={"PUBLIC_KEY": "ssh-ed25519 AAAA own"}, startSsh=True): ("ssh-ed25519 AAAA own",),
        await api.running(env={"PUBLIC_KEY": PUBLIC_KEY}, image=official, args=start): (PUBLIC_KEY,),
        await api.running(image="ubuntu:24.04", env={"PUBLIC_KEY": PUBLIC_KEY}, args="service ssh start; sshd -D"): (
            PUBLIC_KEY,
        ),
        await api.running(startSsh=True, args="python train.py"): (),
        await api.running(startSsh=True, image="ubuntu:24.04"): (),
        await api.running(): (),
    }
    for pod_id, keys in expected.items():
        assert api.world.machines[pod_id].authorized_keys == keys
        assert api.world.answers_ssh(pod_id) == bool(keys)
        assert (await api.get(pod_id))["ssh"]["direct"] is not None
    portless = await api.running(startSsh=True, ports=["8888/http"])
    assert not api.world.answers_ssh(portless)
    assert (await api.get(portless))["ssh"]["direct"] is None


@in_virtual_time
async def test_an_sshd_answers_only_once_the_container_runs(api: RunPodApi) -> None:
    api.world.faults.set(runpod_container_after_s=100)
    pod_id = (await api.create(env={"PUBLIC_KEY": PUBLIC_KEY}))["id"]
    await asyncio.sleep(BOOT_S * 1.2 + 80)
    assert (await api.status(pod_id), api.world.answers_ssh(pod_id)) == ("RUNNING", False)
    await asyncio.sleep(30)
    assert api.world.answers_ssh(pod_id)


@in_virtual_time
async def test_what_documents_leave_open(api: RunPodApi) -> None:
    api.world.faults.set(
        runpod_no_runtime_shows="empty",
        runpod_placed_after_s=60,
        runpod_no_public_port={"count": 1},
        runpod_container_after_s=10,
        runpod_cost_shows="compute",
    )
    pod_id = (await api.create())["id"]
    await asyncio.sleep(BOOT_S * 1.2)
    pod = await api.get(pod_id)
    assert (pod["status"], pod["runtime"], pod["dataCenterId"], pod["cost"]) == ("RUNNING", {}, None, 0.74)
    await asyncio.sleep(60)
    pod = await api.get(pod_id)
    assert (pod["runtime"]["ports"], pod["ssh"]["direct"]) == ([], None)
    assert pod["dataCenterId"] is not None
    api.world.faults.set(runpod_cost_shows="all")
    pod = await api.create(mounts={"persistent": {"size": 100, "path": "/w"}})
    assert pod["cost"] == pytest.approx(0.74 + 140 * 0.10 / 730, abs=1e-6)
    api.world.faults.set(runpod_cost_shows="container_disk", runpod_default_disk_gb=20)
    pod = await api.create(mounts={"persistent": {"size": 100, "path": "/w"}}, disk=None)
    assert pod["disk"] == 20
    assert pod["cost"] == pytest.approx(0.74 + 20 * 0.10 / 730, abs=1e-6)
    api.world.faults.set(runpod_placeless_community=True, runpod_container_after_s=2)
    pod_id = await api.running(cloud="COMMUNITY")
    assert (await api.get(pod_id))["dataCenterId"] is None
    placed = api.order(cloud="COMMUNITY", dataCenterIds=["US-TX-1"])
    assert await api.refused(400, "POST", "pods", json=placed) == NO_CAPACITY


@in_virtual_time
async def test_faults_of_the_world_in_runpods_words(api: RunPodApi) -> None:
    for fault, status, detail in (
        ("server_error", 500, "internal server error"),
        ("bad_gateway", 502, "upstream error"),
        ("unavailable", 503, "service unavailable"),
        ("unauthorized", 401, "invalid bearer token"),
        ("rate_limited", 429, "rate limit exceeded for the minute window"),
    ):
        api.world.faults.set(**{fault: {"count": 1}})
        assert await api.refused(status, "GET", "pods") == detail
    await api.create()
    api.world.faults.set(unknown_state={"count": 1}, extra_fields={"count": 1})
    (pod,) = (await api.ok("GET", "pods"))["pods"]
    assert (pod["status"], "x_internal" in pod) == ("hibernating", True)
    api.world.faults.set(server_error_after_commit={"count": 1})
    await api.refused(500, "POST", "pods", json=api.order())
    assert len(await api.listed()) == 2
    assert len(truth_of(api.world)["machines"]) == 2


@in_virtual_time
async def test_eventual_consistency(api: RunPodApi) -> None:
    api.world.faults.set(
        eventual_get_s=5, eventual_list_s=8, deleted_still_listed_s=30, runpod_terminated_readable_s=20
    )
    pod_id = (await api.create())["id"]
    await api.refused(404, "GET", f"pods/{pod_id}")
    await asyncio.sleep(6)
    assert (await api.status(pod_id), await api.listed()) == ("STARTING", [])
    await asyncio.sleep(10)
    assert await api.listed() == [pod_id]
    await api.ok("DELETE", f"pods/{pod_id}", 204)
    for _ in range(2):
        (shown,) = (await api.ok("GET", "pods"))["pods"]
        assert shown["status"] == "RUNNING"
        gone = await api.get(pod_id)
        assert (gone["status"], gone["cost"], gone["actions"]) == ("TERMINATED", 0.0, [])
        await api.refused(404, "DELETE", f"pods/{pod_id}")
        await asyncio.sleep(10)
    await asyncio.sleep(20)
    assert await api.listed() == []
    await api.refused(404, "GET", f"pods/{pod_id}")


@in_virtual_time
async def test_a_stuck_terminate_leaves_the_pod(api: RunPodApi) -> None:
    pod_id = await api.running()
    api.world.faults.set(stuck_terminate={"count": 1})
    await api.ok("DELETE", f"pods/{pod_id}", 204)
    assert await api.status(pod_id) == "RUNNING"
    await api.act(pod_id, "terminate", 204)
    assert await api.listed() == []


@in_virtual_time
async def test_prices_are_those_of_all_gpus(api: RunPodApi) -> None:
    pod = await api.create(gpu={"id": H100, "count": 4}, disk=73)
    assert pod["cost"] == 11.97
    api.world.faults.set(price_surprise={"count": 1})
    dear = await api.create(gpu={"id": H100, "count": 4}, disk=73)
    assert Decimal(str(dear["cost"])) == Decimal("14.9625")
