"""Volumes that cost money against their user's will: ones that will not go, that a key cannot reach, or that are dearer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from agent_world import AgentWorld

from gputui.model.volumes import VolumeOrder, VolumeOrderState
from gputui.store.alarms import AlarmKind


def order(shop: AgentWorld, *, shown: int | None = None) -> VolumeOrder:
    return shop.desk.request_volume("runpod", "data", size_gib=50, region="US-KS-2", shown=shown)


async def over(shop: AgentWorld, wish: VolumeOrder) -> VolumeOrder:
    async with asyncio.timeout(3600):
        while not (found := shop.desk.volume_order(wish.id)).is_over:
            await asyncio.sleep(1)
    return found


async def deletion(shop: AgentWorld) -> VolumeOrder:
    rows, _ = await shop.desk.volumes(["runpod"])
    return shop.desk.request_volume_deletion(rows[0])


def test_a_volume_that_will_not_go_is_an_alarm_until_it_is_gone(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        made = await over(shop, order(shop))
        shop.world.faults.set(server_error={"count": 1000, "operation": "runpod.delete_volume"})
        wish = await deletion(shop)
        await asyncio.sleep(60)
        assert shop.desk.alarms() == []
        await asyncio.sleep(120)
        [alarm] = shop.desk.alarms()
        assert (alarm.kind, alarm.subject, alarm.provider) == (AlarmKind.UNDYING, made.volume_id, "runpod")
        assert "data" in alarm.message
        assert alarm.rate_micro_usd_per_hour == round((made.price_micro_usd_per_month or 0) / 730)
        shop.world.faults.set(server_error=False)
        assert (await over(shop, wish)).state is VolumeOrderState.GONE
        assert shop.desk.alarms() == []

    play(scene)


def test_a_key_that_is_refused_while_a_volume_should_go_is_an_alarm(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await over(shop, order(shop))
        wish = await deletion(shop)
        await shop.use_key("runpod", "revoked")
        await asyncio.sleep(30)
        assert [alarm.kind for alarm in shop.desk.alarms()] == [AlarmKind.KEY_REFUSED]
        await shop.use_key("runpod", "sim-test")
        assert (await over(shop, wish)).state is VolumeOrderState.GONE
        assert shop.desk.alarms() == []

    play(scene)


@pytest.mark.parametrize(("percent", "is_told"), [(100, False), (95, False), (50, True)])
def test_a_volume_that_turns_out_dearer_than_shown_says_so(
    play: Callable[..., None], percent: int, is_told: bool
) -> None:
    async def scene(shop: AgentWorld) -> None:
        price = (await over(shop, order(shop))).price_micro_usd_per_month
        assert price
        await over(shop, await deletion(shop))
        made = await over(shop, order(shop, shown=price * percent // 100))
        assert made.state is VolumeOrderState.MADE
        assert made.price_micro_usd_per_month == price
        assert (made.error_code == "too_dear", "were shown" in (made.error or "")) == (is_told, is_told)

    play(scene)
