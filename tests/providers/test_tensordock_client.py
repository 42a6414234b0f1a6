"""What the TensorDock client sends and how it takes what comes back, against answers written by hand."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Coroutine
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
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
    UsageError,
)
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer
from gputui.providers import base
from gputui.providers.registry import ClientContext
from gputui.providers.tensordock import first_boot
from gputui.providers.tensordock.client import ORDER_DEADLINE_S, TensorDockClient
from gputui.sim.vtime import VirtualClock, run_virtual

KEY = "fake-tensordock-token-0123456789"
URL = "https://dashboard.tensordock.com/api/v2"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"
HTML = "<html><body>One moment please</body></html>"

OFFER = Offer(
    id="tensordock:loc-1:geforcertx4090-pcie-24gb:2",
    provider="tensordock",
    gpu="RTX-4090",
    gpu_count=2,
    price_micro_usd_per_hour=926_000,
    fetched_at_ms=0,
    region="chicago-illinois",
    native={
        "location_id": "loc-1",
        "gpu_model": "geforcertx4090-pcie-24gb",
        "vcpu_count": 16,
        "ram_gb": 64,
        "storage_gb": 200,
    },
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
MADE = {"data": {"type": "virtualmachine", "id": "vm-1", "name": "gputui-t-01abc", "status": "running"}}
RUNNING = {
    "type": "virtualmachine",
    "id": "vm-1",
    "name": "gputui-t-01abc",
    "status": "running",
    "ipAddress": "203.0.113.42",
    "portForwards": [{"internal_port": 22, "external_port": 20456}],
    "resources": {"gpus": {"RTX 4090": {"count": 2, "v0Name": "geforcertx4090-pcie-24gb"}}},
    "rateHourly": 0.926,
}
LOCATION = {
    "id": "loc-1",
    "city": "Chicago",
    "stateprovince": "Illinois",
    "country": "United States",
    "gpus": [
        {
            "v0Name": "l4-pcie-24gb",
            "max_count": 2,
            "price_per_hr": 0.3,
            "resources": {"max_vcpus": 32, "max_ram_gb": 128, "max_storage_gb": 4000},
            "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005},
        }
    ],
}


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def ok(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


class Api:
    """Answers by "METHOD path" from a table of responses, functions or exceptions, and keeps what it was sent."""

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {
            "GET locations": ok({"data": {"locations": [LOCATION]}}),
            "GET instances": ok({"data": []}),
            "GET instances/vm-1": ok(RUNNING),
            "POST instances": ok(MADE),
            "DELETE instances/vm-1": ok({"data": {"attributes": {"message": "Instance deleted successfully"}}}),
        }
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.routes[f"{request.method} {request.url.path.removeprefix('/api/v2/')}"]
        if callable(answer) and not isinstance(answer, httpx.Response):
            answer = await answer(request)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def sent(self) -> list[str]:
        return [f"{request.method} {request.url.path.removeprefix('/api/v2/')}" for request in self.requests]

    def body(self) -> dict[str, Any]:
        (request,) = self.requests
        body: dict[str, Any] = json.loads(request.content)
        return body


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api, tmp_path: Path) -> TensorDockClient:
    transport = httpx.MockTransport(api)
    context = ClientContext(VirtualClock(), tmp_path, api_key=f" {KEY}\n", url=URL, transport=transport)
    return TensorDockClient(context)


async def failure_of(call: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


class TestClient:
    def test_capabilities(self) -> None:
        having = {name for name, has in base.capabilities_of(TensorDockClient).items() if has}
        assert having == {"ssh-keys", "os-images", "regions", "stop and start"}
        assert not hasattr(TensorDockClient, "create_is_idempotent")

    @virtual
    async def test_sends_the_key_in_its_header_only(self, api: Api, client: TensorDockClient) -> None:
        check = await client.check_key()
        assert (check.provider, check.ok, check.detail) == ("tensordock", True, "0 machines")
        (request,) = api.requests
        assert str(request.url) == f"{URL}/instances"
        assert request.headers["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            TensorDockClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    @pytest.mark.parametrize("status", [401, 403])
    @virtual
    async def test_a_dead_key(self, api: Api, client: TensorDockClient, status: int) -> None:
        api.routes["GET instances"] = ok({"error": f"Unauthorized: {KEY}"}, status)
        error = await failure_of(client.check_key())
        assert type(error) is AuthError
        assert KEY not in str(error)

    @virtual
    async def test_a_page_is_no_dead_key(self, api: Api, client: TensorDockClient) -> None:
        api.routes["GET instances"] = httpx.Response(403, text=HTML)
        assert type(await failure_of(client.check_key())) is Transient

    @virtual
    async def test_watching_many_machines_keeps_under_the_limit(self, api: Api, client: TensorDockClient) -> None:
        sent_at: list[float] = []

        async def note(request: httpx.Request) -> httpx.Response:
            sent_at.append(asyncio.get_running_loop().time())
            return ok(RUNNING)

        api.routes["GET instances/vm-1"] = note
        for _ in range(300):
            await client.get("vm-1")
        assert max(sum(start <= at < start + 60 for at in sent_at) for start in sent_at) < 100
        began = asyncio.get_running_loop().time()
        await client.terminate("vm-1", idempotency_key="t")
        assert asyncio.get_running_loop().time() == began


class TestMarket:
    @virtual
    async def test_offers_and_regions(self, client: TensorDockClient) -> None:
        assert [(offer.gpu, offer.gpu_count) for offer in await client.fetch_offers()] == [("L4", 1), ("L4", 2)]
        assert [region.code for region in await client.list_regions()] == ["chicago-illinois"]

    @pytest.mark.parametrize("body", [{}, {"data": {}}, {"locations": []}, {"data": {"locations": {}}}, []])
    @virtual
    async def test_what_is_no_list_is_not_an_empty_market(self, api: Api, client: TensorDockClient, body: Any) -> None:
        api.routes["GET locations"] = ok(body)
        assert type(await failure_of(client.fetch_offers())) is Malformed

    @virtual
    async def test_images_are_known_without_asking(self, api: Api, client: TensorDockClient) -> None:
        assert (await client.list_os_images(OFFER))[0].value == "ubuntu2404_ml_everything"
        assert api.requests == []


class TestCreate:
    @virtual
    async def test_the_order(self, api: Api, client: TensorDockClient) -> None:
        made = await client.create(REQUEST)
        assert (made.id, made.label, made.state) == ("vm-1", "gputui-t-01abc", MachineState.PENDING)
        assert (made.ip, made.price_micro_usd_per_hour) == (None, None)
        body = api.body()
        runcmd = body["data"]["attributes"].pop("cloud_init")["runcmd"]
        assert runcmd == first_boot.commands(PUBLIC_KEY, needs_docker=False)
        assert body == {
            "data": {
                "type": "virtualmachine",
                "attributes": {
                    "name": "gputui-t-01abc",
                    "type": "virtualmachine",
                    "image": "ubuntu2404_ml_everything",
                    "resources": {
                        "vcpu_count": 16,
                        "ram_gb": 64,
                        "storage_gb": 200,
                        "gpus": {"geforcertx4090-pcie-24gb": {"count": 2}},
                    },
                    "location_id": "loc-1",
                    "port_forwards": [{"internal_port": 22, "external_port": 0}],
                    "ssh_key": PUBLIC_KEY,
                },
            }
        }

    @virtual
    async def test_what_the_user_chose(self, api: Api, client: TensorDockClient) -> None:
        await client.create(replace(REQUEST, os_image="ubuntu2204", disk_gib=320, image="alpine"))
        attributes = api.body()["data"]["attributes"]
        assert (attributes["image"], attributes["resources"]["storage_gb"]) == ("ubuntu2204", 350)
        assert any("docker" in command for command in attributes["cloud_init"]["runcmd"])
        assert "alpine" not in json.dumps(attributes)

    @pytest.mark.parametrize(
        "answer",
        [
            ok({"id": "vm-1", "status": "creating"}, 201),
            ok({"data": {"id": "vm-1", "attributes": {"status": "creating"}}}),
        ],
    )
    @virtual
    async def test_any_form_of_answer(self, api: Api, client: TensorDockClient, answer: httpx.Response) -> None:
        api.routes["POST instances"] = answer
        made = await client.create(REQUEST)
        assert (made.id, made.label, made.state) == ("vm-1", "gputui-t-01abc", MachineState.PENDING)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"label": " "}, "label"),
            ({"disk_gib": 0}, "disk_gib"),
            ({"disk_gib": -5}, "disk_gib"),
            ({"ssh_public_key": "ssh-ed25519"}, "ssh_public_key"),
            ({"ssh_public_key": "ssh-ed25519 $(reboot)"}, "ssh_public_key"),
            ({"ssh_public_key": f"';reboot;' {PUBLIC_KEY.split()[1]}"}, "ssh_public_key"),
            ({"ssh_public_key": f"{PUBLIC_KEY}\n{PUBLIC_KEY}"}, "ssh_public_key"),
            ({"offer": replace(OFFER, native={})}, "offer"),
        ],
        ids=str,
    )
    @virtual
    async def test_what_cannot_be_ordered_is_not_sent(
        self, api: Api, client: TensorDockClient, change: dict[str, Any], field: str
    ) -> None:
        error = await failure_of(client.create(replace(REQUEST, **change)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist, api.requests) == (field, False, [])

    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (ok({"status": 400, "error": "No available nodes found"}), NoCapacity, False),
            (ok({"status": 400, "error": "unexpected error during deployment"}), NoCapacity, True),
            (ok({"error": "No available nodes found"}, 500), Transient, True),
            (ok({"data": {"name": "no id"}}), Malformed, True),
            (ok([]), Malformed, True),
            (httpx.Response(200, text=HTML), Malformed, True),
            (httpx.Response(502, text=HTML), Transient, True),
            (httpx.ReadTimeout("slow"), Unreachable, True),
            (httpx.ConnectError("refused"), Unreachable, False),
            (httpx.Response(429), RateLimited, False),
        ],
        ids=str,
    )
    @virtual
    async def test_a_failure_says_what_may_exist_and_is_sent_once(
        self, api: Api, client: TensorDockClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes["POST instances"] = answer
        error = await failure_of(client.create(REQUEST))
        assert type(error) is kind
        assert (error.may_exist, error.operation, api.sent()) == (may_exist, "order a machine", ["POST instances"])

    @pytest.mark.parametrize(("answered_after_s", "in_time"), [(ORDER_DEADLINE_S - 1, True), (200, False)])
    @virtual
    async def test_an_answer_may_take_long_but_not_for_ever(
        self, api: Api, client: TensorDockClient, answered_after_s: float, in_time: bool
    ) -> None:
        async def late(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(answered_after_s)
            return ok(MADE)

        api.routes["POST instances"] = late
        if in_time:
            assert (await client.create(REQUEST)).id == "vm-1"
        else:
            error = await failure_of(client.create(REQUEST))
            assert type(error) is Unreachable
            assert error.may_exist is True
            assert asyncio.get_running_loop().time() == pytest.approx(ORDER_DEADLINE_S)


class TestMachines:
    @pytest.mark.parametrize("body", [RUNNING, {"data": RUNNING}, {"data": {"id": "vm-1", "attributes": RUNNING}}])
    @virtual
    async def test_get(self, api: Api, client: TensorDockClient, body: Any) -> None:
        api.routes["GET instances/vm-1"] = ok(body)
        found = await client.get("vm-1")
        assert (found.id, found.ip, found.ssh_port, found.ssh_user) == ("vm-1", "203.0.113.42", 20456, "user")
        assert (found.gpu, found.gpu_count, found.price_micro_usd_per_hour) == ("RTX-4090", 2, 926_000)

    @virtual
    async def test_the_port_is_the_one_that_came_not_the_one_asked_for(
        self, api: Api, client: TensorDockClient
    ) -> None:
        for port in (48007, 20001):
            forwards = [{"internal_port": 22, "external_port": port}]
            api.routes["GET instances/vm-1"] = ok({**RUNNING, "portForwards": forwards})
            assert (await client.get("vm-1")).ssh_port == port

    @pytest.mark.parametrize("answer", [ok({"error": "Not found"}, 404), ok({"status": 404, "error": "Not found"})])
    @virtual
    async def test_missing_is_gone(self, api: Api, client: TensorDockClient, answer: httpx.Response) -> None:
        api.routes["GET instances/vm-1"] = api.routes["DELETE instances/vm-1"] = answer
        for call in (client.get("vm-1"), client.terminate("vm-1", idempotency_key="t")):
            assert type(await failure_of(call)) is Gone

    @pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(404, text=HTML)])
    @virtual
    async def test_a_bare_404_needs_the_list_to_prove_it(
        self, api: Api, client: TensorDockClient, answer: httpx.Response
    ) -> None:
        api.routes["GET instances/vm-1"] = answer
        api.routes["GET instances"] = ok({"data": [{"id": "vm-1", "status": "running"}]})
        assert type(await failure_of(client.get("vm-1"))) is Malformed
        api.routes["GET instances"] = httpx.Response(404, text=HTML)
        assert type(await failure_of(client.get("vm-1"))) is Malformed
        api.routes["GET instances"] = ok({"data": [{"id": "vm-2", "status": "running"}]})
        assert type(await failure_of(client.get("vm-1"))) is Gone

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "/", "../"])
    @virtual
    async def test_an_id_that_leads_elsewhere_is_gone(
        self, api: Api, client: TensorDockClient, machine_id: str
    ) -> None:
        for call in (client.get(machine_id), client.terminate(machine_id, idempotency_key="t")):
            assert type(await failure_of(call)) is Gone
        assert api.requests == []

    @virtual
    async def test_the_list_holds_everything_but_what_is_gone(self, api: Api, client: TensorDockClient) -> None:
        rows = [
            {"id": "a", "name": "ours", "status": "Running"},
            {"id": "b", "attributes": {"name": "theirs", "status": "levitating"}},
            {"id": "c", "status": "StoppedDisassociated"},
            {"id": "d", "name": "old", "status": "deleted"},
        ]
        api.routes["GET instances"] = ok({"data": {"instances": rows}})
        found = [(machine.id, machine.label, machine.state) for machine in await client.list_machines()]
        assert found == [
            ("a", "ours", MachineState.RUNNING),
            ("b", "theirs", MachineState.UNKNOWN),
            ("c", None, MachineState.STOPPED),
        ]

    @pytest.mark.parametrize("row", [{"name": "no id"}, None, "x"])
    @virtual
    async def test_a_row_that_cannot_be_read_is_not_left_out(
        self, api: Api, client: TensorDockClient, row: Any
    ) -> None:
        api.routes["GET instances"] = ok({"data": [{"id": "a"}, row]})
        error = await failure_of(client.list_machines())
        assert type(error) is Malformed
        assert error.may_exist is False

    @virtual
    async def test_another_server_is_not_an_empty_account(self, api: Api, client: TensorDockClient) -> None:
        api.routes["GET instances"] = ok({"error": "no route"}, 404)
        error = await failure_of(client.list_machines())
        assert type(error) is Malformed
        assert "URL" in str(error)

    @pytest.mark.parametrize(
        "answer", [ok({"data": {"type": "success"}}), httpx.Response(204), httpx.Response(200), ok({})]
    )
    @virtual
    async def test_every_answer_to_a_deletion(self, api: Api, client: TensorDockClient, answer: Any) -> None:
        api.routes["DELETE instances/vm-1"] = answer
        await client.terminate("vm-1", idempotency_key="t")
        assert api.sent() == ["DELETE instances/vm-1"]

    @virtual
    async def test_stop_and_start(self, api: Api, client: TensorDockClient) -> None:
        for verb in ("stop", "start"):
            api.routes[f"POST instances/vm-1/{verb}"] = ok({"data": {"id": "vm-1", "attributes": {"status": "x"}}})
        await client.stop_machine("vm-1")
        await client.start_machine("vm-1")
        assert api.sent() == ["POST instances/vm-1/stop", "POST instances/vm-1/start"]
        api.routes["POST instances/vm-1/start"] = ok({"error": "already running"}, 400)
        assert type(await failure_of(client.start_machine("vm-1"))) is Conflict
        api.routes["POST instances/vm-1/start"] = ok({"error": "cannot start"}, 400)
        assert type(await failure_of(client.start_machine("vm-1"))) is NoCapacity


class TestKeys:
    @virtual
    async def test_a_key_is_a_secret(self, api: Api, client: TensorDockClient) -> None:
        api.routes["POST secrets"] = ok({"data": {"type": "secret", "id": "k1", "name": "laptop"}}, 201)
        key = await client.add_ssh_key("laptop", f"{PUBLIC_KEY}\n")
        assert (key.id, key.name, key.fingerprint, key.public_key) == ("k1", "laptop", FINGERPRINT, PUBLIC_KEY)
        assert api.body() == {
            "data": {
                "type": "secret",
                "attributes": {"name": "laptop", "value": PUBLIC_KEY, "type": "SSHKEY"},
            }
        }

    @virtual
    async def test_list_and_delete(self, api: Api, client: TensorDockClient) -> None:
        rows = [{"type": "SSHKEY", "id": "k1", "name": "laptop"}, {"type": "SECRET", "id": "s1", "name": "x"}]
        api.routes["GET secrets"] = ok({"data": {"secrets": rows}})
        assert [key.id for key in await client.list_ssh_keys()] == ["k1"]
        api.routes["DELETE secrets/k1"] = ok({"data": {"type": "success", "message": "Secret deleted successfully"}})
        await client.delete_ssh_key("k1")
        api.routes["DELETE secrets/k1"] = ok({"error": "Secret not found"}, 404)
        assert type(await failure_of(client.delete_ssh_key("k1"))) is Gone

    @virtual
    async def test_what_is_no_key_is_not_sent(self, api: Api, client: TensorDockClient) -> None:
        private = "-----BEGIN OPENSSH PRIVATE KEY-----"
        assert isinstance(await failure_of(client.add_ssh_key("oops", private)), Rejected)
        assert api.requests == []

    @virtual
    async def test_an_answer_without_an_id(self, api: Api, client: TensorDockClient) -> None:
        api.routes["POST secrets"] = ok({"data": {"type": "secret"}})
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert type(error) is Malformed
        assert error.may_exist is False
