"""The simulated Huddle API on the wire: keys, volumes, webhooks and the waitlist."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

from gputui.sim.vtime import in_virtual_time

H100 = "1H100.80S.30V"
SOLD_OUT = "8H200.141S.176V"


# Keys, volumes, webhooks, waitlist


@in_virtual_time
async def test_ssh_keys(api: Any) -> None:
    made = await api.ok("POST", "ssh-keys", json={"name": "mine", "public_key": api.public_key})
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(api.public_key.split()[1])).digest()).decode().rstrip("=")
    assert made == {
        "id": made["id"],
        "name": "mine",
        "fingerprint": f"SHA256:{digest}",
        "key_type": "ed25519",
        "created_at": "2026-01-05T09:00:00Z",
    }
    assert await api.ok("GET", "ssh-keys") == [made]
    for wrong in ("", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa " + api.public_key.split()[1], "ssh-dss AAAA"):
        await api.refused(400, "BAD_REQUEST", "POST", "ssh-keys", json={"name": "x", "public_key": wrong})
    await api.ok("DELETE", f"ssh-keys/{made['id']}")
    await api.refused(404, "NOT_FOUND", "DELETE", f"ssh-keys/{made['id']}")
    assert await api.ok("GET", "ssh-keys") == []


@in_virtual_time
async def test_a_machine_keeps_the_keys_it_was_made_with(api: Any) -> None:
    machine_id = await api.running()
    await api.ok("DELETE", f"ssh-keys/{api.key_id}")
    assert api.world.machines[machine_id].authorized_keys == (api.public_key,)
    body = await api.order()
    await api.refused(400, "BAD_REQUEST", "POST", "deployments/clusters", json=body)


@in_virtual_time
async def test_api_keys_are_minted_work_and_can_be_revoked(api: Any) -> None:
    made = await api.ok("POST", "api-keys", json={"name": "ci"})
    assert made["secret"].startswith("mk_")
    assert len(made["secret"]) == 3 + 64
    assert made["secret"].startswith(made["prefix"])
    second = api.other(made["secret"])
    assert await second.ok("GET", "billing/balance") == await api.ok("GET", "billing/balance")
    listed = await api.ok("GET", "api-keys")
    assert [item["name"] for item in listed] == ["default", "ci"]
    assert all("secret" not in item for item in listed)
    revoked = await second.ok("DELETE", f"api-keys/{made['id']}")
    assert revoked["revoked_at"]
    await second.refused(401, "UNAUTHORIZED", "GET", "billing/balance")
    await api.refused(404, "NOT_FOUND", "DELETE", f"api-keys/{made['id']}")
    await api.ok("DELETE", f"api-keys/{listed[0]['id']}")
    await api.refused(401, "UNAUTHORIZED", "GET", "billing/balance")


@in_virtual_time
async def test_volumes_outlive_their_machine_except_the_disk_it_booted_from(api: Any) -> None:
    machine_id = await api.running(volumes=[{"name": "data", "size": 600, "type": "NVMe"}])

    async def volumes(**params: str) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for item in (await api.ok("GET", "volumes", params=params))["data"]}

    attached = await volumes()
    assert {name: item["status"] for name, item in attached.items()} == {"box-1-os": "attached", "data": "attached"}
    assert attached["data"] == {
        "id": attached["data"]["id"],
        "instance_id": machine_id,
        "name": "data",
        "status": "attached",
        "size": 600,
        "is_os_volume": False,
        "type": "NVMe",
        "location": "FIN-01",
        "created_at": "2026-01-05T09:00:00Z",
        "contract": "hourly",
        "base_hourly_cost": 0.1644,
        "monthly_price": 120.0,
        "currency": "USD",
    }
    assert attached["box-1-os"]["size"] == 50
    volume_id = attached["data"]["id"]
    await api.refused(409, "CONFLICT", "DELETE", f"volumes/{volume_id}")
    await api.ok("DELETE", f"deployments/{machine_id}")
    await asyncio.sleep(1)
    left = await volumes()
    assert {name: (item["status"], item["instance_id"]) for name, item in left.items()} == {"data": ("detached", "")}
    assert set(await volumes(status="deleted")) == {"box-1-os"}
    await api.ok("DELETE", f"volumes/{volume_id}")
    assert await volumes() == {}
    await api.refused(404, "NOT_FOUND", "DELETE", f"volumes/{volume_id}")


@in_virtual_time
async def test_volumes_can_be_made_alone_or_attached(api: Any) -> None:
    body = {"name": "data", "size": 100, "type": "NVMe", "location": "FIN-01"}
    alone = await api.ok("POST", "volumes", json=body)
    assert alone["status"] == "ordered"
    machine_id = await api.running()
    attached = await api.ok("POST", "volumes", json={**body, "instance_id": machine_id})
    found = {item["id"]: item["status"] for item in (await api.ok("GET", "volumes"))["data"]}
    assert (found[alone["id"]], found[attached["id"]]) == ("detached", "attached")
    for wrong in ({"size": 5}, {"type": "HDD"}, {"location": "MOON"}, {"instance_id": "x"}, {"name": ""}):
        await api.refused(400, "BAD_REQUEST", "POST", "volumes", json={**body, **wrong})
    other_place = {**body, "location": "FIN-03", "instance_id": machine_id}
    await api.refused(400, "BAD_REQUEST", "POST", "volumes", json=other_place)


@in_virtual_time
async def test_a_volume_can_be_stuck(api: Any) -> None:
    api.world.faults.set(volume_stuck_attaching=1)
    await api.running(volumes=[{"name": "data", "size": 60, "type": "NVMe"}])
    await asyncio.sleep(3600)
    assert [item["name"] for item in (await api.ok("GET", "volumes", params={"status": "attaching"}))["data"]] == [
        "data"
    ]


@in_virtual_time
async def test_webhooks_are_registered_and_changed_in_part(api: Any) -> None:
    body = {"url": "https://hooks.example.net/gpu", "events": ["deployment.running", "gpu.available"]}
    made = await api.ok("POST", "webhooks", json=body)
    assert made.pop("secret").startswith("whsec_")
    assert made["is_active"] is True
    await asyncio.sleep(5)
    assert await api.ok("GET", "webhooks") == [made]
    paused = await api.ok("PUT", f"webhooks/{made['id']}", json={"is_active": False})
    assert (paused["url"], paused["events"], paused["is_active"]) == (body["url"], body["events"], False)
    assert paused["updated_at"] > made["updated_at"]
    assert (await api.ok("PUT", f"webhooks/{made['id']}", json={}))["is_active"] is False
    for wrong in ({"events": ["deployment.sings"]}, {"url": "ftp://x"}, {"events": []}, {"is_active": "yes"}):
        await api.refused(400, "BAD_REQUEST", "PUT", f"webhooks/{made['id']}", json=wrong)
    await api.refused(400, "BAD_REQUEST", "POST", "webhooks", json={"url": body["url"]})
    await api.ok("DELETE", f"webhooks/{made['id']}")
    for method in ("PUT", "DELETE"):
        await api.refused(404, "NOT_FOUND", method, f"webhooks/{made['id']}", json={})


@in_virtual_time
async def test_the_waitlist_tells_when_capacity_is_back(api: Any) -> None:
    request = await api.ok("POST", "deployments/requests", json={"cluster_type": SOLD_OUT, "location": "FIN-03"})
    assert (request["status"], request["auto_deploy"], request["location"]) == ("waiting", False, "FIN-03")
    api.world.catalogues["huddle"].set_capacity(SOLD_OUT, "FIN-01", 1)
    assert [item["status"] for item in await api.ok("GET", "deployments/requests")] == ["waiting"]
    api.world.catalogues["huddle"].set_capacity(SOLD_OUT, "FIN-03", 1)
    assert [item["status"] for item in await api.ok("GET", "deployments/requests")] == ["notified"]
    await api.refused(409, "CONFLICT", "DELETE", f"deployments/requests/{request['id']}")
    await api.refused(404, "NOT_FOUND", "DELETE", "deployments/requests/none")


@in_virtual_time
async def test_the_waitlist_deploys_by_itself_first_come_first_served(api: Any) -> None:
    config = await api.order(cluster_type=None, hostname="auto-1")
    body = {"cluster_type": SOLD_OUT, "auto_deploy": True, "config": {**config, "location": "FIN-03"}}
    first = await api.ok("POST", "deployments/requests", json=body)
    await asyncio.sleep(1)
    second = await api.ok("POST", "deployments/requests", json=body)
    await api.refused(400, "BAD_REQUEST", "POST", "deployments/requests", json={**body, "config": None})
    api.world.catalogues["huddle"].set_capacity(SOLD_OUT, "FIN-03", 1)
    assert [item["status"] for item in await api.ok("GET", "deployments/requests")] == ["fulfilled", "waiting"]
    (made,) = (await api.ok("GET", "deployments"))["data"]
    assert (made["hostname"], made["cluster_type"]) == ("auto-1", SOLD_OUT)
    assert first["id"] != second["id"]
    cancelled = await api.ok("DELETE", f"deployments/requests/{second['id']}")
    assert cancelled["status"] == "cancelled"


@in_virtual_time
async def test_auto_deploy_waits_for_credit_and_fails_on_nonsense(api: Any) -> None:
    api.world.faults.set(starting_credit_usd=5)
    poor = api.other("sim-poor")
    body = {"cluster_type": H100, "auto_deploy": True, "config": await poor.order(cluster_type=None)}
    await poor.ok("POST", "deployments/requests", json=body)
    assert [item["status"] for item in await poor.ok("GET", "deployments/requests")] == ["waiting"]
    account = api.world.account("huddle", "sim-poor")
    assert account is not None
    api.world.add_credit(account, "50")
    await poor.ok("POST", "deployments/requests", json={**body, "config": {"hostname": "x"}})
    assert [item["status"] for item in await poor.ok("GET", "deployments/requests")] == ["fulfilled", "failed"]
