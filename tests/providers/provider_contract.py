"""What every provider client must keep to, inherited by one class of tests per provider; `rig` is its account there."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from client_stage import PUBLIC_KEY, failure_of
from contract_stage import LABEL, Rig, order, until_reachable, until_state

from gputui.model.errors import Gone
from gputui.model.gpus import BY_NAME
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Stock
from gputui.providers.base import HasBalance, HasOsImages, HasRegions, HasSshKeys, ResendsCreate
from gputui.sim.vtime import VirtualClock, in_virtual_time


class ProviderContract:
    """Holds for every provider. `TELLS_CREATION` and `TELLS_REGION` are False where no machine says when or where.

    `IS_MARKET`: offers are single machines that come and go, and not every host says where it stands.
    """

    TELLS_CREATION = True
    TELLS_REGION = True
    IS_MARKET = False

    @in_virtual_time
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

    @in_virtual_time
    async def test_offer_ids_are_stable(self, rig: Rig) -> None:
        first = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        await asyncio.sleep(7200)
        later = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        if self.IS_MARKET:
            assert len(later.keys() & first.keys()) > 0.9 * len(first)
            first = {offer_id: first.get(offer_id, native) for offer_id, native in later.items()}
        assert later == first

    @in_virtual_time
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

    @in_virtual_time
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

    @in_virtual_time
    async def test_what_is_missing_is_gone(self, rig: Rig) -> None:
        client = rig.client()
        for call in (client.get(rig.missing_id), client.terminate(rig.missing_id, idempotency_key="t1")):
            error = await failure_of(call)
            assert isinstance(error, Gone)
            assert error.provider == rig.name

    @in_virtual_time
    async def test_a_lost_reply_is_found_by_its_label(self, rig: Rig) -> None:
        client = rig.client()
        request = await order(client)
        await self.create_and_lose_the_reply(rig, client, request)
        found = [machine for machine in await rig.client().list_machines() if machine.label == LABEL]
        assert len(found) == 1

    async def create_and_lose_the_reply(self, rig: Rig, client: Any, request: CreateRequest) -> None:
        await client.create(request)

    @in_virtual_time
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

    @in_virtual_time
    async def test_machines_of_others_are_listed_too(self, rig: Rig) -> None:
        client = rig.client()
        made = [
            await client.create(await order(client, label, number))
            for number, label in enumerate(("ours-1", "theirs-2"))
        ]
        listed = await client.list_machines()
        assert {machine.id for machine in listed} == {machine.id for machine in made}
        assert {machine.label for machine in listed} == {"ours-1", "theirs-2"}

    @in_virtual_time
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

    @in_virtual_time
    async def test_ssh_keys(self, rig: Rig) -> None:
        client = rig.client()
        if not isinstance(client, HasSshKeys):
            pytest.skip("this provider keeps no SSH keys")
        key = await client.add_ssh_key("contract", PUBLIC_KEY)
        assert [found.id for found in await client.list_ssh_keys() if found.name == "contract"] == [key.id]
        await client.delete_ssh_key(key.id)
        assert key.id not in [found.id for found in await client.list_ssh_keys()]
        assert isinstance(await failure_of(client.delete_ssh_key(key.id)), Gone)

    @in_virtual_time
    async def test_aclose(self, rig: Rig) -> None:
        await rig.client().aclose()
