"""What the Vast.ai client asks of the market, at what pace, and how it takes what comes back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of, seconds
from vastai_answers import (
    ASK,
    BAD_KEY,
    END,
    ID,
    INSTANCE,
    KEY,
    LIST,
    ORDER,
    REQUEST,
    SEARCH,
    URL,
    VastApi,
    listing,
    ok,
    refused,
)

from gputui.model.errors import AuthError, ConfigError, Malformed, RateLimited, Rejected, UsageError
from gputui.model.states import MachineState
from gputui.providers import base
from gputui.providers.registry import ClientContext
from gputui.providers.vastai.client import VastClient
from gputui.sim.vtime import START_MS, VirtualClock, in_virtual_time


@pytest.fixture
def api() -> VastApi:
    return VastApi()


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(VastClient)
        assert {name for name, has in can.items() if has} == {
            "balance", "ssh-keys", "volumes", "attach volumes at create", "stop and start", "charges",
        }  # fmt: skip
        assert not hasattr(VastClient, "create_is_idempotent")

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: VastApi, client: VastClient) -> None:
        await client.list_machines()
        (request,) = api.requests
        assert request.url.path == "/api/v1/instances/"
        assert KEY not in str(request.url)
        assert request.headers["authorization"] == f"Bearer {KEY}"

    @in_virtual_time
    async def test_a_key_is_checked_by_what_every_key_may(self, api: VastApi, client: VastClient) -> None:
        api.routes["GET v0/users/current/"] = ok({"id": 7, "username": "you", "credit": 1.0, "api_key": "fake-secret"})
        check = await client.check_key()
        assert (check.ok, check.identity) == (True, "you")
        assert "secret" not in repr(check)

    @pytest.mark.parametrize("status", [401, 403])
    @in_virtual_time
    async def test_a_narrow_key_is_a_good_key(self, api: VastApi, client: VastClient, status: int) -> None:
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
    @in_virtual_time
    async def test_a_dead_key_never_means_that_something_is_gone(
        self, api: VastApi, client: VastClient, answer: httpx.Response
    ) -> None:
        api.answer_everything(answer)
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
    @in_virtual_time
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: VastApi, client: VastClient, answer: httpx.Response
    ) -> None:
        api.answer_everything(answer)
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

    @in_virtual_time
    async def test_aclose(self, client: VastClient) -> None:
        await client.aclose()


class TestPace:
    @in_virtual_time
    async def test_orders_are_more_than_four_and_a_half_seconds_apart(self, api: VastApi, client: VastClient) -> None:
        requests = [replace(REQUEST, label=f"gputui-t-{number}") for number in range(4)]
        await asyncio.gather(*(client.create(request) for request in requests))
        assert len(api.times_s[ORDER]) == 4
        assert all(4.5 < later - earlier < 6 for earlier, later in pairwise(api.times_s[ORDER]))

    @in_virtual_time
    async def test_ending_machines_waits_for_nothing_else(self, api: VastApi, client: VastClient) -> None:
        reads = [asyncio.create_task(client.get(ID)) for _ in range(20)]
        orders = [asyncio.create_task(client.create(REQUEST)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.gather(*(client.terminate(ID, idempotency_key="t") for _ in range(3)))
        assert api.times_s[END][0] == pytest.approx(0.1, abs=0.05)
        assert all(3 < later - earlier < 4 for earlier, later in pairwise(api.times_s[END]))
        await asyncio.gather(*reads, *orders)

    @in_virtual_time
    async def test_many_watchers_share_the_list(self, api: VastApi, client: VastClient) -> None:
        api.routes[LIST] = listing(*({**INSTANCE, "id": number} for number in range(100, 125)))

        async def watch(number: int) -> None:
            for _ in range(6):
                assert (await client.get(str(number))).id == str(number)
                await asyncio.sleep(5)

        await asyncio.gather(*(watch(number) for number in range(100, 125)))
        assert seconds() < 45
        assert len(api.sent(LIST)) < 40

    @in_virtual_time
    async def test_an_answer_is_never_older_than_its_question(self, api: VastApi, client: VastClient) -> None:
        """The first list is under way when the machine starts to run; whoever asks later must see it run."""
        answers: list[str] = []

        async def slow(request: httpx.Request) -> httpx.Response:
            state = "running" if answers else "loading"
            answers.append(state)
            await asyncio.sleep(1)
            return listing({**INSTANCE, "actual_status": state})

        api.routes[LIST] = slow
        first = asyncio.create_task(client.get(ID))
        await asyncio.sleep(0.5)
        later = [asyncio.create_task(client.get(ID)) for _ in range(3)]
        assert (await first).state is MachineState.PENDING
        assert {machine.state for machine in await asyncio.gather(*later)} == {MachineState.RUNNING}
        assert answers == ["loading", "running"]

    @in_virtual_time
    async def test_a_shared_list_that_fails_fails_nobody_else(self, api: VastApi, client: VastClient) -> None:
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
    @in_virtual_time
    async def test_every_form_of_slow_down(
        self, api: VastApi, client: VastClient, answer: httpx.Response, wait_s: float | None
    ) -> None:
        api.routes[END] = answer
        error = await failure_of(client.terminate(ID, idempotency_key="t"))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == wait_s

    @pytest.mark.parametrize("has_header", [True, False])
    @in_virtual_time
    async def test_used_up_searches_hold_up_searches_only(
        self, api: VastApi, client: VastClient, has_header: bool
    ) -> None:
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

    @in_virtual_time
    async def test_an_order_that_came_too_soon_made_nothing_and_says_when(
        self, api: VastApi, client: VastClient
    ) -> None:
        api.routes[ORDER] = httpx.Response(429, text="API requests too frequent: endpoint threshold=4.5")
        error = await failure_of(client.create(REQUEST))
        assert isinstance(error, RateLimited)
        assert (error.may_exist, error.retry_after_s) == (False, 4.5)


class TestOffers:
    @in_virtual_time
    async def test_a_small_market(self, api: VastApi, client: VastClient) -> None:
        api.routes[SEARCH] = ok({"offers": [ASK, {**ASK, "id": 2, "is_bid": True}, {**ASK, "id": 3, "gpu_name": None}]})
        (offer,) = await client.fetch_offers()
        assert (offer.id, offer.gpu, offer.price_micro_usd_per_hour) == ("vastai:21348645", "RTX-4090", 361_111)
        first, second = api.bodies(SEARCH)
        assert {**first, "dph_total": second["dph_total"]} == second
        assert "dph_total" not in first
        assert second["dph_total"] == {"gte": 0.3611111111111111}
        assert (first["type"], first["allocated_storage"]) == ("on-demand", 40)

    @in_virtual_time
    async def test_a_large_one_is_read_model_by_model(self, api: VastApi, client: VastClient) -> None:
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

    @in_virtual_time
    async def test_what_cannot_be_read_costs_nothing_else(self, api: VastApi, client: VastClient) -> None:
        good = [{**ASK, "id": number, "machine_id": number * 10} for number in range(1, 9)]
        api.routes[SEARCH] = ok({"offers": good})
        expected = await client.fetch_offers()
        assert len(expected) == 8
        odd: list[Any] = [None, "odd", {**ASK, "id": 10, "num_gpus": "many"}, {**ASK, "id": 11, "cpu_ram": {"mb": 1}}]
        api.routes[SEARCH] = ok({"offers": [*odd, *good]})
        first, *others = await client.fetch_offers()
        assert (first.id, first.ram_gib, first.vcpus) == ("vastai:11", None, expected[0].vcpus)
        assert [replace(offer, fetched_at_ms=expected[0].fetched_at_ms) for offer in others] == expected

    @in_virtual_time
    async def test_a_failure_with_offers_is_a_failure(self, api: VastApi, client: VastClient) -> None:
        api.routes[SEARCH] = ok({"offers": [ASK], "success": False, "error": "invalid_args", "msg": "no such filter"})
        error = await failure_of(client.fetch_offers())
        assert "no such filter" in str(error)

    @in_virtual_time
    async def test_a_search_is_a_read_and_tried_again(self, api: VastApi, client: VastClient) -> None:
        api.routes[SEARCH] = [httpx.Response(502, text=HTML), ok({"offers": []})]
        assert await client.fetch_offers() == []

    @in_virtual_time
    async def test_a_question_that_is_refused(self, api: VastApi, client: VastClient) -> None:
        api.routes[SEARCH] = refused(400, "bad_request", "q.gpu_name: Input should be a valid dictionary")
        error = await failure_of(client.fetch_offers())
        assert isinstance(error, Rejected)
        assert "valid dictionary" in str(error)
