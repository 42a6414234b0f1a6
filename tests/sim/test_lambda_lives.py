"""An instance's life at the simulated Lambda, and what it costs."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal

import pytest
from lambda_stage import A10, BOOT_S, INVALID, MISSING, LambdaApi

from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

HEX32 = re.compile("[0-9a-f]{32}")


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


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
