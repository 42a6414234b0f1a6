"""Run a workload on a virtual machine: the harness's three verbs over a shell."""

from __future__ import annotations

from collections.abc import Iterable

from gputui.core.runner.protocol import HARNESS_NAME, JobFile, PollReply, job_folder, parse_poll
from gputui.model.errors import ShellError
from gputui.providers.base import Shell, ShellResult

POLL_LIMIT_BYTES = 1_048_576
VERB_TIMEOUT_S = 30.0
POLL_TIMEOUT_S = 60.0


class VmRunner:
    """One placement's workload on one machine. Every call may be repeated; each raises ShellError when the shell breaks."""

    def __init__(self, shell: Shell, placement_id: str) -> None:
        self._shell = shell
        self._folder = job_folder(placement_id)

    async def install(self, files: Iterable[JobFile]) -> None:
        """Put the job's files (see `protocol.job_files`) in place. Nothing runs yet."""
        for file in files:
            await self._shell.put(f"{self._folder}/{file.name}", file.content, mode=file.mode)

    async def start(self) -> None:
        """Start the workload detached; a no-op where it already runs or has ended."""
        await self._verb("start", timeout_s=VERB_TIMEOUT_S)

    async def poll(self, offset: int, *, limit: int = POLL_LIMIT_BYTES, lease_s: int) -> PollReply:
        """Renew the lease for `lease_s` seconds (0 leaves it as it is) and read the state and the log from byte `offset`."""
        result = await self._verb("poll", str(offset), str(limit), str(lease_s), timeout_s=POLL_TIMEOUT_S)
        return parse_poll(result.stdout, offset=offset, limit=limit)

    async def stop(self) -> None:
        """Ask the harness to end the workload: TERM, grace, KILL. Poll to see it happen."""
        await self._verb("stop", timeout_s=VERB_TIMEOUT_S)

    async def _verb(self, verb: str, *arguments: str, timeout_s: float) -> ShellResult:
        argv = ["sh", f"{self._folder}/{HARNESS_NAME}", verb, self._folder, *arguments]
        result = await self._shell.run(argv, timeout_s=timeout_s)
        if result.exit_code != 0:
            said = result.stderr[:200].decode("utf-8", errors="replace").strip()
            raise ShellError(f"The harness could not {verb} on the machine (exit {result.exit_code}): {said}")
        return result
