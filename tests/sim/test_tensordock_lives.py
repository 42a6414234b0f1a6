"""The simulated TensorDock API on the wire: stops and starts, the shapes it is seen in, and what goes wrong."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from tensordock_stage import RTX_4090, TensorDockApi, act, size

from gputui.sim.lives import Life
from gputui.sim.tensordock import knobs
from gputui.sim.tensordock.data import HOSTS
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> TensorDockApi:
    return TensorDockApi()


# Stops and starts


@in_virtual_time
async def test_a_stop_and_a_start(api: TensorDockApi) -> None:
    instance_id = await api.running()
    assert await act(api, instance_id, "stop") == "stopping"
    assert await api.status(instance_id) == "stopping"
    assert "stopping" in await api.refused(400, "POST", f"instances/{instance_id}/stop")
    await asyncio.sleep(2)
    assert await api.status(instance_id) == "stopped"
    assert not api.world.answers_ssh(instance_id)
    assert "stopped" in await api.refused(400, "POST", f"instances/{instance_id}/stop")
    assert await act(api, instance_id, "start") == "starting"
    assert await api.status(instance_id) == "starting"
    assert "must be stopped" in await api.refused(400, "POST", f"instances/{instance_id}/start")
    await asyncio.sleep(2)
    assert await api.status(instance_id) == "running"
    assert api.world.answers_ssh(instance_id)
    assert "already running" in await api.refused(400, "POST", f"instances/{instance_id}/start")
    api.world.faults.set(**{knobs.WRONG_STATE_CODE: "409"})
    assert "already running" in await api.refused(409, "POST", f"instances/{instance_id}/start")


@in_virtual_time
async def test_neither_a_new_instance_nor_one_that_is_being_deleted_can_be_stopped_or_started(
    api: TensorDockApi,
) -> None:
    instance_id = await api.create()
    assert "not ready" in await api.refused(400, "POST", f"instances/{instance_id}/stop")
    await asyncio.sleep(12)
    await act(api, instance_id, "stop")
    await asyncio.sleep(2)
    api.world.faults.set(delete_s=30)
    await api.ok("DELETE", f"instances/{instance_id}")
    assert await api.status(instance_id) == "stopped"
    assert "deleted" in await api.refused(400, "POST", f"instances/{instance_id}/start")
    api.world.faults.set(**{knobs.DELETING_SHOWS: "deleting"})
    assert await api.status(instance_id) == "deleting"
    await asyncio.sleep(31)
    await api.refused(404, "GET", f"instances/{instance_id}")


@in_virtual_time
async def test_a_released_gpu_may_be_somebody_elses_when_it_is_wanted_back(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.STOP_END: "stoppeddisassociated"})
    host = next(host for host in HOSTS if host.place.city == "Krakow" and host.gpus == 1)
    where = {"location_id": None, "hostnode_id": host.id}
    model = host.model.id
    first = await api.running("Krakow", model, **where)
    await act(api, first, "stop")
    await asyncio.sleep(2)
    assert await api.status(first) == "stoppeddisassociated"
    second = await api.other("sim-b").create("Krakow", model, **where)
    assert "not available" in await api.refused(400, "POST", f"instances/{first}/start")
    await api.other("sim-b").ok("DELETE", f"instances/{second}")
    await asyncio.sleep(1)
    assert await act(api, first, "start") == "starting"
    body = await api.order("Krakow", model, **where)
    assert (await api.call("POST", "instances", json=body)).json()["error"] == "No available nodes found"
    await asyncio.sleep(2)
    assert await api.status(first) == "running"


@in_virtual_time
async def test_the_vcpus_of_a_released_instance_may_be_gone_as_well(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.STOP_END: "stoppeddisassociated"})
    host = next(host for host in HOSTS if host.place.city == "Mumbai" and host.gpus == 2)
    where = {"location_id": None, "hostnode_id": host.id}
    wide = size(host.model.id, 1, vcpu_count=14)
    first = await api.running("Mumbai", host.model.id, **where, resources=wide)
    await act(api, first, "stop")
    await asyncio.sleep(2)
    second = await api.create("Mumbai", host.model.id, **where, resources=wide)
    assert api.world.free("tensordock", host.type_name, host.id) == 1
    third = await api.create("Mumbai", host.model.id, **where, resources=size(host.model.id, 1, vcpu_count=2, ram_gb=2))
    await api.refused(400, "POST", f"instances/{first}/start")
    await api.ok("DELETE", f"instances/{third}")
    await api.ok("DELETE", f"instances/{second}")
    await asyncio.sleep(1)
    await act(api, first, "start")


@in_virtual_time
async def test_an_instance_may_come_back_elsewhere(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.MOVES_ON_START: True})
    instance_id = await api.running()
    before = await api.ok("GET", f"instances/{instance_id}")
    await act(api, instance_id, "stop")
    await asyncio.sleep(2)
    await act(api, instance_id, "start")
    await asyncio.sleep(2)
    after = await api.ok("GET", f"instances/{instance_id}")
    assert after["status"] == "running"
    assert after["ipAddress"] != before["ipAddress"]
    assert [item["internal_port"] for item in after["portForwards"]] == [22]
    assert after["portForwards"] != before["portForwards"]


# Shapes


@in_virtual_time
async def test_the_envelopes_of_a_list(api: TensorDockApi) -> None:
    instance_id = await api.running()
    (flat,) = (await api.ok("GET", "instances"))["data"]
    nested = {
        "type": "VM",
        "id": instance_id,
        "attributes": {name: flat[name] for name in flat if name not in ("type", "id")},
    }
    api.world.faults.set(**{knobs.LIST_SHAPE: "instances"})
    assert await api.ok("GET", "instances") == {"data": {"instances": [nested]}}
    api.world.faults.set(**{knobs.LIST_SHAPE: "attributes"})
    assert await api.ok("GET", "instances") == {
        "data": {"type": "list", "id": "instances", "attributes": {"instances": [nested]}}
    }
    api.world.faults.set(**{knobs.LIST_SHAPE: "array", knobs.LIST_ITEM: "brief"})
    assert await api.ok("GET", "instances") == {
        "data": [{"id": instance_id, "name": "box-1", "status": "running"}]
    }  # fmt: skip
    api.world.faults.set(**{knobs.LIST_ITEM: "full"})
    assert (await api.ok("GET", "instances"))["data"] == [await api.ok("GET", f"instances/{instance_id}")]


@in_virtual_time
async def test_the_envelopes_of_one_instance(api: TensorDockApi) -> None:
    instance_id = await api.running()
    bare = await api.ok("GET", f"instances/{instance_id}")
    api.world.faults.set(**{knobs.SINGLE_SHAPE: "data"})
    assert await api.ok("GET", f"instances/{instance_id}") == {"data": bare}
    api.world.faults.set(**{knobs.SINGLE_SHAPE: "attributes", knobs.GPU_KEY: "model", knobs.STATUS_CASE: "camel"})
    data = (await api.ok("GET", f"instances/{instance_id}"))["data"]
    assert (data["type"], data["id"], data["attributes"]["status"]) == ("virtualmachine", instance_id, "Running")
    assert data["attributes"]["resources"]["gpus"] == {RTX_4090: {"count": 1, "v0Name": RTX_4090}}


@in_virtual_time
async def test_the_answer_of_create_and_what_a_new_instance_shows(api: TensorDockApi) -> None:
    api.world.faults.set(
        **{knobs.CREATE_CODE: "201", knobs.CREATE_SHAPE: "bare", knobs.CREATE_STATUS: "creating"},
        **{knobs.NEW_ADDRESS_SHOWS: "null", knobs.STATUS_CASE: "camel"},
    )
    answer = await api.call("POST", "instances", json=await api.order())
    assert (answer.status_code, answer.json()["status"]) == (201, "Creating")
    shown = await api.ok("GET", f"instances/{answer.json()['id']}")
    assert (shown["status"], shown["ipAddress"]) == ("Creating", None)
    api.world.faults.set(**{knobs.NEW_ADDRESS_SHOWS: "empty"})
    assert (await api.ok("GET", f"instances/{shown['id']}"))["ipAddress"] == ""
    await asyncio.sleep(12)
    assert await api.status(shown["id"]) == "Running"


@in_virtual_time
async def test_statuses_in_camel_case_and_a_deletion_without_a_word(api: TensorDockApi) -> None:
    api.world.faults.set(
        **{knobs.STATUS_CASE: "camel", knobs.STOP_END: "stoppeddisassociated", knobs.DELETE_ANSWER: "empty"}
    )
    instance_id = await api.running()
    assert await act(api, instance_id, "stop") == "Stopping"
    await asyncio.sleep(2)
    assert await api.status(instance_id) == "StoppedDisassociated"
    answer = await api.call("DELETE", f"instances/{instance_id}")
    assert (answer.status_code, answer.content) == (204, b"")


# What goes wrong


@in_virtual_time
async def test_a_slow_create_that_nobody_waits_for_makes_an_instance(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.CREATE_S: 60})
    body = await api.order()
    with pytest.raises(httpx.ReadTimeout):
        await api.call("POST", "instances", json=body)
    assert [item["name"] for item in (await api.ok("GET", "instances"))["data"]] == ["box-1"]


@in_virtual_time
async def test_a_create_that_is_sent_again_makes_another_instance(api: TensorDockApi) -> None:
    api.world.faults.set(lost_reply={"operation": "tensordock.create", "count": 1})
    body = await api.order()
    with pytest.raises(httpx.ReadError):
        await api.call("POST", "instances", json=body)
    await api.ok("POST", "instances", json=body)
    assert len(api.world.machines) == 2


@in_virtual_time
async def test_failures_that_leave_nothing_behind(api: TensorDockApi) -> None:
    body = await api.order()
    api.world.faults.set(no_capacity={"count": 1}, **{knobs.DEPLOYMENT_FAILS: {"count": 1}})
    said = [(await api.call("POST", "instances", json=body)).json()["error"] for _ in range(2)]
    assert "unexpected error during deployment" in said[0].lower()
    assert said[1] == "No available nodes found"
    assert api.world.machines == {}


@pytest.mark.parametrize(
    ("fault", "status", "has_ip", "has_ports"),
    [
        (knobs.FORWARDS_DROPPED, "running", True, False),
        (knobs.NEVER_ADDRESSED, "running", False, False),
        (knobs.STOPS_AFTER_CREATE, "stopped", False, False),
        ("slow_provisioning", "running", False, False),
        ("provisioning_error", "error", False, False),
    ],
)
@in_virtual_time
async def test_instances_that_cannot_be_reached(
    api: TensorDockApi, fault: str, status: str, has_ip: bool, has_ports: bool
) -> None:
    api.world.faults.set(**{fault: 1})
    instance_id = await api.create()
    await asyncio.sleep(60)
    shown = await api.ok("GET", f"instances/{instance_id}")
    assert (shown["status"], "ipAddress" in shown, bool(shown["portForwards"])) == (status, has_ip, has_ports)
    assert not api.world.answers_ssh(instance_id)


@pytest.mark.parametrize(
    ("died_as", "status"), [("offline", "stopped"), ("released", "stoppeddisassociated"), ("error", "error")]
)
@in_virtual_time
async def test_machines_that_die(api: TensorDockApi, died_as: str, status: str) -> None:
    api.world.faults.set(dies=1, dies_after_s=20, dies_as=died_as)
    instance_id = await api.running()
    await asyncio.sleep(60)
    assert await api.status(instance_id) == status


@in_virtual_time
async def test_instances_that_end_without_a_deletion_are_nowhere(api: TensorDockApi) -> None:
    vanished = await api.running()
    api.world.kill(vanished, "vanish")
    api.world.faults.set(no_capacity_after_accept=1)
    refused = await api.create()
    await asyncio.sleep(12)
    for instance_id in (vanished, refused):
        await api.refused(404, "GET", f"instances/{instance_id}")
    assert await api.ok("GET", "instances") == {"data": []}


@in_virtual_time
async def test_faults_of_the_connection_come_in_the_providers_shape(api: TensorDockApi) -> None:
    for fault, status in (("rate_limited", 429), ("server_error", 500), ("unavailable", 503), ("unauthorized", 401)):
        api.world.faults.set(**{fault: {"operation": "list_instances", "count": 1}})
        assert isinstance(await api.refused(status, "GET", "instances"), str)
    instance_id = await api.running()
    api.world.faults.set(unknown_state={"count": 1}, extra_fields={"operation": "get_instance", "count": 1})
    strange = await api.ok("GET", f"instances/{instance_id}")
    assert strange["status"] == "hibernating"
    assert len(strange["resources"]["gpus"]) == 1


@in_virtual_time
async def test_consistency_is_eventual_when_asked_for(api: TensorDockApi) -> None:
    api.world.faults.set(eventual_get_s=2, eventual_list_s=4, deleted_still_listed_s=10)
    instance_id = await api.create()
    await api.refused(404, "GET", f"instances/{instance_id}")
    await asyncio.sleep(3)
    assert await api.status(instance_id) == "running"
    assert (await api.ok("GET", "instances"))["data"] == []
    await asyncio.sleep(10)
    await api.ok("DELETE", f"instances/{instance_id}")
    await asyncio.sleep(2)
    await api.refused(404, "GET", f"instances/{instance_id}")
    assert [item["status"] for item in (await api.ok("GET", "instances"))["data"]] == ["running"]


@in_virtual_time
async def test_an_instances_own_price_may_differ_from_the_quote(api: TensorDockApi) -> None:
    api.world.faults.set(price_surprise=1, price_surprise_factor=2)
    instance_id = await api.create()
    assert (await api.ok("GET", f"instances/{instance_id}"))["rateHourly"] == 0.936


# The world's own rules behind it


@in_virtual_time
async def test_a_released_machine_holds_no_capacity(api: TensorDockApi) -> None:
    instance_id = await api.running()
    machine = api.world.machines[instance_id]
    free = api.world.free("tensordock", machine.instance.name, machine.region)
    api.world.power_off(machine, releases=True)
    await asyncio.sleep(2)
    assert machine.life(api.world.now_ms()) is Life.RELEASED
    assert machine.is_alive(api.world.now_ms())
    assert api.world.free("tensordock", machine.instance.name, machine.region) == free + 1
