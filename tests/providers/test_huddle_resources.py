"""Huddle's volumes, waitlist, webhooks and API keys: odd answers, and what never leaves."""

from __future__ import annotations

from typing import Any

import pytest
from huddle_answers import HuddleApi, ok

from gputui.model.errors import Gone, Malformed, Rejected
from gputui.model.types import Offer
from gputui.providers.huddle import resources
from gputui.providers.huddle.client import HuddleClient
from gputui.sim.vtime import in_virtual_time

SECRET = "fake-secret-that-is-told-once"
VOLUME = {"id": "vol-1", "name": "data", "status": "detached", "size": 600, "type": "NVMe", "location": "FIN-01"}


@pytest.fixture
def api() -> HuddleApi:
    return HuddleApi()


def offer(**native: Any) -> Offer:
    return Offer("huddle:x:y", "huddle", "H100", 1, 2_290_000, 0, native=native)


class TestVolumes:
    @pytest.mark.parametrize(
        ("told", "monthly"),
        [
            ({"monthly_price": 120.0, "base_hourly_cost": 0.1644}, 120_000_000),
            ({"base_hourly_cost": 0.05}, 36_500_000),
            ({"monthly_price": 120.0, "currency": "EUR"}, None),
            ({"monthly_price": "a lot"}, None),
            ({}, None),
        ],
    )
    def test_the_price_is_what_huddle_tells(self, told: dict[str, Any], monthly: int | None) -> None:
        volume = resources.volume_of({**VOLUME, **told})
        assert volume is not None
        assert volume.price_micro_usd_per_month == monthly

    @pytest.mark.parametrize("instance_id", ["dep-1", "verda-1"])
    @in_virtual_time
    async def test_the_machine_is_told_by_its_own_id(
        self, api: HuddleApi, client: HuddleClient, instance_id: str
    ) -> None:
        api.routes["GET volumes"] = ok({"data": [{**VOLUME, "status": "attached", "instance_id": instance_id}]})
        api.routes["GET deployments"] = ok({"data": [{"id": "dep-1", "provider_id": "verda-1"}]})
        assert (await client.list_volumes())[0].attached_to == ("dep-1",)

    @in_virtual_time
    async def test_deleted_ones_are_left_out(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET volumes"] = ok([{**VOLUME, "id": "old", "status": "deleted"}, VOLUME])
        assert [volume.id for volume in await client.list_volumes()] == ["vol-1"]

    @pytest.mark.parametrize("row", [{}, {**VOLUME, "id": None}, {**VOLUME, "id": ""}, "vol-1", None])
    @in_virtual_time
    async def test_a_list_with_something_unreadable_is_no_list(
        self, api: HuddleApi, client: HuddleClient, row: Any
    ) -> None:
        api.routes["GET volumes"] = ok([VOLUME, row])
        with pytest.raises(Malformed):
            await client.list_volumes()

    @pytest.mark.parametrize(
        ("changes", "field"), [({"name": " "}, "name"), ({"size_gib": None}, "size_gib"), ({"region": ""}, "region")]
    )
    @in_virtual_time
    async def test_what_cannot_be_made_is_not_asked_for(
        self, api: HuddleApi, client: HuddleClient, changes: dict[str, Any], field: str
    ) -> None:
        wanted: dict[str, Any] = {"name": "data", "size_gib": 10, "region": "FIN-01", "kind": None, **changes}
        with pytest.raises(Rejected) as caught:
            await client.create_volume(wanted.pop("name"), **wanted)
        assert (caught.value.field, api.requests) == (field, [])

    @in_virtual_time
    async def test_an_answer_without_an_id_may_hide_a_volume(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST volumes"] = ok({"name": "data"})
        with pytest.raises(Malformed) as caught:
            await client.create_volume("data", size_gib=10, region="FIN-01", kind=None)
        assert caught.value.may_exist
        assert api.body("POST volumes") == {"name": "data", "size": 10, "type": "NVMe", "location": "FIN-01"}

    @pytest.mark.parametrize(
        ("rows", "monthly"),
        [
            ([{"type": "NVMe", "price": {"price_per_month_per_gb": 0.2, "currency": "USD"}}], 2_000_000),
            ([{"type": "NVMe", "price": {"price_per_month_per_gb": 0.2, "currency": "EUR"}}], None),
            ([{"type": "NVMe", "price": 0.2}], None),
            ([{"type": "NVMe"}], None),
            (["NVMe"], None),
            ([], None),
        ],
    )
    @in_virtual_time
    async def test_a_quote_is_told_or_unknown(
        self, api: HuddleApi, client: HuddleClient, rows: list[Any], monthly: int | None
    ) -> None:
        api.routes["GET volume-types"] = ok(rows)
        assert await client.quote_volume(size_gib=10, region="FIN-01", kind=None) == monthly


class TestWaitlist:
    @in_virtual_time
    async def test_never_asks_huddle_to_order_by_itself(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST deployments/requests"] = ok({"id": "wr-1", "status": "waiting", "created_at": "not a time"})
        entry = await client.join_waitlist(offer(cluster_type="1H100", location="FIN-01"))
        assert (entry.id, entry.raw_state, entry.created_at_ms) == ("wr-1", "waiting", None)
        await client.join_waitlist(offer(cluster_type="1H100", location=None), anywhere=True)
        here, anywhere = api.bodies("POST deployments/requests")
        assert here == {"cluster_type": "1H100", "location": "FIN-01", "auto_deploy": False}
        assert anywhere == {"cluster_type": "1H100", "auto_deploy": False}

    @in_virtual_time
    async def test_a_type_that_is_nowhere_can_only_be_awaited_anywhere(
        self, api: HuddleApi, client: HuddleClient
    ) -> None:
        with pytest.raises(Rejected, match="anywhere"):
            await client.join_waitlist(offer(cluster_type="1H100", location=None))
        assert api.requests == []

    @in_virtual_time
    async def test_an_unknown_state_is_passed_on(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET deployments/requests"] = ok([{"id": "wr-1", "status": "napping", "auto_deploy": True}])
        (entry,) = await client.list_waitlist()
        assert (entry.raw_state, entry.auto_deploys) == ("napping", True)


class TestWebhooks:
    @pytest.mark.parametrize(
        "url", ["", "hooks.example.net", "ftp://x/fake-token", "https://", "https://[x/fake-token"]
    )
    @in_virtual_time
    async def test_an_address_that_is_none_is_refused_unseen(
        self, api: HuddleApi, client: HuddleClient, url: str
    ) -> None:
        with pytest.raises(Rejected) as caught:
            await client.create_webhook(url, ["gpu.available"])
        assert caught.value.field == "url"
        assert "fake-token" not in str(caught.value)
        assert api.requests == []

    @in_virtual_time
    async def test_no_events_are_refused_with_those_there_are(self, api: HuddleApi, client: HuddleClient) -> None:
        with pytest.raises(Rejected, match=r"deployment\.running"):
            await client.create_webhook("https://hooks.example.net", [])
        assert api.requests == []

    @in_virtual_time
    async def test_one_without_its_secret_was_made_for_nothing(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST webhooks"] = ok({"id": "wh-1", "url": "https://hooks.example.net"})
        with pytest.raises(Malformed) as caught:
            await client.create_webhook("https://hooks.example.net", ["gpu.available"])
        assert caught.value.may_exist

    @in_virtual_time
    async def test_pausing_sends_nothing_else(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["PUT webhooks/wh-1"] = ok({"id": "wh-1", "is_active": False})
        await client.update_webhook("wh-1", is_active=False)
        assert api.body("PUT webhooks/wh-1") == {"is_active": False}


class TestApiKeys:
    @in_virtual_time
    async def test_the_secret_is_in_one_place_only(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["POST api-keys"] = ok({"id": "ak-1", "name": "n", "prefix": "mk_fake", "secret": SECRET})
        made = await client.create_api_key("n")
        assert made.secret == SECRET
        assert SECRET not in repr(made) + str(made) + repr(made.api_key)

    @in_virtual_time
    async def test_an_answer_that_cannot_be_read_does_not_show_the_secret(
        self, api: HuddleApi, client: HuddleClient
    ) -> None:
        api.routes["POST api-keys"] = ok({"secret": SECRET})
        with pytest.raises(Malformed) as caught:
            await client.create_api_key("n")
        assert caught.value.may_exist
        assert SECRET not in str(caught.value) + repr(caught.value.facts())

    @pytest.mark.parametrize(
        ("prefix", "is_own"),
        [
            ("fake-key-0", True),
            ("fake-key-0...", True),
            ("fake-key-9", False),
            ("fa", False),
            ("", False),
            (None, False),
        ],
    )
    @in_virtual_time
    async def test_our_own_key_is_told_by_its_beginning(
        self, api: HuddleApi, client: HuddleClient, prefix: str | None, is_own: bool
    ) -> None:
        api.routes["GET api-keys"] = ok([{"id": "ak-1", "prefix": prefix}])
        assert [key.is_own for key in await client.list_api_keys()] == [is_own]

    @in_virtual_time
    async def test_revoked_ones_are_left_out(self, api: HuddleApi, client: HuddleClient) -> None:
        api.routes["GET api-keys"] = ok([{"id": "ak-1", "revoked_at": "2026-05-11T07:55:00Z"}, {"id": "ak-2"}])
        assert [key.id for key in await client.list_api_keys()] == ["ak-2"]


@pytest.mark.parametrize("item_id", ["", " ", ".", "../deployments"])
@pytest.mark.parametrize("delete", ["delete_volume", "leave_waitlist", "delete_webhook", "revoke_api_key"])
@in_virtual_time
async def test_an_id_never_leads_to_another_address(
    api: HuddleApi, client: HuddleClient, delete: str, item_id: str
) -> None:
    with pytest.raises((Gone, KeyError)):
        await getattr(client, delete)(item_id)
    assert all("deployments/.." not in str(request.url) and "%2F" in str(request.url) for request in api.requests)
