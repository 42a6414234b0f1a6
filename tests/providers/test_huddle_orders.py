"""What the Huddle client orders and what a failed order means; the SSH key that goes with it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, HTML, OUR_NAME, PUBLIC_KEY, failure_of
from huddle_answers import DEPLOY, OFFER, OTHER_KEY, OUR_KEY, REQUEST, HuddleApi, ok, refused

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
from gputui.providers.huddle.client import HuddleClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> HuddleApi:
    return HuddleApi()


class TestCreate:
    @in_virtual_time
    async def test_the_order(self, api: HuddleApi, client: HuddleClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == ("dep-1", "gputui-t-01abc", MachineState.PENDING)
        assert machine.price_micro_usd_per_hour == 2_290_000
        assert api.body(DEPLOY) == {
            "cluster_type": "1H100.80S.30V",
            "location": "FIN-01",
            "hostname": "gputui-t-01abc",
            "ssh_key_ids": ["key-ours"],
            "image": "img-docker",
        }
        (deploy,) = api.sent(DEPLOY)
        assert deploy.headers["idempotency-key"] == "idem-1"
        assert dict(api.sent("GET images")[0].url.params) == {"cluster_type": "1H100.80S.30V"}
        assert api.sent("POST ssh-keys") == []

    @in_virtual_time
    async def test_a_resend_is_the_same_to_the_byte(self, api: HuddleApi, client: HuddleClient) -> None:
        await client.create(REQUEST)
        await client.create(replace(REQUEST, resend=True))
        first, second = api.sent(DEPLOY)
        assert first.content == second.content
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    @in_virtual_time
    async def test_disk_and_image_as_asked(self, api: HuddleApi, client: HuddleClient) -> None:
        await client.create(replace(REQUEST, disk_gib=120, os_image="my-image"))
        assert api.body(DEPLOY)["os_volume"] == {"name": "gputui-t-01abc-os", "size": 120}
        assert api.body(DEPLOY)["image"] == "my-image"
        assert api.sent("GET images") == []

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"disk_gib": 49}, "disk_gib"),
            ({"disk_gib": 513}, "disk_gib"),
            ({"label": "not_a_host"}, "label"),
            ({"label": "x" * 64}, "label"),
            ({"idempotency_key": ""}, "idempotency_key"),
            ({"idempotency_key": "a\r\nX-Other: b"}, "idempotency_key"),
            ({"ssh_public_key": "nonsense"}, "ssh_public_key"),
            ({"offer": replace(OFFER, native={"cluster_type": "1H100.80S.30V", "location": None})}, "region"),
        ],
    )
    @in_virtual_time
    async def test_what_cannot_work_is_not_sent(
        self, api: HuddleApi, client: HuddleClient, change: dict[str, Any], field: str
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist) == (field, False)
        assert api.sent(DEPLOY) == []

    @in_virtual_time
    async def test_no_image_at_all(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET images"] = ok([])
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, Rejected)
        assert error.field == "os_image"

    @in_virtual_time
    async def test_a_short_answer_is_enough(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes[DEPLOY] = httpx.Response(201, json={"code": "OK", "data": {"id": "dep-2"}})
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == ("dep-2", REQUEST.label, MachineState.UNKNOWN)

    @pytest.mark.parametrize(
        ("answer", "first", "later"),
        [
            (refused(400, "BAD_REQUEST"), (Rejected, False), (Rejected, True)),
            (refused(401, "UNAUTHORIZED"), (AuthError, False), (AuthError, True)),
            (refused(402, "INSUFFICIENT_CREDITS"), (NotFunded, False), (NotFunded, True)),
            (refused(404, "NOT_FOUND"), (Rejected, False), (Rejected, True)),
            (refused(409, "CONFLICT"), (NoCapacity, False), (Conflict, True)),
            (refused(200, "CONFLICT"), (NoCapacity, False), (Conflict, True)),
            (refused(422, "STRANGE"), (Rejected, False), (Rejected, True)),
            (refused(429, "SLOW_DOWN"), (RateLimited, False), (RateLimited, True)),
            (refused(500, "INTERNAL"), (Transient, True), (Transient, True)),
            (refused(502, "BAD_GATEWAY"), (Transient, True), (Transient, True)),
            (refused(503, "WHATEVER"), (Transient, True), (Transient, True)),
            (refused(200, "INTERNAL"), (Transient, True), (Transient, True)),
            (refused(200, "STRANGE"), (Malformed, True), (Malformed, True)),
            (ok({}), (Malformed, True), (Malformed, True)),
            (ok(None), (Malformed, True), (Malformed, True)),
            (ok({"status": "ordered"}), (Malformed, True), (Malformed, True)),
            (httpx.Response(200), (Malformed, True), (Malformed, True)),
            (httpx.Response(200, text=HTML), (Malformed, True), (Malformed, True)),
            (httpx.Response(200, text='{"code":"OK","data":{"id":"de'), (Malformed, True), (Malformed, True)),
            (httpx.Response(403, text=HTML), (Transient, False), (Transient, True)),
            (httpx.Response(502, text=HTML), (Transient, True), (Transient, True)),
            (httpx.ReadError("reset"), (Unreachable, True), (Unreachable, True)),
            (httpx.ReadTimeout("slow"), (Unreachable, True), (Unreachable, True)),
            (httpx.ConnectError("refused"), (Unreachable, False), (Unreachable, True)),
        ],
    )
    @in_virtual_time
    async def test_what_an_answer_means_on_the_first_send_and_later(
        self,
        api: HuddleApi,
        client: HuddleClient,
        answer: Any,
        first: tuple[type[ProviderError], bool],
        later: tuple[type[ProviderError], bool],
    ) -> None:
        api.routes[DEPLOY] = answer
        for resend, expected in ((False, first), (True, later)):
            error = await failure_of(client.create(replace(REQUEST, resend=resend)))
            assert (type(error), error.may_exist) == expected
            assert error.provider == "huddle"
        assert len(api.sent(DEPLOY)) == 2

    @in_virtual_time
    async def test_funds_are_explained(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes[DEPLOY] = refused(402, "INSUFFICIENT_CREDITS", "balance $7.35")
        error = await failure_of(client.create(REQUEST))
        assert "$7.35" in str(error)
        assert "$20.00" in str(error)

    @in_virtual_time
    async def test_capacity_names_type_and_place_and_keeps_the_request_id(
        self, api: HuddleApi, client: HuddleClient
    ) -> None:
        api.routes[DEPLOY] = httpx.Response(409, json={"code": "CONFLICT"}, headers={"X-Request-Id": "req-5"})
        error = await failure_of(client.create(REQUEST))
        assert "1H100.80S.30V in FIN-01" in str(error)
        assert (error.request_id, error.status) == ("req-5", 409)

    @pytest.mark.parametrize("resend", [False, True])
    @pytest.mark.parametrize("broken", ["GET images", "GET ssh-keys"])
    @in_virtual_time
    async def test_failing_before_the_order_left(
        self, api: HuddleApi, client: HuddleClient, broken: str, resend: bool
    ) -> None:
        api.routes[broken] = refused(503, "DOWN")
        error = await failure_of(client.create(replace(REQUEST, resend=resend)))
        assert isinstance(error, Transient)
        assert error.may_exist is resend
        assert api.sent(DEPLOY) == []


class TestSshKeys:
    @in_virtual_time
    async def test_registers_ours_once(self, api: HuddleApi, client: HuddleClient) -> None:
        keys = [OTHER_KEY]

        def register(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            assert body == {"name": OUR_NAME, "public_key": PUBLIC_KEY}
            keys.append({"id": "key-new", "name": body["name"], "fingerprint": FINGERPRINT})
            return ok(keys[-1])

        api.routes["GET ssh-keys"] = lambda request: ok(keys)
        api.routes["POST ssh-keys"] = register
        await client.create(REQUEST)
        await client.create(replace(REQUEST, label="gputui-t-02", idempotency_key="idem-2"))
        assert len(api.sent("POST ssh-keys")) == 1
        assert [body["ssh_key_ids"] for body in api.bodies(DEPLOY)] == [["key-new"]] * 2

    @in_virtual_time
    async def test_is_found_by_its_name_where_fingerprints_are_told_otherwise(
        self, api: HuddleApi, client: HuddleClient
    ) -> None:
        api.routes["GET ssh-keys"] = ok([{"id": "key-md5", "name": OUR_NAME, "fingerprint": "aa:bb:cc"}])
        await client.create(REQUEST)
        assert api.body(DEPLOY)["ssh_key_ids"] == ["key-md5"]

    @in_virtual_time
    async def test_a_lost_registration_is_looked_up_not_repeated(self, api: HuddleApi, client: HuddleClient) -> None:
        keys: list[Any] = []

        def register_and_break(request: httpx.Request) -> Exception:
            keys.append({"id": "key-new", "name": OUR_NAME, "fingerprint": FINGERPRINT})
            return httpx.ReadError("reset")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = register_and_break
        error = await failure_of(client.create(REQUEST))
        assert (type(error), error.may_exist) == (Unreachable, False)
        assert len(api.sent("POST ssh-keys")) == 1
        await client.create(REQUEST)
        assert len(api.sent("POST ssh-keys")) == 1
        assert api.body(DEPLOY)["ssh_key_ids"] == ["key-new"]

    @in_virtual_time
    async def test_list_add_delete(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST ssh-keys"] = ok({"id": "key-9"})
        api.routes["DELETE ssh-keys/key-9"] = httpx.Response(204)
        assert [key.id for key in await client.list_ssh_keys()] == ["key-other", "key-ours"]
        key = await client.add_ssh_key("desk", PUBLIC_KEY)
        assert (key.id, key.name, key.fingerprint) == ("key-9", "desk", FINGERPRINT)
        await client.delete_ssh_key("key-9")
        assert len(api.sent("DELETE ssh-keys/key-9")) == 1

    @in_virtual_time
    async def test_a_key_on_a_later_page_is_found(self, api: HuddleApi, client: HuddleClient) -> None:
        pages = {None: ok({"data": [OTHER_KEY], "meta": {"next_cursor": "c1"}}), "c1": ok([OUR_KEY])}
        api.routes["GET ssh-keys"] = lambda request: pages[request.url.params.get("cursor")]
        await client.create(REQUEST)
        assert api.body(DEPLOY)["ssh_key_ids"] == ["key-ours"]
        assert api.sent("POST ssh-keys") == []

    @in_virtual_time
    async def test_an_answer_without_an_id_is_malformed(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST ssh-keys"] = ok({"name": "desk"})
        error = await failure_of(client.add_ssh_key("desk", PUBLIC_KEY))
        assert isinstance(error, Malformed)
        assert error.may_exist is False
