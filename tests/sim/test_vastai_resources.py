"""SSH keys, volumes and logs of the simulated Vast.ai."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from vastai_stage import VastApi, public_key

from gputui.sim.serve import asgi_transport
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> VastApi:
    return VastApi()


# SSH keys


async def add_key(api: VastApi, letter: str = "k") -> int:
    made = await api.ok("POST", "ssh/", json={"ssh_key": public_key(letter)})
    assert made["success"] is True
    assert made["key"]["public_key"] == public_key(letter)
    return int(made["key"]["id"])


def keys_of(api: VastApi, contract_id: int) -> set[str]:
    return set(api.machine(contract_id).authorized_keys)


@in_virtual_time
async def test_keys_of_the_account_are_a_bare_list(api: VastApi) -> None:
    assert await api.ok("GET", "ssh/") == []
    api.world.faults.set(no_ssh_keys_as="404")
    body = await api.refused(404, "not_found", "GET", "ssh/")
    assert body["msg"] == "No SSH keys found for the user."
    key_id = await add_key(api)
    (shown,) = await api.ok("GET", "ssh/")
    assert set(shown) == {"id", "user_id", "key", "created_at", "deleted_at"}
    assert (shown["id"], shown["key"]) == (key_id, public_key())
    await api.other("sim-b").refused(400, "no_ssh_key", "DELETE", f"ssh/{key_id}/")
    changed = await api.ok("PUT", f"ssh/{key_id}/", json={"id": key_id, "ssh_key": public_key("z")})
    assert changed["key"]["public_key"] == public_key("z")
    assert (await api.ok("GET", "users/current/"))["ssh_key"] == public_key("z")
    assert await api.ok("DELETE", f"ssh/{key_id}/") == {"success": True}
    body = await api.refused(400, "no_ssh_key", "DELETE", f"ssh/{key_id}/")
    assert body["msg"] == "SSH key not found"


@in_virtual_time
async def test_keys_that_are_none_and_teams_that_have_none(api: VastApi) -> None:
    for body in ({}, {"ssh_key": ""}, {"ssh_key": None}):
        await api.refused(400, "no_ssh_key", "POST", "ssh/", json=body)
    for line in ("nonsense", "ssh-ed25519 !!!", "ssh-rsa " + public_key().split()[1]):
        await api.refused(400, "invalid_ssh_key", "POST", "ssh/", json={"ssh_key": line})
    api.world.faults.set(team_account=True)
    await api.refused(400, "team_ssh_keys_not_supported", "POST", "ssh/", json={"ssh_key": public_key()})
    contract_id = await api.create()
    await api.ok("POST", f"instances/{contract_id}/ssh/", json={"ssh_key": public_key()})


@in_virtual_time
async def test_account_keys_go_into_new_instances_only(api: VastApi) -> None:
    await add_key(api)
    contract_id = await api.create()
    await add_key(api, "z")
    assert keys_of(api, contract_id) == {public_key()}
    api.world.faults.set(account_keys_reach_instances=True)
    await add_key(api, "y")
    assert keys_of(api, contract_id) == {public_key(), public_key("y")}


@in_virtual_time
async def test_keys_are_attached_to_an_instance_by_their_text(api: VastApi) -> None:
    account_key = await add_key(api)
    contract_id = await api.create()
    path = f"instances/{contract_id}/ssh/"
    again = await api.call("POST", path, json={"ssh_key": public_key() + " another comment"})
    assert again.status_code == 200
    assert again.json() == {"success": False, "msg": "SSH key already associated with instance."}
    made = await api.ok("POST", path, json={"ssh_key": public_key("z")})
    assert made["msg"] == "SSH key attached successfully"
    assert keys_of(api, contract_id) == {public_key(), public_key("z")}
    attached = await api.ok("GET", path)
    assert isinstance(attached["ssh_keys"], str)
    shown = json.loads(attached["ssh_keys"])
    assert [item["key"] for item in shown] == [public_key(), public_key("z")]
    assert [item["id"] for item in await api.ok("GET", "ssh/")] == [account_key]
    removed = await api.ok("DELETE", f"{path}{shown[1]['id']}/")
    assert removed["msg"] == "SSH key removed from instance."
    assert keys_of(api, contract_id) == {public_key()}
    await api.refused(404, "no_such_ssh_key", "DELETE", f"{path}{shown[1]['id']}/")
    await api.refused(404, "no_such_instance", "POST", "instances/1/ssh/", json={"ssh_key": public_key()})


# Volumes


async def volume_offer(api: VastApi) -> dict[str, Any]:
    found = (await api.ok("POST", "volumes/search/", json={"disk_space": {"gte": 50}, "order": [["id", "asc"]]}))[
        "offers"
    ]
    return dict(found[0])


async def make_volume(api: VastApi, offer: dict[str, Any], **body: Any) -> int:
    made = await api.ok("PUT", "volumes/", json={"id": offer["id"], "size": 20, "name": "data_1", **body})
    assert made["volume_name"].startswith("V.")
    return int(made["volume_name"].removeprefix("V."))


async def volumes(api: VastApi, **params: Any) -> list[dict[str, Any]]:
    return list((await api.ok("GET", "volumes", params={"owner": "me", "type": "all_volume", **params}))["volumes"])


@in_virtual_time
async def test_volume_offers_belong_to_machines(api: VastApi) -> None:
    offer = await volume_offer(api)
    (machine,) = await api.offers(machine_id={"eq": offer["machine_id"]})
    assert (machine["avail_vol_ask_id"], machine["avail_vol_size"]) == (offer["id"], offer["disk_space"])
    assert machine["avail_vol_dph"] == pytest.approx(offer["storage_cost"] / 720)
    await make_volume(api, offer)
    left = (await api.ok("POST", "volumes/search/", json={"machine_id": {"eq": offer["machine_id"]}}))["offers"]
    assert [item["disk_space"] for item in left] == [offer["disk_space"] - 20]


@in_virtual_time
async def test_volume_offers_are_found_as_the_official_client_asks_for_them(api: VastApi) -> None:
    question = {
        "verified": {"eq": True},
        "external": {"eq": False},
        "disk_space": {"gte": 1, "gt": "50"},
        "order": [["score", "desc"]],
        "limit": 5,
        "allocated_storage": 1.0,
    }
    offers = (await api.ok("POST", "volumes/search/", json=question))["offers"]
    assert len(offers) == 5
    assert all(offer["disk_space"] > 50 and not offer["external"] for offer in offers)
    scores = [offer["disk_bw"] / offer["storage_cost"] for offer in offers]
    assert scores == sorted(scores, reverse=True)


@in_virtual_time
async def test_a_volume_is_billed_from_creation_to_deletion(api: VastApi) -> None:
    volume_id = await make_volume(api, await volume_offer(api))
    (shown,) = await volumes(api)
    assert (shown["id"], shown["label"], shown["status"], shown["disk_space"]) == (volume_id, "data_1", "created", 20)
    assert await volumes(api, type="network_volume") == []
    begun_ms = api.world.now_ms()
    await asyncio.sleep(100 * 3600)
    credit = (await api.ok("GET", "users/current/"))["credit"]
    assert 100 - credit == pytest.approx(100 * shown["storage_total_cost"])
    (row,) = (await api.charges(begun_ms, api.world.now_ms()))["results"]
    assert (row["source"], row["amount"]) == (f"volume-{volume_id}", round(100 * shown["storage_total_cost"], 3))
    assert await api.ok("DELETE", "volumes/", params={"id": volume_id}) == {"success": True}
    await asyncio.sleep(3600)
    assert (await api.ok("GET", "users/current/"))["credit"] == pytest.approx(credit)
    assert await volumes(api) == []
    await api.refused(404, "no_such_volume", "DELETE", "volumes/", json={"id": volume_id})
    await api.refused(400, "invalid_args", "DELETE", "volumes/")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "no spaces"}, 422, "invalid_args"),
        ({"name": "x" * 65}, 422, "invalid_args"),
        ({"size": 10**6}, 400, "invalid_args"),
        ({"id": 1}, 404, "no_such_ask"),
    ],
)
@in_virtual_time
async def test_volumes_that_cannot_be(api: VastApi, body: dict[str, Any], status: int, code: str) -> None:
    offer = await volume_offer(api)
    await api.refused(status, code, "PUT", "volumes/", json={"id": offer["id"], **body})
    assert await volumes(api) == []


@pytest.mark.parametrize("form", ["env", "volume_info"])
@in_virtual_time
async def test_a_mounted_volume_is_kept_until_its_instance_is_gone(api: VastApi, form: str) -> None:
    offer = await volume_offer(api)
    volume_id = await make_volume(api, offer)
    (machine,) = await api.offers(machine_id={"eq": offer["machine_id"]})
    mount: dict[str, Any] = {"env": {f"-v V.{volume_id}:/data": "1"}}
    if form == "volume_info":
        mount = {"volume_info": {"create_new": False, "volume_id": volume_id, "mount_path": "/data"}}
    elsewhere = await api.offer(machine_id={"neq": offer["machine_id"]})
    await api.refused(400, "invalid_args", "PUT", f"asks/{elsewhere['id']}/", json=api.order(**mount))
    contract_id = await api.create(machine["id"], **mount)
    (shown,) = await volumes(api)
    assert (shown["status"], shown["instances"]) == ("in-use", [{"id": contract_id}])
    (listed,) = (await api.listed())["instances"]
    assert [item["id"] for item in listed["volume_info"]] == [volume_id]
    assert "volume_info" not in await api.get(contract_id)
    await api.refused(400, "invalid_args", "DELETE", "volumes/", params={"id": volume_id})
    await api.destroy(contract_id)
    await asyncio.sleep(20)
    await api.refused(400, "invalid_args", "DELETE", "volumes/", params={"id": volume_id})
    await asyncio.sleep(15)
    await api.ok("DELETE", "volumes/", params={"id": volume_id})


@in_virtual_time
async def test_a_volume_made_with_its_instance(api: VastApi) -> None:
    offer = await volume_offer(api)
    (machine,) = await api.offers(machine_id={"eq": offer["machine_id"]})
    info = {"create_new": True, "volume_id": offer["id"], "size": 25, "mount_path": "/data", "name": "fresh"}
    contract_id = await api.create(machine["id"], volume_info=info)
    (shown,) = await volumes(api)
    assert (shown["label"], shown["disk_space"], shown["instances"]) == ("fresh", 25, [{"id": contract_id}])


# Logs


async def log_url(api: VastApi, contract_id: int, **body: str) -> str:
    return str((await api.ok("PUT", f"instances/request_logs/{contract_id}/", json=body))["result_url"])


@pytest.mark.parametrize("status", ["403", "404"])
@in_virtual_time
async def test_a_log_is_a_public_file_that_comes_late_and_takes_no_key(api: VastApi, status: str) -> None:
    api.world.faults.set(log_pending_status=status)
    contract_id = await api.running(onstart="echo ready")
    url = await log_url(api, contract_id)
    assert url.startswith("http://sim/vastai/")
    async with httpx.AsyncClient(transport=asgi_transport(api.app)) as anybody:
        assert (await anybody.get(url)).status_code == int(status)
        await asyncio.sleep(1)
        response = await anybody.get(url)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        assert "onstart: 10 characters, not executed" in response.text
        assert (await anybody.get(url, headers={"Authorization": "Bearer sim-a"})).status_code == 400
        assert (await anybody.get(f"{url}x")).status_code == 404


@in_virtual_time
async def test_tail_filter_and_the_log_of_a_command(api: VastApi) -> None:
    contract_id = await api.running(runtype="args", args=["train"], env={"MOCK_DURATION_S": "60"})
    await asyncio.sleep(90)
    async with httpx.AsyncClient(transport=asgi_transport(api.app)) as anybody:

        async def log(**body: str) -> list[str]:
            url = await log_url(api, contract_id, **body)
            await asyncio.sleep(1)
            return (await anybody.get(url)).text.splitlines()

        everything = await log()
        assert any("step" in line for line in everything)
        assert await log(tail="3") == everything[-3:]
        assert await log(filter="step") == [line for line in everything if "step" in line]
        assert await log(daemon_logs="true") != everything
        fresh = await api.create()
        contract_id = fresh
        assert await log() == []


@in_virtual_time
async def test_logs_of_what_is_not_there(api: VastApi) -> None:
    body = await api.refused(404, "invalid_id", "PUT", "instances/request_logs/1/", json={})
    assert body["msg"] == "Invalid instance id."
    contract_id = await api.create()
    await api.other("sim-b").refused(404, "invalid_id", "PUT", f"instances/request_logs/{contract_id}/", json={})
