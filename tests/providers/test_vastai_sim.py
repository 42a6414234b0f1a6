"""The Vast.ai client against the simulator: what every provider must keep to, and the traps that are Vast.ai's own."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client_stage import FINGERPRINT, PUBLIC_KEY, failure_of
from contract_stage import KEY, FaultyWire, Rig, order, until_state
from http_contract import HttpContract

from gputui.model.errors import AuthError, Gone, NoCapacity, NotFunded, RateLimited
from gputui.model.states import MachineState
from gputui.model.types import Machine
from gputui.providers.vastai import market
from gputui.sim.transport import asgi_transport
from gputui.sim.vastai import app
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=7)


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Rig:
    wire = FaultyWire(asgi_transport(app.build(world, "/vastai")))
    world.faults.set(offers=120)
    return Rig(
        "vastai",
        tmp_path,
        missing_id="1",
        wire=wire,
        url=f"https://vastai.test/vastai{app.API_PATH}",
        key=KEY,
        world=world,
    )


@pytest.fixture
def client(rig: Rig) -> Any:
    return rig.client()


class TestVast(HttpContract):
    CREATE_METHOD, CREATE = "PUT", "/asks/"
    LIST = "/api/v1/instances"
    IS_MARKET = True


async def running(client: Any, machine_id: str) -> Machine:
    machine: Machine = await until_state(client, machine_id, MachineState.RUNNING, 900)
    return machine


async def gone(client: Any, machine_id: str) -> None:
    await client.terminate(machine_id, idempotency_key="t")
    assert isinstance(await failure_of(client.get(machine_id)), Gone)
    assert machine_id not in {machine.id for machine in await client.list_machines()}


class TestMarket:
    @in_virtual_time
    async def test_a_small_answer_hides_no_model(self, world: World, client: Any) -> None:
        world.faults.set(offers=3000, search_cap=100_000, cap_by_limit=True)
        whole = await client.fetch_offers()
        cheapest = {offer.gpu: offer.price_micro_usd_per_hour for offer in sorted(whole, key=_dearest_first)}
        world.faults.set(search_cap=64, cap_by_limit=False)
        began_s = asyncio.get_running_loop().time()
        seen = await client.fetch_offers()
        assert asyncio.get_running_loop().time() - began_s < 12
        assert {offer.gpu: offer.price_micro_usd_per_hour for offer in sorted(seen, key=_dearest_first)} == cheapest
        assert {offer.id for offer in seen} < {offer.id for offer in whole}
        assert max(offer.gpu_count for offer in seen if offer.gpu == "H100-SXM") == 8

    @in_virtual_time
    async def test_a_market_that_fits_is_read_whole(self, world: World, client: Any) -> None:
        in_slices = {offer.id for offer in await client.fetch_offers()}
        world.faults.set(cap_by_limit=True)
        assert {offer.id for offer in await client.fetch_offers()} == in_slices

    @in_virtual_time
    async def test_searches_keep_to_the_limit(self, world: World, rig: Rig, client: Any) -> None:
        world.faults.set(offers=1500)
        for _ in range(2):
            await client.fetch_offers()
        assert 40 < rig.wire.count("POST", "/bundles/") <= 2 * market.MAX_SEARCHES  # none was refused and sent again

    @in_virtual_time
    async def test_filters_that_are_dropped_cost_only_searches(self, world: World, client: Any) -> None:
        world.faults.set(malformed_filters="dropped", unknown_filters="dropped")
        assert all(offer.native["verified"] is not False for offer in await client.fetch_offers())

    @in_virtual_time
    async def test_todays_searches_are_used_up(self, world: World, client: Any) -> None:
        made = await client.create(await order(client))
        world.faults.set(search_quota=1)
        error = await failure_of(client.fetch_offers())
        assert isinstance(error, RateLimited)
        assert 60 < (error.retry_after_s or 0) <= 86_400
        await running(client, made.id)
        await gone(client, made.id)

    @in_virtual_time
    async def test_prices_are_with_our_disk(self, client: Any) -> None:
        request = await order(client)
        small = await client.create(request)
        assert small.price_micro_usd_per_hour == request.offer.price_micro_usd_per_hour
        other = replace(await order(client, "gputui-large"), disk_gib=41)
        large = await client.create(other)
        assert large.price_micro_usd_per_hour > other.offer.price_micro_usd_per_hour


def _dearest_first(offer: Any) -> int:
    return -int(offer.price_micro_usd_per_hour)


class TestOrders:
    @in_virtual_time
    async def test_one_offer_is_one_machine(self, client: Any) -> None:
        request = await order(client)
        await client.create(request)
        error = await failure_of(client.create(replace(request, label="gputui-second")))
        assert type(error) is NoCapacity
        assert error.may_exist is False
        assert request.offer.id not in {offer.id for offer in await client.fetch_offers()}
        assert len(await client.list_machines()) == 1

    @pytest.mark.parametrize("shape", ["404", "410", "400", "200"])
    @in_virtual_time
    async def test_every_form_of_a_lost_race(self, world: World, client: Any, shape: str) -> None:
        request = await order(client)
        world.faults.set(offer_gone_as=shape, offer_race={"count": 1})
        assert type(await failure_of(client.create(request))) is NoCapacity
        assert await client.list_machines() == []
        made = await client.create(request)
        error = await failure_of(client.create(request))
        assert (type(error), error.may_exist) == (NoCapacity, False)
        assert [machine.id for machine in await client.list_machines()] == [made.id]

    @in_virtual_time
    async def test_too_little_credit(self, world: World, client: Any) -> None:
        world.faults.set(starting_credit_usd=0.5, minimum_credit_usd=1.0)
        assert type(await failure_of(client.create(await order(client)))) is NotFunded

    @pytest.mark.parametrize("no_keys", ["empty", "404"])
    @in_virtual_time
    async def test_our_key_is_registered_once_and_reaches_the_machine(
        self, world: World, rig: Rig, client: Any, no_keys: str
    ) -> None:
        world.faults.set(no_ssh_keys_as=no_keys)
        for number in range(3):
            await client.create(await order(rig.client(), f"gputui-{number}"))
        assert [key.fingerprint for key in await client.list_ssh_keys()] == [FINGERPRINT]
        assert all(PUBLIC_KEY.split()[1] in " ".join(machine.authorized_keys) for machine in _machines(world))

    @in_virtual_time
    async def test_a_team_account(self, world: World, client: Any) -> None:
        world.faults.set(team_account=True)
        await client.create(await order(client))
        assert await client.list_ssh_keys() == []
        (machine,) = _machines(world)
        assert PUBLIC_KEY.split()[1] in " ".join(machine.authorized_keys)

    @in_virtual_time
    async def test_an_image_that_no_registry_has(self, world: World, client: Any) -> None:
        world.faults.set(image_not_found={"count": 1})
        made = await client.create(replace(await order(client), image="nobody/nothing:latest"))
        machine = await until_state(client, made.id, MachineState.ERROR, 300)
        assert "not found" in machine.raw_state
        await gone(client, made.id)


class TestMachines:
    @in_virtual_time
    async def test_more_machines_than_a_page_holds(self, client: Any) -> None:
        request = await order(client)
        offers = [offer for offer in await client.fetch_offers() if offer.id != request.offer.id]
        made = [
            await client.create(replace(request, offer=offer, label=f"gputui-{number}"))
            for number, offer in enumerate(offers[:27])
        ]
        listed = await client.list_machines()
        assert {machine.id for machine in listed} == {machine.id for machine in made}
        assert {machine.label for machine in listed} == {f"gputui-{number}" for number in range(27)}

    @pytest.mark.parametrize("ports", ["empty", "null"])
    @pytest.mark.parametrize("newline", [True, False])
    @in_virtual_time
    async def test_an_address_as_soon_as_it_runs(self, world: World, client: Any, ports: str, newline: bool) -> None:
        world.faults.set(ports_unset_shows=ports, address_newline=newline)
        made = await client.create(await order(client))
        machine = await running(client, made.id)
        assert machine.ip is not None
        assert machine.ip == machine.ip.strip()
        assert 0 < (machine.ssh_port or 0) < 65_536
        assert machine.ssh_user == "root"

    @pytest.mark.parametrize("word", ["exited", "stopped"])
    @in_virtual_time
    async def test_stop_and_start(self, world: World, client: Any, word: str) -> None:
        world.faults.set(stopped_shows=word)
        made = await client.create(await order(client))
        full = (await running(client, made.id)).price_micro_usd_per_hour
        await client.stop_machine(made.id)
        stopped = await until_state(client, made.id, MachineState.STOPPED, 60)
        assert 0 < stopped.present_rate_micro_usd_per_hour < full / 2
        await client.start_machine(made.id)
        assert (await running(client, made.id)).price_micro_usd_per_hour == full

    @in_virtual_time
    async def test_a_start_that_cannot_be_had_is_called_off(self, world: World, client: Any) -> None:
        made = await client.create(await order(client))
        await running(client, made.id)
        await client.stop_machine(made.id)
        world.faults.set(start_refused={"count": 1})
        assert type(await failure_of(client.start_machine(made.id))) is NoCapacity
        await asyncio.sleep(600)
        assert (await client.get(made.id)).state is MachineState.STOPPED

    @pytest.mark.parametrize("word", ["no_such_instance", "not_found"])
    @in_virtual_time
    async def test_every_form_of_missing_is_gone(self, world: World, client: Any, word: str) -> None:
        world.faults.set(missing_instance_as=word)
        assert type(await failure_of(client.terminate("999", idempotency_key="t"))) is Gone
        assert type(await failure_of(client.get("999"))) is Gone
        assert type(await failure_of(client.stop_machine("999"))) is Gone

    @pytest.mark.parametrize("status", ["404", "401"])
    @in_virtual_time
    async def test_a_revoked_key_ends_no_machine(self, world: World, rig: Rig, status: str) -> None:
        made = await rig.client().create(await order(rig.client()))
        world.faults.set(bad_key_status=status)
        revoked = rig.client(key="fake-revoked-key")
        for call in (
            revoked.get(made.id),
            revoked.list_machines(),
            revoked.terminate(made.id, idempotency_key="t"),
            revoked.list_ssh_keys(),
            revoked.list_volumes(),
        ):
            assert type(await failure_of(call)) is AuthError
        assert (await rig.client().get(made.id)).id == made.id

    @pytest.mark.parametrize("body", ["text", "threshold", "detail", "retry_after"])
    @in_virtual_time
    async def test_every_form_of_slow_down(self, world: World, client: Any, body: str) -> None:
        made = [await client.create(await order(client, f"gputui-{number}", number)) for number in range(2)]
        world.faults.set(too_frequent_body=body, interval_scale=20)
        await client.terminate(made[0].id, idempotency_key="t")
        error = await failure_of(client.terminate(made[1].id, idempotency_key="t"))
        assert type(error) is RateLimited
        world.faults.set(interval_scale=1)
        await asyncio.sleep(60)
        await gone(client, made[1].id)


class TestAccount:
    @in_virtual_time
    async def test_who_we_are(self, client: Any) -> None:
        check = await client.check_key()
        assert check.ok
        assert check.identity
        assert KEY not in repr(check)

    @in_virtual_time
    async def test_volumes(self, client: Any) -> None:
        regions = Counter(offer.region for offer in await client.fetch_offers() if offer.region)
        region = regions.most_common(1)[0][0]
        made = await client.create_volume("data_1", size_gib=20, region=region, kind=None)
        (listed,) = await client.list_volumes()
        assert (listed.id, listed.name, listed.size_gib, listed.region) == (made.id, "data_1", 20, region)
        assert listed.price_micro_usd_per_month == pytest.approx(made.price_micro_usd_per_month, rel=0.01)
        await client.delete_volume(made.id)
        assert await client.list_volumes() == []
        assert type(await failure_of(client.delete_volume(made.id))) is Gone

    @pytest.mark.parametrize("days", ["overlapping", "beginning"])
    @in_virtual_time
    async def test_charges(self, world: World, client: Any, days: str) -> None:
        world.faults.set(charge_days=days, traffic_down_gb_per_hour=1.0)
        since_ms = VirtualClock().now_ms() - 86_400_000
        before = (await client.fetch_balance()).balance_micro_usd
        made = await client.create(await order(client))
        await running(client, made.id)
        await asyncio.sleep(3600)
        await gone(client, made.id)
        charges = await client.fetch_charges(since_ms=since_ms, until_ms=VirtualClock().now_ms() + 86_400_000)
        assert {charge.machine_id for charge in charges} == {made.id}
        total = sum(charge.amount_micro_usd for charge in charges)
        spent = before - (await client.fetch_balance()).balance_micro_usd
        assert total == pytest.approx(spent, abs=5_000)  # charges are told in thousandths of a dollar
        assert {charge.what.split(":")[0] for charge in charges} >= {"GPU", "disk", "download"}


def _machines(world: World) -> list[Any]:
    return [machine for machine in world.machines.values() if machine.provider == "vastai"]
