"""The harness with a container, on a stub Docker that has the faults a real one has shown."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gputui.sim.stub_docker import set_faults
from gputui.sim.workload import lines, pull_lines, workload_from

IMAGE = "pytorch/pytorch:2.9.1-cuda13.0"
COMMAND = "python train.py --epochs 3"
Act = Callable[[Any], Awaitable[None]]


async def _start_only(machine: Any) -> None:
    await machine.runner.start()


async def _start_often(machine: Any) -> None:
    await asyncio.gather(*(machine.runner.start() for _ in range(5)))


async def _stop(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    await machine.runner.stop()


async def _stop_while_pulling(machine: Any) -> None:
    set_faults(machine.docker_state, pull_hangs=IMAGE)
    await machine.runner.start()
    await machine.until(lambda: machine.has("writer.pid"))
    await machine.runner.stop()


async def _kill_supervisors(machine: Any) -> None:
    """Three supervisors in a row, once with the log's writer, each started again."""
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    for names in (("supervisor",), ("writer", "supervisor"), ("supervisor",)):
        await asyncio.sleep(0.5)
        for name in names:
            await machine.kill(name)
        await machine.runner.start()


async def _kill_supervisor_while_pulling(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("writer.pid"))
    await asyncio.sleep(0.4)
    await machine.kill("supervisor")
    await machine.runner.start()


async def _kill_supervisor_beside_its_writer(machine: Any) -> None:
    """It dies before it can note who writes the log: the next must find out all the same, or nobody keeps the limits."""
    machine.add_program(
        "mv",
        'if [ "$3" = writer.pid ] && [ -e started ] && mkdir "$HOME/killed" 2>/dev/null; then\n'
        "read -r pid _ <supervisor.pid; kill -KILL $pid\n"
        "[ $pid != $PPID ] || exit\n"  # the dead move no file
        f'fi; exec {shutil.which("mv")} "$@"',
    )
    await machine.runner.start()
    await machine.until(lambda: (machine.home / "killed").exists())
    await machine.until(lambda: not machine.owns(machine.recorded_pid("supervisor")))
    await machine.runner.start()
    await machine.until(lambda: machine.owns(machine.recorded_pid("supervisor")))
    await machine.runner.stop()


async def _kill_supervisor_at_submit(machine: Any) -> None:
    """The container was made but nobody noted it: it must be found, not made again."""
    await machine.runner.start()
    await machine.until(lambda: (machine.docker_state / "containers" / "gputui-p1.json").exists())
    await machine.kill("supervisor")
    (machine.folder / "started").unlink(missing_ok=True)
    await machine.runner.start()


async def _daemon_outage(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    await asyncio.sleep(0.5)
    set_faults(machine.docker_state, daemon_down=True)
    await asyncio.sleep(2)
    assert (await machine.runner.poll(0, lease_s=300)).state == "running"
    set_faults(machine.docker_state)


async def _daemon_late(machine: Any) -> None:
    set_faults(machine.docker_state, daemon_down=True)
    await machine.runner.start()
    await asyncio.sleep(2)
    set_faults(machine.docker_state)


async def _daemon_gone_at_pull(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("writer.pid"))
    set_faults(machine.docker_state, daemon_down=True)
    await asyncio.sleep(1.5)
    set_faults(machine.docker_state)


async def _outage_while_stopping(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    set_faults(machine.docker_state, daemon_down=True)
    await machine.runner.stop()
    await asyncio.sleep(1.5)
    set_faults(machine.docker_state)


async def _expire(machine: Any, name: str) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    machine.expire(name)


async def _pass_deadline(machine: Any) -> None:
    await _expire(machine, "deadline")


async def _lapse(machine: Any) -> None:
    await _expire(machine, "lease")


async def _remove_container(machine: Any) -> None:
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    shutil.rmtree(machine.docker_state / "containers")


async def _watch_log_grow(machine: Any) -> None:
    """Lines must come while the container runs, one after the other and not in blocks of some buffer; then stop it."""
    await machine.runner.start()
    await machine.until(lambda: machine.has("started"))
    log = machine.folder / "log"
    for _ in range(5):
        size = log.stat().st_size
        await machine.until(lambda size=size: log.stat().st_size > size)
        machine.growths.append(log.stat().st_size - size)
    await machine.runner.stop()


def _faults(**faults: Any) -> Callable[[Any], None]:
    return lambda machine: set_faults(machine.docker_state, **faults)


def _without_driver(machine: Any) -> None:
    (machine.bin / "nvidia-smi").unlink()


def _docker_behind_sudo(machine: Any) -> None:
    (machine.bin / "docker").rename(machine.bin / "real-docker")
    machine.add_program("docker", "echo 'permission denied while trying to connect' >&2; exit 1")
    machine.add_program("sudo", '[ "$1 $2" = "-n docker" ] && shift 2 && exec real-docker "$@"')


def _note_calls(machine: Any) -> None:
    (machine.bin / "docker").rename(machine.bin / "real-docker")
    machine.add_program("docker", 'echo "$@" >>"$HOME/calls"; exec real-docker "$@"')


@dataclass(frozen=True)
class Scenario:
    """A job with an image, what befalls it, and how it must end: state, exit code, reason."""

    expected: tuple[str, int | None, str | None]
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any], None] = lambda machine: None
    act: Act = _start_only
    image: str = IMAGE
    command: str | None = COMMAND
    poll_lease_s: int = 300


SHORT = {"MOCK_DURATION_S": "1"}
MIDDLE = {"MOCK_DURATION_S": "4", "MOCK_EXIT_CODE": "17"}
LATE = MIDDLE | {"MOCK_DURATION_S": "12"}
LONG = {"MOCK_DURATION_S": "300"}
STUBBORN = LONG | {"MOCK_IGNORE_TERM": "1"}
EXITED_17 = ("exited", 17, "exited")
SUBMIT_FAILED = ("failed", None, "submit_failed")

SCENARIOS: dict[str, Scenario] = {
    "success": Scenario(("exited", 0, "exited"), SHORT),
    "failure": Scenario(EXITED_17, MIDDLE),
    "started often": Scenario(EXITED_17, MIDDLE, act=_start_often),
    "supervisors killed": Scenario(EXITED_17, LATE, act=_kill_supervisors),
    "supervisor killed while pulling": Scenario(EXITED_17, MIDDLE, act=_kill_supervisor_while_pulling),
    "supervisor killed beside its writer": Scenario(
        ("exited", 143, "cancelled"), LONG, act=_kill_supervisor_beside_its_writer
    ),
    "supervisor killed at submit": Scenario(EXITED_17, LATE, act=_kill_supervisor_at_submit),
    "daemon outage": Scenario(EXITED_17, LATE, act=_daemon_outage),
    "daemon late": Scenario(EXITED_17, MIDDLE, act=_daemon_late),
    "daemon gone at pull": Scenario(EXITED_17, MIDDLE, act=_daemon_gone_at_pull),
    "daemon never there": Scenario(
        ("failed", None, "docker_missing"), options={"docker_wait_s": 2}, prepare=_faults(daemon_down=True)
    ),
    "client lost at submit": Scenario(EXITED_17, MIDDLE, prepare=_faults(run_reply_lost=True)),
    "refused": Scenario(SUBMIT_FAILED, prepare=_faults(run_error="invalid mount config")),
    "refused after create": Scenario(SUBMIT_FAILED, prepare=_faults(run_error_after_create="exec: sh: not found")),
    "no runtime for GPUs": Scenario(SUBMIT_FAILED, prepare=_faults(gpu_runtime_missing=True)),
    "no GPUs at all": Scenario(("exited", 0, "exited"), SHORT, prepare=_without_driver),
    "image missing": Scenario(("failed", None, "pull_failed"), image="pytorch/pytorch:missing"),
    "memory ran out": Scenario(("exited", 137, "oom"), SHORT, prepare=_faults(oom=True)),
    "stopped": Scenario(("exited", 143, "cancelled"), LONG, act=_stop),
    "stopped, TERM ignored": Scenario(("exited", 137, "cancelled"), STUBBORN, act=_stop),
    "stopped while pulling": Scenario(("failed", None, "cancelled"), LONG, act=_stop_while_pulling),
    "stopped in an outage": Scenario(("exited", 143, "cancelled"), LONG, act=_outage_while_stopping),
    "out of time": Scenario(
        ("exited", 137, "max_duration"), STUBBORN, options={"max_duration_s": 200}, act=_pass_deadline
    ),
    "lease lapses": Scenario(("exited", 143, "lease"), LONG, act=_lapse, poll_lease_s=0),
    "log grows": Scenario(("exited", 143, "cancelled"), {"MOCK_DURATION_S": "40"}, act=_watch_log_grow),
    "no command": Scenario(("exited", 0, "exited"), SHORT, command=None),
    "docker behind sudo": Scenario(("exited", 0, "exited"), SHORT, prepare=_docker_behind_sudo),
    "secret": Scenario(("exited", 0, "exited"), SHORT | {"HF_TOKEN": "fake-token-value"}, prepare=_note_calls),
    "container removed": Scenario(("lost", None, None), LONG, act=_remove_container),
}


@pytest.fixture(scope="module")
def ends(new_machine: Any) -> dict[str, Any]:
    """Run the scenarios side by side, each on its own machine; return name -> (machine, how it ended)."""

    async def run(name: str) -> tuple[Any, Any]:
        scenario = SCENARIOS[name]
        machine = new_machine(docker=True)
        scenario.prepare(machine)
        await machine.install(scenario.command, image=scenario.image, env=scenario.env, **scenario.options)
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
    assert (ended.reply.started_s is None) == (ended.reply.state == "failed")
    assert (machine.folder / "supervisor.err").read_text() == ""


def _printed(name: str) -> bytes:
    scenario = SCENARIOS[name]
    return "".join(f"{text}\n" for _, text in lines(workload_from(IMAGE, COMMAND, scenario.env))).encode()


def _pulled() -> bytes:
    return "".join(f"{text}\n" for _, text in pull_lines(IMAGE)).encode()


@pytest.mark.parametrize("name", ["success", "failure", "started often", "supervisors killed", "daemon outage"])
def test_log_is_the_pull_and_then_what_the_container_printed(ends: dict[str, Any], name: str) -> None:
    announcement = f"gputui: pulling {IMAGE}\n".encode()
    assert ends[name][1].log == announcement + _pulled() + _printed(name)


@pytest.mark.parametrize(
    "name",
    [
        "supervisor killed while pulling",
        "supervisor killed at submit",
        "daemon late",
        "daemon gone at pull",
        "client lost at submit",
    ],
)
def test_containers_log_is_whole_and_once_whatever_came_before(ends: dict[str, Any], name: str) -> None:
    log = ends[name][1].log
    assert log.endswith(_printed(name))
    assert log.count(b"== simulated machine") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("daemon never there", b"gputui: Docker cannot be used on this machine: Cannot connect to the Docker daemon"),
        ("daemon late", b"gputui: waiting for Docker on this machine\n"),
        ("refused", b"docker: Error response from daemon: invalid mount config.\n"),
        ("refused after create", b"exec: sh: not found"),
        ("no runtime for GPUs", b'could not select device driver "" with capabilities: [[gpu]]'),
        ("image missing", b"manifest for pytorch/pytorch:missing not found"),
    ],
)
def test_log_says_what_went_wrong(ends: dict[str, Any], name: str, sentence: bytes) -> None:
    assert sentence in ends[name][1].log


def test_machine_without_gpus_runs_without_them_and_notes_it(ends: dict[str, Any]) -> None:
    assert "without --gpus" in (ends["no GPUs at all"][0].folder / "notes").read_text()
    assert not (ends["success"][0].folder / "notes").exists()


def test_stopped_while_pulling_never_ran(ends: dict[str, Any]) -> None:
    machine, ended = ends["stopped while pulling"]
    assert not (machine.docker_state / "containers").exists()
    assert b"== simulated machine" not in ended.log


def test_log_grows_while_the_container_runs(ends: dict[str, Any]) -> None:
    assert all(0 < growth < 4000 for growth in ends["log grows"][0].growths)


def test_image_without_a_command_runs_its_own(ends: dict[str, Any]) -> None:
    assert b"(the default command of the image)" in ends["no command"][1].log


def test_secrets_are_in_no_argument(ends: dict[str, Any]) -> None:
    calls = (ends["secret"][0].home / "calls").read_text()
    assert "run -d" in calls
    assert "fake-token-value" not in calls


async def test_a_docker_that_dies_at_submit_is_not_awaited_for_ever(new_machine: Any) -> None:
    machine = new_machine(docker=True)
    runner = await machine.start(COMMAND, image=IMAGE, env=LONG, docker_wait_s=3)
    await machine.until(lambda: machine.has("started"))
    set_faults(machine.docker_state, daemon_down=True)
    await machine.kill("supervisor")
    (machine.folder / "started").unlink()  # nobody noted what was begun
    await runner.start()
    assert (await machine.ended()).summary == ("lost", None, None)
