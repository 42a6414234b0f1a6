"""What the Vast.ai client reads of machines; how it stops, starts and ends them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of
from vastai_answers import BAD_KEY, END, ID, INSTANCE, LIST, MANAGE, MISSING, READ, VastApi, listing, ok, refused

from gputui.model.errors import (
    AuthError,
    Gone,
    Malformed,
    NoCapacity,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.model.states import MachineState
from gputui.providers.vastai.client import VastClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> VastApi:
    return VastApi()


class TestMachines:
    @in_virtual_time
    async def test_all_pages(self, api: VastApi, client: VastClient) -> None:
        pages = {None: (range(25), "a"), "a": (range(25, 50), "b"), "b": (range(50, 53), None)}

        def page(request: httpx.Request) -> httpx.Response:
            assert request.url.params["limit"] == "25"
            assert json.loads(request.url.params["order_by"]) == [{"col": "id", "dir": "asc"}]
            numbers, token = pages[request.url.params.get("after_token")]
            return listing(*({**INSTANCE, "id": 1000 + number} for number in numbers), token=token)

        api.routes[LIST] = page
        machines = await client.list_machines()
        assert {machine.id for machine in machines} == {str(1000 + number) for number in range(53)}
        assert len(machines) == 53

    @in_virtual_time
    async def test_a_list_that_leads_in_a_circle_is_told(self, api: VastApi, client: VastClient) -> None:
        api.routes[LIST] = listing(INSTANCE, token="again")
        assert isinstance(await failure_of(client.list_machines()), Malformed)
        assert len(api.requests) < 5

    @in_virtual_time
    async def test_a_machine_that_cannot_be_read_is_not_left_out(self, api: VastApi, client: VastClient) -> None:
        for row in ({"actual_status": "running"}, None, "odd"):
            api.routes[LIST] = ok({"instances": [INSTANCE, row]})
            error = await failure_of(client.list_machines())
            assert isinstance(error, Malformed)
            assert error.may_exist is False

    @in_virtual_time
    async def test_gone_machines_are_not_listed_but_told(self, api: VastApi, client: VastClient) -> None:
        api.routes[LIST] = listing({**INSTANCE, "cur_state": "unloaded"})
        assert await client.list_machines() == []
        assert (await client.get(ID)).state is MachineState.GONE

    @in_virtual_time
    async def test_a_machine_the_list_leaves_out_is_asked_for_by_itself(self, api: VastApi, client: VastClient) -> None:
        api.routes[LIST] = listing()
        assert (await client.get(ID)).id == ID

    @pytest.mark.parametrize(
        "answer", [ok({"instances": None}), MISSING, refused(404, "not_found", "Instance not found")]
    )
    @in_virtual_time
    async def test_missing_in_both_places_is_gone(
        self, api: VastApi, client: VastClient, answer: httpx.Response
    ) -> None:
        api.routes[LIST] = listing()
        api.routes[READ] = answer
        error = await failure_of(client.get(ID))
        assert type(error) is Gone
        assert error.provider == "vastai"

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (BAD_KEY, AuthError),
            (httpx.Response(404, text=HTML), Malformed),
            (httpx.Response(404), Malformed),
            (ok({}), Malformed),
            (ok({"instances": []}), Malformed),
            (httpx.Response(500, json={}), Transient),
        ],
    )
    @in_virtual_time
    async def test_nothing_else_is_gone(
        self, api: VastApi, client: VastClient, answer: httpx.Response, kind: type[ProviderError]
    ) -> None:
        api.routes[LIST] = listing()
        api.routes[READ] = answer
        assert type(await failure_of(client.get(ID))) is kind

    @pytest.mark.parametrize("machine_id", ["", "x", "../users", "1/2", "¹"])
    @in_virtual_time
    async def test_an_id_that_is_none_leads_nowhere(self, api: VastApi, client: VastClient, machine_id: str) -> None:
        assert isinstance(await failure_of(client.terminate(machine_id, idempotency_key="t")), Gone)
        assert isinstance(await failure_of(client.get(machine_id)), Gone)
        assert api.names == [LIST]

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (MISSING, Gone),
            (refused(404, "not_found", "Instance not found"), Gone),
            (refused(200, "no_such_instance"), Gone),
            (BAD_KEY, AuthError),
            (refused(400, "invalid_args", "invalid instance_id"), Rejected),
            (refused(200, "busy"), Rejected),
            (refused(429, "rate_limit_exceeded", "API requests too frequent endpoint threshold=3.0"), RateLimited),
            (httpx.Response(502, text=HTML), Transient),
            (httpx.ReadError("reset"), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_a_terminate_that_fails_is_sent_once(
        self, api: VastApi, client: VastClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[END] = answer
        assert type(await failure_of(client.terminate(ID, idempotency_key="t"))) is kind
        assert len(api.sent(END)) == 1

    @in_virtual_time
    async def test_stop_and_start(self, api: VastApi, client: VastClient) -> None:
        await client.stop_machine(ID)
        await client.start_machine(ID)
        assert api.bodies(MANAGE) == [
            {"state": "stopped"},
            {"state": "running"},
        ]

    @in_virtual_time
    async def test_a_start_that_would_stay_queued_is_called_off(self, api: VastApi, client: VastClient) -> None:
        queued = refused(
            200, "resources_unavailable", "Required resources are currently unavailable, state change queued."
        )
        api.routes[MANAGE] = [queued, ok()]
        assert type(await failure_of(client.start_machine(ID))) is NoCapacity
        assert [body["state"] for body in api.bodies(MANAGE)] == ["running", "stopped"]

    @in_virtual_time
    async def test_a_start_that_cannot_be_called_off_says_so(self, api: VastApi, client: VastClient) -> None:
        api.routes[MANAGE] = [refused(200, "resources_unavailable"), httpx.Response(502, text=HTML)]
        error = await failure_of(client.start_machine(ID))
        assert type(error) is NoCapacity
        assert "may start by itself" in str(error)
