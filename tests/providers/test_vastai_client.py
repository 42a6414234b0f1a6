"""What the Vast.ai client sends and when, and how it takes what comes back, against answers written by hand."""

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
    NotFunded,
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
from gputui.providers.registry import ClientContext
from gputui.providers.vastai.client import VastClient
from gputui.sim.vtime import START_MS, VirtualClock, run_virtual

URL = "https://console.vast.test"
KEY = "fake0123456789abcdef0123456789abcdef"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"
OUR_NAME = "gputui-wfaZWFbq0dns"

OFFER = Offer(
    id="vastai:21348645",
    provider="vastai",
    gpu="RTX-4090",
    gpu_count=1,
    price_micro_usd_per_hour=361_111,
    fetched_at_ms=0,
    disk_gib=912,
    region="CA",
    stock=Stock.LOW,
    native={"ask_id": "21348645", "gpu_name": "RTX 4090", "disk_gb": 40},
)
REQUEST = CreateRequest(
    offer=OFFER,
    label="gputui-t-01abc",
    idempotency_key="idem-1",
    ssh_public_key=PUBLIC_KEY,
    image="pytorch/pytorch:latest",
    command="python train.py",
)
ASK: dict[str, Any] = {
    "id": 21348645,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "disk_space": 912.4,
    "dph_base": 0.35,
    "dph_total": 0.3611111111111111,
    "storage_cost": 0.2,
    "geolocation": "Ontario, CA",
    "verification": "verified",
}
INSTANCE: dict[str, Any] = {
    "id": 36717044,
    "actual_status": None,
    "intended_status": "running",
    "cur_state": "running",
    "label": "gputui-t-01abc",
    "image_runtype": "ssh_direc ssh_proxy",
    "ssh_host": "ssh7.vast.ai",
    "ssh_port": 37044,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "disk_space": 40.0,
    "dph_total": 0.36111,
    "geolocation": "Ontario, CA",
    "start_date": 1763700000.5,
}
ID = str(INSTANCE["id"])
OUR_KEY = {"id": 5512, "user_id": 1, "key": PUBLIC_KEY, "created_at": "2026-09-01T12:00:00", "deleted_at": None}

SEARCH = "POST v0/bundles/"
ORDER = "PUT v0/asks/21348645/"
LIST = "GET v1/instances/"
READ = f"GET v0/instances/{ID}/"
MANAGE = f"PUT v0/instances/{ID}/"
END = f"DELETE v0/instances/{ID}/"
ATTACH = f"POST v0/instances/{ID}/ssh/"
HTML = "<html><body>502 Bad Gateway</body></html>"


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def seconds() -> float:
    return (VirtualClock().now_ms() - START_MS) / 1000


def ok(data: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"success": True} if data is None else data)


def refused(status: int, code: str, text: str = "no", **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "error": code, "msg": text, **more})


def listing(*rows: dict[str, Any], token: str | None = None) -> httpx.Response:
    return ok({"success": True, "instances_found": len(rows), "next_token": token, "instances": list(rows)})


BAD_KEY = refused(404, "auth_error", "Invalid user key")
MISSING = refused(404, "no_such_instance", "Instance with that ID does not exist.")
TAKEN = refused(404, "invalid_args", "error 404/3603: no_such_ask Instance type by id 1 is not available.", ask_id=1)


class Api:
    """Answers by "METHOD path" from a table of responses, functions or exceptions, and keeps what it was sent and when.

    A list of answers is used up one by one.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {
            "GET v0/ssh/": ok([OUR_KEY]),
            ORDER: ok({"success": True, "new_contract": INSTANCE["id"], "instance_api_key": "fake-instance-key"}),
            READ: ok({"instances": INSTANCE}),
            LIST: listing(INSTANCE),
            END: ok(),
            MANAGE: ok(),
            ATTACH: ok({"success": True, "msg": "SSH key attached successfully"}),
        }
        self.requests: list[httpx.Request] = []
        self.times_s: dict[str, list[float]] = defaultdict(list)

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
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @staticmethod
    def name_of(request: httpx.Request) -> str:
        return f"{request.method} {request.url.path.removeprefix('/api/')}"

    @property
    def names(self) -> list[str]:
        return [self.name_of(request) for request in self.requests]

    def sent(self, name: str) -> list[httpx.Request]:
        return [request for request in self.requests if self.name_of(request) == name]

    def body(self, name: str) -> Any:
        (request,) = self.sent(name)
        return json.loads(request.content)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api, tmp_path: Path) -> VastClient:
    context = ClientContext(VirtualClock(), tmp_path, api_key=f" {KEY}\n", url=URL, transport=httpx.MockTransport(api))
    return VastClient(context)


async def failure_of(call: Coroutine[Any, Any, Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(VastClient)
        assert {name for name, has in can.items() if has} == {
            "balance", "ssh-keys", "volumes", "attach volumes at create", "stop and start", "charges",
        }  # fmt: skip
        assert not hasattr(VastClient, "create_is_idempotent")

    @virtual
    async def test_sends_the_key_in_its_header_only(self, api: Api, client: VastClient) -> None:
        await client.list_machines()
        (request,) = api.requests
        assert request.url.path == "/api/v1/instances/"
        assert KEY not in str(request.url)
        assert request.headers["authorization"] == f"Bearer {KEY}"

    @virtual
    async def test_a_key_is_checked_by_what_every_key_may(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/users/current/"] = ok({"id": 7, "username": "you", "credit": 1.0, "api_key": "fake-secret"})
        check = await client.check_key()
        assert (check.ok, check.identity) == (True, "you")
        assert "secret" not in repr(check)

    @pytest.mark.parametrize("status", [401, 403])
    @virtual
    async def test_a_narrow_key_is_a_good_key(self, api: Api, client: VastClient, status: int) -> None:
        api.routes["GET v0/users/current/"] = refused(status, "not_authorized")
        check = await client.check_key()
        assert (check.ok, check.identity) == (True, None)
        assert "may not" in check.detail

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            VastClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    def test_a_key_is_never_sent_in_clear(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            VastClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url="http://console.vast.test"))

    @pytest.mark.parametrize(
        "answer",
        [
            BAD_KEY,
            refused(401, "auth_error", "Invalid user key"),
            refused(403, "auth_error", "This action requires login."),
            refused(404, "auth_error", "Session expired. Please log in again."),
            httpx.Response(404, json={"msg": "Invalid user key"}),
            httpx.Response(401, json={"detail": "Authentication credentials were not provided."}),
            refused(401, "x", "Two Factor Authentication required"),
            httpx.Response(200, json={"success": False, "error": "auth_error", "msg": "Invalid user key"}),
        ],
    )
    @virtual
    async def test_a_dead_key_never_means_that_something_is_gone(
        self, api: Api, client: VastClient, answer: httpx.Response
    ) -> None:
        api.routes = defaultdict(lambda: answer)
        calls = (
            client.check_key(),
            client.fetch_offers(),
            client.fetch_balance(),
            client.list_machines(),
            client.get(ID),
            client.terminate(ID, idempotency_key="t"),
            client.create(REQUEST),
            client.list_ssh_keys(),
            client.delete_ssh_key("5512"),
            client.list_volumes(),
            client.delete_volume("1"),
            client.stop_machine(ID),
            client.start_machine(ID),
            client.fetch_charges(since_ms=0, until_ms=1000),
        )
        for call in calls:
            error = await failure_of(call)
            assert type(error) is AuthError
            assert error.may_exist is False

    @pytest.mark.parametrize(
        "answer",
        [
            refused(404, "not_found", "nothing here"),
            httpx.Response(200, json={"success": True}),
            httpx.Response(200, json=[]),
            httpx.Response(200, json={"instances": None, "offers": None, "volumes": None, "results": None}),
            refused(200, "deprecated_endpoint", "moved"),
            refused(410, "deprecated_endpoint", "moved"),
            httpx.Response(404, text=HTML),
        ],
    )
    @virtual
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: Api, client: VastClient, answer: httpx.Response
    ) -> None:
        api.routes = defaultdict(lambda: answer)
        for call in (
            client.list_machines(),
            client.fetch_offers(),
            client.list_volumes(),
            client.fetch_balance(),
            client.fetch_charges(since_ms=0, until_ms=1000),
        ):
            error = await failure_of(call)
            assert isinstance(error, Malformed | Rejected)
            assert error.may_exist is False

    @virtual
    async def test_aclose(self, client: VastClient) -> None:
        await client.aclose()


class TestPace:
    @virtual
    async def test_orders_are_more_than_four_and_a_half_seconds_apart(self, api: Api, client: VastClient) -> None:
        requests = [replace(REQUEST, label=f"gputui-t-{number}") for number in range(4)]
        await asyncio.gather(*(client.create(request) for request in requests))
        assert len(api.times_s[ORDER]) == 4
        assert all(4.5 < later - earlier < 6 for earlier, later in pairwise(api.times_s[ORDER]))

    @virtual
    async def test_ending_machines_waits_for_nothing_else(self, api: Api, client: VastClient) -> None:
        reads = [asyncio.create_task(client.get(ID)) for _ in range(20)]
        orders = [asyncio.create_task(client.create(REQUEST)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.gather(*(client.terminate(ID, idempotency_key="t") for _ in range(3)))
        assert api.times_s[END][0] == pytest.approx(0.1, abs=0.05)
        assert all(3 < later - earlier < 4 for earlier, later in pairwise(api.times_s[END]))
        await asyncio.gather(*reads, *orders)

    @virtual
    async def test_many_watchers_share_the_list(self, api: Api, client: VastClient) -> None:
        api.routes[LIST] = listing(*({**INSTANCE, "id": number} for number in range(100, 125)))

        async def watch(number: int) -> None:
            for _ in range(6):
                assert (await client.get(str(number))).id == str(number)
                await asyncio.sleep(5)

        await asyncio.gather(*(watch(number) for number in range(100, 125)))
        assert seconds() < 45
        assert len(api.sent(LIST)) < 40

    @virtual
    async def test_an_answer_is_never_older_than_its_question(self, tmp_path: Path) -> None:
        """The first list is under way when the machine starts to run; whoever asks later must see it run."""
        answers: list[str] = []

        async def slow(request: httpx.Request) -> httpx.Response:
            state = "running" if answers else "loading"
            answers.append(state)
            await asyncio.sleep(1)
            return listing({**INSTANCE, "actual_status": state})

        transport = httpx.MockTransport(slow)
        client = VastClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url=URL, transport=transport))
        first = asyncio.create_task(client.get(ID))
        await asyncio.sleep(0.5)
        later = [asyncio.create_task(client.get(ID)) for _ in range(3)]
        assert (await first).state is MachineState.PENDING
        assert {machine.state for machine in await asyncio.gather(*later)} == {MachineState.RUNNING}
        assert answers == ["loading", "running"]

    @virtual
    async def test_a_shared_list_that_fails_fails_nobody_else(self, api: Api, client: VastClient) -> None:
        api.routes[LIST] = [refused(400, "x"), listing(INSTANCE)]
        results = await asyncio.gather(client.get(ID), client.get(ID), return_exceptions=True)
        assert isinstance(results[0], Rejected)
        assert not isinstance(results[1], BaseException)
        assert results[1].id == ID

    @pytest.mark.parametrize(
        ("answer", "wait_s"),
        [
            (httpx.Response(429, text="API requests too frequent"), None),
            (httpx.Response(429, json={"detail": "API requests too frequent endpoint threshold=4.5"}), 4.5),
            (httpx.Response(429, json={"success": False, "error": "x", "retry_after": 7}), 7.0),
            (httpx.Response(429, json={"msg": "slow"}, headers={"Retry-After": "9"}), 9.0),
            (httpx.Response(429, text="slow", headers={"Retry-After": "9"}), 9.0),
        ],
    )
    @virtual
    async def test_every_form_of_slow_down(
        self, api: Api, client: VastClient, answer: httpx.Response, wait_s: float | None
    ) -> None:
        api.routes[END] = answer
        error = await failure_of(client.terminate(ID, idempotency_key="t"))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == wait_s

    @pytest.mark.parametrize("has_header", [True, False])
    @virtual
    async def test_used_up_searches_hold_up_searches_only(self, api: Api, client: VastClient, has_header: bool) -> None:
        midnight_s = (START_MS // 86_400_000 + 1) * 86_400
        headers = {"X-RateLimit-Reset": str(midnight_s)} if has_header else {}
        api.routes[SEARCH] = httpx.Response(429, json={"error": "search_quota_exceeded"}, headers=headers)
        error = await failure_of(client.fetch_offers())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == pytest.approx(midnight_s - START_MS / 1000, abs=2)
        await client.terminate(ID, idempotency_key="t")
        await client.list_machines()
        assert isinstance(await failure_of(client.fetch_offers()), RateLimited)
        assert len(api.sent(SEARCH)) == 1
        assert seconds() < 5

    @virtual
    async def test_an_order_that_came_too_soon_made_nothing_and_says_when(self, api: Api, client: VastClient) -> None:
        api.routes[ORDER] = httpx.Response(429, text="API requests too frequent: endpoint threshold=4.5")
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, RateLimited)
        assert (error.may_exist, error.retry_after_s) == (False, 4.5)


class TestOffers:
    @virtual
    async def test_a_small_market(self, api: Api, client: VastClient) -> None:
        api.routes[SEARCH] = ok({"offers": [ASK, {**ASK, "id": 2, "is_bid": True}, {**ASK, "id": 3, "gpu_name": None}]})
        (offer,) = await client.fetch_offers()
        assert (offer.id, offer.gpu, offer.price_micro_usd_per_hour) == ("vastai:21348645", "RTX-4090", 361_111)
        first, second = (json.loads(request.content) for request in api.sent(SEARCH))
        assert {**first, "dph_total": second["dph_total"]} == second
        assert "dph_total" not in first
        assert second["dph_total"] == {"gte": 0.3611111111111111}
        assert (first["type"], first["allocated_storage"]) == ("on-demand", 40)

    @virtual
    async def test_a_large_one_is_read_model_by_model(self, api: Api, client: VastClient) -> None:
        crowd = [
            {**ASK, "id": number, "gpu_name": "RTX 3090", "dph_total": 0.1 + number / 1000} for number in range(200)
        ]
        rare = [{**ASK, "id": 900, "gpu_name": "H200", "dph_total": 3.0, "dph_base": 2.99}]

        def search(request: httpx.Request) -> httpx.Response:
            question = json.loads(request.content)
            names = question.get("gpu_name", {})
            wanted = names.get("in") or ([names["eq"]] if "eq" in names else ["RTX 3090", "H200"])
            least = question.get("dph_total", {}).get("gte", 0)
            rows = [row for row in [*crowd, *rare] if row["gpu_name"] in wanted and row["dph_total"] >= least]
            return ok({"offers": rows[:64]})

        api.routes[SEARCH] = search
        api.routes["GET v0/gpu_names/unique/"] = ok({"gpu_names": ["H200", "RTX 3090"]})
        offers = await client.fetch_offers()
        assert {offer.gpu for offer in offers} == {"RTX-3090", "H200"}
        assert len(offers) == 201
        await client.fetch_offers()
        assert len(api.sent("GET v0/gpu_names/unique/")) == 1

    @virtual
    async def test_what_cannot_be_read_costs_nothing_else(self, api: Api, client: VastClient) -> None:
        good = [{**ASK, "id": number, "machine_id": number * 10} for number in range(1, 9)]
        api.routes[SEARCH] = ok({"offers": good})
        expected = await client.fetch_offers()
        assert len(expected) == 8
        odd: list[Any] = [None, "odd", {**ASK, "id": 10, "num_gpus": "many"}, {**ASK, "id": 11, "cpu_ram": {"mb": 1}}]
        api.routes[SEARCH] = ok({"offers": [*odd, *good]})
        first, *others = await client.fetch_offers()
        assert (first.id, first.ram_gib, first.vcpus) == ("vastai:11", None, expected[0].vcpus)
        assert [replace(offer, fetched_at_ms=expected[0].fetched_at_ms) for offer in others] == expected

    @virtual
    async def test_a_failure_with_offers_is_a_failure(self, api: Api, client: VastClient) -> None:
        api.routes[SEARCH] = ok({"offers": [ASK], "success": False, "error": "invalid_args", "msg": "no such filter"})
        error = await failure_of(client.fetch_offers())
        assert "no such filter" in str(error)

    @virtual
    async def test_a_search_is_a_read_and_tried_again(self, api: Api, client: VastClient) -> None:
        api.routes[SEARCH] = [httpx.Response(502, text=HTML), ok({"offers": []})]
        assert await client.fetch_offers() == []

    @virtual
    async def test_a_question_that_is_refused(self, api: Api, client: VastClient) -> None:
        api.routes[SEARCH] = refused(400, "bad_request", "q.gpu_name: Input should be a valid dictionary")
        error = await failure_of(client.fetch_offers())
        assert isinstance(error, Rejected)
        assert "valid dictionary" in str(error)


class TestCreate:
    @virtual
    async def test_the_order(self, api: Api, client: VastClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == (ID, REQUEST.label, MachineState.PENDING)
        assert (machine.gpu, machine.price_micro_usd_per_hour, machine.region) == ("RTX-4090", 361_110, "CA")
        assert api.names == ["GET v0/ssh/", ORDER, READ]
        body = api.body(ORDER)
        assert (body["image"], body["disk"], body["label"]) == ("pytorch/pytorch:latest", 40, "gputui-t-01abc")
        assert body["runtype"] == "ssh_direc ssh_proxy"
        assert not {"price", "onstart", "args", "env"} & body.keys()
        assert "train.py" not in json.dumps(body)

    @pytest.mark.parametrize("none_yet", [ok([]), httpx.Response(404, json={"msg": "No SSH keys found for the user."})])
    @virtual
    async def test_our_key_is_registered_before_the_order_and_attached_after_it(
        self, api: Api, client: VastClient, none_yet: httpx.Response
    ) -> None:
        api.routes["GET v0/ssh/"] = none_yet
        api.routes["POST v0/ssh/"] = ok({"success": True, "key": {"id": 1, "public_key": PUBLIC_KEY}})
        await client.create(REQUEST)
        assert api.names == ["GET v0/ssh/", "POST v0/ssh/", ORDER, ATTACH, READ]
        assert api.body("POST v0/ssh/") == {"ssh_key": PUBLIC_KEY.replace("fake-key", OUR_NAME)}
        assert api.body(ATTACH) == {"ssh_key": PUBLIC_KEY}

    @virtual
    async def test_a_key_is_known_by_its_fingerprint(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/ssh/"] = ok([{**OUR_KEY, "key": PUBLIC_KEY.replace("fake-key", "named otherwise")}])
        await client.create(REQUEST)
        assert api.names == ["GET v0/ssh/", ORDER, READ]

    @virtual
    async def test_creates_side_by_side_register_it_once(self, api: Api, client: VastClient) -> None:
        keys: list[Any] = []

        def add(request: httpx.Request) -> httpx.Response:
            keys.append({"id": 1, "key": json.loads(request.content)["ssh_key"]})
            return ok({"success": True, "key": {"id": 1, "public_key": keys[0]["key"]}})

        api.routes["GET v0/ssh/"] = lambda request: ok(keys)
        api.routes["POST v0/ssh/"] = add
        await asyncio.gather(*(client.create(REQUEST) for _ in range(3)))
        assert len(keys) == 1

    @virtual
    async def test_another_process_may_register_it_first(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/ssh/"] = [ok([]), ok([OUR_KEY])]
        api.routes["POST v0/ssh/"] = refused(400, "duplicate", "key exists")
        await client.create(REQUEST)
        assert len(api.sent(ATTACH)) == 1

    @virtual
    async def test_a_team_holds_no_keys_but_its_machines_do(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/ssh/"] = ok([])
        api.routes["POST v0/ssh/"] = refused(400, "team_ssh_keys_not_supported", "Team SSH keys are not supported.")
        await client.create(REQUEST)
        assert len(api.sent(ATTACH)) == 1

    @virtual
    async def test_attached_before_is_attached(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/ssh/"] = ok([])
        api.routes["POST v0/ssh/"] = ok({"success": True, "key": {"id": 1, "public_key": PUBLIC_KEY}})
        api.routes[ATTACH] = httpx.Response(
            200, json={"success": False, "msg": "SSH key already associated with instance."}
        )
        assert (await client.create(REQUEST)).id == ID
        assert len(api.sent(ATTACH)) == 1

    @virtual
    async def test_a_machine_that_cannot_be_given_our_key_exists_all_the_same(
        self, api: Api, client: VastClient
    ) -> None:
        api.routes["GET v0/ssh/"] = ok([])
        api.routes["POST v0/ssh/"] = refused(400, "team_ssh_keys_not_supported")
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
    @virtual
    async def test_losing_the_race_is_normal(self, api: Api, client: VastClient, answer: httpx.Response) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is NoCapacity
        assert error.may_exist is False
        assert len(api.sent(ORDER)) == 1

    @pytest.mark.parametrize("status", [200, 400])
    @virtual
    async def test_a_failed_order_that_made_a_machine_says_so(self, api: Api, client: VastClient, status: int) -> None:
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
    @virtual
    async def test_a_failed_order_is_classed_and_sent_once(
        self, api: Api, client: VastClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes[ORDER] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert len(api.sent(ORDER)) == 1

    @pytest.mark.parametrize(
        "unread", [MISSING, BAD_KEY, ok({"instances": None}), ok({"instances": {}}), httpx.ReadError("reset"), ok([])]
    )
    @virtual
    async def test_a_machine_that_cannot_be_read_yet_is_not_lost(
        self, api: Api, client: VastClient, unread: Any
    ) -> None:
        api.routes[READ] = unread
        machine = await client.create(REQUEST)
        assert (machine.id, machine.state, machine.label) == (ID, MachineState.PENDING, REQUEST.label)
        assert machine.price_micro_usd_per_hour is None

    @virtual
    async def test_a_machine_without_our_label_gets_it(self, api: Api, client: VastClient) -> None:
        api.routes[READ] = ok({"instances": {**INSTANCE, "label": None}})
        assert (await client.create(REQUEST)).label == REQUEST.label
        assert api.body(MANAGE) == {"label": REQUEST.label}

    @virtual
    async def test_a_label_that_cannot_be_set_loses_no_machine(self, api: Api, client: VastClient) -> None:
        api.routes[READ] = ok({"instances": {**INSTANCE, "label": "other"}})
        api.routes[MANAGE] = httpx.Response(503, text=HTML)
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label) == (ID, "other")

    @pytest.mark.parametrize("ending", [ok(), httpx.Response(503, text=HTML)])
    @virtual
    async def test_what_was_not_ordered_is_ended(self, api: Api, client: VastClient, ending: httpx.Response) -> None:
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
    @virtual
    async def test_what_cannot_be_ordered_is_not_sent(
        self, api: Api, client: VastClient, change: dict[str, Any], kind: type[ProviderError]
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert type(error) is kind
        assert error.may_exist is False
        assert not api.sent(ORDER)

    @virtual
    async def test_a_failure_before_the_order_left_nothing(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/ssh/"] = ok([])
        api.routes["POST v0/ssh/"] = httpx.Response(500, json={})
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, Transient)
        assert error.may_exist is False
        assert not api.sent(ORDER)


class TestMachines:
    @virtual
    async def test_all_pages(self, api: Api, client: VastClient) -> None:
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

    @virtual
    async def test_a_list_that_leads_in_a_circle_is_told(self, api: Api, client: VastClient) -> None:
        api.routes[LIST] = listing(INSTANCE, token="again")
        assert isinstance(await failure_of(client.list_machines()), Malformed)
        assert len(api.requests) < 5

    @virtual
    async def test_a_machine_that_cannot_be_read_is_not_left_out(self, api: Api, client: VastClient) -> None:
        for row in ({"actual_status": "running"}, None, "odd"):
            api.routes[LIST] = ok({"instances": [INSTANCE, row]})
            error = await failure_of(client.list_machines())
            assert isinstance(error, Malformed)
            assert error.may_exist is False

    @virtual
    async def test_gone_machines_are_not_listed_but_told(self, api: Api, client: VastClient) -> None:
        api.routes[LIST] = listing({**INSTANCE, "cur_state": "unloaded"})
        assert await client.list_machines() == []
        assert (await client.get(ID)).state is MachineState.GONE

    @virtual
    async def test_a_machine_the_list_leaves_out_is_asked_for_by_itself(self, api: Api, client: VastClient) -> None:
        api.routes[LIST] = listing()
        assert (await client.get(ID)).id == ID

    @pytest.mark.parametrize(
        "answer", [ok({"instances": None}), MISSING, refused(404, "not_found", "Instance not found")]
    )
    @virtual
    async def test_missing_in_both_places_is_gone(self, api: Api, client: VastClient, answer: httpx.Response) -> None:
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
    @virtual
    async def test_nothing_else_is_gone(
        self, api: Api, client: VastClient, answer: httpx.Response, kind: type[ProviderError]
    ) -> None:
        api.routes[LIST] = listing()
        api.routes[READ] = answer
        assert type(await failure_of(client.get(ID))) is kind

    @pytest.mark.parametrize("machine_id", ["", "x", "../users", "1/2", "¹"])
    @virtual
    async def test_an_id_that_is_none_leads_nowhere(self, api: Api, client: VastClient, machine_id: str) -> None:
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
    @virtual
    async def test_a_terminate_that_fails_is_sent_once(
        self, api: Api, client: VastClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[END] = answer
        assert type(await failure_of(client.terminate(ID, idempotency_key="t"))) is kind
        assert len(api.sent(END)) == 1

    @virtual
    async def test_stop_and_start(self, api: Api, client: VastClient) -> None:
        await client.stop_machine(ID)
        await client.start_machine(ID)
        assert [json.loads(request.content) for request in api.sent(MANAGE)] == [
            {"state": "stopped"},
            {"state": "running"},
        ]

    @virtual
    async def test_a_start_that_would_stay_queued_is_called_off(self, api: Api, client: VastClient) -> None:
        queued = refused(
            200, "resources_unavailable", "Required resources are currently unavailable, state change queued."
        )
        api.routes[MANAGE] = [queued, ok()]
        assert type(await failure_of(client.start_machine(ID))) is NoCapacity
        assert [json.loads(request.content)["state"] for request in api.sent(MANAGE)] == ["running", "stopped"]

    @virtual
    async def test_a_start_that_cannot_be_called_off_says_so(self, api: Api, client: VastClient) -> None:
        api.routes[MANAGE] = [refused(200, "resources_unavailable"), httpx.Response(502, text=HTML)]
        error = await failure_of(client.start_machine(ID))
        assert type(error) is NoCapacity
        assert "may start by itself" in str(error)


class TestAccount:
    @virtual
    async def test_the_balance(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/users/current/"] = ok({"id": 1, "balance": 0.0, "credit": 25.13})
        assert (await client.fetch_balance()).balance_micro_usd == 25_130_000

    @virtual
    async def test_ssh_keys(self, api: Api, client: VastClient) -> None:
        (key,) = await client.list_ssh_keys()
        assert (key.id, key.name, key.fingerprint) == ("5512", "fake-key", FINGERPRINT)
        api.routes["POST v0/ssh/"] = ok({"success": True, "key": {"id": 2, "public_key": PUBLIC_KEY}})
        assert (await client.add_ssh_key("laptop", PUBLIC_KEY)).id == "2"
        api.routes["DELETE v0/ssh/5512/"] = [ok(), refused(400, "no_ssh_key", "SSH key not found")]
        await client.delete_ssh_key("5512")
        assert type(await failure_of(client.delete_ssh_key("5512"))) is Gone

    @virtual
    async def test_a_key_without_an_id_was_not_added(self, api: Api, client: VastClient) -> None:
        api.routes["POST v0/ssh/"] = ok()
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert type(error) is Malformed
        assert error.may_exist is False

    @virtual
    async def test_charges_on_all_pages(self, api: Api, client: VastClient) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            assert json.loads(request.url.params["select_filters"]) == {"day": {"gte": 100, "lte": 201}}
            token = request.url.params.get("after_token")
            source = "instance-1" if token is None else "volume-2"
            row = {"start": 120, "end": 180, "source": source, "description": "d", "amount": 0.5, "items": []}
            return ok({"success": True, "results": [row], "next_token": "t" if token is None else None})

        api.routes["GET v0/charges/"] = page
        charges = await client.fetch_charges(since_ms=100_000, until_ms=200_001)
        assert [(charge.machine_id, charge.amount_micro_usd) for charge in charges] == [("1", 500_000), (None, 500_000)]

    @virtual
    async def test_a_charge_that_cannot_be_read_is_not_left_out(self, api: Api, client: VastClient) -> None:
        api.routes["GET v0/charges/"] = ok({"success": True, "results": [{"source": "instance-1"}]})
        assert type(await failure_of(client.fetch_charges(since_ms=0, until_ms=1000))) is Malformed


class TestVolumes:
    ROOM: dict[str, Any] = {"id": 9, "disk_space": 500.0, "storage_cost": 0.1, "geolocation": "Ontario, CA"}  # noqa: RUF012
    MAKE = "PUT v0/volumes/"

    @virtual
    async def test_list(self, api: Api, client: VastClient) -> None:
        volume = {"id": 7, "label": "data", "status": "in-use", "disk_space": 100.0, "instances": [36717044]}
        api.routes["GET v0/volumes/"] = ok({"volumes": [volume]})
        (found,) = await client.list_volumes()
        assert (found.id, found.raw_state, found.attached_to) == ("7", "in-use", (ID,))
        api.routes["GET v0/volumes/"] = ok({"volumes": [volume, {"label": "lost"}]})
        assert type(await failure_of(client.list_volumes())) is Malformed

    @virtual
    async def test_create(self, api: Api, client: VastClient) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": [{**self.ROOM, "id": 8, "storage_cost": 0.2}, self.ROOM]})
        api.routes[self.MAKE] = ok({"success": True, "volume_name": "V.20118481"})
        volume = await client.create_volume("data_1", size_gib=100, region="CA", kind=None)
        assert (volume.id, volume.name, volume.size_gib, volume.region) == ("20118481", "data_1", 100, "CA")
        assert volume.price_micro_usd_per_month == 10_000_000
        assert api.body(self.MAKE) == {"id": 9, "size": 100, "name": "data_1"}

    @pytest.mark.parametrize("answer", [ok(), httpx.Response(200, text=HTML), httpx.Response(500, json={})])
    @virtual
    async def test_a_volume_that_may_have_been_made(self, api: Api, client: VastClient, answer: httpx.Response) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": [self.ROOM]})
        api.routes[self.MAKE] = answer
        error = await failure_of(client.create_volume("data_1", size_gib=None, region="CA", kind=None))
        assert error.may_exist is True
        assert len(api.sent(self.MAKE)) == 1

    @virtual
    async def test_no_room(self, api: Api, client: VastClient) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": []})
        error = await failure_of(client.create_volume("data_1", size_gib=None, region="CA", kind=None))
        assert type(error) is NoCapacity
        assert not api.sent(self.MAKE)

    @virtual
    async def test_delete(self, api: Api, client: VastClient) -> None:
        in_use = refused(400, "invalid_args", "Volume is in use by instance 1")
        missing = refused(404, "no_such_volume", "Volume with that ID does not exist.")
        api.routes["DELETE v0/volumes/"] = [ok(), in_use, missing]
        await client.delete_volume("7")
        assert api.body("DELETE v0/volumes/") == {"id": 7}
        assert type(await failure_of(client.delete_volume("7"))) is Conflict
        assert type(await failure_of(client.delete_volume("7"))) is Gone
        assert type(await failure_of(client.delete_volume("x"))) is Gone
