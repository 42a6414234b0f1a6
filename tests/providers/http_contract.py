"""What every client that speaks HTTP must keep to besides, whatever befalls its requests and their answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import traceback
from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of
from contract_stage import KEY, LABEL, Fault, Rig, answer, broken, cut_off, html_instead, lost_reply, order
from provider_contract import ProviderContract

from gputui.model.errors import AuthError, Gone, Malformed, ProviderError, RateLimited, Rejected, Transient, Unreachable
from gputui.model.types import CreateRequest
from gputui.sim.vtime import in_virtual_time


class HttpContract(ProviderContract):
    """Holds for every provider reached over HTTP. `CREATE`, `LIST` and `TERMINATE` are parts of paths.

    `OFFERS_NEED_KEY` is False where anybody may read the market.
    """

    CREATE_METHOD, CREATE = "POST", ""
    LIST = ""
    TERMINATE_METHOD, TERMINATE = "DELETE", ""
    OFFERS_NEED_KEY = True

    async def create_and_lose_the_reply(self, rig: Rig, client: Any, request: CreateRequest) -> None:
        rig.wire.once(self.CREATE_METHOD, self.CREATE, lost_reply)
        error = await failure_of(client.create(request))
        assert isinstance(error, Unreachable)
        assert error.may_exist is True

    @pytest.mark.parametrize("fault", [lost_reply, cut_off, html_instead], ids=["lost", "cut", "html"])
    @in_virtual_time
    async def test_a_create_that_went_through_unheard_says_so(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        request = await order(client)
        rig.wire.once(self.CREATE_METHOD, self.CREATE, fault)
        error = await failure_of(client.create(request))
        assert isinstance(error, Unreachable | Malformed)
        assert error.may_exist is True
        assert [machine.label for machine in await client.list_machines()] == [LABEL]
        assert rig.wire.count(self.CREATE_METHOD, self.CREATE) == 1

    @pytest.mark.parametrize(
        ("fault", "kind", "may_exist"),
        [
            (broken(httpx.ConnectError), Unreachable, False),
            (broken(httpx.ConnectTimeout), Unreachable, False),
            (answer(400, json={"error": "x"}), Rejected, False),
            (answer(401, json={"error": "x"}), AuthError, False),
            (answer(403, json={"error": "x"}), AuthError, False),
            (answer(403, text=HTML), Transient, False),
            (answer(429, json={"error": "x"}), RateLimited, False),
            (answer(500, json={"error": "x"}), Transient, True),
            (answer(502, text=HTML), Transient, True),
            (answer(503), Transient, True),
            (answer(200, text=HTML), Malformed, True),
            (answer(200, json={}), Malformed, True),
            (answer(200, json=[]), Malformed, True),
            (answer(200), Malformed, True),
        ],
    )
    @in_virtual_time
    async def test_a_failed_create_is_classed_and_sent_once(
        self, rig: Rig, fault: Fault, kind: type[ProviderError], may_exist: bool
    ) -> None:
        client = rig.client()
        request = await order(client)
        rig.wire.once(self.CREATE_METHOD, self.CREATE, fault)
        error = await failure_of(client.create(request))
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert error.provider == rig.name
        assert rig.wire.count(self.CREATE_METHOD, self.CREATE) == 1

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (answer(200, text=HTML), Malformed),
            (answer(200, content=b'{"code": "OK", "data": [{"id": "x"'), Malformed),
            (answer(200, json={}), Malformed),
            (answer(200, json={"unexpected": True}), Malformed),
            (answer(200), Malformed),
            (answer(401, json={"error": "x"}), AuthError),
            (answer(401, text=HTML), Transient),
            (answer(429, headers={"Retry-After": "900"}), RateLimited),
            (answer(429), RateLimited),
            (answer(500), Transient),
            (answer(503, text=HTML), Transient),
            (broken(httpx.ReadError), Unreachable),
            (broken(httpx.ConnectError), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_a_failed_list_is_never_an_empty_one(self, rig: Rig, fault: Fault, kind: type[ProviderError]) -> None:
        rig.wire.always("GET", self.LIST, fault)
        error = await failure_of(rig.client().list_machines())
        assert type(error) is kind
        assert error.may_exist is False

    @pytest.mark.parametrize(
        "fault",
        [
            answer(500),
            answer(502, text=HTML),
            answer(429),
            answer(429, headers={"Retry-After": "3"}),
            broken(httpx.ReadError),
        ],
    )
    @in_virtual_time
    async def test_a_read_recovers_by_itself(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once("GET", self.LIST, fault)
        assert [machine.id for machine in await client.list_machines()] == [made.id]

    @pytest.mark.parametrize(
        "fault", [answer(500), answer(429), broken(httpx.ReadError), answer(409, json={"error": "x"})]
    )
    @in_virtual_time
    async def test_a_terminate_is_sent_once_and_may_be_repeated(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once(self.TERMINATE_METHOD, self.TERMINATE, fault)
        assert not isinstance(await failure_of(client.terminate(made.id, idempotency_key="t1")), Gone)
        assert rig.wire.count(self.TERMINATE_METHOD, self.TERMINATE) == 1
        await client.terminate(made.id, idempotency_key="t1")
        await asyncio.sleep(rig.settle_s)
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_a_terminate_whose_reply_is_lost(self, rig: Rig) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once(self.TERMINATE_METHOD, self.TERMINATE, lost_reply)
        assert isinstance(await failure_of(client.terminate(made.id, idempotency_key="t1")), Unreachable)
        with contextlib.suppress(Gone):
            await client.terminate(made.id, idempotency_key="t1")
        await asyncio.sleep(rig.settle_s)
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_retry_after_is_kept(self, rig: Rig) -> None:
        rig.wire.always("GET", self.LIST, answer(429, headers={"Retry-After": "900"}))
        error = await failure_of(rig.client().list_machines())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 900
        assert rig.wire.count("GET", self.LIST) == 1

    @in_virtual_time
    async def test_a_dead_key(self, rig: Rig) -> None:
        client = rig.client(key="fake-dead-key")
        for call in (client.check_key(), client.list_machines(), client.get("x")):
            assert isinstance(await failure_of(call), AuthError)
        if self.OFFERS_NEED_KEY:
            assert isinstance(await failure_of(client.fetch_offers()), AuthError)
        else:
            assert await client.fetch_offers()

    @pytest.mark.parametrize(
        "fault",
        [
            answer(400, json={"error": f"what is {KEY}?"}),
            answer(401, json={"message": f"unknown key {KEY}"}),
            answer(500, text=f"crash: {KEY}"),
            answer(500, json={"detail": {"message": KEY}}),
            answer(200, text=f"<html>{KEY}</html>"),
            broken(httpx.ConnectError),
            lost_reply,
        ],
    )
    @in_virtual_time
    async def test_no_error_holds_the_key(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        request = await order(client)
        for method in ("GET", "POST", "PUT", "DELETE"):
            rig.wire.always(method, "", fault)
        for call in (
            client.check_key(),
            client.list_machines(),
            client.create(request),
            client.terminate("x", idempotency_key="t"),
        ):
            error: BaseException | None = await failure_of(call)
            assert isinstance(error, ProviderError)
            shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + str(error.facts())
            assert not re.search(re.escape(KEY), shown)
            while error is not None:
                assert not isinstance(error, httpx.HTTPError)
                error = error.__cause__ or error.__context__
