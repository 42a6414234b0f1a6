"""The simulated TensorDock API on the wire: shapes, errors, order of checks, lists and lives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tensordock_stage import H100, PUBLIC_KEY, RTX_4090, TensorDockApi, size

from gputui.sim.tensordock import knobs
from gputui.sim.tensordock.data import HOSTS
from gputui.sim.vtime import in_virtual_time

NO_NODES = {"status": 400, "error": "No available nodes found"}


@pytest.fixture
def api() -> TensorDockApi:
    return TensorDockApi()


def host_in(city: str, model: str) -> Any:
    return next(host for host in HOSTS if (host.place.city, host.model.id) == (city, model))


# Tokens and limits


@in_virtual_time
async def test_a_token_names_its_organization(api: TensorDockApi) -> None:
    mine = await api.ok("POST", "auth/test", json={})
    assert mine == {"success": True, "organizationId": mine["organizationId"]}
    assert (await api.ok("POST", "auth/test"))["organizationId"] == mine["organizationId"]
    assert (await api.other("sim-b").ok("POST", "auth/test"))["organizationId"] != mine["organizationId"]


@in_virtual_time
async def test_missing_and_foreign_tokens_are_refused_but_the_market_is_open(api: TensorDockApi) -> None:
    for header in ("", "Bearer abc", "Basic sim-a", "sim-a"):
        for method, path in (("GET", "instances"), ("POST", "auth/test"), ("GET", "secrets"), ("GET", "hostnodes")):
            assert await api.refused(401, method, path, headers={"Authorization": header}) == "Unauthorized"
        assert (await api.call("GET", "locations", headers={"Authorization": header})).status_code == 200
    api.world.faults.set(**{knobs.BAD_TOKEN_CODE: "403"})
    await api.refused(403, "GET", "instances", headers={"Authorization": "Bearer abc"})


@in_virtual_time
async def test_a_hundred_requests_a_minute_for_each_organization(api: TensorDockApi) -> None:
    for _ in range(100):
        await api.ok("GET", "secrets")
    response = await api.call("GET", "secrets")
    assert (response.status_code, response.json()) == (429, {"error": "Too many requests"})
    assert "retry-after" not in response.headers
    assert (await api.call("GET", "locations")).status_code == 200
    await api.other("sim-b").ok("GET", "secrets")
    await asyncio.sleep(59)
    api.world.faults.set(**{knobs.LIMIT_SAYS_WHEN: True})
    assert (await api.call("GET", "secrets")).headers["retry-after"] == "1"
    await asyncio.sleep(1)
    await api.ok("GET", "secrets")
    api.world.faults.set(**{knobs.REQUESTS_PER_MINUTE: 0})
    for _ in range(150):
        await api.ok("GET", "secrets")


@in_virtual_time
async def test_routes_that_are_not_there(api: TensorDockApi) -> None:
    await api.refused(404, "GET", "nothing/here")
    await api.refused(404, "GET", f"instances/{'0' * 36}")
    await api.refused(405, "PATCH", "secrets/some", json={})


# The market


@in_virtual_time
async def test_a_location_lists_each_model_with_its_prices(api: TensorDockApi) -> None:
    place = await api.place("Chicago")
    assert {name: place[name] for name in ("city", "stateprovince", "country", "tier")} == {
        "city": "Chicago", "stateprovince": "Illinois", "country": "United States", "tier": 3,
    }  # fmt: skip
    assert place["gpus"][0] == {
        "v0Name": RTX_4090,
        "displayName": "NVIDIA GeForce RTX 4090 PCIe 24GB",
        "max_count": 4,
        "price_per_hr": 0.37,
        "resources": {"max_vcpus": 56, "max_ram_gb": 331, "max_storage_gb": 30200},
        "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005},
        "network_features": {
            "dedicated_ip_available": True,
            "port_forwarding_available": True,
            "network_storage_available": False,
        },
    }
    sold_out = next(gpu for gpu in (await api.place("Krakow"))["gpus"] if "5090" in gpu["v0Name"])
    assert sold_out["max_count"] == 0


@in_virtual_time
async def test_a_listing_follows_what_is_rented_and_what_it_costs(api: TensorDockApi) -> None:
    instance_id = await api.create("Dallas", H100, resources=size(H100, 3, vcpu_count=48, ram_gb=512))
    api.world.catalogues["tensordock"].set_price(f"{H100}@dallas", "2.5")

    async def listed() -> tuple[Any, ...]:
        gpu = (await api.place("Dallas"))["gpus"][0]
        return gpu["max_count"], gpu["resources"]["max_vcpus"], gpu["resources"]["max_ram_gb"], gpu["price_per_hr"]

    assert await listed() == (1, 56, 368, 2.5)
    await api.ok("DELETE", f"instances/{instance_id}")
    await asyncio.sleep(1)
    assert await listed() == (4, 104, 880, 2.5)


@in_virtual_time
async def test_some_listed_gpus_can_never_be_had(api: TensorDockApi) -> None:
    assert (await api.place("Joplin"))["gpus"][0]["max_count"] == 2
    body = await api.order("Joplin", H100)
    assert (await api.call("POST", "instances", json=body)).json() == NO_NODES
    api.world.faults.set(**{knobs.STALE_LISTINGS: False})
    assert [gpu["v0Name"] for gpu in (await api.place("Joplin"))["gpus"]] == ["geforcertx5090-pcie-32gb"]


@in_virtual_time
async def test_hosts_in_the_list_and_alone(api: TensorDockApi) -> None:
    hosts = (await api.ok("GET", "hostnodes", params={"gpu_model": RTX_4090}))["data"]["hostnodes"]
    assert len(hosts) == len(HOSTS)
    listed = hosts[0]
    single = (await api.ok("GET", f"hostnodes/{listed['id']}"))["data"]
    for host, amounts in (
        (listed, {"vcpu_count": 56, "ram_gb": 331, "storage_gb": 30200}),
        (single, {"max_vcpus": 56, "max_ram_gb": 331, "max_storage_gb": 30200}),
    ):
        resources = host["available_resources"]
        assert amounts.items() <= resources.items()
        assert resources["gpus"] == [{"v0Name": RTX_4090, "availableCount": 4, "price_per_hr": 0.37}]
        assert (resources["max_vcpus_per_gpu"], resources["max_ram_per_gpu"]) == (14, 82)
        assert resources["has_public_ip_available"] is True
        assert resources["available_ports"][:2] == [20000, 20001]
        assert host["location"]["uuid"] == host["location_id"] == (await api.place("Chicago"))["id"]
    assert {host["location"]["network_speed_gbps"] for host in hosts} >= {1, 10.5, 0.5}
    assert await api.refused(404, "GET", "hostnodes/nowhere") == "Hostnode not found"


# Creating


@in_virtual_time
async def test_an_instance_from_create_to_running(api: TensorDockApi) -> None:
    made = await api.ok("POST", "instances", json=await api.order())
    instance_id = made["data"]["id"]
    assert made == {
        "data": {"type": "virtualmachine", "id": instance_id, "name": "box-1", "status": "running"}
    }  # fmt: skip
    early = await api.ok("GET", f"instances/{instance_id}")
    assert (early["status"], early["portForwards"], "ipAddress" in early) == ("running", [], False)
    await asyncio.sleep(12)
    shown = await api.ok("GET", f"instances/{instance_id}")
    (forward,) = shown["portForwards"]
    assert shown == {
        "type": "virtualmachine",
        "id": instance_id,
        "name": "box-1",
        "status": "running",
        "ipAddress": shown["ipAddress"],
        "portForwards": [{"internal_port": 22, "external_port": forward["external_port"]}],
        "resources": {
            "vcpu_count": 8,
            "ram_gb": 32,
            "storage_gb": 200,
            "gpus": {"NVIDIA GeForce RTX 4090 PCIe 24GB": {"count": 1, "v0Name": RTX_4090}},
        },
        "rateHourly": 0.468,
    }
    assert shown["ipAddress"].startswith("203.0.113.")
    assert 20_000 <= forward["external_port"] <= 60_999
    assert api.world.answers_ssh(instance_id)


def wrong_bodies() -> Iterator[tuple[dict[str, Any], str, list[str | int]]]:
    """Yield attributes that make no sense, the code of the issue and the end of its path."""
    for name in ("name", "image", "resources", "ssh_key"):
        path: list[str | int] = ["resources", "vcpu_count"] if name == "resources" else [name]
        yield {name: None}, "invalid_type", path
    yield {"type": "vm"}, "invalid_enum_value", ["type"]
    yield {"image": "debian12"}, "invalid_enum_value", ["image"]
    yield {"name": ""}, "too_small", ["name"]
    yield {"name": 5}, "invalid_type", ["name"]
    yield {"resources": size(storage_gb=99)}, "too_small", ["resources", "storage_gb"]
    yield {"resources": size(vcpu_count=7)}, "custom", ["resources", "vcpu_count"]
    yield {"resources": size(ram_gb=40)}, "custom", ["resources", "ram_gb"]
    yield {"resources": size(count=0)}, "too_small", ["resources", "gpus", RTX_4090, "count"]
    yield {"resources": {**size(), "gpus": {}}}, "custom", ["resources", "gpus"]
    yield {"resources": {**size(), "gpus": [RTX_4090]}}, "invalid_type", ["resources", "gpus"]
    yield {"hostnode_id": "x"}, "custom", []
    yield {"location_id": None}, "custom", []
    yield {"useDedicatedIp": "yes"}, "invalid_type", ["useDedicatedIp"]
    yield {"port_forwards": None}, "custom", ["port_forwards"]
    yield {"port_forwards": [{"internal_port": 80, "external_port": 0}]}, "custom", ["port_forwards"]
    yield {"port_forwards": {"22": 22}}, "invalid_type", ["port_forwards"]
    yield {"port_forwards": [{"internal_port": 22}]}, "invalid_type", ["port_forwards", 0, "external_port"]
    yield {"port_forwards": [{"internal_port": 22, "external_port": 70000}]}, "too_big", [
        "port_forwards", 0, "external_port",
    ]  # fmt: skip
    yield {"port_forwards": [{"internal_port": 22, "external_port": 0}] * 2}, "custom", ["port_forwards", 1]
    yield {"ssh_key": "not a key"}, "custom", ["ssh_key"]
    yield {"ssh_key": None, "ssh_key_id": "nobody"}, "custom", ["ssh_key_id"]
    yield {"cloud_init": "runcmd: []"}, "invalid_type", ["cloud_init"]
    yield {"cloud_init": {"runcmd": [["ls"]]}}, "invalid_type", ["cloud_init", "runcmd", 0]
    yield {"cloud_init": {"package_update": 1}}, "invalid_type", ["cloud_init", "package_update"]
    yield {"cloud_init": {"write_files": [{"content": "x"}]}}, "invalid_type", ["cloud_init", "write_files", 0, "path"]


@pytest.mark.parametrize(("changes", "code", "path"), list(wrong_bodies()), ids=str)
@in_virtual_time
async def test_a_create_that_makes_no_sense_is_refused(
    api: TensorDockApi, changes: dict[str, Any], code: str, path: list[str | int]
) -> None:
    issues = await api.refused(400, "POST", "instances", json=await api.order(**changes))
    assert (code, ["data", "attributes", *path]) in [(issue["code"], issue["path"]) for issue in issues]
    assert all(issue["message"] for issue in issues)
    assert api.world.machines == {}


@in_virtual_time
async def test_all_that_is_wrong_is_said_at_once_and_port_22_in_its_own_words(api: TensorDockApi) -> None:
    issues = await api.refused(400, "POST", "instances", json=await api.order(image="debian12", port_forwards=[]))
    assert [issue["path"][-1] for issue in issues] == ["image", "port_forwards"]
    assert issues[1]["message"] == "SSH port (22) must be forwarded for Ubuntu VMs"
    assert (issues[0]["received"], "ubuntu2404" in issues[0]["options"]) == ("debian12", True)
    for content in (b"", b"{", b"\xff"):
        assert "JSON" in await api.refused(400, "POST", "instances", content=content)
    for content in (b"[]", b"3", b'{"data": []}'):
        assert {"Required"} == {
            issue["message"]
            for issue in await api.refused(400, "POST", "instances", content=content)
            if issue["code"] == "invalid_type"
        }


@in_virtual_time
async def test_sizes_are_free_where_the_knob_says_so(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.STRICT_SIZES: False})
    await api.create(resources=size(vcpu_count=7, ram_gb=40))
    assert len(api.world.machines) == 1


@in_virtual_time
async def test_checks_come_in_order_body_then_balance_then_capacity(api: TensorDockApi) -> None:
    await api.ok("GET", "instances")
    api.world.faults.set(starting_credit_usd=0.99)
    poor = api.other("sim-poor")
    await poor.refused(400, "POST", "instances", json=await poor.order("Joplin", H100, name=None))
    answer = await poor.call("POST", "instances", json=await poor.order("Joplin", H100))
    assert (answer.status_code, answer.json()["status"]) == (200, 400)
    assert "need at least $1" in answer.json()["error"]
    assert (await api.call("POST", "instances", json=await api.order("Joplin", H100))).json() == NO_NODES
    api.world.faults.set(**{knobs.ERRORS_IN_200: False})
    answer = await api.call("POST", "instances", json=await api.order("Joplin", H100))
    assert (answer.status_code, answer.json()) == (400, NO_NODES)


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        (("Chicago", "h900-sxm9-1tb"), {}),
        (("Chicago",), {"location_id": "nowhere"}),
        (("Chicago",), {"location_id": None, "hostnode_id": "nobody"}),
        (("Chicago",), {"resources": size(count=5)}),
        (("Chicago",), {"resources": size(count=4, vcpu_count=58)}),
        (("Chicago",), {"resources": size(count=4, storage_gb=40_000)}),
        (("Krakow", "geforcertx5090-pcie-32gb"), {}),
    ],
    ids=str,
)
@in_virtual_time
async def test_what_no_host_has_finds_no_node(
    api: TensorDockApi, where: tuple[str, ...], changes: dict[str, Any]
) -> None:
    body = await api.order(*where, **changes)
    assert (await api.call("POST", "instances", json=body)).json() == NO_NODES
    assert api.world.machines == {}


@in_virtual_time
async def test_one_gpu_does_not_get_the_ram_of_four(api: TensorDockApi) -> None:
    answer = await api.call("POST", "instances", json=await api.order(resources=size(ram_gb=112)))
    assert answer.json() == {"status": 400, "error": "ram per gpu exceeds ratio limit"}
    await api.create(resources=size(count=2, ram_gb=112))


@in_virtual_time
async def test_an_order_for_a_host_gets_its_ports_and_others_where_they_are_taken(api: TensorDockApi) -> None:
    host = host_in("Winnipeg", RTX_4090)
    wanted = [{"internal_port": 22, "external_port": 20_003}, {"internal_port": 80, "external_port": 22}]
    forwards = []
    for _ in range(2):
        instance_id = await api.running(location_id=None, hostnode_id=host.id, port_forwards=wanted)
        shown = await api.ok("GET", f"instances/{instance_id}")
        forwards.append({item["internal_port"]: item["external_port"] for item in shown["portForwards"]})
    assert forwards[0][22] == 20_003
    ports = [port for item in forwards for port in item.values()]
    assert len(set(ports)) == 4
    assert all(20_000 <= port <= 60_999 for port in ports)
    resources = (await api.ok("GET", f"hostnodes/{host.id}"))["data"]["available_resources"]
    assert not set(ports) & set(resources["available_ports"])
    assert resources["gpus"][0]["availableCount"] == 6


@in_virtual_time
async def test_a_dedicated_address_needs_no_forward_and_a_host_that_has_one(api: TensorDockApi) -> None:
    instance_id = await api.running(useDedicatedIp=True, port_forwards=None)
    assert (await api.ok("GET", f"instances/{instance_id}"))["portForwards"] == []
    assert api.world.answers_ssh(instance_id)
    api.world.faults.set(**{knobs.NO_PUBLIC_IP: {"count": 1}})
    for city, model in (("Chicago", RTX_4090), ("Krakow", "geforcertx3090-pcie-24gb")):
        body = await api.order(city, model, useDedicatedIp=True)
        answer = (await api.call("POST", "instances", json=body)).json()
        assert answer == {"status": 400, "error": "No available public IPs on hostnode"}


@in_virtual_time
async def test_windows_needs_no_key_and_answers_no_ssh(api: TensorDockApi) -> None:
    instance_id = await api.running(image="windows10", ssh_key=None, port_forwards=None)
    await asyncio.sleep(60)
    assert not api.world.answers_ssh(instance_id)


@in_virtual_time
async def test_a_stored_key_may_be_named(api: TensorDockApi) -> None:
    attributes = {"name": "laptop", "value": PUBLIC_KEY, "type": "SSHKEY"}
    stored = await api.ok("POST", "secrets", json={"data": {"type": "secret", "attributes": attributes}})
    instance_id = await api.create(ssh_key=None, ssh_key_id=stored["data"]["id"])
    assert api.world.machines[instance_id].authorized_keys == (PUBLIC_KEY,)


# Lists, deletion, organizations


@in_virtual_time
async def test_the_list_holds_every_instance_until_it_is_gone(api: TensorDockApi) -> None:
    assert await api.ok("GET", "instances") == {"data": []}
    made = [await api.create(name=f"box-{number}") for number in range(3)]
    await asyncio.sleep(12)
    items = (await api.ok("GET", "instances"))["data"]
    assert [item["id"] for item in items] == made
    assert set(items[0]) == {"type", "id", "name", "status", "ipAddress", "portForwards"}
    gone = await api.ok("DELETE", f"instances/{made[1]}")
    assert gone == {"data": {"type": "success", "attributes": {"message": "Instance deleted successfully"}}}
    assert await api.status(made[1]) == "running"  # the answer came before the deed
    await asyncio.sleep(1)
    for method in ("GET", "DELETE"):
        assert await api.refused(404, method, f"instances/{made[1]}") == "Instance not found"
    assert [item["id"] for item in (await api.ok("GET", "instances"))["data"]] == [made[0], made[2]]


@in_virtual_time
async def test_organizations_do_not_see_each_other(api: TensorDockApi) -> None:
    instance_id = await api.create()
    other = api.other("sim-b")
    assert await other.ok("GET", "instances") == {"data": []}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop")):
        await other.refused(404, method, f"instances/{instance_id}{path}")
    assert await api.status(instance_id) == "running"


@in_virtual_time
async def test_secrets_are_stored_shown_and_removed(api: TensorDockApi) -> None:
    assert await api.ok("GET", "secrets") == {"data": {"secrets": []}}
    ids = {}
    for kind in ("SSHKEY", "GENERIC", "SECRET"):
        attributes = {"name": f"my {kind}", "value": "hush", "type": kind}
        stored = (await api.ok("POST", "secrets", json={"data": {"type": "secret", "attributes": attributes}}))["data"]
        assert stored == {"type": "secret", "id": stored["id"], "name": f"my {kind}"}
        ids[kind] = stored["id"]
    listed = (await api.ok("GET", "secrets"))["data"]["secrets"]
    assert listed == [{"type": kind, "id": ids[kind], "name": f"my {kind}"} for kind in ids]
    assert (await api.ok("GET", f"secrets/{ids['SSHKEY']}"))["data"] == {
        "type": "secret", "id": ids["SSHKEY"], "name": "my SSHKEY", "value": "hush",
    }  # fmt: skip
    assert "value" not in (await api.ok("GET", f"secrets/{ids['SECRET']}"))["data"]
    assert await api.other("sim-b").ok("GET", "secrets") == {"data": {"secrets": []}}
    assert await api.ok("DELETE", f"secrets/{ids['SSHKEY']}") == {
        "data": {"type": "success", "message": "Secret deleted successfully"}
    }
    for method in ("GET", "DELETE"):
        await api.refused(404, method, f"secrets/{ids['SSHKEY']}")
    for wrong in ({"type": "KEY"}, {"name": None}, {"value": 3}):
        body = {"data": {"type": "secret", "attributes": {"name": "n", "value": "v", "type": "SSHKEY", **wrong}}}
        assert await api.refused(400, "POST", "secrets", json=body)
