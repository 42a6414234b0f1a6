"""The simulated Lambda Cloud API on the wire: keys, the market, launches, lives and money."""

from __future__ import annotations

import asyncio
import base64
import re
from decimal import Decimal
from typing import Any

import pytest
from lambda_stage import A10, BOOT_S, LambdaApi

from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

HEX32 = re.compile("[0-9a-f]{32}")
INVALID = "global/invalid-parameters"
MISSING = "global/object-does-not-exist"


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


# Keys, envelopes, routes


@in_virtual_time
async def test_all_three_ways_to_send_a_key(api: LambdaApi) -> None:
    encoded = base64.b64encode(b"sim-a:").decode()
    for value in ("Bearer sim-a", f"Basic {encoded}", "Basic sim-a"):
        assert await api.ok("GET", "regions", headers={"Authorization": value})


@in_virtual_time
async def test_no_key_and_a_bad_key_differ_in_their_message_only(api: LambdaApi) -> None:
    for value in ("", "Bearer ", "Token sim-a"):
        said = await api.refused(401, "global/invalid-api-key", "GET", "instances", headers={"Authorization": value})
        assert said == "No API key was provided."
    for value in ("Bearer secret_fake_0", "Basic c2VjcmV0Og=="):
        said = await api.refused(401, "global/invalid-api-key", "GET", "instances", headers={"Authorization": value})
        assert said == "API key was invalid, expired, or deleted."


@in_virtual_time
async def test_unknown_paths_and_wrong_methods(api: LambdaApi) -> None:
    for path in ("clusters", "cluster-types", "one-click-clusters", "tickets", "instances/a/b"):
        await api.refused(404, "global/not-found", "GET", path)
    for method, path in (
        ("POST", "file-systems"),
        ("GET", "filesystems"),
        ("DELETE", "instances/abc"),
        ("PUT", "regions"),
    ):
        response = await api.call(method, path)
        assert (response.status_code, response.content) == (405, b"")


@in_virtual_time
async def test_every_simulated_key_is_an_account_of_its_own(api: LambdaApi) -> None:
    machine_id = await api.running()
    other = LambdaApi("sim-b", behind=api)
    assert await other.listed() == []
    assert await other.ok("GET", "ssh-keys") == []
    await other.refused(404, MISSING, "GET", f"instances/{machine_id}")
    body = {"instance_ids": [machine_id]}
    await other.refused(404, MISSING, "POST", "instance-operations/terminate", json=body)
    assert await api.listed() == [machine_id]


# The market


@in_virtual_time
async def test_instance_types_are_an_object_by_name(api: LambdaApi) -> None:
    types = await api.ok("GET", "instance-types")
    assert types[A10] == {
        "instance_type": {
            "name": A10,
            "description": "1x A10 (24 GB PCIe)",
            "gpu_description": "A10 (24 GB PCIe)",
            "price_cents_per_hour": 129,
            "architecture": "x86_64",
            "specs": {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": 1},
        },
        "regions_with_capacity_available": [
            {"name": "us-east-1", "description": "Virginia, USA"},
            {"name": "us-west-1", "description": "California, USA"},
        ],
    }
    assert types["gpu_8x_b200_sxm6"]["regions_with_capacity_available"] == []
    assert types["gpu_8x_v100"]["instance_type"]["description"] == "8x Tesla V100 (16 GB)"
    assert types["cpu_4x_general"]["instance_type"]["specs"]["gpus"] == 0
    assert {name for name, item in types.items() if item["instance_type"]["architecture"] == "arm64"} == {
        "gpu_1x_gh200"
    }
    assert all(name == item["instance_type"]["name"] for name, item in types.items())


@in_virtual_time
async def test_the_market_follows_capacity_and_price(api: LambdaApi) -> None:
    api.world.catalogues["lambda"].set_capacity(A10, "us-east-1", 1)
    api.world.catalogues["lambda"].set_price(A10, "1.75")
    await api.launch()
    item = (await api.ok("GET", "instance-types"))[A10]
    assert item["instance_type"]["price_cents_per_hour"] == 175
    assert [region["name"] for region in item["regions_with_capacity_available"]] == ["us-west-1"]
    code = "instance-operations/launch/insufficient-capacity"
    assert await api.launch_refused(400, code) == "Not enough capacity to fulfill launch request."
    assert len(await api.listed()) == 1


@in_virtual_time
async def test_a_launch_may_be_refused_though_the_type_was_listed(api: LambdaApi) -> None:
    api.world.faults.set(no_capacity={"count": 1, "operation": "launch"})
    await api.launch_refused(400, "instance-operations/launch/insufficient-capacity")
    assert await api.listed() == []
    assert await api.launch()


@in_virtual_time
async def test_regions_and_images(api: LambdaApi) -> None:
    regions = [region["name"] for region in await api.ok("GET", "regions")]
    assert len(regions) == len(set(regions)) == 19
    images = await api.ok("GET", "images")
    assert len({image["id"] for image in images}) == len(images) == 3 * 20
    assert {image["region"]["name"] for image in images} == set(regions)
    assert {image["region"]["name"] for image in images if image["architecture"] == "arm64"} == {"us-east-3"}


# What a launch takes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region_name": None}, "region_name: "),
        ({"instance_type_name": None}, "instance_type_name: "),
        ({"ssh_key_names": None}, "ssh_key_names: "),
        ({"ssh_key_names": "mine"}, "ssh_key_names: "),
        ({"ssh_key_names": []}, "ssh_key_names: "),
        ({"ssh_key_names": ["mine", "mine"]}, "ssh_key_names: "),
        ({"region_name": "mars-1"}, "region_name: Region mars-1 does not exist"),
        ({"name": "x" * 65}, "name: "),
        ({"name": 7}, "name: "),
        ({"hostname": ""}, "hostname: "),
        ({"hostname": "Box"}, "hostname: "),
        ({"hostname": "-box"}, "hostname: "),
        ({"hostname": "b" * 64}, "hostname: "),
        ({"tags": [{"key": "a", "value": "1"}]}, "key: "),
        ({"tags": [{"key": "Owner", "value": "1"}]}, "key: "),
        ({"tags": [{"key": "under_score", "value": "1"}]}, "key: "),
        ({"tags": [{"key": "ok", "value": "v" * 129}]}, "value: "),
        ({"tags": [{"key": "ok"}]}, "value: "),
        ({"tags": {"key": "ok", "value": "1"}}, "tags: "),
        ({"user_data": "x" * 1_000_001}, "user_data: "),
        ({"image": {}}, "image: "),
        ({"image": "lambda-stack-24-04"}, "image: "),
        ({"image": {"family": 3}}, "family: "),
        ({"file_system_mounts": [{"mount_point": "/etc", "file_system_id": "x"}]}, "mount_point: "),
        ({"file_system_mounts": [{"mount_point": "/data/x"}]}, "file_system_id: "),
        ({"firewall_rulesets": [{}]}, "id: "),
        ({"quantity": 0}, "quantity: "),
        ({"quantity": "1"}, "quantity: "),
        ({"quantity": 2}, "Requested too many instances."),
    ],
)
@in_virtual_time
async def test_a_bad_launch_is_refused_and_makes_nothing(api: LambdaApi, changes: dict[str, Any], said: str) -> None:
    assert (await api.launch_refused(400, INVALID, **changes)).startswith(said)
    assert await api.listed() == []


@pytest.mark.parametrize("status", ["400", "404"])
@in_virtual_time
async def test_a_launch_that_names_what_is_not_there(api: LambdaApi, status: str) -> None:
    api.world.faults.set(launch_missing_status=status)
    for changes in (
        {"ssh_key_names": ["theirs"]},
        {"instance_type_name": "gpu_1x_abacus"},
        {"file_system_names": ["nowhere"]},
        {"file_system_mounts": [{"mount_point": "/data/x", "file_system_id": "0" * 32}]},
        {"image": {"family": "windows"}},
        {"image": {"id": "0" * 32}},
        {"firewall_rulesets": [{"id": "0" * 32}]},
    ):
        await api.launch_refused(int(status), MISSING, **changes)
    assert await api.listed() == []


@in_virtual_time
async def test_bodies_that_are_no_object(api: LambdaApi) -> None:
    for content in (b"", b"[]", b"{", b"null"):
        for path in ("instance-operations/launch", "instance-operations/terminate", "ssh-keys", "filesystems"):
            await api.refused(400, INVALID, "POST", path, content=content)


@in_virtual_time
async def test_an_image_has_to_fit_the_type_and_the_region(api: LambdaApi) -> None:
    images = await api.ok("GET", "images")
    here = next(image for image in images if image["region"]["name"] == "us-east-1")
    elsewhere = next(image for image in images if image["region"]["name"] == "us-west-1")
    assert await api.launch(image={"id": here["id"]})
    assert await api.launch(image={"family": "lambda-stack-22-04"})
    await api.launch_refused(400, MISSING, image={"id": elsewhere["id"]})
    arm = [image for image in images if image["architecture"] == "arm64"]
    x86 = next(
        image for image in images if image["region"]["name"] == "us-east-3" and image["architecture"] == "x86_64"
    )
    gh200 = {"instance_type_name": "gpu_1x_gh200", "region_name": "us-east-3"}
    assert await api.launch(**gh200, image={"id": arm[0]["id"]})
    await api.launch_refused(400, MISSING, **gh200, image={"id": x86["id"]})


@in_virtual_time
async def test_a_launch_is_not_idempotent_and_names_may_repeat(api: LambdaApi) -> None:
    first, second = await api.launch(quantity=1), await api.launch(quantity=1)
    assert first != second
    assert [item["name"] for item in await api.ok("GET", "instances")] == ["box-1", "box-1"]


@in_virtual_time
async def test_the_quota_and_the_billing_address(api: LambdaApi) -> None:
    api.world.faults.set(instance_quota=1, invalid_address={"count": 1})
    await api.launch_refused(403, "global/invalid-address")
    machine_id = await api.launch()
    await api.launch_refused(400, "global/quota-exceeded")
    await api.terminate(machine_id)
    await asyncio.sleep(1)
    assert await api.launch()


# An instance's life


@in_virtual_time
async def test_an_instance_from_launch_to_gone(api: LambdaApi) -> None:
    tags = [{"key": "owner", "value": "fleet"}]
    machine_id = await api.launch(tags=tags, user_data="#cloud-config\n")
    assert HEX32.fullmatch(machine_id)
    booting = await api.get(machine_id)
    assert booting["status"] == "booting"
    assert not {"ip", "private_ip", "hostname", "jupyter_token", "jupyter_url"} & set(booting)
    assert booting["actions"]["restart"] == {
        "available": False,
        "reason_code": "vm-has-not-launched",
        "reason_description": booting["actions"]["restart"]["reason_description"],
    }
    assert booting["actions"]["terminate"] == {"available": True}

    seen_early = False
    while (instance := await api.get(machine_id))["status"] == "booting":
        seen_early = seen_early or "ip" in instance
        await asyncio.sleep(0.5)
    assert seen_early, "the address shows before the instance is active"
    private_key = instance["jupyter_token"]
    assert instance == {
        "id": machine_id,
        "name": "box-1",
        "ip": "203.0.113.1",
        "private_ip": "10.19.0.2",
        "hostname": "203.0.113.1",
        "status": "active",
        "ssh_key_names": ["mine"],
        "file_system_names": [],
        "region": {"name": "us-east-1", "description": "Virginia, USA"},
        "instance_type": (await api.ok("GET", "instance-types"))[A10]["instance_type"],
        "jupyter_token": private_key,
        "jupyter_url": instance["jupyter_url"],
        "actions": {name: {"available": True} for name in instance["actions"]},
        "tags": tags,
        "is_reserved": False,
    }
    assert set(instance["actions"]) == {"migrate", "rebuild", "restart", "cold_reboot", "terminate"}
    assert re.fullmatch(
        rf"https://jupyter-[0-9a-f]{{32}}\.lambdaspaces\.com/\?token={private_key}", instance["jupyter_url"]
    )
    assert await api.ok("GET", "instances") == [instance]
    assert await api.ok("GET", "instances", params={"cluster_id": "f" * 32}) == []

    (ending,) = await api.terminate(machine_id)
    assert (ending["id"], ending["status"]) == (machine_id, "terminating")
    assert {details["reason_code"] for details in ending["actions"].values()} == {"vm-is-terminating"}
    assert await api.listed() == [machine_id]
    (again,) = await api.terminate(machine_id)
    assert again["status"] == "terminating"
    await asyncio.sleep(1)
    assert (await api.get(machine_id))["status"] == "terminated"
    assert await api.listed() == []
    gone = {"instance_ids": [machine_id]}
    await api.refused(404, MISSING, "POST", "instance-operations/terminate", json=gone)
    await asyncio.sleep(300)
    assert await api.refused(404, MISSING, "GET", f"instances/{machine_id}") == "Specified instance does not exist."


@in_virtual_time
async def test_a_terminated_instance_may_stay_in_the_list_for_a_while(api: LambdaApi) -> None:
    api.world.faults.set(terminated_listed=True, terminated_readable_s=60)
    machine_id = await api.running()
    await api.terminate(machine_id)
    await asyncio.sleep(30)
    assert [item["status"] for item in await api.ok("GET", "instances")] == ["terminated"]
    await asyncio.sleep(40)
    assert await api.listed() == []


@in_virtual_time
async def test_terminate_while_booting(api: LambdaApi) -> None:
    machine_id = await api.launch()
    await api.terminate(machine_id)
    await asyncio.sleep(BOOT_S * 2)
    instance = await api.get(machine_id)
    assert instance["status"] == "terminated"
    assert "ip" not in instance
    assert truth_of(api.world)["bill_usd"] == "0.000000"


@in_virtual_time
async def test_one_unknown_id_fails_a_whole_batch(api: LambdaApi) -> None:
    first, second = await api.running(), await api.running()
    for path in ("instance-operations/terminate", "instance-operations/restart"):
        await api.refused(404, MISSING, "POST", path, json={"instance_ids": [first, "0" * 32]})
        await api.refused(400, INVALID, "POST", path, json={"instance_ids": first})
        await api.refused(400, INVALID, "POST", path, json={})
    assert {item["status"] for item in await api.ok("GET", "instances")} == {"active"}
    assert [item["id"] for item in await api.terminate(first, second)] == [first, second]
    await asyncio.sleep(1)
    assert await api.listed() == []


@in_virtual_time
async def test_restart(api: LambdaApi) -> None:
    machine_id = await api.launch()
    body = {"instance_ids": [machine_id]}
    await api.refused(409, "global/conflict", "POST", "instance-operations/restart", json=body)
    await asyncio.sleep(BOOT_S * 2)
    before = await api.get(machine_id)
    (restarting,) = (await api.ok("POST", "instance-operations/restart", json=body))["restarted_instances"]
    assert restarting["status"] == "active"
    assert restarting["actions"]["restart"]["reason_code"] == "vm-action-in-progress"
    assert not api.world.answers_ssh(machine_id)
    await api.refused(409, "global/conflict", "POST", "instance-operations/restart", json=body)
    await asyncio.sleep(2)
    assert await api.get(machine_id) == before
    assert api.world.answers_ssh(machine_id)
    await api.terminate(machine_id)
    await api.refused(409, "global/conflict", "POST", "instance-operations/restart", json=body)


@in_virtual_time
async def test_a_restart_cures_an_unhealthy_instance(api: LambdaApi) -> None:
    machine_id = await api.running()
    for died_as in ("offline", "error"):
        api.world.kill(machine_id, died_as)
        assert (await api.get(machine_id))["status"] == "unhealthy"
        api.world.faults.set(restarting_shows="booting")
        await api.ok("POST", "instance-operations/restart", json={"instance_ids": [machine_id]})
        assert (await api.get(machine_id))["status"] == "booting"
        await asyncio.sleep(2)
        assert (await api.get(machine_id))["status"] == "active"


@in_virtual_time
async def test_other_ways_to_end(api: LambdaApi) -> None:
    machine_id = await api.running()
    api.world.kill(machine_id, "released")
    assert (await api.get(machine_id))["status"] == "preempted"
    api.world.kill(machine_id, "vanish")
    await api.refused(404, MISSING, "GET", f"instances/{machine_id}")
    assert await api.listed() == []


@in_virtual_time
async def test_rename(api: LambdaApi) -> None:
    machine_id = await api.launch(name=None)
    assert "name" not in await api.get(machine_id)
    assert (await api.ok("POST", f"instances/{machine_id}", json={"name": "later"}))["name"] == "later"
    assert (await api.ok("POST", f"instances/{machine_id}", json={}))["name"] == "later"
    await api.refused(400, INVALID, "POST", f"instances/{machine_id}", json={"name": "x" * 65})
    await api.refused(404, MISSING, "POST", f"instances/{'0' * 32}", json={"name": "x"})
    assert truth_of(api.world)["machines"][0]["label"] == "later"


@in_virtual_time
async def test_what_is_not_there_yet_can_be_null(api: LambdaApi) -> None:
    api.world.faults.set(unset_shows="null", default_hostname="dashed")
    machine_id = await api.launch(name=None)
    booting = await api.get(machine_id)
    unset = {"name", "ip", "private_ip", "hostname", "jupyter_token", "jupyter_url"}
    assert {booting[field] for field in unset} == {None}
    await asyncio.sleep(BOOT_S * 2)
    active = await api.get(machine_id)
    assert (active["name"], active["hostname"]) == (None, "203-0-113-1")
    assert (await api.get(await api.launch(hostname="worker-01")))["hostname"] == "worker-01"


@in_virtual_time
async def test_undocumented_fields_can_be_left_out(api: LambdaApi) -> None:
    api.world.faults.set(undocumented_fields=False)
    instance = await api.get(await api.launch())
    assert "is_reserved" not in instance
    assert "architecture" not in instance["instance_type"]
    assert "workspace_id" not in (await api.ok("GET", "ssh-keys"))[0]
    assert "request_id" not in (await api.call("GET", "nowhere")).json()["error"]
    api.world.faults.set(undocumented_fields=True)
    assert HEX32.fullmatch((await api.ok("GET", "ssh-keys"))[0]["workspace_id"])
    assert HEX32.fullmatch((await api.call("GET", "nowhere")).json()["error"]["request_id"])


# Money


@in_virtual_time
async def test_started_minutes_are_billed_from_active_to_terminate(api: LambdaApi) -> None:
    machine_id = await api.running()
    await asyncio.sleep(3600)
    await api.terminate(machine_id)
    await asyncio.sleep(600)
    (truth,) = truth_of(api.world)["machines"]
    assert truth["id"] == machine_id
    assert truth["billing_started_at"] == truth["running_at"] > truth["created_at"]
    assert truth["billing_stopped_at"] < truth["ended_at"]
    assert truth["bill_usd"] == str((Decimal("1.29") * 61 / 60).quantize(Decimal("0.000001")))


@in_virtual_time
async def test_an_unhealthy_instance_is_billed_and_one_that_never_booted_is_not(api: LambdaApi) -> None:
    api.world.faults.set(unhealthy_from_boot={"count": 1})
    sick = await api.launch()
    api.world.faults.set(provisioning_error={"count": 1})
    failed = await api.launch()
    await asyncio.sleep(BOOT_S * 2)
    shown = await api.get(sick)
    assert (shown["status"], "ip" in shown) == ("unhealthy", True)
    shown = await api.get(failed)
    assert (shown["status"], "ip" in shown) == ("unhealthy", False)
    await asyncio.sleep(3600)
    assert not api.world.answers_ssh(sick)
    bills = {item["id"]: Decimal(item["bill_usd"]) for item in truth_of(api.world)["machines"]}
    assert bills[sick] > Decimal("1.29")
    assert bills[failed] == 0


@in_virtual_time
async def test_nothing_ends_for_lack_of_credit(api: LambdaApi) -> None:
    machine_id = await api.running(instance_type_name="gpu_8x_h100_sxm5", region_name="us-south-2")
    await asyncio.sleep(24 * 3600)
    assert (await api.get(machine_id))["status"] == "active"
    assert Decimal(truth_of(api.world)["bill_usd"]) > 700


@in_virtual_time
async def test_a_surprising_price_is_in_whole_cents(api: LambdaApi) -> None:
    api.world.faults.set(price_surprise={"count": 1})
    machine_id = await api.running()
    assert (await api.get(machine_id))["instance_type"]["price_cents_per_hour"] == 161
    assert truth_of(api.world)["machines"][0]["price_usd_per_hour"] == "1.610000"
