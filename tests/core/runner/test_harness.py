"""The harness on a plain machine: what a job prints, how it ends, and what may happen to it meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

STUBBORN = """
trap '' TERM
(trap '' TERM; while :; do sleep 0.2; done) &
echo $! >grandchild
while :; do sleep 0.2; done
"""
BINARY = "head -c 300000 /dev/urandom | tee copy"
# one write a line, as a line-buffered program does it
TWO_WRITERS = """
count() { i=$1; while [ $i -lt $(($1 + 4000)) ]; do echo $i; i=$((i + 1)); done; }
count 0 & count 4000 >&2; wait
"""
BIG = "seq 1 2600000"
PROGRESS = r"""for i in 1 2 3; do printf '\rstep %s' $i; printf '\r\n' >&2; done; printf '\033[2K\rdone'"""
GRACEFUL = "trap 'echo saved; exit 0' TERM; touch up; sleep 300 & wait"
HELD_SETSID = f"""
case $* in *"sleep 300") touch HOME/up; exec sleep 300 ;; esac
exec {shutil.which("setsid")} "$@"
"""
LONG_ENV = {
    "QUOTES": """a "b" 'c' `id` $(id) $HOME \\ *""",
    "SPACES": "  two  ",
    "EMPTY": "",
    "EQUALS": "a=b=c",
    "UNICODE": "größe 模型",
    "_gputui_other": "1",
}
Act = Callable[[Any], Awaitable[None]]


async def _start_only(machine: Any) -> None:
    await machine.runner.start()


async def _stop(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: (machine.home / "up").exists())
    await machine.runner.stop()


async def _stop_before_start(machine: Any) -> None:
    await machine.runner.stop()
    await machine.runner.start()


async def _start_often(machine: Any) -> None:
    await asyncio.gather(*(machine.runner.start() for _ in range(6)))


async def _begin(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("job.pid"))


async def _kill_supervisor_and_start_again(machine: Any) -> None:
    await _begin(machine)
    await machine.kill("supervisor")
    await machine.runner.start()


async def _kill_supervisor_late_and_start_again(machine: Any) -> None:
    await _begin(machine)
    await asyncio.sleep(1)
    await machine.kill("supervisor")
    await machine.runner.start()


async def _kill_supervisor_for_good(machine: Any) -> None:
    """The job ends with nobody there; the next poll finds its exit code."""
    await _begin(machine)
    await machine.kill("supervisor")
    await machine.until(lambda: machine.has("exit_code"))


async def _pass_deadline(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: (machine.home / "grandchild").exists())
    machine.expire("deadline")


async def _lapse(machine: Any) -> None:
    await _begin(machine)
    machine.expire("lease")


async def _renew(machine: Any) -> None:
    """A poll between the lease's end and the supervisor's next look is in time."""
    await _begin(machine)
    async with machine.held("supervisor"):
        machine.expire("lease")
        await machine.runner.poll(0, lease_s=300)
    await asyncio.sleep(3)
    (machine.home / "go").touch()


async def _reuse_supervisors_pid(machine: Any) -> None:
    """A supervisor's number that now belongs to another process must not keep a new supervisor away."""
    await _begin(machine)
    await machine.kill("supervisor")
    record = (machine.folder / "supervisor.pid").read_text().split()
    (machine.folder / "supervisor.pid").write_text(f"{os.getpid()} {record[1]} {record[2]}\n")
    await machine.runner.start()


async def _kill_wrapper(machine: Any) -> None:
    await _begin(machine)
    await machine.kill("wrapper")
    (machine.home / "go").touch()


async def _power_cut(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("log") and (machine.folder / "log").stat().st_size > 0)
    machine.kill_everything()
    (machine.folder / "boot").write_text("another-boot\n")


def _program(name: str, script: str) -> Callable[[Any], None]:
    return lambda machine: machine.add_program(name, script.replace("HOME", str(machine.home)))


@dataclass(frozen=True)
class Scenario:
    """A job, what the machine is like, what happens to the job, and how it must end: state, exit code, reason."""

    command: str
    expected: tuple[str, int | None, str | None]
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any], None] = lambda machine: None
    act: Act = _start_only
    poll_lease_s: int = 300


EXITED_0 = ("exited", 0, "exited")
SCENARIOS: dict[str, Scenario] = {
    "success": Scenario("true", EXITED_0),
    "failure": Scenario("exit 3", ("exited", 3, "exited")),
    "killed by itself": Scenario("kill -9 $$", ("exited", 137, "exited")),
    "unknown command": Scenario("no-such-program", ("exited", 127, "exited")),
    "both streams": Scenario("echo out; echo err >&2; echo out again", EXITED_0),
    "no trailing newline": Scenario("printf 'no end'", EXITED_0),
    "binary": Scenario(BINARY, EXITED_0),
    "big": Scenario(BIG, EXITED_0),
    "progress bars": Scenario(PROGRESS, EXITED_0),
    "one endless line": Scenario("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after", EXITED_0),
    "both streams fast": Scenario(TWO_WRITERS, EXITED_0),
    "streams by name": Scenario("echo 1; echo 2 >/dev/stderr; echo 3 >/dev/stdout; echo 4", EXITED_0),
    "bash": Scenario("[[ $BASH_VERSION ]] && pwd && umask", EXITED_0),
    "environment": Scenario("env -0", EXITED_0, options={"env": LONG_ENV}),
    "left-over child": Scenario("sleep 300 & echo $! >child", EXITED_0),
    "started often": Scenario("echo once >>ran; sleep 1", EXITED_0, act=_start_often),
    "stopped": Scenario("echo begun; touch up; sleep 300", ("exited", 143, "cancelled"), act=_stop),
    "stopped gracefully": Scenario(GRACEFUL, ("exited", 0, "cancelled"), options={"grace_s": 5}, act=_stop),
    "stopped before it leads a group": Scenario(
        "sleep 300",
        ("exited", 143, "cancelled"),
        prepare=_program("setsid", HELD_SETSID),
        act=_stop,
    ),
    "stopped before the start": Scenario("echo >ran", ("failed", None, "cancelled"), act=_stop_before_start),
    "out of time": Scenario(
        STUBBORN, ("exited", 137, "max_duration"), options={"max_duration_s": 200}, act=_pass_deadline
    ),
    "out of time, supervisor killed": Scenario(
        "sleep 300",
        ("exited", 143, "max_duration"),
        options={"max_duration_s": 3},
        act=_kill_supervisor_late_and_start_again,
    ),
    "lease lapses": Scenario("sleep 300", ("exited", 143, "lease"), act=_lapse, poll_lease_s=0),
    "lease is renewed": Scenario("until [ -e go ]; do sleep 0.1; done", EXITED_0, act=_renew),
    "supervisor killed": Scenario(
        "seq 1 30; sleep 2; exit 7", ("exited", 7, "exited"), act=_kill_supervisor_and_start_again
    ),
    "supervisor gone": Scenario("sleep 1; exit 8", ("exited", 8, "exited"), act=_kill_supervisor_for_good),
    "process id reused": Scenario("sleep 2; exit 5", ("exited", 5, "exited"), act=_reuse_supervisors_pid),
    "wrapper killed": Scenario(
        "echo here; until [ -e go ]; do sleep 0.1; done", ("lost", None, None), act=_kill_wrapper
    ),
    "rebooted": Scenario("echo here; sleep 300", ("lost", None, "rebooted"), act=_power_cut),
    "memory ran out": Scenario(
        "echo oom_kill 5 >vmstat; kill -9 $$",
        ("exited", 137, "oom"),
        prepare=_program("grep", "[ -e HOME/vmstat ] && cat HOME/vmstat || echo oom_kill 4"),
    ),
    "driver hangs": Scenario("sleep 1", EXITED_0, prepare=_program("nvidia-smi", "exec sleep 300")),
    "driver broken": Scenario(
        "sleep 1", EXITED_0, prepare=_program("nvidia-smi", "echo 'Failed, and it could not, say, talk.'; exit 9")
    ),
}


@pytest.fixture(scope="module")
def ends(new_machine: Any) -> dict[str, Any]:
    """Run every scenario at the same time, each on its own machine; return name -> (machine, how it ended)."""

    async def run(name: str) -> tuple[Any, Any]:
        scenario = SCENARIOS[name]
        machine = new_machine()
        scenario.prepare(machine)
        await machine.install(scenario.command, **scenario.options)
        await scenario.act(machine)
        return machine, await machine.ended(lease_s=scenario.poll_lease_s)

    async def run_all() -> dict[str, Any]:
        ended = await asyncio.gather(*map(run, SCENARIOS), return_exceptions=True)
        return dict(zip(SCENARIOS, ended, strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize("name", SCENARIOS)
def test_ends_as_expected(ends: dict[str, Any], name: str) -> None:
    if isinstance(ends[name], BaseException):
        raise ends[name]
    machine, ended = ends[name]
    assert ended.summary == SCENARIOS[name].expected
    assert ended.reply.nonce == "n0nce"
    assert ended.reply.gpu is None
    if ended.reply.state == "exited":
        assert ended.reply.finished_s >= ended.reply.started_s
    assert (machine.folder / "supervisor.err").read_text() == ""


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("both streams", b"out\nerr\nout again\n"),
        ("no trailing newline", b"no end"),
        ("streams by name", b"1\n2\n3\n4\n"),
        ("stopped", b"begun\n"),
        ("stopped gracefully", b"saved\n"),
        ("supervisor killed", b"".join(b"%d\n" % number for number in range(1, 31))),
        ("wrapper killed", b"here\n"),
        ("rebooted", b"here\n"),
    ],
)
def test_log_is_what_the_command_printed(ends: dict[str, Any], name: str, log: bytes) -> None:
    assert ends[name][1].log == log


@pytest.mark.parametrize(("name", "limit_s"), [("driver hangs", 30), ("out of time, supervisor killed", 60)])
def test_ends_in_time(ends: dict[str, Any], name: str, limit_s: int) -> None:
    reply = ends[name][1].reply
    assert reply.finished_s - reply.started_s <= limit_s


def test_stopped_before_the_start_never_ran(ends: dict[str, Any]) -> None:
    assert not (ends["stopped before the start"][0].home / "ran").exists()


def test_files_are_private(ends: dict[str, Any]) -> None:
    for name, (machine, _) in ends.items():
        for entry in machine.folder.iterdir():
            assert entry.stat().st_mode & 0o077 == 0, (name, entry.name)


def test_binary_output_arrives_unchanged(ends: dict[str, Any]) -> None:
    machine, ended = ends["binary"]
    assert len(ended.log) == 300_000
    assert ended.log == (machine.home / "copy").read_bytes()


def test_log_of_20_megabytes_arrives_whole(ends: dict[str, Any]) -> None:
    lines = ends["big"][1].log.split(b"\n")
    assert len(ends["big"][1].log) > 19_000_000
    assert lines == [b"%d" % number for number in range(1, 2_600_001)] + [b""]


def test_carriage_returns_and_control_characters_arrive_as_they_were_printed(ends: dict[str, Any]) -> None:
    assert ends["progress bars"][1].log == b"\rstep 1\r\n\rstep 2\r\n\rstep 3\r\n\x1b[2K\rdone"


def test_a_line_of_5_megabytes_arrives_whole(ends: dict[str, Any]) -> None:
    assert ends["one endless line"][1].log == b"x" * 5_000_000 + b"\nafter\n"


def test_two_streams_at_once_lose_nothing_and_keep_their_own_order(ends: dict[str, Any]) -> None:
    numbers = [int(line) for line in ends["both streams fast"][1].log.split()]
    assert [number for number in numbers if number < 4000] == list(range(4000))
    assert [number for number in numbers if number >= 4000] == list(range(4000, 8000))


def test_runs_in_bash_at_home_with_an_ordinary_umask(ends: dict[str, Any]) -> None:
    machine, ended = ends["bash"]
    assert ended.log.decode().split() == [str(machine.home), "0022"]


def test_environment_is_passed_without_evaluation(ends: dict[str, Any]) -> None:
    variables = dict(entry.split("=", 1) for entry in ends["environment"][1].log.decode().split("\0") if entry)
    assert {name: variables[name] for name in LONG_ENV} == LONG_ENV
    assert "_gputui_line" not in variables


def test_repeated_start_runs_the_command_once(ends: dict[str, Any]) -> None:
    assert (ends["started often"][0].home / "ran").read_text() == "once\n"


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("name", "file"), [("out of time", "grandchild"), ("left-over child", "child")])
def test_no_descendant_outlives_the_job(ends: dict[str, Any], name: str, file: str) -> None:
    pid = int((ends[name][0].home / file).read_text())
    assert not _is_alive(pid)


def test_nothing_of_the_harness_is_left_running(ends: dict[str, Any]) -> None:
    for name, (machine, _) in ends.items():
        left = [pid for pid in machine.processes() if _is_alive(pid)]
        assert left == [], name


async def test_a_job_is_over_although_it_left_a_service_that_goes_on_printing(new_machine: Any) -> None:
    machine = new_machine()
    runner = await machine.start("setsid sh -c 'while :; do echo still; sleep 0.2; done' & sleep 0.5; exit 6")
    ended = await machine.ended()
    assert ended.summary == ("exited", 6, "exited")
    assert ended.reply.finished_s - ended.reply.started_s <= 20
    async with asyncio.timeout(60):
        while not (await runner.poll(len(ended.log), lease_s=300)).payload.startswith(b"still\n"):
            await asyncio.sleep(0.1)


async def test_poll_from_any_offset_gives_the_same_bytes(new_machine: Any) -> None:
    machine = new_machine()
    runner = await machine.start("printf 'abc\\n\\000\\377def'")
    log = (await machine.ended()).log
    assert log == b"abc\n\0\xffdef"
    for offset in range(len(log) + 1):
        for limit in (0, 1, 4, 100):
            reply = await runner.poll(offset, limit=limit, lease_s=300)
            assert reply.payload == log[offset : offset + limit]


async def test_before_the_start_nothing_runs(new_machine: Any) -> None:
    machine = new_machine()
    runner = await machine.install("echo never >ran")
    reply = await runner.poll(0, lease_s=300)
    assert (reply.state, reply.size, reply.started_s) == ("none", 0, None)
    await asyncio.sleep(1.2)
    assert not (machine.home / "ran").exists()


async def test_stop_and_start_after_the_end_change_nothing(new_machine: Any) -> None:
    machine = new_machine()
    runner = await machine.start("echo once >>ran; exit 4")
    before = await machine.ended()
    await runner.stop()
    await runner.start()
    assert (await machine.ended()).reply == before.reply
    assert (machine.home / "ran").read_text() == "once\n"


async def test_missing_tools_are_named(new_machine: Any) -> None:
    machine = new_machine()
    for tool in ("sh", "cat", "date", "mv", "rm", "wc", "head", "tail", "sleep"):
        machine.add_program(tool, f'exec {shutil.which(tool)} "$@"')
    machine.path = str(machine.bin)
    machine.run = _with_real_shell(machine)
    await machine.start("true")
    ended = await machine.ended()
    assert ended.summary == ("failed", None, "tools_missing")
    assert b"'flock'" in ended.log


def _with_real_shell(machine: Any) -> Any:
    run = type(machine).run
    return lambda argv, **options: run(machine, ["/bin/sh", *argv[1:]], **options)


async def test_busiest_gpu_is_reported_while_the_job_runs(new_machine: Any) -> None:
    machine = new_machine()
    machine.add_program("nvidia-smi", "echo '3, 10, 81559, 70.5'; echo '97, 61234, 81559, [N/A]'")
    runner = await machine.start("sleep 300")
    await machine.until(lambda: machine.has("gpu"))
    gpu = (await runner.poll(0, lease_s=300)).gpu
    assert gpu is not None
    assert (gpu.util_percent, gpu.mem_used_mib, gpu.mem_total_mib, gpu.power_w) == (97.0, 61234.0, 81559.0, None)
    await runner.stop()
    assert (await machine.ended()).reply.gpu is None


async def test_wrong_calls_are_refused(new_machine: Any) -> None:
    machine = new_machine()
    await machine.install("true")
    harness = f".gputui/{machine.placement_id}/harness.sh"
    folder = f".gputui/{machine.placement_id}"
    for arguments in (["poll", folder], ["poll", folder, "x", "1", "1"], ["erase", folder], ["start"], []):
        assert (await machine.run(["sh", harness, *arguments])).exit_code in (64, 66), arguments
