"""What the TensorDock client sends but for orders, and how it takes what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, HTML, PUBLIC_KEY, failure_of, seconds
from tensordock_answers import END, KEY, LIST, OFFER, ONE, RUNNING, URL, TensorDockApi, ok

from gputui.model.errors import AuthError, Conflict, Gone, Malformed, NoCapacity, Rejected, Transient, UsageError
from gputui.model.states import MachineState
from gputui.providers import base
from gputui.providers.registry import ClientContext
from gputui.providers.tensordock.client import TensorDockClient
from gputui.sim.vtime import VirtualClock, in_virtual_time


@pytest.fixture
def api() -> TensorDockApi:
    return TensorDockApi()


class TestClient:
    def test_capabilities(self) -> None:
        having = {name for name, has in base.capabilities_of(TensorDockClient).items() if has}
        assert having == {"ssh-keys", "os-images", "regions", "stop and start"}
        assert not hasattr(TensorDockClient, "create_is_idempotent")

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: TensorDockApi, client: TensorDockClient) -> None:
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
    @in_virtual_time
    async def test_a_dead_key(self, api: TensorDockApi, client: TensorDockClient, status: int) -> None:
        api.routes[LIST] = ok({"error": f"Unauthorized: {KEY}"}, status)
        error = await failure_of(client.check_key())
        assert type(error) is AuthError
        assert KEY not in str(error)

    @in_virtual_time
    async def test_a_page_is_no_dead_key(self, api: TensorDockApi, client: TensorDockClient) -> None:
        api.routes[LIST] = httpx.Response(403, text=HTML)
        assert type(await failure_of(client.check_key())) is Transient

    @in_virtual_time
    async def test_watching_many_machines_keeps_under_the_limit(
        self, api: TensorDockApi, client: TensorDockClient
    ) -> None:
        for _ in range(300):
            await client.get("vm-1")
        times = api.times_s[ONE]
        assert len(times) == 300
        assert max(sum(start <= at < start + 60 for at in times) for start in times) < 100
        began = seconds()
        await client.terminate("vm-1", idempotency_key="t")
        assert seconds() == began


class TestMarket:
    @in_virtual_time
    async def test_offers_and_regions(self, client: TensorDockClient) -> None:
        assert [(offer.gpu, offer.gpu_count) for offer in await client.fetch_offers()] == [("L4", 1), ("L4", 2)]
        assert [region.code for region in await client.list_regions()] == ["chicago-illinois"]

    @pytest.mark.parametrize("body", [{}, {"data": {}}, {"locations": []}, {"data": {"locations": {}}}, []])
    @in_virtual_time
    async def test_what_is_no_list_is_not_an_empty_market(
        self, api: TensorDockApi, client: TensorDockClient, body: Any
    ) -> None:
        api.routes["GET locations"] = ok(body)
        assert type(await failure_of(client.fetch_offers())) is Malformed

    @in_virtual_time
    async def test_images_are_known_without_asking(self, api: TensorDockApi, client: TensorDockClient) -> None:
        assert (await client.list_os_images(OFFER))[0].value == "ubuntu2404_ml_everything"
        assert api.requests == []


class TestMachines:
    @pytest.mark.parametrize("body", [RUNNING, {"data": RUNNING}, {"data": {"id": "vm-1", "attributes": RUNNING}}])
    @in_virtual_time
    async def test_get(self, api: TensorDockApi, client: TensorDockClient, body: Any) -> None:
        api.routes[ONE] = ok(body)
        found = await client.get("vm-1")
        assert (found.id, found.ip, found.ssh_port, found.ssh_user) == ("vm-1", "203.0.113.42", 20456, "user")
        assert (found.gpu, found.gpu_count, found.price_micro_usd_per_hour) == ("RTX-4090", 2, 926_000)

    @in_virtual_time
    async def test_the_port_is_the_one_that_came_not_the_one_asked_for(
        self, api: TensorDockApi, client: TensorDockClient
    ) -> None:
        for port in (48007, 20001):
            forwards = [{"internal_port": 22, "external_port": port}]
            api.routes[ONE] = ok({**RUNNING, "portForwards": forwards})
            assert (await client.get("vm-1")).ssh_port == port

    @pytest.mark.parametrize("answer", [ok({"error": "Not found"}, 404), ok({"status": 404, "error": "Not found"})])
    @in_virtual_time
    async def test_missing_is_gone(self, api: TensorDockApi, client: TensorDockClient, answer: httpx.Response) -> None:
        api.routes[ONE] = api.routes[END] = answer
        for call in (client.get("vm-1"), client.terminate("vm-1", idempotency_key="t")):
            assert type(await failure_of(call)) is Gone

    @pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(404, text=HTML)])
    @in_virtual_time
    async def test_a_bare_404_needs_the_list_to_prove_it(
        self, api: TensorDockApi, client: TensorDockClient, answer: httpx.Response
    ) -> None:
        api.routes[ONE] = answer
        api.routes[LIST] = ok({"data": [{"id": "vm-1", "status": "running"}]})
        assert type(await failure_of(client.get("vm-1"))) is Malformed
        api.routes[LIST] = httpx.Response(404, text=HTML)
        assert type(await failure_of(client.get("vm-1"))) is Malformed
        api.routes[LIST] = ok({"data": [{"id": "vm-2", "status": "running"}]})
        assert type(await failure_of(client.get("vm-1"))) is Gone

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "/", "../"])
    @in_virtual_time
    async def test_an_id_that_leads_elsewhere_is_gone(
        self, api: TensorDockApi, client: TensorDockClient, machine_id: str
    ) -> None:
        for call in (client.get(machine_id), client.terminate(machine_id, idempotency_key="t")):
            assert type(await failure_of(call)) is Gone
        assert api.requests == []

    @in_virtual_time
    async def test_the_list_holds_everything_but_what_is_gone(
        self, api: TensorDockApi, client: TensorDockClient
    ) -> None:
        rows = [
            {"id": "a", "name": "ours", "status": "Running"},
            {"id": "b", "attributes": {"name": "theirs", "status": "levitating"}},
            {"id": "c", "status": "StoppedDisassociated"},
            {"id": "d", "name": "old", "status": "deleted"},
        ]
        api.routes[LIST] = ok({"data": {"instances": rows}})
        found = [(machine.id, machine.label, machine.state) for machine in await client.list_machines()]
        assert found == [
            ("a", "ours", MachineState.RUNNING),
            ("b", "theirs", MachineState.UNKNOWN),
            ("c", None, MachineState.STOPPED),
        ]

    @pytest.mark.parametrize("row", [{"name": "no id"}, None, "x"])
    @in_virtual_time
    async def test_a_row_that_cannot_be_read_is_not_left_out(
        self, api: TensorDockApi, client: TensorDockClient, row: Any
    ) -> None:
        api.routes[LIST] = ok({"data": [{"id": "a"}, row]})
        error = await failure_of(client.list_machines())
        assert type(error) is Malformed
        assert error.may_exist is False

    @in_virtual_time
    async def test_another_server_is_not_an_empty_account(self, api: TensorDockApi, client: TensorDockClient) -> None:
        api.routes[LIST] = ok({"error": "no route"}, 404)
        error = await failure_of(client.list_machines())
        assert type(error) is Malformed
        assert "URL" in str(error)

    @pytest.mark.parametrize(
        "answer", [ok({"data": {"type": "success"}}), httpx.Response(204), httpx.Response(200), ok({})]
    )
    @in_virtual_time
    async def test_every_answer_to_a_deletion(self, api: TensorDockApi, client: TensorDockClient, answer: Any) -> None:
        api.routes[END] = answer
        await client.terminate("vm-1", idempotency_key="t")
        assert api.names == [END]

    @in_virtual_time
    async def test_stop_and_start(self, api: TensorDockApi, client: TensorDockClient) -> None:
        for verb in ("stop", "start"):
            api.routes[f"POST instances/vm-1/{verb}"] = ok({"data": {"id": "vm-1", "attributes": {"status": "x"}}})
        await client.stop_machine("vm-1")
        await client.start_machine("vm-1")
        assert api.names == ["POST instances/vm-1/stop", "POST instances/vm-1/start"]
        api.routes["POST instances/vm-1/start"] = ok({"error": "already running"}, 400)
        assert type(await failure_of(client.start_machine("vm-1"))) is Conflict
        api.routes["POST instances/vm-1/start"] = ok({"error": "cannot start"}, 400)
        assert type(await failure_of(client.start_machine("vm-1"))) is NoCapacity


class TestKeys:
    @in_virtual_time
    async def test_a_key_is_a_secret(self, api: TensorDockApi, client: TensorDockClient) -> None:
        api.routes["POST secrets"] = ok({"data": {"type": "secret", "id": "k1", "name": "laptop"}}, 201)
        key = await client.add_ssh_key("laptop", f"{PUBLIC_KEY}\n")
        assert (key.id, key.name, key.fingerprint, key.public_key) == ("k1", "laptop", FINGERPRINT, PUBLIC_KEY)
        assert api.body("POST secrets") == {
            "data": {
                "type": "secret",
                "attributes": {"name": "laptop", "value": PUBLIC_KEY, "type": "SSHKEY"},
            }
        }

    @in_virtual_time
    async def test_list_and_delete(self, api: TensorDockApi, client: TensorDockClient) -> None:
        rows = [{"type": "SSHKEY", "id": "k1", "name": "laptop"}, {"type": "SECRET", "id": "s1", "name": "x"}]
        api.routes["GET secrets"] = ok({"data": {"secrets": rows}})
        assert [key.id for key in await client.list_ssh_keys()] == ["k1"]
        api.routes["DELETE secrets/k1"] = ok({"data": {"type": "success", "message": "Secret deleted successfully"}})
        await client.delete_ssh_key("k1")
        api.routes["DELETE secrets/k1"] = ok({"error": "Secret not found"}, 404)
        assert type(await failure_of(client.delete_ssh_key("k1"))) is Gone

    @in_virtual_time
    async def test_what_is_no_key_is_not_sent(self, api: TensorDockApi, client: TensorDockClient) -> None:
        private = "-----BEGIN OPENSSH PRIVATE KEY-----"
        assert isinstance(await failure_of(client.add_ssh_key("oops", private)), Rejected)
        assert api.requests == []

    @in_virtual_time
    async def test_an_answer_without_an_id(self, api: TensorDockApi, client: TensorDockClient) -> None:
        api.routes["POST secrets"] = ok({"data": {"type": "secret"}})
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert type(error) is Malformed
        assert error.may_exist is False
