"""What the Lambda client launches and what a failed launch means; the SSH key that goes with it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, HTML, OUR_NAME, PUBLIC_KEY, failure_of
from lambda_answers import INSTANCE, LAUNCH, NO_CAPACITY, OFFER, OTHER_KEY, REQUEST, LambdaApi, ok, refused

from gputui.model.errors import (
    AuthError,
    Conflict,
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
from gputui.providers.lambda_.client import LambdaClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


class TestCreate:
    @in_virtual_time
    async def test_the_order(self, api: LambdaApi, client: LambdaClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == (INSTANCE["id"], REQUEST.label, MachineState.PENDING)
        assert (machine.gpu, machine.gpu_count, machine.region) == ("H100-SXM", 1, "us-south-2")
        assert machine.price_micro_usd_per_hour is None
        assert api.body(LAUNCH) == {
            "region_name": "us-south-2",
            "instance_type_name": "gpu_1x_h100_sxm5",
            "ssh_key_names": ["laptop"],
            "name": "gputui-t-01abc",
        }
        assert api.names == ["GET ssh-keys", LAUNCH]

    @in_virtual_time
    async def test_an_image_as_asked(self, api: LambdaApi, client: LambdaClient) -> None:
        await client.create(replace(REQUEST, os_image="lambda-stack-22-04", disk_gib=2816))
        assert api.body(LAUNCH)["image"] == {"family": "lambda-stack-22-04"}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"disk_gib": 2817}, "disk_gib"),
            ({"label": "x" * 65}, "label"),
            ({"ssh_public_key": "nonsense"}, "ssh_public_key"),
            ({"offer": replace(OFFER, region=None, native={**OFFER.native, "region_name": None})}, "region"),
        ],
    )
    @in_virtual_time
    async def test_what_cannot_work_is_not_sent(
        self, api: LambdaApi, client: LambdaClient, change: dict[str, Any], field: str
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist) == (field, False)
        assert api.requests == []

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (NO_CAPACITY, NoCapacity, False),
            (refused(400, "global/quota-exceeded"), Rejected, False),
            (refused(400, "global/invalid-parameters"), Rejected, False),
            (refused(400, "global/object-does-not-exist"), Rejected, False),
            (refused(404, "global/object-does-not-exist"), Rejected, False),
            (refused(401, "global/invalid-api-key"), AuthError, False),
            (refused(403, "global/account-inactive"), AuthError, False),
            (refused(403, "global/invalid-address"), Rejected, False),
            (refused(400, "global/unknown"), Transient, True),
            (refused(400, "provider/internal-unavailable"), Transient, True),
            (refused(409, "global/internal-error"), Transient, True),
            (refused(409, "global/conflict"), Conflict, True),
            (refused(500, "global/internal-error"), Transient, True),
            (httpx.Response(429, text="error code: 1015"), RateLimited, False),
            (httpx.Response(403, text="error code: 1010"), Transient, False),
            (httpx.Response(502, text=HTML), Transient, True),
            (httpx.Response(503), Transient, True),
            (ok({}), Malformed, True),
            (ok(None), Malformed, True),
            (ok({"instance_ids": []}), Malformed, True),
            (httpx.Response(200), Malformed, True),
            (httpx.Response(200, text=HTML), Malformed, True),
            (httpx.Response(200, text='{"data": {"instance_ids": ["a44'), Malformed, True),
            (httpx.Response(200, json={"error": {"code": "strange"}}), Malformed, True),
            (httpx.ReadError("reset"), Unreachable, True),
            (httpx.ReadTimeout("slow"), Unreachable, True),
            (httpx.ConnectError("refused"), Unreachable, False),
        ],
    )
    @in_virtual_time
    async def test_what_an_answer_means(
        self, api: LambdaApi, client: LambdaClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[LAUNCH] = answer
        error = await failure_of(client.create(REQUEST))
        assert (type(error), error.may_exist) == (kind, may_exist)
        assert error.provider == "lambda"
        assert len(api.sent(LAUNCH)) == 1

    @in_virtual_time
    async def test_capacity_names_type_and_place(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes[LAUNCH] = NO_CAPACITY
        error = await failure_of(client.create(REQUEST))
        assert "gpu_1x_h100_sxm5 in us-south-2" in str(error)
        assert error.status == 400

    @pytest.mark.parametrize(("headers", "expected_s"), [({}, 12), ({"Retry-After": "30"}, 30)])
    @in_virtual_time
    async def test_a_launch_too_many_says_when_to_try_again(
        self, api: LambdaApi, client: LambdaClient, headers: dict[str, str], expected_s: float
    ) -> None:
        api.routes[LAUNCH] = httpx.Response(429, text="error code: 1015", headers=headers)
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == expected_s

    @in_virtual_time
    async def test_failing_before_the_order_left(self, api: LambdaApi, client: LambdaClient) -> None:
        for broken in ("GET ssh-keys", "POST ssh-keys"):
            api.routes["GET ssh-keys"] = ok([])
            api.routes[broken] = refused(503, "provider/internal-unavailable")
            error = await failure_of(client.create(REQUEST))
            assert isinstance(error, Transient)
            assert error.may_exist is False
        assert api.sent(LAUNCH) == []


class TestSshKeys:
    @in_virtual_time
    async def test_registers_ours_once(self, api: LambdaApi, client: LambdaClient) -> None:
        keys = [OTHER_KEY]

        def register(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            assert body == {"name": OUR_NAME, "public_key": PUBLIC_KEY}
            keys.append({"id": "key-new", **body})
            return ok(keys[-1])

        api.routes["GET ssh-keys"] = lambda request: ok(keys)
        api.routes["POST ssh-keys"] = register
        await asyncio.gather(*(client.create(replace(REQUEST, label=f"l-{number}")) for number in range(2)))
        assert len(api.sent("POST ssh-keys")) == 1
        assert [body["ssh_key_names"] for body in api.bodies(LAUNCH)] == [[OUR_NAME]] * 2

    @in_virtual_time
    async def test_a_name_that_two_keys_have_is_not_launched_with(self, api: LambdaApi, client: LambdaClient) -> None:
        twins = [{"id": "1", "name": OUR_NAME, "public_key": PUBLIC_KEY}, {"id": "2", "name": OUR_NAME}]
        api.routes["GET ssh-keys"] = ok(twins)
        api.routes["POST ssh-keys"] = lambda request: ok({"id": "3", **json.loads(request.content)})
        await client.create(REQUEST)
        assert api.body(LAUNCH)["ssh_key_names"] == [f"{OUR_NAME}-2"]

    @in_virtual_time
    async def test_another_process_was_quicker(self, api: LambdaApi, client: LambdaClient) -> None:
        keys: list[Any] = []

        def taken(request: httpx.Request) -> httpx.Response:
            keys.append({"id": "key-new", "name": OUR_NAME, "public_key": PUBLIC_KEY})
            return refused(400, "global/invalid-parameters", "Key name must be unique")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = taken
        await client.create(REQUEST)
        assert api.body(LAUNCH)["ssh_key_names"] == [OUR_NAME]
        assert len(api.sent("POST ssh-keys")) == 1

    @in_virtual_time
    async def test_a_key_that_is_refused_stays_refused(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = ok([])
        api.routes["POST ssh-keys"] = refused(400, "global/invalid-parameters", "public_key: not a key")
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, Rejected)
        assert api.sent(LAUNCH) == []

    @in_virtual_time
    async def test_a_lost_registration_is_looked_up_not_repeated(self, api: LambdaApi, client: LambdaClient) -> None:
        keys: list[Any] = []

        def register_and_break(request: httpx.Request) -> Exception:
            keys.append({"id": "key-new", "name": OUR_NAME, "public_key": PUBLIC_KEY})
            return httpx.ReadError("reset")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = register_and_break
        error = await failure_of(client.create(REQUEST))
        assert (type(error), error.may_exist) == (Unreachable, False)
        await client.create(REQUEST)
        assert len(api.sent("POST ssh-keys")) == 1
        assert api.body(LAUNCH)["ssh_key_names"] == [OUR_NAME]

    @in_virtual_time
    async def test_list_add_delete(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["POST ssh-keys"] = ok({"id": "key-9"})
        api.routes["DELETE ssh-keys/key-9"] = ok({})
        assert [(key.id, key.fingerprint) for key in await client.list_ssh_keys()] == [
            ("key-other", "SHA256:NjPW/nTdCp+kYt8q2MDzlxqVglp1qFUCdXF10CRjeX0"),
            ("key-ours", FINGERPRINT),
        ]
        key = await client.add_ssh_key("desk", f"{PUBLIC_KEY}\n")
        assert (key.id, key.name, key.fingerprint) == ("key-9", "desk", FINGERPRINT)
        assert api.body("POST ssh-keys") == {"name": "desk", "public_key": PUBLIC_KEY}
        await client.delete_ssh_key("key-9")
        assert len(api.sent("DELETE ssh-keys/key-9")) == 1
        api.routes["DELETE ssh-keys/key-9"] = refused(404, "global/not-found")
        with pytest.raises(Gone):
            await client.delete_ssh_key("key-9")

    @pytest.mark.parametrize(
        ("name", "public_key"), [("", PUBLIC_KEY), ("x" * 65, PUBLIC_KEY), ("desk", ""), ("desk", "x")]
    )
    @in_virtual_time
    async def test_a_pair_is_never_generated_by_mistake(
        self, api: LambdaApi, client: LambdaClient, name: str, public_key: str
    ) -> None:
        with pytest.raises(Rejected):
            await client.add_ssh_key(name, public_key)
        assert api.requests == []

    @in_virtual_time
    async def test_an_answer_without_an_id_is_malformed(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["POST ssh-keys"] = ok({"name": "desk"})
        error = await failure_of(client.add_ssh_key("desk", PUBLIC_KEY))
        assert isinstance(error, Malformed)
        assert error.may_exist is False
