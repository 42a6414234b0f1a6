"""The SSH keys, volumes and money of a RunPod account, as the client asks for them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, HTML, OTHER_PUBLIC_KEY, PUBLIC_KEY, failure_of
from runpod_answers import BOX, GRAPHQL, KEY, KEYS, LIST, ODD_KEY, ORDER, POD, SET_KEYS, RunPodApi, ok, refused

from gputui.model.errors import AuthError, Gone, Malformed, NotFunded, ProviderError, Rejected, Transient, Unreachable
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import START_MS, in_virtual_time

VOLUME = {"id": "2q9m7x4c", "name": "data", "size": 50, "dataCenter": "EU-RO-1", "type": "STANDARD"}


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


class TestSshKeys:
    @in_virtual_time
    async def test_list(self, client: RunPodClient) -> None:
        keys = await client.list_ssh_keys()
        assert [(key.name, key.public_key) for key in keys] == [("fake-other", OTHER_PUBLIC_KEY), ("", ODD_KEY)]

    @in_virtual_time
    async def test_adding_keeps_all_others(self, api: RunPodApi, client: RunPodClient) -> None:
        key = await client.add_ssh_key("laptop", PUBLIC_KEY)
        assert (key.id, key.name, key.fingerprint) == (FINGERPRINT, "laptop", FINGERPRINT)
        assert api.keys == [OTHER_PUBLIC_KEY, ODD_KEY, PUBLIC_KEY.replace("fake-key", "laptop")]
        assert (await client.add_ssh_key("again", PUBLIC_KEY)).name == "laptop"
        assert len(api.sent(SET_KEYS)) == 1

    @in_virtual_time
    async def test_deleting_keeps_all_others(self, api: RunPodApi, client: RunPodClient) -> None:
        api.keys.append(PUBLIC_KEY)
        await client.delete_ssh_key(FINGERPRINT)
        assert api.keys == [OTHER_PUBLIC_KEY, ODD_KEY]
        assert isinstance(await failure_of(client.delete_ssh_key(FINGERPRINT)), Gone)
        assert len(api.sent(SET_KEYS)) == 1

    @pytest.mark.parametrize(
        "answer", [refused(500), refused(404), ok({}), ok({"keys": None}), ok({"keys": [OTHER_PUBLIC_KEY, 7]}), ok([])]
    )
    @in_virtual_time
    async def test_a_set_that_was_not_read_is_never_written(
        self, api: RunPodApi, client: RunPodClient, answer: Any
    ) -> None:
        api.routes[KEYS] = answer
        for call in (client.add_ssh_key("x", PUBLIC_KEY), client.delete_ssh_key(FINGERPRINT), client.create(BOX)):
            await failure_of(call)
        assert api.sent(SET_KEYS) == []
        assert api.sent(ORDER) == []

    @in_virtual_time
    async def test_side_by_side_nothing_is_lost(self, api: RunPodApi, client: RunPodClient) -> None:
        third = "ssh-ed25519 AAAAfake third"
        await asyncio.gather(client.add_ssh_key("a", PUBLIC_KEY), client.add_ssh_key("b", third))
        assert len(api.keys) == 4

    @in_virtual_time
    async def test_what_another_writer_undid_is_put_right(self, api: RunPodApi, client: RunPodClient) -> None:
        theirs = [*api.keys, "ssh-ed25519 AAAAfake theirs"]

        def overwritten(request: httpx.Request) -> httpx.Response:
            self_answer = api.set_keys(request)
            api.keys, api.routes[SET_KEYS] = theirs, api.set_keys
            return self_answer

        api.routes[SET_KEYS] = overwritten
        await client.add_ssh_key("laptop", PUBLIC_KEY)
        assert api.keys == [*theirs, PUBLIC_KEY.replace("fake-key", "laptop")]

    @in_virtual_time
    async def test_another_writer_that_never_stops(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[SET_KEYS] = ok({"keys": api.keys})
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert isinstance(error, Transient)
        assert error.may_exist is False
        assert len(api.sent(SET_KEYS)) == 3


class TestVolumes:
    @in_virtual_time
    async def test_list_says_who_mounts_them(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["GET v2/network-volumes"] = ok({"networkVolumes": [VOLUME, {**VOLUME, "id": "v2"}]})
        mounting = {**POD, "mounts": {"network": [{"volumeId": "2q9m7x4c", "path": "/w"}]}}
        api.routes[LIST] = ok({"pods": [mounting]})
        assert [(volume.id, volume.attached_to) for volume in await client.list_volumes()] == [
            ("2q9m7x4c", (POD["id"],)),
            ("v2", ()),
        ]
        api.routes["GET v2/network-volumes"] = ok({"networkVolumes": [VOLUME, {"name": "no id"}]})
        assert isinstance(await failure_of(client.list_volumes()), Malformed)

    @in_virtual_time
    async def test_no_volumes_need_no_pods(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["GET v2/network-volumes"] = ok({"networkVolumes": []})
        assert await client.list_volumes() == []
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_make_and_delete(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["POST v2/network-volumes"] = ok(VOLUME, 201)
        api.routes["DELETE v2/network-volumes/2q9m7x4c"] = httpx.Response(204)
        volume = await client.create_volume("data", size_gib=50, region="EU-RO-1", kind=None)
        assert (volume.id, volume.size_gib, volume.kind) == ("2q9m7x4c", 50, "STANDARD")
        assert api.body("POST v2/network-volumes") == {"name": "data", "size": 50, "dataCenter": "EU-RO-1"}
        await client.delete_volume("2q9m7x4c")
        api.routes["DELETE v2/network-volumes/2q9m7x4c"] = refused(404)
        assert isinstance(await failure_of(client.delete_volume("2q9m7x4c")), Gone)

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (refused(400, "data center does not support volumes; use one of …"), Rejected, False),
            (refused(402), NotFunded, False),
            (refused(500), Transient, True),
            (ok({}), Malformed, True),
            (httpx.ReadError("reset"), Unreachable, True),
        ],
    )
    @in_virtual_time
    async def test_a_volume_that_may_exist(
        self, api: RunPodApi, client: RunPodClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes["POST v2/network-volumes"] = answer
        error = await failure_of(client.create_volume("data", size_gib=50, region="EU-RO-1", kind=None))
        assert (type(error), error.may_exist) == (kind, may_exist)


class TestMoney:
    @in_virtual_time
    async def test_balance(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[GRAPHQL] = ok({"data": {"myself": {"clientBalance": 23.4512}}})
        balance = await client.fetch_balance()
        assert (balance.balance_micro_usd, balance.fetched_at_ms) == (23_451_200, START_MS)
        (request,) = api.requests
        assert str(request.url) == "https://api.runpod.test/graphql"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(request.content) == {"query": "query { myself { clientBalance } }"}

    @pytest.mark.parametrize(
        "url",
        ["https://api.runpod.test/runpod/v2", "https://api.runpod.test/runpod/v2/", "https://api.runpod.test/runpod/x"],
    )
    @in_virtual_time
    async def test_it_is_asked_for_beside_the_other_api(self, api: RunPodApi, tmp_path: Path, url: str) -> None:
        api.routes["POST runpod/graphql"] = ok({"data": {"myself": {"clientBalance": -1.5}}})
        assert (await api.client(tmp_path, url=url).fetch_balance()).balance_micro_usd == -1_500_000

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(410, text=HTML),
            httpx.Response(404, text=HTML),
            refused(404),
            refused(410),
            refused(403),
            httpx.Response(400, json={"errors": [{"extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]}),
            ok({"data": {"myself": None}}),
            ok({"data": None, "errors": [{"message": "no", "extensions": {"code": "FORBIDDEN"}}]}),
            ok({"data": {"myself": {"clientBalance": None}}}),
        ],
    )
    @in_virtual_time
    async def test_a_balance_that_is_not_told(self, api: RunPodApi, client: RunPodClient, answer: Any) -> None:
        api.routes[GRAPHQL] = answer
        assert (await client.fetch_balance()).balance_micro_usd is None

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(401), AuthError),
            (httpx.Response(502, text=HTML), Transient),
            (ok({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}), Transient),
            (ok([]), Malformed),
            (httpx.Response(200, text=HTML), Malformed),
            (httpx.ConnectError("no"), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_a_balance_that_cannot_be_read(
        self, api: RunPodApi, client: RunPodClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[GRAPHQL] = answer
        error = await failure_of(client.fetch_balance())
        assert (type(error), error.may_exist) == (kind, False)

    @in_virtual_time
    async def test_charges(self, api: RunPodApi, client: RunPodClient) -> None:
        time = {"startTime": "2026-01-05T09:00:00Z", "endTime": "2026-01-05T10:00:00Z"}
        api.routes["GET v2/billing/pods"] = ok({"records": [{**time, "podId": "p1", "totalAmount": 0.75}]})
        api.routes["GET v2/billing"] = ok({"records": [{**time, "totalAmount": 1, "podGpuAmount": 0.75}]})
        charges = await client.fetch_charges(since_ms=START_MS, until_ms=START_MS + 7_200_000)
        assert [(charge.machine_id, charge.amount_micro_usd) for charge in charges] == [
            ("p1", 750_000),
            (None, 250_000),
        ]
        assert all(
            dict(request.url.params)
            == {"startTime": "2026-01-05T09:00:00.000Z", "endTime": "2026-01-05T11:00:00.000Z", "bucketSize": "hour"}
            for request in api.requests
        )
        assert await client.fetch_charges(since_ms=START_MS, until_ms=START_MS) == []
        assert len(api.requests) == 2

    @in_virtual_time
    async def test_a_bill_that_cannot_be_read_is_not_a_small_one(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["GET v2/billing/pods"] = ok({"records": [{"podId": "p1"}]})
        error = await failure_of(client.fetch_charges(since_ms=START_MS, until_ms=START_MS + 1))
        assert isinstance(error, Malformed)
