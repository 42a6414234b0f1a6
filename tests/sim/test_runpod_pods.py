"""A pod of the simulated RunPod from create to gone, and what the documents leave open of it."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal

import pytest
from runpod_stage import BOOT_S, CONTAINER_S, H100, NO_CAPACITY, PUBLIC_KEY, RunPodApi

from gputui.sim.runpod.data import DATA_CENTERS
from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


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
