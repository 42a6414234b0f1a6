"""What travels to a machine and back: the job's files, the header of a poll, and what an end means for the job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gputui.core.runner.protocol import (
    ExitOutcome,
    GpuSample,
    PollReply,
    RunState,
    env_file,
    exit_outcome,
    harness_source,
    job_files,
    job_folder,
    parse_poll,
)
from gputui.core.runner.vm import VmRunner
from gputui.model.errors import ShellError, UsageError
from gputui.model.shell import ShellResult
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import JobSpec, Offer, Placement

OFFER = Offer(id="o", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)
PLACEMENT = Placement(
    id="01jd3q8z6t", job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
    nonce="abc123", state=PlacementState.READY, created_at_ms=0,
)  # fmt: skip
RUNNING = (
    b"gputui/1 state=running exit=- reason=- size=7 nonce=abc started=1700000000 finished=- gpu=97,61234,81559,612.5"
    b" idle=0 guard=armed"
)


def files_of(**spec: Any) -> dict[str, tuple[str, int]]:
    files = job_files(JobSpec(gpu="H100", **spec), PLACEMENT, lease_s=600)
    return {file.name: (file.content.decode(), file.mode) for file in files}


def test_files_of_a_container_job() -> None:
    limits = {"max_duration_s": 60, "idle_stop_s": 600, "idle_threshold_percent": 3}
    files = files_of(image="pytorch/pytorch:2.9", command="a\nb 'c'", env={"A": "1", "B": "x y"}, **limits)
    assert list(files)[-1] == "harness.sh", "the harness comes last: without it nothing can be started"
    assert files["spec"][0].splitlines() == [
        "mode=docker",
        "name=gputui-01jd3q8z6t",
        "image=pytorch/pytorch:2.9",
        "max_duration_s=60",
        "grace_s=30",
        "lease_s=600",
        "docker_wait_s=120",
        "idle_stop_s=600",
        "idle_percent=3",
        "end_key=",
        "end_id=",
        "mounts=",
        "nonce=abc123",
    ]
    assert files["command"] == ("a\nb 'c'", 0o600)
    assert files["env"] == ("A=1\nB=x y\n", 0o600)
    assert files["harness.sh"] == (harness_source().decode(), 0o700)


def test_files_of_a_plain_job_without_limits() -> None:
    files = job_files(JobSpec(gpu="H100", command="true"), PLACEMENT, lease_s=None)
    orders = files[0].content.decode().splitlines()
    assert {"mode=plain", "image=", "max_duration_s=", "lease_s="} <= set(orders)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "command"),
        ({"command": "  \n"}, "command"),
        ({"command": "x\0y"}, "command"),
        ({"command": "x" * 100_001}, "command"),
        ({"image": "--privileged", "command": "c"}, "image"),
        ({"image": "a b", "command": "c"}, "image"),
        ({"image": "a\nmode=plain", "command": "c"}, "image"),
        ({"command": "c", "env": {"A": "line\nbreak"}}, "env"),
        ({"command": "c", "env": {"A": "fake-secret\r"}}, "env"),
        ({"command": "c", "env": {"A": "nul\0"}}, "env"),
        ({"command": "c", "env": {"A": "x" * 65_000}}, "env"),
        ({"command": "c", "env": {"1A": "x"}}, "env"),
        ({"command": "c", "env": {"A B": "x"}}, "env"),
        ({"command": "c", "env": {"A=B": "x"}}, "env"),
        ({"command": "c", "env": {"": "x"}}, "env"),
        ({"command": "c", "env": {"PPID": "1"}}, "env"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_anything(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageError) as caught:
        files_of(**spec)
    assert caught.value.field == field
    assert "fake-secret" not in str(caught.value)


@pytest.mark.parametrize("placement_id", ["", "a/b", "..", "a b", "x" * 65, "-x"])
def test_folder_name_is_checked(placement_id: str) -> None:
    with pytest.raises(UsageError):
        job_folder(placement_id)


def test_env_file_quotes_nothing() -> None:
    assert env_file({"A": "'\"$x`", "B": "", "C": "ü"}) == "A='\"$x`\nB=\nC=ü\n".encode()


def test_poll_is_read() -> None:
    reply = parse_poll(RUNNING + b" bytes=5\nab\n\0\xff", offset=2, limit=100)
    assert reply == PollReply(
        state=RunState.RUNNING,
        exit_code=None,
        reason=None,
        size=7,
        nonce="abc",
        started_s=1_700_000_000,
        finished_s=None,
        gpu=GpuSample(97.0, 61234.0, 81559.0, 612.5),
        payload=b"ab\n\0\xff",
        idle="0",
        guard="armed",
    )


def test_unknown_fields_are_left_aside() -> None:
    assert parse_poll(RUNNING + b" bytes=0 disk=93\n", offset=7, limit=100).payload == b""


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("-", None),
        ("97,,81559,", GpuSample(97.0, None, 81559.0, None)),
        ("97,[N/A],81559,1", GpuSample(97.0, None, 81559.0, 1.0)),
        ("failed", None),
    ],
)
def test_odd_gpu_figures_do_not_hide_the_job(gpu: str, expected: GpuSample | None) -> None:
    raw = (
        f"gputui/1 state=running exit=- reason=- size=0 nonce=n started=1 finished=- gpu={gpu} idle=- guard=- bytes=0\n"
    )
    assert parse_poll(raw.encode(), offset=0, limit=1).gpu == expected


@pytest.mark.parametrize(
    ("raw", "offset", "says"),
    [
        (b"", 0, "not one of the harness"),
        (b"Welcome to Ubuntu\n", 0, "not one of the harness"),
        (b"gputui/2 state=running\n", 0, "not one of the harness"),
        (RUNNING, 0, "not one of the harness"),
        (RUNNING + b" bytes=7\nabc", 0, "cut short: 3 of 7"),
        (RUNNING + b" bytes=3\nabcd", 0, "cut short"),
        (RUNNING + b" bytes=3\nabc", 0, "where others were due"),
        (RUNNING + b" bytes=0\n", 8, "shorter than the 8 already read"),
        (RUNNING + b"\n", 0, "cannot be read"),
        (RUNNING.replace(b"running", b"dancing") + b" bytes=7\nabcdefg", 0, "cannot be read"),
        (RUNNING.replace(b"size=7", b"size=x") + b" bytes=7\nabcdefg", 0, "cannot be read"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(raw: bytes, offset: int, says: str) -> None:
    with pytest.raises(ShellError, match=says):
        parse_poll(raw, offset=offset, limit=100)


def test_every_cut_of_an_answer_is_noticed() -> None:
    raw = RUNNING + b" bytes=7\nabcdefg"
    assert parse_poll(raw, offset=0, limit=100).payload == b"abcdefg"
    for length in range(len(raw)):
        with pytest.raises(ShellError):
            parse_poll(raw[:length], offset=0, limit=100)


REPLY = parse_poll(RUNNING + b" bytes=0\n", offset=7, limit=1)


@pytest.mark.parametrize("state", [RunState.NONE, RunState.STARTING, RunState.RUNNING])
def test_no_outcome_before_the_end(state: RunState) -> None:
    assert exit_outcome(replace(REPLY, state=state)) is None


@pytest.mark.parametrize(
    ("state", "exit_code", "reason", "status", "error_code"),
    [
        ("exited", 0, "exited", JobStatus.COMPLETED, None),
        ("exited", 3, "exited", JobStatus.FAILED, "exit_code"),
        ("exited", 143, "cancelled", JobStatus.STOPPED, None),
        ("exited", 0, "cancelled", JobStatus.STOPPED, None),
        ("exited", 137, "max_duration", JobStatus.STOPPED, "max_duration"),
        ("exited", 143, "lease", JobStatus.FAILED, "lease_expired"),
        ("exited", 143, "idle_stop", JobStatus.STOPPED, "idle_stop"),
        ("exited", 137, "oom", JobStatus.FAILED, "oom"),
        ("lost", None, None, JobStatus.FAILED, "lost"),
        ("lost", None, "rebooted", JobStatus.FAILED, "rebooted"),
        ("lost", None, "lease", JobStatus.FAILED, "lease_expired"),
        ("lost", None, "max_duration", JobStatus.STOPPED, "max_duration"),
        ("failed", None, "cancelled", JobStatus.STOPPED, None),
        ("failed", None, "submit_failed", JobStatus.FAILED, "submit_failed"),
        ("failed", None, "pull_failed", JobStatus.FAILED, "pull_failed"),
        ("failed", None, "docker_missing", JobStatus.FAILED, "docker_missing"),
        ("failed", None, "something_new", JobStatus.FAILED, "something_new"),
    ],
)
def test_outcome_of_an_end(
    state: str, exit_code: int | None, reason: str | None, status: JobStatus, error_code: str | None
) -> None:
    outcome = exit_outcome(replace(REPLY, state=RunState(state), exit_code=exit_code, reason=reason))
    assert isinstance(outcome, ExitOutcome)
    assert (outcome.status, outcome.exit_code, outcome.error_code) == (status, exit_code, error_code)
    assert (outcome.error is None) == (error_code is None)
    if outcome.error is not None:
        assert outcome.error.endswith(".")


class RecordingShell:
    """A shell that answers as it is told and remembers what it was asked."""

    def __init__(self, answer: ShellResult) -> None:
        self.answer = answer
        self.calls: list[list[str]] = []
        self.files: list[tuple[str, int]] = []

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        self.files.append((path, mode))

    async def run(self, argv: Any, *, timeout_s: float = 30.0) -> ShellResult:
        self.calls.append(list(argv))
        return self.answer

    async def close(self) -> None: ...


async def test_runner_speaks_the_harness_verbs() -> None:
    shell = RecordingShell(ShellResult(0, RUNNING + b" bytes=0\n"))
    runner = VmRunner(shell, "p1")
    await runner.install(job_files(JobSpec(gpu="H100", command="c"), PLACEMENT, lease_s=None))
    await runner.start()
    assert (await runner.poll(7, limit=5, lease_s=60)).state == "running"
    await runner.stop()
    assert shell.files == [
        (".gputui/p1/spec", 0o600),
        (".gputui/p1/command", 0o600),
        (".gputui/p1/env", 0o600),
        (".gputui/p1/ends", 0o600),
        (".gputui/p1/harness.sh", 0o700),
    ]
    assert shell.calls == [
        ["sh", ".gputui/p1/harness.sh", "start", ".gputui/p1"],
        ["sh", ".gputui/p1/harness.sh", "poll", ".gputui/p1", "7", "5", "60"],
        ["sh", ".gputui/p1/harness.sh", "stop", ".gputui/p1"],
    ]


async def test_runner_reports_what_the_machine_complained_of() -> None:
    runner = VmRunner(RecordingShell(ShellResult(73, b"", b"No space left on device\n")), "p1")
    with pytest.raises(ShellError, match=r"could not start on the machine \(exit 73\): No space left on device"):
        await runner.start()


@pytest.mark.parametrize(
    ("exit_code", "said"), [(3, "exited with code 3"), (137, "not by gputui"), (143, "not by gputui")]
)
def test_a_signal_that_was_not_ours_is_said_to_be_none_of_ours(exit_code: int, said: str) -> None:
    outcome = exit_outcome(replace(REPLY, state=RunState.EXITED, exit_code=exit_code, reason="exited"))
    assert outcome is not None
    assert said in (outcome.error or "")
