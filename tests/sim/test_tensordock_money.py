"""What the simulated TensorDock truly costs, what happens without balance, and v0, which tells it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tensordock_stage import H100, TensorDockApi, act, size

from gputui.sim.tensordock import knobs
from gputui.sim.truth import truth_of
from gputui.sim.vtime import in_virtual_time

TOTAL_USD = Decimal("0.468")
STORAGE_USD = Decimal("0.01")
V0 = "http://sim/tensordock/api/v0/"


@pytest.fixture
def api() -> TensorDockApi:
    return TensorDockApi()


def bill(api: TensorDockApi) -> Decimal:
    return Decimal(truth_of(api.world)["bill_usd"])


def hours(usd_per_hour: Decimal, seconds: int) -> Decimal:
    return (usd_per_hour * seconds / 3600).quantize(Decimal("0.000001"))


async def v0(api: TensorDockApi, path: str, **form: str) -> httpx.Response:
    return await api.call("POST", V0 + path, data={"api_key": "some-id", "api_token": "sim-a", **form})


async def balance(api: TensorDockApi) -> dict[str, Any]:
    return dict((await v0(api, "billing/balance")).json())


@in_virtual_time
async def test_an_instance_is_billed_by_the_second_from_its_create_to_its_deletion(api: TensorDockApi) -> None:
    instance_id = await api.create()
    assert bill(api) == 0
    await asyncio.sleep(5)  # it has no address yet
    assert bill(api) == hours(TOTAL_USD, 5)
    await asyncio.sleep(3595)
    assert bill(api) == TOTAL_USD
    assert await balance(api) == {"success": True, "balance": 99.532, "hourly_cost": 0.468}
    await api.ok("DELETE", f"instances/{instance_id}")
    await asyncio.sleep(3600)
    assert bill(api) == TOTAL_USD
    assert await balance(api) == {"success": True, "balance": 99.532, "hourly_cost": 0.0}


@in_virtual_time
async def test_billing_may_start_with_running(api: TensorDockApi) -> None:
    api.world.faults.set(**{knobs.BILLING_START: "running"})
    machine = api.world.machines[await api.create()]
    await asyncio.sleep(3610)
    booted_ms = machine.running_ms(api.world.now_ms())
    assert booted_ms is not None
    assert machine.billing_started_ms(api.world.now_ms()) == booted_ms > machine.created_ms


@pytest.mark.parametrize(
    ("stop_end", "off_usd"), [("stopped", TOTAL_USD), ("stoppeddisassociated", STORAGE_USD)]
)  # fmt: skip
@in_virtual_time
async def test_a_stopped_instance_costs_all_and_a_released_one_its_disk(
    api: TensorDockApi, stop_end: str, off_usd: Decimal
) -> None:
    api.world.faults.set(power_s=0, **{knobs.STOP_END: stop_end})
    instance_id = await api.running()
    await asyncio.sleep(3588)
    await act(api, instance_id, "stop")
    await asyncio.sleep(7200)
    shown = await api.ok("GET", f"instances/{instance_id}")
    assert (shown["status"], shown["rateHourly"]) == (stop_end, 0.468)  # a quote, whatever it costs now
    assert (await balance(api))["hourly_cost"] == float(off_usd)
    assert bill(api) == TOTAL_USD + 2 * off_usd
    await act(api, instance_id, "start")
    await asyncio.sleep(3600)
    assert bill(api) == 2 * TOTAL_USD + 2 * off_usd
    await api.ok("DELETE", f"instances/{instance_id}")
    assert (await balance(api))["balance"] == pytest.approx(float(100 - bill(api)), abs=1e-6)


@in_virtual_time
async def test_a_start_is_charged_in_full_while_it_goes_on(api: TensorDockApi) -> None:
    api.world.faults.set(power_s=0, **{knobs.STOP_END: "stoppeddisassociated"})
    instance_id = await api.running()
    await act(api, instance_id, "stop")
    before = bill(api)
    api.world.faults.set(power_s=100)
    await act(api, instance_id, "start")
    await asyncio.sleep(100)
    assert bill(api) - before == hours(TOTAL_USD, 100)


@in_virtual_time
async def test_an_organization_without_balance_has_its_instances_stopped_and_later_deleted(
    api: TensorDockApi,
) -> None:
    api.world.faults.set(starting_credit_usd=2, power_s=0, **{knobs.STOP_END: "stoppeddisassociated"})
    poor = api.other("sim-poor")
    instance_id = await poor.running(name="mine")
    machine = api.world.machines[instance_id]
    await asyncio.sleep(86_400)
    dry_s = 2 / TOTAL_USD * 3600
    assert await poor.status(instance_id) == "stoppeddisassociated"
    assert 0 <= (machine.since_ms(api.world.now_ms()) - machine.created_ms) / 1000 - float(dry_s) <= 1
    refusal = (await poor.call("POST", f"instances/{instance_id}/start")).json()
    assert (refusal["status"], "need at least $1" in refusal["error"]) == (400, True)
    await asyncio.sleep(3 * 86_400)
    await poor.refused(404, "GET", f"instances/{instance_id}")
    gone_ms = machine.ended_ms(api.world.now_ms())
    assert gone_ms is not None
    assert gone_ms - machine.timeline[-2][0] == 3 * 86_400_000
    assert Decimal(truth_of(api.world)["bill_usd"]) == pytest.approx(2 + STORAGE_USD * 72, abs=Decimal("0.001"))


@in_virtual_time
async def test_a_payment_in_time_saves_a_stopped_instance(api: TensorDockApi) -> None:
    api.world.faults.set(starting_credit_usd=2)
    poor = api.other("sim-poor")
    instance_id = await poor.running()
    await asyncio.sleep(6 * 3600)
    assert await poor.status(instance_id) == "stopped"
    account = api.world.account("tensordock", "sim-poor")
    assert account is not None
    assert api.world.balance_usd(account) < 0  # stopped, it still costs all
    api.world.add_credit(account, "50")
    await act(poor, instance_id, "start")
    await asyncio.sleep(3 * 86_400)
    assert await poor.status(instance_id) == "running"
    await asyncio.sleep(3 * 86_400)
    assert await poor.status(instance_id) == "stopped"


@in_virtual_time
async def test_nothing_stops_where_the_knob_says_so(api: TensorDockApi) -> None:
    api.world.faults.set(starting_credit_usd=2, low_balance_action="nothing")
    poor = api.other("sim-poor")
    instance_id = await poor.running()
    await asyncio.sleep(10 * 86_400)
    assert await poor.status(instance_id) == "running"


# v0


@in_virtual_time
async def test_v0_checks_a_pair_and_tells_the_balance(api: TensorDockApi) -> None:
    assert (await v0(api, "auth/test")).json() == {"success": True}
    assert await balance(api) == {"success": True, "balance": 100.0, "hourly_cost": 0.0}
    await api.create("Dallas", H100, resources=size(H100))
    await api.create()
    assert (await balance(api))["hourly_cost"] == pytest.approx(2.25 + 8 * 0.003 + 32 * 0.002 + 0.01 + 0.468)
    for path in ("auth/test", "billing/balance"):
        for form in ({"api_token": "abc"}, {"api_key": ""}, {"api_token": ""}):
            refusal = await v0(api, path, **form)
            assert (refusal.status_code, refusal.json()["success"]) == (200, False)
            assert isinstance(refusal.json()["error"], str)
    api.world.faults.set(**{knobs.V0_REFUSAL_CODE: "400"})
    assert (await v0(api, "auth/test", api_token="abc")).status_code == 400
