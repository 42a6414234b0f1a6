"""The Lambda client against the simulator: what every provider must keep to, and the traps that are Lambda's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_stage import FINGERPRINT, OTHER_PUBLIC_KEY, OUR_NAME, failure_of
from contract_stage import KEY, FaultyWire, Rig, answer, available, order, until_state
from http_contract import HttpContract

from gputui.model.errors import AuthError, Conflict, Gone, NoCapacity, RateLimited, Rejected, Transient, Unreachable
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Stock
from gputui.providers.lambda_.client import LambdaClient
from gputui.providers.registry import ClientContext
from gputui.sim.lambda_ import app
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

LAUNCH = "/instance-operations/launch"


class ClockedWire(FaultyWire):
    """Also keeps when launches were sent."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        super().__init__(inner)
        self.launched_at_s: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(LAUNCH):
            self.launched_at_s.append(asyncio.get_running_loop().time())
        return await super().handle_async_request(request)


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=7)


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Rig:
    return Rig(
        "lambda",
        tmp_path,
        missing_id="0" * 32,
        wire=ClockedWire(asgi_transport(app.build(world))),
        url=f"https://lambda.test{app.API_PATH}",
        key=KEY,
        settle_s=1800,
        world=world,
    )


@pytest.fixture
def client(rig: Rig) -> Any:
    return rig.client()


class TestLambda(HttpContract):
    CREATE = LAUNCH
    LIST = "/instances"
    TERMINATE_METHOD, TERMINATE = "POST", "/instance-operations/terminate"
    TELLS_CREATION = False

    @in_virtual_time
    async def test_offer_ids_are_stable(self, rig: Rig) -> None:
        """Regions come and go with their capacity; what stays keeps its meaning, and no type is ever dropped."""
        first = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        await asyncio.sleep(7200)
        later = {offer.id: offer.native for offer in await rig.client().fetch_offers()}
        assert {offer_id.split(":")[1] for offer_id in later} == {offer_id.split(":")[1] for offer_id in first}
        assert all(later[offer_id] == first[offer_id] for offer_id in first.keys() & later.keys())


class TestMarket:
    @in_virtual_time
    async def test_every_card_is_known_and_no_cpu_type_is_offered(self, client: Any) -> None:
        offers = await client.fetch_offers()
        assert not any("cpu" in offer.id for offer in offers)
        assert all(offer.vram_gib and offer.vcpus and offer.ram_gib and offer.disk_gib for offer in offers)
        arm = {offer.gpu for offer in offers if offer.native["architecture"] == "arm64"}
        assert arm == {"GH200"}

    @in_virtual_time
    async def test_a_market_without_undocumented_fields_is_the_same_but_for_them(
        self, world: World, client: Any
    ) -> None:
        expected = [replace(offer, native={}, fetched_at_ms=0) for offer in await client.fetch_offers()]
        world.faults.set(undocumented_fields=False)
        bare = await client.fetch_offers()
        assert [replace(offer, native={}, fetched_at_ms=0) for offer in bare] == expected
        assert {offer.native["architecture"] for offer in bare} == {None}

    @in_virtual_time
    async def test_a_sold_out_type_stays_in_sight(self, world: World, client: Any) -> None:
        types = {offer.native["instance_type_name"] for offer in await client.fetch_offers()}
        world.faults.set(market_churn=1.0)
        offers = await client.fetch_offers()
        assert {offer.native["instance_type_name"] for offer in offers} == types
        assert [offer.region for offer in offers if offer.stock is Stock.NONE]

    @in_virtual_time
    async def test_images_fit_the_processor(self, client: Any) -> None:
        offers = await client.fetch_offers()
        arm = next(offer for offer in offers if offer.native["architecture"] == "arm64")
        x86 = next(offer for offer in offers if offer.native["architecture"] == "x86_64" and offer.region)
        for offer in (arm, x86):
            images = await client.list_os_images(offer)
            assert images[0].is_default
            assert images[0].value.startswith("lambda-stack-")

    @in_virtual_time
    async def test_the_workspace_is_told_by_a_key(self, client: Any) -> None:
        assert (await client.check_key()).identity is None
        await client.add_ssh_key("desk", OTHER_PUBLIC_KEY)
        assert (await client.check_key()).identity.startswith("workspace ")


class TestOrders:
    @in_virtual_time
    async def test_launches_side_by_side_keep_their_distance(self, rig: Rig) -> None:
        clients = [rig.client(), rig.client()]
        requests = [await order(clients[0], f"gputui-t-{number}", number) for number in range(4)]
        calls = [clients[number % 2].create(request) for number, request in enumerate(requests)]
        made = await asyncio.gather(*calls)
        assert len({machine.id for machine in made}) == 4
        assert all(later - earlier >= 12 for earlier, later in pairwise(rig.wire.launched_at_s))

    @in_virtual_time
    async def test_our_key_is_registered_once(self, client: Any) -> None:
        requests = [await order(client, f"gputui-t-{number}", number) for number in range(3)]
        await asyncio.gather(*map(client.create, requests))
        keys = await client.list_ssh_keys()
        assert [(key.name, key.fingerprint) for key in keys] == [(OUR_NAME, FINGERPRINT)]

    @in_virtual_time
    async def test_a_twin_of_our_keys_name_is_gone_around(self, world: World, client: Any) -> None:
        await client.create(await order(client, "gputui-t-1"))
        world.faults.set(key_name_race={"count": 1})
        await client.add_ssh_key(OUR_NAME, OTHER_PUBLIC_KEY)
        await client.create(await order(client, "gputui-t-2"))
        assert sorted(key.name for key in await client.list_ssh_keys()) == [OUR_NAME, OUR_NAME, f"{OUR_NAME}-2"]

    @in_virtual_time
    async def test_a_taken_key_name_is_refused(self, client: Any) -> None:
        await client.add_ssh_key("desk", OTHER_PUBLIC_KEY)
        assert isinstance(await failure_of(client.add_ssh_key("desk", OTHER_PUBLIC_KEY)), Rejected)

    @in_virtual_time
    async def test_every_family_on_offer_can_be_ordered(self, rig: Rig, client: Any) -> None:
        request = await order(client)
        for image in await client.list_os_images(request.offer):
            label = f"gputui-{image.value}"
            made = await client.create(replace(request, label=label, os_image=image.value))
            assert made.label == label
            await client.terminate(made.id, idempotency_key="t")
            await asyncio.sleep(rig.settle_s)

    @in_virtual_time
    async def test_no_capacity_though_listed(self, world: World, client: Any) -> None:
        request = await order(client)
        world.faults.set(no_capacity={"count": 1})
        error = await failure_of(client.create(request))
        assert type(error) is NoCapacity
        assert error.may_exist is False
        assert error.request_id
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_the_longest_label_fits(self, client: Any) -> None:
        label = "gputui-" + "p" * 30 + "-" + "0" * 26
        assert len(label) == 64
        made = await client.create(replace(await order(client), label=label))
        assert (await client.get(made.id)).label == label

    @in_virtual_time
    async def test_a_quota_speaks_of_the_account(self, world: World, client: Any) -> None:
        world.faults.set(instance_quota=1)
        await client.create(await order(client, "gputui-t-1"))
        error = await failure_of(client.create(await order(client, "gputui-t-2")))
        assert type(error) is Rejected
        assert (error.field, error.may_exist) == ("quota", False)

    @pytest.mark.parametrize(
        ("knob", "kind"),
        [("account_inactive", AuthError), ("invalid_address", Rejected), ("provider_unavailable", Transient)],
    )
    @in_virtual_time
    async def test_accounts_in_trouble(self, world: World, client: Any, knob: str, kind: type[Exception]) -> None:
        request = await order(client)
        world.faults.set(**{knob: True})
        error = await failure_of(client.create(request))
        assert type(error) is kind
        world.faults.set(**{knob: None})
        assert await client.list_machines() == []

    @pytest.mark.parametrize("status", ["400", "404"])
    @in_virtual_time
    async def test_a_type_that_is_no_more_is_refused_not_gone(self, world: World, client: Any, status: str) -> None:
        world.faults.set(launch_missing_status=status)
        request = await order(client)
        native = {**request.offer.native, "instance_type_name": "gpu_9x_nothing"}
        error = await failure_of(client.create(replace(request, offer=replace(request.offer, native=native))))
        assert type(error) is Rejected

    @in_virtual_time
    async def test_the_machines_own_price_shows_a_surprise(self, world: World, client: Any) -> None:
        world.faults.set(price_surprise={"count": 1}, price_surprise_factor=2)
        request = await order(client)
        made = await client.create(request)
        assert made.price_micro_usd_per_hour is None
        seen = await client.get(made.id)
        assert seen.price_micro_usd_per_hour == 2 * request.offer.price_micro_usd_per_hour


class TestMachines:
    @pytest.mark.parametrize("form", ["absent", "null"])
    @in_virtual_time
    async def test_no_address_early_in_boot(self, world: World, client: Any, form: str) -> None:
        world.faults.set(unset_shows=form)
        made = await client.create(await order(client))
        booting = await client.get(made.id)
        assert (booting.state, booting.raw_state, booting.ip) == (MachineState.PENDING, "booting", None)
        running = await until_state(client, made.id, MachineState.RUNNING, 1800)
        assert running.ip
        assert running.ssh_user == "ubuntu"

    @in_virtual_time
    async def test_unhealthy_is_alive_and_never_taken_for_running(self, world: World, client: Any) -> None:
        world.faults.set(unhealthy_from_boot={"count": 1})
        made = await client.create(await order(client))
        for _ in range(60):
            await asyncio.sleep(30)
            machine = await client.get(made.id)
            assert machine.state in (MachineState.PENDING, MachineState.UNKNOWN)
        assert machine.raw_state == "unhealthy"
        assert [found.id for found in await client.list_machines()] == [made.id]
        await client.terminate(made.id, idempotency_key="t")
        await asyncio.sleep(600)
        assert await client.list_machines() == []

    @pytest.mark.parametrize("is_listed", [False, True])
    @in_virtual_time
    async def test_an_ended_machine_reads_as_gone_and_then_as_missing(
        self, world: World, client: Any, is_listed: bool
    ) -> None:
        world.faults.set(terminated_listed=is_listed, terminated_readable_s=300)
        made = await client.create(await order(client))
        await client.terminate(made.id, idempotency_key="t")
        await until_state(client, made.id, MachineState.GONE, 120)
        assert await client.list_machines() == []
        await asyncio.sleep(400)
        assert isinstance(await failure_of(client.get(made.id)), Gone)

    @in_virtual_time
    async def test_a_status_nobody_knows(self, world: World, client: Any) -> None:
        made = await client.create(await order(client))
        world.faults.set(unknown_state=True, unknown_state_word=["levitating"])
        machine = await client.get(made.id)
        assert (machine.state, machine.raw_state) == (MachineState.UNKNOWN, "levitating")
        assert [found.id for found in await client.list_machines()] == [made.id]

    @in_virtual_time
    async def test_what_the_edge_says_is_not_about_the_key(self, world: World, rig: Rig) -> None:
        client = rig.client()
        world.faults.set(block_default_user_agents=True)
        assert (await client.check_key()).ok
        rig.wire.always("GET", "/ssh-keys", answer(403, text="error code: 1010"))
        assert isinstance(await failure_of(client.check_key()), Transient)

    @pytest.mark.parametrize("body", ["text", "html"])
    @in_virtual_time
    async def test_over_the_launch_limit_without_our_pacing(
        self, world: World, rig: Rig, tmp_path: Path, body: str
    ) -> None:
        """Another tool on the same account has just launched something."""
        world.faults.set(rate_limit_body=body)
        other = LambdaClient(
            ClientContext(VirtualClock(), tmp_path / "other", api_key=KEY, url=rig.url, transport=rig.wire)
        )
        await other.create(await order(other, "theirs"))
        error = await failure_of(rig.client().create(await order(rig.client())))
        assert isinstance(error, RateLimited)
        assert error.may_exist is False
        assert error.retry_after_s == 12
        assert [machine.label for machine in await rig.client().list_machines()] == ["theirs"]


class TestFileSystems:
    @in_virtual_time
    async def test_life(self, world: World, rig: Rig) -> None:
        world.faults.set(filesystem_used_gib=3.5, filesystem_usage_lag_s=60)
        client = rig.client()
        region = (await available(client)).region
        made = await client.create_volume("datasets", size_gib=None, region=region, kind=None)
        assert (made.name, made.region, made.size_gib, made.used_gib) == ("datasets", region, None, None)
        await asyncio.sleep(100)
        (listed,) = await client.list_volumes()
        assert (listed.id, listed.raw_state, listed.used_gib, listed.attached_to) == (made.id, "unused", 3.5, ())
        assert listed.created_at_ms is not None
        await client.delete_volume(made.id)
        assert await client.list_volumes() == []
        assert isinstance(await failure_of(client.delete_volume(made.id)), Gone)

    @in_virtual_time
    async def test_a_name_twice_and_a_quota_are_refused(self, world: World, client: Any) -> None:
        region = (await available(client)).region
        world.faults.set(filesystem_quota=2)
        for name in ("one", "two"):
            await client.create_volume(name, size_gib=None, region=region, kind=None)
        for name in ("one", "three"):
            error = await failure_of(client.create_volume(name, size_gib=None, region=region, kind=None))
            assert (type(error), error.may_exist) == (Rejected, False)

    @in_virtual_time
    async def test_one_in_use_names_its_machine_and_stays(self, rig: Rig, client: Any) -> None:
        request = await order(client)
        volume = await client.create_volume("datasets", size_gib=None, region=request.offer.region, kind=None)
        machine_id = await launch_with(rig, request, volume.name)
        (listed,) = await client.list_volumes()
        assert (listed.raw_state, listed.attached_to) == ("in use", (machine_id,))
        assert isinstance(await failure_of(client.delete_volume(volume.id)), Conflict)
        await client.terminate(machine_id, idempotency_key="t")
        await asyncio.sleep(600)
        await client.delete_volume(volume.id)

    @in_virtual_time
    async def test_a_lost_answer_may_have_made_one(self, world: World, client: Any) -> None:
        region = (await available(client)).region
        world.faults.set(lost_reply={"count": 1})
        error = await failure_of(client.create_volume("datasets", size_gib=None, region=region, kind=None))
        assert (type(error), error.may_exist) == (Unreachable, True)
        assert [volume.name for volume in await client.list_volumes()] == ["datasets"]


async def launch_with(rig: Rig, request: CreateRequest, filesystem: str) -> str:
    """Launch a machine that mounts a file system, as a person would by the console."""
    await rig.client().add_ssh_key("person", OTHER_PUBLIC_KEY)
    body = {
        "region_name": request.offer.region,
        "instance_type_name": request.offer.native["instance_type_name"],
        "ssh_key_names": ["person"],
        "file_system_names": [filesystem],
        "name": "theirs",
    }
    async with httpx.AsyncClient(transport=rig.wire, headers={"Authorization": f"Bearer {KEY}"}) as person:
        reply: Awaitable[httpx.Response] = person.post(f"{rig.url}{LAUNCH}", json=body)
        machine_id: str = (await reply).json()["data"]["instance_ids"][0]
    return machine_id
