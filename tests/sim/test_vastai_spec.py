"""Every answer of the simulated Vast.ai against Vast.ai's published OpenAPI document.

The document is not kept here. Set GPUTUI_SPECS to a folder that holds it as vastai-openapi.yaml to run these.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from vastai_stage import VastApi, public_key

from gputui.sim.vtime import in_virtual_time

FOLDER = os.environ.get("GPUTUI_SPECS")

pytestmark = pytest.mark.skipif(not FOLDER, reason="GPUTUI_SPECS names no folder with vastai-openapi.yaml")

# What the simulator serves and the document does not know: Vast.ai's own client calls them.
UNDOCUMENTED = {
    ("GET", "bundles"),
    ("PUT", "search/asks"),
    ("GET", "gpu_names/unique"),
    ("GET", "instances"),
    ("PUT", "instances"),
    ("DELETE", "instances"),
}


class CheckedApi(VastApi):
    """Checks every answer it gets and remembers what was asked and how it went."""

    def __init__(self, key: str = "sim-a", *, limited: bool = False, behind: CheckedApi | None = None) -> None:
        super().__init__(key, limited=limited, behind=behind)
        if behind is None:
            from vastai_spec import VastSpec

            self.spec = VastSpec(Path(str(FOLDER)))
            self.seen: set[tuple[str, int]] = set()
            self.problems: list[str] = []
        else:
            self.spec, self.seen, self.problems = behind.spec, behind.seen, behind.problems

    def other(self, key: str) -> CheckedApi:
        return CheckedApi(key, behind=self)

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        response = await super().call(method, path, **kwargs)
        operation = self.spec.operation(method, response.request.url.path.removeprefix("/vastai"))
        if operation is None:
            assert (method, path.strip("/")) in UNDOCUMENTED, path
            return response
        is_json = response.headers["content-type"] == "application/json"
        body = response.json() if is_json else response.text
        self.seen.add((operation, response.status_code))
        self.problems += self.spec.problems(operation, response.status_code, body)
        return response


@pytest.fixture
def api() -> CheckedApi:
    return CheckedApi()


async def tour(api: CheckedApi) -> None:
    """Use every documented operation that the simulator has, as a good client does."""
    key = (await api.ok("POST", "ssh/", json={"ssh_key": public_key()}))["key"]["id"]
    await api.ok("GET", "ssh/")
    await api.ok("PUT", f"ssh/{key}/", json={"id": key, "ssh_key": public_key("z")})
    await api.offers(type="bid", order=[["dph_total", "asc"]])
    volume_offers = (await api.ok("POST", "volumes/search/", json={}))["offers"]
    name = (await api.ok("PUT", "volumes/", json={"id": volume_offers[0]["id"], "size": 20}))["volume_name"]
    (machine,) = await api.offers(machine_id={"eq": volume_offers[0]["machine_id"]})
    contract_id = await api.running(machine["id"], env={f"-v {name}:/data": "1", "-p 8000:8000": "1"}, onstart="true")
    bid_offer = await api.offer(type="bid")
    bid_id = await api.running(bid_offer["id"], price=bid_offer["min_bid"])
    await api.ok("PUT", f"instances/bid_price/{bid_id}/", json={"price": bid_offer["min_bid"] + 0.1})
    await api.get(contract_id)
    await api.listed()
    await api.listed(limit=1)
    await api.ok("GET", "volumes")
    path = f"instances/{contract_id}/ssh/"
    await api.ok("POST", path, json={"ssh_key": public_key("y")})
    attached = json.loads((await api.ok("GET", path))["ssh_keys"])
    await api.ok("DELETE", f"{path}{attached[1]['id']}/")
    await api.ok("PUT", f"instances/request_logs/{contract_id}/", json={"tail": "10"})
    await api.ok("PUT", f"instances/reboot/{contract_id}/")
    await asyncio.sleep(10)
    await api.ok("PUT", f"instances/recycle/{contract_id}/")
    await asyncio.sleep(3600)
    await api.set_state(contract_id, "stopped")
    await asyncio.sleep(10)
    await api.get(contract_id)
    await api.ok("GET", "users/current/")
    now_ms = api.world.now_ms()
    await api.charges(now_ms - 86_400_000, now_ms)
    when = {"when": {"gte": now_ms / 1000 - 86_400, "lte": now_ms / 1000}}
    await api.ok("GET", "v1/invoices/", params={"select_filters": json.dumps(when)})
    made = await api.ok("POST", "auth/apikeys/", json={"name": "ci", "permissions": {"api": {"misc": {}}}})
    await api.ok("GET", "auth/apikeys/")
    await api.ok("DELETE", f"auth/apikeys/{made['id']}/")
    await api.destroy(contract_id)
    await api.get(contract_id)
    await api.destroy(bid_id)
    await asyncio.sleep(60)
    await api.ok("DELETE", "volumes/", params={"id": name.removeprefix("V.")})
    await api.ok("DELETE", f"ssh/{key}/")


async def wrong_turns(api: CheckedApi) -> None:
    """Get every kind of refusal."""
    nobody, stranger = api.other(""), api.other("wrong")
    now_ms = api.world.now_ms()
    days = {"select_filters": json.dumps({"day": {"gte": now_ms / 1000, "lte": now_ms / 1000}})}
    await stranger.call("POST", "bundles/", json={})
    await api.call("POST", "bundles/", content=b"{")
    for caller in (nobody, stranger):
        await caller.call("GET", "charges/", params=days)
        await caller.call("GET", "v1/invoices/", params=days)
    await nobody.call("GET", "volumes")
    api.world.faults.set(bad_key_status="401")
    for path in ("instances/1/", "users/current/", "ssh/"):
        await stranger.call("GET", path)
    offer = await api.offer()
    await api.call("PUT", "asks/nonsense/", json=api.order())
    await api.call("PUT", f"asks/{offer['id']}/", json=api.order(price=1000))
    await api.call("PUT", "asks/1/", json=api.order())
    api.world.faults.set(offer_race={"count": 1})
    await api.call("PUT", f"asks/{offer['id']}/", json=api.order())
    await api.call("DELETE", "instances/nonsense/")
    await api.call("DELETE", "instances/1/")
    await api.call("PUT", "instances/1/", json={"state": "stopped"})
    await api.call("PUT", "instances/bid_price/1/", json={"price": 1})
    await api.call("PUT", "instances/request_logs/1/")
    await api.call("POST", "ssh/", json={})
    await api.call("GET", "charges/")
    await api.call("GET", "charges/", params={**days, "after_token": "?"})
    await api.call("GET", "v1/invoices/")
    await api.call("GET", "v1/instances/", params={"after_token": "?"})
    await api.call("GET", "v1/instances/", params={"select_filters": '{"dph_total": {"lt": 1}}'})
    await api.call("DELETE", "volumes/", params={"id": 1})
    api.world.faults.set(interval_scale=1, too_frequent_body="detail")
    for _ in range(2):
        await api.call("GET", "v1/instances/")
        await api.call("DELETE", "instances/1/")
        await api.call("GET", "instances/1/")
        await api.call("PUT", f"asks/{offer['id']}/", json=api.order())


@in_virtual_time
async def test_every_answer_is_as_documented_or_in_the_table(api: CheckedApi) -> None:
    from vastai_spec import FAULTS_OF_THE_FILE

    await tour(api)
    await wrong_turns(api)
    assert sorted(set(api.problems)) == []
    assert set(FAULTS_OF_THE_FILE) - api.spec.used_faults == set()


@in_virtual_time
async def test_an_offer_has_every_field_of_the_documents_example(api: CheckedApi) -> None:
    assert api.spec.fields_of_an_offer() - (await api.offer()).keys() == set()
