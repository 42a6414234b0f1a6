"""Keys, permissions, rate limits and faults of the simulated Vast.ai."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from vastai_stage import VastApi

from gputui.sim.vtime import in_virtual_time

V1 = "v1/instances/"


@pytest.fixture
def api() -> VastApi:
    return VastApi()


@in_virtual_time
async def test_a_key_in_the_header_or_in_the_query(api: VastApi) -> None:
    who = (await api.ok("GET", "users/current"))["id"]
    assert (await api.other("").ok("GET", "users/current/", params={"api_key": "sim-a"}))["id"] == who
    assert (await api.other("sim-b").ok("GET", "users/current"))["id"] != who


@pytest.mark.parametrize("path", ["users/current/", "instances/1/", V1, "ssh/", "charges/"])
@in_virtual_time
async def test_a_key_of_nobody_is_a_404_that_says_auth_error(api: VastApi, path: str) -> None:
    body = await api.other("wrong").refused(404, "auth_error", "GET", path)
    assert body["msg"] == "Invalid user key"
    api.world.faults.set(bad_key_status="401")
    await api.other("wrong").refused(401, "auth_error", "GET", path)
    body = await api.other("").refused(403, "auth_error", "GET", path)
    assert body["msg"] == "This action requires login."


@in_virtual_time
async def test_volumes_without_a_key_speak_otherwise(api: VastApi) -> None:
    response = await api.other("").call("GET", "volumes")
    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided."}


@in_virtual_time
async def test_both_forms_of_a_path_and_those_that_are_none(api: VastApi) -> None:
    for path in ("users/current", "users/current/"):
        assert (await api.ok("GET", path))["balance"] == 0
    assert (await api.call("GET", "nothing/here/")).status_code == 404
    assert (await api.call("PATCH", "users/current")).status_code == 404


@in_virtual_time
async def test_api_keys_with_permissions(api: VastApi) -> None:
    rights = {"api": {"instance_read": {}, "misc": {}}}
    made = await api.ok("POST", "auth/apikeys/", json={"name": "ci", "permissions": rights})
    assert re.fullmatch("[0-9a-f]{64}", made["key"])
    scoped = api.other(made["key"])
    assert (await scoped.listed())["instances"] == []
    assert await scoped.offers()
    await scoped.refused(403, "not_authorized", "GET", "users/current/")
    api.world.faults.set(forbidden_status="401")
    await scoped.refused(401, "not_authorized", "PUT", f"asks/{(await api.offer())['id']}/", json=api.order())
    listed = (await api.ok("GET", "auth/apikeys/"))["apikeys"]
    assert {item["id"]: item["rights"] for item in listed}[made["id"]] == rights
    assert made["key"] not in str(listed)
    assert await api.ok("DELETE", f"auth/apikeys/{made['id']}/") == "Successfully Deleted API Key"
    await scoped.refused(404, "auth_error", "GET", V1)


@in_virtual_time
async def test_an_instances_own_key_is_good_for_itself_alone(api: VastApi) -> None:
    other_id = await api.create()
    made = await api.ok("PUT", f"asks/{(await api.offer())['id']}/", json=api.order())
    inside, own_id = api.other(made["instance_api_key"]), made["new_contract"]
    assert (await inside.get(own_id))["id"] == own_id
    for path in (f"instances/{other_id}/", V1, "users/current/"):
        await inside.refused(403, "not_authorized", "GET", path)
    await inside.refused(403, "not_authorized", "DELETE", f"instances/{other_id}/")
    await inside.destroy(own_id)
    assert await api.get(own_id) is None
    assert await api.get(other_id) is not None


# Rate limits


@in_virtual_time
async def test_calls_to_one_endpoint_need_an_interval() -> None:
    api = VastApi(limited=True)
    contract_id = await api.create()
    response = await api.call("PUT", f"asks/{(await api.offer())['id']}/", json=api.order())
    assert (response.status_code, response.text) == (429, "API requests too frequent")
    assert "retry-after" not in response.headers
    assert len(api.world.machines) == 1
    await api.get(contract_id)
    await asyncio.sleep(1.9)
    assert (await api.call("GET", f"instances/{contract_id}/")).status_code == 429
    await asyncio.sleep(0.1)
    await api.get(contract_id)
    await api.listed()
    await api.other("sim-b").listed()
    await asyncio.sleep(2.5)
    await api.create()


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("threshold", "API requests too frequent: endpoint threshold=1.0"),
        ("detail", {"detail": "API requests too frequent endpoint threshold=1.0"}),
        ("retry_after", {"detail": "API requests too frequent endpoint threshold=1.0", "retry_after": 1.0}),
    ],
)
@in_virtual_time
async def test_a_429_has_many_forms(form: str, body: Any) -> None:
    api = VastApi(limited=True)
    api.world.faults.set(too_frequent_body=form, too_frequent_header=True)
    await api.listed()
    response = await api.call("GET", V1)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert (response.json() if isinstance(body, dict) else response.text) == body


@in_virtual_time
async def test_a_429_of_a_destroy_is_json() -> None:
    api = VastApi(limited=True)
    first = await api.create()
    await asyncio.sleep(5)
    second = await api.create()
    await api.destroy(first)
    body = await api.refused(429, "rate_limit_exceeded", "DELETE", f"instances/{second}/")
    assert body["msg"] == "API requests too frequent endpoint threshold=3.0"
    assert await api.get(second) is not None


@in_virtual_time
async def test_searches_come_in_bursts_and_have_a_daily_quota() -> None:
    api = VastApi(limited=True)
    statuses = [(await api.call("POST", "bundles/", json={"limit": 1})).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    await asyncio.sleep(0.3)
    await api.offers(limit=1)
    await asyncio.sleep(10)
    api.world.faults.set(search_quota=8)
    for _ in range(2):
        await api.offers(limit=1)
    await asyncio.sleep(10)
    response = await api.call("POST", "bundles/", json={})
    assert (response.status_code, response.json()["error"]) == (429, "search_quota_exceeded")
    reset_s = int(response.headers["x-ratelimit-reset"])
    assert reset_s % 86_400 == 0
    await asyncio.sleep(reset_s - api.world.now_ms() / 1000)
    await api.offers(limit=1)


# What goes wrong on the way


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("rate_limited", 429),
        ("rate_limited_silent", 429),
        ("server_error", 500),
        ("bad_gateway", 502),
        ("unavailable", 503),
    ],
)
@in_virtual_time
async def test_refusals_before_anything_happened(api: VastApi, fault: str, status: int) -> None:
    offer_id = (await api.offer())["id"]
    api.world.faults.set(**{fault: {"operation": "vastai.create_instance", "count": 1}})
    response = await api.call("PUT", f"asks/{offer_id}/", json=api.order())
    assert response.status_code == status
    assert ("html" in response.headers["content-type"]) == (status in (502, 503))
    assert api.world.machines == {}
    await api.create(offer_id)


@in_virtual_time
async def test_a_good_key_refused_looks_like_a_bad_one(api: VastApi) -> None:
    api.world.faults.set(unauthorized={"count": 1})
    await api.refused(404, "auth_error", "GET", V1)
    await api.listed()


@in_virtual_time
async def test_a_lost_reply_leaves_an_instance_that_is_found_by_its_label(api: VastApi) -> None:
    offer_id = (await api.offer())["id"]
    api.world.faults.set(lost_reply={"operation": "create_instance", "count": 1})
    with pytest.raises(httpx.ReadError):
        await api.create(offer_id, label="job-7f3a")
    (shown,) = (await api.listed(select_filters={"label": {"eq": "job-7f3a"}}))["instances"]
    assert list(api.world.machines) == [str(shown["id"])]
    await api.refused(404, "invalid_args", "PUT", f"asks/{offer_id}/", json=api.order())


@in_virtual_time
async def test_strange_fields_and_states(api: VastApi) -> None:
    contract_id = await api.running(env={"-p 8000:8000": "1"})
    api.world.faults.set(extra_fields=1)
    shown = await api.get(contract_id)
    assert shown["x_internal"]
    assert set(shown["ports"]) == {"22/tcp", "8000/tcp"}
    assert set((await api.listed())["label_counts"]) == {"box-1"}
    api.world.faults.set(unknown_state={"count": 1})
    assert (await api.get(contract_id))["actual_status"] == "hibernating"
    assert (await api.get(contract_id))["actual_status"] == "running"
