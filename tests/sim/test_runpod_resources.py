"""SSH keys and network volumes of the simulated RunPod."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runpod_stage import NO_CAPACITY, PUBLIC_KEY, RTX4090, RunPodApi

from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


# SSH keys


@in_virtual_time
async def test_keys_are_one_set_replaced_as_a_whole(api: RunPodApi) -> None:
    assert await api.ok("GET", "account/ssh-keys") == {"keys": []}
    keys = [PUBLIC_KEY, "ecdsa-sha2-nistp256 AAAA\tcomment with words", "sk-ssh-ed25519@openssh.com AAAA"]
    assert await api.ok("PUT", "account/ssh-keys", json={"keys": keys}) == {"keys": keys}
    assert await api.ok("GET", "account/ssh-keys") == {"keys": keys}
    assert await api.ok("PUT", "account/ssh-keys", json={"keys": keys[1:]}) == {"keys": keys[1:]}
    assert await RunPodApi("sim-b", behind=api).ok("GET", "account/ssh-keys") == {"keys": []}
    assert await api.ok("PUT", "account/ssh-keys", json={"keys": []}) == {"keys": []}


@pytest.mark.parametrize(
    "body",
    [
        {"keys": ["not a key"]},
        {"keys": ["ssh-ed25519"]},
        {"keys": [f"{PUBLIC_KEY}\nssh-rsa BBBB"]},
        {"keys": [f" {PUBLIC_KEY}"]},
        {"keys": PUBLIC_KEY},
        {"keys": [1]},
        {"keys": [], "mode": "merge"},
        {},
    ],
)
@in_virtual_time
async def test_bad_keys_change_nothing(api: RunPodApi, body: Any) -> None:
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    assert (await api.problem(422, "PUT", "account/ssh-keys", json=body))["errors"]
    assert await api.ok("GET", "account/ssh-keys") == {"keys": [PUBLIC_KEY]}


@in_virtual_time
async def test_keys_reach_pods_made_afterwards(api: RunPodApi) -> None:
    early = await api.running(startSsh=True)
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY, "ssh-rsa BBBB"]})
    late, unasked = await api.running(startSsh=True), await api.running()
    keys = {pod_id: api.world.machines[pod_id].authorized_keys for pod_id in (early, late, unasked)}
    assert keys == {early: (), late: (PUBLIC_KEY, "ssh-rsa BBBB"), unasked: ()}
    assert "PUBLIC_KEY" not in (await api.get(early))["env"]


# Network volumes


async def volume(api: RunPodApi, **changes: Any) -> dict[str, Any]:
    wanted = {"name": "data", "size": 50, "dataCenter": "US-KS-2", **changes}
    return dict(await api.ok("POST", "network-volumes", 201, json=wanted))


@in_virtual_time
async def test_a_volume_from_create_to_delete(api: RunPodApi) -> None:
    made = await volume(api)
    assert made == {"id": made["id"], "name": "data", "size": 50, "dataCenter": "US-KS-2", "type": "STANDARD"}
    path = f"network-volumes/{made['id']}"
    assert await api.ok("GET", path) == made
    assert (await volume(api))["id"] != made["id"], "names may repeat"
    assert (await volume(api, type="HIGH_PERFORMANCE"))["type"] == "HIGH_PERFORMANCE"
    assert len((await api.ok("GET", "network-volumes"))["networkVolumes"]) == 3
    grown = {**made, "name": "more", "size": 60}
    assert await api.ok("PATCH", path, json={"name": "more", "size": 60}) == grown
    assert "decreased" in await api.refused(400, "PATCH", path, json={"size": 59})
    assert (await api.problem(422, "PATCH", path, json={}))["errors"] == ["$: minProperties: got 0, want 1"]
    assert await RunPodApi("sim-b", behind=api).refused(404, "GET", path) == "network volume not found"
    await api.ok("DELETE", path, 204)
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"size": 70})):
        await api.refused(404, method, path, json=body)
    assert len((await api.ok("GET", "network-volumes"))["networkVolumes"]) == 2


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"size": 9}, 422, "$.size: minimum: got 9, want 10"),
        ({"size": 4097}, 422, "$.size: maximum: got 4097, want 4096"),
        ({"name": ""}, 422, "$.name: minLength: got 0, want 1"),
        ({"type": "FAST"}, 422, "$.type: value must be one of"),
        ({"dataCenterId": "US-KS-2"}, 422, "$: additional properties 'dataCenterId' not allowed"),
        ({"dataCenter": "US-DE-1"}, 400, "EU-RO-1, EU-CZ-1"),
        ({"dataCenter": "us-ks-2"}, 400, "EU-RO-1, EU-CZ-1"),
        ({"dataCenter": "EU-NL-1", "type": "HIGH_PERFORMANCE"}, 400, "does not support HIGH_PERFORMANCE"),
    ],
)
@in_virtual_time
async def test_a_bad_volume(api: RunPodApi, changes: dict[str, Any], status: int, said: str) -> None:
    body = {"name": "data", "size": 50, "dataCenter": "US-KS-2", **changes}
    problem = await api.problem(status, "POST", "network-volumes", json=body)
    assert said in (problem["errors"][0] if status == 422 else problem["detail"])
    assert await api.ok("GET", "network-volumes") == {"networkVolumes": []}


@in_virtual_time
async def test_a_pod_goes_where_its_volume_is(api: RunPodApi) -> None:
    made = await volume(api)
    mounts = {"network": [{"volumeId": made["id"], "path": "/workspace"}]}
    pod_id = await api.running(mounts=mounts)
    pod = await api.get(pod_id)
    assert (pod["dataCenterId"], pod["mounts"]) == ("US-KS-2", mounts)
    await api.create(mounts=mounts)
    elsewhere = api.order(mounts=mounts, dataCenterIds=["EU-RO-1"])
    assert await api.refused(400, "POST", "pods", json=elsewhere) == NO_CAPACITY
    community = api.order(mounts=mounts, cloud="COMMUNITY")
    assert "secure cloud" in await api.refused(400, "POST", "pods", json=community)
    bare_center = await volume(api, dataCenter="US-WA-1")
    unstocked = api.order(mounts={"network": [{"volumeId": bare_center["id"], "path": "/w"}]})
    assert await api.refused(400, "POST", "pods", json=unstocked) == NO_CAPACITY
    lines = [event.line for event in await api.log(pod_id, source="system")]
    assert lines[0] == f"mount network volume {made['id']}"


@in_virtual_time
async def test_a_volume_in_use_cannot_be_deleted_and_outlives_its_pod(api: RunPodApi) -> None:
    made = await volume(api)
    path = f"network-volumes/{made['id']}"
    pod_id = await api.running(mounts={"network": [{"volumeId": made["id"], "path": "/w"}]}, gpu={"id": RTX4090})
    assert "in use" in await api.refused(400, "DELETE", path)
    await api.act(pod_id, "stop")
    api.world.faults.set(runpod_volume_in_use_status="409")
    await api.refused(409, "DELETE", path)
    await api.ok("DELETE", f"pods/{pod_id}", 204)
    await asyncio.sleep(1)
    assert await api.ok("GET", path) == made
    await api.ok("DELETE", path, 204)
