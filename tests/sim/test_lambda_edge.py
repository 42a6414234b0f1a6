"""What goes wrong at the simulated Lambda Cloud: its edge, its rate limits, and the world's faults in its words."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from lambda_stage import LambdaApi

from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

LAUNCH = "instance-operations/launch"


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


@pytest.fixture
def limited() -> LambdaApi:
    return LambdaApi(limited=True)


# The edge


@in_virtual_time
async def test_requests_are_limited_after_a_burst(limited: LambdaApi) -> None:
    statuses = [(await limited.call("GET", "regions")).status_code for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    await asyncio.sleep(1)
    assert [(await limited.call("GET", "regions")).status_code for _ in range(2)] == [200, 429]
    await asyncio.sleep(3600)
    assert [(await limited.call("GET", "regions")).status_code for _ in range(11)] == [200] * 10 + [429]


@in_virtual_time
async def test_the_limit_is_one_for_all_keys_of_an_address(limited: LambdaApi) -> None:
    limited.world.faults.set(request_burst=1)
    assert (await limited.call("GET", "regions")).status_code == 200
    other = LambdaApi("sim-b", behind=limited)
    assert (await other.call("GET", "regions")).status_code == 429
    assert (await other.call("GET", "regions", headers={"Authorization": ""})).status_code == 429


@in_virtual_time
async def test_a_429_of_the_edge_is_not_json(limited: LambdaApi) -> None:
    limited.world.faults.set(request_burst=1, request_every_s=10)
    await limited.call("GET", "regions")
    refused = await limited.call("GET", "regions")
    assert (refused.status_code, refused.text) == (429, "error code: 1015")
    assert refused.headers["content-type"].startswith("text/plain")
    assert "retry-after" not in refused.headers
    limited.world.faults.set(rate_limit_body="html", rate_limit_retry_after=True)
    await asyncio.sleep(2.5)
    refused = await limited.call("GET", "regions")
    assert "banned you temporarily" in refused.text
    assert refused.headers["retry-after"] == "8"


@in_virtual_time
async def test_one_launch_every_twelve_seconds(limited: LambdaApi) -> None:
    assert await limited.launch()
    refused = await limited.call("POST", LAUNCH, json=await limited.order())
    assert (refused.status_code, refused.text) == (429, "error code: 1015")
    assert len(truth_of(limited.world)["machines"]) == 1
    await asyncio.sleep(11)
    assert (await limited.call("POST", LAUNCH, json=await limited.order())).status_code == 429
    await asyncio.sleep(1)
    assert await limited.launch()


@in_virtual_time
async def test_a_refused_launch_counts_too(limited: LambdaApi) -> None:
    await limited.launch_refused(400, "global/invalid-parameters", region_name="mars-1")
    assert (await limited.call("POST", LAUNCH, json=await limited.order())).status_code == 429


@in_virtual_time
async def test_some_user_agents_are_blocked_when_asked_for(api: LambdaApi) -> None:
    for agent in ("", "Python-urllib/3.11"):
        assert (await api.call("GET", "regions", headers={"User-Agent": agent})).status_code == 200
    api.world.faults.set(block_default_user_agents=True)
    for agent in ("", "Python-urllib/3.11"):
        refused = await api.call("GET", "regions", headers={"User-Agent": agent})
        assert (refused.status_code, refused.text) == (403, "error code: 1010")
    assert await api.ok("GET", "regions", headers={"User-Agent": "gputui"})


# The world's faults in Lambda's words


@pytest.mark.parametrize(
    ("knob", "status", "code"),
    [
        ("server_error", 500, "global/internal-error"),
        ("bad_gateway", 502, "provider/internal-unavailable"),
        ("unavailable", 503, "provider/internal-unavailable"),
        ("unauthorized", 401, "global/invalid-api-key"),
        ("provider_unavailable", 503, "provider/internal-unavailable"),
        ("account_inactive", 403, "global/account-inactive"),
    ],
)
@in_virtual_time
async def test_a_fault_before_a_launch_takes_effect(api: LambdaApi, knob: str, status: int, code: str) -> None:
    api.world.faults.set(**{knob: {"count": 1, "operation": "launch"}})
    await api.launch_refused(status, code)
    assert await api.listed() == []
    assert await api.launch()


@in_virtual_time
async def test_a_rate_limit_by_fault_looks_like_the_edge(api: LambdaApi) -> None:
    api.world.faults.set(rate_limited={"count": 1}, retry_after_s=7)
    refused = await api.call("GET", "regions")
    assert (refused.status_code, refused.text, refused.headers["retry-after"]) == (429, "error code: 1015", "7")
    api.world.faults.set(rate_limited_silent={"count": 1}, rate_limit_body="html")
    refused = await api.call("GET", "regions")
    assert (refused.status_code, "retry-after" in refused.headers) == (429, False)
    assert refused.text.startswith("<!DOCTYPE html>")


@in_virtual_time
async def test_an_upstream_outage_may_come_with_any_status(api: LambdaApi) -> None:
    api.world.faults.set(provider_unavailable={"count": 1}, provider_error_status="400")
    assert await api.refused(400, "provider/internal-unavailable", "GET", "instances") == "Provider unavailable"


@in_virtual_time
async def test_instances_may_be_forbidden(api: LambdaApi) -> None:
    machine_id = await api.launch()
    api.world.faults.set(forbidden=True)
    for path in ("instances", f"instances/{machine_id}"):
        await api.refused(403, "global/forbidden", "GET", path)
    assert await api.ok("GET", "instance-types")
    assert await api.terminate(machine_id)


@pytest.mark.parametrize(
    ("knob", "error"),
    [("lost_reply", httpx.ReadError), ("timeout_after", httpx.ReadTimeout), ("server_error_after_commit", None)],
)
@in_virtual_time
async def test_a_launch_that_went_through_unheard(api: LambdaApi, knob: str, error: Any) -> None:
    body = await api.order(name="find-me")
    api.world.faults.set(**{knob: {"count": 1, "operation": "lambda.launch"}})
    if error is None:
        await api.refused(500, "global/internal-error", "POST", LAUNCH, json=body)
    else:
        with pytest.raises(error):
            await api.call("POST", LAUNCH, json=body)
    assert [item["name"] for item in await api.ok("GET", "instances")] == ["find-me"]


@in_virtual_time
async def test_unknown_fields_are_added_to_objects_but_no_type_is_invented(api: LambdaApi) -> None:
    names = set(await api.ok("GET", "instance-types"))
    api.world.faults.set(extra_fields=True)
    answer = (await api.call("GET", "instance-types")).json()
    assert set(answer["data"]) == names
    assert "x_internal" in answer
    assert all("x_internal" in item and "x_internal" in item["instance_type"] for item in answer["data"].values())


@in_virtual_time
async def test_unknown_states_and_a_list_that_lags(api: LambdaApi) -> None:
    api.world.faults.set(eventual_list_s=5, deleted_still_listed_s=5)
    machine_id = await api.launch()
    assert await api.listed() == []
    await asyncio.sleep(15)
    assert await api.listed() == [machine_id]
    api.world.faults.set(unknown_state=True)
    assert (await api.get(machine_id))["status"] == "hibernating"
    api.world.faults.set(unknown_state=False)
    await api.terminate(machine_id)
    await asyncio.sleep(2)
    assert [item["status"] for item in await api.ok("GET", "instances")] == ["active"]
    await asyncio.sleep(5)
    assert await api.listed() == []


@in_virtual_time
async def test_a_terminate_that_does_nothing(api: LambdaApi) -> None:
    machine_id = await api.running()
    api.world.faults.set(stuck_terminate={"count": 1})
    (shown,) = await api.terminate(machine_id)
    assert shown["status"] == "terminating"
    await asyncio.sleep(60)
    assert (await api.get(machine_id))["status"] == "active"
    await api.terminate(machine_id)
    await asyncio.sleep(1)
    assert await api.listed() == []


@in_virtual_time
async def test_capacity_lost_after_the_launch_was_accepted(api: LambdaApi) -> None:
    api.world.faults.set(no_capacity_after_accept={"count": 1})
    machine_id = await api.launch()
    await asyncio.sleep(15)
    assert (await api.get(machine_id))["status"] == "terminated"
    assert await api.listed() == []
    assert truth_of(api.world)["bill_usd"] == "0.000000"
