"""The SSH shell and the harness against a real OpenSSH server."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import PollReply, job_files, job_folder
from gputui.core.runner.vm import VmRunner
from gputui.local.ssh import KeyPair, fingerprint, ssh_argv, write_known_hosts
from gputui.model.errors import HostKeyChanged, ShellError
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement

pytestmark = pytest.mark.sshd
Connect = Callable[..., Any]
OFFER = Offer(id="o", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)


def _files(placement_id: str, command: str, **spec: Any) -> Any:
    placement = Placement(
        id=placement_id, job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
        nonce="n", state=PlacementState.READY, created_at_ms=0,
    )  # fmt: skip
    return job_files(JobSpec(gpu="H100", command=command, **spec), placement, lease_s=300, grace_s=1)


async def test_run_gives_exit_code_and_both_streams(openssh: Any, connect: Connect) -> None:
    openssh.start()
    shell = await connect(openssh.port, username=openssh.username)
    result = await shell.run(["sh", "-c", "printf 'a\\000\\377'; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"a\0\xff", b"err\n")
    assert (await shell.run(["sh", "-c", "kill -9 $$"])).exit_code == -9
    assert (await shell.run(["echo", "a b", "$HOME", "'q'", ""])).stdout == b"a b $HOME 'q' \n"
    assert (await shell.run(["sh", "-c", 'echo "[${SSH_AUTH_SOCK:-none}]"'])).stdout == b"[none]\n"


async def test_many_commands_on_one_connection(openssh: Any, connect: Connect) -> None:
    openssh.start()
    shell = await connect(openssh.port, username=openssh.username)
    results = await asyncio.gather(*(shell.run(["echo", str(number)]) for number in range(8)))
    assert [result.stdout for result in results] == [f"{number}\n".encode() for number in range(8)]


async def test_command_past_its_deadline_ends_alone(openssh: Any, connect: Connect) -> None:
    openssh.start()
    shell = await connect(openssh.port, username=openssh.username)
    other = asyncio.create_task(shell.run(["sh", "-c", "sleep 1; echo other"]))
    with pytest.raises(ShellError, match=r"did not finish `sleep` within 0\.5 s"):
        await shell.run(["sleep", "3"], timeout_s=0.5)
    assert (await other).stdout == b"other\n"
    assert (await shell.run(["echo", "still here"])).stdout == b"still here\n"


@pytest.mark.parametrize("sftp", [True, False])
async def test_put_with_and_without_an_sftp_subsystem(
    openssh: Any, connect: Connect, placement_id: str, sftp: bool
) -> None:
    openssh.start(sftp=sftp)
    shell = await connect(openssh.port, username=openssh.username)
    content = bytes(range(256)) * 3000
    path = f"{job_folder(placement_id)}/it's a file"
    await shell.put(path, b"first")
    await shell.put(path, content, mode=0o640)
    written = Path.home() / path
    assert written.read_bytes() == content
    assert written.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in written.parent.iterdir()] == [written.name]


async def test_changed_host_key_is_detected(openssh: Any, connect: Connect) -> None:
    seen: list[str] = []
    openssh.start(host_key="host_a")
    await connect(openssh.port, username=openssh.username, on_first_key=seen.append)
    assert fingerprint(seen[0]) == fingerprint(openssh.host_public_key("host_a"))
    openssh.stop()
    openssh.start(host_key="host_b")
    with pytest.raises(HostKeyChanged):
        await connect(openssh.port, username=openssh.username, pinned=seen[0])


async def test_terminal_command_works_and_refuses_a_changed_key(
    openssh: Any, key_pair: KeyPair, tmp_path: Path
) -> None:
    openssh.start()
    known_hosts = tmp_path / "known hosts"
    argv = ssh_argv("127.0.0.1", openssh.port, openssh.username, key_pair.private_path, known_hosts)
    for host_key, expected in (("host_a", b"hello\n"), ("host_b", b"")):
        write_known_hosts(known_hosts, "127.0.0.1", openssh.port, openssh.host_public_key(host_key))
        done = await asyncio.to_thread(
            subprocess.run, [*argv, "echo hello"], capture_output=True, stdin=subprocess.DEVNULL, timeout=60
        )
        assert done.stdout == expected, done.stderr


async def test_50_000_lines_through_a_connection_that_keeps_breaking(
    openssh: Any, connect: Connect, placement_id: str, tmp_path: Path
) -> None:
    """Submit, then poll over connections that are cut at every second reply: the log here must equal the log there."""
    openssh.start()
    command = "i=0; while [ $i -lt 50 ]; do seq $((i * 1000 + 1)) $((i * 1000 + 1000)); i=$((i + 1)); sleep 0.04; done; exit 42"
    shell = await connect(openssh.port, username=openssh.username)
    await VmRunner(shell, placement_id).install(_files(placement_id, command))
    await VmRunner(shell, placement_id).start()
    log = JobLog(tmp_path / "job.log")
    log.begin(placement_id, now_ms=0)
    cuts = polls = 0
    reply: PollReply | None = None
    async with asyncio.timeout(300):
        while reply is None or not reply.state.is_final or log.remote_offset(placement_id) < reply.size:
            polls += 1
            poll = asyncio.create_task(
                VmRunner(shell, placement_id).poll(log.remote_offset(placement_id), limit=25_000, lease_s=300)
            )
            if polls % 2 == 0 and cuts < 5:
                await asyncio.sleep(0.004 * cuts)
                shell._connection.abort()
                cuts += 1
            try:
                reply = await poll
            except ShellError:
                await shell.close()
                shell = await connect(openssh.port, username=openssh.username)
                continue
            log.append(placement_id, log.remote_offset(placement_id), reply.payload)
    assert (reply.state, reply.exit_code, reply.reason) == ("exited", 42, "exited")
    expected = b"".join(b"%d\n" % number for number in range(1, 50_001))
    there = (Path.home() / job_folder(placement_id) / "log").read_bytes()
    assert hashlib.sha256(log.path.read_bytes()).digest() == hashlib.sha256(expected).digest()
    assert there == expected
    assert cuts == 5


async def test_job_goes_on_with_nobody_connected(openssh: Any, connect: Connect, placement_id: str) -> None:
    openssh.start()
    shell = await connect(openssh.port, username=openssh.username)
    await VmRunner(shell, placement_id).install(_files(placement_id, "sleep 1; echo survived; exit 9"))
    await VmRunner(shell, placement_id).start()
    shell._connection.abort()
    openssh.stop()
    async with asyncio.timeout(60):
        while not (Path.home() / job_folder(placement_id) / "result").exists():
            await asyncio.sleep(0.05)
    openssh.start()
    shell = await connect(openssh.port, username=openssh.username)
    reply = await VmRunner(shell, placement_id).poll(0, lease_s=300)
    assert (reply.state, reply.exit_code, reply.payload) == ("exited", 9, b"survived\n")
