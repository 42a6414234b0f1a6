"""What every provider client must keep to, inherited by one class per provider.

`ProviderContract` holds for all of them, `HttpContract` for those that speak HTTP. A rig stands for one account at a
simulated provider; HTTP faults are put between client and simulator, so that they hit whatever the simulator does.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.model.errors import (
    AuthError,
    Gone,
    Malformed,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.model.gpus import BY_NAME
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.base import HasBalance, HasOsImages, HasRegions, HasSshKeys, ResendsCreate
from gputui.providers.registry import ClientContext, make_client
from gputui.sim.serve import PROVIDER_APPS, asgi_transport, build_app
from gputui.sim.vtime import VirtualClock, run_virtual
from gputui.sim.world import World

KEY = "sim-contract-key"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
HTML = "<!DOCTYPE html><html><body>Access denied</body></html>"
LABEL = "gputui-test-01contract"

Deliver = Callable[[httpx.Request], Awaitable[httpx.Response]]
Fault = Callable[[httpx.Request, Deliver], Awaitable[httpx.Response]]


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


class FaultyWire(httpx.AsyncBaseTransport):
    """Passes requests on. A fault set for a method (and part of a path) takes the next such request, or all of them."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._faults: list[tuple[str, str, Fault, bool]] = []
        self.sent: list[str] = []

    def once(self, method: str, path: str, fault: Fault) -> None:
        self._faults.append((method, path, fault, False))

    def always(self, method: str, path: str, fault: Fault) -> None:
        self._faults.append((method, path, fault, True))

    def count(self, method: str, path: str = "") -> int:
        return sum(line.startswith(f"{method} ") and path in line for line in self.sent)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(f"{request.method} {request.url.path}")
        for entry in self._faults:
            method, path, fault, is_lasting = entry
            if method == request.method and path in request.url.path:
                if not is_lasting:
                    self._faults.remove(entry)
                return await fault(request, self._inner.handle_async_request)
        return await self._inner.handle_async_request(request)


def answer(status: int, **content: Any) -> Fault:
    """Answer without passing the request on."""

    async def fault(request: httpx.Request, deliver: Deliver) -> httpx.Response:
        return httpx.Response(status, **content)

    return fault


def broken(error: type[httpx.TransportError]) -> Fault:
    """Break before anything was sent."""

    async def fault(request: httpx.Request, deliver: Deliver) -> httpx.Response:
        raise error("broken")

    return fault


async def lost_reply(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on, then break before the answer arrives."""
    await deliver(request)
    raise httpx.ReadError("reset")


async def cut_off(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on and let only half of the answer through."""
    response = await deliver(request)
    content = await response.aread()
    return httpx.Response(response.status_code, content=content[: len(content) // 2])


async def html_instead(request: httpx.Request, deliver: Deliver) -> httpx.Response:
    """Pass the request on and answer with a page."""
    await deliver(request)
    return httpx.Response(200, text=HTML)


@dataclass
class Rig:
    """One account at a simulated provider; after `settle_s` seconds whatever was asked of it has come true."""

    name: str
    state_dir: Path
    missing_id: str
    wire: Any = None
    url: str | None = None
    key: str = ""
    settle_s: float = 600.0

    def client(self, *, key: str | None = None) -> Any:
        """Return a new client on the account, with nothing in memory."""
        context = ClientContext(
            VirtualClock(), self.state_dir, api_key=self.key if key is None else key, url=self.url, transport=self.wire
        )
        return make_client(self.name, context)


async def available(client: Any, number: int = 0) -> Offer:
    offers = [offer for offer in await client.fetch_offers() if offer.stock in (Stock.HIGH, Stock.LOW)]
    found: Offer = sorted(offers, key=lambda offer: offer.price_micro_usd_per_hour)[number]
    return found


async def order(client: Any, label: str = LABEL, number: int = 0) -> CreateRequest:
    offer = await available(client, number)
    return CreateRequest(offer=offer, label=label, idempotency_key=f"idem-{label}", ssh_public_key=PUBLIC_KEY)


async def until_state(client: Any, machine_id: str, state: MachineState, limit_s: float) -> Any:
    for _ in range(int(limit_s)):
        machine = await client.get(machine_id)
        if machine.state is state:
            return machine
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} is {machine.raw_state}, not {state}")


async def until_reachable(client: Any, machine_id: str, limit_s: float) -> Any:
    """Wait for an address: some providers call a machine running before it has one."""
    for _ in range(int(limit_s)):
        machine = await client.get(machine_id)
        if machine.ip:
            return machine
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} never had an address")


async def failure_of(call: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


class ProviderContract:
    """Holds for every provider. `TELLS_CREATION` and `TELLS_REGION` are False where no machine says when or where.

    `IS_MARKET`: offers are single machines that come and go, and not every host says where it stands.
    """

    TELLS_CREATION = True
    TELLS_REGION = True
    IS_MARKET = False

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        raise NotImplementedError

    @virtual
    async def test_offers_make_sense(self, rig: Rig) -> None:
        client = rig.client()
        now_ms = VirtualClock().now_ms()
        offers = await client.fetch_offers()
        assert len(offers) >= 8
        assert len({offer.id for offer in offers}) == len(offers)
        for offer in offers:
            assert offer.provider == client.name == rig.name
            assert offer.id.startswith(f"{rig.name}:")
            assert type(offer.price_micro_usd_per_hour) is int
            assert 10_000 * offer.gpu_count < offer.price_micro_usd_per_hour < 20_000_000 * offer.gpu_count
            assert offer.gpu in BY_NAME
            assert 1 <= offer.gpu_count <= 64
            assert offer.vram_gib is None or 4 <= offer.vram_gib <= 300
            assert offer.vcpus is None or 1 <= offer.vcpus <= 1024
            assert offer.ram_gib is None or 4 <= offer.ram_gib <= 8192
            assert offer.disk_gib is None or offer.disk_gib > 0
            assert offer.region or offer.stock is Stock.NONE or self.IS_MARKET
            assert offer.stock in Stock
            assert now_ms <= offer.fetched_at_ms <= VirtualClock().now_ms()

    @virtual
    async def test_offer_ids_are_stable(self, rig: Rig) -> None:
        first = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        await asyncio.sleep(7200)
        later = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        if self.IS_MARKET:
            assert len(later.keys() & first.keys()) > 0.9 * len(first)
            first = {offer_id: first.get(offer_id, native) for offer_id, native in later.items()}
        assert later == first

    @virtual
    async def test_a_machines_life(self, rig: Rig) -> None:
        client = rig.client()
        request = await order(client)
        made = await client.create(request)
        assert made.id
        assert (made.provider, made.label) == (rig.name, LABEL)
        await until_state(client, made.id, MachineState.RUNNING, rig.settle_s)
        running = await until_reachable(client, made.id, rig.settle_s)
        assert (running.id, running.label) == (made.id, LABEL)
        assert (running.gpu, running.gpu_count) == (request.offer.gpu, request.offer.gpu_count)
        assert running.region == (request.offer.region if self.TELLS_REGION else None)
        assert running.price_micro_usd_per_hour == self.price_of(request)
        assert running.ssh_user
        assert running.ssh_port
        assert running.created_at_ms is not None or not self.TELLS_CREATION
        assert [machine.id for machine in await client.list_machines()] == [made.id]
        await client.terminate(made.id, idempotency_key="t1")
        await asyncio.sleep(rig.settle_s)
        assert await client.list_machines() == []

    def price_of(self, request: CreateRequest) -> int:
        """Return what a machine of this order costs an hour: more than its offer where a part of it is priced apart."""
        return request.offer.price_micro_usd_per_hour

    @virtual
    async def test_terminating_twice_is_harmless(self, rig: Rig) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        await client.terminate(made.id, idempotency_key="t1")
        for key in ("t1", "t2"):
            with contextlib.suppress(Gone):
                await client.terminate(made.id, idempotency_key=key)
        await asyncio.sleep(rig.settle_s)
        assert isinstance(await failure_of(client.terminate(made.id, idempotency_key="t3")), Gone)
        assert await client.list_machines() == []

    @virtual
    async def test_what_is_missing_is_gone(self, rig: Rig) -> None:
        client = rig.client()
        for call in (client.get(rig.missing_id), client.terminate(rig.missing_id, idempotency_key="t1")):
            error = await failure_of(call)
            assert isinstance(error, Gone)
            assert error.provider == rig.name

    @virtual
    async def test_a_lost_reply_is_found_by_its_label(self, rig: Rig) -> None:
        client = rig.client()
        request = await order(client)
        await self.create_and_lose_the_reply(rig, client, request)
        found = [machine for machine in await rig.client().list_machines() if machine.label == LABEL]
        assert len(found) == 1

    async def create_and_lose_the_reply(self, rig: Rig, client: Any, request: CreateRequest) -> None:
        await client.create(request)

    @virtual
    async def test_a_resend_makes_no_second_machine(self, rig: Rig) -> None:
        client = rig.client()
        replays = isinstance(client, ResendsCreate)
        if not replays:
            pytest.skip("this provider takes no idempotency key")
        request = await order(client)
        await self.create_and_lose_the_reply(rig, client, request)
        again = await rig.client().create(replace(request, resend=True))
        assert [machine.id for machine in await client.list_machines()] == [again.id]
        assert again.label == LABEL

    @virtual
    async def test_machines_of_others_are_listed_too(self, rig: Rig) -> None:
        client = rig.client()
        made = [
            await client.create(await order(client, label, number))
            for number, label in enumerate(("ours-1", "theirs-2"))
        ]
        listed = await client.list_machines()
        assert {machine.id for machine in listed} == {machine.id for machine in made}
        assert {machine.label for machine in listed} == {"ours-1", "theirs-2"}

    @virtual
    async def test_optional_reads(self, rig: Rig) -> None:
        client = rig.client()
        offers = await client.fetch_offers()
        if isinstance(client, HasBalance):
            balance = await client.fetch_balance()
            assert balance.provider == rig.name
            assert type(balance.balance_micro_usd) is int
            assert balance.balance_micro_usd > 20_000_000
        if isinstance(client, HasRegions):
            codes = [region.code for region in await client.list_regions()]
            assert len(codes) == len(set(codes))
            assert {offer.region for offer in offers if offer.region} <= set(codes)
        if isinstance(client, HasOsImages):
            images = await client.list_os_images(offers[0])
            assert images
            assert len({image.value for image in images}) == len(images)
        check = await client.check_key()
        assert (check.provider, check.ok) == (rig.name, True)

    @virtual
    async def test_ssh_keys(self, rig: Rig) -> None:
        client = rig.client()
        if not isinstance(client, HasSshKeys):
            pytest.skip("this provider keeps no SSH keys")
        key = await client.add_ssh_key("contract", PUBLIC_KEY)
        assert [found.id for found in await client.list_ssh_keys() if found.name == "contract"] == [key.id]
        await client.delete_ssh_key(key.id)
        assert key.id not in [found.id for found in await client.list_ssh_keys()]
        assert isinstance(await failure_of(client.delete_ssh_key(key.id)), Gone)

    @virtual
    async def test_aclose(self, rig: Rig) -> None:
        await rig.client().aclose()


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
    @virtual
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
    @virtual
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
    @virtual
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
    @virtual
    async def test_a_read_recovers_by_itself(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once("GET", self.LIST, fault)
        assert [machine.id for machine in await client.list_machines()] == [made.id]

    @pytest.mark.parametrize(
        "fault", [answer(500), answer(429), broken(httpx.ReadError), answer(409, json={"error": "x"})]
    )
    @virtual
    async def test_a_terminate_is_sent_once_and_may_be_repeated(self, rig: Rig, fault: Fault) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once(self.TERMINATE_METHOD, self.TERMINATE, fault)
        assert not isinstance(await failure_of(client.terminate(made.id, idempotency_key="t1")), Gone)
        assert rig.wire.count(self.TERMINATE_METHOD, self.TERMINATE) == 1
        await client.terminate(made.id, idempotency_key="t1")
        await asyncio.sleep(rig.settle_s)
        assert await client.list_machines() == []

    @virtual
    async def test_a_terminate_whose_reply_is_lost(self, rig: Rig) -> None:
        client = rig.client()
        made = await client.create(await order(client))
        rig.wire.once(self.TERMINATE_METHOD, self.TERMINATE, lost_reply)
        assert isinstance(await failure_of(client.terminate(made.id, idempotency_key="t1")), Unreachable)
        with contextlib.suppress(Gone):
            await client.terminate(made.id, idempotency_key="t1")
        await asyncio.sleep(rig.settle_s)
        assert await client.list_machines() == []

    @virtual
    async def test_retry_after_is_kept(self, rig: Rig) -> None:
        rig.wire.always("GET", self.LIST, answer(429, headers={"Retry-After": "900"}))
        error = await failure_of(rig.client().list_machines())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 900
        assert rig.wire.count("GET", self.LIST) == 1

    @virtual
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
    @virtual
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


class TestMock(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig("mock", tmp_path, missing_id="mock-000000000000", settle_s=10)


class TestHuddle(HttpContract):
    CREATE = "/deployments/clusters"
    LIST = "/deployments"

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        wire = FaultyWire(asgi_transport(build_app(World(VirtualClock(), seed=7), ["huddle"])))
        return Rig(
            "huddle",
            tmp_path,
            missing_id="00000000-0000-4000-8000-000000000000",
            wire=wire,
            url=f"https://huddle.test/huddle{PROVIDER_APPS['huddle'].api_path}",
            key=KEY,
        )
