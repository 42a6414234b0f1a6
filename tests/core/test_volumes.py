"""Volumes made and deleted by the agent over the simulated world under the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from agent_world import AgentWorld, agent_world

from gputui.core.volume_wishes import VolumeRow, failure_of
from gputui.local.secrets import KeyFound, KeySource
from gputui.model.errors import AuthError, Conflict, NotSupported, ProviderError, Rejected, UsageError
from gputui.model.types import JobKind, JobSpec
from gputui.model.volumes import VolumeOrder, VolumeOrderState
from gputui.sim.vtime import run_virtual

Play = Callable[[AgentWorld], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Place:
    """What a volume at a provider takes, and what its simulator calls the making and the deleting of one."""

    provider: str
    region: str
    size_gib: int | None
    create: str
    delete: str

    def order(self, shop: AgentWorld, name: str = "data") -> VolumeOrder:
        return shop.desk.request_volume(self.provider, name, size_gib=self.size_gib, region=self.region)

    async def found(self, shop: AgentWorld) -> list[VolumeRow]:
        rows, problems = await shop.desk.volumes()
        assert self.provider not in problems
        return [row for row in rows if row.volume.provider == self.provider]


RUNPOD = Place("runpod", "US-KS-2", 50, "create_volume", "delete_volume")
LAMBDA = Place("lambda", "us-east-1", None, "create_filesystem", "delete_filesystem")
VASTAI = Place("vastai", "US", 30, "create_volume", "delete_volume")
HUDDLE = Place("huddle", "FIN-01", 100, "create_volume", "delete_volume")
PLACES = [RUNPOD, LAMBDA, VASTAI, HUDDLE]
each_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.provider)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene over a fresh world; afterwards every order is over."""

    def run(scene: Play, **options: Any) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path, **options) as shop:
                await scene(shop)
                assert all(order.is_over for order in shop.desk.volume_orders())

        run_virtual(whole())

    return run


async def over(shop: AgentWorld, order: VolumeOrder, *, within_s: float = 3_600) -> VolumeOrder:
    """Wait in virtual time until an order is over."""
    return await reached(shop, order, lambda found: found.is_over, within_s=within_s)


async def reached(
    shop: AgentWorld, order: VolumeOrder, is_there: Callable[[VolumeOrder], bool], *, within_s: float = 3_600
) -> VolumeOrder:
    async with asyncio.timeout(within_s):
        while not is_there(found := shop.desk.volume_order(order.id)):
            if shop.agent is not None and shop.agent.done():
                shop.agent.result()
            await asyncio.sleep(0.2)
    return found


@each_place
def test_a_volume_is_made_and_deleted_by_the_name_the_user_gave(play: Callable[..., None], place: Place) -> None:
    async def scene(shop: AgentWorld) -> None:
        made = await over(shop, place.order(shop))
        assert made.state is VolumeOrderState.MADE, made
        [row] = await place.found(shop)
        assert (row.name, row.volume.id, row.is_ours) == ("data", made.volume_id, True)
        assert row.volume.price_micro_usd_per_month == made.price_micro_usd_per_month
        await shop.kill_agent()
        deletion = shop.desk.request_volume_deletion(row)
        assert shop.desk.request_volume_deletion(row) == deletion
        assert [row.deletion for row in await place.found(shop)] == [deletion]
        shop.start_agent()
        assert (await over(shop, deletion)).state is VolumeOrderState.GONE
        assert await place.found(shop) == []

    play(scene)


@each_place
@pytest.mark.parametrize("fault", ["lost_reply", "timeout_after", "server_error_after_commit"])
def test_a_lost_reply_makes_no_second_volume(play: Callable[..., None], place: Place, fault: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(**{fault: {"count": 1, "operation": f"{place.provider}.{place.create}"}})
        made = await over(shop, place.order(shop))
        assert made.state is VolumeOrderState.MADE
        [row] = await place.found(shop)
        assert (row.volume.id, row.name) == (made.volume_id, "data")

    play(scene)


@each_place
def test_an_order_that_got_lost_is_proven_to_have_made_nothing(play: Callable[..., None], place: Place) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(cut_before={"count": 1, "operation": f"{place.provider}.{place.create}"})
        order = place.order(shop)
        unknown = await reached(shop, order, lambda found: found.state is VolumeOrderState.OUTCOME_UNKNOWN)
        assert unknown.error
        lost = await over(shop, order)
        assert (lost.state, lost.error_code) == (VolumeOrderState.ABSENT, "absent")
        assert "Nothing was made" in str(failure_of(lost))
        assert await place.found(shop) == []

    play(scene)


def test_a_list_that_fails_is_no_proof_of_absence(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(
            lost_reply={"count": 1, "operation": "runpod.create_volume"},
            server_error={"operation": "runpod.list_volumes"},
        )
        order = RUNPOD.order(shop)
        await asyncio.sleep(1_800)
        assert shop.desk.volume_order(order.id).state is VolumeOrderState.OUTCOME_UNKNOWN
        shop.world.faults.reset()
        assert (await over(shop, order)).state is VolumeOrderState.MADE

    play(scene)


@each_place
@pytest.mark.parametrize("pause_s", [0.05, 0.3, 1.1])
def test_an_agent_killed_again_and_again_makes_and_deletes_one_volume(
    play: Callable[..., None], place: Place, pause_s: float
) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(latency_s=0.2)

        async def to_the_end(order: VolumeOrder) -> VolumeOrder:
            for round_number in range(12):
                shop.start_agent()
                await asyncio.sleep(pause_s * (1 + round_number / 7))
                await shop.kill_agent()
            shop.start_agent()
            found = await over(shop, order)
            await shop.kill_agent()
            return found

        made = await to_the_end(place.order(shop))
        found = await place.found(shop)
        if made.state is VolumeOrderState.ABSENT:  # killed before the request reached the provider
            assert found == []
            return
        [row] = found
        assert (made.state, row.volume.id) == (VolumeOrderState.MADE, made.volume_id)
        gone = await to_the_end(shop.desk.request_volume_deletion(row))
        assert gone.state is VolumeOrderState.GONE
        assert await place.found(shop) == []

    play(scene, start=False, glance_s=0.1)


def test_an_agent_killed_while_the_order_is_out_finds_what_it_made(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(timeout_after={"count": 1, "operation": "runpod.create_volume"})
        order = RUNPOD.order(shop)
        await reached(shop, order, lambda found: found.state is VolumeOrderState.REQUESTING)
        await asyncio.sleep(1)
        await shop.kill_agent()
        assert shop.desk.volume_order(order.id).state is VolumeOrderState.REQUESTING
        shop.start_agent()
        made = await over(shop, order)
        assert (made.state, [row.volume.id for row in await RUNPOD.found(shop)]) == (
            VolumeOrderState.MADE,
            [made.volume_id],
        )

    play(scene)


def test_two_volumes_of_one_name_stay_two_where_names_may_repeat(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        first = await over(shop, RUNPOD.order(shop))
        shop.world.faults.set(cut_before={"count": 1, "operation": "runpod.create_volume"})
        second = await over(shop, RUNPOD.order(shop))
        assert second.state is VolumeOrderState.ABSENT  # the first one was not taken for it
        third = await over(shop, RUNPOD.order(shop))
        rows = await RUNPOD.found(shop)
        assert {row.volume.id for row in rows} == {first.volume_id, third.volume_id}
        assert [row.name for row in rows] == ["data", "data"]

    play(scene)


def test_a_name_that_is_taken_is_refused_before_anything_is_asked_for(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, LAMBDA.order(shop))
        shop.world.faults.set(cut_before={"count": 1, "operation": "lambda.create_filesystem"})
        refused = await over(shop, LAMBDA.order(shop))
        assert (refused.state, refused.requested_at_ms) == (VolumeOrderState.REFUSED, None)
        assert isinstance(failure_of(refused), Rejected)
        assert "already" in (refused.error or "")
        assert len(await LAMBDA.found(shop)) == 1

    play(scene)


def test_an_order_for_a_name_that_is_being_made_is_refused_at_once(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        order = LAMBDA.order(shop)
        with pytest.raises(UsageError, match="being made"):
            LAMBDA.order(shop)
        await over(shop, order)

    play(scene)


@pytest.mark.parametrize(
    ("place", "fault", "kind"),
    [
        (RUNPOD, {"unauthorized": {"operation": "runpod.create_volume"}}, AuthError),
        (LAMBDA, {"filesystem_quota": 0}, Rejected),
        (VASTAI, {"unauthorized": {"operation": "vastai.create_volume"}}, AuthError),
    ],
    ids=["runpod", "lambda", "vastai"],
)
def test_a_refusal_ends_the_order_with_its_reason(
    play: Callable[..., None], place: Place, fault: dict[str, Any], kind: type[Exception]
) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(**fault)
        refused = await over(shop, place.order(shop), within_s=60)
        assert refused.state is VolumeOrderState.REFUSED
        assert isinstance(failure_of(refused), kind)
        assert await place.found(shop) == []

    play(scene)


def test_being_told_to_slow_down_is_waited_out(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(rate_limited={"count": 1, "operation": "runpod.create_volume"})
        assert (await over(shop, RUNPOD.order(shop))).state is VolumeOrderState.MADE
        assert len(await RUNPOD.found(shop)) == 1

    play(scene)


@each_place
def test_a_volume_deleted_elsewhere_is_gone(play: Callable[..., None], place: Place) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, place.order(shop))
        [row] = await place.found(shop)
        await shop.desk.client(place.provider).delete_volume(row.volume.id)  # type: ignore[attr-defined]
        assert (await over(shop, shop.desk.request_volume_deletion(row), within_s=60)).state is VolumeOrderState.GONE

    play(scene)


@each_place
@pytest.mark.parametrize("fault", ["lost_reply", "cut_before", "server_error", "rate_limited"])
def test_a_deletion_is_repeated_until_the_list_agrees(play: Callable[..., None], place: Place, fault: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, place.order(shop))
        [row] = await place.found(shop)
        shop.world.faults.set(**{fault: {"count": 3, "operation": f"{place.provider}.{place.delete}"}})
        assert (await over(shop, shop.desk.request_volume_deletion(row))).state is VolumeOrderState.GONE
        assert await place.found(shop) == []

    play(scene)


@pytest.mark.parametrize("status", ["400", "409"])
def test_a_volume_in_use_is_not_deleted_and_the_user_is_told(play: Callable[..., None], status: str) -> None:
    async def scene(shop: AgentWorld) -> None:
        shop.world.faults.set(runpod_volume_in_use_status=status)
        await over(shop, RUNPOD.order(shop))
        [row] = await RUNPOD.found(shop)
        job_id = await mounted(shop, row.volume.id)
        [row] = await RUNPOD.found(shop)
        assert row.volume.attached_to
        order = shop.desk.request_volume_deletion(row)
        told = await reached(shop, order, lambda found: found.error is not None, within_s=10)
        assert "in use" in (told.error or "")
        refused = await over(shop, order, within_s=120)
        assert refused.state is VolumeOrderState.REFUSED
        assert isinstance(failure_of(refused), Conflict | Rejected)
        await shop.desk.client("runpod").terminate(job_id, idempotency_key="end")
        [row] = await RUNPOD.found(shop)
        assert (await over(shop, shop.desk.request_volume_deletion(row))).state is VolumeOrderState.GONE

    play(scene)


async def mounted(shop: AgentWorld, volume_id: str) -> str:
    """Make a pod that mounts a volume, as somebody's own script would; returns its id."""
    client: Any = shop.desk.client("runpod")
    body = {
        "name": "other",
        "image": "pytorch/pytorch:latest",
        "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
        "cloud": "SECURE",
        "dataCenterIds": ["US-KS-2"],
        "mounts": {"network": [{"volumeId": volume_id, "path": "/workspace"}]},
    }
    reply = await client._http.send("POST", "pods", operation="test", json_body=body)
    return str(reply.data["id"])


def test_a_provider_without_volumes_says_who_has_them(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        with pytest.raises(NotSupported, match=r"TensorDock has no volumes\. These have: .*runpod.*lambda"):
            shop.desk.request_volume("tensordock", "data", size_gib=10, region="x")
        assert shop.desk.volume_orders() == []

    play(scene)


@pytest.mark.parametrize("wrong", [{"name": " "}, {"name": "a\nb"}, {"size_gib": 0}, {"region": " "}])
def test_a_mistake_in_the_order_is_told_before_anything_is_written(
    play: Callable[..., None], wrong: dict[str, Any]
) -> None:
    async def scene(shop: AgentWorld) -> None:
        values = {"provider": "runpod", "name": "data", "size_gib": 10, "region": "US-KS-2", **wrong}
        with pytest.raises(UsageError):
            shop.desk.request_volume(**values)
        assert shop.desk.volume_orders() == []

    play(scene)


def test_one_account_that_fails_does_not_hide_the_volumes_of_the_others(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, LAMBDA.order(shop))
        shop.world.faults.set(unauthorized={"operation": "runpod.list_volumes"})
        rows, problems = await shop.desk.volumes()
        assert [row.name for row in rows] == ["data"]
        assert isinstance(problems["runpod"], AuthError)

    play(scene)


@pytest.mark.parametrize("place", [replace(RUNPOD, region="EU-CZ-1"), VASTAI], ids=["runpod", "vastai"])
def test_the_price_told_before_is_the_price_it_has(play: Callable[..., None], place: Place) -> None:
    async def scene(shop: AgentWorld) -> None:
        quoted = await shop.desk.volume_quote(place.provider, size_gib=place.size_gib, region=place.region)
        assert quoted
        assert shop.desk.volume_orders() == []
        made = await over(shop, place.order(shop))
        assert made.price_micro_usd_per_month == quoted
        [row] = await place.found(shop)
        assert abs((row.volume.price_micro_usd_per_month or 0) - quoted) <= 1_000

    play(scene)


@pytest.mark.parametrize(
    ("place", "kind", "said"),
    [
        (RUNPOD, None, "several kinds"),
        (replace(RUNPOD, region="US-DE-1"), None, "No network volume can stand"),
        (replace(RUNPOD, size_gib=5), "standard", "10 to 4096"),
        (replace(VASTAI, region="ZZ"), None, "No verified host"),
        (VASTAI, "network", "local volumes only"),
    ],
)
def test_what_cannot_be_made_is_told_with_the_price(
    play: Callable[..., None], place: Place, kind: str | None, said: str
) -> None:
    async def scene(shop: AgentWorld) -> None:
        with pytest.raises(ProviderError, match=said):
            await shop.desk.volume_quote(place.provider, size_gib=place.size_gib, region=place.region, kind=kind)

    play(scene)


def test_a_price_that_nobody_tells_is_unknown(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        assert await shop.desk.volume_quote("lambda", size_gib=None, region="us-east-1") is None
        fast = await shop.desk.volume_quote("runpod", size_gib=50, region="US-KS-2", kind="high-performance")
        assert fast is None

    play(scene)


def test_a_job_finds_a_volume_by_the_name_the_user_gave(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        made = await over(shop, RUNPOD.order(shop))
        for name in ("data", made.label, made.volume_id):
            spec = JobSpec(gpu="RTX-4090", provider="runpod", volumes=(name or "",))
            assert [volume.id for volume in await shop.desk.find_volumes(spec)] == [made.volume_id]

    play(scene)


def test_jobs_go_on_beside_volumes(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = shop.submit(kind=JobKind.BATCH, env={"MOCK_DURATION_S": "60"})
        order = RUNPOD.order(shop)
        assert (await over(shop, order)).state is VolumeOrderState.MADE
        assert (await shop.finished(job_id)).job.exit_code == 0

    play(scene)


def test_another_accounts_key_does_not_prove_a_volume_gone(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, RUNPOD.order(shop))
        [row] = await RUNPOD.found(shop)
        await shop.kill_agent()
        order = shop.desk.request_volume_deletion(row)
        await change_key(shop, "sim-another-account")
        shop.start_agent()
        told = await reached(shop, order, lambda found: found.error is not None)
        assert "of another account" in (told.error or "")
        await asyncio.sleep(600)
        assert not shop.desk.volume_order(order.id).is_over
        await change_key(shop, "sim-test")
        assert [row.volume.id for row in await RUNPOD.found(shop)] == [order.volume_id]
        assert (await over(shop, order)).state is VolumeOrderState.GONE
        assert await RUNPOD.found(shop) == []

    play(scene)


async def change_key(shop: AgentWorld, key: str) -> None:
    found = KeyFound(value=key, source=KeySource.ENVIRONMENT, where="test")
    shop.desk.accounts._keys = type("Keys", (), {"find": lambda self, provider, variables: found})()
    await shop.desk.accounts.forget()
