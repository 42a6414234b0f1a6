"""The simulated Lambda API: keys, envelopes, the market, and what a launch takes."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from lambda_stage import A10, INVALID, MISSING, LambdaApi

from gputui.sim.vtime import in_virtual_time


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
