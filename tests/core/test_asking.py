"""Several providers are asked at once: what one of them does must not hide what the others say."""

from __future__ import annotations

from pathlib import Path

from agent_world import agent_world

from gputui.core.asking import ask_all
from gputui.model.errors import Malformed
from gputui.providers.base import Provider
from gputui.sim.vtime import run_virtual


def test_a_client_that_trips_over_an_answer_is_told_beside_the_others(tmp_path: Path) -> None:
    async def trip_at_lambda(client: Provider) -> str:
        return str(["huddle"].index(client.name))

    async def scene() -> None:
        async with agent_world(tmp_path, start=False) as shop:
            asked = await ask_all(shop.desk.accounts, ["lambda", "huddle"], trip_at_lambda)
            assert asked.answers == {"huddle": "0"}
            assert isinstance(asked.problems["lambda"], Malformed)

    run_virtual(scene())
