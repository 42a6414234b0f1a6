"""The Huddle client against the simulator: what every provider must keep to, and all that Huddle's documents leave open."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client_stage import FINGERPRINT, PUBLIC_KEY, failure_of
from contract_stage import KEY, FaultyWire, Rig
from http_contract import HttpContract

from gputui.model.errors import Conflict, Gone, NoCapacity, NotFunded, Transient, Unreachable
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.huddle import paging
from gputui.providers.huddle.client import HuddleClient
from gputui.sim.serve import PROVIDER_APPS, asgi_transport, build_app
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

LABEL = "gputui-sim-01huddle"


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=11)


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Rig:
    return Rig(
        "huddle",
        tmp_path,
        missing_id="00000000-0000-4000-8000-000000000000",
        wire=FaultyWire(asgi_transport(build_app(world, ["huddle"]))),
        url=f"https://huddle.test/huddle{PROVIDER_APPS['huddle'].api_path}",
        key=KEY,
        world=world,
    )


@pytest.fixture
def client(rig: Rig) -> HuddleClient:
    made: HuddleClient = rig.client()
    return made


class TestHuddle(HttpContract):
    CREATE = "/deployments/clusters"
    LIST = "/deployments"


async def order(client: HuddleClient, number: int = 1) -> CreateRequest:
    offers = [offer for offer in await client.fetch_offers() if offer.stock is Stock.HIGH]
    cheapest = min(offers, key=lambda offer: offer.price_micro_usd_per_hour)
    label = f"{LABEL}{number}"
    return CreateRequest(offer=cheapest, label=label, idempotency_key=f"idem-{number}", ssh_public_key=PUBLIC_KEY)


async def settled(client: HuddleClient, machine_id: str, *states: MachineState) -> MachineState:
    for _ in range(900):
        state = (await client.get(machine_id)).state
        if state in states:
            return state
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} never became {states}")


def known(offers: list[Offer]) -> dict[str, tuple[Any, ...]]:
    return {offer.id: (offer.gpu, offer.gpu_count, offer.price_micro_usd_per_hour, offer.native) for offer in offers}


class TestForms:
    @pytest.mark.parametrize("flat_lists", [False, True])
    @pytest.mark.parametrize("cursor_name", ["next_cursor", "cursor"])
    @pytest.mark.parametrize("region_shape", ["objects", "strings"])
    @in_virtual_time
    async def test_every_form_of_list_says_the_same(
        self,
        world: World,
        client: HuddleClient,
        monkeypatch: pytest.MonkeyPatch,
        flat_lists: bool,
        cursor_name: str,
        region_shape: str,
    ) -> None:
        expected = known(await client.fetch_offers())
        world.faults.set(flat_lists=flat_lists, cursor_name=cursor_name, region_shape=region_shape, extra_fields=True)
        monkeypatch.setattr(paging, "PAGE_SIZE", 3)
        assert known(await client.fetch_offers()) == expected
        made = [await client.create(await order(client, number)) for number in range(1, 8)]
        assert {machine.id for machine in await client.list_machines()} == {machine.id for machine in made}

    @in_virtual_time
    async def test_offers_that_trade_places_while_they_are_read(
        self, world: World, client: HuddleClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = known(await client.fetch_offers())
        monkeypatch.setattr(paging, "PAGE_SIZE", 2)
        world.faults.set(offers_shift={"count": 3})
        assert known(await client.fetch_offers()) == expected

    @pytest.mark.parametrize("form", ["null", "empty", "absent"])
    @in_virtual_time
    async def test_no_address_before_it_runs(self, world: World, client: HuddleClient, form: str) -> None:
        world.faults.set(ip_before_running=form)
        made = await client.create(await order(client))
        assert (made.state, made.ip) == (MachineState.PENDING, None)
        await settled(client, made.id, MachineState.RUNNING)
        assert (await client.get(made.id)).ip

    @pytest.mark.parametrize("body", ["deployment", "ok", "empty"])
    @in_virtual_time
    async def test_every_answer_to_a_delete(self, world: World, client: HuddleClient, body: str) -> None:
        world.faults.set(delete_body=body)
        made = await client.create(await order(client))
        await client.terminate(made.id, idempotency_key="t")
        await asyncio.sleep(60)
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_a_status_nobody_knows(self, world: World, client: HuddleClient) -> None:
        made = await client.create(await order(client))
        world.faults.set(unknown_state=True, unknown_state_word=["levitating"])
        machine = await client.get(made.id)
        assert (machine.state, machine.raw_state) == (MachineState.UNKNOWN, "levitating")
        assert [found.id for found in await client.list_machines()] == [made.id]

    @in_virtual_time
    async def test_a_deleted_machine_reads_as_gone_and_then_as_missing(
        self, world: World, client: HuddleClient
    ) -> None:
        made = await client.create(await order(client))
        await client.terminate(made.id, idempotency_key="t")
        await settled(client, made.id, MachineState.GONE)
        world.faults.set(deleted_readable_s=0)
        assert isinstance(await failure_of(client.get(made.id)), Gone)


class TestOrders:
    @in_virtual_time
    async def test_our_key_is_registered_once(self, client: HuddleClient) -> None:
        for number in (1, 2, 3):
            await client.create(await order(client, number))
        assert [key.fingerprint for key in await client.list_ssh_keys()] == [FINGERPRINT]

    @in_virtual_time
    async def test_creates_side_by_side_register_it_once_too(self, world: World, client: HuddleClient) -> None:
        requests = [await order(client, number) for number in (1, 2, 3)]
        world.faults.set(latency_s=0.3)
        await asyncio.gather(*map(client.create, requests))
        assert [key.fingerprint for key in await client.list_ssh_keys()] == [FINGERPRINT]

    @in_virtual_time
    async def test_a_disk_as_asked(self, client: HuddleClient) -> None:
        for number, disk_gib in enumerate((50, 512), 1):
            await client.create(replace(await order(client, number), disk_gib=disk_gib))
        assert len(await client.list_machines()) == 2

    @in_virtual_time
    async def test_every_image_on_offer_can_be_ordered_by_its_value(self, client: HuddleClient) -> None:
        request = await order(client)
        images = await client.list_os_images(request.offer)
        made = await client.create(replace(request, os_image=images[0].value))
        assert made.label == request.label

    @in_virtual_time
    async def test_no_capacity(self, world: World, client: HuddleClient) -> None:
        request = await order(client)
        world.faults.set(no_capacity={"count": 1})
        error = await failure_of(client.create(request))
        assert type(error) is NoCapacity
        assert error.may_exist is False
        assert error.request_id
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_sold_out_offers_are_told_and_refused(self, client: HuddleClient) -> None:
        sold_out = [offer for offer in await client.fetch_offers() if offer.stock is Stock.NONE]
        assert sold_out
        error = await failure_of(client.create(replace(await order(client), offer=sold_out[0])))
        assert type(error) is NoCapacity

    @in_virtual_time
    async def test_capacity_lost_after_the_order_was_taken(self, world: World, client: HuddleClient) -> None:
        world.faults.set(no_capacity_after_accept={"count": 1})
        made = await client.create(await order(client))
        assert (
            await settled(client, made.id, MachineState.NO_CAPACITY, MachineState.RUNNING) is MachineState.NO_CAPACITY
        )
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_too_little_credit(self, world: World, client: HuddleClient) -> None:
        world.faults.set(starting_credit_usd=19.99)
        assert (await client.fetch_balance()).balance_micro_usd == 19_990_000
        error = await failure_of(client.create(await order(client)))
        assert type(error) is NotFunded
        assert "19.99" in str(error)

    @pytest.mark.parametrize("fault", ["lost_reply", "timeout_after", "server_error_after_commit", "truncated_json"])
    @in_virtual_time
    async def test_an_order_that_went_through_unheard_is_replayed(
        self, world: World, client: HuddleClient, fault: str
    ) -> None:
        request = await order(client)
        world.faults.set(**{fault: {"operation": "deploy", "count": 1}})
        error = await failure_of(client.create(request))
        assert error.may_exist is True
        (listed,) = await client.list_machines()
        assert listed.label == request.label
        # A 5xx is not kept for its key by the simulator, so that a re-send of it may order anew: the list decides.
        if fault != "server_error_after_commit":
            again = await client.create(replace(request, resend=True))
            assert again.id == listed.id
            assert len(await client.list_machines()) == 1

    @in_virtual_time
    async def test_a_resend_while_the_first_is_at_work_is_no_lack_of_capacity(
        self, world: World, client: HuddleClient
    ) -> None:
        request = await order(client)
        world.faults.set(deploy_s=300)
        first = await failure_of(client.create(request))
        assert (type(first), first.may_exist) == (Unreachable, True)
        second = await failure_of(client.create(replace(request, resend=True)))
        assert (type(second), second.may_exist) == (Conflict, True)
        await asyncio.sleep(400)
        third = await client.create(replace(request, resend=True))
        assert [machine.id for machine in await client.list_machines()] == [third.id]

    @in_virtual_time
    async def test_a_delete_at_work_under_the_same_key_is_a_conflict(self, world: World, client: HuddleClient) -> None:
        made = await client.create(await order(client))
        world.faults.set(idempotency_in_flight={"count": 1})
        assert type(await failure_of(client.terminate(made.id, idempotency_key="t"))) is Conflict
        await client.terminate(made.id, idempotency_key="t")

    @in_virtual_time
    async def test_a_machine_that_is_not_readable_yet(self, world: World, client: HuddleClient) -> None:
        world.faults.set(eventual_get_s=30, eventual_list_s=30)
        made = await client.create(await order(client))
        assert isinstance(await failure_of(client.get(made.id)), Gone)
        assert await client.list_machines() == []
        await asyncio.sleep(31)
        assert [machine.id for machine in await client.list_machines()] == [made.id]

    @in_virtual_time
    async def test_a_dearer_machine_tells_its_own_price(self, world: World, client: HuddleClient) -> None:
        world.faults.set(price_surprise=True, price_surprise_factor=1.5)
        request = await order(client)
        made = await client.create(request)
        listed = request.offer.price_micro_usd_per_hour
        assert made.price_micro_usd_per_hour == pytest.approx(listed * 1.5, rel=0.01)


class TestTrouble:
    @pytest.mark.parametrize(
        "fault", ["server_error", "bad_gateway", "unavailable", "rate_limited", "html_error", "cut_before"]
    )
    @in_virtual_time
    async def test_reads_recover(self, world: World, client: HuddleClient, fault: str) -> None:
        world.faults.set(**{fault: {"count": 2}})
        assert await client.fetch_offers()

    @in_virtual_time
    async def test_a_provider_that_stays_down_is_said_to_be(self, world: World, client: HuddleClient) -> None:
        world.faults.set(unavailable=True)
        assert type(await failure_of(client.fetch_offers())) is Transient

    @in_virtual_time
    async def test_a_provider_that_never_answers_has_a_deadline(self, world: World, client: HuddleClient) -> None:
        world.faults.set(timeout_before=True)
        error = await failure_of(client.list_machines())
        assert type(error) is Unreachable
        assert asyncio.get_running_loop().time() < 180
