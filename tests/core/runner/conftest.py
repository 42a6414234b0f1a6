"""A machine without SSH: the harness runs in a folder that stands for the login user's home."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gputui.core.runner.protocol import EndCalls, PollReply, job_files
from gputui.core.runner.vm import VmRunner
from gputui.model.shell import ShellResult
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement
from gputui.sim.stub_docker import install_stubs

OFFER = Offer(id="o1", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)
MARKER = "GPUTUI_TEST_MACHINE"
NEEDED = (
    *("sh", "cat", "date", "mv", "rm", "wc", "head", "tail", "sleep", "mkdir", "tr", "timeout", "printenv", "grep"),
    *("flock", "setsid", "mkfifo"),
)


@dataclass(frozen=True)
class Ended:
    """The last answer of a finished workload and its whole log."""

    reply: PollReply
    log: bytes

    @property
    def summary(self) -> tuple[str, int | None, str | None]:
        return self.reply.state.value, self.reply.exit_code, self.reply.reason


class LocalMachine:
    """A `Shell` whose machine is a folder of this one. Processes carry a marker, so that all can be ended."""

    placement_id = "p1"

    def __init__(self, home: Path, *, docker: bool) -> None:
        self.home = home
        self.bin = home.parent / "bin"
        self.docker_state = home.parent / "docker"
        self.path = "/usr/bin:/bin"
        self.environ: dict[str, str] = {}
        self.growths: list[int] = []
        home.mkdir(parents=True)
        if docker:
            install_stubs(self.bin, sys.executable, state_dir=self.docker_state)
            self.path = f"{self.bin}:{self.path}"

    @property
    def folder(self) -> Path:
        return self.home / ".gputui" / self.placement_id

    @property
    def runner(self) -> VmRunner:
        return VmRunner(self, self.placement_id)

    def only_programs(self, *names: str) -> None:
        """Leave the machine with what the harness needs and these programs."""
        self.bin.mkdir(exist_ok=True)
        for name in (*NEEDED, *names):
            found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
            assert found is not None, name
            (self.bin / name).symlink_to(found)
        self.path = str(self.bin)

    def add_program(self, name: str, script: str) -> None:
        """Put a program first on the machine's PATH."""
        self.bin.mkdir(exist_ok=True)
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)
        if not self.path.startswith(str(self.bin)):
            self.path = f"{self.bin}:{self.path}"

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        part.write_bytes(content)
        part.chmod(mode)
        part.replace(target)

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        child = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": self.path, MARKER: str(self.home), **self.environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await child.communicate()
        return ShellResult(child.returncode or 0, stdout, stderr)

    async def close(self) -> None:
        self.kill_everything()

    async def install(
        self,
        command: str | None,
        *,
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        max_duration_s: int | None = None,
        lease_s: int | None = 300,
        grace_s: int = 1,
        docker_wait_s: int = 60,
        mounts: Sequence[str] = (),
        idle_stop_s: int | None = None,
        end_calls: EndCalls | None = None,
    ) -> VmRunner:
        limits = {"max_duration_s": max_duration_s, "idle_stop_s": idle_stop_s}
        spec = JobSpec(gpu="H100", image=image, command=command, env=env or {}, **limits)  # type: ignore[arg-type]
        placement = Placement(
            id=self.placement_id, job_id="j1", attempt=1, provider="mock", offer=OFFER, label="gputui-test",
            idempotency_key="k", nonce="n0nce", state=PlacementState.READY, created_at_ms=0,
        )  # fmt: skip
        waits = {"lease_s": lease_s, "grace_s": grace_s, "docker_wait_s": docker_wait_s}
        files = job_files(spec, placement, mounts=mounts, end_calls=end_calls, **waits)  # type: ignore[arg-type]
        await self.runner.install(files)
        return self.runner

    async def start(self, command: str | None, **options: object) -> VmRunner:
        runner = await self.install(command, **options)  # type: ignore[arg-type]
        await runner.start()
        return runner

    async def until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Wait until something holds on the machine's disk or among its processes."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.02)

    async def ended(self, *, lease_s: int = 300, timeout_s: float = 90.0) -> Ended:
        """Poll to the end and collect the log."""
        log = b""
        async with asyncio.timeout(timeout_s):
            while True:
                reply = await self.runner.poll(len(log), lease_s=lease_s)
                log += reply.payload
                if reply.state.is_final and len(log) == reply.size:
                    return Ended(reply, log)
                if not reply.payload:
                    with contextlib.suppress(TimeoutError):
                        await self.until(lambda: self.has("result"), timeout_s=1)

    def recorded_pid(self, name: str) -> int | None:
        try:
            return int((self.folder / f"{name}.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    async def kill(self, name: str) -> None:
        """Kill one of the harness's processes by its recorded id, once it runs; too late when all is over."""
        await self.until(lambda: self.has("result") or self.owns(self.recorded_pid(name)))
        pid = self.recorded_pid(name)
        if not self.has("result") and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await self.until(lambda: not self.owns(pid))

    def expire(self, name: str) -> None:
        """Let the job's lease or deadline be past, in one step."""
        boot, _, _ = (self.folder / name).read_text().split()
        past = self.home / "past"
        past.write_text(f"{boot} 0 0\n".rjust(91))
        past.chmod(0o600)
        past.replace(self.folder / name)

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Hold one of the harness's processes still, so that it sees what happens meanwhile only afterwards."""
        pid = self.recorded_pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await self.until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def owns(self, pid: int | None) -> bool:
        """Say whether a process runs and is one of the machine's."""
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"{MARKER}={self.home}".encode() in environ.split(b"\0")

    def processes(self) -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal() and self.owns(int(name))]

    def kill_everything(self) -> None:
        """End every process of the machine, as a power cut would."""
        while running := self.processes():
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def new_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalMachine]]:
    """Make machines: `new_machine()` for plain jobs, `new_machine(docker=True)` for one with stub programs."""
    machines: list[LocalMachine] = []

    def make(*, docker: bool = False) -> LocalMachine:
        machine = LocalMachine(tmp_path_factory.mktemp("machine") / "home", docker=docker)
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.kill_everything()
