"""Instances of the simulated Vast.ai: creating, reading, listing, stopping, what goes wrong, and the shell inside."""

from __future__ import annotations

import asyncio
import base64
import json
from importlib import resources
from typing import Any

import pytest
from vastai_stage import BOOT_S, DIRECT, VastApi, public_key

from gputui.model.errors import ShellError
from gputui.sim.vtime import in_virtual_time

EVERYTHING_UNSET = {
    "client_id": "me", "env": None, "price": None, "label": None, "extra": None, "onstart": None, "image_login": None,
    "python_utf8": False, "lang_utf8": False, "use_jupyter_lab": False, "jupyter_dir": None, "force": False,
    "cancel_unavail": True, "template_hash_id": None, "user": None, "image": "alpine", "disk": 10.0, "runtype": DIRECT,
}  # fmt: skip


@pytest.fixture
def api() -> VastApi:
    return VastApi()


# Creating and reading


@in_virtual_time
async def test_from_null_over_loading_to_running(api: VastApi) -> None:
    offer = await api.offer(allocated_storage=40)
    contract_id = await api.create(offer["id"])
    assert await api.states(contract_id) == (None, "running", "running")
    await asyncio.sleep(2)
    seen = [await api.get(contract_id)]
    await asyncio.sleep(5)
    seen.append(await api.get(contract_id))
    for shown in seen:
        assert shown["actual_status"] == "loading"
        assert (shown["ports"], shown["public_ipaddr"], shown["direct_port_start"]) == ({}, None, -1)
    assert seen[0]["status_msg"] != seen[1]["status_msg"]
    await asyncio.sleep(6)
    shown = await api.get(contract_id)
    assert await api.states(contract_id) == ("running", "running", "running")
    assert shown["status_msg"] == "success, running pytorch/pytorch_2.4.0/ssh\n"
    assert shown["public_ipaddr"] == offer["public_ipaddr"] + "\n"
    port = shown["ports"]["22/tcp"][0]["HostPort"]
    assert shown["ports"]["22/tcp"][1] == {"HostIp": "::", "HostPort": port}
    assert (port, shown["direct_port_start"]) == (str(shown["machine_dir_ssh_port"]), int(port))
    assert (shown["image_runtype"], shown["label"], shown["disk_space"]) == (DIRECT, "box-1", 40)
    for field in ("machine_id", "host_id", "gpu_name", "num_gpus", "gpu_ram", "dph_base", "storage_cost", "end_date"):
        assert shown[field] == offer[field], field
    assert shown["dph_total"] == pytest.approx(offer["dph_total"])
    assert shown["gpu_totalram"] == offer["gpu_total_ram"]


@in_virtual_time
async def test_nulls_for_all_that_is_unset_and_a_disk_larger_than_the_offer(api: VastApi) -> None:
    offer = await api.offer()
    made = await api.ok("PUT", f"asks/{offer['id']}", json={**EVERYTHING_UNSET, "disk": 1_000_000})
    assert set(made) == {"success", "new_contract", "instance_api_key"}
    shown = await api.get(made["new_contract"])
    assert (shown["disk_space"], shown["label"], shown["extra_env"]) == (offer["disk_space"], None, [])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"image": None}, "invalid_args"),
        ({"runtype": "telnet"}, "invalid_args"),
        ({"runtype": "args ssh"}, "invalid_args"),
        ({"onstart": "x" * 4049}, "invalid_args"),
        ({"env": "-e A=1"}, "invalid_args"),
        ({"disk": "much"}, "invalid_args"),
        ({"price": 0.0001}, "invalid_price"),
        ({"price": 129}, "invalid_price"),
        ({"vm": True}, "no_ssh_key_for_vm"),
        ({"template_hash_id": "4e17"}, "invalid_args"),
        ({"env": {"-v V.99:/data": "1"}}, "no_such_volume"),
    ],
)
@in_virtual_time
async def test_create_bodies_that_make_no_sense(api: VastApi, changes: dict[str, Any], code: str) -> None:
    offer = await api.offer()
    status = 404 if code == "no_such_volume" else 400
    await api.refused(status, code, "PUT", f"asks/{offer['id']}/", json=api.order(**changes))
    assert api.world.machines == {}
    await api.create(offer["id"])


@in_virtual_time
async def test_ids_that_are_none(api: VastApi) -> None:
    body = await api.refused(400, "invalid_args", "PUT", "asks/nonsense/", json=api.order())
    assert body["msg"] == "error 400/3467: Invalid args: 'id' is required and must be a valid offer ID"
    body = await api.refused(404, "invalid_args", "PUT", "asks/1234567/", json=api.order())
    assert body["msg"] == "error 404/3603: no_such_ask Instance type by id 1234567 is not available."
    assert await api.get(1234567) is None
    body = await api.refused(400, "invalid_args", "GET", "instances/nonsense/")
    assert body["msg"] == "invalid instance_id"
    await api.refused(404, "no_such_instance", "DELETE", "instances/1234567/")


@pytest.mark.parametrize("form", ["404", "410", "400", "200"])
@in_virtual_time
async def test_an_offer_is_taken_once_whatever_the_status_says(api: VastApi, form: str) -> None:
    offer = await api.offer()
    api.world.faults.set(offer_gone_as=form)
    await api.create(offer["id"])
    response = await api.other("sim-b").call("PUT", f"asks/{offer['id']}/", json=api.order())
    assert response.status_code == int(form)
    assert response.json()["success"] is False
    assert "no_such_ask" in response.json()["error"] + response.json()["msg"]
    assert len(api.world.machines) == 1


@in_virtual_time
async def test_an_offer_lost_between_search_and_create(api: VastApi) -> None:
    offer = await api.offer()
    api.world.faults.set(offer_race={"count": 1})
    body = await api.refused(410, "no_such_ask", "PUT", f"asks/{offer['id']}/", json=api.order())
    assert body["msg"] == f"error 410/3907: no_such_ask Instance type {offer['id']} is no longer available."
    assert api.world.machines == {}
    api.world.faults.set(no_capacity={"count": 1})
    await api.refused(404, "invalid_args", "PUT", f"asks/{offer['id']}/", json=api.order())
    assert api.world.machines == {}


@in_virtual_time
async def test_runtypes_decide_on_ports_and_ssh(api: VastApi) -> None:
    env = {"-p 8000:8000": "1", "-p 9000:9000/udp": "1", "HF_HOME": "/data"}
    direct = await api.get(await api.running(env=env))
    assert set(direct["ports"]) == {"22/tcp", "8000/tcp", "9000/udp"}
    assert direct["extra_env"] == [["-p 8000:8000", "1"], ["-p 9000:9000/udp", "1"], ["HF_HOME", "/data"]]
    assert len({item[0]["HostPort"] for item in direct["ports"].values()}) == 3
    proxy = await api.get(await api.running(runtype="ssh"))
    assert proxy["ports"] == {}
    assert proxy["ssh_host"] == f"ssh{proxy['ssh_idx']}.vast.ai"
    notebook = await api.get(await api.running(runtype="jupyter_direc ssh_direc ssh_proxy"))
    assert set(notebook["ports"]) == {"22/tcp", "8080/tcp"}
    bare_id = await api.running(runtype=None, args_str="-c 'sleep 1'", env={"MOCK_DURATION_S": "60"})
    assert (await api.get(bare_id))["image_runtype"] == "args"
    assert not api.world.answers_ssh(str(bare_id))
    closed = await api.offer(direct_port_count={"lte": 1})
    assert (await api.get(await api.running(closed["id"])))["ports"] == {}


@in_virtual_time
async def test_a_command_without_ssh_runs_to_its_end(api: VastApi) -> None:
    contract_id = await api.running(runtype="args", args=["-c", "train"], env={"MOCK_DURATION_S": "30"})
    await asyncio.sleep(31)
    assert await api.states(contract_id) == ("exited", "running", "running")
    before = api.bill_usd(contract_id)
    await asyncio.sleep(3600)
    disk = api.bill_usd(contract_id) - before
    assert float(disk) == pytest.approx((await api.get(contract_id))["storage_total_cost"], abs=1e-6)


# Listing


@in_virtual_time
async def test_the_old_list_is_gone(api: VastApi) -> None:
    body = await api.refused(410, "deprecated_endpoint", "GET", "instances/")
    assert body["msg"] == "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
    api.world.faults.set(list_v0="200")
    await api.refused(200, "deprecated_endpoint", "GET", "instances/")


@in_virtual_time
async def test_the_list_pages_by_25_and_says_so(api: VastApi) -> None:
    ids = []
    for number, offer in enumerate((await api.offers(limit=60))[:28]):
        ids.append(await api.create(offer["id"], label=None if number % 2 else "even"))
    first = await api.listed(limit=1000)
    assert (first["instances_found"], first["total_instances"], len(first["instances"])) == (25, 28, 25)
    assert first["label_counts"] == {"even": 14, "": 14}
    assert list(json.loads(base64.b64decode(first["next_token"]))) == ["values"]
    await api.destroy(ids[24])
    second = await api.listed(after_token=first["next_token"])
    assert second["next_token"] is None
    assert [item["id"] for item in first["instances"] + second["instances"]] == ids
    assert len((await api.listed(limit=0))["instances"]) == 5
    backwards: list[int] = []
    token = None
    while token is not None or not backwards:
        params = {"limit": 10, "order_by": [{"col": "label", "dir": "desc"}, {"col": "id", "dir": "desc"}]}
        page = await api.listed(**params, **({"after_token": token} if token else {}))
        backwards += [item["id"] for item in page["instances"]]
        token = page["next_token"]
    assert sorted(backwards) == sorted(set(ids) - {ids[24]})


@in_virtual_time
async def test_filters_order_and_columns_of_the_list(api: VastApi) -> None:
    first, second = await api.running(label="a"), await api.create(label="b")
    found = await api.listed(select_filters={"actual_status": {"eq": "running"}})
    assert [item["id"] for item in found["instances"]] == [first]
    found = await api.listed(select_filters={"id": {"in": [second, 1]}})
    assert [item["id"] for item in found["instances"]] == [second]
    found = await api.listed(order_by=[{"col": "label", "dir": "desc"}], select_cols=["id", "what"])
    assert found["instances"] == [{"id": second, "what": None}, {"id": first, "what": None}]
    for params in ({"select_filters": {"dph_total": {"lt": 1}}}, {"order_by": [{"col": "num_gpus"}]}):
        query = {name: json.dumps(value) for name, value in params.items()}
        response = await api.call("GET", "v1/instances/", params=query)
        assert response.status_code == 400
        assert response.json()["msg"].endswith("is not a valid search key")
    response = await api.call("GET", "v1/instances/", params={"after_token": "nonsense"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_token")


@in_virtual_time
async def test_accounts_do_not_see_each_other(api: VastApi) -> None:
    contract_id, other = await api.running(), api.other("sim-b")
    assert await other.get(contract_id) is None
    assert (await other.listed())["instances"] == []
    for method in ("PUT", "DELETE"):
        await other.refused(404, "no_such_instance", method, f"instances/{contract_id}/", json={"state": "stopped"})
    assert await api.get(contract_id) is not None


# Stopping, starting, destroying


@in_virtual_time
async def test_stop_and_start(api: VastApi) -> None:
    contract_id = await api.running()
    assert await api.set_state(contract_id, "stopped") == {"success": True}
    assert await api.states(contract_id) == ("running", "stopped", "running")
    await asyncio.sleep(2)
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")
    assert not api.world.answers_ssh(str(contract_id))
    await api.set_state(contract_id, "running")
    assert await api.states(contract_id) == ("exited", "running", "running")
    await asyncio.sleep(3)
    assert (await api.get(contract_id))["actual_status"] == "loading"
    await asyncio.sleep(2)
    assert await api.states(contract_id) == ("running", "running", "running")
    assert api.world.answers_ssh(str(contract_id))


@in_virtual_time
async def test_a_start_without_a_gpu_is_a_200_that_failed_and_waits(api: VastApi) -> None:
    offer = await api.offer()
    contract_id = await api.running(offer["id"])
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(2)
    other = api.other("sim-b")
    (free,) = await other.offers(machine_id={"eq": offer["machine_id"]})
    taker_id = await other.running(free["id"])
    body = await api.refused(
        200, "resources_unavailable", "PUT", f"instances/{contract_id}/", json={"state": "running"}
    )
    assert body["msg"] == "Required resources are currently unavailable, state change queued."
    await asyncio.sleep(3600)
    assert await api.states(contract_id) == ("exited", "running", "stopped")
    await other.destroy(taker_id)
    await asyncio.sleep(1)
    await api.listed()
    await asyncio.sleep(5)
    assert await api.states(contract_id) == ("running", "running", "running")


@in_virtual_time
async def test_a_queued_start_is_taken_back_by_a_stop(api: VastApi) -> None:
    contract_id = await api.running()
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(2)
    api.world.faults.set(start_refused={"count": 1})
    await api.refused(200, "resources_unavailable", "PUT", f"instances/{contract_id}/", json={"state": "running"})
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(60)
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")


@in_virtual_time
async def test_a_stop_while_loading_may_look_stuck(api: VastApi) -> None:
    contract_id = await api.create()
    await asyncio.sleep(3)
    api.world.faults.set(stop_stuck={"count": 1})
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(60)
    assert await api.states(contract_id) == ("loading", "stopped", "stopped")
    assert api.machine(contract_id).running_ms(api.world.now_ms()) is None


@in_virtual_time
async def test_reboot_recycle_and_label(api: VastApi) -> None:
    contract_id = await api.running()
    for verb, shown in (("reboot", "exited"), ("recycle", "recycling")):
        assert await api.ok("PUT", f"instances/{verb}/{contract_id}/", json={}) == {"success": True}
        assert (await api.get(contract_id))["actual_status"] == shown
        await api.refused(400, "invalid_id", "PUT", f"instances/{verb}/{contract_id}/")
        await asyncio.sleep(5)
        assert (await api.get(contract_id))["actual_status"] == "running"
    await api.ok("PUT", f"instances/{contract_id}/", json={"label": "new"})
    assert (await api.get(contract_id))["label"] == "new"
    await api.refused(400, "invalid_args", "PUT", f"instances/{contract_id}/", json={"label": "x" * 1025})
    await api.refused(400, "invalid_args", "PUT", f"instances/{contract_id}/", json={"state": "flying"})
    await api.refused(400, "invalid_args", "PUT", f"instances/{contract_id}/", json={})


@in_virtual_time
async def test_many_at_once(api: VastApi) -> None:
    ids = [await api.running() for _ in range(3)]
    await api.ok("PUT", "instances/", json={"state": "stopped", "ids": ids[:2]})
    await asyncio.sleep(2)
    assert [(await api.get(item))["actual_status"] for item in ids] == ["exited", "exited", "running"]
    await api.ok("DELETE", "instances/", json={"instance_ids": ids[1:]})
    assert [item["id"] for item in (await api.listed())["instances"]] == ids[:1]
    await api.refused(404, "no_such_instance", "DELETE", "instances/", json={"instance_ids": ids})


@pytest.mark.parametrize("code", ["no_such_instance", "not_found"])
@in_virtual_time
async def test_destroyed_is_gone_at_once_and_again_is_a_404(api: VastApi, code: str) -> None:
    contract_id = await api.running()
    api.world.faults.set(missing_instance_as=code)
    await api.destroy(contract_id)
    assert await api.get(contract_id) is None
    assert (await api.listed())["instances"] == []
    await api.refused(404, code, "DELETE", f"instances/{contract_id}/")


@in_virtual_time
async def test_a_destroy_that_is_stuck_and_lists_that_lag(api: VastApi) -> None:
    contract_id = await api.running()
    api.world.faults.set(stuck_terminate={"count": 1})
    await api.destroy(contract_id)
    await asyncio.sleep(60)
    assert (await api.get(contract_id))["actual_status"] == "running"
    api.world.faults.set(deleted_still_listed_s=10, eventual_get_s=5, eventual_list_s=6)
    await api.destroy(contract_id)
    await asyncio.sleep(2)
    assert await api.get(contract_id) is None
    assert [item["actual_status"] for item in (await api.listed())["instances"]] == ["running"]
    fresh = await api.create()
    assert await api.get(fresh) is None
    await asyncio.sleep(5.5)
    assert (await api.get(fresh))["id"] == fresh
    assert fresh not in [item["id"] for item in (await api.listed())["instances"]]
    await asyncio.sleep(6)
    assert [item["id"] for item in (await api.listed())["instances"]] == [fresh]


# Lives that go wrong


@pytest.mark.parametrize(
    ("settings", "states"),
    [
        ({"slow_provisioning": 1}, ("loading", "running", "running")),
        ({"provisioning_error": 1}, ("created", "running", "running")),
        ({"dies": 1, "dies_after_s": 10}, ("offline", "running", "running")),
        ({"dies": 1, "dies_after_s": 10, "offline_shows": "unknown"}, ("unknown", "running", "running")),
        ({"dies": 1, "dies_after_s": 10, "dies_as": "error"}, ("exited", "running", "running")),
        ({"dies": 1, "dies_after_s": 10, "dies_as": "released"}, ("exited", "stopped", "stopped")),
    ],
)
@in_virtual_time
async def test_what_bad_lives_look_like(api: VastApi, settings: dict[str, Any], states: tuple[str, ...]) -> None:
    api.world.faults.set(**settings)
    contract_id = await api.create()
    await asyncio.sleep(60)
    assert await api.states(contract_id) == states
    if "provisioning_error" in settings:
        assert "OCI runtime create failed" in (await api.get(contract_id))["status_msg"]


@pytest.mark.parametrize(
    "settings", [{"no_capacity_after_accept": 1}, {"dies": 1, "dies_after_s": 1, "dies_as": "vanish"}]
)
@in_virtual_time
async def test_instances_that_vanish(api: VastApi, settings: dict[str, Any]) -> None:
    api.world.faults.set(**settings)
    contract_id = await api.create()
    await asyncio.sleep(60)
    assert await api.get(contract_id) is None
    assert (await api.listed())["instances"] == []


@in_virtual_time
async def test_an_image_that_is_not_there(api: VastApi) -> None:
    contract_id = await api.create(image="nobody/does-not-exist:1")
    await asyncio.sleep(60)
    assert await api.states(contract_id) == ("loading", "running", "running")
    said = "Error response from daemon: manifest for nobody/does-not-exist:1 not found: manifest unknown: manifest unknown\n"
    assert (await api.get(contract_id))["status_msg"] == said
    await asyncio.sleep(361)
    assert await api.states(contract_id) == ("loading", "stopped", "stopped")


@in_virtual_time
async def test_an_image_that_cannot_be_pulled_this_once(api: VastApi) -> None:
    api.world.faults.set(image_not_found={"count": 1}, image_gives_up_s=60)
    contract_id = await api.create()
    await asyncio.sleep(61)
    assert await api.states(contract_id) == ("loading", "stopped", "stopped")
    assert (await api.get(await api.running()))["actual_status"] == "running"


@in_virtual_time
async def test_what_may_look_otherwise(api: VastApi) -> None:
    api.world.faults.set(stopped_shows="stopped", ports_unset_shows="null", address_newline=False)
    contract_id = await api.create()
    assert (await api.get(contract_id))["ports"] is None
    await asyncio.sleep(BOOT_S * 1.2 + 1)
    assert not (await api.get(contract_id))["public_ipaddr"].endswith("\n")
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(2)
    assert await api.states(contract_id) == ("stopped", "stopped", "stopped")


@in_virtual_time
async def test_the_end_of_the_contract_stops_it_for_good(api: VastApi) -> None:
    offer = await api.offer(duration={"gt": 90_000, "lt": 900_000})
    contract_id = await api.running(offer["id"])
    await asyncio.sleep((await api.get(contract_id))["duration"] + 1)
    assert await api.states(contract_id) == ("exited", "stopped", "stopped")
    await api.refused(200, "resources_unavailable", "PUT", f"instances/{contract_id}/", json={"state": "running"})
    await asyncio.sleep(172_800)
    assert await api.get(contract_id) is None


# Inside


@in_virtual_time
async def test_the_harness_runs_inside_without_docker(api: VastApi) -> None:
    await api.ok("POST", "ssh/", json={"ssh_key": public_key()})
    contract_id = await api.create()
    with pytest.raises(ShellError):
        await api.world.open_shell(str(contract_id))
    await asyncio.sleep(BOOT_S * 1.2 + 1)
    shell = await api.world.open_shell(str(contract_id))
    harness = resources.files("gputui.core.runner").joinpath("harness.sh").read_bytes()
    await shell.put(".gputui/j/harness.sh", harness, mode=0o700)
    await shell.put(".gputui/j/spec", b"mode=plain\nnonce=n1\ngrace_s=5\n")
    await shell.put(".gputui/j/command", b"python train.py")
    await shell.put(".gputui/j/env", b"MOCK_DURATION_S=20\nMOCK_EXIT_CODE=3\n")
    assert (await shell.run(["sh", ".gputui/j/harness.sh", "start", ".gputui/j"])).exit_code == 0
    await asyncio.sleep(30)
    polled = await shell.run(["sh", ".gputui/j/harness.sh", "poll", ".gputui/j", "0", "100000", "0"])
    assert polled.stdout.startswith(b"gputui/1 state=exited exit=3 ")
    assert b"$ python train.py" in polled.stdout
    await api.destroy(contract_id)
    with pytest.raises(ShellError):
        await shell.run(["sh", ".gputui/j/harness.sh", "poll", ".gputui/j", "0", "100", "0"])
