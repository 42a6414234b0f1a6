"""What the RunPod client orders, and what a failed order means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from client_stage import HTML, OTHER_PUBLIC_KEY, PUBLIC_KEY, failure_of
from runpod_answers import BOX, JOB, KEYS, NONE_LEFT, ODD_KEY, ORDER, POD, SET_KEYS, RunPodApi, ok, refused

from gputui.model.errors import (
    AuthError,
    Conflict,
    Malformed,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.model.states import MachineState
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


class TestCreate:
    @in_virtual_time
    async def test_a_job(self, api: RunPodApi, client: RunPodClient) -> None:
        machine = await client.create(JOB)
        assert (machine.id, machine.label, machine.state) == (POD["id"], JOB.label, MachineState.PENDING)
        assert (machine.gpu, machine.gpu_count, machine.price_micro_usd_per_hour) == ("RTX-4090", 1, 740_000)
        assert api.body(ORDER) == {
            "name": "gputui-t-01abc",
            "image": "acme/train:3",
            "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
            "cloud": "SECURE",
            "dataCenterIds": ["EU-RO-1"],
            "disk": 50,
            "env": {"GPUTUI_NONCE": "ab12"},
            "args": "sh -c 'echo '\"'\"'it is on'\"'\"''",
        }
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_a_machine_brings_our_key_along(self, api: RunPodApi, client: RunPodClient) -> None:
        await client.create(BOX)
        assert api.names == [KEYS, SET_KEYS, KEYS, ORDER]
        assert api.keys == [OTHER_PUBLIC_KEY, ODD_KEY, PUBLIC_KEY.replace("fake-key", "gputui")]
        body = api.body(ORDER)
        assert (body["startSsh"], body["ports"]) == (True, ["22/tcp"])
        assert "args" not in body
        await client.create(BOX)
        assert len(api.sent(SET_KEYS)) == 1

    @pytest.mark.parametrize(
        ("change", "field"),
        [({"image": None}, "image"), ({"label": "x" * 192}, "label"), ({"ssh_public_key": "?"}, "ssh_public_key")],
    )
    @in_virtual_time
    async def test_what_cannot_work_is_not_sent(
        self, api: RunPodApi, client: RunPodClient, change: dict[str, Any], field: str
    ) -> None:
        error = await failure_of(client.create(replace(BOX, **change)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist) == (field, False)
        assert api.requests == []

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (refused(400, NONE_LEFT), NoCapacity, False),
            (refused(400, "request could not be processed"), Rejected, False),
            (refused(400, "Renting this pod would put you over your current spending limit"), NotFunded, False),
            (refused(401), AuthError, False),
            (refused(402), NotFunded, False),
            (refused(403), AuthError, False),
            (refused(404, "template not found"), Rejected, False),
            (refused(409), Conflict, True),
            (refused(413), Rejected, False),
            (refused(422), Rejected, False),
            (refused(429), RateLimited, False),
            (refused(500, NONE_LEFT), Transient, True),
            (httpx.Response(403, text="error code: 1010"), Transient, False),
            (httpx.Response(402, text="pay"), Malformed, True),
            (httpx.Response(502, text=HTML), Transient, True),
            (httpx.Response(524, text=HTML), Transient, True),
            (ok({}), Malformed, True),
            (ok([]), Malformed, True),
            (httpx.Response(201), Malformed, True),
            (httpx.Response(201, text=HTML), Malformed, True),
            (httpx.Response(201, text='{"id": "50qyn'), Malformed, True),
            (httpx.ReadError("reset"), Unreachable, True),
            (httpx.ReadTimeout("slow"), Unreachable, True),
            (httpx.ConnectError("refused"), Unreachable, False),
        ],
    )
    @in_virtual_time
    async def test_what_an_answer_means(
        self, api: RunPodApi, client: RunPodClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(JOB))
        assert (type(error), error.may_exist) == (kind, may_exist)
        assert error.provider == "runpod"
        assert len(api.sent(ORDER)) == 1

    @in_virtual_time
    async def test_failing_before_the_order_left(self, api: RunPodApi, client: RunPodClient) -> None:
        for broken in (KEYS, SET_KEYS):
            api.routes[broken] = refused(503)
            error = await failure_of(client.create(BOX))
            assert isinstance(error, Transient)
            assert error.may_exist is False
            api.routes[KEYS] = ok({"keys": []})
        assert api.sent(ORDER) == []
