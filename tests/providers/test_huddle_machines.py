"""What the Huddle client reads of machines, and how it ends them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of
from huddle_answers import DEPLOYMENT, HuddleApi, ok, refused

from gputui.model.errors import AuthError, Conflict, Gone, Malformed, ProviderError, Transient, Unreachable
from gputui.model.states import MachineState
from gputui.providers.huddle.client import HuddleClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> HuddleApi:
    return HuddleApi()


class TestMachines:
    @in_virtual_time
    async def test_list_follows_cursors_and_leaves_out_the_gone(self, api: HuddleApi, client: HuddleClient) -> None:
        pages = {
            None: ok(
                {
                    "data": [DEPLOYMENT, {"id": "dep-2", "status": "deleted"}],
                    "meta": {"has_more": True, "next_cursor": "c"},
                }
            ),
            "c": ok(
                [{"id": "dep-3", "status": "levitating"}, {"id": "dep-4", "status": "failed_no_capacity"}, DEPLOYMENT]
            ),
        }
        api.routes["GET deployments"] = lambda request: pages[request.url.params.get("cursor")]
        machines = await client.list_machines()
        assert [(machine.id, machine.state) for machine in machines] == [
            ("dep-1", MachineState.PENDING),
            ("dep-3", MachineState.UNKNOWN),
        ]
        assert api.requests[0].url.params["limit"] == "100"

    @pytest.mark.parametrize("row", [None, {}, {"status": "running"}])
    @in_virtual_time
    async def test_a_machine_that_cannot_be_read_is_not_left_out(
        self, api: HuddleApi, client: HuddleClient, row: Any
    ) -> None:
        api.routes["GET deployments"] = ok([DEPLOYMENT, row])
        with pytest.raises(Malformed):
            await client.list_machines()

    @in_virtual_time
    async def test_get(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok(
            {**DEPLOYMENT, "status": "running", "ip": "203.0.113.9", "ssh_port": 2222}
        )
        machine = await client.get("dep-1")
        assert (machine.state, machine.ip, machine.ssh_port) == (MachineState.RUNNING, "203.0.113.9", 2222)

    @in_virtual_time
    async def test_get_of_a_deleted_one(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok({**DEPLOYMENT, "status": "deleted"})
        assert (await client.get("dep-1")).state is MachineState.GONE
        api.routes["GET deployments/dep-1"] = refused(404, "NOT_FOUND")
        with pytest.raises(Gone):
            await client.get("dep-1")

    @in_virtual_time
    async def test_get_without_an_id_is_malformed(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok({})
        error = await failure_of(client.get("dep-1"))
        assert isinstance(error, Malformed)
        assert error.may_exist is False

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(200),
            httpx.Response(204),
            httpx.Response(202, json={"code": "OK"}),
            ok({**DEPLOYMENT, "status": "deleted"}),
            httpx.Response(200, json="deleted"),
        ],
    )
    @in_virtual_time
    async def test_terminate_takes_any_good_answer(
        self, api: HuddleApi, client: HuddleClient, answer: httpx.Response
    ) -> None:
        api.routes["DELETE deployments/dep-1"] = answer
        await client.terminate("dep-1", idempotency_key="idem-t")
        (request,) = api.requests
        assert request.headers["idempotency-key"] == "idem-t"
        assert request.content == b""

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(404, "NOT_FOUND"), Gone),
            (refused(409, "CONFLICT"), Conflict),
            (refused(200, "CONFLICT"), Conflict),
            (refused(500, "INTERNAL"), Transient),
            (refused(401, "UNAUTHORIZED"), AuthError),
            (httpx.Response(404, text=HTML), Malformed),
            (httpx.ReadError("reset"), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_terminate_fails_once_and_says_why(
        self, api: HuddleApi, client: HuddleClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes["DELETE deployments/dep-1"] = answer
        error = await failure_of(client.terminate("dep-1", idempotency_key="idem-t"))
        assert type(error) is kind
        assert len(api.requests) == 1

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "../ssh-keys", "a/b", "a?b=c", "a b", "%2e%2e"])
    @in_virtual_time
    async def test_an_id_never_leads_elsewhere(self, api: HuddleApi, client: HuddleClient, machine_id: str) -> None:
        api.answer_everything(refused(404, "NOT_FOUND"))
        with pytest.raises(Gone):
            await client.terminate(machine_id, idempotency_key="idem-t")
        for path in (request.url.raw_path for request in api.requests):
            assert path.startswith(b"/api/v1/deployments/")
            assert path.count(b"/") == 4
            assert b"?" not in path
