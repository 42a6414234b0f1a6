"""The money, SSH keys and volumes of a Vast.ai account, as the client asks for them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, HTML, PUBLIC_KEY, failure_of
from vastai_answers import ADD_KEY, ID, VastApi, ok, refused

from gputui.model.errors import Conflict, Gone, Malformed, NoCapacity
from gputui.providers.vastai.client import VastClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> VastApi:
    return VastApi()


class TestAccount:
    @in_virtual_time
    async def test_the_balance(self, api: VastApi, client: VastClient) -> None:
        api.routes["GET v0/users/current/"] = ok({"id": 1, "balance": 0.0, "credit": 25.13})
        assert (await client.fetch_balance()).balance_micro_usd == 25_130_000

    @in_virtual_time
    async def test_ssh_keys(self, api: VastApi, client: VastClient) -> None:
        (key,) = await client.list_ssh_keys()
        assert (key.id, key.name, key.fingerprint) == ("5512", "fake-key", FINGERPRINT)
        api.routes[ADD_KEY] = ok({"success": True, "key": {"id": 2, "public_key": PUBLIC_KEY}})
        assert (await client.add_ssh_key("laptop", PUBLIC_KEY)).id == "2"
        api.routes["DELETE v0/ssh/5512/"] = [ok(), refused(400, "no_ssh_key", "SSH key not found")]
        await client.delete_ssh_key("5512")
        assert type(await failure_of(client.delete_ssh_key("5512"))) is Gone

    @in_virtual_time
    async def test_a_key_without_an_id_was_not_added(self, api: VastApi, client: VastClient) -> None:
        api.routes[ADD_KEY] = ok()
        error = await failure_of(client.add_ssh_key("laptop", PUBLIC_KEY))
        assert type(error) is Malformed
        assert error.may_exist is False

    @in_virtual_time
    async def test_charges_on_all_pages(self, api: VastApi, client: VastClient) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            assert json.loads(request.url.params["select_filters"]) == {"day": {"gte": 100, "lte": 201}}
            token = request.url.params.get("after_token")
            source = "instance-1" if token is None else "volume-2"
            row = {"start": 120, "end": 180, "source": source, "description": "d", "amount": 0.5, "items": []}
            return ok({"success": True, "results": [row], "next_token": "t" if token is None else None})

        api.routes["GET v0/charges/"] = page
        charges = await client.fetch_charges(since_ms=100_000, until_ms=200_001)
        assert [(charge.machine_id, charge.amount_micro_usd) for charge in charges] == [("1", 500_000), (None, 500_000)]

    @in_virtual_time
    async def test_a_charge_that_cannot_be_read_is_not_left_out(self, api: VastApi, client: VastClient) -> None:
        api.routes["GET v0/charges/"] = ok({"success": True, "results": [{"source": "instance-1"}]})
        assert type(await failure_of(client.fetch_charges(since_ms=0, until_ms=1000))) is Malformed


class TestVolumes:
    ROOM: dict[str, Any] = {"id": 9, "disk_space": 500.0, "storage_cost": 0.1, "geolocation": "Ontario, CA"}  # noqa: RUF012
    MAKE = "PUT v0/volumes/"

    @in_virtual_time
    async def test_list(self, api: VastApi, client: VastClient) -> None:
        volume = {"id": 7, "label": "data", "status": "in-use", "disk_space": 100.0, "instances": [36717044]}
        api.routes["GET v0/volumes/"] = ok({"volumes": [volume]})
        (found,) = await client.list_volumes()
        assert (found.id, found.raw_state, found.attached_to) == ("7", "in-use", (ID,))
        api.routes["GET v0/volumes/"] = ok({"volumes": [volume, {"label": "lost"}]})
        assert type(await failure_of(client.list_volumes())) is Malformed

    @in_virtual_time
    async def test_create(self, api: VastApi, client: VastClient) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": [{**self.ROOM, "id": 8, "storage_cost": 0.2}, self.ROOM]})
        api.routes[self.MAKE] = ok({"success": True, "volume_name": "V.20118481"})
        volume = await client.create_volume("data_1", size_gib=100, region="CA", kind=None)
        assert (volume.id, volume.name, volume.size_gib, volume.region) == ("20118481", "data_1", 100, "CA")
        assert volume.price_micro_usd_per_month == 10_000_000
        assert api.body(self.MAKE) == {"id": 9, "size": 100, "name": "data_1"}

    @pytest.mark.parametrize("answer", [ok(), httpx.Response(200, text=HTML), httpx.Response(500, json={})])
    @in_virtual_time
    async def test_a_volume_that_may_have_been_made(
        self, api: VastApi, client: VastClient, answer: httpx.Response
    ) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": [self.ROOM]})
        api.routes[self.MAKE] = answer
        error = await failure_of(client.create_volume("data_1", size_gib=None, region="CA", kind=None))
        assert error.may_exist is True
        assert len(api.sent(self.MAKE)) == 1

    @in_virtual_time
    async def test_no_room(self, api: VastApi, client: VastClient) -> None:
        api.routes["POST v0/volumes/search/"] = ok({"offers": []})
        error = await failure_of(client.create_volume("data_1", size_gib=None, region="CA", kind=None))
        assert type(error) is NoCapacity
        assert not api.sent(self.MAKE)

    @in_virtual_time
    async def test_delete(self, api: VastApi, client: VastClient) -> None:
        in_use = refused(400, "invalid_args", "Volume is in use by instance 1")
        missing = refused(404, "no_such_volume", "Volume with that ID does not exist.")
        api.routes["DELETE v0/volumes/"] = [ok(), in_use, missing]
        await client.delete_volume("7")
        assert api.body("DELETE v0/volumes/") == {"id": 7}
        assert type(await failure_of(client.delete_volume("7"))) is Conflict
        assert type(await failure_of(client.delete_volume("7"))) is Gone
        assert type(await failure_of(client.delete_volume("x"))) is Gone
