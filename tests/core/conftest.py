from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

# The shared stage of these tests is a plain module beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs a scene over a fresh world; files whose scenes need more have their own."""
    from agent_world import AgentWorld, agent_world

    from gputui.sim.vtime import run_virtual

    def run(scene: Callable[[AgentWorld], Awaitable[Any]]) -> None:
        async def whole() -> None:
            async with agent_world(tmp_path) as shop:
                await scene(shop)

        run_virtual(whole())

    return run
