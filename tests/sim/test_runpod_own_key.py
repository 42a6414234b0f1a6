"""The key that the simulated RunPod puts into each pod: good for ending that pod by GraphQL, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from runpod_stage import NONCE, RunPodApi

from gputui.sim.vtime import in_virtual_time

ENDS = {"GPUTUI_END_KEY": "RUNPOD_API_KEY", "GPUTUI_END_ID": "RUNPOD_POD_ID"}


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


def mutation(pod_id: str) -> dict[str, str]:
    return {"query": f'mutation {{ podTerminate(input: {{podId: "{pod_id}"}}) }}'}


async def graphql(api: RunPodApi, key: str, body: dict[str, str]) -> Any:
    transport = api.http._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        path = str(api.http.base_url.path).replace("/v2/", "/graphql")
        answer = await client.post(path, json=body, headers={"Authorization": f"Bearer {key}", "User-Agent": "curl/8"})
        return answer.json()


@in_virtual_time
async def test_a_pods_own_key_ends_that_pod_and_no_other(api: RunPodApi) -> None:
    mine, other = await api.start_job(), await api.start_job()
    key = api.world.machines[mine].environ["RUNPOD_API_KEY"]
    assert key != api.world.machines[other].environ["RUNPOD_API_KEY"]
    assert "errors" in await graphql(api, key, mutation(other))
    assert api.world.machines[other].is_alive(api.world.now_ms())
    assert await graphql(api, key, mutation(mine)) == {"data": {"podTerminate": None}}
    await asyncio.sleep(5)
    assert not api.world.machines[mine].is_alive(api.world.now_ms())
    assert "errors" in await graphql(api, "nobody", mutation(other))
    assert await graphql(api, "sim-a", mutation(other)) == {"data": {"podTerminate": None}}


@in_virtual_time
async def test_a_pods_own_key_is_refused_by_rest(api: RunPodApi) -> None:
    pod_id = await api.start_job()
    key = api.world.machines[pod_id].environ["RUNPOD_API_KEY"]
    for method, path in (("GET", "pods"), ("GET", f"pods/{pod_id}"), ("DELETE", f"pods/{pod_id}")):
        answer = await api.http.request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403


@in_virtual_time
async def test_without_graphql_no_pod_can_end_itself(api: RunPodApi) -> None:
    pod_id = await api.start_job()
    key = api.world.machines[pod_id].environ["RUNPOD_API_KEY"]
    api.world.faults.set(runpod_graphql="410")
    answer = await graphql(api, key, mutation(pod_id))
    assert "data" not in answer
    assert api.world.machines[pod_id].is_alive(api.world.now_ms())


@pytest.mark.parametrize(
    ("env", "stays_s"),
    [
        ({"GPUTUI_LEASE_S": "600", "GPUTUI_COLLECT_S": "60"}, 600),
        ({"GPUTUI_LEASE_S": "600", "GPUTUI_COLLECT_S": "60", "GPUTUI_MAX_DURATION_S": "20"}, 60),
        ({"GPUTUI_LEASE_S": ""}, None),
    ],
)
@in_virtual_time
async def test_a_container_told_how_deletes_its_pod_some_time_after_its_job(
    api: RunPodApi, env: dict[str, str], stays_s: int | None
) -> None:
    job = {"MOCK_DURATION_S": "30", **ENDS, **env}
    pod_id = await api.start_job(env=job)
    await asyncio.sleep(60)
    told = await api.printed(pod_id)
    assert f"gputui-guard {NONCE} armed" in told
    assert any(line.startswith(f"gputui-gpu {NONCE} ") for line in told)
    await asyncio.sleep(3600)
    api.world.settle()
    machine = api.world.machines[pod_id]
    ended_ms = machine.ended_ms(api.world.now_ms())
    if stays_s is None:
        assert ended_ms is None
    else:
        assert ended_ms is not None
        lived_s = (ended_ms - machine.created_ms) / 1000
        job_s = 20 if "GPUTUI_MAX_DURATION_S" in env else 30
        assert job_s + stays_s < lived_s < job_s + stays_s + 30
