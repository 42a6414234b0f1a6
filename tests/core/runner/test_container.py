"""The script that runs a job where the image is the machine, run by a real shell; and the reading of what it prints."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gputui.core.runner.container import ContainerRunner, container_start, script
from gputui.core.runner.logfile import JobLog, read
from gputui.core.runner.protocol import PollReply, RunState, exit_outcome
from gputui.model.errors import UsageError
from gputui.model.logs import LogPage
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import JobSpec, Offer, Placement

OFFER = Offer("x:1", "x", "H100-SXM", 1, 1, 0)


def placement(nonce: str) -> Placement:
    return Placement("p", "j", 1, "x", OFFER, "label", "key", nonce, PlacementState.READY, 0)


@pytest.fixture
def nonce() -> Iterator[str]:
    made = secrets.token_hex(8)
    yield made
    shutil.rmtree(f"/var/tmp/gputui-{made}", ignore_errors=True)


class Container:
    """A container as far as the script can tell: a process started by argv and env, started again when it ends."""

    def __init__(self, nonce: str, command: str, tmp_path: Path, *, max_duration_s: int | None = None) -> None:
        spec = JobSpec(gpu="H100", image="img", command=command, max_duration_s=max_duration_s)
        self.start_values = container_start(spec, placement(nonce), lease_s=300)
        self.log = tmp_path / "container.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            env = {"PATH": os.environ["PATH"], **self.start_values.env, "GPUTUI_GRACE_S": "1"}
            self.process = subprocess.Popen(
                self.start_values.argv,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self) -> None:
        listing = subprocess.run(["ps", "-eo", "pid,sess"], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines()[1:]:
            pid, session = line.split()
            if int(session) == self.process.pid:
                os.kill(int(pid), signal.SIGKILL)
        self.process.wait(timeout=60)

    async def read_page(self, after: str | None) -> LogPage:
        """Hand out whole lines; the cursor is how many were read."""
        done = int(after or 0)
        text = self.log.read_text(errors="replace")
        lines = text.split("\n")[:-1]
        return LogPage(tuple(lines[done:]), str(len(lines)) if lines else after)


async def until_final(container: Container, nonce: str, *, within_s: float = 60.0) -> tuple[list[str], PollReply]:
    runner = ContainerRunner(container.read_page, nonce)
    lines: list[str] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        reply = await runner.poll(0)
        lines += reply.payload.decode().splitlines()
        if reply.state.is_final:
            container.kill()
            return lines, reply
        time.sleep(0.05)
    container.kill()
    raise AssertionError(container.log.read_text())


async def test_output_and_exit_code_come_through_and_our_words_do_not(nonce: str, tmp_path: Path) -> None:
    lines, reply = await until_final(Container(nonce, "echo out; echo err >&2; exit 3", tmp_path), nonce)
    assert lines == ["out", "err"]
    outcome = exit_outcome(reply)
    assert outcome is not None
    assert (outcome.status, outcome.exit_code) == (JobStatus.FAILED, 3)


@pytest.mark.parametrize(("was_asked", "state"), [(True, RunState.STARTING), (False, RunState.RUNNING)])
async def test_only_a_log_that_was_asked_for_tells_that_nothing_was_printed(was_asked: bool, state: RunState) -> None:
    async def read_page(after: str | None) -> LogPage:
        return LogPage((), after, was_asked)

    assert (await ContainerRunner(read_page, "nonce").poll(0)).state is state


async def test_output_without_a_line_end_keeps_its_text(nonce: str, tmp_path: Path) -> None:
    lines, reply = await until_final(Container(nonce, "printf 'no newline'", tmp_path), nonce)
    assert lines == ["no newline"]
    assert reply.exit_code == 0


async def test_the_maximum_duration_ends_what_ignores_being_asked(
    nonce: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = tmp_path / "up"
    sleep = shutil.which("sleep")
    (tmp_path / "sleep").write_text(f"#!/bin/sh\nuntil [ -e {up} ]; do {sleep} 0.05; done; exec {sleep} $1\n")
    (tmp_path / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")  # no second passes before the job is up
    command = f"trap '' TERM; echo up; touch {up}; while :; do sleep 0.2; done"
    lines, reply = await until_final(Container(nonce, command, tmp_path, max_duration_s=1), nonce)
    assert lines[0] == "up"
    outcome = exit_outcome(reply)
    assert outcome is not None
    assert (outcome.status, outcome.error_code, outcome.exit_code) == (JobStatus.STOPPED, "max_duration", 137)


async def test_a_container_started_again_does_not_run_the_job_twice(nonce: str, tmp_path: Path) -> None:
    container = Container(nonce, "echo once; sleep 300", tmp_path)
    deadline = time.monotonic() + 60
    while "once" not in container.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    container.kill()
    container.start()
    lines, reply = await until_final(container, nonce)
    assert lines == ["once"]
    assert (reply.state, reply.exit_code, reply.reason) == (RunState.LOST, None, "restarted")


async def test_a_container_started_again_after_the_end_says_the_end_again(nonce: str, tmp_path: Path) -> None:
    container = Container(nonce, "exit 5", tmp_path)
    await until_final(container, nonce)
    container.log.write_text("")
    container.start()
    _, reply = await until_final(container, nonce)
    assert reply.exit_code == 5


async def test_a_job_cannot_fake_its_end_without_the_nonce(nonce: str, tmp_path: Path) -> None:
    fake = f"gputui-end {'0' * 16} code=0 reason=exited"
    lines, reply = await until_final(Container(nonce, f"echo '{fake}'; exit 9", tmp_path), nonce)
    assert lines == [fake]
    assert reply.exit_code == 9


async def test_a_container_started_again_on_an_empty_disk_is_noticed(nonce: str, tmp_path: Path) -> None:
    container = Container(nonce, "echo once; sleep 300", tmp_path)
    deadline = time.monotonic() + 60
    while "once" not in container.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    container.kill()
    shutil.rmtree(f"/var/tmp/gputui-{nonce}")
    container.start()
    _, reply = await until_final(container, nonce)
    assert (reply.state, reply.reason) == (RunState.LOST, "restarted")


async def test_a_crash_between_log_and_cursor_doubles_nothing(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "job.log")
    log.begin("p", now_ms=0)
    assert log.resume_cursor("p") is None
    log.append("p", 0, b"one\n")
    log.mark_cursor("1", now_ms=1)
    log.append("p", 4, b"two\n")  # and the process dies before the cursor is noted
    again = JobLog(log.path)
    assert again.resume_cursor("p") == "1"
    assert read(log.path, 0, 100) == b"one\n"
    again.append("p", 4, b"two\n")
    again.mark_cursor("2", now_ms=2)
    assert JobLog(log.path).resume_cursor("p") == "2"
    assert read(log.path, 0, 100) == b"one\ntwo\n"


def test_what_cannot_run_in_an_image_is_told() -> None:
    with pytest.raises(UsageError, match="names none"):
        container_start(JobSpec(gpu="H100", command="x"), placement("n"), lease_s=300)
    with pytest.raises(UsageError, match="are ours"):
        spec = JobSpec(gpu="H100", image="i", command="x", env={"GPUTUI_NONCE": "1"})
        container_start(spec, placement("n"), lease_s=300)
    assert "$GPUTUI_COMMAND" in script()
