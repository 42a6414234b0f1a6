"""What the Lambda client reads of machines and file systems, and how it ends them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of
from lambda_answers import INSTANCE, MISSING, TERMINATE, TEXAS, LambdaApi, ok, refused

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.model.states import MachineState
from gputui.providers.lambda_.client import LambdaClient
from gputui.sim.vtime import in_virtual_time

FILESYSTEM: dict[str, Any] = {"id": "fs-1", "name": "data", "is_in_use": False, "region": TEXAS}


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


class TestMachines:
    @in_virtual_time
    async def test_list_leaves_out_the_gone_only(self, api: LambdaApi, client: LambdaClient) -> None:
        words = ("booting", "active", "unhealthy", "preempted", "terminating", "terminated", "levitating")
        rows = [{**INSTANCE, "id": word, "status": word} for word in words]
        api.routes["GET instances"] = ok([*rows, rows[0]])
        listed = await client.list_machines()
        assert [machine.id for machine in listed] == [word for word in words if word != "terminated"]

    @pytest.mark.parametrize("row", [None, {}, {"status": "active"}])
    @in_virtual_time
    async def test_a_machine_that_cannot_be_read_is_not_left_out(
        self, api: LambdaApi, client: LambdaClient, row: Any
    ) -> None:
        api.routes["GET instances"] = ok([INSTANCE, row])
        with pytest.raises(Malformed):
            await client.list_machines()

    @in_virtual_time
    async def test_get(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({**INSTANCE, "id": "i-1", "status": "active", "ip": "203.0.113.9"})
        machine = await client.get("i-1")
        assert (machine.state, machine.ip, machine.ssh_user) == (MachineState.RUNNING, "203.0.113.9", "ubuntu")
        assert machine.price_micro_usd_per_hour == 4_290_000

    @in_virtual_time
    async def test_get_of_an_ended_one(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({**INSTANCE, "status": "terminated"})
        assert (await client.get("i-1")).state is MachineState.GONE
        api.routes["GET instances/i-1"] = MISSING
        with pytest.raises(Gone):
            await client.get("i-1")

    @in_virtual_time
    async def test_get_without_an_id_is_malformed(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances/i-1"] = ok({})
        error = await failure_of(client.get("i-1"))
        assert isinstance(error, Malformed)
        assert error.may_exist is False

    @pytest.mark.parametrize(
        "answer",
        [
            ok({"terminated_instances": [{**INSTANCE, "status": "terminating"}]}),
            ok({}),
            httpx.Response(202),
            httpx.Response(204),
        ],
    )
    @in_virtual_time
    async def test_terminate_sends_one_id_and_takes_any_good_answer(
        self, api: LambdaApi, client: LambdaClient, answer: httpx.Response
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
    @in_virtual_time
    async def test_terminate_fails_once_and_says_why(
        self, api: LambdaApi, client: LambdaClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[TERMINATE] = answer
        error = await failure_of(client.terminate("i-1", idempotency_key="idem-t"))
        assert type(error) is kind
        assert len(api.requests) == 1

    @pytest.mark.parametrize("machine_id", ["", " "])
    @in_virtual_time
    async def test_no_id_ends_nothing(self, api: LambdaApi, client: LambdaClient, machine_id: str) -> None:
        with pytest.raises(Gone):
            await client.terminate(machine_id, idempotency_key="idem-t")
        assert api.requests == []

    @pytest.mark.parametrize("item_id", ["", ".", "..", "../ssh-keys", "a/b", "a?b=c", "a b", "%2e%2e"])
    @in_virtual_time
    async def test_an_id_never_leads_elsewhere(self, api: LambdaApi, client: LambdaClient, item_id: str) -> None:
        api.answer_everything(MISSING)
        for call in (client.get, client.delete_ssh_key, client.delete_volume):
            with pytest.raises(Gone):
                await call(item_id)
        for path in (request.url.raw_path for request in api.requests):
            assert path.startswith((b"/api/v1/instances/", b"/api/v1/ssh-keys/", b"/api/v1/filesystems/"))
            assert path.count(b"/") == 4
            assert b"?" not in path


class TestVolumes:
    @in_virtual_time
    async def test_unused_ones_take_one_request(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([FILESYSTEM])
        (volume,) = await client.list_volumes()
        assert (volume.id, volume.raw_state, volume.attached_to) == ("fs-1", "unused", ())
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_used_ones_say_by_which_machine(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([{**FILESYSTEM, "is_in_use": True}])
        api.routes["GET instances"] = ok([{**INSTANCE, "file_system_names": ["data"]}])
        (volume,) = await client.list_volumes()
        assert (volume.raw_state, volume.attached_to) == ("in use", (INSTANCE["id"],))

    @in_virtual_time
    async def test_one_that_cannot_be_read_is_not_left_out(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET file-systems"] = ok([FILESYSTEM, {"name": "x"}])
        with pytest.raises(Malformed):
            await client.list_volumes()

    @in_virtual_time
    async def test_make_and_delete_go_to_the_other_path(self, api: LambdaApi, client: LambdaClient) -> None:
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
    @in_virtual_time
    async def test_making_fails_once_and_says_what_may_exist(
        self, api: LambdaApi, client: LambdaClient, answer: Any, kind: type[ProviderError], may_exist: bool
    ) -> None:
        api.routes["POST filesystems"] = answer
        error = await failure_of(client.create_volume("data", size_gib=None, region="us-south-2", kind=None))
        assert (type(error), error.may_exist) == (kind, may_exist)
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_a_size_is_not_silently_dropped(self, api: LambdaApi, client: LambdaClient) -> None:
        error = await failure_of(client.create_volume("data", size_gib=100, region="us-south-2", kind=None))
        assert isinstance(error, Rejected)
        assert error.field == "size_gib"
        assert api.requests == []

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(400, "filesystems/filesystem-in-use"), Conflict),
            (refused(404, "global/object-does-not-exist"), Gone),
        ],
    )
    @in_virtual_time
    async def test_deleting_one_in_use_or_gone(
        self, api: LambdaApi, client: LambdaClient, answer: httpx.Response, kind: type[ProviderError]
    ) -> None:
        api.routes["DELETE filesystems/fs-1"] = answer
        error = await failure_of(client.delete_volume("fs-1"))
        assert type(error) is kind
