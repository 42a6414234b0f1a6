"""What is done with pods of the simulated RunPod: stop, start, restart, change, and the ways they end by themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runpod_stage import BOOT_S, CONTAINER_S, PUBLIC_KEY, RTX4090, RunPodApi

from gputui.sim.runpod.data import pool_name
from gputui.sim.vtime import in_virtual_time

PERSISTENT = {"persistent": {"size": 50, "path": "/workspace"}}


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


# Actions


@in_virtual_time
async def test_stop_and_start(api: RunPodApi) -> None:
    pod_id = await api.running(mounts=PERSISTENT, env={"PUBLIC_KEY": PUBLIC_KEY})
    before = await api.get(pod_id)
    assert api.world.answers_ssh(pod_id)
    stopped = await api.act(pod_id, "stop")
    assert (stopped["status"], stopped["actions"]) == ("EXITED", ["start", "terminate"])
    assert (stopped["cost"], stopped["runtime"], stopped["ssh"]["direct"]) == (0.0, None, None)
    kept = ("startedAt", "cudaVersion", "dataCenterId", "mounts", "env")
    assert {name: stopped[name] for name in kept} == {name: before[name] for name in kept}
    assert not api.world.answers_ssh(pod_id)
    assert await api.listed() == [pod_id]

    starting = await api.act(pod_id, "start")
    assert (starting["status"], starting["cost"]) == ("STARTING", before["cost"])
    await asyncio.sleep(10)
    again = await api.get(pod_id)
    assert (again["status"], again["dataCenterId"]) == ("RUNNING", before["dataCenterId"])
    assert again["runtime"]["uptime"] < 10
    assert again["ssh"]["direct"]["port"] != before["ssh"]["direct"]["port"]
    assert again["startedAt"] > before["startedAt"]
    assert api.world.answers_ssh(pod_id)


@in_virtual_time
async def test_a_start_needs_its_gpus_free(api: RunPodApi) -> None:
    catalogue = api.world.catalogue("runpod")
    catalogue.set_capacity(pool_name(RTX4090, "SECURE"), "EUR-IS-1", 2)
    pod_id = await api.running(gpu={"id": RTX4090, "count": 2}, dataCenterIds=["EUR-IS-1"])
    await api.act(pod_id, "stop")
    taker = await api.create(dataCenterIds=["EUR-IS-1"])
    text = "There are not enough free GPUs on the host machine to start this pod."
    assert await api.refused(400, "POST", f"pods/{pod_id}/action", json={"action": "start"}) == text
    api.world.faults.set(runpod_refused_start_status="409")
    assert await api.refused(409, "POST", f"pods/{pod_id}/action", json={"action": "start"}) == text
    assert await api.status(pod_id) == "EXITED"
    await api.ok("DELETE", f"pods/{taker['id']}", 204)
    await asyncio.sleep(1)
    api.world.faults.set(runpod_start_refused={"count": 1})
    assert await api.refused(409, "POST", f"pods/{pod_id}/action", json={"action": "start"}) == text
    assert (await api.act(pod_id, "start"))["status"] == "STARTING"


@in_virtual_time
async def test_restart_begins_the_container_anew(api: RunPodApi) -> None:
    pod_id = await api.running()
    await asyncio.sleep(100)
    before = await api.get(pod_id)
    assert before["runtime"]["uptime"] > 100
    await api.act(pod_id, "restart")
    await asyncio.sleep(3)
    after = await api.get(pod_id)
    assert (after["status"], after["cost"], after["runtime"]["uptime"]) == ("RUNNING", before["cost"], 2)


@in_virtual_time
async def test_actions_that_do_not_fit_the_status(api: RunPodApi) -> None:
    async def refused(action: str, status: str) -> None:
        said = await api.refused(409, "POST", f"pods/{pod_id}/action", json={"action": action})
        assert said == f"action {action} is not valid for a pod with status {status}"

    pod_id = (await api.create())["id"]
    await refused("start", "PROVISIONING")
    await refused("restart", "PROVISIONING")
    await asyncio.sleep(3)
    await refused("restart", "STARTING")
    await asyncio.sleep(CONTAINER_S)
    await refused("start", "RUNNING")
    await api.act(pod_id, "stop")
    await refused("stop", "EXITED")
    await refused("restart", "EXITED")
    for body in ({"action": "reset"}, {"action": "stop", "force": True}, {}, {"action": None}):
        assert (await api.problem(422, "POST", f"pods/{pod_id}/action", json=body))["errors"]
    await api.act(pod_id, "terminate", 204)
    assert await api.listed() == []


@in_virtual_time
async def test_stopped_before_it_ran(api: RunPodApi) -> None:
    api.world.faults.set(runpod_container_after_s=10)
    for after_s in (0.1, 4.0, BOOT_S * 1.2):
        pod_id = await api.start_job(env={"MOCK_DURATION_S": "5"})
        await asyncio.sleep(after_s)
        await api.act(pod_id, "stop")
        await asyncio.sleep(100)
        assert await api.status(pod_id) == "EXITED"
        await api.act(pod_id, "start")
        await asyncio.sleep(30)
        marks = [line for line in await api.printed(pod_id) if "gputui-" in line]
        assert marks == ["gputui-begin c0ffee00", "gputui-end c0ffee00 code=0 reason=exited"]
        await api.act(pod_id, "terminate", 204)


# Changes


@in_virtual_time
async def test_changes_that_leave_the_container_alone(api: RunPodApi) -> None:
    pod_id = await api.running()
    uptime = (await api.get(pod_id))["runtime"]["uptime"]
    changed = await api.ok("PATCH", f"pods/{pod_id}", json={"name": "later", "locked": True, "globalNetworking": True})
    assert (changed["name"], changed["locked"]) == ("later", True)
    assert changed["globalNetworking"]["enabled"]
    assert changed["globalNetworking"]["internalDns"] == f"{pod_id}.runpod.internal"
    assert changed["runtime"]["uptime"] == uptime
    assert await api.refused(400, "POST", f"pods/{pod_id}/action", json={"action": "stop"}) == "pod is locked"
    await api.ok("PATCH", f"pods/{pod_id}", json={"locked": False})
    assert (await api.act(pod_id, "stop"))["status"] == "EXITED"


@in_virtual_time
async def test_changes_that_make_the_container_anew(api: RunPodApi) -> None:
    pod_id = await api.start_job(env={"MOCK_DURATION_S": "5"})
    await asyncio.sleep(60)
    before = await api.get(pod_id)
    env = {**before["env"], "GPUTUI_NONCE": "beef", "MOCK_EXIT_CODE": "4"}
    changed = await api.ok(
        "PATCH", f"pods/{pod_id}", json={"env": env, "disk": 113, "image": "org/other:2", "ports": []}
    )
    assert (changed["env"], changed["disk"], changed["image"]) == (env, 113, "org/other:2")
    assert changed["cost"] == before["cost"], "the dearer disk comes with the new container"
    await asyncio.sleep(20)
    after = await api.get(pod_id)
    assert after["cost"] == pytest.approx(before["cost"] + 73 * 0.10 / 730, abs=2e-6)
    assert after["runtime"]["uptime"] < 21
    assert [line for line in await api.printed(pod_id) if "gputui-" in line] == [
        "gputui-begin c0ffee00",
        "gputui-end c0ffee00 code=0 reason=exited",
        "gputui-begin beef",
        "gputui-end beef code=4 reason=exited",
    ]


@pytest.mark.parametrize(
    ("mounts", "status"),
    [
        ({"network": []}, 400),
        ({"network": [{"volumeId": "x", "path": "/w"}]}, 400),
        ({"persistent": {"size": 20, "path": "/w"}}, 400),
        ({"persistent": {"path": "/w"}}, 422),
        ({"persistent": {"size": 60, "path": "/w"}}, 200),
        ({}, 200),
    ],
)
@in_virtual_time
async def test_changing_a_persistent_mount(api: RunPodApi, mounts: dict[str, Any], status: int) -> None:
    pod_id = await api.running(mounts=PERSISTENT)
    response = await api.call("PATCH", f"pods/{pod_id}", json={"mounts": mounts})
    assert response.status_code == status, response.text
    assert (await api.get(pod_id))["mounts"] == (mounts if status == 200 and mounts else PERSISTENT)


@in_virtual_time
async def test_changing_a_network_mount(api: RunPodApi) -> None:
    ids = []
    for _ in range(2):
        wanted = {"name": "data", "size": 10, "dataCenter": "US-KS-2"}
        ids.append((await api.ok("POST", "network-volumes", 201, json=wanted))["id"])
    pod_id = await api.running(mounts={"network": [{"volumeId": ids[0], "path": "/a"}]})
    moved = {"network": [{"volumeId": ids[0], "path": "/b"}]}
    assert (await api.ok("PATCH", f"pods/{pod_id}", json={"mounts": moved}))["mounts"] == moved
    other = {"network": [{"volumeId": ids[1], "path": "/b"}]}
    await api.refused(400, "PATCH", f"pods/{pod_id}", json={"mounts": other})
    bare = await api.running()
    await api.refused(400, "PATCH", f"pods/{bare}", json={"mounts": moved})
    for body in ({"gpu": {"id": RTX4090}}, {"volumeInGb": 1}, {"name": ""}):
        await api.refused(422, "PATCH", f"pods/{pod_id}", json=body)
    await api.refused(404, "PATCH", "pods/nobody", json={"name": "x"})


# Other ends


@pytest.mark.parametrize(("shows", "status"), [("running", "RUNNING"), ("exited", "EXITED")])
@in_virtual_time
async def test_a_host_that_is_out_of_reach(api: RunPodApi, shows: str, status: str) -> None:
    pod_id = await api.running()
    api.world.faults.set(runpod_offline_shows=shows)
    api.world.kill(pod_id, "offline")
    pod = await api.get(pod_id)
    assert (pod["status"], pod["runtime"], pod["ssh"]["direct"]) == (status, None, None)


@in_virtual_time
async def test_a_failed_pod_can_be_started_again(api: RunPodApi) -> None:
    api.world.faults.set(provisioning_error={"count": 1})
    never_ran = (await api.create())["id"]
    pod_id = await api.running()
    api.world.kill(pod_id, "error")
    for failed in (never_ran, pod_id):
        pod = await api.get(failed)
        assert (pod["status"], pod["actions"], pod["runtime"]) == ("ERROR", ["start", "terminate"], None)
        assert (await api.act(failed, "start"))["status"] == "STARTING"
    await asyncio.sleep(10)
    assert [await api.status(item) for item in (never_ran, pod_id)] == ["RUNNING", "RUNNING"]


@in_virtual_time
async def test_reclaimed_vanished_or_never_placed(api: RunPodApi) -> None:
    pod_id = await api.running()
    api.world.kill(pod_id, "released")
    assert await api.status(pod_id) == "EXITED"
    api.world.kill(pod_id, "vanish")
    await api.refused(404, "GET", f"pods/{pod_id}")
    api.world.faults.set(no_capacity_after_accept={"count": 1})
    pod_id = (await api.create())["id"]
    assert await api.listed() == [pod_id]
    await asyncio.sleep(60)
    assert await api.listed() == []
    await api.refused(404, "GET", f"pods/{pod_id}")
