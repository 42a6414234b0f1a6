"""What the Vast.ai client orders, what a failed order means, and how our SSH key gets onto the machine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from client_stage import HTML, OUR_NAME, PUBLIC_KEY, failure_of
from vastai_answers import (
    ADD_KEY,
    ATTACH,
    BAD_KEY,
    END,
    ID,
    INSTANCE,
    KEYS,
    MANAGE,
    MISSING,
    OFFER,
    ORDER,
    OUR_KEY,
    READ,
    REQUEST,
    TAKEN,
    VastApi,
    ok,
    refused,
)

from gputui.model.errors import Malformed, NoCapacity, NotFunded, ProviderError, Rejected, Transient, Unreachable
from gputui.model.states import MachineState
from gputui.providers.vastai.client import VastClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> VastApi:
    return VastApi()


class TestCreate:
    @in_virtual_time
    async def test_the_order(self, api: VastApi, client: VastClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == (ID, REQUEST.label, MachineState.PENDING)
        assert (machine.gpu, machine.price_micro_usd_per_hour, machine.region) == ("RTX-4090", 361_110, "CA")
        assert api.names == [KEYS, ORDER, READ]
        body = api.body(ORDER)
        assert (body["image"], body["disk"], body["label"]) == ("pytorch/pytorch:latest", 40, "gputui-t-01abc")
        assert body["runtype"] == "ssh_direc ssh_proxy"
        assert not {"price", "onstart", "args", "env"} & body.keys()
        assert "train.py" not in json.dumps(body)

    @pytest.mark.parametrize("none_yet", [ok([]), httpx.Response(404, json={"msg": "No SSH keys found for the user."})])
    @in_virtual_time
    async def test_our_key_is_registered_before_the_order_and_attached_after_it(
        self, api: VastApi, client: VastClient, none_yet: httpx.Response
    ) -> None:
        api.routes[KEYS] = none_yet
        api.routes[ADD_KEY] = ok({"success": True, "key": {"id": 1, "public_key": PUBLIC_KEY}})
        await client.create(REQUEST)
        assert api.names == [KEYS, ADD_KEY, ORDER, ATTACH, READ]
        assert api.body(ADD_KEY) == {"ssh_key": PUBLIC_KEY.replace("fake-key", OUR_NAME)}
        assert api.body(ATTACH) == {"ssh_key": PUBLIC_KEY}

    @in_virtual_time
    async def test_a_key_is_known_by_its_fingerprint(self, api: VastApi, client: VastClient) -> None:
        api.routes[KEYS] = ok([{**OUR_KEY, "key": PUBLIC_KEY.replace("fake-key", "named otherwise")}])
        await client.create(REQUEST)
        assert api.names == [KEYS, ORDER, READ]

    @in_virtual_time
    async def test_creates_side_by_side_register_it_once(self, api: VastApi, client: VastClient) -> None:
        keys: list[Any] = []

        def add(request: httpx.Request) -> httpx.Response:
            keys.append({"id": 1, "key": json.loads(request.content)["ssh_key"]})
            return ok({"success": True, "key": {"id": 1, "public_key": keys[0]["key"]}})

        api.routes[KEYS] = lambda request: ok(keys)
        api.routes[ADD_KEY] = add
        await asyncio.gather(*(client.create(REQUEST) for _ in range(3)))
        assert len(keys) == 1

    @in_virtual_time
    async def test_another_process_may_register_it_first(self, api: VastApi, client: VastClient) -> None:
        api.routes[KEYS] = [ok([]), ok([OUR_KEY])]
        api.routes[ADD_KEY] = refused(400, "duplicate", "key exists")
        await client.create(REQUEST)
        assert len(api.sent(ATTACH)) == 1

    @in_virtual_time
    async def test_a_team_holds_no_keys_but_its_machines_do(self, api: VastApi, client: VastClient) -> None:
        api.routes[KEYS] = ok([])
        api.routes[ADD_KEY] = refused(400, "team_ssh_keys_not_supported", "Team SSH keys are not supported.")
        await client.create(REQUEST)
        assert len(api.sent(ATTACH)) == 1

    @in_virtual_time
    async def test_attached_before_is_attached(self, api: VastApi, client: VastClient) -> None:
        api.routes[KEYS] = ok([])
        api.routes[ADD_KEY] = ok({"success": True, "key": {"id": 1, "public_key": PUBLIC_KEY}})
        api.routes[ATTACH] = httpx.Response(
            200, json={"success": False, "msg": "SSH key already associated with instance."}
        )
        assert (await client.create(REQUEST)).id == ID
        assert len(api.sent(ATTACH)) == 1

    @in_virtual_time
    async def test_a_machine_that_cannot_be_given_our_key_exists_all_the_same(
        self, api: VastApi, client: VastClient
    ) -> None:
        api.routes[KEYS] = ok([])
        api.routes[ADD_KEY] = refused(400, "team_ssh_keys_not_supported")
        api.routes[ATTACH] = MISSING
        error = await failure_of(client.create(REQUEST))
        assert error.may_exist is True
        assert len(api.sent(ATTACH)) == 3

    @pytest.mark.parametrize(
        "answer",
        [
            TAKEN,
            refused(410, "no_such_ask", "error 410/3907: no_such_ask Instance type 1 is no longer available."),
            refused(400, "no_such_ask"),
            refused(200, "no_such_ask"),
            refused(404, "invalid_args", "gone"),
        ],
    )
    @in_virtual_time
    async def test_losing_the_race_is_normal(self, api: VastApi, client: VastClient, answer: httpx.Response) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is NoCapacity
        assert error.may_exist is False
        assert len(api.sent(ORDER)) == 1

    @pytest.mark.parametrize("status", [200, 400])
    @in_virtual_time
    async def test_a_failed_order_that_made_a_machine_says_so(
        self, api: VastApi, client: VastClient, status: int
    ) -> None:
        for code in ("no_such_ask", "insufficient_credit", "something_new"):
            api.routes[ORDER] = refused(status, code, "it failed", new_contract=36717044)
            assert (await failure_of(client.create(REQUEST))).may_exist is True

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (refused(400, "insufficient_credit", "not enough"), NotFunded, False),
            (refused(400, "invalid_args", "error 400/3467: Invalid args"), Rejected, False),
            (refused(403, "invalid_args", "Offer 1 is not your own. Hosts can only rent their own."), Rejected, False),
            (refused(200, "something_new"), Rejected, True),
            (httpx.Response(500, json={"error": "x", "msg": "oops"}), Transient, True),
            (httpx.Response(500, json={"error": "auth_error", "msg": "Invalid user key"}), Transient, True),
            (httpx.Response(504, text=HTML), Transient, True),
            (httpx.Response(408, json={"msg": "late"}), Transient, True),
            (httpx.Response(403, text=HTML), Transient, False),
            (httpx.Response(200, json={"success": True}), Malformed, True),
            (httpx.Response(200, json={"success": True, "new_contract": None}), Malformed, True),
            (httpx.Response(200, json={"success": True, "new_contract": "../x"}), Malformed, True),
            (httpx.Response(200, text=HTML), Malformed, True),
            (httpx.ReadTimeout("late"), Unreachable, True),
            (httpx.ConnectError("no"), Unreachable, False),
        ],
    )
    @in_virtual_time
    async def test_a_failed_order_is_classed_and_sent_once(
        self, api: VastApi, client: VastClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert len(api.sent(ORDER)) == 1

    @pytest.mark.parametrize(
        "unread", [MISSING, BAD_KEY, ok({"instances": None}), ok({"instances": {}}), httpx.ReadError("reset"), ok([])]
    )
    @in_virtual_time
    async def test_a_machine_that_cannot_be_read_yet_is_not_lost(
        self, api: VastApi, client: VastClient, unread: Any
    ) -> None:
        api.routes[READ] = unread
        machine = await client.create(REQUEST)
        assert (machine.id, machine.state, machine.label) == (ID, MachineState.PENDING, REQUEST.label)
        assert machine.price_micro_usd_per_hour is None

    @in_virtual_time
    async def test_a_machine_without_our_label_gets_it(self, api: VastApi, client: VastClient) -> None:
        api.routes[READ] = ok({"instances": {**INSTANCE, "label": None}})
        assert (await client.create(REQUEST)).label == REQUEST.label
        assert api.body(MANAGE) == {"label": REQUEST.label}

    @in_virtual_time
    async def test_a_label_that_cannot_be_set_loses_no_machine(self, api: VastApi, client: VastClient) -> None:
        api.routes[READ] = ok({"instances": {**INSTANCE, "label": "other"}})
        api.routes[MANAGE] = httpx.Response(503, text=HTML)
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label) == (ID, "other")

    @pytest.mark.parametrize("ending", [ok(), httpx.Response(503, text=HTML)])
    @in_virtual_time
    async def test_what_was_not_ordered_is_ended(
        self, api: VastApi, client: VastClient, ending: httpx.Response
    ) -> None:
        api.routes[READ] = ok({"instances": {**INSTANCE, "disk_space": 8.0}})
        api.routes[END] = ending
        error = await failure_of(client.create(REQUEST))
        assert type(error) is NoCapacity
        assert error.may_exist is True
        assert "8.0 GB" in str(error)
        assert ("Ending it failed" in str(error)) is (ending.status_code != 200)
        assert len(api.sent(END)) == 1

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"disk_gib": 913}, NoCapacity),
            ({"label": "x" * 61}, Rejected),
            ({"ssh_public_key": "nonsense"}, Rejected),
            ({"offer": replace(OFFER, native={})}, Rejected),
        ],
    )
    @in_virtual_time
    async def test_what_cannot_be_ordered_is_not_sent(
        self, api: VastApi, client: VastClient, change: dict[str, Any], kind: type[ProviderError]
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert type(error) is kind
        assert error.may_exist is False
        assert not api.sent(ORDER)

    @in_virtual_time
    async def test_a_failure_before_the_order_left_nothing(self, api: VastApi, client: VastClient) -> None:
        api.routes[KEYS] = ok([])
        api.routes[ADD_KEY] = httpx.Response(500, json={})
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, Transient)
        assert error.may_exist is False
        assert not api.sent(ORDER)
