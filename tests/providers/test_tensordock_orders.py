"""What the TensorDock client orders, and what a failed order means."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from client_stage import HTML, PUBLIC_KEY, failure_of, seconds
from tensordock_answers import MADE, OFFER, ORDER, REQUEST, TensorDockApi, ok

from gputui.model.errors import Malformed, NoCapacity, ProviderError, RateLimited, Rejected, Transient, Unreachable
from gputui.model.states import MachineState
from gputui.providers.tensordock import first_boot
from gputui.providers.tensordock.client import ORDER_DEADLINE_S, TensorDockClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> TensorDockApi:
    return TensorDockApi()


class TestCreate:
    @in_virtual_time
    async def test_the_order(self, api: TensorDockApi, client: TensorDockClient) -> None:
        made = await client.create(REQUEST)
        assert (made.id, made.label, made.state) == ("vm-1", "gputui-t-01abc", MachineState.PENDING)
        assert (made.ip, made.price_micro_usd_per_hour) == (None, None)
        body = api.body(ORDER)
        runcmd = body["data"]["attributes"].pop("cloud_init")["runcmd"]
        assert runcmd == first_boot.commands(PUBLIC_KEY, needs_docker=False)
        assert body == {
            "data": {
                "type": "virtualmachine",
                "attributes": {
                    "name": "gputui-t-01abc",
                    "type": "virtualmachine",
                    "image": "ubuntu2404_ml_everything",
                    "resources": {
                        "vcpu_count": 16,
                        "ram_gb": 64,
                        "storage_gb": 200,
                        "gpus": {"geforcertx4090-pcie-24gb": {"count": 2}},
                    },
                    "location_id": "loc-1",
                    "port_forwards": [{"internal_port": 22, "external_port": 0}],
                    "ssh_key": PUBLIC_KEY,
                },
            }
        }

    @in_virtual_time
    async def test_what_the_user_chose(self, api: TensorDockApi, client: TensorDockClient) -> None:
        await client.create(replace(REQUEST, os_image="ubuntu2204", disk_gib=320, image="alpine"))
        attributes = api.body(ORDER)["data"]["attributes"]
        assert (attributes["image"], attributes["resources"]["storage_gb"]) == ("ubuntu2204", 350)
        assert any("docker" in command for command in attributes["cloud_init"]["runcmd"])
        assert "alpine" not in json.dumps(attributes)

    @pytest.mark.parametrize(
        "answer",
        [
            ok({"id": "vm-1", "status": "creating"}, 201),
            ok({"data": {"id": "vm-1", "attributes": {"status": "creating"}}}),
        ],
    )
    @in_virtual_time
    async def test_any_form_of_answer(
        self, api: TensorDockApi, client: TensorDockClient, answer: httpx.Response
    ) -> None:
        api.routes[ORDER] = answer
        made = await client.create(REQUEST)
        assert (made.id, made.label, made.state) == ("vm-1", "gputui-t-01abc", MachineState.PENDING)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"label": " "}, "label"),
            ({"disk_gib": 0}, "disk_gib"),
            ({"disk_gib": -5}, "disk_gib"),
            ({"ssh_public_key": "ssh-ed25519"}, "ssh_public_key"),
            ({"ssh_public_key": "ssh-ed25519 $(reboot)"}, "ssh_public_key"),
            ({"ssh_public_key": f"';reboot;' {PUBLIC_KEY.split()[1]}"}, "ssh_public_key"),
            ({"ssh_public_key": f"{PUBLIC_KEY}\n{PUBLIC_KEY}"}, "ssh_public_key"),
            ({"offer": replace(OFFER, native={})}, "offer"),
        ],
        ids=str,
    )
    @in_virtual_time
    async def test_what_cannot_be_ordered_is_not_sent(
        self, api: TensorDockApi, client: TensorDockClient, change: dict[str, Any], field: str
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist, api.requests) == (field, False, [])

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (ok({"status": 400, "error": "No available nodes found"}), NoCapacity, False),
            (ok({"status": 400, "error": "unexpected error during deployment"}), NoCapacity, True),
            (ok({"error": "No available nodes found"}, 500), Transient, True),
            (ok({"data": {"name": "no id"}}), Malformed, True),
            (ok([]), Malformed, True),
            (httpx.Response(200, text=HTML), Malformed, True),
            (httpx.Response(502, text=HTML), Transient, True),
            (httpx.ReadTimeout("slow"), Unreachable, True),
            (httpx.ConnectError("refused"), Unreachable, False),
            (httpx.Response(429), RateLimited, False),
        ],
        ids=str,
    )
    @in_virtual_time
    async def test_a_failure_says_what_may_exist_and_is_sent_once(
        self, api: TensorDockApi, client: TensorDockClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is kind
        assert (error.may_exist, error.operation, api.names) == (may_exist, "order a machine", [ORDER])

    @pytest.mark.parametrize(("answered_after_s", "in_time"), [(ORDER_DEADLINE_S - 1, True), (200, False)])
    @in_virtual_time
    async def test_an_answer_may_take_long_but_not_for_ever(
        self, api: TensorDockApi, client: TensorDockClient, answered_after_s: float, in_time: bool
    ) -> None:
        async def late(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(answered_after_s)
            return ok(MADE)

        api.routes[ORDER] = late
        if in_time:
            assert (await client.create(REQUEST)).id == "vm-1"
        else:
            error = await failure_of(client.create(REQUEST))
            assert type(error) is Unreachable
            assert error.may_exist is True
            assert seconds() == pytest.approx(ORDER_DEADLINE_S)
