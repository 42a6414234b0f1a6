"""The simulated Huddle API on the wire: idempotency, everything that goes wrong, the truth and the knobs."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from gputui.sim.vtime import in_virtual_time

# Idempotency


@in_virtual_time
async def test_a_lost_reply_and_a_resend_make_one_machine(api: Any) -> None:
    body, headers = await api.order(), {"Idempotency-Key": "k1"}
    api.world.faults.set(lost_reply={"operation": "deploy", "count": 1})
    with pytest.raises(httpx.ReadError):
        await api.call("POST", "deployments/clusters", json=body, headers=headers)
    assert len(api.world.machines) == 1
    await asyncio.sleep(60)
    again = await api.ok("POST", "deployments/clusters", json=body, headers=headers)
    assert list(api.world.machines) == [again["id"]]
    assert again["status"] == "ordered"  # the stored answer, not today's


@pytest.mark.parametrize("fault", ["server_error_after_commit", "timeout_after", "truncated_json", "html_ok"])
@in_virtual_time
async def test_no_answer_that_hides_a_success_makes_a_second_machine(api: Any, fault: str) -> None:
    body, headers = await api.order(), {"Idempotency-Key": "k1"}
    api.world.faults.set(**{fault: {"operation": "deploy", "count": 1}})
    try:
        spoilt = await api.call("POST", "deployments/clusters", json=body, headers=headers)
        assert spoilt.status_code == 500 or "json" not in spoilt.headers["content-type"] or not is_json(spoilt)
    except httpx.ReadTimeout:
        assert fault == "timeout_after"
    assert len(api.world.machines) == 1
    again = await api.ok("POST", "deployments/clusters", json=body, headers=headers)
    assert list(api.world.machines) == [again["id"]]


@in_virtual_time
async def test_without_a_key_or_with_another_a_resend_makes_another_machine(api: Any) -> None:
    body = await api.order()
    for headers in ({}, {}, {"Idempotency-Key": "k1"}, {"Idempotency-Key": "k2"}):
        await api.ok("POST", "deployments/clusters", json=body, headers=headers)
    assert len(api.world.machines) == 4


@in_virtual_time
async def test_a_key_with_another_body_or_in_another_account(api: Any) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.ok("POST", "deployments/clusters", json=await api.order(), headers=headers)
    changed = await api.order(hostname="box-2")
    await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=changed, headers=headers)
    other = api.other("sim-b")
    await other.ok("POST", "deployments/clusters", json=await other.order(), headers=headers)
    assert len(api.world.machines) == 2


@in_virtual_time
async def test_a_key_still_in_flight_is_refused_and_later_answered(api: Any) -> None:
    body, headers = await api.order(), {"Idempotency-Key": "k1"}
    api.world.faults.set(deploy_s=45)
    with pytest.raises(httpx.ReadTimeout):
        await api.call("POST", "deployments/clusters", json=body, headers=headers)
    said = await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=body, headers=headers)
    assert "still being processed" in said
    await asyncio.sleep(20)
    made = await api.ok("POST", "deployments/clusters", json=body, headers=headers)
    assert list(api.world.machines) == [made["id"]]


@in_virtual_time
async def test_refusals_are_replayed_but_no_capacity_is_not(api: Any) -> None:
    nonsense, headers = await api.order(location="MOON-01"), {"Idempotency-Key": "k1"}
    for _ in range(2):
        await api.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", json=nonsense, headers=headers)
    body, headers = await api.order(), {"Idempotency-Key": "k2"}
    api.world.faults.set(no_capacity={"count": 1})
    await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=body, headers=headers)
    await api.ok("POST", "deployments/clusters", json=body, headers=headers)
    assert len(api.world.machines) == 1


@in_virtual_time
async def test_a_stored_answer_is_forgotten_after_a_day(api: Any) -> None:
    body, headers = await api.order(), {"Idempotency-Key": "k1"}
    for pause_s in (86_399, 1, 1):
        await api.ok("POST", "deployments/clusters", json=body, headers=headers)
        await asyncio.sleep(pause_s)
    assert len(api.world.machines) == 2


@in_virtual_time
async def test_a_deletion_sent_again_with_its_key_succeeds_again(api: Any) -> None:
    machine_id = await api.running()
    for _ in range(2):
        gone = await api.ok("DELETE", f"deployments/{machine_id}", headers={"Idempotency-Key": "d1"})
        assert gone["status"] == "deleted"
        await asyncio.sleep(60)
    await api.refused(404, "NOT_FOUND", "DELETE", f"deployments/{machine_id}", headers={"Idempotency-Key": "d2"})


# Faults on the wire


def is_json(response: httpx.Response) -> bool:
    try:
        response.json()
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("rate_limited", 429, "RATE_LIMITED"),
        ("rate_limited_silent", 429, "RATE_LIMITED"),
        ("server_error", 500, "INTERNAL"),
        ("bad_gateway", 502, "BAD_GATEWAY"),
        ("unavailable", 503, "UNAVAILABLE"),
        ("unauthorized", 401, "UNAUTHORIZED"),
    ],
)
@in_virtual_time
async def test_refusals_before_anything_happened(api: Any, fault: str, status: int, code: str) -> None:
    body = await api.order()
    api.world.faults.set(**{fault: {"operation": "huddle.deploy", "count": 3}, "retry_after_s": 7})
    for _ in range(3):
        response = await api.call("POST", "deployments/clusters", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.headers.get("retry-after") == ("7" if fault == "rate_limited" else None)
    assert api.world.machines == {}
    await api.deploy()


@pytest.mark.parametrize(
    ("fault", "error", "waited_s"),
    [
        ("connect_error", httpx.ConnectError, 0),
        ("cut_before", httpx.ReadError, 0),
        ("timeout_before", httpx.ReadTimeout, 30),
    ],
)
@in_virtual_time
async def test_connections_that_break_before_anything_happened(
    api: Any, fault: str, error: type[Exception], waited_s: int
) -> None:
    body = await api.order()
    api.world.faults.set(**{fault: {"operation": "deploy", "count": 1}})
    before_ms = api.world.now_ms()
    with pytest.raises(error):
        await api.call("POST", "deployments/clusters", json=body)
    assert api.world.now_ms() - before_ms == waited_s * 1000
    assert api.world.machines == {}


@in_virtual_time
async def test_a_silent_connection_is_cut_in_the_end(api: Any) -> None:
    api.world.faults.set(timeout_before={"count": 1}, hang_s=300)
    before_ms = api.world.now_ms()
    with pytest.raises(httpx.ReadError):
        await api.call("GET", "regions", timeout=None)
    assert api.world.now_ms() - before_ms == 300_000


@in_virtual_time
async def test_slow_answers_come_after_their_time_or_too_late(api: Any) -> None:
    api.world.faults.set(slow={"operation": "list_deployments"}, slow_s=10, latency_s=0.5)
    before_ms = api.world.now_ms()
    await api.ok("GET", "deployments")
    await api.ok("GET", "regions")
    assert api.world.now_ms() - before_ms == 11_000
    with pytest.raises(httpx.ReadTimeout):
        await api.call("GET", "deployments", timeout=5)


@in_virtual_time
async def test_pages_of_proxies(api: Any) -> None:
    api.world.faults.set(html_error={"operation": "list_regions", "count": 1})
    page = await api.call("GET", "regions")
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    api.world.faults.set(html_ok={"count": 1})
    page = await api.call("GET", "regions")
    assert page.status_code == 200
    assert page.text.startswith("<!DOCTYPE html>")


@in_virtual_time
async def test_truncated_json_and_fields_nobody_knows(api: Any) -> None:
    whole = (await api.call("GET", "regions")).content
    api.world.faults.set(truncated_json={"count": 1})
    assert (await api.call("GET", "regions")).content == whole[: len(whole) // 2]
    api.world.faults.set(extra_fields={"count": 1})
    strange = (await api.call("GET", "regions")).json()
    assert {"code", "data"} < set(strange)
    assert all({"code", "name", "country_code"} < set(item) for item in strange["data"])


@in_virtual_time
async def test_a_status_nobody_knows(api: Any) -> None:
    machine_id = await api.running()
    api.world.faults.set(unknown_state={"operation": "get_deployment", "count": 1})
    assert [await api.status(machine_id) for _ in range(2)] == ["hibernating", "running"]


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"no_capacity_after_accept": 1}, "failed_no_capacity"),
        ({"provisioning_error": 1}, "error"),
        ({"slow_provisioning": 1}, "provisioning"),
        ({"dies": 1, "dies_after_s": 10}, "offline"),
        ({"dies": 1, "dies_after_s": 10, "dies_as": "error"}, "error"),
    ],
)
@in_virtual_time
async def test_lives_that_go_wrong_in_huddles_words(api: Any, settings: dict[str, Any], status: str) -> None:
    api.world.faults.set(**settings)
    machine_id = (await api.deploy())["id"]
    await asyncio.sleep(60)
    assert await api.status(machine_id) == status
    assert [item["status"] for item in (await api.ok("GET", "deployments"))["data"]] == [status]


@in_virtual_time
async def test_a_machine_that_vanishes_is_nowhere(api: Any) -> None:
    machine_id = await api.running()
    api.world.kill(machine_id, "vanish")
    for method in ("GET", "DELETE"):
        await api.refused(404, "NOT_FOUND", method, f"deployments/{machine_id}")
    for params in ({}, {"status": "deleted"}):
        assert (await api.ok("GET", "deployments", params=params))["data"] == []


@in_virtual_time
async def test_eventual_consistency(api: Any) -> None:
    api.world.faults.set(eventual_get_s=2, eventual_list_s=3, deleted_still_listed_s=10)
    machine_id = (await api.deploy())["id"]
    await api.refused(404, "NOT_FOUND", "GET", f"deployments/{machine_id}")
    await asyncio.sleep(2)
    assert await api.status(machine_id) == "provisioning"
    assert (await api.ok("GET", "deployments"))["data"] == []
    await asyncio.sleep(20)
    await api.ok("DELETE", f"deployments/{machine_id}")
    await asyncio.sleep(5)
    assert await api.status(machine_id) == "deleted"
    assert [item["status"] for item in (await api.ok("GET", "deployments"))["data"]] == ["running"]
    await asyncio.sleep(6)
    assert (await api.ok("GET", "deployments"))["data"] == []


@in_virtual_time
async def test_a_stuck_deletion_is_answered_as_if_it_worked(api: Any) -> None:
    machine_id = await api.running()
    api.world.faults.set(stuck_terminate={"count": 1})
    assert (await api.ok("DELETE", f"deployments/{machine_id}"))["status"] == "deleted"
    await asyncio.sleep(3600)
    assert await api.status(machine_id) == "running"
    await api.ok("DELETE", f"deployments/{machine_id}")
    await asyncio.sleep(1)
    assert await api.status(machine_id) == "deleted"


@in_virtual_time
async def test_a_machines_own_price_may_differ_from_the_offer(api: Any) -> None:
    api.world.faults.set(price_surprise=1, price_surprise_factor=2)
    assert (await api.deploy())["specs"]["price_per_hr"] == 4.58


@in_virtual_time
async def test_offers_may_shift_between_pages(api: Any) -> None:
    steady = [item["id"] for item in (await api.ok("GET", "gpus/available", params={"limit": 100}))["data"]]
    api.world.faults.set(offers_shift=1)
    shifted = [item["id"] for item in (await api.ok("GET", "gpus/available", params={"limit": 100}))["data"]]
    assert shifted != steady
    assert set(shifted) == set(steady)


@in_virtual_time
async def test_an_idempotency_key_may_seem_in_flight(api: Any) -> None:
    api.world.faults.set(idempotency_in_flight={"operation": "deploy", "count": 1})
    body, headers = await api.order(), {"Idempotency-Key": "k"}
    await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=body, headers=headers)
    await api.ok("POST", "deployments/clusters", json=body, headers=headers)


# The truth and the knobs over HTTP


@in_virtual_time
async def test_truth_counts_requests_and_needs_no_key(api: Any) -> None:
    machine_id = (await api.deploy())["id"]
    truth = (await api.call("GET", "http://sim/_sim/truth", headers={"X-API-Key": ""})).json()
    assert truth["requests"] == 2
    assert [(item["id"], item["label"], item["alive"]) for item in truth["machines"]] == [(machine_id, "box-1", True)]
    assert truth["bill_usd"] == "0.000000"


@in_virtual_time
async def test_faults_are_set_read_and_reset(api: Any) -> None:
    url = "http://sim/_sim/faults"
    set_to = await api.call("POST", url, json={"server_error": {"count": 1}, "flat_lists": True})
    assert set_to.status_code == 200
    assert (await api.call("GET", url)).json()["flat_lists"]["value"] is True
    assert (await api.call("GET", "regions")).status_code == 500
    unknown = await api.call("POST", url, json={"gremlins": 1})
    assert unknown.status_code == 400
    assert {"flat_lists", "lost_reply", "offers_shift"} <= set(unknown.json()["knobs"])
    for wrong in (b"", b"[]", b'{"flat_lists": 3}'):
        assert (await api.call("POST", url, content=wrong)).status_code == 400
    assert (await api.call("DELETE", url)).json()["flat_lists"]["value"] is False
    assert (await api.call("GET", "http://sim/_sim/other")).status_code == 404
