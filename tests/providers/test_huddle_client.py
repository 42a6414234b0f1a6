"""What the Huddle client sends and how it takes what comes back, against answers written by hand."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.model.errors import (
    AuthError,
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
from gputui.providers.huddle.client import HuddleClient
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import VirtualClock, run_virtual

KEY = "fake-huddle-key-0123456789"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"

OFFER = Offer(
    id="huddle:1H100.80S.30V:FIN-01",
    provider="huddle",
    gpu="H100-SXM",
    gpu_count=1,
    price_micro_usd_per_hour=2_290_000,
    fetched_at_ms=0,
    region="FIN-01",
    native={"cluster_type": "1H100.80S.30V", "location": "FIN-01"},
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
DEPLOYMENT = {
    "id": "dep-1",
    "hostname": "gputui-t-01abc",
    "location": "FIN-01",
    "status": "ordered",
    "specs": {"gpu_model": "H100", "gpu_count": 1, "gpu_vram_gb": 80, "price_per_hr": 2.29},
}
IMAGES = [
    {"id": "img-plain", "image_type": "ubuntu-24.04", "is_default": True},
    {"id": "img-cluster", "image_type": "ubuntu-24.04-cuda-13.0-cluster", "is_cluster": True},
    {"id": "img-docker", "image_type": "ubuntu-24.04-cuda-13.0-open-docker"},
]
OUR_KEY = {"id": "key-ours", "name": "laptop", "fingerprint": FINGERPRINT}
OTHER_KEY = {"id": "key-other", "name": "other", "fingerprint": "SHA256:other"}

DEPLOY = "POST deployments/clusters"
HTML = "<html><body>One moment please</body></html>"


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def ok(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"code": "OK", "data": data, **more})


def refused(status: int, code: str, text: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"code": code, "error": text})


class Api:
    """Answers by "METHOD path" from a table of responses, functions or exceptions, and keeps what it was sent."""

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {
            "GET ssh-keys": ok([OTHER_KEY, OUR_KEY]),
            "GET images": ok({"data": IMAGES, "meta": {"total": 3}}),
            DEPLOY: ok(DEPLOYMENT),
        }
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
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

    def body(self, name: str = DEPLOY) -> dict[str, Any]:
        (request,) = self.sent(name)
        body: dict[str, Any] = json.loads(request.content)
        return body


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api, tmp_path: Path) -> HuddleClient:
    transport = httpx.MockTransport(api)
    return HuddleClient(ClientContext(VirtualClock(), tmp_path, api_key=f" {KEY}\n", transport=transport))


async def create_failure(client: HuddleClient, request: CreateRequest = REQUEST) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await client.create(request)
    return caught.value


class TestClient:
    def test_capabilities(self) -> None:
        able = {name for name, is_there in base.capabilities_of(HuddleClient).items() if is_there}
        resources = {"ssh-keys", "os-images", "regions", "volumes", "waitlist", "webhooks", "api-keys"}
        assert able == {"balance", *resources}
        assert HuddleClient.create_is_idempotent is True

    @virtual
    async def test_sends_the_key_in_its_header_only(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET billing/balance"] = ok({"balance_cents": 8640, "balance_usd": 86.4})
        check = await client.check_key()
        assert (check.ok, check.detail) == (True, "$86.40 of credit")
        (request,) = api.requests
        assert str(request.url) == "https://gpu.huddleapis.com/api/v1/billing/balance"
        assert request.headers["x-api-key"] == KEY
        assert "authorization" not in request.headers

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            HuddleClient(ClientContext(VirtualClock(), tmp_path, api_key=key))
        assert not key or key not in str(caught.value)

    def test_the_context_does_not_show_the_key(self, tmp_path: Path) -> None:
        assert KEY not in repr(ClientContext(VirtualClock(), tmp_path, api_key=KEY))

    @virtual
    async def test_a_dead_key(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET billing/balance"] = refused(401, "UNAUTHORIZED", f"bad key {KEY}")
        with pytest.raises(AuthError) as caught:
            await client.check_key()
        assert KEY not in str(caught.value)
        assert "gputui auth login huddle" in str(caught.value)

    @virtual
    async def test_a_balance_that_is_not_told_is_none(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET billing/balance"] = ok({})
        assert (await client.fetch_balance()).balance_micro_usd is None
        assert (await client.check_key()).detail == ""

    @virtual
    async def test_another_server_is_not_taken_for_an_empty_account(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET deployments"] = refused(404, "NOT_FOUND", "no route")
        with pytest.raises(Malformed) as caught:
            await client.list_machines()
        assert "URL" in str(caught.value)
        api.routes["GET deployments"] = httpx.Response(200, json={"ok": True})
        with pytest.raises(Malformed):
            await client.list_machines()


class TestOffers:
    @virtual
    async def test_asks_for_all_of_them(self, api: Api, client: HuddleClient) -> None:
        row = {
            "id": "off-1",
            "instance_type": "1H100.80S.30V",
            "gpu_model": "H100",
            "gpu_count": 1,
            "price_per_hr": 2.29,
            "is_available": True,
            "regions": ["FIN-01", "FIN-03"],
        }
        sold_out = {
            **row,
            "id": "off-2",
            "instance_type": "8H200",
            "gpu_model": "H200",
            "gpu_count": 8,
            "is_available": False,
        }
        broken = {"id": "off-3"}
        api.routes["GET gpus/available"] = ok({"data": [row, broken, sold_out], "meta": {"total": 3}})
        offers = await client.fetch_offers()
        assert [(offer.id, offer.stock) for offer in offers] == [
            ("huddle:1H100.80S.30V:FIN-01", Stock.HIGH),
            ("huddle:1H100.80S.30V:FIN-03", Stock.HIGH),
            ("huddle:8H200:FIN-01", Stock.NONE),
            ("huddle:8H200:FIN-03", Stock.NONE),
        ]
        (request,) = api.requests
        assert dict(request.url.params) == {"available_only": "false", "limit": "100", "page": "1"}

    @virtual
    async def test_two_rows_of_one_type_are_one_offer(self, api: Api, client: HuddleClient) -> None:
        row = {"instance_type": "1A", "gpu_model": "A40", "gpu_count": 1, "price_per_hr": 1, "regions": ["FIN-01"]}
        rows = [{**row, "id": "old"}, {**row, "id": "new", "price_per_hr": 2}]
        api.routes["GET gpus/available"] = ok(rows)
        (offer,) = await client.fetch_offers()
        assert offer.price_micro_usd_per_hour == 2_000_000


class TestCreate:
    @virtual
    async def test_the_order(self, api: Api, client: HuddleClient) -> None:
        machine = await client.create(REQUEST)
        assert (machine.id, machine.label, machine.state) == ("dep-1", "gputui-t-01abc", MachineState.PENDING)
        assert machine.price_micro_usd_per_hour == 2_290_000
        assert api.body() == {
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

    @virtual
    async def test_a_resend_is_the_same_to_the_byte(self, api: Api, client: HuddleClient) -> None:
        await client.create(REQUEST)
        await client.create(replace(REQUEST, resend=True))
        first, second = api.sent(DEPLOY)
        assert first.content == second.content
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    @virtual
    async def test_disk_and_image_as_asked(self, api: Api, client: HuddleClient) -> None:
        await client.create(replace(REQUEST, disk_gib=120, os_image="my-image"))
        assert api.body()["os_volume"] == {"name": "gputui-t-01abc-os", "size": 120}
        assert api.body()["image"] == "my-image"
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
    @virtual
    async def test_what_cannot_work_is_not_sent(
        self, api: Api, client: HuddleClient, change: dict[str, Any], field: str
    ) -> None:
        error = await create_failure(client, replace(REQUEST, **change))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist) == (field, False)
        assert api.sent(DEPLOY) == []

    @virtual
    async def test_no_image_at_all(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET images"] = ok([])
        error = await create_failure(client)
        assert isinstance(error, Rejected)
        assert error.field == "os_image"

    @virtual
    async def test_a_short_answer_is_enough(self, api: Api, client: HuddleClient) -> None:
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
    @virtual
    async def test_what_an_answer_means_on_the_first_send_and_later(
        self,
        api: Api,
        client: HuddleClient,
        answer: Any,
        first: tuple[type[ProviderError], bool],
        later: tuple[type[ProviderError], bool],
    ) -> None:
        api.routes[DEPLOY] = answer
        for resend, expected in ((False, first), (True, later)):
            error = await create_failure(client, replace(REQUEST, resend=resend))
            assert (type(error), error.may_exist) == expected
            assert error.provider == "huddle"
        assert len(api.sent(DEPLOY)) == 2

    @virtual
    async def test_funds_are_explained(self, api: Api, client: HuddleClient) -> None:
        api.routes[DEPLOY] = refused(402, "INSUFFICIENT_CREDITS", "balance $7.35")
        error = await create_failure(client)
        assert "$7.35" in str(error)
        assert "$20.00" in str(error)

    @virtual
    async def test_capacity_names_type_and_place_and_keeps_the_request_id(self, api: Api, client: HuddleClient) -> None:
        api.routes[DEPLOY] = httpx.Response(409, json={"code": "CONFLICT"}, headers={"X-Request-Id": "req-5"})
        error = await create_failure(client)
        assert "1H100.80S.30V in FIN-01" in str(error)
        assert (error.request_id, error.status) == ("req-5", 409)

    @pytest.mark.parametrize("resend", [False, True])
    @pytest.mark.parametrize("broken", ["GET images", "GET ssh-keys"])
    @virtual
    async def test_failing_before_the_order_left(
        self, api: Api, client: HuddleClient, broken: str, resend: bool
    ) -> None:
        api.routes[broken] = refused(503, "DOWN")
        error = await create_failure(client, replace(REQUEST, resend=resend))
        assert isinstance(error, Transient)
        assert error.may_exist is resend
        assert api.sent(DEPLOY) == []


class TestSshKeys:
    NAME = "gputui-wfaZWFbq0dns"

    @virtual
    async def test_registers_ours_once(self, api: Api, client: HuddleClient) -> None:
        keys = [OTHER_KEY]

        def register(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            assert body == {"name": self.NAME, "public_key": PUBLIC_KEY}
            keys.append({"id": "key-new", "name": body["name"], "fingerprint": FINGERPRINT})
            return ok(keys[-1])

        api.routes["GET ssh-keys"] = lambda request: ok(keys)
        api.routes["POST ssh-keys"] = register
        await client.create(REQUEST)
        await client.create(replace(REQUEST, label="gputui-t-02", idempotency_key="idem-2"))
        assert len(api.sent("POST ssh-keys")) == 1
        assert [json.loads(request.content)["ssh_key_ids"] for request in api.sent(DEPLOY)] == [["key-new"]] * 2

    @virtual
    async def test_is_found_by_its_name_where_fingerprints_are_told_otherwise(
        self, api: Api, client: HuddleClient
    ) -> None:
        api.routes["GET ssh-keys"] = ok([{"id": "key-md5", "name": self.NAME, "fingerprint": "aa:bb:cc"}])
        await client.create(REQUEST)
        assert api.body()["ssh_key_ids"] == ["key-md5"]

    @virtual
    async def test_a_lost_registration_is_looked_up_not_repeated(self, api: Api, client: HuddleClient) -> None:
        keys: list[Any] = []

        def register_and_break(request: httpx.Request) -> Exception:
            keys.append({"id": "key-new", "name": self.NAME, "fingerprint": FINGERPRINT})
            return httpx.ReadError("reset")

        api.routes["GET ssh-keys"] = lambda request: ok(list(keys))
        api.routes["POST ssh-keys"] = register_and_break
        error = await create_failure(client)
        assert (type(error), error.may_exist) == (Unreachable, False)
        assert len(api.sent("POST ssh-keys")) == 1
        await client.create(REQUEST)
        assert len(api.sent("POST ssh-keys")) == 1
        assert api.body()["ssh_key_ids"] == ["key-new"]

    @virtual
    async def test_list_add_delete(self, api: Api, client: HuddleClient) -> None:
        api.routes["POST ssh-keys"] = ok({"id": "key-9"})
        api.routes["DELETE ssh-keys/key-9"] = httpx.Response(204)
        assert [key.id for key in await client.list_ssh_keys()] == ["key-other", "key-ours"]
        key = await client.add_ssh_key("desk", PUBLIC_KEY)
        assert (key.id, key.name, key.fingerprint) == ("key-9", "desk", FINGERPRINT)
        await client.delete_ssh_key("key-9")
        assert len(api.sent("DELETE ssh-keys/key-9")) == 1

    @virtual
    async def test_a_key_on_a_later_page_is_found(self, api: Api, client: HuddleClient) -> None:
        pages = {None: ok({"data": [OTHER_KEY], "meta": {"next_cursor": "c1"}}), "c1": ok([OUR_KEY])}
        api.routes["GET ssh-keys"] = lambda request: pages[request.url.params.get("cursor")]
        await client.create(REQUEST)
        assert api.body()["ssh_key_ids"] == ["key-ours"]
        assert api.sent("POST ssh-keys") == []

    @virtual
    async def test_an_answer_without_an_id_is_malformed(self, api: Api, client: HuddleClient) -> None:
        api.routes["POST ssh-keys"] = ok({"name": "desk"})
        with pytest.raises(Malformed) as caught:
            await client.add_ssh_key("desk", PUBLIC_KEY)
        assert caught.value.may_exist is False


class TestMachines:
    @virtual
    async def test_list_follows_cursors_and_leaves_out_the_gone(self, api: Api, client: HuddleClient) -> None:
        pages = {
            None: ok(
                {
                    "data": [DEPLOYMENT, {"id": "dep-2", "status": "deleted"}],
                    "meta": {"has_more": True, "next_cursor": "c"},
                }
            ),
            "c": ok(
                [{"id": "dep-3", "status": "levitating"}, {"id": "dep-4", "status": "failed_no_capacity"}, DEPLOYMENT]
            ),
        }
        api.routes["GET deployments"] = lambda request: pages[request.url.params.get("cursor")]
        machines = await client.list_machines()
        assert [(machine.id, machine.state) for machine in machines] == [
            ("dep-1", MachineState.PENDING),
            ("dep-3", MachineState.UNKNOWN),
        ]
        assert api.requests[0].url.params["limit"] == "100"

    @pytest.mark.parametrize("row", [None, {}, {"status": "running"}])
    @virtual
    async def test_a_machine_that_cannot_be_read_is_not_left_out(
        self, api: Api, client: HuddleClient, row: Any
    ) -> None:
        api.routes["GET deployments"] = ok([DEPLOYMENT, row])
        with pytest.raises(Malformed):
            await client.list_machines()

    @virtual
    async def test_get(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok(
            {**DEPLOYMENT, "status": "running", "ip": "203.0.113.9", "ssh_port": 2222}
        )
        machine = await client.get("dep-1")
        assert (machine.state, machine.ip, machine.ssh_port) == (MachineState.RUNNING, "203.0.113.9", 2222)

    @virtual
    async def test_get_of_a_deleted_one(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok({**DEPLOYMENT, "status": "deleted"})
        assert (await client.get("dep-1")).state is MachineState.GONE
        api.routes["GET deployments/dep-1"] = refused(404, "NOT_FOUND")
        with pytest.raises(Gone):
            await client.get("dep-1")

    @virtual
    async def test_get_without_an_id_is_malformed(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET deployments/dep-1"] = ok({})
        with pytest.raises(Malformed) as caught:
            await client.get("dep-1")
        assert caught.value.may_exist is False

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(200),
            httpx.Response(204),
            httpx.Response(202, json={"code": "OK"}),
            ok({**DEPLOYMENT, "status": "deleted"}),
            httpx.Response(200, json="deleted"),
        ],
    )
    @virtual
    async def test_terminate_takes_any_good_answer(
        self, api: Api, client: HuddleClient, answer: httpx.Response
    ) -> None:
        api.routes["DELETE deployments/dep-1"] = answer
        await client.terminate("dep-1", idempotency_key="idem-t")
        (request,) = api.requests
        assert request.headers["idempotency-key"] == "idem-t"
        assert request.content == b""

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(404, "NOT_FOUND"), Gone),
            (refused(409, "CONFLICT"), Conflict),
            (refused(200, "CONFLICT"), Conflict),
            (refused(500, "INTERNAL"), Transient),
            (refused(401, "UNAUTHORIZED"), AuthError),
            (httpx.Response(404, text=HTML), Malformed),
            (httpx.ReadError("reset"), Unreachable),
        ],
    )
    @virtual
    async def test_terminate_fails_once_and_says_why(
        self, api: Api, client: HuddleClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes["DELETE deployments/dep-1"] = answer
        with pytest.raises(ProviderError) as caught:
            await client.terminate("dep-1", idempotency_key="idem-t")
        assert type(caught.value) is kind
        assert len(api.requests) == 1

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "../ssh-keys", "a/b", "a?b=c", "a b", "%2e%2e"])
    @virtual
    async def test_an_id_never_leads_elsewhere(self, api: Api, client: HuddleClient, machine_id: str) -> None:
        paths: list[bytes] = []

        def note(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.raw_path)
            return refused(404, "NOT_FOUND")

        api.routes = defaultdict(lambda: note)
        with pytest.raises(Gone):
            await client.terminate(machine_id, idempotency_key="idem-t")
        for path in paths:
            assert path.startswith(b"/api/v1/deployments/")
            assert path.count(b"/") == 4
            assert b"?" not in path


class TestImagesAndRegions:
    @virtual
    async def test_images(self, api: Api, client: HuddleClient) -> None:
        assert [image.value for image in await client.list_os_images()] == ["img-docker", "img-plain", "img-cluster"]
        await client.list_os_images(OFFER)
        assert [dict(request.url.params) for request in api.requests] == [{}, {"cluster_type": "1H100.80S.30V"}]

    @virtual
    async def test_regions(self, api: Api, client: HuddleClient) -> None:
        api.routes["GET regions"] = ok([{"code": "FIN-01", "name": "Finland 1", "country_code": "FI"}, "ICE-01"])
        assert [region.code for region in await client.list_regions()] == ["FIN-01", "ICE-01"]
