"""The simulated RunPod API: who may ask, how often, and the catalog."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from runpod_stage import H100, RTX4090, RunPodApi

from gputui.sim.runpod.data import DATA_CENTERS, GPUS, pool_name
from gputui.sim.vtime import in_virtual_time

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
