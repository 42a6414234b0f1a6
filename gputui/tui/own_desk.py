"""Wishes that may wait (starting the agent, asking a keyring), carried out off the interface's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gputui.core.desk import Desk
from gputui.store.db import open_store

T = TypeVar("T")


async def on_own_desk(desk: Desk, wish: Callable[[Desk], T]) -> T:
    """Run `wish` in a thread, at a desk like this one with a connection of its own; a store belongs to its thread."""

    def work() -> T:
        store = open_store(desk.paths.database)
        try:
            return wish(
                Desk(
                    paths=desk.paths,
                    config=desk.config,
                    secrets=desk.secrets,
                    store=store,
                    clock=desk.clock,
                    accounts=desk.accounts,
                    environ=desk.environ,
                    agent_is_here=desk.agent_is_here,
                )
            )
        finally:
            store.close()

    return await asyncio.to_thread(work)
