"""What the RunPod client sends and when, and how it takes what comes back, against answers written by hand."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.model.errors import (
    AuthError,
    ConfigError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    NotFunded,
    NotSupported,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
    UsageError,
)
from gputui.model.logs import LogPage
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock, Tier
from gputui.providers import base
from gputui.providers.registry import ClientContext
from gputui.providers.runpod import calls
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import START_MS, VirtualClock, in_virtual_time

URL = "https://api.runpod.test/v2"
KEY = "rpa_fake0123456789"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaF6C0hM0oFPt0GHHjmGXDh4Cm9HUR1WQMFzmUdfvFE someone"
ODD_KEY = "ssh-rsa no-base64-at-all"

OFFER = Offer(
    id="runpod:nvidia-geforce-rtx-4090:1:secure:EU-RO-1",
    provider="runpod",
    gpu="RTX-4090",
    gpu_count=1,
    price_micro_usd_per_hour=740_000,
    fetched_at_ms=0,
    region="EU-RO-1",
    tier=Tier.SECURE,
    native={"gpu_id": "NVIDIA GeForce RTX 4090", "cloud": "SECURE", "data_center_id": "EU-RO-1"},
)
JOB = CreateRequest(
    offer=OFFER,
    label="gputui-t-01abc",
    idempotency_key="idem-1",
    ssh_public_key=PUBLIC_KEY,
    image="acme/train:3",
    argv=("sh", "-c", "echo 'it is on'"),
    env={"GPUTUI_NONCE": "ab12"},
)
BOX = replace(JOB, argv=(), env={})
POD: dict[str, Any] = {
    "id": "50qynxzilsxoey",
    "name": "gputui-t-01abc",
    "status": "PROVISIONING",
    "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
    "cloud": "SECURE",
    "dataCenterId": None,
    "ssh": {"proxy": None, "direct": None},
    "cost": 0.74,
    "runtime": None,
    "createdAt": "2026-01-05T09:00:00Z",
    "startedAt": None,
}
VOLUME = {"id": "2q9m7x4c", "name": "data", "size": 50, "dataCenter": "EU-RO-1", "type": "STANDARD"}
GPU: dict[str, Any] = {
    "id": "NVIDIA GeForce RTX 4090",
    "memory": 24,
    "secure": True,
    "community": True,
    "price": {"secure": 0.74, "community": 0.34},
    "maxCount": {"secure": 4, "community": 2},
    "availability": "HIGH",
    "dataCenters": [{"id": "EU-RO-1", "availability": "HIGH"}],
}

ORDER, KEYS, SET_KEYS = "POST v2/pods", "GET v2/account/ssh-keys", "PUT v2/account/ssh-keys"
ONE, END, ACT, LIST = (
    "GET v2/pods/50qynxzilsxoey",
    "DELETE v2/pods/50qynxzilsxoey",
    "POST v2/pods/50qynxzilsxoey/action",
    "GET v2/pods",
)
LOG = "GET v2/pods/50qynxzilsxoey/logs"
GRAPHQL = "POST graphql"
HTML = "<html><body>Bad gateway</body></html>"
NONE_LEFT = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)


def seconds() -> float:
    return (VirtualClock().now_ms() - START_MS) / 1000


def ok(data: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=data, headers=headers)


def refused(status: int, detail: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"title": "Title", "status": status, "detail": detail}, headers=headers)


class Lines(httpx.AsyncByteStream):
    """A log that says what it has and then stays open."""

    def __init__(self, *texts: str, first: int = 1) -> None:
        self.frames = [
            f"id: 2026-01-05T09:00:00Z/{number:012d}\ndata: {json.dumps({'source': 'container', 'line': text})}\n\n"
            for number, text in enumerate(texts, first)
        ]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self.frames:
            yield frame.encode()
        while True:
            await asyncio.sleep(15)
            yield b": keepalive\n\n"


def place(number: int) -> str:
    return f"2026-01-05T09:00:00Z/{number:012d}"


class Api:
    """Answers by "METHOD path" from a table of responses, functions or exceptions, and keeps what it was sent and when."""

    def __init__(self) -> None:
        self.keys = [OTHER_KEY, ODD_KEY]
        self.routes: dict[str, Any] = {
            ORDER: ok(POD, 201),
            KEYS: lambda request: ok({"keys": self.keys}),
            SET_KEYS: self.set_keys,
            LIST: ok({"pods": [POD]}),
            ONE: ok(POD),
            END: httpx.Response(204),
        }
        self.requests: list[httpx.Request] = []
        self.times_s: dict[str, list[float]] = defaultdict(list)

    def set_keys(self, request: httpx.Request) -> httpx.Response:
        self.keys = json.loads(request.content)["keys"]
        return ok({"keys": self.keys})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times_s[self.name_of(request)].append(seconds())
        answer = self.routes[self.name_of(request)]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer) and not isinstance(answer, httpx.Response):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Lines):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @staticmethod
    def name_of(request: httpx.Request) -> str:
        return f"{request.method} {request.url.path.removeprefix('/')}"

    def sent(self, name: str) -> list[httpx.Request]:
        return [request for request in self.requests if self.name_of(request) == name]

    def body(self, name: str = ORDER) -> dict[str, Any]:
        (request,) = self.sent(name)
        body: dict[str, Any] = json.loads(request.content)
        return body


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api, tmp_path: Path) -> RunPodClient:
    transport = httpx.MockTransport(api)
    return RunPodClient(ClientContext(VirtualClock(), tmp_path, api_key=f" {KEY}\n", url=URL, transport=transport))


async def failure_of(call: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(RunPodClient)
        assert {name for name, has in can.items() if has} == {
            "balance",
            "ssh-keys",
            "regions",
            "volumes",
            "attach volumes at create",
            "stop and start",
            "charges",
            "logs",
        }
        assert not hasattr(RunPodClient, "create_is_idempotent")

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: Api, client: RunPodClient) -> None:
        check = await client.check_key()
        assert (check.provider, check.ok, check.detail) == ("runpod", True, "1 pod")
        (request,) = api.requests
        assert str(request.url) == f"{URL}/pods"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"].startswith("gputui")

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            RunPodClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    def test_a_key_is_never_sent_in_clear(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            RunPodClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url="http://api.runpod.test/v2"))

    @in_virtual_time
    async def test_a_dead_key(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = refused(401, f"bad token {KEY}")
        error = await failure_of(client.check_key())
        assert isinstance(error, AuthError)
        assert KEY not in str(error)
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_a_403_alone_is_no_dead_key(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = refused(403, "access denied")
        api.routes["GET v2/catalog/gpus"] = ok({"gpus": []})
        check = await client.check_key()
        assert check.ok
        assert "may not see pods" in check.detail
        api.routes["GET v2/catalog/gpus"] = refused(403, "access denied")
        assert isinstance(await failure_of(client.check_key()), AuthError)

    @in_virtual_time
    async def test_the_edge_is_not_a_dead_key(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = httpx.Response(403, text="error code: 1010")
        assert isinstance(await failure_of(client.check_key()), Transient)

    @pytest.mark.parametrize("answer", [refused(404, "The requested path was not found."), ok({"ok": True}), ok([])])
    @in_virtual_time
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: Api, client: RunPodClient, answer: httpx.Response
    ) -> None:
        api.routes = defaultdict(lambda: answer)
        for call in (client.list_machines, client.fetch_offers, client.list_ssh_keys, client.list_volumes):
            error = await failure_of(call())
            assert isinstance(error, Malformed)
            assert error.may_exist is False

    @in_virtual_time
    async def test_a_wrong_address_is_not_a_machine_that_is_gone(self, api: Api, client: RunPodClient) -> None:
        api.routes[ONE] = api.routes[END] = refused(404, "The requested path was not found.")
        assert isinstance(await failure_of(client.get(POD["id"])), Malformed)
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Malformed)

    @in_virtual_time
    async def test_aclose(self, api: Api, client: RunPodClient) -> None:
        await client.get(POD["id"])
        waiting = asyncio.create_task(client.get(POD["id"]))
        await asyncio.sleep(0.1)
        await client.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting


class TestPace:
    @in_virtual_time
    async def test_no_more_than_the_documented_quota(self, api: Api, client: RunPodClient) -> None:
        api.routes["GET v2/catalog/datacenters"] = ok({"dataCenters": []})
        await asyncio.gather(*(client.list_regions() for _ in range(30)))
        await asyncio.gather(*(client.list_machines() for _ in range(20)))
        times = sorted(time for times in api.times_s.values() for time in times)
        assert all(sum(start <= time < start + 60 for time in times) <= 60 for start in times)
        assert len(times) == 50

    @in_virtual_time
    async def test_ending_a_pod_goes_before_reading(self, api: Api, client: RunPodClient) -> None:
        reads = [asyncio.create_task(client.list_machines()) for _ in range(20)]
        await asyncio.sleep(0.1)
        await client.terminate(POD["id"], idempotency_key="t")
        assert api.times_s[END] == pytest.approx([0.1], abs=0.05)
        await asyncio.gather(*reads)

    @in_virtual_time
    async def test_a_quota_that_is_used_up_is_waited_for(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = ok({"pods": []}, RateLimit='"minute";r=0;t=12, "hour";r=9;t=999')
        await client.list_machines()
        await client.list_machines()
        assert api.times_s[LIST] == pytest.approx([0, 12], abs=0.1)

    @in_virtual_time
    async def test_over_the_limit(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = refused(429, "rate limit exceeded for the hour window", RateLimit='"hour";r=0;t=900')
        error = await failure_of(client.list_machines())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 900
        assert len(api.requests) == 1


class TestOffers:
    @in_virtual_time
    async def test_both_clouds_and_every_count(self, api: Api, client: RunPodClient) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            count = int(request.url.params["count"])
            sold_out = {**GPU, "availability": "NONE"}
            del sold_out["dataCenters"]
            return ok({"gpus": [GPU if count < 4 else sold_out, {"id": "unknown"}, None]})

        api.routes["GET v2/catalog/gpus"] = answer
        offers = await client.fetch_offers()
        assert sorted(
            (offer.tier, offer.gpu_count, offer.region, offer.stock, offer.price_micro_usd_per_hour) for offer in offers
        ) == [
            (Tier.COMMUNITY, 1, "EU-RO-1", Stock.HIGH, 340_000),
            (Tier.COMMUNITY, 2, "EU-RO-1", Stock.HIGH, 680_000),
            (Tier.SECURE, 1, "EU-RO-1", Stock.HIGH, 740_000),
            (Tier.SECURE, 2, "EU-RO-1", Stock.HIGH, 1_480_000),
            (Tier.SECURE, 4, None, Stock.NONE, 2_960_000),
        ]
        asked = [dict(request.url.params) for request in api.requests]
        assert all((question["include"], question["product"]) == ("AVAILABILITY", "POD") for question in asked)
        assert {(question["cloud"], question["count"]) for question in asked} == {
            ("SECURE", "1"),
            ("SECURE", "2"),
            ("SECURE", "4"),
            ("COMMUNITY", "1"),
            ("COMMUNITY", "2"),
        }
        assert len(asked) == 5

    @in_virtual_time
    async def test_half_a_market_is_none(self, api: Api, client: RunPodClient) -> None:
        api.routes["GET v2/catalog/gpus"] = lambda request: (
            ok({"gpus": [GPU]}) if request.url.params["cloud"] == "SECURE" else refused(400)
        )
        assert isinstance(await failure_of(client.fetch_offers()), Rejected)


class TestCreate:
    @in_virtual_time
    async def test_a_job(self, api: Api, client: RunPodClient) -> None:
        machine = await client.create(JOB)
        assert (machine.id, machine.label, machine.state) == (POD["id"], JOB.label, MachineState.PENDING)
        assert (machine.gpu, machine.gpu_count, machine.price_micro_usd_per_hour) == ("RTX-4090", 1, 740_000)
        assert api.body() == {
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
    async def test_a_machine_brings_our_key_along(self, api: Api, client: RunPodClient) -> None:
        await client.create(BOX)
        assert [api.name_of(request) for request in api.requests] == [KEYS, SET_KEYS, KEYS, ORDER]
        assert api.keys == [OTHER_KEY, ODD_KEY, PUBLIC_KEY.replace("fake-key", "gputui")]
        body = api.body()
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
        self, api: Api, client: RunPodClient, change: dict[str, Any], field: str
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
        self, api: Api, client: RunPodClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(JOB))
        assert (type(error), error.may_exist) == (kind, may_exist)
        assert error.provider == "runpod"
        assert len(api.sent(ORDER)) == 1

    @in_virtual_time
    async def test_failing_before_the_order_left(self, api: Api, client: RunPodClient) -> None:
        for broken in (KEYS, SET_KEYS):
            api.routes[broken] = refused(503)
            error = await failure_of(client.create(BOX))
            assert isinstance(error, Transient)
            assert error.may_exist is False
            api.routes[KEYS] = ok({"keys": []})
        assert api.sent(ORDER) == []


class TestMachines:
    @in_virtual_time
    async def test_all_pages_and_cluster_pods(self, api: Api, client: RunPodClient) -> None:
        pages = {
            None: ok({"pods": [POD], "pagination": {"nextCursor": "c2", "hasNextPage": True}}),
            "c2": ok({"pods": [], "pagination": {"nextCursor": "c3", "hasNextPage": True}}),
            "c3": ok({"pods": [{**POD, "id": "p2"}, {**POD, "id": "p3", "status": "TERMINATED"}], "pagination": None}),
        }
        api.routes[LIST] = lambda request: pages[request.url.params.get("cursor")]
        assert [machine.id for machine in await client.list_machines()] == [POD["id"], "p2"]
        assert all(request.url.params["includeClusterPods"] == "true" for request in api.requests)

    @pytest.mark.parametrize(
        "pagination",
        [{"nextCursor": "c2", "hasNextPage": True}, {"nextCursor": None, "hasNextPage": True}, {"hasNextPage": True}],
    )
    @in_virtual_time
    async def test_a_list_that_stops_short_is_no_list(
        self, api: Api, client: RunPodClient, pagination: dict[str, Any]
    ) -> None:
        api.routes[LIST] = ok({"pods": [POD], "pagination": pagination})
        error = await failure_of(client.list_machines())
        assert isinstance(error, Malformed)
        assert len(api.requests) <= 2

    @in_virtual_time
    async def test_a_list_without_end_ends(
        self, api: Api, client: RunPodClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "MAX_PAGES", 5)
        api.routes[LIST] = lambda request: ok(
            {"pods": [POD], "pagination": {"nextCursor": str(len(api.requests)), "hasNextPage": True}}
        )
        assert isinstance(await failure_of(client.list_machines()), Malformed)
        assert len(api.requests) == 5

    @in_virtual_time
    async def test_a_pod_that_cannot_be_read_is_not_left_out(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = ok({"pods": [POD, {"name": "no id"}]})
        assert isinstance(await failure_of(client.list_machines()), Malformed)

    @in_virtual_time
    async def test_one(self, api: Api, client: RunPodClient) -> None:
        assert (await client.get(POD["id"])).label == JOB.label
        assert [api.name_of(request) for request in api.requests] == [ONE]
        assert seconds() == 0

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "/", " "])
    @in_virtual_time
    async def test_an_id_that_leads_elsewhere_is_gone(self, api: Api, client: RunPodClient, machine_id: str) -> None:
        for call in (client.get(machine_id), client.terminate(machine_id, idempotency_key="t")):
            assert isinstance(await failure_of(call), Gone)
        assert api.requests == []

    @in_virtual_time
    async def test_a_strange_id_stays_in_its_place(self, api: Api, client: RunPodClient) -> None:
        api.routes = defaultdict(lambda: refused(404))
        await failure_of(client.get("a/../b?c"))
        assert api.requests[0].url.raw_path == b"/v2/pods/a%2F..%2Fb%3Fc"

    @in_virtual_time
    async def test_gone(self, api: Api, client: RunPodClient) -> None:
        api.routes[ONE] = api.routes[END] = refused(404, "resource not found")
        assert isinstance(await failure_of(client.get(POD["id"])), Gone)
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Gone)

    @in_virtual_time
    async def test_a_cluster_pod_cannot_be_ended(self, api: Api, client: RunPodClient) -> None:
        api.routes[END] = refused(409, "pod belongs to a cluster")
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Conflict)

    @in_virtual_time
    async def test_terminate(self, api: Api, client: RunPodClient) -> None:
        await client.terminate(POD["id"], idempotency_key="t")
        assert [api.name_of(request) for request in api.requests] == [END]


class TestLooks:
    @in_virtual_time
    async def test_many_looks_are_few_questions(self, api: Api, client: RunPodClient) -> None:
        ids = [f"p{number}" for number in range(10)]
        api.routes[LIST] = ok({"pods": [{**POD, "id": machine_id} for machine_id in ids] + [{"name": "unreadable"}]})

        async def watch(machine_id: str) -> None:
            for _ in range(12):
                assert (await client.get(machine_id)).id == machine_id
                await asyncio.sleep(5)

        await asyncio.gather(*map(watch, ids))
        assert {api.name_of(request) for request in api.requests} == {LIST}
        assert 12 <= len(api.requests) <= 20

    @in_virtual_time
    async def test_what_is_told_was_read_after_the_question(self, api: Api, client: RunPodClient) -> None:
        await asyncio.gather(client.get(POD["id"]), client.get(POD["id"]))
        api.routes[ONE] = ok({**POD, "status": "EXITED"})
        assert (await client.get(POD["id"])).state is MachineState.STOPPED

    @in_virtual_time
    async def test_what_the_list_does_not_know_is_asked_for_by_itself(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = ok({"pods": []})
        api.routes["GET v2/pods/p2"] = refused(404)
        found, missing = await asyncio.gather(client.get(POD["id"]), client.get("p2"), return_exceptions=True)
        assert not isinstance(found, BaseException)
        assert found.id == POD["id"]
        assert isinstance(missing, Gone)

    @in_virtual_time
    async def test_everybody_hears_of_a_failure(self, api: Api, client: RunPodClient) -> None:
        api.routes[LIST] = refused(401)
        results = await asyncio.gather(client.get("p1"), client.get("p2"), return_exceptions=True)
        assert [type(result) for result in results] == [AuthError, AuthError]

    @in_virtual_time
    async def test_who_gives_up_does_not_take_the_answer_from_others(self, api: Api, client: RunPodClient) -> None:
        await client.get(POD["id"])
        impatient = asyncio.create_task(client.get(POD["id"]))
        patient = asyncio.create_task(client.get(POD["id"]))
        await asyncio.sleep(1)
        impatient.cancel()
        assert (await patient).id == POD["id"]


class TestStopAndStart:
    @in_virtual_time
    async def test_stop_and_start(self, api: Api, client: RunPodClient) -> None:
        api.routes[ONE] = ok({**POD, "mounts": {"persistent": {"size": 20, "path": "/workspace"}}})
        api.routes[ACT] = ok(POD)
        await client.stop_machine(POD["id"])
        await client.start_machine(POD["id"])
        assert [json.loads(request.content) for request in api.sent(ACT)] == [{"action": "stop"}, {"action": "start"}]

    @in_virtual_time
    async def test_a_stop_that_would_erase_everything_is_not_sent(self, api: Api, client: RunPodClient) -> None:
        assert isinstance(await failure_of(client.stop_machine(POD["id"])), NotSupported)
        assert api.sent(ACT) == []

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(400, "There are not enough free GPUs on the host machine to start this pod."), NoCapacity),
            (refused(409, "action start is not valid for status RUNNING"), Conflict),
            (refused(404), Gone),
            (refused(402), NotFunded),
        ],
    )
    @in_virtual_time
    async def test_a_start_that_fails(
        self, api: Api, client: RunPodClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[ACT] = answer
        error = await failure_of(client.start_machine(POD["id"]))
        assert (type(error), error.may_exist) == (kind, False)


class TestLog:
    @in_virtual_time
    async def test_from_the_start_and_on(self, api: Api, client: RunPodClient) -> None:
        api.routes[LOG] = [Lines("one", "two"), Lines("three", first=3)]
        page = await client.read_log(POD["id"], after=None, wait_s=20)
        assert page == LogPage(("one", "two"), place(2))
        page = await client.read_log(POD["id"], after=page.cursor, wait_s=20)
        assert page == LogPage(("three",), place(3))
        first, then = api.requests
        assert dict(first.url.params) == {"source": "container", "since": "1970-01-01T00:00:00Z"}
        assert "last-event-id" not in first.headers
        assert dict(then.url.params) == {"source": "container"}
        assert then.headers["last-event-id"] == place(2)
        assert seconds() < 3

    @in_virtual_time
    async def test_silence(self, api: Api, client: RunPodClient) -> None:
        api.routes[LOG] = [Lines(), httpx.ReadTimeout("the answer is kept back"), Lines()]
        assert await client.read_log(POD["id"], after="c", wait_s=20) == LogPage((), "c")
        assert seconds() == pytest.approx(20, abs=0.1)
        assert await client.read_log(POD["id"], after=None, wait_s=20) == LogPage((), None)
        await client.read_log(POD["id"], after=None, wait_s=0)
        assert seconds() < 22

    @pytest.mark.parametrize("status", [400, 422])
    @in_virtual_time
    async def test_a_server_that_will_not_begin_at_the_start(self, api: Api, client: RunPodClient, status: int) -> None:
        api.routes[LOG] = [refused(status), Lines("one")]
        assert (await client.read_log(POD["id"], after=None, wait_s=20)).lines == ("one",)
        assert dict(api.requests[1].url.params) == {"source": "container", "tail": "5000"}
        api.routes[LOG] = refused(status)
        assert isinstance(await failure_of(client.read_log(POD["id"], after="c", wait_s=20)), Rejected)

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(401), AuthError),
            (refused(403), AuthError),
            (refused(404), Gone),
            (refused(429), RateLimited),
            (refused(500), Transient),
            (httpx.Response(502, text=HTML), Transient),
            (ok({"lines": []}), Malformed),
            (httpx.ConnectError("no"), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_errors(self, api: Api, client: RunPodClient, answer: Any, kind: type[ProviderError]) -> None:
        api.routes[LOG] = answer
        error = await failure_of(client.read_log(POD["id"], after=None, wait_s=20))
        assert (type(error), error.may_exist) == (kind, False)
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_many_logs_share_the_quota_and_no_line_is_lost(self, api: Api, client: RunPodClient) -> None:
        api.routes[LOG] = lambda request: Lines("x")
        began = seconds()
        pages = await asyncio.gather(*(client.read_log(POD["id"], after="c", wait_s=20) for _ in range(15)))
        assert seconds() - began < 50
        read = [page for page in pages if page.lines]
        assert len(read) == len(api.requests) < 15
        assert {page.cursor for page in pages} == {place(1), "c"}
        assert api.times_s[LOG][-1] > 15

    @in_virtual_time
    async def test_lines_without_a_place(self, api: Api, client: RunPodClient) -> None:
        lines = Lines()
        lines.frames = ["data: plain\n\n"]
        api.routes[LOG] = lines
        assert isinstance(await failure_of(client.read_log(POD["id"], after=None, wait_s=20)), Malformed)


class TestSshKeys:
    @in_virtual_time
    async def test_list(self, client: RunPodClient) -> None:
        keys = await client.list_ssh_keys()
        assert [(key.name, key.public_key) for key in keys] == [("someone", OTHER_KEY), ("", ODD_KEY)]

    @in_virtual_time
    async def test_adding_keeps_all_others(self, api: Api, client: RunPodClient) -> None:
        key = await client.add_ssh_key("laptop", PUBLIC_KEY)
        assert (key.id, key.name, key.fingerprint) == (FINGERPRINT, "laptop", FINGERPRINT)
        assert api.keys == [OTHER_KEY, ODD_KEY, PUBLIC_KEY.replace("fake-key", "laptop")]
        assert (await client.add_ssh_key("again", PUBLIC_KEY)).name == "laptop"
        assert len(api.sent(SET_KEYS)) == 1

    @in_virtual_time
    async def test_deleting_keeps_all_others(self, api: Api, client: RunPodClient) -> None:
        api.keys.append(PUBLIC_KEY)
        await client.delete_ssh_key(FINGERPRINT)
        assert api.keys == [OTHER_KEY, ODD_KEY]
        assert isinstance(await failure_of(client.delete_ssh_key(FINGERPRINT)), Gone)
        assert len(api.sent(SET_KEYS)) == 1

    @pytest.mark.parametrize(
        "answer", [refused(500), refused(404), ok({}), ok({"keys": None}), ok({"keys": [OTHER_KEY, 7]}), ok([])]
    )
    @in_virtual_time
    async def test_a_set_that_was_not_read_is_never_written(self, api: Api, client: RunPodClient, answer: Any) -> None:
        api.routes[KEYS] = answer
        for call in (client.add_ssh_key("x", PUBLIC_KEY), client.delete_ssh_key(FINGERPRINT), client.create(BOX)):
            await failure_of(call)
        assert api.sent(SET_KEYS) == []
        assert api.sent(ORDER) == []

    @in_virtual_time
    async def test_side_by_side_nothing_is_lost(self, api: Api, client: RunPodClient) -> None:
        third = "ssh-ed25519 AAAAfake third"
        await asyncio.gather(client.add_ssh_key("a", PUBLIC_KEY), client.add_ssh_key("b", third))
        assert len(api.keys) == 4

    @in_virtual_time
    async def test_what_another_writer_undid_is_put_right(self, api: Api, client: RunPodClient) -> None:
        theirs = [*api.keys, "ssh-ed25519 AAAAfake theirs"]

        def overwritten(request: httpx.Request) -> httpx.Response:
            self_answer = api.set_keys(request)
            api.keys, api.routes[SET_KEYS] = theirs, api.set_keys
            return self_answer

        api.routes[SET_KEYS] = overwritten
        await client.add_ssh_key("laptop", PUBLIC_KEY)
        assert api.keys == [*theirs, PUBLIC_KEY.replace("fake-key", "laptop")]

    @in_virtual_time
    async def test_another_writer_that_never_stops(self, api: Api, client: RunPodClient) -> None:
        api.routes[SET_KEYS] = ok({"keys": api.keys})
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert isinstance(error, Transient)
        assert error.may_exist is False
        assert len(api.sent(SET_KEYS)) == 3


class TestVolumes:
    @in_virtual_time
    async def test_list_says_who_mounts_them(self, api: Api, client: RunPodClient) -> None:
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
    async def test_no_volumes_need_no_pods(self, api: Api, client: RunPodClient) -> None:
        api.routes["GET v2/network-volumes"] = ok({"networkVolumes": []})
        assert await client.list_volumes() == []
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_make_and_delete(self, api: Api, client: RunPodClient) -> None:
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
        self, api: Api, client: RunPodClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes["POST v2/network-volumes"] = answer
        error = await failure_of(client.create_volume("data", size_gib=50, region="EU-RO-1", kind=None))
        assert (type(error), error.may_exist) == (kind, may_exist)


class TestMoney:
    @in_virtual_time
    async def test_balance(self, api: Api, client: RunPodClient) -> None:
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
    async def test_it_is_asked_for_beside_the_other_api(self, api: Api, tmp_path: Path, url: str) -> None:
        api.routes["POST runpod/graphql"] = ok({"data": {"myself": {"clientBalance": -1.5}}})
        context = ClientContext(VirtualClock(), tmp_path, api_key=KEY, url=url, transport=httpx.MockTransport(api))
        assert (await RunPodClient(context).fetch_balance()).balance_micro_usd == -1_500_000

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
    async def test_a_balance_that_is_not_told(self, api: Api, client: RunPodClient, answer: Any) -> None:
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
        self, api: Api, client: RunPodClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[GRAPHQL] = answer
        error = await failure_of(client.fetch_balance())
        assert (type(error), error.may_exist) == (kind, False)

    @in_virtual_time
    async def test_charges(self, api: Api, client: RunPodClient) -> None:
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
    async def test_a_bill_that_cannot_be_read_is_not_a_small_one(self, api: Api, client: RunPodClient) -> None:
        api.routes["GET v2/billing/pods"] = ok({"records": [{"podId": "p1"}]})
        error = await failure_of(client.fetch_charges(since_ms=START_MS, until_ms=START_MS + 1))
        assert isinstance(error, Malformed)


@in_virtual_time
async def test_regions(api: Api, client: RunPodClient) -> None:
    api.routes["GET v2/catalog/datacenters"] = ok({"dataCenters": [{"id": "EU-RO-1", "name": "EU Romania 1"}]})
    (region,) = await client.list_regions()
    assert (region.provider, region.code, region.name, region.country) == ("runpod", "EU-RO-1", "EU Romania 1", "RO")
