"""Every answer of the simulated Lambda Cloud against Lambda's published OpenAPI document.

The document is not kept here. Set GPUTUI_SPECS to a folder that holds it as lambda-openapi.json to run these.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from lambda_spec import FAULTS_OF_THE_FILE, LambdaSpec
from lambda_stage import PUBLIC_KEY, LambdaApi

from gputui.sim.lambda_.app import API_PATH
from gputui.sim.vtime import in_virtual_time

FOLDER = os.environ.get("GPUTUI_SPECS")
NOBODY = "0" * 32
TERMINATE, RESTART = "instance-operations/terminate", "instance-operations/restart"

pytestmark = pytest.mark.skipif(not FOLDER, reason="GPUTUI_SPECS names no folder with lambda-openapi.json")


class CheckedApi(LambdaApi):
    """Checks every answer it gets and remembers what was asked and how it went."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = LambdaSpec(Path(str(FOLDER)))
        self.seen: set[tuple[str, int]] = set()
        self.problems: list[str] = []

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        response = await super().call(method, path, **kwargs)
        operation = f"{method} {self._template_of(method, '/' + path)}"
        is_json = response.headers["content-type"] == "application/json" and response.content
        self.seen.add((operation, response.status_code))
        self.problems += self.spec.problems(operation, response.status_code, response.json() if is_json else None)
        return response

    def _template_of(self, method: str, path: str) -> str:
        documented = sorted(operation.partition(" ")[2] for operation in self.spec.operations())
        exact = [template for template in documented if template == path]
        fitting = [item for item in documented if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", item), path)]
        return (exact + fitting)[0]


@pytest.fixture
def api() -> CheckedApi:
    return CheckedApi()


@in_virtual_time
async def test_every_documented_operation_answers_as_documented(api: CheckedApi) -> None:
    await tour(api)
    assert api.problems == []
    assert {operation for operation, status in api.seen if status == 200} == api.spec.operations()


@in_virtual_time
async def test_the_undocumented_fields_do_not_break_the_document(api: CheckedApi) -> None:
    api.world.faults.set(undocumented_fields=False)
    await tour(api)
    assert api.problems == []


@in_virtual_time
async def test_errors_are_as_documented(api: CheckedApi) -> None:
    for path in ("instance-types", "regions", "images", "instances", "ssh-keys", "file-systems", "firewall-rules"):
        for authorization in ("", "Bearer fake-key"):
            await api.refused(401, "global/invalid-api-key", "GET", path, headers={"Authorization": authorization})
        api.world.faults.set(account_inactive={"count": 1})
        await api.refused(403, "global/account-inactive", "GET", path)
    api.world.faults.set(forbidden={"count": 1})
    await api.refused(403, "global/forbidden", "GET", "instances")

    launch_refused = api.launch_refused
    await launch_refused(400, "global/invalid-parameters", region_name="mars-1")
    api.world.faults.set(invalid_address={"count": 2})
    await launch_refused(403, "global/invalid-address")
    filesystem = {"name": "far", "region": "us-west-1"}
    await api.refused(403, "global/invalid-address", "POST", "filesystems", json=filesystem)
    for status in ("400", "404"):
        api.world.faults.set(launch_missing_status=status)
        await launch_refused(int(status), "global/object-does-not-exist", image={"family": "none"})
    api.world.faults.set(no_capacity={"count": 1})
    await launch_refused(400, "instance-operations/launch/insufficient-capacity")
    await api.ok("POST", "filesystems", json=filesystem)
    await api.refused(400, "global/duplicate", "POST", "filesystems", json=filesystem)
    wrong_region = "instance-operations/launch/file-system-in-wrong-region"
    await launch_refused(400, wrong_region, file_system_names=["far"])
    api.world.faults.set(instance_quota=0, filesystem_quota=0, ruleset_quota=0)
    await launch_refused(400, "global/quota-exceeded")
    await api.refused(400, "global/quota-exceeded", "POST", "filesystems", json={**filesystem, "name": "more"})
    ruleset = {"name": "web", "region": "us-east-1", "rules": []}
    await api.refused(400, "global/quota-exceeded", "POST", "firewall-rulesets", json=ruleset)
    api.world.faults.set(instance_quota=9, ruleset_quota=9)

    missing = "global/object-does-not-exist"
    paths = {"instances": ("GET", "POST"), "filesystems": ("DELETE",), "firewall-rulesets": ("GET", "PATCH", "DELETE")}
    for path, method in ((path, method) for path, methods in paths.items() for method in methods):
        await api.refused(404, missing, method, f"{path}/{NOBODY}", json={})
    for path in (TERMINATE, RESTART):
        await api.refused(404, missing, "POST", path, json={"instance_ids": [NOBODY]})
        await api.refused(400, "global/invalid-parameters", "POST", path, json={})
    await api.refused(404, "global/not-found", "DELETE", f"ssh-keys/{NOBODY}")
    ruleset_id = (await api.ok("POST", "firewall-rulesets", json=ruleset))["id"]
    machine_id = await api.launch(firewall_rulesets=[{"id": ruleset_id}])
    await api.refused(409, "global/conflict", "POST", RESTART, json={"instance_ids": [machine_id]})
    in_use = "firewall-rulesets/firewall-ruleset-in-use"
    await api.refused(400, in_use, "DELETE", f"firewall-rulesets/{ruleset_id}")
    assert api.problems == []
    assert api.spec.used_faults == set()


@in_virtual_time
async def test_every_known_fault_of_the_document_is_one_still(api: CheckedApi) -> None:
    api.world.faults.set(block_default_user_agents=True)
    await api.call("GET", "regions", headers={"User-Agent": ""})
    await api.call("POST", "file-systems")
    api.world.faults.set(rate_limited={"count": 1})
    await api.call("GET", "regions")
    api.world.faults.set(server_error={"count": 1})
    await api.call("GET", "regions")
    api.world.faults.set(provider_unavailable={"count": 1})
    await api.call("GET", "regions")
    machine_id = await api.launch()
    api.world.faults.set(key_in_use_refused=True)
    (key,) = await api.ok("GET", "ssh-keys")
    await api.refused(400, "ssh-keys/key-in-use", "DELETE", f"ssh-keys/{key['id']}")
    api.world.faults.set(key_name_race={"count": 1})
    await api.ok("POST", "ssh-keys", json={"name": "mine", "public_key": PUBLIC_KEY})
    await api.launch_refused(500, "global/unknown")
    await api.terminate(machine_id)
    assert api.problems == []
    assert api.spec.used_faults == set(FAULTS_OF_THE_FILE)


def test_the_checker_sees_what_is_wrong() -> None:
    spec = LambdaSpec(Path(str(FOLDER)))
    region = {"name": "us-east-1", "description": "Virginia, USA"}
    assert spec.problems("GET /regions", 200, {"data": [region]}) == []
    for wrong in (
        {},
        {"data": region},
        {"data": [{"name": "x"}]},
        {"data": [{**region, "name": 1}]},
        {"data": [], "x": 1},
    ):
        assert spec.problems("GET /regions", 200, wrong)
    assert spec.problems("GET /regions", 404, {"error": {"code": "global/other", "message": "x"}})
    assert spec.problems("GET /regions", 418, {})
    assert API_PATH == "/api/v1"


async def tour(api: CheckedApi) -> None:
    """Ask every operation once so that it succeeds, and read what there is in every state of an instance."""
    rule = {"protocol": "tcp", "port_range": [22, 22], "source_network": "0.0.0.0/0", "description": ""}
    ping = {"protocol": "icmp", "source_network": "0.0.0.0/0", "description": "ping"}
    for path in ("instance-types", "regions", "images"):
        await api.ok("GET", path)
    made = await api.ok("POST", "ssh-keys", json={"name": "gen"})
    await api.ok("DELETE", f"ssh-keys/{made['id']}")
    filesystem = await api.ok("POST", "filesystems", json={"name": "data", "region": "us-east-1"})
    ruleset = {"name": "web", "region": "us-east-1", "rules": [rule, ping]}
    ruleset_id = (await api.ok("POST", "firewall-rulesets", json=ruleset))["id"]
    machine_id = await api.launch(
        file_system_names=["data"],
        firewall_rulesets=[{"id": ruleset_id}],
        tags=[{"key": "owner", "value": "fleet"}],
    )
    await look(api, machine_id)
    await asyncio.sleep(20)
    await api.ok("POST", f"instances/{machine_id}", json={"name": "renamed"})
    await api.ok("POST", RESTART, json={"instance_ids": [machine_id]})
    for died_as in ("offline", "released"):
        await look(api, machine_id)
        api.world.kill(machine_id, died_as)
    await look(api, machine_id)
    await api.ok("PUT", "firewall-rules", json={"data": [rule, ping]})
    await api.ok("GET", "firewall-rules")
    await api.ok("GET", "firewall-rulesets/global")
    await api.ok("PATCH", "firewall-rulesets/global", json={"rules": [rule]})
    await api.ok("PATCH", f"firewall-rulesets/{ruleset_id}", json={"name": "later"})
    await asyncio.sleep(4 * 3600)
    await look(api, machine_id)
    await api.terminate(machine_id)
    await look(api, machine_id)
    await asyncio.sleep(2)
    await look(api, machine_id)
    for path in ("firewall-rulesets", f"firewall-rulesets/{ruleset_id}"):
        await api.ok("GET", path)
    await api.ok("DELETE", f"firewall-rulesets/{ruleset_id}")
    await api.ok("DELETE", f"filesystems/{filesystem['id']}")
    assert (await api.call("GET", "audit-events")).json()["data"]


async def look(api: CheckedApi, machine_id: str) -> None:
    await api.get(machine_id)
    for path in ("instances", "ssh-keys", "file-systems", "firewall-rulesets"):
        await api.ok("GET", path)
