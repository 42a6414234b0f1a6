"""What the Huddle client asks of the market and the account, and how it takes what comes back."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from client_stage import failure_of
from huddle_answers import KEY, OFFER, HuddleApi, ok, refused

from gputui.model.errors import AuthError, Malformed, UsageError
from gputui.model.types import Stock
from gputui.providers import base
from gputui.providers.huddle.client import HuddleClient
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import VirtualClock, in_virtual_time


@pytest.fixture
def api() -> HuddleApi:
    return HuddleApi()


class TestClient:
    def test_capabilities(self) -> None:
        able = {name for name, is_there in base.capabilities_of(HuddleClient).items() if is_there}
        resources = {"ssh-keys", "os-images", "regions", "volumes", "waitlist", "webhooks", "api-keys"}
        assert able == {"balance", *resources}
        assert HuddleClient.create_is_idempotent is True

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: HuddleApi, client: HuddleClient) -> None:
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

    @in_virtual_time
    async def test_a_dead_key(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET billing/balance"] = refused(401, "UNAUTHORIZED", f"bad key {KEY}")
        error = await failure_of(client.check_key())
        assert isinstance(error, AuthError)
        assert KEY not in str(error)
        assert "gputui auth login huddle" in str(error)

    @in_virtual_time
    async def test_a_balance_that_is_not_told_is_none(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET billing/balance"] = ok({})
        assert (await client.fetch_balance()).balance_micro_usd is None
        assert (await client.check_key()).detail == ""

    @in_virtual_time
    async def test_another_server_is_not_taken_for_an_empty_account(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET deployments"] = refused(404, "NOT_FOUND", "no route")
        error = await failure_of(client.list_machines())
        assert isinstance(error, Malformed)
        assert "URL" in str(error)
        api.routes["GET deployments"] = httpx.Response(200, json={"ok": True})
        with pytest.raises(Malformed):
            await client.list_machines()


class TestOffers:
    @in_virtual_time
    async def test_asks_for_all_of_them(self, api: HuddleApi, client: HuddleClient) -> None:
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

    @in_virtual_time
    async def test_two_rows_of_one_type_are_one_offer(self, api: HuddleApi, client: HuddleClient) -> None:
        row = {"instance_type": "1A", "gpu_model": "A40", "gpu_count": 1, "price_per_hr": 1, "regions": ["FIN-01"]}
        rows = [{**row, "id": "old"}, {**row, "id": "new", "price_per_hr": 2}]
        api.routes["GET gpus/available"] = ok(rows)
        (offer,) = await client.fetch_offers()
        assert offer.price_micro_usd_per_hour == 2_000_000


class TestImagesAndRegions:
    @in_virtual_time
    async def test_images(self, api: HuddleApi, client: HuddleClient) -> None:
        assert [image.value for image in await client.list_os_images()] == ["img-docker", "img-plain", "img-cluster"]
        await client.list_os_images(OFFER)
        assert [dict(request.url.params) for request in api.requests] == [{}, {"cluster_type": "1H100.80S.30V"}]

    @in_virtual_time
    async def test_regions(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET regions"] = ok([{"code": "FIN-01", "name": "Finland 1", "country_code": "FI"}, "ICE-01"])
        assert [region.code for region in await client.list_regions()] == ["FIN-01", "ICE-01"]
