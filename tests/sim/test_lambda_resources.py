"""SSH keys, filesystems, firewall rules and audit events of the simulated Lambda Cloud."""

from __future__ import annotations

import asyncio
import base64

import pytest
from lambda_stage import BLOB, INVALID, MISSING, PUBLIC_KEY, LambdaApi

from gputui.sim.vtime import in_virtual_time

SSH_RULE = {"protocol": "tcp", "port_range": [1, 1024], "source_network": "0.0.0.0/0", "description": ""}
WEB_RULE = {"protocol": "tcp", "port_range": [443, 443], "source_network": "10.0.0.0/8", "description": "https"}


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


# SSH keys


@in_virtual_time
async def test_a_key_is_added_listed_and_deleted_by_id(api: LambdaApi) -> None:
    added = await api.ok("POST", "ssh-keys", json={"name": "mine", "public_key": PUBLIC_KEY})
    assert (added["name"], added["public_key"]) == ("mine", PUBLIC_KEY)
    assert await api.ok("GET", "ssh-keys") == [added]
    await api.refused(404, "global/not-found", "DELETE", "ssh-keys/mine")
    assert await api.ok("DELETE", f"ssh-keys/{added['id']}") == {}
    await api.refused(404, "global/not-found", "DELETE", f"ssh-keys/{added['id']}")
    assert await api.ok("GET", "ssh-keys") == []


@in_virtual_time
async def test_a_key_name_is_unique_unless_two_are_added_at_once(api: LambdaApi) -> None:
    body = {"name": "mine", "public_key": PUBLIC_KEY}
    await api.ok("POST", "ssh-keys", json=body)
    assert await api.refused(400, INVALID, "POST", "ssh-keys", json=body) == "Key name must be unique"
    api.world.faults.set(key_name_race={"count": 1})
    await api.ok("POST", "ssh-keys", json=body)
    assert [key["name"] for key in await api.ok("GET", "ssh-keys")] == ["mine", "mine"]
    api.key_name = "mine"
    assert await api.launch_refused(500, "global/unknown") == "An unknown error occurred."
    api.world.faults.set(unknown_error_status="400")
    await api.launch_refused(400, "global/unknown")
    assert await api.listed() == []


@in_virtual_time
async def test_forms_of_a_public_key(api: LambdaApi) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    openssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    encoded = base64.b64encode(BLOB).decode()
    rfc4716 = (
        "---- BEGIN SSH2 PUBLIC KEY ----\nComment: of the \\\nlong kind\n"
        f"{encoded[:40]}\n{encoded[40:]}\n---- END SSH2 PUBLIC KEY ----\n"
    )
    for name, sent, line in (("pem", pem, openssh), ("rfc4716", rfc4716, f"ssh-ed25519 {encoded}")):
        await api.ok("POST", "ssh-keys", json={"name": name, "public_key": sent})
        machine_id = await api.launch(ssh_key_names=[name])
        assert api.world.machines[machine_id].authorized_keys == (line,)


@pytest.mark.parametrize(
    "public_key",
    [
        "",
        "hello",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 aGVsbG8=",
        "ssh-rsa " + base64.b64encode(BLOB).decode(),
        PUBLIC_KEY + "\n" + PUBLIC_KEY,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "---- BEGIN SSH2 PUBLIC KEY ----\n---- END SSH2 PUBLIC KEY ----",
        "x" * 4097,
        7,
    ],
)
@in_virtual_time
async def test_what_is_no_public_key_is_refused(api: LambdaApi, public_key: object) -> None:
    said = await api.refused(400, INVALID, "POST", "ssh-keys", json={"name": "x", "public_key": public_key})
    assert said.startswith("public_key: ")
    assert await api.ok("GET", "ssh-keys") == []


@in_virtual_time
async def test_a_generated_pair_shows_its_private_half_once(api: LambdaApi) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

    made = await api.ok("POST", "ssh-keys", json={"name": "gen"})
    private = load_ssh_private_key(made.pop("private_key").encode(), None)
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert made["public_key"] == f"{line} gen"
    assert await api.ok("GET", "ssh-keys") == [made]
    for name in ("", "x" * 65, None):
        await api.refused(400, INVALID, "POST", "ssh-keys", json={"name": name})


@in_virtual_time
async def test_an_instance_keeps_a_deleted_key(api: LambdaApi) -> None:
    machine_id = await api.running()
    (key,) = await api.ok("GET", "ssh-keys")
    api.world.faults.set(key_in_use_refused=True)
    await api.refused(400, "ssh-keys/key-in-use", "DELETE", f"ssh-keys/{key['id']}")
    api.world.faults.set(key_in_use_refused=False)
    await api.ok("DELETE", f"ssh-keys/{key['id']}")
    assert (await api.get(machine_id))["ssh_key_names"] == ["mine"]
    assert api.world.answers_ssh(machine_id)


# Filesystems


@in_virtual_time
async def test_a_filesystem_is_made_mounted_and_deleted(api: LambdaApi) -> None:
    api.world.faults.set(filesystem_used_gib=2)
    made = await api.ok("POST", "filesystems", json={"name": "datasets", "region": "us-east-1"})
    assert made == {
        "id": made["id"],
        "name": "datasets",
        "mount_point": "/lambda/nfs/datasets",
        "created": "2026-01-05T09:00:00.000Z",
        "created_by": {"id": made["created_by"]["id"], "email": "sim@example.com", "status": "active"},
        "is_in_use": False,
        "region": {"name": "us-east-1", "description": "Virginia, USA"},
    }
    machine_id = await api.running(file_system_names=["datasets"])
    instance = await api.get(machine_id)
    assert instance["file_system_names"] == ["datasets"]
    assert instance["file_system_mounts"] == [{"mount_point": "/lambda/nfs/datasets", "file_system_id": made["id"]}]
    await asyncio.sleep(4 * 3600)
    (listed,) = await api.ok("GET", "file-systems")
    assert listed == {**made, "is_in_use": True, "bytes_used": 2 * 1024**3}
    await api.refused(400, "filesystems/filesystem-in-use", "DELETE", f"filesystems/{made['id']}")
    await api.terminate(machine_id)
    await asyncio.sleep(1)
    assert await api.ok("DELETE", f"filesystems/{made['id']}") == {"deleted_ids": [made["id"]]}
    said = await api.refused(404, MISSING, "DELETE", f"filesystems/{made['id']}")
    assert said == "Filesystem was not found."
    assert await api.ok("GET", "file-systems") == []


@in_virtual_time
async def test_a_mount_point_of_ones_own(api: LambdaApi) -> None:
    one = await api.ok("POST", "filesystems", json={"name": "one", "region": "us-east-1"})
    two = await api.ok("POST", "filesystems", json={"name": "two", "region": "us-east-1"})
    mounts = [{"mount_point": "/data/own", "file_system_id": one["id"]}]
    instance = await api.get(await api.launch(file_system_names=["one", "two"], file_system_mounts=mounts))
    assert instance["file_system_names"] == ["one", "two"]
    assert instance["file_system_mounts"] == [
        *mounts,
        {"mount_point": "/lambda/nfs/two", "file_system_id": two["id"]},
    ]


@in_virtual_time
async def test_filesystems_that_cannot_be(api: LambdaApi) -> None:
    for body in (
        {"name": "x"},
        {"region": "us-east-1"},
        {"name": "x", "region": "mars-1"},
        {"name": "1st", "region": "us-east-1"},
        {"name": "under_score", "region": "us-east-1"},
        {"name": "x" * 61, "region": "us-east-1"},
    ):
        await api.refused(400, INVALID, "POST", "filesystems", json=body)
    body = {"name": "far", "region": "us-west-1"}
    api.world.faults.set(invalid_address={"count": 1}, filesystem_quota=1)
    await api.refused(403, "global/invalid-address", "POST", "filesystems", json=body)
    made = await api.ok("POST", "filesystems", json=body)
    await api.refused(400, "global/duplicate", "POST", "filesystems", json=body)
    await api.refused(400, "global/quota-exceeded", "POST", "filesystems", json={**body, "name": "more"})
    wrong_region = "instance-operations/launch/file-system-in-wrong-region"
    await api.launch_refused(400, wrong_region, file_system_names=["far"])
    mounts = [{"mount_point": "/data/far", "file_system_id": made["id"]}]
    await api.launch_refused(400, wrong_region, file_system_mounts=mounts)
    assert await api.listed() == []


# Firewall


@in_virtual_time
async def test_rules_are_replaced_as_a_whole_and_are_the_global_ruleset(api: LambdaApi) -> None:
    assert [rule["protocol"] for rule in await api.ok("GET", "firewall-rules")] == ["tcp", "icmp"]
    rules = [WEB_RULE, {"protocol": "icmp", "source_network": "1.2.3.4", "description": "ping"}]
    assert await api.ok("PUT", "firewall-rules", json={"data": rules}) == rules
    assert await api.ok("GET", "firewall-rules") == rules
    assert (await api.ok("GET", "firewall-rulesets/global"))["rules"] == rules
    patched = await api.ok("PATCH", "firewall-rulesets/global", json={"rules": [SSH_RULE]})
    assert patched == {"id": "global", "name": "Default Workspace Global Rules", "rules": [SSH_RULE]}
    assert await api.ok("PATCH", "firewall-rulesets/global", json={}) == patched
    assert await api.ok("GET", "firewall-rules") == [SSH_RULE]


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "sctp"},
        {"port_range": None},
        {"port_range": [22]},
        {"port_range": [0, 22]},
        {"port_range": [22, 65536]},
        {"port_range": [80, 22]},
        {"port_range": ["22", "22"]},
        {"source_network": "somewhere"},
        {"source_network": "10.0.0.0/33"},
        {"description": "x" * 129},
        {"description": None},
        {"protocol": "icmp"},
    ],
)
@in_virtual_time
async def test_a_bad_rule_changes_nothing(api: LambdaApi, change: dict[str, object]) -> None:
    before = await api.ok("GET", "firewall-rules")
    body = {"data": [SSH_RULE, {**WEB_RULE, **change}]}
    await api.refused(400, INVALID, "PUT", "firewall-rules", json=body)
    await api.refused(400, INVALID, "PUT", "firewall-rules", json={})
    assert await api.ok("GET", "firewall-rules") == before


@in_virtual_time
async def test_a_ruleset_is_attached_at_launch(api: LambdaApi) -> None:
    body = {"name": "web", "region": "us-east-1", "rules": [WEB_RULE]}
    made = await api.ok("POST", "firewall-rulesets", json=body)
    assert made == {
        "id": made["id"],
        "name": "web",
        "region": {"name": "us-east-1", "description": "Virginia, USA"},
        "rules": [WEB_RULE],
        "created": "2026-01-05T09:00:00.000Z",
        "instance_ids": [],
    }
    path, entry = f"firewall-rulesets/{made['id']}", [{"id": made["id"]}]
    await api.launch_refused(400, MISSING, region_name="us-west-1", firewall_rulesets=entry)
    machine_id = await api.running(firewall_rulesets=entry)
    assert (await api.get(machine_id))["firewall_rulesets"] == entry
    assert (await api.ok("GET", path))["instance_ids"] == [machine_id]
    await api.refused(400, "firewall-rulesets/firewall-ruleset-in-use", "DELETE", path)
    patched = await api.ok("PATCH", path, json={"name": "ssh", "rules": [SSH_RULE]})
    assert (patched["name"], patched["rules"]) == ("ssh", [SSH_RULE])
    assert await api.ok("GET", "firewall-rulesets") == [patched]
    await api.terminate(machine_id)
    await asyncio.sleep(1)
    assert await api.ok("DELETE", path) == {}
    for method in ("GET", "PATCH", "DELETE"):
        await api.refused(404, MISSING, method, path, json={})
    api.world.faults.set(ruleset_quota=0)
    await api.refused(400, "global/quota-exceeded", "POST", "firewall-rulesets", json=body)


@in_virtual_time
async def test_without_a_rule_for_port_22_there_is_no_ssh(api: LambdaApi) -> None:
    machine_id = await api.running()
    elsewhere = await api.running(instance_type_name="gpu_8x_v100", region_name="us-south-1")
    await asyncio.sleep(1)
    assert api.world.answers_ssh(machine_id)
    await api.ok("PUT", "firewall-rules", json={"data": [WEB_RULE]})
    assert not api.world.answers_ssh(machine_id)
    assert api.world.answers_ssh(elsewhere), "rules do not apply in us-south-1"
    late = await api.running()
    await asyncio.sleep(1)
    assert not api.world.answers_ssh(late)
    open_all = {**SSH_RULE, "protocol": "all"}
    body = {"name": "ssh", "region": "us-east-1", "rules": [open_all]}
    ruleset = await api.ok("POST", "firewall-rulesets", json=body)
    opened = await api.running(firewall_rulesets=[{"id": ruleset["id"]}])
    await asyncio.sleep(1)
    assert api.world.answers_ssh(opened)
    await api.ok("PUT", "firewall-rules", json={"data": [SSH_RULE]})
    assert api.world.answers_ssh(machine_id)
    assert api.world.answers_ssh(late)


# Audit events


@in_virtual_time
async def test_launches_and_terminations_are_on_record(api: LambdaApi) -> None:
    machine_id = await api.running()
    await asyncio.sleep(60)
    await api.terminate(machine_id)
    await api.terminate(machine_id)
    answer = (await api.call("GET", "audit-events", params={"resource_type": "cloud.instance"})).json()
    assert answer["page_token"] is None
    assert [event["action"] for event in answer["data"]] == ["created", "terminated"]
    assert {tuple(event["resource_lrns"]) for event in answer["data"]} == {(f"lrn:cloud:instance:{machine_id}",)}
    assert answer["data"][0]["additional_details"] == {"instance_type": "gpu_1x_a10", "region": "us-east-1"}
    times = [event["event_time"] for event in answer["data"]]
    later = (await api.call("GET", "audit-events", params={"start": times[1], "end": times[1]})).json()["data"]
    assert [event["action"] for event in later] == ["terminated"]


@in_virtual_time
async def test_events_come_in_pages(api: LambdaApi) -> None:
    api.world.faults.set(audit_page_size=2)
    for number in range(5):
        await api.ok("POST", "ssh-keys", json={"name": f"key-{number}", "public_key": PUBLIC_KEY})
    names, token = [], None
    while True:
        page = (await api.call("GET", "audit-events", params={"page_token": token} if token else {})).json()
        assert len(page["data"]) <= 2
        names += [event["additional_details"]["name"] for event in page["data"]]
        token = page["page_token"]
        if token is None:
            break
    assert names == [f"key-{number}" for number in range(5)]
    for params in ({"page_token": "!"}, {"page_token": "aGVsbG8="}, {"start": "yesterday"}):
        await api.refused(400, INVALID, "GET", "audit-events", params=params)
