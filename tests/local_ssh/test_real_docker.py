"""Jobs in real containers, over a real OpenSSH server: GPUTUI_DOCKER=1 and a Docker daemon that `docker` here reaches.

The image is made of this machine's own programs; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.base import ShellRunner
from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import EndCalls, PollReply, container_name, job_files, job_folder
from gputui.model.errors import ShellError
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.skipif(not os.environ.get("GPUTUI_DOCKER"), reason="runs containers; GPUTUI_DOCKER=1 allows it"),
]
IMAGE = "127.0.0.1:1/gputui-test:latest"  # a registry that refuses at once: the image is used as it is here
PROGRAMS = ("bash", "sh", "cat", "env", "head", "seq", "sleep", "tr")
OFFER = Offer(id="o", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)
MACHINE_KEY = "fake-machine-key"


def docker(*arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode != 0:
        pytest.skip("no Docker daemon can be reached here")
    files: dict[str, Path] = {}
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found is not None, program
        files[f"bin/{program}"] = Path(found)
        libraries = subprocess.run(["ldd", found], capture_output=True, text=True).stdout.split()
        files |= {library[1:]: Path(library) for library in libraries if library.startswith("/")}
    rootfs = io.BytesIO()
    with tarfile.open(fileobj=rootfs, mode="w", dereference=True) as tar:
        for name, path in files.items():
            tar.add(path.resolve(), name)
    docker("import", "-", IMAGE, stdin=rootfs.getvalue())
    yield IMAGE
    docker("rmi", IMAGE)


class RealJob:
    """One job's container, the connection to its machine, and its log here."""

    def __init__(self, placement_id: str, log: JobLog, connect: Callable[[], Any], ends: EndCalls) -> None:
        self.placement_id = placement_id
        self.log = log
        self.cuts = 0
        self._connect = connect
        self._ends = ends
        self._shell: Any = None
        self._files: Sequence[Any] = ()
        log.begin(placement_id, now_ms=0)

    @property
    def folder(self) -> Path:
        return Path.home() / job_folder(self.placement_id)

    @property
    def container(self) -> str:
        return container_name(self.placement_id)

    @property
    def printed(self) -> bytes:
        """What of the log is the container's."""
        return self.log.path.read_bytes()[int((self.folder / "prefix").read_text()) :]

    async def begin(
        self,
        command: str,
        *,
        env: Mapping[str, str] | None = None,
        grace_s: int = 1,
        lease_s: int = 300,
        mounts: Sequence[str] = (),
        **limits: int,
    ) -> None:
        spec = JobSpec(gpu="H100", image=IMAGE, command=command, env=env or {}, **limits)  # type: ignore[arg-type]
        placement = Placement(
            id=self.placement_id, job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
            nonce="n", state=PlacementState.READY, created_at_ms=0,
        )  # fmt: skip
        self._files = job_files(spec, placement, lease_s=lease_s, grace_s=grace_s, mounts=mounts, end_calls=self._ends)
        await (await self.runner(lease_s)).begin()

    async def runner(self, lease_s: int = 0) -> ShellRunner:
        self._shell = self._shell or await self._connect()
        return ShellRunner(self._shell, self.placement_id, self._files, lease_s=lease_s)

    def cut(self) -> None:
        """Break the connection."""
        self._shell._connection.abort()
        self.cuts += 1

    async def poll(self) -> PollReply | None:
        """Take in what there is; None when the connection broke meanwhile."""
        offset = self.log.remote_offset(self.placement_id)
        try:
            reply = await (await self.runner()).poll(offset)
        except ShellError:
            await self._shell.close()
            self._shell = None
            return None
        self.log.append(self.placement_id, offset, reply.payload)
        return reply

    async def ended(self, timeout_s: float = 60) -> PollReply:
        async with asyncio.timeout(timeout_s):
            while True:
                reply = await self.poll()
                if reply and reply.state.is_final and self.log.remote_offset(self.placement_id) == reply.size:
                    assert (self.folder / "supervisor.err").read_text() == ""
                    return reply
                await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.05)

    async def until_printed(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.log.path.read_bytes() if self.log.size else True:
                await self.poll()
                await asyncio.sleep(0.05)

    def kill(self, name: str) -> None:
        """Kill one of the harness's processes."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((self.folder / f"{name}.pid").read_text().split()[0]), signal.SIGKILL)

    def state(self) -> str:
        return docker("inspect", "-f", "{{.State.Status}}", self.container)


def summary(reply: PollReply) -> tuple[str, int | None, str | None]:
    return reply.state.value, reply.exit_code, reply.reason


@pytest.fixture
def deletions() -> Iterator[tuple[list[str], EndCalls]]:
    """What a provider was asked to delete, and how a machine asks it."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            heard.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *values: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/instances/{{id}}"
    yield heard, EndCalls("CONTAINER_API_KEY", "CONTAINER_ID", [("DELETE", url, "")])
    server.shutdown()
    server.server_close()


@pytest.fixture
async def job(
    image: str, openssh: Any, connect: Any, placement_id: str, tmp_path: Path, deletions: Any
) -> AsyncIterator[RealJob]:
    environ = {"CONTAINER_API_KEY": MACHINE_KEY, "CONTAINER_ID": "77"}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    openssh.start(environ=environ)
    made = RealJob(
        placement_id,
        JobLog(tmp_path / "job.log"),
        lambda: connect(openssh.port, username=openssh.username),
        deletions[1],
    )
    yield made
    made.kill("supervisor")
    subprocess.run(["docker", "rm", "-f", made.container], capture_output=True, timeout=60)


async def test_output_environment_and_exit_code_come_as_they_are(job: RealJob) -> None:
    odd = """ a 'b' "c" $HOME `id` \\ # = %s █"""
    command = r"""printf '\r 1%%\r█ 2%%\r\n'; echo err >&2; echo "[$ODD] [$EMPTY]"; echo by name >/dev/stderr
cat; printf '\000no end'; exit 17"""
    await job.begin(command, env={"ODD": odd, "EMPTY": ""})
    assert summary(await job.ended()) == ("exited", 17, "exited")
    assert job.printed == f"\r 1%\r█ 2%\r\nerr\n[{odd}] []\nby name\n\0no end".encode()
    assert b"gputui: using the image as it is on this machine\n" in job.log.path.read_bytes()


async def test_100_000_lines_come_once_whatever_is_cut_and_killed(job: RealJob) -> None:
    await job.begin("i=0; while [ $i -lt 100 ]; do seq $((i * 1000 + 1)) $((++i * 1000)); sleep 0.04; done; exit 42")
    for victims in ((), ("supervisor",), ("writer", "supervisor"), (), ("writer",), ("supervisor",)):
        await job.until(lambda: (job.folder / "started").exists())
        await asyncio.sleep(0.5)
        for victim in victims:
            job.kill(victim)
        await job.runner()  # connected
        poll = asyncio.create_task(job.poll())
        await asyncio.sleep(0.003 * job.cuts)
        job.cut()
        await poll
    assert summary(await job.ended()) == ("exited", 42, "exited")
    assert job.printed == b"".join(b"%d\n" % number for number in range(1, 100_001))


async def test_stop_leaves_the_container_its_grace(job: RealJob) -> None:
    await job.begin("trap 'sleep 2; echo saved; exit 5' TERM; echo ready; while :; do sleep 0.1; done", grace_s=20)
    await job.until_printed(b"ready\n")
    await (await job.runner()).stop()
    assert summary(await job.ended()) == ("exited", 5, "cancelled")
    assert job.printed == b"ready\nsaved\n"


async def test_maximum_duration_ends_a_container_that_ignores_term(job: RealJob) -> None:
    await job.begin("trap '' TERM; while :; do sleep 0.1; done", max_duration_s=6)
    assert summary(await job.ended()) == ("exited", 137, "max_duration")
    assert job.state() == "exited"


async def test_a_lapsed_lease_ends_the_container_and_then_the_machine(job: RealJob, deletions: Any) -> None:
    await job.begin("sleep 300", lease_s=4)
    job.cut()
    await job.until(lambda: deletions[0])
    assert deletions[0] == [f"/instances/77 Bearer {MACHINE_KEY}"]
    assert job.state() == "exited"
    await job.poll()
    reply = await job.ended()
    assert summary(reply) == ("exited", 143, "lease")
    assert reply.guard == "armed"


async def test_a_container_that_is_killed_tells_so(job: RealJob) -> None:
    await job.begin("echo ready; sleep 300")
    await job.until_printed(b"ready\n")
    docker("kill", job.container)
    assert summary(await job.ended()) == ("exited", 137, "exited")


async def test_a_container_that_is_removed_is_lost(job: RealJob) -> None:
    await job.begin("echo ready; sleep 300")
    await job.until_printed(b"ready\n")
    docker("rm", "-f", job.container)
    assert summary(await job.ended()) == ("lost", None, None)


async def test_memory_that_runs_out_is_named(job: RealJob) -> None:
    await job.begin("echo ready; sleep 2; x=$(head -c 300000000 /dev/zero | tr '\\0' a); echo ${#x}")
    await job.until_printed(b"ready\n")
    docker("update", "--memory", "64m", "--memory-swap", "64m", job.container)
    assert summary(await job.ended()) == ("exited", 137, "oom")


async def test_the_container_starts_once_its_volume_is_mounted_and_has_it(job: RealJob, tmp_path: Path) -> None:
    volume = Path(f"/tmp/gputui-{tmp_path.name}".replace("_", "-"))
    volume.mkdir()
    try:
        await job.begin(f"echo kept >{volume}/file", mounts=[str(volume)])
        await job.until(lambda: (job.folder / "mounts_by").exists())
        assert await job.poll()
        mount = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(volume)], capture_output=True, text=True)
        if mount.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {mount.stderr.strip()}")
        try:
            assert summary(await job.ended()) == ("exited", 0, "exited")
            assert (volume / "file").read_text() == "kept\n"
        finally:
            subprocess.run(["umount", str(volume)], check=True)
    finally:
        volume.rmdir()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine tells the use of its GPUs")
async def test_a_machine_that_cannot_tell_the_use_of_its_gpus_is_never_idle(job: RealJob) -> None:
    await job.begin("echo ready; sleep 4; echo done", idle_stop_s=1)
    await job.until_printed(b"ready\n")
    reply = await job.poll()
    assert reply is not None
    assert (reply.state.value, reply.gpu, reply.idle) == ("running", None, "missing")
    assert summary(await job.ended()) == ("exited", 0, "exited")
    assert job.printed == b"ready\ndone\n"
