"""The mock cloud: keeps what every provider must, lives by the clock, is steered by a few variables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract_stage import Rig
from mock_stage import offer, request
from provider_contract import ProviderContract

from gputui.model.errors import Gone, NoCapacity, Rejected, ShellError
from gputui.model.gpus import BY_NAME
from gputui.model.states import MachineState
from gputui.model.types import Machine, Stock
from gputui.model.units import HOUR_MS
from gputui.providers import base
from gputui.providers.mock import catalogue, cloud
from gputui.providers.mock.client import MockClient
from gputui.providers.registry import ClientContext, make_client
from gputui.sim.vtime import START_MS, VirtualClock, in_virtual_time

FOLDER = ".gputui/placement-1"


@pytest.fixture
def new_client(tmp_path: Path) -> Callable[[], MockClient]:
    """Return a maker of clients on one cloud, each with nothing in memory: what another process would see."""
    return lambda: MockClient(ClientContext(VirtualClock(), tmp_path / "state"))


@pytest.fixture
def client(new_client: Callable[[], MockClient]) -> MockClient:
    return new_client()


class TestMock(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig("mock", tmp_path, missing_id="mock-000000000000", settle_s=10)


class TestMarket:
    def test_names_are_canonical_and_ids_unique(self) -> None:
        listings = catalogue.LISTINGS.values()
        assert {listing.gpu for listing in listings} <= BY_NAME.keys()
        assert len({listing.gpu for listing in listings}) >= 20
        assert {listing.stock for listing in listings} == set(Stock)

    def test_prices_drift_a_little_by_the_hour_and_only_then(self) -> None:
        for listing in catalogue.LISTINGS.values():
            prices = [catalogue.price_at(listing, START_MS + hour * HOUR_MS) for hour in range(48)]
            assert len(set(prices)) > 1
            assert all(abs(price / listing.base_micro_usd_per_hour - 1) <= 0.035 for price in prices)
            assert catalogue.price_at(listing, START_MS + HOUR_MS - 1) == prices[0]

    @in_virtual_time
    async def test_a_quote_holds_for_an_hour_and_the_agreed_price_for_good(self, client: MockClient) -> None:
        listing = next(
            found
            for found in catalogue.LISTINGS.values()
            if found.stock is Stock.HIGH
            and len({catalogue.price_at(found, START_MS + hour * HOUR_MS) for hour in range(3)}) == 3
        )
        quoted = catalogue.offer_of(listing, START_MS)
        await asyncio.sleep(3600)
        held = await client.create(request(1, offer=quoted))
        await asyncio.sleep(3600)
        late = await client.create(request(2, offer=quoted))
        assert held.price_micro_usd_per_hour == quoted.price_micro_usd_per_hour
        assert late.price_micro_usd_per_hour == catalogue.price_at(listing, START_MS + 2 * HOUR_MS)
        await asyncio.sleep(7 * 3600)
        assert (await client.get(held.id)).price_micro_usd_per_hour == quoted.price_micro_usd_per_hour

    @in_virtual_time
    async def test_sold_out_means_no_capacity(self, client: MockClient) -> None:
        sold_out = next(found for found in await client.fetch_offers() if found.stock is Stock.NONE)
        with pytest.raises(NoCapacity) as caught:
            await client.create(request(offer=sold_out))
        assert caught.value.may_exist is False
        assert await client.list_machines() == []


class TestLife:
    @in_virtual_time
    async def test_states_follow_the_clock(self, client: MockClient) -> None:
        machine = await client.create(request())
        assert (machine.state, machine.ip, machine.started_at_ms) == (MachineState.PENDING, None, None)
        await asyncio.sleep(1.999)
        assert (await client.get(machine.id)).state is MachineState.PENDING
        await asyncio.sleep(0.001)
        running = await client.get(machine.id)
        assert (running.state, running.started_at_ms) == (MachineState.RUNNING, START_MS + 2_000)
        assert running.ip is not None
        await client.terminate(machine.id, idempotency_key="t")
        assert (await client.get(machine.id)).state is MachineState.DELETING
        await client.terminate(machine.id, idempotency_key="t")
        await asyncio.sleep(1)
        assert await client.list_machines() == []
        for call in (client.get(machine.id), client.terminate(machine.id, idempotency_key="t")):
            with pytest.raises(Gone):
                await call

    @in_virtual_time
    async def test_everything_is_in_the_file(self, new_client: Callable[[], MockClient]) -> None:
        machine = await new_client().create(request())
        assert [found.label for found in await new_client().list_machines()] == ["gputui-t-0001"]
        await new_client().terminate(machine.id, idempotency_key="t")
        assert (await new_client().get(machine.id)).state is MachineState.DELETING

    @in_virtual_time
    async def test_the_same_key_makes_one_machine(self, new_client: Callable[[], MockClient]) -> None:
        first = await new_client().create(request())
        again = await new_client().create(request(resend=True))
        assert first.id == again.id
        assert len(await new_client().list_machines()) == 1

    @in_virtual_time
    async def test_boot_time_is_a_knob(self, client: MockClient) -> None:
        machine = await client.create(request(env={"MOCK_BOOT_S": "90.5"}))
        await asyncio.sleep(90)
        assert (await client.get(machine.id)).state is MachineState.PENDING
        await asyncio.sleep(0.5)
        assert (await client.get(machine.id)).state is MachineState.RUNNING

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"env": {"MOCK_BOOT_S": "soon"}}, "env"),
            ({"env": {"MOCK_BOOT_S": "-1"}}, "env"),
            ({"env": {"MOCK_BOOT_S": "nan"}}, "env"),
            ({"env": {"MOCK_NO_CAPACITY": "some"}}, "env"),
            ({"env": {"MOCK_NO_CAPACITY": "-1"}}, "env"),
            ({"label": ""}, "label"),
            ({"idempotency_key": ""}, "label"),
            ({"offer": replace(offer(), native={"listing": "mock:9x-none:mars"})}, "offer"),
            ({"offer": replace(offer(), native={})}, "offer"),
        ],
    )
    @in_virtual_time
    async def test_what_makes_no_sense_is_rejected(
        self, client: MockClient, change: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(Rejected) as caught:
            await client.create(request(**change))
        assert caught.value.field == field


class TestBill:
    @in_virtual_time
    async def test_by_the_started_second_from_running_to_the_terminate_call(self, client: MockClient) -> None:
        machine = await client.create(request())
        rate = machine.price_micro_usd_per_hour
        assert rate is not None
        assert client.cloud.bill_micro_usd(machine.id) == 0
        await asyncio.sleep(2 + 1800)
        assert client.cloud.bill_micro_usd(machine.id) == rate // 2
        await asyncio.sleep(1799.25)
        await client.terminate(machine.id, idempotency_key="t")
        await asyncio.sleep(5000)
        assert client.cloud.bill_micro_usd(machine.id) == rate

    @in_virtual_time
    async def test_nothing_before_it_runs(self, client: MockClient) -> None:
        machine = await client.create(request())
        await asyncio.sleep(1.5)
        await client.terminate(machine.id, idempotency_key="t")
        await asyncio.sleep(60)
        assert client.cloud.bill_micro_usd(machine.id) == 0

    @in_virtual_time
    async def test_the_balance_remembers_forgotten_machines(self, client: MockClient) -> None:
        before = (await client.fetch_balance()).balance_micro_usd
        machine = await client.create(request())
        await asyncio.sleep(2 + 3600)
        await client.terminate(machine.id, idempotency_key="t")
        bill = client.cloud.bill_micro_usd(machine.id)
        assert bill == machine.price_micro_usd_per_hour
        assert before is not None
        assert (await client.fetch_balance()).balance_micro_usd == before - bill
        await asyncio.sleep(2 * 86_400)
        await client.create(request(2))
        assert (await client.fetch_balance()).balance_micro_usd == before - bill
        with pytest.raises(Gone):
            client.cloud.bill_micro_usd(machine.id)


class TestNoCapacity:
    @staticmethod
    async def outcomes(client: MockClient, wanted: str, numbers: range, **changes: Any) -> str:
        """Return one letter for each create: r refused, m made."""
        letters = ""
        for number in numbers:
            try:
                await client.create(request(number, env={"MOCK_NO_CAPACITY": wanted}, **changes))
                letters += "m"
            except NoCapacity:
                letters += "r"
        return letters

    @pytest.mark.parametrize(
        ("wanted", "letters"), [("0", "mmmm"), ("1", "rmrm"), ("2", "rrmr"), ("all", "rrrr"), ("", "mmmm")]
    )
    @in_virtual_time
    async def test_that_many_are_refused_before_one_is_made(
        self, client: MockClient, wanted: str, letters: str
    ) -> None:
        assert await self.outcomes(client, wanted, range(4)) == letters

    @in_virtual_time
    async def test_each_workload_counts_for_itself(self, client: MockClient) -> None:
        assert await self.outcomes(client, "1", range(1), command="a") == "r"
        assert await self.outcomes(client, "1", range(1, 2), command="b") == "r"
        assert await self.outcomes(client, "1", range(2, 3), command="a") == "m"

    @in_virtual_time
    async def test_an_old_count_is_forgotten(self, client: MockClient) -> None:
        assert await self.outcomes(client, "2", range(1)) == "r"
        await asyncio.sleep(cloud.ROUND_MS / 1000 + 1)
        assert await self.outcomes(client, "2", range(1, 4)) == "rrm"

    @in_virtual_time
    async def test_a_create_sent_again_is_answered_alike(self, client: MockClient) -> None:
        assert await self.outcomes(client, "1", range(1)) == "r"
        assert await self.outcomes(client, "1", range(1)) == "r"
        assert await self.outcomes(client, "1", range(1, 2)) == "m"


class TestShell:
    @staticmethod
    async def running(client: MockClient, **changes: Any) -> Machine:
        machine = await client.create(request(**changes))
        await asyncio.sleep(2)
        return await client.get(machine.id)

    @staticmethod
    async def poll(shell: base.Shell) -> str:
        result = await shell.run(["sh", f"{FOLDER}/harness.sh", "poll", FOLDER, "0", "65536", "30"])
        assert result.exit_code == 0
        return result.stdout.decode()

    async def start(self, client: MockClient, machine: Machine) -> None:
        shell = await client.open_shell(machine)
        await shell.put(f"{FOLDER}/harness.sh", b"#!/bin/sh\n", mode=0o700)
        await shell.put(f"{FOLDER}/spec", b"mode=plain\nnonce=abc\ngrace_s=5\n")
        await shell.put(f"{FOLDER}/command", b"python train.py")
        await shell.put(f"{FOLDER}/env", b"MOCK_DURATION_S=60\nMOCK_EXIT_CODE=3\nTOKEN=fake-secret\n")
        assert (await shell.run(["sh", f"{FOLDER}/harness.sh", "start", FOLDER])).exit_code == 0
        await shell.close()

    @in_virtual_time
    async def test_a_workload_goes_on_between_processes(self, new_client: Callable[[], MockClient]) -> None:
        machine = await self.running(new_client())
        await self.start(new_client(), machine)
        await asyncio.sleep(30)
        assert " state=running " in await self.poll(await new_client().open_shell(machine))
        await asyncio.sleep(30)
        ended = await self.poll(await new_client().open_shell(machine))
        assert " state=exited exit=3 " in ended
        assert "python train.py" in ended

    @in_virtual_time
    async def test_a_closed_shell_or_a_machine_that_does_not_run(self, client: MockClient) -> None:
        machine = await client.create(request())
        with pytest.raises(ShellError):
            await client.open_shell(machine)
        await asyncio.sleep(2)
        await self.start(client, machine)
        shell, closed = await client.open_shell(machine), await client.open_shell(machine)
        await closed.close()
        with pytest.raises(ShellError):
            await self.poll(closed)
        await self.poll(shell)
        await client.terminate(machine.id, idempotency_key="t")
        with pytest.raises(ShellError):
            await self.poll(shell)
        await asyncio.sleep(1)
        with pytest.raises(ShellError):
            await shell.put(f"{FOLDER}/env", b"")
        with pytest.raises(ShellError):
            await client.open_shell(machine)

    @in_virtual_time
    async def test_machines_are_apart(self, client: MockClient) -> None:
        first = await self.running(client)
        await self.start(client, first)
        second = await client.create(request(2))
        await asyncio.sleep(2)
        shell = await client.open_shell(second)
        result = await shell.run(["sh", f"{FOLDER}/harness.sh", "poll", FOLDER, "0", "10", "30"])
        assert result.exit_code != 0

    @in_virtual_time
    async def test_nothing_is_executed(self, client: MockClient, tmp_path: Path) -> None:
        shell = await client.open_shell(await self.running(client))
        witness = tmp_path / "witness"
        assert (await shell.run(["touch", str(witness)])).exit_code != 0
        assert not witness.exists()

    @in_virtual_time
    async def test_values_of_the_environment_do_not_reach_the_file(self, client: MockClient, tmp_path: Path) -> None:
        machine = await self.running(client, env={"TOKEN": "fake-secret"})
        await self.start(client, machine)
        assert "fake-secret" not in (tmp_path / "state" / cloud.FILE_NAME).read_text()

    @in_virtual_time
    async def test_the_disk_is_dropped_with_the_machine(self, client: MockClient, tmp_path: Path) -> None:
        machine = await self.running(client)
        await self.start(client, machine)
        await client.terminate(machine.id, idempotency_key="t")
        await asyncio.sleep(2)
        await client.create(request(2))
        text = (tmp_path / "state" / cloud.FILE_NAME).read_text()
        assert "train.py" not in text


class TestRest:
    def test_capabilities(self) -> None:
        assert {name for name, has in base.capabilities_of(MockClient).items() if has} == {
            "balance",
            "regions",
            "ssh-keys",
        }
        assert issubclass(MockClient, base.OpensShell)

    @in_virtual_time
    async def test_needs_no_key(self, tmp_path: Path) -> None:
        client = make_client("mock", ClientContext(VirtualClock(), tmp_path))
        assert (await client.check_key()).ok is True
        await client.aclose()

    @in_virtual_time
    async def test_regions_cover_the_offers(self, client: MockClient) -> None:
        assert {found.region for found in await client.fetch_offers()} == {
            region.code for region in await client.list_regions()
        }

    @in_virtual_time
    async def test_ssh_keys(self, new_client: Callable[[], MockClient]) -> None:
        key = await new_client().add_ssh_key("desk", "ssh-ed25519 AAAA")
        assert await new_client().add_ssh_key("desk", "ssh-ed25519 AAAA") == key
        assert await new_client().list_ssh_keys() == [key]
        await new_client().delete_ssh_key(key.id)
        assert await new_client().list_ssh_keys() == []
        with pytest.raises(Gone):
            await new_client().delete_ssh_key(key.id)
