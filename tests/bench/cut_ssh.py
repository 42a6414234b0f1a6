"""A log of 200,000 lines through a real OpenSSH server whose connections are cut 50 times: is every line here, once, in order?

    .venv/bin/python tests/bench/cut_ssh.py [LINES] [CUTS]

The server runs on loopback as this user; the job lies in `~/.gputui` meanwhile. Prints how fast the log came, and what a cut
costs. Ends with 1 when a line is missing, doubled or out of place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gputui.core.runner.logfile import JobLog, iter_lines
from gputui.core.runner.protocol import PollReply, job_files, job_folder
from gputui.core.runner.vm import POLL_LIMIT_BYTES, VmRunner
from gputui.local.ssh import SshShell, ensure_key_pair, open_ssh_shell
from gputui.model.errors import ShellError
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement

sys.path.insert(0, str(Path(__file__).parents[1] / "local_ssh"))

BURST_LINES = 1000
BURST_EVERY_S = 0.01
DEADLINE_S = 300.0
WORDS = "step loss lr grad tok/s"


def line(number: int) -> str:
    """Return a line of the job, of the length that training prints."""
    return f"{number:08d} {WORDS} {number * 7919 % 1_000_003:07d} {'.' * 60}"


def command(lines: int) -> str:
    """Return a job that prints its lines in bursts, in a shell's own time, and ends with 42."""
    numbers = f"for (n = first; n < first + {BURST_LINES}; n++)"
    burst = f'BEGIN {{ {numbers} printf "%08d {WORDS} %07d {"." * 60}\\n", n, n * 7919 % 1000003 }}'
    step = f"awk -v first=$i '{burst}'; i=$((i + {BURST_LINES})); sleep {BURST_EVERY_S}"
    return f"i=0; while [ $i -lt {lines} ]; do {step}; done; exit 42"


class Reader:
    """Follows the job over connections that are cut, as the agent does."""

    def __init__(self, server: Any, private_key: Path, placement_id: str, log: JobLog, cut_bytes: list[int]) -> None:
        self._server = server
        self._private_key = private_key
        self._placement_id = placement_id
        self._log = log
        self._cut_bytes = cut_bytes
        self._random = random.Random(1)
        self._pinned: str | None = None
        self.cuts = 0
        self.broken_polls = 0
        self.reconnect_s: list[float] = []

    async def connect(self) -> SshShell:
        def pin(host_key: str) -> None:
            self._pinned = host_key

        began = time.perf_counter()
        shell = await open_ssh_shell(
            "127.0.0.1",
            self._server.port,
            self._server.username,
            self._private_key,
            pinned_host_key=self._pinned,
            on_first_key=pin,
        )
        self.reconnect_s.append(time.perf_counter() - began)
        return shell

    async def follow(self, shell: SshShell) -> PollReply:
        """Return the last answer, once every byte is here."""
        reply: PollReply | None = None
        while reply is None or not reply.state.is_final or self._log.remote_offset(self._placement_id) < reply.size:
            offset = self._log.remote_offset(self._placement_id)
            runner = VmRunner(shell, self._placement_id)
            poll = asyncio.create_task(runner.poll(offset, limit=POLL_LIMIT_BYTES, lease_s=300))
            if self.cuts < len(self._cut_bytes) and offset >= self._cut_bytes[self.cuts]:
                await asyncio.sleep(self._random.uniform(0, 0.03))  # anywhere between the question and the last byte
                shell._connection.abort()
                self.cuts += 1
            try:
                reply = await poll
            except ShellError:
                self.broken_polls += 1
                await shell.close()
                shell = await self.connect()
                continue
            self._log.append(self._placement_id, offset, reply.payload)
        await shell.close()
        return reply


async def measure(lines: int, cuts: int, folder: Path) -> bool:
    from conftest import OpenSsh

    keys = ensure_key_pair(folder / "keys", "gputui-bench")
    server = OpenSsh(folder, keys.public_key)
    server.start()
    placement_id = f"bench-{os.getpid()}"
    log = JobLog(folder / "job.log")
    log.begin(placement_id, now_ms=0)
    size = lines * (len(line(0)) + 1)
    cut_bytes = [round(0.9 * size * number / cuts) for number in range(cuts)]
    reader = Reader(server, keys.private_path, placement_id, log, cut_bytes)
    placement = Placement(
        id=placement_id, job_id="j", attempt=1, provider="mock", offer=Offer("o", "mock", "H100-SXM", 1, 1, 0),
        label="l", idempotency_key="k", nonce="n", state=PlacementState.READY, created_at_ms=0,
    )  # fmt: skip
    try:
        shell = await reader.connect()
        runner = VmRunner(shell, placement_id)
        await runner.install(job_files(JobSpec(gpu="H100", command=command(lines)), placement, lease_s=300, grace_s=1))
        began = time.perf_counter()
        await runner.start()
        async with asyncio.timeout(DEADLINE_S):
            reply = await reader.follow(shell)
        took_s = time.perf_counter() - began
    finally:
        server.stop()
        shutil.rmtree(Path.home() / job_folder(placement_id), ignore_errors=True)
        with contextlib.suppress(OSError):  # others may have jobs there
            (Path.home() / ".gputui").rmdir()
    found = list(iter_lines(log.path))
    is_right = found == [line(number) for number in range(lines)] and reply.exit_code == 42
    again_s = sorted(reader.reconnect_s)[len(reader.reconnect_s) // 2]
    print(
        f"{len(found):,} lines, {log.size:,} bytes, {reader.cuts} cuts, {reader.broken_polls} answers lost on the way"
    )
    print(f"every line once and in order, exit code 42: {'yes' if is_right else 'NO'}")
    print(f"{took_s:.1f} s, {len(found) / took_s:,.0f} lines/s, {log.size / took_s / 1_048_576:.1f} MiB/s")
    print(f"a new connection took {again_s * 1000:.0f} ms (median of {len(reader.reconnect_s)})")
    return is_right and reader.cuts == cuts


def main(arguments: list[str]) -> int:
    lines = int(arguments[0]) if arguments else 200_000
    cuts = int(arguments[1]) if len(arguments) > 1 else 50
    with tempfile.TemporaryDirectory(prefix="gputui-cut-") as folder:
        return 0 if asyncio.run(measure(lines, cuts, Path(folder))) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
