"""The TensorDock client against the simulator: what every provider must keep to, and the traps that are TensorDock's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from client_stage import PUBLIC_KEY, failure_of
from contract_stage import KEY, LABEL, FaultyWire, Rig, order, until_state
from http_contract import HttpContract

from gputui.model.errors import AuthError, Conflict, Gone, NoCapacity, NotFunded, ProviderError, RateLimited
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Stock
from gputui.sim.tensordock import app, knobs
from gputui.sim.transport import asgi_transport
from gputui.sim.truth import truth_of
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

MISSING_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=7)


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Rig:
    wire = FaultyWire(asgi_transport(app.build(world, "/tensordock")))
    world.faults.set(**{knobs.STALE_LISTINGS: False})
    return Rig(
        "tensordock",
        tmp_path,
        missing_id=MISSING_ID,
        wire=wire,
        url=f"https://tensordock.test/tensordock{app.API_PATH}",
        key=KEY,
        world=world,
    )


@pytest.fixture
def client(rig: Rig) -> Any:
    return rig.client()


class TestTensorDock(HttpContract):
    CREATE = LIST = "/instances"
    TELLS_CREATION = TELLS_REGION = False
    OFFERS_NEED_KEY = False


async def machine_gone(client: Any, machine_id: str) -> None:
    await client.terminate(machine_id, idempotency_key="t")
    for _ in range(120):
        if machine_id not in {machine.id for machine in await client.list_machines()}:
            return
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} is still listed")


async def reachable(client: Any, machine_id: str) -> Machine:
    for _ in range(120):
        machine: Machine = await client.get(machine_id)
        if machine.ip:
            return machine
        await asyncio.sleep(1)
    raise AssertionError(f"{machine_id} never had an address")


class TestForms:
    @pytest.mark.parametrize("list_item", ["usual", "brief", "full"])
    @pytest.mark.parametrize("list_shape", ["array", "instances", "attributes"])
    @in_virtual_time
    async def test_every_form_of_list_names_every_machine(
        self, world: World, client: Any, list_shape: str, list_item: str
    ) -> None:
        made = [await client.create(await order(client, f"{LABEL}-{number}", number)) for number in (0, 1)]
        world.faults.set(**{knobs.LIST_SHAPE: list_shape, knobs.LIST_ITEM: list_item})
        listed = await client.list_machines()
        assert {(machine.id, machine.label) for machine in listed} == {(one.id, one.label) for one in made}

    @pytest.mark.parametrize("single_shape", ["bare", "data", "attributes"])
    @pytest.mark.parametrize("gpu_key", ["display", "model"])
    @pytest.mark.parametrize("status_case", ["lower", "camel"])
    @in_virtual_time
    async def test_every_form_of_machine_says_the_same(
        self, world: World, client: Any, single_shape: str, gpu_key: str, status_case: str
    ) -> None:
        world.faults.set(**{knobs.SINGLE_SHAPE: single_shape, knobs.GPU_KEY: gpu_key, knobs.STATUS_CASE: status_case})
        request = await order(client)
        machine = await reachable(client, (await client.create(request)).id)
        assert (machine.state, machine.label) == (MachineState.RUNNING, LABEL)
        assert (machine.gpu, machine.gpu_count) == (request.offer.gpu, request.offer.gpu_count)
        assert machine.price_micro_usd_per_hour == request.offer.price_micro_usd_per_hour

    @pytest.mark.parametrize("status", ["running", "creating"])
    @pytest.mark.parametrize("shape", ["data", "bare"])
    @pytest.mark.parametrize("code", ["200", "201"])
    @pytest.mark.parametrize("address", ["absent", "empty", "null"])
    @in_virtual_time
    async def test_every_answer_to_an_order(
        self, world: World, client: Any, status: str, shape: str, code: str, address: str
    ) -> None:
        world.faults.set(
            **{
                knobs.CREATE_STATUS: status,
                knobs.CREATE_SHAPE: shape,
                knobs.CREATE_CODE: code,
                knobs.NEW_ADDRESS_SHOWS: address,
            }
        )
        made = await client.create(await order(client))
        assert (made.raw_state, made.label, made.ip) == (status, LABEL, None)
        assert (await client.get(made.id)).ip is None
        assert (await reachable(client, made.id)).ssh_port not in (None, 0, 22)

    @pytest.mark.parametrize("shows", ["previous", "deleting"])
    @pytest.mark.parametrize("answer", ["message", "empty"])
    @in_virtual_time
    async def test_every_end(self, world: World, client: Any, shows: str, answer: str) -> None:
        world.faults.set(**{knobs.DELETING_SHOWS: shows, knobs.DELETE_ANSWER: answer})
        made = await client.create(await order(client))
        await machine_gone(client, made.id)
        assert isinstance(await failure_of(client.get(made.id)), Gone)

    @pytest.mark.parametrize("code", ["401", "403"])
    @in_virtual_time
    async def test_a_bad_token(self, world: World, rig: Rig, code: str) -> None:
        world.faults.set(**{knobs.BAD_TOKEN_CODE: code})
        assert type(await failure_of(rig.client(key="fake-dead").check_key())) is AuthError


class TestMarket:
    @in_virtual_time
    async def test_sizes_are_such_that_the_provider_takes_them(self, world: World, client: Any) -> None:
        """Every listed machine can be ordered as it is described, one at a time, with sizes checked strictly."""
        world.faults.set(**{knobs.STRICT_SIZES: True})
        offers = [offer for offer in await client.fetch_offers() if offer.stock is Stock.LOW]
        assert {offer.gpu_count for offer in offers} > {1, 2}
        for offer in offers:
            request = CreateRequest(offer=offer, label=LABEL, idempotency_key="i", ssh_public_key=PUBLIC_KEY)
            made = await client.create(request)
            found = await client.get(made.id)
            assert found.price_micro_usd_per_hour == offer.price_micro_usd_per_hour
            await machine_gone(client, made.id)

    @in_virtual_time
    async def test_what_is_listed_may_not_be_there(self, world: World, client: Any) -> None:
        world.faults.set(**{knobs.STALE_LISTINGS: True})
        refused: list[NoCapacity] = []
        for offer in await client.fetch_offers():
            if offer.gpu_count == 1 and offer.stock is Stock.LOW:
                request = CreateRequest(offer=offer, label=LABEL, idempotency_key="i", ssh_public_key=PUBLIC_KEY)
                try:
                    made = await client.create(request)
                except NoCapacity as error:
                    refused.append(error)
                else:
                    await machine_gone(client, made.id)
        assert refused
        assert not any(error.may_exist for error in refused)
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_a_larger_disk_costs_what_it_costs(self, client: Any) -> None:
        request = await order(client)
        made = await client.create(CreateRequest(request.offer, LABEL, "i", PUBLIC_KEY, disk_gib=1990))
        price = (await client.get(made.id)).price_micro_usd_per_hour
        assert request.offer.disk_gib == 200
        per_gb = (price - request.offer.price_micro_usd_per_hour) / 1800
        assert 50 <= per_gb <= 75


class TestOrders:
    @pytest.mark.parametrize("in_200", [True, False])
    @in_virtual_time
    async def test_an_error_on_the_way_leaves_open_what_exists(self, world: World, client: Any, in_200: bool) -> None:
        request = await order(client)
        world.faults.set(**{knobs.DEPLOYMENT_FAILS: True, knobs.ERRORS_IN_200: in_200})
        error = await failure_of(client.create(request))
        assert error.may_exist is True
        assert error.code in ("no_capacity", "transient")

    @in_virtual_time
    async def test_too_little_money(self, world: World, client: Any) -> None:
        world.faults.set(starting_credit_usd=0.9)
        request = await order(client)
        error = await failure_of(client.create(request))
        assert type(error) is NotFunded
        assert error.may_exist is False

    @in_virtual_time
    async def test_a_forward_that_was_not_made_shows_as_no_address(self, world: World, client: Any) -> None:
        world.faults.set(**{knobs.FORWARDS_DROPPED: True})
        made = await client.create(await order(client))
        await asyncio.sleep(300)
        found = await client.get(made.id)
        assert (found.state, found.ip, found.ssh_port) == (MachineState.RUNNING, None, None)

    @in_virtual_time
    async def test_an_answer_that_takes_its_time(self, world: World, client: Any) -> None:
        request = await order(client)
        world.faults.set(**{knobs.CREATE_S: 80})
        assert (await client.create(request)).id
        assert asyncio.get_running_loop().time() >= 80

    @in_virtual_time
    async def test_one_that_stops_by_itself_says_so(self, world: World, client: Any) -> None:
        world.faults.set(**{knobs.STOPS_AFTER_CREATE: True})
        made = await client.create(await order(client))
        await until_state(client, made.id, MachineState.STOPPED, 120)


class TestStopAndStart:
    @pytest.mark.parametrize("code", ["400", "409"])
    @pytest.mark.parametrize("moves", [False, True])
    @pytest.mark.parametrize("end", ["stopped", "stoppeddisassociated"])
    @in_virtual_time
    async def test_off_and_on(self, world: World, client: Any, code: str, moves: bool, end: str) -> None:
        world.faults.set(**{knobs.WRONG_STATE_CODE: code, knobs.MOVES_ON_START: moves, knobs.STOP_END: end})
        made = await client.create(await order(client))
        before = await reachable(client, made.id)
        assert type(await failure_of(client.start_machine(made.id))) is Conflict
        await client.stop_machine(made.id)
        await asyncio.sleep(60)
        assert (await client.get(made.id)).raw_state == end
        await client.start_machine(made.id)
        await asyncio.sleep(60)
        after = await reachable(client, made.id)
        assert after.state is MachineState.RUNNING
        assert ((after.ip, after.ssh_port) == (before.ip, before.ssh_port)) is not moves

    @in_virtual_time
    async def test_what_is_missing_is_gone(self, client: Any) -> None:
        for call in (client.stop_machine(MISSING_ID), client.start_machine(MISSING_ID)):
            assert type(await failure_of(call)) is Gone


class TestLimits:
    @in_virtual_time
    async def test_two_processes_watching_many_machines_are_never_refused(self, world: World, rig: Rig) -> None:
        machine_id = (await rig.client().create(await order(rig.client()))).id

        async def watch() -> None:
            client = rig.client()
            for _ in range(120):
                await client.get(machine_id)

        await asyncio.gather(watch(), watch())
        assert asyncio.get_running_loop().time() > 120
        await rig.client().terminate(machine_id, idempotency_key="t")

    @in_virtual_time
    async def test_a_refusal_for_haste_is_no_refusal_of_the_order(self, world: World, client: Any) -> None:
        request = await order(client)
        world.faults.set(**{knobs.REQUESTS_PER_MINUTE: 1})
        await client.check_key()
        error: ProviderError = await failure_of(client.create(request))
        assert type(error) is RateLimited
        assert error.may_exist is False
        world.faults.set(**{knobs.REQUESTS_PER_MINUTE: 0})
        assert await client.list_machines() == []
        assert [machine for machine in truth_of(world)["machines"] if machine["provider"] == "tensordock"] == []
