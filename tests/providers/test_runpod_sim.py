"""The RunPod client against the simulator: what every provider must keep to, and the traps that are RunPod's own."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from client_stage import OTHER_PUBLIC_KEY, PUBLIC_KEY, failure_of
from contract_stage import KEY, FaultyWire, Rig, available, order, until_reachable, until_state
from http_contract import HttpContract

from gputui.core.runner.container import script
from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    NoCapacity,
    NotFunded,
    NotSupported,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Stock, Tier
from gputui.model.units import usd_to_micro
from gputui.providers.registry import ClientContext
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.runpod import app
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World

IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
NONCE = "0123456789abcdef"
# The container disk that every pod gets, at the price of RunPod's documentation.
DISK_MICRO_USD_PER_HOUR = usd_to_micro(Decimal(50) / 10 / 730)


class ImageClient(RunPodClient):
    """Names an image where the contract, which knows of none, names none."""

    async def create(self, request: CreateRequest) -> Machine:
        return await super().create(replace(request, image=request.image or IMAGE))


class RunPodRig(Rig):
    """One account at the simulated RunPod."""

    def client(self, *, key: str | None = None) -> Any:
        """Return a new client on the account, with nothing in memory."""
        api_key = self.key if key is None else key
        return ImageClient(
            ClientContext(VirtualClock(), self.state_dir, api_key=api_key, url=self.url, transport=self.wire)
        )


@pytest.fixture
def world() -> World:
    return World(VirtualClock(), seed=7)


@pytest.fixture
def rig(world: World, tmp_path: Path) -> RunPodRig:
    return RunPodRig(
        "runpod",
        tmp_path,
        missing_id="0" * 14,
        wire=FaultyWire(asgi_transport(app.build(world))),
        url=f"https://runpod.test{app.API_PATH}",
        key=KEY,
        settle_s=1800,
        world=world,
    )


@pytest.fixture
def client(rig: RunPodRig) -> Any:
    return rig.client()


class TestRunPod(HttpContract):
    CREATE = "/v2/pods"
    LIST = "/v2/pods"
    TERMINATE_METHOD, TERMINATE = "DELETE", "/v2/pods/"

    def price_of(self, request: CreateRequest) -> int:
        return request.offer.price_micro_usd_per_hour + DISK_MICRO_USD_PER_HOUR


async def job(client: Any, label: str = "gputui-t-job", **env: str) -> CreateRequest:
    request = await order(client, label)
    variables = {
        "GPUTUI_NONCE": NONCE,
        "GPUTUI_COMMAND": "python train.py",
        "GPUTUI_MAX_DURATION_S": "",
        "GPUTUI_GRACE_S": "10",
    }
    return replace(request, image="acme/train:3", argv=("sh", "-c", script()), env={**variables, **env})


async def follow(client: Any, machine_id: str, until: str) -> list[str]:
    """Read a log page by page until a line begins with some words."""
    lines: list[str] = []
    cursor = None
    for _ in range(200):
        page = await client.read_log(machine_id, after=cursor, wait_s=20)
        lines += page.lines
        cursor = page.cursor
        if any(line.startswith(until) for line in page.lines):
            return lines
        await asyncio.sleep(1)
    raise AssertionError(f"{until!r} never came: {lines[-3:]}")


class TestMarket:
    @in_virtual_time
    async def test_both_clouds_several_counts_and_no_sentinel(self, client: Any) -> None:
        offers = await client.fetch_offers()
        assert {offer.tier for offer in offers} == {Tier.SECURE, Tier.COMMUNITY}
        assert {1, 2, 8} <= {offer.gpu_count for offer in offers} <= {1, 2, 4, 8}
        assert "unknown" not in {offer.native["gpu_id"] for offer in offers}
        assert all(offer.vram_gib for offer in offers)
        singles = {
            offer.native["gpu_id"]: offer for offer in offers if offer.gpu_count == 1 and offer.tier is Tier.SECURE
        }
        for offer in offers:
            if offer.tier is Tier.SECURE and offer.native["gpu_id"] in singles:
                single = singles[offer.native["gpu_id"]]
                assert offer.price_micro_usd_per_hour == single.price_micro_usd_per_hour * offer.gpu_count

    @in_virtual_time
    async def test_community_hosts_in_no_data_centre(self, world: World, client: Any) -> None:
        world.faults.set(runpod_placeless_community=True)
        offers = [offer for offer in await client.fetch_offers() if offer.tier is Tier.COMMUNITY]
        assert {offer.region for offer in offers} == {None}
        offer = next(offer for offer in offers if offer.stock in (Stock.HIGH, Stock.LOW))
        request = replace(await job(client), offer=offer)
        assert (await client.create(request)).label == request.label

    @in_virtual_time
    async def test_lists_in_pages(self, world: World, client: Any) -> None:
        world.faults.set(runpod_api="september")
        made = [await client.create(await job(client, f"gputui-t-{number}")) for number in range(3)]
        assert {machine.id for machine in await client.list_machines()} == {machine.id for machine in made}


class TestOrders:
    @in_virtual_time
    async def test_no_capacity_is_told_from_a_broken_rule(self, world: World, client: Any) -> None:
        request = await job(client)
        world.faults.set(no_capacity={"count": 1})
        error = await failure_of(client.create(request))
        assert (type(error), error.status, error.may_exist) == (NoCapacity, 400, False)
        missing = replace(request.offer, native={**request.offer.native, "gpu_id": ""})
        error = await failure_of(client.create(replace(request, offer=missing)))
        assert isinstance(error, Rejected | NoCapacity)
        assert error.may_exist is False
        assert await client.list_machines() == []

    @in_virtual_time
    async def test_too_little_credit(self, world: World, client: Any) -> None:
        request = await job(client)
        await client.list_machines()
        account = world.account("runpod", KEY)
        assert account is not None
        world.add_credit(account, "-99.95")
        error = await failure_of(client.create(request))
        assert (type(error), error.status, error.may_exist) == (NotFunded, 402, False)

    @in_virtual_time
    async def test_the_spending_limit(self, world: World, client: Any) -> None:
        world.faults.set(runpod_spend_limit_usd=0.05)
        error = await failure_of(client.create(await job(client)))
        assert (type(error), error.may_exist) == (NotFunded, False)

    @in_virtual_time
    async def test_a_request_too_large(self, client: Any) -> None:
        error = await failure_of(client.create(await job(client, GPUTUI_COMMAND="x" * 110_000)))
        assert isinstance(error, Rejected)
        assert (error.field, error.may_exist) == ("command", False)

    @in_virtual_time
    async def test_a_machine_is_given_our_key_and_the_others_stay(self, client: Any) -> None:
        await client.add_ssh_key("desk", OTHER_PUBLIC_KEY)
        for number in range(2):
            await client.create(await order(client, f"gputui-t-{number}"))
        assert [key.name for key in await client.list_ssh_keys()] == ["desk", "gputui"]

    @in_virtual_time
    async def test_a_job_has_no_way_in_and_needs_no_key(self, client: Any) -> None:
        made = await client.create(await job(client))
        running = await until_state(client, made.id, MachineState.RUNNING, 600)
        assert running.ip is None
        assert await client.list_ssh_keys() == []

    @in_virtual_time
    async def test_keys_that_may_not(self, world: World, client: Any) -> None:
        request = await job(client)
        world.faults.set(runpod_key_scope="read_only")
        assert (await client.check_key()).ok
        error = await failure_of(client.create(request))
        assert (type(error), error.may_exist) == (AuthError, False)
        world.faults.set(runpod_key_scope="none")
        assert isinstance(await failure_of(client.check_key()), AuthError)


class TestPods:
    @pytest.mark.parametrize("shows", ["null", "empty"])
    @in_virtual_time
    async def test_running_without_a_container_is_pending(self, world: World, client: Any, shows: str) -> None:
        world.faults.set(runpod_container_after_s=120, runpod_no_runtime_shows=shows)
        made = await client.create(await job(client))
        seen = set()
        for _ in range(20):
            machine = await client.get(made.id)
            seen.add((machine.raw_state, machine.state))
            await asyncio.sleep(1)
        assert ("RUNNING", MachineState.PENDING) in seen
        assert ("RUNNING", MachineState.RUNNING) not in seen
        await until_state(client, made.id, MachineState.RUNNING, 300)

    @in_virtual_time
    async def test_a_port_that_never_comes(self, world: World, client: Any) -> None:
        world.faults.set(runpod_no_public_port={"count": 1})
        made = await client.create(await order(client))
        running = await until_state(client, made.id, MachineState.RUNNING, 600)
        await asyncio.sleep(300)
        assert (running.ip, (await client.get(made.id)).ip) == (None, None)

    @in_virtual_time
    async def test_a_terminated_pod_that_can_still_be_read(self, world: World, client: Any) -> None:
        world.faults.set(runpod_terminated_readable_s=300)
        made = await client.create(await job(client))
        await client.terminate(made.id, idempotency_key="t")
        await until_state(client, made.id, MachineState.GONE, 60)
        assert await client.list_machines() == []
        await asyncio.sleep(400)
        assert isinstance(await failure_of(client.get(made.id)), Gone)

    @in_virtual_time
    async def test_many_watchers_stay_within_the_quota(self, client: Any) -> None:
        made = [await client.create(await job(client, f"gputui-t-{number}")) for number in range(6)]

        async def watch(machine_id: str) -> None:
            for _ in range(60):
                await client.get(machine_id)
                await asyncio.sleep(5)

        await asyncio.gather(*(watch(machine.id) for machine in made))

    @in_virtual_time
    async def test_another_tool_uses_the_quota_up(self, world: World, rig: RunPodRig, tmp_path: Path) -> None:
        world.faults.set(runpod_per_minute=5)
        other = RunPodClient(
            ClientContext(VirtualClock(), tmp_path / "other", api_key=KEY, url=rig.url, transport=rig.wire)
        )
        for _ in range(5):
            await other.list_machines()
        error = await failure_of(rig.client().terminate("x" * 14, idempotency_key="t"))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s is not None
        assert 0 < error.retry_after_s <= 60
        assert isinstance(await failure_of(rig.client().terminate("x" * 14, idempotency_key="t")), Gone)


class TestStopAndStart:
    @in_virtual_time
    async def test_a_machine_is_switched_off_and_on(self, client: Any) -> None:
        made = await client.create(await order(client))
        before = await until_reachable(client, made.id, 600)
        await client.stop_machine(made.id)
        off = await until_state(client, made.id, MachineState.STOPPED, 60)
        assert off.ip is None
        assert off.price_micro_usd_per_hour is not None
        assert 0 < off.price_micro_usd_per_hour < before.price_micro_usd_per_hour / 10
        assert isinstance(await failure_of(client.stop_machine(made.id)), Conflict)
        await client.start_machine(made.id)
        await until_state(client, made.id, MachineState.RUNNING, 600)
        assert (await until_reachable(client, made.id, 600)).ssh_port != before.ssh_port

    @in_virtual_time
    async def test_a_jobs_pod_has_nothing_to_keep(self, client: Any) -> None:
        made = await client.create(await job(client))
        await until_state(client, made.id, MachineState.RUNNING, 600)
        assert isinstance(await failure_of(client.stop_machine(made.id)), NotSupported)
        assert (await client.get(made.id)).state is MachineState.RUNNING

    @pytest.mark.parametrize("status", ["400", "409"])
    @in_virtual_time
    async def test_the_gpus_went_to_someone_else(self, world: World, client: Any, status: str) -> None:
        world.faults.set(runpod_start_refused={"count": 1}, runpod_refused_start_status=status)
        made = await client.create(await order(client))
        await until_reachable(client, made.id, 600)
        await client.stop_machine(made.id)
        assert isinstance(await failure_of(client.start_machine(made.id)), NoCapacity)


class TestLog:
    @in_virtual_time
    async def test_a_job_from_its_begin_to_its_end(self, client: Any) -> None:
        made = await client.create(await job(client, MOCK_DURATION_S="90", MOCK_EXIT_CODE="3"))
        await until_state(client, made.id, MachineState.RUNNING, 600)
        lines = await follow(client, made.id, "gputui-end")
        assert lines[0] == f"gputui-begin {NONCE}"
        assert lines[-1] == f"gputui-end {NONCE} code=3 reason=exited"
        assert len(lines) > 5
        assert (await client.get(made.id)).state is MachineState.RUNNING

    @pytest.mark.parametrize(
        "knobs",
        [
            {"runpod_log_duplicates": 0.5},
            {"runpod_log_id_frames": 0.5},
            {"runpod_log_numbers": "per_second"},
            {"runpod_log_cut": True, "runpod_log_cut_after_s": 3},
            {"runpod_log_cut": True, "runpod_log_cut_after_s": 0},
            {"runpod_log_stalls": True},
            {"runpod_log_stalls": True, "runpod_stalled_keepalives": False},
            {"runpod_log_stalls": True, "runpod_log_stalls_after_s": 4},
        ],
        ids=lambda knobs: " ".join(f"{name.removeprefix('runpod_')}={value}" for name, value in knobs.items()),
    )
    @in_virtual_time
    async def test_each_line_once_whatever_happens_to_the_stream(
        self, world: World, client: Any, knobs: dict[str, Any]
    ) -> None:
        made = await client.create(await job(client, MOCK_DURATION_S="120"))
        await until_state(client, made.id, MachineState.RUNNING, 600)
        world.faults.set(**knobs)
        lines: list[str] = []
        cursor = None
        for _ in range(60):
            try:
                page = await client.read_log(made.id, after=cursor, wait_s=20)
            except Unreachable:
                continue
            lines, cursor = lines + list(page.lines), page.cursor
            if any(line.startswith("gputui-end") for line in page.lines):
                break
            await asyncio.sleep(1)
        world.faults.reset()
        again = await client.read_log(made.id, after=None, wait_s=20)
        assert lines == list(again.lines[: len(lines)])
        assert lines[0] == f"gputui-begin {NONCE}"
        assert lines[-1].startswith("gputui-end")

    @in_virtual_time
    async def test_a_long_log_is_read_from_its_first_line(self, client: Any) -> None:
        made = await client.create(await job(client, MOCK_DURATION_S="3000"))
        await until_state(client, made.id, MachineState.RUNNING, 600)
        await asyncio.sleep(3100)
        lines = await follow(client, made.id, "gputui-end")
        assert lines[0] == f"gputui-begin {NONCE}"
        assert len(lines) > 100

    @in_virtual_time
    async def test_a_pod_that_is_gone(self, client: Any) -> None:
        made = await client.create(await job(client))
        await client.terminate(made.id, idempotency_key="t")
        await asyncio.sleep(60)
        assert isinstance(await failure_of(client.read_log(made.id, after=None, wait_s=20)), Gone)


class TestAccount:
    @pytest.mark.parametrize("answer", ["410", "404"])
    @in_virtual_time
    async def test_the_balance_when_the_older_api_is_gone(self, world: World, client: Any, answer: str) -> None:
        assert (await client.fetch_balance()).balance_micro_usd == 100_000_000
        world.faults.set(runpod_graphql=answer)
        assert (await client.fetch_balance()).balance_micro_usd is None

    @in_virtual_time
    async def test_the_balance_is_not_for_every_key(self, world: World, client: Any) -> None:
        world.faults.set(runpod_key_scope="no_graphql")
        assert (await client.fetch_balance()).balance_micro_usd is None
        assert (await client.check_key()).ok

    @in_virtual_time
    async def test_the_bill_names_pods_and_the_rest(self, world: World, client: Any) -> None:
        began_ms = VirtualClock().now_ms()
        for region in await client.list_regions():
            with contextlib.suppress(Rejected):  # not every data centre has volumes
                await client.create_volume("data", size_gib=100, region=region.code, kind=None)
                break
        made = await client.create(await job(client))
        running = await until_state(client, made.id, MachineState.RUNNING, 600)
        await asyncio.sleep(7200)
        await client.terminate(made.id, idempotency_key="t")
        await asyncio.sleep(2 * 86_400)
        charges = await client.fetch_charges(since_ms=began_ms, until_ms=VirtualClock().now_ms())
        pods = [charge for charge in charges if charge.machine_id]
        assert {charge.machine_id for charge in pods} == {made.id}
        assert sum(charge.amount_micro_usd for charge in pods) == pytest.approx(
            2 * running.price_micro_usd_per_hour, rel=0.05
        )
        assert sum(charge.amount_micro_usd for charge in charges if charge.machine_id is None) > 0

    @in_virtual_time
    async def test_keys_side_by_side(self, rig: RunPodRig) -> None:
        one, two = rig.client(), rig.client()
        await asyncio.gather(one.add_ssh_key("a", PUBLIC_KEY), two.add_ssh_key("b", OTHER_PUBLIC_KEY))
        assert {key.name for key in await one.list_ssh_keys()} == {"a", "b"}


class TestVolumes:
    @in_virtual_time
    async def test_life(self, client: Any) -> None:
        made = None
        for region in await client.list_regions():
            with contextlib.suppress(Rejected):  # not every data centre has them
                made = await client.create_volume("data", size_gib=50, region=region.code.lower(), kind=None)
                break
        assert made is not None
        (listed,) = await client.list_volumes()
        assert (listed.id, listed.name, listed.size_gib, listed.attached_to) == (made.id, "data", 50, ())
        await client.delete_volume(made.id)
        assert await client.list_volumes() == []
        assert isinstance(await failure_of(client.delete_volume(made.id)), Gone)

    @in_virtual_time
    async def test_a_lost_answer_may_have_made_one(self, world: World, client: Any) -> None:
        region = (await available(client)).region
        world.faults.set(server_error={"count": 1})
        error = await failure_of(client.create_volume("data", size_gib=50, region=region or "EU-RO-1", kind=None))
        assert (type(error), error.may_exist) == (Transient, True)
