"""What the simulated RunPod charges, and what it says of it: bills, spend history, balance, limits."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from runpod_stage import CONTAINER_S, H100, RTX4090, RunPodApi

from gputui.sim.machine import SimMachine
from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

EIGHT_H100 = {"id": H100, "count": 8}
DISK_USD = Decimal("0.10") / 730
STOPPED_USD = Decimal("0.20") / 730


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


def machine(api: RunPodApi, pod_id: str) -> SimMachine:
    return api.world.machines[pod_id]


def bill(api: RunPodApi, pod_id: str) -> Decimal:
    return machine(api, pod_id).bill_usd(api.world.now_ms())


def seconds(api: RunPodApi, pod_id: str, until_ms: int | None = None) -> int:
    """Return the started seconds since a pod was placed."""
    (truth,) = [item for item in truth_of(api.world)["machines"] if item["id"] == pod_id]
    placed_ms = machine(api, pod_id).billing_started_ms(api.world.now_ms())
    assert truth["created_at"] < truth["billing_started_at"] < truth["running_at"]
    assert placed_ms is not None
    return -(-((until_ms or api.world.now_ms()) - placed_ms) // 1000)


# Pods


@in_virtual_time
async def test_a_pod_is_billed_by_the_second_from_where_it_is_placed(api: RunPodApi) -> None:
    pod_id = (await api.create())["id"]
    await asyncio.sleep(0.5)
    assert bill(api, pod_id) == 0
    await asyncio.sleep(3600)
    await api.ok("DELETE", f"pods/{pod_id}", 204)
    await asyncio.sleep(3600)
    (truth,) = truth_of(api.world)["machines"]
    billed_s = seconds(api, pod_id, machine(api, pod_id).billing_stop_ms)
    assert 3598 <= billed_s <= 3600
    expected = (Decimal("0.74") + 40 * DISK_USD) * billed_s / 3600
    assert Decimal(truth["bill_usd"]) == expected.quantize(Decimal("1e-6"))


@pytest.mark.parametrize("start", ["placed", "ordered", "running"])
@in_virtual_time
async def test_when_billing_starts(api: RunPodApi, start: str) -> None:
    api.world.faults.set(runpod_billing_start=start)
    pod_id = (await api.create())["id"]
    seen: list[tuple[str, bool]] = []
    while not seen or seen[-1][0] != "RUNNING":
        status = await api.status(pod_id)
        now = (status, bill(api, pod_id) > 0)
        seen += [now] if now not in seen else []
        await asyncio.sleep(0.1)
    first_charged = next((status for status, charged in seen if charged), "RUNNING")
    assert first_charged == {"placed": "STARTING", "ordered": "PROVISIONING", "running": "RUNNING"}[start]


@in_virtual_time
async def test_a_stopped_pod_pays_double_for_its_volume_and_nothing_else(api: RunPodApi) -> None:
    pod_id = await api.running(mounts={"persistent": {"size": 100, "path": "/w"}})
    before = bill(api, pod_id)
    assert before > 0
    await api.act(pod_id, "stop")
    await asyncio.sleep(7200)
    stopped = bill(api, pod_id)
    assert stopped - before == pytest.approx(100 * STOPPED_USD * 2, abs=Decimal("1e-5"))
    assert (await api.get(pod_id))["cost"] == 0.0
    await api.act(pod_id, "start")
    await asyncio.sleep(3600)
    assert bill(api, pod_id) - stopped == pytest.approx(Decimal("0.74") + 140 * DISK_USD, abs=Decimal("3e-4"))
    bare = await api.running()
    await api.act(bare, "stop")
    before = bill(api, bare)
    await asyncio.sleep(7200)
    assert bill(api, bare) - before < Decimal("3e-4"), "the started second at most"


@in_virtual_time
async def test_time_out_of_reach_or_failed_is_free(api: RunPodApi) -> None:
    api.world.faults.set(provisioning_error={"count": 1})
    never_ran = (await api.create())["id"]
    unreachable, failed = await api.running(), await api.running()
    api.world.kill(unreachable, "offline")
    api.world.kill(failed, "error")
    assert bill(api, never_ran) == 0
    before = bill(api, unreachable), bill(api, failed)
    await asyncio.sleep(7200)
    assert (bill(api, unreachable), bill(api, failed)) == before
    assert bill(api, never_ran) == 0


@in_virtual_time
async def test_a_job_that_has_ended_goes_on_costing(api: RunPodApi) -> None:
    pod_id = await api.start_job(env={"MOCK_DURATION_S": "5"})
    await asyncio.sleep(3600)
    assert bill(api, pod_id) > Decimal("0.74")


# Lack of money


@in_virtual_time
async def test_a_pod_needs_credit_for_an_hour(api: RunPodApi) -> None:
    api.world.faults.set(starting_credit_usd=20)
    text = await api.refused(402, "POST", "pods", json=api.order(gpu=EIGHT_H100))
    assert text == "Your account balance is insufficient to deploy this pod."
    await api.create()
    api.world.faults.set(runpod_needs_credit=False)
    await api.create(gpu=EIGHT_H100)


@in_virtual_time
async def test_the_limit_of_spend_per_hour(api: RunPodApi) -> None:
    api.world.faults.set(starting_credit_usd=1000)
    for _ in range(3):
        await api.create(gpu=EIGHT_H100)
    await asyncio.sleep(20)
    text = await api.refused(402, "POST", "pods", json=api.order(gpu=EIGHT_H100))
    assert text == "Renting this pod would put you over your current spending limit ($80.00/hr)."
    api.world.faults.set(runpod_spend_limit_usd=100)
    await api.create(gpu=EIGHT_H100)


@in_virtual_time
async def test_without_balance_pods_end_unless_they_have_a_network_volume(api: RunPodApi) -> None:
    api.world.faults.set(starting_credit_usd=50)
    wanted = {"name": "data", "size": 10, "dataCenter": "US-CA-2"}
    volume = await api.ok("POST", "network-volumes", 201, json=wanted)
    mounts = {"network": [{"volumeId": volume["id"], "path": "/w"}]}
    kept = (await api.create(gpu=EIGHT_H100, mounts=mounts))["id"]
    lost = (await api.create(gpu=EIGHT_H100, mounts={"persistent": {"size": 10, "path": "/w"}}))["id"]
    await asyncio.sleep(3600)
    assert sorted(await api.listed()) == sorted([kept, lost])
    await asyncio.sleep(600)
    assert await api.listed() == [kept]
    assert await api.status(kept) == "EXITED"
    owed = bill(api, kept) + bill(api, lost)
    assert Decimal(50) <= owed < Decimal(50) + Decimal("47.84") / 12 + Decimal("0.1"), (
        "at the five minutes where it was gone"
    )
    await asyncio.sleep(7200)
    assert bill(api, kept) + bill(api, lost) == owed
    myself = (await api.graphql("query { myself { clientBalance underBalance } }")).json()["data"]["myself"]
    assert myself["underBalance"]
    assert myself["clientBalance"] <= 0


# Balance


@in_virtual_time
async def test_balance_and_present_spend_by_graphql(api: RunPodApi) -> None:
    keys = {"keys": ["ssh-ed25519 AAAA a@b", "ssh-rsa BBBB"]}
    await api.ok("PUT", "account/ssh-keys", json=keys)
    await api.ok("POST", "network-volumes", 201, json={"name": "d", "size": 100, "dataCenter": "EU-RO-1"})
    await api.running()
    stopped = await api.running(mounts={"persistent": {"size": 100, "path": "/w"}})
    await api.act(stopped, "stop")
    query = "query { myself { id email clientBalance currentSpendPerHr spendLimit underBalance pubKey } }"
    response = await api.graphql(query)
    myself = response.json()["data"]["myself"]
    assert myself["id"].startswith("user_")
    assert (myself["email"], myself["spendLimit"], myself["underBalance"]) == ("sim@example.com", 80, False)
    assert myself["pubKey"] == "ssh-ed25519 AAAA a@b\n\nssh-rsa BBBB"
    rate = Decimal("0.74") + 40 * DISK_USD + 100 * STOPPED_USD + 100 * Decimal("0.07") / 730
    assert myself["currentSpendPerHr"] == pytest.approx(float(rate), abs=1e-6)
    first = Decimal(str(myself["clientBalance"]))
    assert first < 100, "the first hour of the volume"
    await asyncio.sleep(250)
    assert Decimal(str((await api.graphql(query)).json()["data"]["myself"]["clientBalance"])) == first
    await asyncio.sleep(100)
    assert Decimal(str((await api.graphql(query)).json()["data"]["myself"]["clientBalance"])) < first


@pytest.mark.parametrize(
    "query", ["{myself{id}}", "query Who { myself { id, } }", "query Who{\n  myself {\n    id\n  }\n}\n"]
)
@in_virtual_time
async def test_ways_to_ask_graphql(api: RunPodApi, query: str) -> None:
    answer = (await api.graphql(query)).json()
    assert list(answer["data"]["myself"]) == ["id"]


@in_virtual_time
async def test_what_graphql_refuses(api: RunPodApi) -> None:
    for query in ("mutation { podStop }", "query { gpuTypes { id } }", "{ myself { id { x } } }", "{ myself { } }", ""):
        response = await api.graphql(query)
        assert (response.status_code, response.json()["data"]) == (400, None)
        assert response.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "phone" in (await api.graphql("{ myself { phone } }")).json()["errors"][0]["message"]
    anonymous = await api.graphql("{ myself { id } }", headers={"Authorization": ""})
    assert (anonymous.status_code, anonymous.json()) == (200, {"data": {"myself": None}})
    assert (await api.graphql("{ myself { id } }", headers={"Authorization": "Bearer fake-key"})).status_code == 401
    by_query = await api.graphql("{ myself { id } }", headers={"Authorization": ""}, params={"api_key": "sim-a"})
    assert by_query.json()["data"]["myself"]["id"]
    assert (await api.graphql("{ myself { id } }", headers={"User-Agent": ""})).text == "error code: 1010"
    for settings, status in (
        ({"runpod_key_scope": "no_graphql"}, 403),
        ({"runpod_graphql": "410"}, 410),
        ({"runpod_graphql": "404"}, 404),
    ):
        api.world.faults.set(**settings)
        assert (await api.graphql("{ myself { id } }")).status_code == status
        assert await api.listed() == []


# Spend history


@in_virtual_time
async def test_the_history_of_pods_adds_up_to_their_bills(api: RunPodApi) -> None:
    api.world.faults.set(runpod_billing_lag_s=0)
    first = await api.running(mounts={"persistent": {"size": 100, "path": "/w"}})
    await asyncio.sleep(20 * 3600)
    await api.act(first, "stop")
    second = (await api.create(gpu={"id": RTX4090, "count": 2}))["id"]
    await asyncio.sleep(3 * 3600)
    await api.ok("DELETE", f"pods/{second}", 204)
    await asyncio.sleep(30 * 3600)
    for size in ("hour", "day", "week", "month", "year"):
        answer = await api.ok("GET", "billing/pods", params={"bucketSize": size, "startTime": "2026-01-05T00:00:00Z"})
        assert answer["metadata"]["uniquePodCount"] == 2
        assert answer["metadata"]["recordCount"] == len(answer["records"])
        for pod_id in (first, second):
            of_pod = [item for item in answer["records"] if item["podId"] == pod_id]
            total = sum(Decimal(str(item["totalAmount"])) for item in of_pod)
            assert total == pytest.approx(bill(api, pod_id), abs=Decimal("1e-6"))
            only = await api.ok(
                "GET",
                "billing/pods",
                params={"bucketSize": size, "podId": pod_id, "lastN": 200 if size == "hour" else 3},
            )
            assert [item["totalAmount"] for item in only["records"]] == [item["totalAmount"] for item in of_pod]
            assert only["metadata"]["query"]["podId"] == pod_id


@in_virtual_time
async def test_records_by_day(api: RunPodApi) -> None:
    api.world.faults.set(runpod_billing_lag_s=0)
    pod_id = await api.running(disk=73)
    await asyncio.sleep(24 * 3600)
    answer = await api.ok(
        "GET", "billing/pods", params={"startTime": "2026-01-05T13:00:00Z", "endTime": "2026-01-06T00:00:00Z"}
    )
    (record,) = answer["records"]
    assert (record["startTime"], record["endTime"]) == ("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z")
    assert set(record) == {"startTime", "endTime", "podId", "totalAmount", "gpuAmount", "cpuAmount", "diskAmount"}
    hours = 15
    assert record["gpuAmount"] == pytest.approx(0.74 * hours, abs=0.01)
    assert record["diskAmount"] == pytest.approx(0.01 * hours, abs=0.001)
    assert record["totalAmount"] == pytest.approx(record["gpuAmount"] + record["diskAmount"], abs=1e-8)
    assert answer["metadata"] == {
        "query": {"startTime": "2026-01-05T00:00:00Z", "endTime": "2026-01-06T00:00:00Z", "bucketSize": "day"},
        "recordCount": 1,
        "uniquePodCount": 1,
        "totals": {name: record[name] for name in ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")},
    }
    usual = (await api.ok("GET", "billing/pods"))["metadata"]["query"]
    assert (usual["startTime"], usual["endTime"]) == ("2025-12-07T00:00:00Z", "2026-01-07T00:00:00Z")
    last = (await api.ok("GET", "billing/pods", params={"lastN": 2, "bucketSize": "week"}))["metadata"]["query"]
    assert (last["startTime"], last["endTime"]) == ("2025-12-29T00:00:00Z", "2026-01-12T00:00:00Z")
    months = (await api.ok("GET", "billing/pods", params={"lastN": 2, "bucketSize": "month"}))["metadata"]["query"]
    assert (months["startTime"], months["endTime"]) == ("2025-12-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert (await api.ok("GET", "billing/pods", params={"podId": "nobody"}))["records"] == []
    assert pod_id == record["podId"]


@in_virtual_time
async def test_the_history_is_behind(api: RunPodApi) -> None:
    await api.running()
    await asyncio.sleep(3000)
    assert (await api.ok("GET", "billing/pods"))["records"] == []
    await asyncio.sleep(3600)
    (record,) = (await api.ok("GET", "billing/pods"))["records"]
    assert record["totalAmount"] == pytest.approx(0.74 * 3000 / 3600, abs=0.02)


@in_virtual_time
async def test_wrong_questions_about_the_past(api: RunPodApi) -> None:
    for params in ({"bucketSize": "decade"}, {"startTime": "yesterday"}, {"endTime": "2026-01-05"}, {"lastN": "0"}):
        for path in ("billing", "billing/pods", "billing/network-volumes"):
            await api.refused(422, "GET", path, params=params)
    both = {"lastN": "3", "startTime": "2026-01-01T00:00:00Z"}
    assert "mutually exclusive" in await api.refused(400, "GET", "billing/pods", params=both)
    api.world.faults.set(runpod_last_n_status="422")
    await api.refused(422, "GET", "billing/pods", params=both)


# Network volumes


async def volume(api: RunPodApi, size: int, center: str = "EU-RO-1", **more: Any) -> str:
    wanted = {"name": "data", "size": size, "dataCenter": center, **more}
    return str((await api.ok("POST", "network-volumes", 201, json=wanted))["id"])


async def stored_usd(api: RunPodApi) -> tuple[float, float]:
    totals = (await api.ok("GET", "billing/network-volumes", params={"lastN": "3"}))["metadata"]["totals"]
    return totals["standardAmount"], totals["highPerformanceAmount"]


@in_virtual_time
async def test_network_volumes_cost_by_the_started_hour_until_they_are_deleted(api: RunPodApi) -> None:
    api.world.faults.set(runpod_billing_lag_s=0)
    small, large = await volume(api, 730), await volume(api, 2000)
    fast = await volume(api, 730, type="HIGH_PERFORMANCE")
    await asyncio.sleep(60)
    large_usd = (1000 * 0.07 + 1000 * 0.05) / 730
    assert await stored_usd(api) == pytest.approx((0.07 + large_usd, 0.14))
    await asyncio.sleep(3600)
    assert await stored_usd(api) == pytest.approx((2 * (0.07 + large_usd), 0.28))
    await api.ok("PATCH", f"network-volumes/{small}", json={"size": 1000})
    await api.ok("DELETE", f"network-volumes/{large}", 204)
    await api.ok("DELETE", f"network-volumes/{fast}", 204)
    assert await stored_usd(api) == pytest.approx((2 * (0.07 + large_usd), 0.28))
    await asyncio.sleep(3600)
    grown_usd = 1000 * 0.07 / 730
    assert await stored_usd(api) == pytest.approx((2 * (0.07 + large_usd) + grown_usd, 0.28))
    answer = await api.ok("GET", "billing/network-volumes", params={"networkVolumeId": fast, "lastN": 1})
    assert answer["metadata"]["uniqueNetworkVolumeCount"] == 1
    assert answer["metadata"]["query"]["networkVolumeId"] == fast
    whole = await api.ok("GET", "billing", params={"lastN": 1})
    assert whole["metadata"]["totals"]["storageStandardAmount"] == pytest.approx((await stored_usd(api))[0])
    assert whole["metadata"]["totals"]["storageHighPerformanceAmount"] == pytest.approx(0.28)


@in_virtual_time
async def test_network_volumes_may_be_billed_by_the_second(api: RunPodApi) -> None:
    api.world.faults.set(runpod_billing_lag_s=0, runpod_volumes_billed_by="second")
    volume_id = await volume(api, 730)
    await asyncio.sleep(1800)
    assert (await stored_usd(api))[0] == pytest.approx(0.035)
    await api.ok("PATCH", f"network-volumes/{volume_id}", json={"size": 1460})
    await asyncio.sleep(1800)
    assert (await stored_usd(api))[0] == pytest.approx(0.035 + (70 + 23) / 730 / 2)


@in_virtual_time
async def test_the_whole_account(api: RunPodApi) -> None:
    api.world.faults.set(runpod_billing_lag_s=0)
    pods = [await api.running(), await api.running()]
    await volume(api, 100)
    await asyncio.sleep(2 * 86_400 + CONTAINER_S)
    answer = await api.ok("GET", "billing")
    assert len(answer["records"]) == 3
    totals = answer["metadata"]["totals"]
    owed = sum((bill(api, pod_id) for pod_id in pods), Decimal(0))
    assert totals["podGpuAmount"] + totals["podDiskAmount"] == pytest.approx(float(owed), abs=1e-6)
    assert totals["totalAmount"] == pytest.approx(float(owed) + totals["storageStandardAmount"], abs=1e-6)
    assert totals["serverlessFeeAmount"] == totals["podCpuAmount"] == 0.0
