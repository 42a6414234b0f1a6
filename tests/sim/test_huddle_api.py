"""The simulated Huddle API on the wire: shapes, errors, order of checks, lists, lives and money."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from gputui.sim.vtime import in_virtual_time

H100 = "1H100.80S.30V"
SOLD_OUT = "8H200.141S.176V"
DEPLOYMENT_FIELDS = {
    "id", "provider_id", "resource_type", "hostname", "cluster_type", "image", "os_name", "location", "status",
    "ip", "ssh_user", "ssh_key_ids", "specs", "created_at", "updated_at",
}  # fmt: skip


# Authentication, envelope, routes


@in_virtual_time
async def test_either_header_is_accepted(api: Any) -> None:
    api.http.headers.pop("x-api-key")
    assert await api.ok("GET", "regions", headers={"X-API-Key": "sim-a"})
    assert await api.ok("GET", "regions", headers={"Authorization": "Bearer sim-a"})
    assert await api.ok("GET", "regions", headers={"X-API-Key": "sim-a", "Authorization": "Bearer sim-a"})


@in_virtual_time
async def test_missing_and_foreign_keys_are_refused(api: Any) -> None:
    api.http.headers.pop("x-api-key")
    for headers in ({}, {"X-API-Key": "mk_abc"}, {"Authorization": "Bearer hk_abc"}, {"Authorization": "Basic sim-a"}):
        await api.refused(401, "UNAUTHORIZED", "GET", "billing/balance", headers=headers)


@in_virtual_time
async def test_every_answer_has_its_own_request_id(api: Any) -> None:
    ids = [
        (await api.call(method, path)).headers["x-request-id"]
        for method, path in [("GET", "regions"), ("GET", "regions"), ("GET", "nowhere"), ("POST", "webhooks")]
    ]
    assert len(set(ids)) == 4


@in_virtual_time
async def test_unknown_routes_and_methods_are_not_found(api: Any) -> None:
    await api.refused(404, "NOT_FOUND", "GET", "nothing/here")
    await api.refused(404, "NOT_FOUND", "PATCH", "deployments")
    await api.refused(404, "NOT_FOUND", "GET", "deployments/clusters")
    assert (await api.call("GET", "http://sim/elsewhere")).status_code == 404


@in_virtual_time
async def test_every_simulated_key_is_an_account_of_its_own(api: Any) -> None:
    machine_id = await api.running()
    other = api.other("sim-b")
    assert (await other.ok("GET", "deployments"))["data"] == []
    for method in ("GET", "DELETE"):
        await other.refused(404, "NOT_FOUND", method, f"deployments/{machine_id}")
    assert await other.ok("GET", "ssh-keys") == []
    body = await api.order()
    assert "unknown ssh key" in await other.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", json=body)


# The market


@in_virtual_time
async def test_offers_come_six_to_a_page_cheapest_first(api: Any) -> None:
    first = await api.ok("GET", "gpus/available")
    assert len(first["data"]) == 6
    prices = [offer["price_per_hr"] for offer in first["data"]]
    assert prices == sorted(prices)
    total = first["meta"]["total"]
    seen = []
    for page in itertools.count(1):
        items = (await api.ok("GET", "gpus/available", params={"page": page}))["data"]
        if not items:
            break
        seen += [offer["instance_type"] for offer in items]
    assert len(seen) == len(set(seen)) == total
    assert SOLD_OUT not in seen


@in_virtual_time
async def test_an_offer_has_every_documented_field(api: Any) -> None:
    found = await api.ok("GET", "gpus/available", params={"gpu_model": "h100", "max_price": 2.29, "min_vram": 80})
    (offer,) = found["data"]
    assert offer == {
        "id": offer["id"],
        "instance_type": H100,
        "gpu_model": "H100",
        "gpu_count": 1,
        "gpu_vram_gb": 80,
        "total_vram_gb": 80,
        "vcpu_count": 30,
        "ram_gb": 120,
        "storage_gb": 0,
        "price_per_hr": 2.29,
        "price_per_sec": 0.000636,
        "spot_price_per_hr": 0.92,
        "spot_price_per_sec": 0.000256,
        "currency": "USD",
        "is_available": True,
        "regions": [
            {"code": "FIN-01", "name": "Finland 1", "country_code": "FI"},
            {"code": "FIN-03", "name": "Finland 3", "country_code": "FI"},
        ],
    }


@in_virtual_time
async def test_offers_filter_and_sort(api: Any) -> None:
    everything = await api.ok("GET", "gpus/available", params={"available_only": "false", "limit": 100})
    names = {offer["instance_type"]: offer for offer in everything["data"]}
    assert names[SOLD_OUT]["is_available"] is False
    by_vram = await api.ok("GET", "gpus/available", params={"sort_by": "vram", "sort_order": "desc", "limit": 3})
    assert [offer["total_vram_gb"] for offer in by_vram["data"]] == [640, 640, 320]
    big = await api.ok("GET", "gpus/available", params={"min_vram": 300, "limit": 100})
    assert {offer["total_vram_gb"] for offer in big["data"]} == {320, 640}
    for wrong in ({"limit": "many"}, {"page": "0"}, {"sort_by": "colour"}, {"sort_order": "up"}, {"max_price": "x"}):
        await api.refused(400, "BAD_REQUEST", "GET", "gpus/available", params=wrong)


@in_virtual_time
async def test_an_offer_follows_capacity_and_price(api: Any) -> None:
    catalogue = api.world.catalogues["huddle"]
    catalogue.set_capacity(H100, "FIN-01", 0)
    catalogue.set_price(H100, "3.33")
    api.world.faults.set(region_shape="strings")
    (offer,) = (await api.ok("GET", "gpus/available", params={"gpu_model": "H100", "max_price": 3.5}))["data"]
    assert (offer["price_per_hr"], offer["regions"]) == (3.33, ["FIN-03"])
    catalogue.set_capacity(H100, "FIN-03", 0)
    assert (await api.ok("GET", "gpus/available", params={"gpu_model": "H100", "max_price": 3.5}))["data"] == []


@in_virtual_time
async def test_summary_and_availability(api: Any) -> None:
    summary = await api.ok("GET", "gpus/available/summary")
    assert summary["total_types"] == len(api.world.catalogues["huddle"].types)
    h100 = next(item for item in summary["models"] if item["gpu_model"] == "H100")
    assert h100 == {"gpu_model": "H100", "available": True, "min_price_per_hr": 2.29, "regions": ["FIN-01", "FIN-03"]}
    free = await api.ok("GET", f"deployments/availability/{H100}")
    assert (free["cluster_type"], free["is_available"], len(free["regions"])) == (H100, True, 2)
    assert (await api.ok("GET", f"deployments/availability/{SOLD_OUT}"))["is_available"] is False
    await api.refused(404, "NOT_FOUND", "GET", "deployments/availability/9Z9")


@in_virtual_time
async def test_images_for_a_type_leave_cluster_images_out(api: Any) -> None:
    every = (await api.ok("GET", "images"))["data"]
    fitting = (await api.ok("GET", "images", params={"cluster_type": H100}))["data"]
    assert {image["is_cluster"] for image in every} == {True, False}
    assert {image["is_cluster"] for image in fitting} == {False}
    slug = "ubuntu-24.04-cuda-13.0-open-docker"
    (image,) = (await api.ok("GET", "images", params={"image_type": slug}))["data"]
    assert (image["image_type"], image["is_default"]) == (slug, True)
    assert (await api.ok("GET", "images", params={"cluster_type": "9Z9"}))["data"] == []


@in_virtual_time
async def test_regions_and_volume_types_are_plain_arrays(api: Any) -> None:
    assert await api.ok("GET", "regions") == [
        {"code": "FIN-01", "name": "Finland 1", "country_code": "FI"},
        {"code": "FIN-03", "name": "Finland 3", "country_code": "FI"},
    ]
    nvme = next(item for item in await api.ok("GET", "volume-types") if item["type"] == "NVMe")
    assert nvme == {
        "type": "NVMe",
        "price": {"price_per_month_per_gb": 0.2, "currency": "USD"},
        "is_shared_fs": False,
    }


# Deploying


@in_virtual_time
async def test_a_deployment_from_order_to_running(api: Any) -> None:
    ordered = await api.deploy()
    assert set(ordered) == DEPLOYMENT_FIELDS
    assert (ordered["status"], ordered["ip"], ordered["provider_id"]) == ("ordered", None, "")
    seen = []
    for _ in range(120):
        seen.append(await api.status(ordered["id"]))
        await asyncio.sleep(0.1)
    assert list(dict.fromkeys(seen)) == ["ordered", "provisioning", "running"]
    shown = await api.ok("GET", f"deployments/{ordered['id']}")
    assert shown == {
        **ordered,
        "status": "running",
        "ip": shown["ip"],
        "provider_id": shown["provider_id"],
        "updated_at": shown["updated_at"],
    }
    assert shown["ip"].startswith("203.0.113.")
    assert shown["updated_at"] > shown["created_at"] == "2026-01-05T09:00:00Z"
    assert shown["specs"] == {
        "gpu_model": "H100",
        "gpu_count": 1,
        "gpu_vram_gb": 80,
        "total_vram_gb": 80,
        "vcpu_count": 30,
        "ram_gb": 120,
        "storage_gb": 0,
        "price_per_hr": 2.29,
        "currency": "USD",
    }


@in_virtual_time
async def test_an_image_may_be_named_by_its_id_and_comes_back_as_its_slug(api: Any) -> None:
    image = (await api.ok("GET", "images"))["data"][1]
    made = await api.deploy(image=image["id"])
    assert made["image"] == image["image_type"]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("cluster_type", "image", "hostname", "ssh_key_ids", "location")),
        {"cluster_type": "9Z9"},
        {"image": "windows"},
        {"image": "ubuntu-22.04-cuda-12.4-cluster"},
        {"hostname": "x" * 256},
        {"hostname": "no spaces"},
        {"hostname": "-box"},
        {"ssh_key_ids": []},
        {"ssh_key_ids": ["nobody"]},
        {"ssh_key_ids": "text"},
        {"location": "MOON-01"},
        {"description": 5},
        {"os_volume": {"name": "os", "size": 513}},
        {"os_volume": {"name": "os", "size": 49}},
        {"os_volume": "big"},
        {"volumes": [{"name": "data", "size": 100}]},
        {"volumes": [{"name": "data", "size": 100, "type": "HDD"}]},
        {"volumes": "many"},
    ],
    ids=str,
)
@in_virtual_time
async def test_a_deploy_that_makes_no_sense_is_refused(api: Any, changes: dict[str, Any]) -> None:
    body = await api.order(**changes)
    await api.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", json=body)
    assert api.world.machines == {}
    assert (await api.ok("GET", "volumes"))["data"] == []


@in_virtual_time
async def test_a_body_that_is_not_an_object_is_refused(api: Any) -> None:
    for content in (b"{", b"[]", b'"x"', b"\xff"):
        await api.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", content=content)


@in_virtual_time
async def test_checks_come_in_order_body_then_balance_then_capacity(api: Any) -> None:
    body = await api.order(cluster_type=SOLD_OUT)
    api.world.faults.set(starting_credit_usd=19.99)
    poor = api.other("sim-poor")
    nonsense = await poor.order(cluster_type=SOLD_OUT, location="MOON-01")
    await poor.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", json=nonsense)
    sold_out = await poor.order(cluster_type=SOLD_OUT)
    said = await poor.refused(402, "INSUFFICIENT_CREDITS", "POST", "deployments/clusters", json=sold_out)
    assert "$19.99" in said
    assert "$20.00" in said
    await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=body)


@in_virtual_time
async def test_the_last_machine_is_sold_once(api: Any) -> None:
    api.world.catalogues["huddle"].set_capacity(H100, "FIN-01", 1)
    machine_id = await api.running()
    await api.refused(409, "CONFLICT", "POST", "deployments/clusters", json=await api.order())
    assert (await api.deploy(location="FIN-03"))["location"] == "FIN-03"
    await api.ok("DELETE", f"deployments/{machine_id}")
    await asyncio.sleep(1)
    assert (await api.deploy())["status"] == "ordered"


@in_virtual_time
async def test_the_address_before_running_is_shown_by_the_knob(api: Any) -> None:
    api.world.faults.set(ip_before_running="absent")
    assert "ip" not in await api.deploy()
    api.world.faults.set(ip_before_running="empty")
    assert (await api.deploy())["ip"] == ""


# Lists


@in_virtual_time
async def test_deployments_come_newest_first_by_cursor(api: Any) -> None:
    made = []
    for number in range(5):
        made.append((await api.deploy(hostname=f"box-{number}"))["id"])
        await asyncio.sleep(1)
    seen: list[str] = []
    cursor = ""
    sizes = []
    while True:
        page = await api.ok("GET", "deployments", params={"limit": 2, "cursor": cursor})
        seen += [item["id"] for item in page["data"]]
        sizes.append(len(page["data"]))
        assert page["meta"]["total"] == 5
        cursor = page["meta"]["next_cursor"]
        assert page["meta"]["has_more"] is bool(cursor)
        if not cursor:
            break
    assert seen == made[::-1]
    assert sizes == [2, 2, 1]
    for wrong in ({"cursor": "%%%"}, {"limit": "0"}):
        await api.refused(400, "BAD_REQUEST", "GET", "deployments", params=wrong)


@in_virtual_time
async def test_lists_may_be_flat_and_the_cursor_called_otherwise(api: Any) -> None:
    for _ in range(3):
        await api.deploy()
    api.world.faults.set(flat_lists=True, cursor_name="cursor")
    response = (await api.call("GET", "deployments", params={"limit": 2})).json()
    assert [item["status"] for item in response["data"]] == ["ordered", "ordered"]
    assert response["meta"]["has_more"] is True
    rest = (await api.call("GET", "deployments", params={"cursor": response["meta"]["cursor"]})).json()
    assert len(rest["data"]) == 1
    for path in ("gpus/available", "images", "volumes"):
        flat = (await api.call("GET", path)).json()
        assert isinstance(flat["data"], list)
        assert flat["meta"]["total"] >= 3


@in_virtual_time
async def test_deleted_deployments_are_listed_only_when_asked_for(api: Any) -> None:
    kept, gone = await api.running(hostname="kept"), await api.running(hostname="gone")
    await api.ok("DELETE", f"deployments/{gone}")
    await asyncio.sleep(1)

    async def listed(**params: str) -> list[str]:
        return [item["id"] for item in (await api.ok("GET", "deployments", params=params))["data"]]

    assert await listed() == [kept]
    assert await listed(status="deleted") == [gone]
    assert await listed(status="running") == [kept]
    assert await listed(status="offline") == []


# Deleting and actions


@in_virtual_time
async def test_a_deleted_deployment_is_readable_for_a_day(api: Any) -> None:
    machine_id = await api.running()
    answer = await api.ok("DELETE", f"deployments/{machine_id}")
    assert (answer["id"], answer["status"]) == (machine_id, "deleted")
    assert await api.status(machine_id) == "running"  # the answer came before the deed
    await asyncio.sleep(1)
    assert await api.status(machine_id) == "deleted"
    await api.refused(404, "NOT_FOUND", "DELETE", f"deployments/{machine_id}")
    await asyncio.sleep(86_400)
    await api.refused(404, "NOT_FOUND", "GET", f"deployments/{machine_id}")


@in_virtual_time
async def test_what_a_deletion_answers_and_shows_is_a_knob(api: Any) -> None:
    api.world.faults.set(delete_body="empty", deleting_shows="deleting", delete_s=30)
    first = await api.running()
    response = await api.call("DELETE", f"deployments/{first}")
    assert (response.status_code, response.content) == (200, b"")
    assert await api.status(first) == "deleting"
    api.world.faults.set(delete_body="ok")
    assert (await api.call("DELETE", f"deployments/{first}")).json() == {"code": "OK"}


@in_virtual_time
async def test_stop_start_and_restart(api: Any) -> None:
    machine_id = await api.running()
    path = f"deployments/{machine_id}/actions"
    for action, status in (("stop", "offline"), ("start", "running"), ("restart", "running"), ("shutdown", "offline")):
        assert (await api.ok("POST", path, json={"action": action}))["id"] == machine_id
        await asyncio.sleep(2)
        assert await api.status(machine_id) == status
    await api.refused(409, "CONFLICT", "POST", path, json={"action": "stop"})
    await api.refused(400, "BAD_REQUEST", "POST", path, json={"action": "explode"})
    await api.refused(400, "BAD_REQUEST", "POST", path, json={})
    api.world.faults.set(action_words=["delete"])
    await api.refused(400, "BAD_REQUEST", "POST", path, json={"action": "boot"})
    assert (await api.ok("POST", path, json={"action": "delete"}))["status"] == "deleted"


# Money


@in_virtual_time
async def test_the_documented_example_of_a_bill(api: Any) -> None:
    api.world.faults.set(starting_credit_usd=50)
    api = api.other("sim-fifty")
    api.world.catalogues["huddle"].set_price(H100, "1.71")
    machine = api.world.machines[(await api.deploy())["id"]]
    started_ms = machine.timeline[2][0]

    async def balance_after(second: int) -> dict[str, Any]:
        await asyncio.sleep((started_ms + second * 1000 - api.world.now_ms()) / 1000)
        return dict(await api.ok("GET", "billing/balance"))

    assert await balance_after(0) == {"balance_cents": 5000, "balance_usd": 50.0}
    assert await balance_after(600) == {"balance_cents": 4972, "balance_usd": 49.72}
    assert await balance_after(1200) == {"balance_cents": 4943, "balance_usd": 49.43}
    assert await balance_after(1530) == {"balance_cents": 4943, "balance_usd": 49.43}
    await api.ok("DELETE", f"deployments/{machine.id}")
    assert await balance_after(1531) == {"balance_cents": 4927, "balance_usd": 49.27}
    truth = (await api.call("GET", "http://sim/_sim/truth")).json()
    assert truth["bill_usd"] == truth["machines"][0]["bill_usd"] == "0.726750"


@in_virtual_time
async def test_an_account_that_runs_dry_loses_its_machine_at_a_tick(api: Any) -> None:
    api.world.faults.set(starting_credit_usd=20)
    poor = api.other("sim-poor")
    machine_id = await poor.running(cluster_type="8H100.80S.240V", location="FIN-03")
    await asyncio.sleep(66 * 60)
    assert await poor.status(machine_id) == "running"
    await asyncio.sleep(4 * 60)
    assert await poor.status(machine_id) == "deleted"
    assert (await poor.ok("GET", "billing/balance"))["balance_cents"] == -137
