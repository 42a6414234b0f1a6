"""Huddle's volumes, waitlist, webhooks and API keys against the simulator, from making to deleting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from client_stage import PUBLIC_KEY

from gputui.model.errors import AuthError, Conflict, Gone, ProviderError, Rejected, Transient
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.huddle.client import HuddleClient
from gputui.providers.registry import ClientContext
from gputui.sim.serve import PROVIDER_APPS, asgi_transport, build_app
from gputui.sim.truth import truth_of
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

KEY = "sim-huddle-key"
HOOK = "https://hooks.example.net/gpu?token=fake-token"


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=11)


@pytest.fixture
def connect(world: World, tmp_path: Path) -> Callable[..., HuddleClient]:
    url = f"https://huddle.test/huddle{PROVIDER_APPS['huddle'].api_path}"
    transport = asgi_transport(build_app(world, ["huddle"]))
    return lambda key=KEY: HuddleClient(
        ClientContext(VirtualClock(), tmp_path, api_key=key, url=url, transport=transport)
    )


@pytest.fixture
def client(connect: Callable[..., HuddleClient]) -> HuddleClient:
    return connect()


async def an_offer(client: HuddleClient, *, sold_out: bool = False) -> Offer:
    offers = await client.fetch_offers()
    return next(offer for offer in offers if offer.region and (offer.stock is Stock.NONE) is sold_out)


class TestVolumes:
    @in_virtual_time
    async def test_from_making_to_deleting(self, client: HuddleClient) -> None:
        assert await client.list_volumes() == []
        made = await client.create_volume("data", size_gib=200, region="FIN-01", kind=None)
        assert (made.name, made.size_gib, made.region, made.kind) == ("data", 200, "FIN-01", "NVMe")
        assert made.price_micro_usd_per_month
        assert made.created_at_ms
        await asyncio.sleep(60)
        (listed,) = await client.list_volumes()
        assert (listed.id, listed.raw_state, listed.attached_to) == (made.id, "detached", ())
        await client.delete_volume(made.id)
        assert await client.list_volumes() == []
        with pytest.raises(Gone):
            await client.delete_volume(made.id)

    @in_virtual_time
    async def test_the_quote_is_what_it_then_costs(self, client: HuddleClient) -> None:
        quoted = await client.quote_volume(size_gib=200, region="FIN-01", kind=None)
        made = await client.create_volume("data", size_gib=200, region="FIN-01", kind=None)
        assert quoted == made.price_micro_usd_per_month == 40_000_000
        with pytest.raises(Rejected, match="NVMe_Shared"):
            await client.quote_volume(size_gib=200, region="FIN-01", kind="Tape")

    @in_virtual_time
    async def test_a_boot_disk_is_told_with_its_machine_and_cannot_be_deleted_under_it(
        self, client: HuddleClient
    ) -> None:
        offer = await an_offer(client)
        machine = await client.create(CreateRequest(offer, "gputui-test-1", "idem-1", PUBLIC_KEY))
        await asyncio.sleep(600)
        (disk,) = await client.list_volumes()
        assert disk.attached_to == (machine.id,)
        with pytest.raises(Conflict):
            await client.delete_volume(disk.id)

    @in_virtual_time
    async def test_a_kind_that_is_no_longer_made_is_refused(self, client: HuddleClient) -> None:
        with pytest.raises(Rejected, match="HDD"):
            await client.create_volume("data", size_gib=200, region="FIN-01", kind="HDD")
        assert await client.list_volumes() == []

    @in_virtual_time
    async def test_a_lost_answer_says_that_a_volume_may_exist(self, world: World, client: HuddleClient) -> None:
        world.faults.set(server_error_after_commit={"count": 1, "operation": "create_volume"})
        with pytest.raises(Transient) as caught:
            await client.create_volume("data", size_gib=200, region="FIN-01", kind=None)
        assert caught.value.may_exist
        assert [volume.name for volume in await client.list_volumes()] == ["data"]

    @pytest.mark.parametrize("flat_lists", [False, True])
    @in_virtual_time
    async def test_both_forms_of_the_list(self, world: World, client: HuddleClient, flat_lists: bool) -> None:
        made = await client.create_volume("data", size_gib=200, region="FIN-01", kind=None)
        world.faults.set(flat_lists=flat_lists)
        assert [volume.id for volume in await client.list_volumes()] == [made.id]


class TestWaitlist:
    @in_virtual_time
    async def test_joining_and_leaving(self, client: HuddleClient) -> None:
        offer = await an_offer(client, sold_out=True)
        here = await client.join_waitlist(offer)
        anywhere = await client.join_waitlist(offer, anywhere=True)
        assert (here.machine_type, here.region) == (offer.native["cluster_type"], offer.region)
        assert (anywhere.region, anywhere.raw_state, anywhere.auto_deploys) == (None, "waiting", False)
        assert {entry.id for entry in await client.list_waitlist()} == {here.id, anywhere.id}
        await client.leave_waitlist(here.id)
        states = {entry.id: entry.raw_state for entry in await client.list_waitlist()}
        assert states[here.id] != "waiting"
        assert states[anywhere.id] == "waiting"
        with pytest.raises(Conflict):
            await client.leave_waitlist(here.id)
        with pytest.raises(Gone):
            await client.leave_waitlist("no-such")

    @in_virtual_time
    async def test_waiting_never_orders_a_machine(self, world: World, client: HuddleClient) -> None:
        await client.join_waitlist(await an_offer(client))  # there is capacity: it is told at once
        assert [entry.raw_state for entry in await client.list_waitlist()] != ["waiting"]
        assert truth_of(world)["machines"] == []


class TestWebhooks:
    @in_virtual_time
    async def test_from_making_to_deleting(self, client: HuddleClient) -> None:
        made = await client.create_webhook(HOOK, ["deployment.running", "gpu.available"])
        assert made.secret
        assert made.secret not in repr(made)
        assert made.webhook.events == ("deployment.running", "gpu.available")
        (listed,) = await client.list_webhooks()
        assert listed == made.webhook
        assert listed.is_active
        await client.delete_webhook(listed.id)
        assert await client.list_webhooks() == []
        with pytest.raises(Gone):
            await client.delete_webhook(listed.id)

    @in_virtual_time
    async def test_changing_one_thing_leaves_the_others(self, client: HuddleClient) -> None:
        made = (await client.create_webhook(HOOK, ["deployment.running"])).webhook
        paused = await client.update_webhook(made.id, is_active=False)
        assert (paused.url, paused.events, paused.is_active) == (made.url, made.events, False)
        changed = await client.update_webhook(made.id, events=["deployment.error"])
        assert (changed.events, changed.is_active) == (("deployment.error",), False)
        with pytest.raises(Gone):
            await client.update_webhook("no-such", is_active=True)

    @in_virtual_time
    async def test_every_event_we_name_is_one_of_huddles(self, client: HuddleClient) -> None:
        made = await client.create_webhook(HOOK, client.webhook_events)
        assert made.webhook.events == client.webhook_events
        with pytest.raises(Rejected):
            await client.create_webhook(HOOK, ["deployment.exploded"])


class TestApiKeys:
    @in_virtual_time
    async def test_a_new_key_works_until_it_is_revoked(
        self, client: HuddleClient, connect: Callable[..., HuddleClient]
    ) -> None:
        made = await client.create_api_key("batch-runner")
        assert made.secret not in repr(made)
        second = connect(made.secret)
        assert (await second.check_key()).ok
        await client.revoke_api_key(made.api_key.id)
        with pytest.raises(AuthError):
            await second.check_key()
        assert made.api_key.id not in {key.id for key in await client.list_api_keys()}
        with pytest.raises(Gone):
            await client.revoke_api_key(made.api_key.id)

    @in_virtual_time
    async def test_the_list_tells_which_key_is_in_use(self, client: HuddleClient) -> None:
        made = await client.create_api_key("batch-runner")
        own = {key.id: key.is_own for key in await client.list_api_keys()}
        assert own.pop(made.api_key.id) is False
        assert list(own.values()) == [True]

    @in_virtual_time
    async def test_a_lost_answer_says_that_a_key_may_exist(self, world: World, client: HuddleClient) -> None:
        world.faults.set(lost_reply={"count": 1, "operation": "create_api_key"})
        with pytest.raises(ProviderError) as caught:
            await client.create_api_key("batch-runner")
        assert caught.value.may_exist
        assert "batch-runner" in {key.name for key in await client.list_api_keys()}
