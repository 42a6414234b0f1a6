"""Every request to and answer of the simulated RunPod against RunPod's published OpenAPI document.

The document is not kept here. Set GPUTUI_SPECS to a folder that holds it as runpod-openapi.json to run these.
"""

from __future__ import annotations

import asyncio
import copy
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from runpod_spec import FAULTS_OF_THE_FILE, LEFT_OUT, RunPodSpec
from runpod_stage import PUBLIC_KEY, RTX4090, RunPodApi

from gputui.sim.vtime import in_virtual_time

FOLDER = os.environ.get("GPUTUI_SPECS")
STOCK = {"include": "AVAILABILITY", "product": "POD"}
WRONG: tuple[Any, ...] = (None, True, 0, 1, -3, 1.5, 20, "", "x", "12.8", [], ["x"], [{}], {}, {"x": "y"}, {"x": 1})

pytestmark = pytest.mark.skipif(not FOLDER, reason="GPUTUI_SPECS names no folder with runpod-openapi.json")


class CheckedApi(RunPodApi):
    """Checks every exchange and remembers what was asked and how it went."""

    def __init__(self, *, limited: bool = True) -> None:
        super().__init__(limited=limited)
        self.world.faults.set(runpod_per_minute=10_000, runpod_per_hour=10_000)
        self.spec = RunPodSpec(Path(str(FOLDER)))
        self.seen: set[tuple[str, int]] = set()
        self.problems: list[str] = []

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        response = await super().call(method, path, **kwargs)
        operation = f"{method} {self._template_of('/v2/' + path)}"
        kind = response.headers["content-type"]
        body = response.json() if kind.endswith("json") and response.content else response.text or None
        self.seen.add((operation, response.status_code))
        self.problems += self.spec.answer_problems(operation, response.status_code, response.headers, body)
        if "json" in kwargs and self.world.faults.choice("runpod_api") == "august":
            self.problems += self._disagreement(operation, kwargs["json"], response)
        return response

    def _disagreement(self, operation: str, body: Any, response: httpx.Response) -> list[str]:
        """Return what the document and the simulator find different in a body."""
        if response.status_code in (401, 403, 405, 413, 429) or body is None:
            return []
        found = self.spec.body_problems(operation, body)
        if bool(found) == (response.status_code == 422):
            return []
        return [f"{operation}: {body!r}: the document finds {found}, the answer was {response.text}"]

    def _template_of(self, path: str) -> str:
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
    assert {operation for operation, status in api.seen if status < 300} == api.spec.operations()
    assert api.spec.used_faults == set()


@in_virtual_time
async def test_other_defaults_do_not_break_the_document(api: CheckedApi) -> None:
    api.world.faults.set(
        runpod_no_runtime_shows="empty",
        runpod_placeless_community=True,
        runpod_unknown_gpu=False,
        runpod_no_public_port=1.0,
        runpod_offline_shows="exited",
        runpod_terminated_readable_s=60,
        runpod_billing_lag_s=0,
        runpod_log_numbers="per_second",
    )
    await tour(api)
    assert api.problems == []


@in_virtual_time
async def test_errors_are_as_documented(api: CheckedApi) -> None:
    for path in ("pods", "catalog/gpus", "account/ssh-keys", "network-volumes", "billing/pods", "pods/x/logs"):
        for authorization in ("", "Bearer fake-key"):
            await api.refused(401, "GET", path, headers={"Authorization": authorization})
        api.world.faults.set(runpod_key_scope="none")
        await api.refused(403, "GET", path)
        api.world.faults.set(runpod_key_scope="all", runpod_per_day=1)
        await api.refused(429, "GET", path)
        api.world.faults.set(runpod_per_day=50_000)
        api.world.faults.set(server_error={"count": 1})
        assert (await api.call("GET", path)).status_code == 500
    api.world.faults.set(no_capacity={"count": 1})
    await api.refused(400, "POST", "pods", json=api.order())
    await api.refused(413, "POST", "pods", json=api.order(name="x" * 102_400))
    api.world.faults.set(runpod_spend_limit_usd=0)
    await api.refused(402, "POST", "pods", json=api.order())
    for method, path in (("GET", "pods/x"), ("DELETE", "pods/x"), ("GET", "pods/x/logs"), ("GET", "catalog/gpus/x")):
        await api.refused(404, method, path)
    for method, path in (
        ("GET", "network-volumes/x"),
        ("DELETE", "network-volumes/x"),
        ("GET", "catalog/datacenters/x"),
    ):
        await api.refused(404, method, path)
    # What is answered before anybody knows who asks tells no limits.
    assert [problem for problem in api.problems if not re.search(r": (413|500): no header RateLimit", problem)] == []


@in_virtual_time
async def test_every_known_fault_of_the_document_is_one_still(api: CheckedApi) -> None:
    await api.call("GET", "pods", headers={"User-Agent": ""})
    await api.call("PUT", "pods")
    api.world.faults.set(runpod_api="september")
    pod_id = await api.running()
    for path in ("pods", f"pods/{pod_id}", "catalog/gpus", "catalog/datacenters"):
        await api.ok("GET", path)
    assert [problem for problem in api.problems if "201" not in problem] == []
    assert api.spec.used_faults == set(FAULTS_OF_THE_FILE)


def test_what_is_left_out_is_in_the_document() -> None:
    spec = RunPodSpec(Path(str(FOLDER)))
    for left_out in LEFT_OUT:
        assert any(path.startswith(left_out) for path in spec.document["paths"])


def test_where_the_document_contradicts_itself() -> None:
    paths = RunPodSpec(Path(str(FOLDER))).document["paths"]
    made = paths["/v2/pods"]["post"]["responses"]["201"]["content"]["application/json"]["examples"]
    (example,) = made.values()
    assert (example["value"]["status"], example["value"]["actions"]) == ("PROVISIONING", ["start", "terminate"])
    prose = " ".join(paths["/v2/pods/{id}/action"]["post"]["description"].split())
    assert "`PROVISIONING` and `STARTING` allow `stop`/`terminate`" in prose, "which is what the simulator does"


@in_virtual_time
async def test_frames_of_a_log_are_as_in_the_documents_example(api: CheckedApi) -> None:
    spec_logs = api.spec.document["paths"]["/v2/pods/{id}/logs"]["get"]["responses"]["200"]
    (example,) = spec_logs["content"]["text/event-stream"]["examples"].values()
    pod_id = await api.running()
    async with api.http.stream("GET", f"pods/{pod_id}/logs") as response:
        frame = await anext(response.aiter_text())
        assert {name.lower() for name in spec_logs["headers"]} <= response.headers.keys()

    def form(text: str) -> str:
        text = re.sub(r'"(source|line)":"[^"]*"', r'"\1":""', text.strip())
        return re.sub(r"\d", "0", text)

    assert form(frame.partition("\n\n")[0]) == form(example["value"])


@in_virtual_time
async def test_the_document_and_the_simulator_refuse_the_same_bodies(api: CheckedApi) -> None:
    pod_id = await api.running(mounts={"persistent": {"size": 20, "path": "/w"}})
    volume = {"name": "data", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}
    volume_id = (await api.ok("POST", "network-volumes", 201, json=volume))["id"]
    whole = api.order(
        args="sleep 1",
        env={"A": "1"},
        registry=None,
        cloud="SECURE",
        cpu={"id": "cpu5c", "vcpuCount": 2},
        dataCenterIds=["EU-RO-1"],
        globalNetworking=False,
        gpu={"id": RTX4090, "count": 1, "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.8"},
        mounts={"persistent": {"size": 10, "path": "/w"}, "network": [{"volumeId": "x", "path": "/w"}]},
        startJupyter=True,
        startSsh=True,
        templateId="tpl",
    )
    bodies: list[tuple[str, str, Any]] = [
        ("POST", "pods", whole),
        ("POST", "pods", api.order()),
        ("PATCH", f"pods/{pod_id}", {name: whole[name] for name in ("args", "disk", "env", "mounts", "name", "image")}),
        ("PATCH", f"pods/{pod_id}", {"locked": False, "globalNetworking": False, "templateId": "x", "ports": []}),
        ("POST", "pods/nobody/action", {"action": "stop"}),
        ("PUT", "account/ssh-keys", {"keys": [PUBLIC_KEY, "ssh-rsa AAAA"]}),
        ("POST", "network-volumes", volume),
        ("PATCH", f"network-volumes/{volume_id}", {"name": "data", "size": 4096}),
    ]
    statuses: Counter[int] = Counter()
    for method, path, body in bodies:
        for changed in mutations(body):
            statuses[(await api.call(method, path, json=changed)).status_code] += 1
    assert api.problems == []
    assert statuses[422] > 500
    assert statuses.total() - statuses[422] > 100


def mutations(body: Any) -> Iterator[Any]:
    """Yield a body with each of its values, at any depth, replaced, left out, or joined by a strange one."""
    yield body
    for steps in _places(body):
        for value in WRONG:
            changed = copy.deepcopy(body)
            holder = _holder(changed, steps)
            holder[steps[-1]] = value
            yield changed
        changed = copy.deepcopy(body)
        del _holder(changed, steps)[steps[-1]]
        yield changed
    yield {**body, "strange": 1}
    yield from ([], "x", 1)


def _places(value: Any, *steps: Any) -> Iterator[tuple[Any, ...]]:
    if steps:
        yield steps
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from _places(item, *steps, step)


def _holder(body: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps[:-1]:
        body = body[step]
    return body


def test_the_checker_sees_what_is_wrong() -> None:
    spec = RunPodSpec(Path(str(FOLDER)))
    volume = {"id": "x", "name": "data", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}
    headers = {"content-type": "application/json", "ratelimit": "", "ratelimit-policy": ""}

    def problems(body: Any, status: int = 200, kind: str = "application/json") -> list[str]:
        return spec.answer_problems("GET /v2/network-volumes", status, {**headers, "content-type": kind}, body)

    assert problems({"networkVolumes": [volume]}) == []
    wrong_bodies: tuple[Any, ...] = (
        {},
        [],
        {"networkVolumes": volume},
        {"networkVolumes": [{**volume, "size": 9}]},
        {"networkVolumes": [{**volume, "type": "FAST"}]},
        {"networkVolumes": [{**volume, "extra": 1}]},
        {"networkVolumes": [], "more": []},
    )
    for wrong in wrong_bodies:
        assert problems(wrong), wrong
    assert problems({"networkVolumes": []}, kind="text/html")
    assert problems({"title": "x", "status": 500}, 500, "application/problem+json")
    assert spec.answer_problems(
        "GET /v2/network-volumes", 200, {"content-type": "application/json"}, {"networkVolumes": []}
    )
    assert spec.body_problems("POST /v2/pods", {"name": "x", "gpu": {"id": "y", "bid": 1}, "image": "z"})
    assert spec.body_problems("POST /v2/pods", {"name": "x"})
    assert spec.body_problems("POST /v2/pods", {"name": "x", "templateId": "y"}) == []


async def tour(api: CheckedApi) -> None:
    """Ask every operation once so that it succeeds, and read what there is in every state of a pod."""
    api.world.faults.set(starting_credit_usd=1000)
    for path in ("catalog/gpus", "catalog/datacenters"):
        await api.ok("GET", path)
    for cloud in ("SECURE", "COMMUNITY"):
        for more in ({}, {"countryCodes": "US,RO"}, {"cudaVersions": "12.8"}, {"minCudaVersion": "13"}, {"count": 8}):
            await api.ok("GET", "catalog/gpus", params={**STOCK, "cloud": cloud, **more})
    await api.ok("GET", f"catalog/gpus/{quote(RTX4090)}", params=STOCK)
    include = {"include": "GPU_AVAILABILITY,CPU_AVAILABILITY"}
    await api.ok("GET", "catalog/datacenters", params=include)
    await api.ok("GET", "catalog/datacenters/EU-RO-1", params=include)
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    await api.ok("GET", "account/ssh-keys")
    wanted = {"name": "data", "size": 50, "dataCenter": "US-KS-2", "type": "HIGH_PERFORMANCE"}
    volume_id = (await api.ok("POST", "network-volumes", 201, json=wanted))["id"]
    for path in ("network-volumes", f"network-volumes/{volume_id}"):
        await api.ok("GET", path)
    await api.ok("PATCH", f"network-volumes/{volume_id}", json={"size": 60})
    network = {"network": [{"volumeId": volume_id, "path": "/w"}]}
    pods = [
        await api.create(mounts=network, ports=["22/tcp", "8888/http"], globalNetworking=True, startSsh=True),
        await api.create(mounts={"persistent": {"size": 20, "path": "/w"}}, gpu={"id": "AMD Instinct MI300X OAM"}),
        await api.create(cloud="COMMUNITY", gpu={"id": RTX4090, "count": 2, "minCudaVersion": "12.4"}),
    ]
    ids = [pod["id"] for pod in pods]
    for _ in range(5):
        await look(api, ids)
        await asyncio.sleep(4)
    await api.ok("PATCH", f"pods/{ids[0]}", json={"name": "later", "env": {"A": "1"}})
    await api.act(ids[0], "restart")
    for pod_id, died_as in zip(ids, ("offline", "error", "released"), strict=True):
        api.world.kill(pod_id, died_as)
    await look(api, ids)
    for pod_id in ids[1:]:
        await api.act(pod_id, "start")
    await look(api, ids)
    await api.refused(409, "POST", f"pods/{ids[1]}/action", json={"action": "start"})
    async with api.logs(ids[1]):
        api.seen.add(("GET /v2/pods/{id}/logs", 200))
    await asyncio.sleep(2 * 86_400)
    await api.act(ids[2], "stop")
    for path in ("billing", "billing/pods", "billing/network-volumes"):
        for size in ("hour", "day", "week", "month", "year"):
            assert (await api.ok("GET", path, params={"bucketSize": size}))["records"]
    await api.ok("GET", "billing/pods", params={"podId": ids[0], "lastN": 3})
    await api.act(ids[1], "terminate", 204)
    await api.ok("DELETE", f"pods/{ids[0]}", 204)
    if api.world.faults.number("runpod_terminated_readable_s"):
        assert await api.status(ids[0]) == "TERMINATED"
    await api.ok("DELETE", f"network-volumes/{volume_id}", 204)


async def look(api: CheckedApi, ids: list[str]) -> None:
    await api.ok("GET", "pods")
    for pod_id in ids:
        await api.get(pod_id)
