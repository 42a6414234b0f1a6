"""What a workload needs of the way it is run, whichever that is: begin it, poll it, stop it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from gputui.core.runner.protocol import JobFile, PollReply, RunState
from gputui.core.runner.vm import POLL_LIMIT_BYTES, VmRunner
from gputui.model.errors import ShellError
from gputui.model.shell import Shell


class Runner(Protocol):
    """One placement's workload on one machine. Every call may be repeated; ShellError means try again.

    `takes_orders` is False where nothing on the machine can be asked to end the workload, only the machine itself ended.
    """

    takes_orders: bool

    async def begin(self) -> None:
        """Put the job in place and start it; what already runs is not touched."""
        ...

    async def poll(self, offset: int) -> PollReply:
        """Return the state and what of the log follows byte `offset`."""
        ...

    async def stop(self) -> None:
        """Ask the workload to end; poll to see it happen."""
        ...

    async def close(self) -> None:
        """Let go of the connection. Raises nothing."""
        ...


class ShellRunner:
    """Runs a workload through a shell on its machine, with the harness there; `lease_s` is renewed by every poll."""

    takes_orders = True

    def __init__(self, shell: Shell, placement_id: str, files: Sequence[JobFile], *, lease_s: int) -> None:
        self._shell = shell
        self._harness = VmRunner(shell, placement_id)
        self._files = files
        self._lease_s = lease_s

    async def begin(self) -> None:
        if not await self._is_there():
            await self._harness.install(self._files)
        await self._harness.start()

    async def poll(self, offset: int) -> PollReply:
        return await self._harness.poll(offset, limit=POLL_LIMIT_BYTES, lease_s=self._lease_s)

    async def stop(self) -> None:
        await self._harness.stop()

    async def close(self) -> None:
        with contextlib.suppress(ShellError, TimeoutError):  # it may already be broken
            await self._shell.close()

    async def _is_there(self) -> bool:
        """True when an earlier agent already started this workload (a crash between the start and our note of it)."""
        try:
            reply = await self._harness.poll(0, limit=0, lease_s=self._lease_s)
        except ShellError:
            return False
        return reply.state is not RunState.NONE
