"""What the Lambda client sends and when, and how it takes what comes back, against answers written by hand."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
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
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
    UsageError,
)
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers import base
from gputui.providers.lambda_.client import LambdaClient
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import START_MS, VirtualClock, run_virtual

URL = "https://cloud.lambda.test/api/v1"
KEY = "secret_fake_0123456789"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"
OUR_NAME = "gputui-wfaZWFbq0dns"

OFFER = Offer(
    id="lambda:gpu_1x_h100_sxm5:us-south-2",
    provider="lambda",
    gpu="H100-SXM",
    gpu_count=1,
    price_micro_usd_per_hour=4_290_000,
    fetched_at_ms=0,
    disk_gib=2816,
    region="us-south-2",
    native={"instance_type_name": "gpu_1x_h100_sxm5", "region_name": "us-south-2", "architecture": "x86_64"},
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
TEXAS = {"name": "us-south-2", "description": "North Texas, USA"}
H100: dict[str, Any] = {
    "name": "gpu_1x_h100_sxm5",
    "description": "1x H100 (80 GB SXM5)",
    "gpu_description": "H100 (80 GB SXM5)",
    "price_cents_per_hour": 429,
    "specs": {"vcpus": 26, "memory_gib": 225, "storage_gib": 2816, "gpus": 1},
}
INSTANCE: dict[str, Any] = {
    "id": "a446ea16d747426a86e1c619f2a163e4",
    "name": "gputui-t-01abc",
    "status": "booting",
    "ssh_key_names": ["laptop"],
    "file_system_names": [],
    "region": TEXAS,
    "instance_type": H100,
}
OUR_KEY = {"id": "key-ours", "name": "laptop", "public_key": PUBLIC_KEY}
OTHER_KEY = {"id": "key-other", "name": "other", "public_key": "ssh-ed25519 AAAAfake other", "workspace_id": "w-7"}
FILESYSTEM: dict[str, Any] = {"id": "fs-1", "name": "data", "is_in_use": False, "region": TEXAS}

LAUNCH = "POST instance-operations/launch"
TERMINATE = "POST instance-operations/terminate"
HTML = "<html><body>The owner of this website has banned you temporarily</body></html>"


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def seconds() -> float:
    return (VirtualClock().now_ms() - START_MS) / 1000


def ok(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": data, **more})


def refused(status: int, code: str, text: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": text}})


NO_CAPACITY = refused(400, "instance-operations/launch/insufficient-capacity", "Not enough capacity.")
MISSING = refused(404, "global/object-does-not-exist", "Specified instance does not exist.")


class Api:
    """Answers by "METHOD path" from a table of responses, functions or exceptions, and keeps what it was sent and when."""

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {
            "GET ssh-keys": ok([OTHER_KEY, OUR_KEY]),
            LAUNCH: ok({"instance_ids": [INSTANCE["id"]]}),
        }
        self.requests: list[httpx.Request] = []
        self.times_s: dict[str, list[float]] = defaultdict(list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times_s[self.name_of(request)].append(seconds())
        answer = self.routes[self.name_of(request)]
        if callable(answer) and not isinstance(answer, httpx.Response):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @staticmethod
    def name_of(request: httpx.Request) -> str:
        return f"{request.method} {request.url.path.removeprefix('/api/v1/')}"

    def sent(self, name: str) -> list[httpx.Request]:
        return [request for request in self.requests if self.name_of(request) == name]

    def body(self, name: str = LAUNCH) -> dict[str, Any]:
        (request,) = self.sent(name)
        body: dict[str, Any] = json.loads(request.content)
        return body


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api, tmp_path: Path) -> LambdaClient:
    context = ClientContext(VirtualClock(), tmp_path, api_key=f" {KEY}\n", url=URL, transport=httpx.MockTransport(api))
    return LambdaClient(context)


async def create_failure(client: LambdaClient, request: CreateRequest = REQUEST) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await client.create(request)
    return caught.value


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(LambdaClient)
        assert {name for name, has in can.items() if has} == {
            "ssh-keys", "os-images", "regions", "volumes", "attach volumes at create",
        }  # fmt: skip
        assert not hasattr(LambdaClient, "create_is_idempotent")

    @virtual
    async def test_sends_the_key_in_its_header_only(self, api: Api, client: LambdaClient) -> None:
        check = await client.check_key()
        assert (check.provider, check.ok, check.identity) == ("lambda", True, "workspace w-7")
        (request,) = api.requests
        assert str(request.url) == f"{URL}/ssh-keys"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"].startswith("gputui")

    @virtual
    async def test_no_ssh_key_names_no_workspace(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = ok([])
        check = await client.check_key()
        assert (check.ok, check.identity) == (True, None)

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            LambdaClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    def test_a_key_is_never_sent_in_clear(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            LambdaClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url="http://cloud.lambda.test/api/v1"))

    @virtual
    async def test_a_dead_key(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = refused(401, "global/invalid-api-key", f"API key {KEY} was invalid.")
        with pytest.raises(AuthError) as caught:
            await client.check_key()
        assert KEY not in str(caught.value)
        assert "gputui auth login lambda" in str(caught.value)

    @virtual
    async def test_the_edge_is_not_a_dead_key(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = httpx.Response(403, text="error code: 1010")
        with pytest.raises(Transient):
            await client.check_key()

    @pytest.mark.parametrize("text", ["error code: 1015", HTML])
    @virtual
    async def test_the_edges_limit_is_no_envelope(self, api: Api, client: LambdaClient, text: str) -> None:
        api.routes["GET instances"] = httpx.Response(429, text=text, headers={"Retry-After": "60"})
        with pytest.raises(RateLimited) as caught:
            await client.list_machines()
        assert caught.value.retry_after_s == 60

    @pytest.mark.parametrize("answer", [refused(404, "global/not-found"), httpx.Response(200, json={"ok": True})])
    @virtual
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: Api, client: LambdaClient, answer: httpx.Response
    ) -> None:
        api.routes = defaultdict(lambda: answer)
        for call in (client.list_machines, client.fetch_offers, client.list_ssh_keys, client.list_volumes):
            with pytest.raises(Malformed) as caught:
                await call()
            assert caught.value.may_exist is False

    @virtual
    async def test_aclose(self, client: LambdaClient) -> None:
        await client.aclose()


class TestPace:
    @virtual
    async def test_requests_keep_to_one_a_second_after_a_few(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        await asyncio.gather(*(client.list_machines() for _ in range(6)))
        assert api.times_s["GET instances"] == pytest.approx([0, 0, 1, 2, 3, 4], abs=0.1)

    @virtual
    async def test_ending_a_machine_goes_before_reading(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        api.routes[TERMINATE] = ok({})
        reads = [asyncio.create_task(client.list_machines()) for _ in range(8)]
        await asyncio.sleep(0.1)
        await client.terminate("i-1", idempotency_key="idem-t")
        assert api.times_s[TERMINATE] == pytest.approx([0.1], abs=0.05)
        await asyncio.gather(*reads)

    @virtual
    async def test_launches_are_more_than_twelve_seconds_apart(self, api: Api, client: LambdaClient) -> None:
        requests = [replace(REQUEST, label=f"gputui-t-{number}") for number in range(4)]
        await asyncio.gather(*(client.create(request) for request in requests))
        times_s = api.times_s[LAUNCH]
        assert len(times_s) == 4
        assert all(12 < later - earlier < 15 for earlier, later in pairwise(times_s))

    @virtual
    async def test_other_calls_do_not_wait_for_launches(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        orders = [asyncio.create_task(client.create(replace(REQUEST, label=f"l-{n}"))) for n in range(3)]
        await asyncio.sleep(8)
        await client.list_machines()
        assert seconds() < 10
        await asyncio.gather(*orders)

    @virtual
    async def test_a_launch_that_never_got_its_turn_left_nothing_behind(self, api: Api, client: LambdaClient) -> None:
        requests = [replace(REQUEST, label=f"l-{number}") for number in range(12)]
        results = await asyncio.gather(*(client.create(request) for request in requests), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert failures
        for error in failures:
            assert isinstance(error, RateLimited)
            assert error.may_exist is False
            assert error.retry_after_s is not None
        assert len(api.sent(LAUNCH)) == len(requests) - len(failures)


class TestOffers:
    @virtual
    async def test_types_come_as_a_map(self, api: Api, client: LambdaClient) -> None:
        sold_out = {**H100, "name": "gpu_8x_a100", "description": "8x A100 (40 GB SXM4)", "specs": {"gpus": 8}}
        cpu = {**H100, "name": "cpu_4x_general", "specs": {"gpus": 0}}
        api.routes["GET instance-types"] = ok(
            {
                "gpu_1x_h100_sxm5": {"instance_type": H100, "regions_with_capacity_available": [TEXAS]},
                "gpu_8x_a100": {"instance_type": sold_out, "regions_with_capacity_available": []},
                "cpu_4x_general": {"instance_type": cpu, "regions_with_capacity_available": [TEXAS]},
                "strange": None,
            }
        )
        offers = await client.fetch_offers()
        assert [(offer.id, offer.gpu, offer.price_micro_usd_per_hour, offer.stock) for offer in offers] == [
            ("lambda:gpu_1x_h100_sxm5:us-south-2", "H100-SXM", 4_290_000, Stock.LOW),
            ("lambda:gpu_8x_a100:-", "A100-40GB-SXM", 4_290_000, Stock.NONE),
        ]
        assert len(api.requests) == 1
        assert seconds() == 0

    @virtual
    async def test_a_list_is_not_an_empty_market(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instance-types"] = ok([])
        with pytest.raises(Malformed):
            await client.fetch_offers()


class TestCreate:
    @virtual
    async def test_the_order(self, api: Api, client: LambdaClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == (INSTANCE["id"], REQUEST.label, MachineState.PENDING)
        assert (machine.gpu, machine.gpu_count, machine.region) == ("H100-SXM", 1, "us-south-2")
        assert machine.price_micro_usd_per_hour is None
        assert api.body() == {
            "region_name": "us-south-2",
            "instance_type_name": "gpu_1x_h100_sxm5",
            "ssh_key_names": ["laptop"],
            "name": "gputui-t-01abc",
        }
        assert [api.name_of(request) for request in api.requests] == ["GET ssh-keys", LAUNCH]

    @virtual
    async def test_an_image_as_asked(self, api: Api, client: LambdaClient) -> None:
        await client.create(replace(REQUEST, os_image="lambda-stack-22-04", disk_gib=2816))
        assert api.body()["image"] == {"family": "lambda-stack-22-04"}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"disk_gib": 2817}, "disk_gib"),
            ({"label": "x" * 65}, "label"),
            ({"ssh_public_key": "nonsense"}, "ssh_public_key"),
            ({"offer": replace(OFFER, region=None, native={**OFFER.native, "region_name": None})}, "region"),
        ],
    )
    @virtual
    async def test_what_cannot_work_is_not_sent(
        self, api: Api, client: LambdaClient, change: dict[str, Any], field: str
    ) -> None:
        error = await create_failure(client, replace(REQUEST, **change))
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
    @virtual
    async def test_what_an_answer_means(
        self, api: Api, client: LambdaClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[LAUNCH] = answer
        error = await create_failure(client)
        assert (type(error), error.may_exist) == (kind, may_exist)
        assert error.provider == "lambda"
        assert len(api.sent(LAUNCH)) == 1

    @virtual
    async def test_capacity_names_type_and_place(self, api: Api, client: LambdaClient) -> None:
        api.routes[LAUNCH] = NO_CAPACITY
        error = await create_failure(client)
        assert "gpu_1x_h100_sxm5 in us-south-2" in str(error)
        assert error.status == 400

    @pytest.mark.parametrize(("headers", "expected_s"), [({}, 12), ({"Retry-After": "30"}, 30)])
    @virtual
    async def test_a_launch_too_many_says_when_to_try_again(
        self, api: Api, client: LambdaClient, headers: dict[str, str], expected_s: float
    ) -> None:
        api.routes[LAUNCH] = httpx.Response(429, text="error code: 1015", headers=headers)
        error = await create_failure(client)
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == expected_s

    @virtual
    async def test_failing_before_the_order_left(self, api: Api, client: LambdaClient) -> None:
        for broken in ("GET ssh-keys", "POST ssh-keys"):
            api.routes["GET ssh-keys"] = ok([])
            api.routes[broken] = refused(503, "provider/internal-unavailable")
            error = await create_failure(client)
            assert isinstance(error, Transient)
            assert error.may_exist is False
        assert api.sent(LAUNCH) == []


class TestSshKeys:
    @virtual
    async def test_registers_ours_once(self, api: Api, client: LambdaClient) -> None:
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
        assert [json.loads(request.content)["ssh_key_names"] for request in api.sent(LAUNCH)] == [[OUR_NAME]] * 2

    @virtual
    async def test_a_name_that_two_keys_have_is_not_launched_with(self, api: Api, client: LambdaClient) -> None:
        twins = [{"id": "1", "name": OUR_NAME, "public_key": PUBLIC_KEY}, {"id": "2", "name": OUR_NAME}]
        api.routes["GET ssh-keys"] = ok(twins)
        api.routes["POST ssh-keys"] = lambda request: ok({"id": "3", **json.loads(request.content)})
        await client.create(REQUEST)
        assert api.body()["ssh_key_names"] == [f"{OUR_NAME}-2"]

    @virtual
    async def test_another_process_was_quicker(self, api: Api, client: LambdaClient) -> None:
        keys: list[Any] = []

        def taken(request: httpx.Request) -> httpx.Response:
            keys.append({"id": "key-new", "name": OUR_NAME, "public_key": PUBLIC_KEY})
            return refused(400, "global/invalid-parameters", "Key name must be unique")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = taken
        await client.create(REQUEST)
        assert api.body()["ssh_key_names"] == [OUR_NAME]
        assert len(api.sent("POST ssh-keys")) == 1

    @virtual
    async def test_a_key_that_is_refused_stays_refused(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = ok([])
        api.routes["POST ssh-keys"] = refused(400, "global/invalid-parameters", "public_key: not a key")
        error = await create_failure(client)
        assert isinstance(error, Rejected)
        assert api.sent(LAUNCH) == []

    @virtual
    async def test_a_lost_registration_is_looked_up_not_repeated(self, api: Api, client: LambdaClient) -> None:
        keys: list[Any] = []

        def register_and_break(request: httpx.Request) -> Exception:
            keys.append({"id": "key-new", "name": OUR_NAME, "public_key": PUBLIC_KEY})
            return httpx.ReadError("reset")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = register_and_break
        error = await create_failure(client)
        assert (type(error), error.may_exist) == (Unreachable, False)
        await client.create(REQUEST)
        assert len(api.sent("POST ssh-keys")) == 1
        assert api.body()["ssh_key_names"] == [OUR_NAME]

    @virtual
    async def test_list_add_delete(self, api: Api, client: LambdaClient) -> None:
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
    @virtual
    async def test_a_pair_is_never_generated_by_mistake(
        self, api: Api, client: LambdaClient, name: str, public_key: str
    ) -> None:
        with pytest.raises(Rejected):
            await client.add_ssh_key(name, public_key)
        assert api.requests == []

    @virtual
    async def test_an_answer_without_an_id_is_malformed(self, api: Api, client: LambdaClient) -> None:
        api.routes["POST ssh-keys"] = ok({"name": "desk"})
        with pytest.raises(Malformed) as caught:
            await client.add_ssh_key("desk", PUBLIC_KEY)
        assert caught.value.may_exist is False


class TestMachines:
    @virtual
    async def test_list_leaves_out_the_gone_only(self, api: Api, client: LambdaClient) -> None:
        words = ("booting", "active", "unhealthy", "preempted", "terminating", "terminated", "levitating")
        rows = [{**INSTANCE, "id": word, "status": word} for word in words]
        api.routes["GET instances"] = ok([*rows, rows[0]])
        listed = await client.list_machines()
        assert [machine.id for machine in listed] == [word for word in words if word != "terminated"]

    @pytest.mark.parametrize("row", [None, {}, {"status": "active"}])
    @virtual
    async def test_a_machine_that_cannot_be_read_is_not_left_out(
        self, api: Api, client: LambdaClient, row: Any
    ) -> None:
        api.routes["GET instances"] = ok([INSTANCE, row])
        with pytest.raises(Malformed):
            await client.list_machines()

    @virtual
    async def test_get(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({**INSTANCE, "id": "i-1", "status": "active", "ip": "203.0.113.9"})
        machine = await client.get("i-1")
        assert (machine.state, machine.ip, machine.ssh_user) == (MachineState.RUNNING, "203.0.113.9", "ubuntu")
        assert machine.price_micro_usd_per_hour == 4_290_000

    @virtual
    async def test_get_of_an_ended_one(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({**INSTANCE, "status": "terminated"})
        assert (await client.get("i-1")).state is MachineState.GONE
        api.routes["GET instances/i-1"] = MISSING
        with pytest.raises(Gone):
            await client.get("i-1")

    @virtual
    async def test_get_without_an_id_is_malformed(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({})
        with pytest.raises(Malformed) as caught:
            await client.get("i-1")
        assert caught.value.may_exist is False

    @pytest.mark.parametrize(
        "answer",
        [
            ok({"terminated_instances": [{**INSTANCE, "status": "terminating"}]}),
            ok({}),
            httpx.Response(202),
            httpx.Response(204),
        ],
    )
    @virtual
    async def test_terminate_sends_one_id_and_takes_any_good_answer(
        self, api: Api, client: LambdaClient, answer: httpx.Response
    ) -> None:
        api.routes[TERMINATE] = answer
        await client.terminate("i-1", idempotency_key="idem-t")
        assert api.body(TERMINATE) == {"instance_ids": ["i-1"]}

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (MISSING, Gone),
            (refused(400, "global/object-does-not-exist"), Gone),
            (refused(409, "global/conflict"), Conflict),
            (refused(500, "global/internal-error"), Transient),
            (refused(401, "global/invalid-api-key"), AuthError),
            (refused(400, "global/invalid-parameters"), Rejected),
            (httpx.Response(404, text=HTML), Malformed),
            (httpx.Response(429, text="error code: 1015"), RateLimited),
            (httpx.ReadError("reset"), Unreachable),
        ],
    )
    @virtual
    async def test_terminate_fails_once_and_says_why(
        self, api: Api, client: LambdaClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[TERMINATE] = answer
        with pytest.raises(ProviderError) as caught:
            await client.terminate("i-1", idempotency_key="idem-t")
        assert type(caught.value) is kind
        assert len(api.requests) == 1

    @pytest.mark.parametrize("machine_id", ["", " "])
    @virtual
    async def test_no_id_ends_nothing(self, api: Api, client: LambdaClient, machine_id: str) -> None:
        with pytest.raises(Gone):
            await client.terminate(machine_id, idempotency_key="idem-t")
        assert api.requests == []

    @pytest.mark.parametrize("item_id", ["", ".", "..", "../ssh-keys", "a/b", "a?b=c", "a b", "%2e%2e"])
    @virtual
    async def test_an_id_never_leads_elsewhere(self, api: Api, client: LambdaClient, item_id: str) -> None:
        paths: list[bytes] = []

        def note(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.raw_path)
            return MISSING

        api.routes = defaultdict(lambda: note)
        for call in (client.get, client.delete_ssh_key, client.delete_volume):
            with pytest.raises(Gone):
                await call(item_id)
        for path in paths:
            assert path.startswith((b"/api/v1/instances/", b"/api/v1/ssh-keys/", b"/api/v1/filesystems/"))
            assert path.count(b"/") == 4
            assert b"?" not in path


class TestVolumes:
    @virtual
    async def test_unused_ones_take_one_request(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([FILESYSTEM])
        (volume,) = await client.list_volumes()
        assert (volume.id, volume.raw_state, volume.attached_to) == ("fs-1", "unused", ())
        assert len(api.requests) == 1

    @virtual
    async def test_used_ones_say_by_which_machine(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([{**FILESYSTEM, "is_in_use": True}])
        api.routes["GET instances"] = ok([{**INSTANCE, "file_system_names": ["data"]}])
        (volume,) = await client.list_volumes()
        assert (volume.raw_state, volume.attached_to) == ("in use", (INSTANCE["id"],))

    @virtual
    async def test_one_that_cannot_be_read_is_not_left_out(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([FILESYSTEM, {"name": "x"}])
        with pytest.raises(Malformed):
            await client.list_volumes()

    @virtual
    async def test_make_and_delete_go_to_the_other_path(self, api: Api, client: LambdaClient) -> None:
        api.routes["POST filesystems"] = ok({"id": "fs-9"})
        api.routes["DELETE filesystems/fs-9"] = ok({"deleted_ids": ["fs-9"]})
        volume = await client.create_volume("data-2", size_gib=None, region="us-south-2", kind=None)
        assert (volume.id, volume.name, volume.region) == ("fs-9", "data-2", "us-south-2")
        assert api.body("POST filesystems") == {"name": "data-2", "region": "us-south-2"}
        await client.delete_volume("fs-9")

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (refused(400, "global/duplicate"), Rejected, False),
            (refused(400, "global/quota-exceeded"), Rejected, False),
            (refused(404, "global/not-found"), Rejected, False),
            (refused(500, "global/internal-error"), Transient, True),
            (ok({}), Malformed, True),
            (httpx.ReadError("reset"), Unreachable, True),
        ],
    )
    @virtual
    async def test_making_fails_once_and_says_what_may_exist(
        self, api: Api, client: LambdaClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes["POST filesystems"] = answer
        with pytest.raises(ProviderError) as caught:
            await client.create_volume("data", size_gib=None, region="us-south-2", kind=None)
        assert (type(caught.value), caught.value.may_exist) == (kind, may_exist)
        assert len(api.requests) == 1

    @virtual
    async def test_a_size_is_not_silently_dropped(self, api: Api, client: LambdaClient) -> None:
        with pytest.raises(Rejected) as caught:
            await client.create_volume("data", size_gib=100, region="us-south-2", kind=None)
        assert caught.value.field == "size_gib"
        assert api.requests == []

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(400, "filesystems/filesystem-in-use"), Conflict),
            (refused(404, "global/object-does-not-exist"), Gone),
        ],
    )
    @virtual
    async def test_deleting_one_in_use_or_gone(
        self, api: Api, client: LambdaClient, answer: httpx.Response, kind: type[ProviderError]
    ) -> None:
        api.routes["DELETE filesystems/fs-1"] = answer
        with pytest.raises(ProviderError) as caught:
            await client.delete_volume("fs-1")
        assert type(caught.value) is kind


class TestImagesAndRegions:
    @virtual
    async def test_images(self, api: Api, client: LambdaClient) -> None:
        rows = [
            {"id": f"{family}-{region}", "name": family, "family": family, "region": {"name": region}}
            for family in ("ubuntu-24-04", "lambda-stack-24-04")
            for region in ("us-south-2", "us-east-1")
        ]
        api.routes["GET images"] = ok(rows)
        for offer in (None, OFFER):
            images = await client.list_os_images(offer)
            assert [image.value for image in images] == ["lambda-stack-24-04", "ubuntu-24-04"]

    @virtual
    async def test_regions(self, api: Api, client: LambdaClient) -> None:
        api.routes["GET regions"] = ok([TEXAS])
        (region,) = await client.list_regions()
        assert (region.code, region.name, region.country) == ("us-south-2", "North Texas, USA", "US")
