"""The in-process machine: the same answers as the real harness, and a record that outlives the program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.protocol import PollReply, job_files
from gputui.core.runner.vm import VmRunner
from gputui.local.ssh import ensure_key_pair, open_ssh_shell
from gputui.model.errors import ShellError
from gputui.model.shell import Shell
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement
from gputui.sim.shell import SimHost, SimShell
from gputui.sim.sshd import start_sim_sshd
from gputui.sim.stub_docker import set_faults
from gputui.sim.workload import PULL_S

OFFER = Offer(id="o", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)
IMAGE = "pytorch/pytorch:2.9"
PULLED_FOR_EVER = "pytorch/pytorch:large"
T0_MS = 1_700_000_000_000
Wait = Callable[[float], Awaitable[None]]
LetPass = Callable[[str, str], None]


class ManualClock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.ms = T0_MS

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)

    def pass_limits(self, placement_id: str, name: str) -> None:
        self.ms += 400_000


@dataclass(frozen=True)
class Scenario:
    """A job and what is done to it.

    `stop` is the state in which it is asked to end; "" is before the start. `passes` is what is past, "lease" or
    "deadline", once it runs.
    """

    env: dict[str, str] = field(default_factory=dict)
    image: str | None = IMAGE
    stop: str | None = None
    passes: str | None = None
    started: bool = True
    max_duration_s: int | None = None
    poll_lease_s: int = 300


SHORT = {"MOCK_DURATION_S": "1"}
LONG = {"MOCK_DURATION_S": "3000"}
LEASE_S = 300
STUBBORN = LONG | {"MOCK_IGNORE_TERM": "1"}

SCENARIOS: dict[str, Scenario] = {
    "container succeeds": Scenario(SHORT),
    "container fails": Scenario(SHORT | {"MOCK_EXIT_CODE": "3"}),
    "container stopped": Scenario(LONG, stop="running"),
    "container stopped, TERM ignored": Scenario(STUBBORN, stop="running"),
    "container stopped while pulling": Scenario(LONG, image=PULLED_FOR_EVER, stop="starting"),
    "container stopped before the start": Scenario(LONG, stop=""),
    "container out of time": Scenario(LONG, max_duration_s=200, passes="deadline"),
    "container's lease lapses": Scenario(LONG, poll_lease_s=0, passes="lease"),
    "image missing": Scenario(SHORT, image="pytorch/pytorch:missing"),
    "process succeeds": Scenario(SHORT, image=None),
    "process fails": Scenario(SHORT | {"MOCK_EXIT_CODE": "7"}, image=None),
    "process stopped": Scenario(LONG, image=None, stop="running"),
    "process stopped, TERM ignored": Scenario(STUBBORN, image=None, stop="running"),
    "process stopped before the start": Scenario(LONG, image=None, stop=""),
    "process out of time": Scenario(STUBBORN, image=None, max_duration_s=200, passes="deadline"),
    "process's lease lapses": Scenario(LONG, image=None, poll_lease_s=0, passes="lease"),
    "never started": Scenario(SHORT, started=False),
}


@dataclass(frozen=True)
class Story:
    """What a machine said from the first poll to the last."""

    states: tuple[str, ...]
    last: PollReply
    last_header: dict[str, str]
    log: bytes
    gpu_seen: bool


async def tell(shell: Shell, placement_id: str, scenario: Scenario, wait: Wait, let_pass: LetPass) -> Story:
    """Play a scenario on a machine. `let_pass` makes the job's lease or deadline be past."""
    runner = VmRunner(shell, placement_id)
    spec = JobSpec(
        gpu="H100", image=scenario.image, command="train", env=scenario.env, max_duration_s=scenario.max_duration_s
    )
    placement = Placement(
        id=placement_id, job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
        nonce="n0nce", state=PlacementState.READY, created_at_ms=0,
    )  # fmt: skip
    await runner.install(job_files(spec, placement, lease_s=LEASE_S, grace_s=1, docker_wait_s=30))
    states: list[str] = []
    log = b""
    gpu_seen = False
    if scenario.stop == "":
        await runner.stop()
    if scenario.started:
        await runner.start()
    stopped = passed = False
    for _ in range(400):
        reply = await runner.poll(len(log), lease_s=scenario.poll_lease_s)
        log += reply.payload
        gpu_seen = gpu_seen or reply.gpu is not None
        if states[-1:] != [reply.state]:
            states.append(reply.state)
        # "running" alone may be before the workload can ignore a signal, or before the GPU was asked
        is_up = reply.state == "running" and log != b"" and (gpu_seen or scenario.image is None)
        if reply.state == scenario.stop and (is_up or scenario.stop != "running") and not stopped:
            await runner.stop()
            stopped = True
        if scenario.passes and is_up and not passed:
            let_pass(placement_id, scenario.passes)
            passed = True
        if not scenario.started or (reply.state.is_final and len(log) == reply.size):
            break
        await wait(0.2)
    folder = f".gputui/{placement_id}"
    raw = await shell.run(["sh", f"{folder}/harness.sh", "poll", folder, "0", "0", "0"])
    words = raw.stdout.decode().rstrip("\n").split(" ")
    header = {"version": words[0]} | dict(word.split("=", 1) for word in words[1:])
    return Story(tuple(states), reply, header, log, gpu_seen)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """Play every scenario on a machine with the real harness, over SSH, side by side."""

    async def play(folder: Path) -> dict[str, Story]:
        keys = ensure_key_pair(folder / "keys", "test")
        machine = await start_sim_sshd(folder / "home", lambda: [keys.public_key])
        set_faults(machine.docker_state_dir, pull_hangs=PULLED_FOR_EVER)

        def let_pass(placement_id: str, name: str) -> None:
            path = machine.home / ".gputui" / placement_id / name
            path.write_text(f"{path.read_text().split()[0]} 0 0\n")

        try:
            shell = await open_ssh_shell(
                "127.0.0.1", machine.port, "x", keys.private_path, pinned_host_key=None, on_first_key=lambda key: None
            )
            stories = await asyncio.gather(
                *(
                    tell(shell, f"p{number}", scenario, lambda seconds: asyncio.sleep(3 * seconds), let_pass)
                    for number, scenario in enumerate(SCENARIOS.values())
                ),
                return_exceptions=True,
            )
            await shell.close()
        finally:
            await machine.close()
        for story in stories:
            if isinstance(story, BaseException):
                raise story
        return dict(zip(SCENARIOS, stories, strict=True))

    return asyncio.run(play(tmp_path_factory.mktemp("machine")))


@pytest.fixture(scope="module")
def simulated() -> dict[str, Story]:
    """Play every scenario on a machine in-process, by a clock that jumps."""

    async def play() -> dict[str, Story]:
        stories = {}
        for number, (name, scenario) in enumerate(SCENARIOS.items()):
            clock = ManualClock()
            shell = SimShell(SimHost(), clock, lambda: True)
            stories[name] = await tell(shell, f"p{number}", scenario, clock.sleep, clock.pass_limits)
        return stories

    return asyncio.run(play())


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_equal_the_harness(real: dict[str, Story], simulated: dict[str, Story], name: str) -> None:
    theirs, ours = real[name], simulated[name]
    assert (ours.last.state, ours.last.exit_code, ours.last.reason) == (
        theirs.last.state,
        theirs.last.exit_code,
        theirs.last.reason,
    )
    assert list(ours.last_header) == list(theirs.last_header)
    for key in ("version", "state", "exit", "reason", "nonce", "gpu", "bytes"):
        assert ours.last_header[key] == theirs.last_header[key], key
    for key in ("started", "finished"):
        assert (ours.last_header[key] == "-") == (theirs.last_header[key] == "-"), key
    # how long a state lasts differs, and one may be too short to be seen by polls; their order may not
    for state in theirs.states:
        assert state in (*ours.states, "starting", "running")
    assert list(ours.states) == sorted(ours.states, key=list(PHASES).index)
    assert list(theirs.states) == sorted(theirs.states, key=list(PHASES).index)


PHASES = ("none", "starting", "running", "exited", "lost", "failed")


@pytest.mark.parametrize(
    "name",
    [
        "container succeeds",
        "container fails",
        "container stopped before the start",
        "process succeeds",
        "process fails",
        "process stopped before the start",
        "never started",
    ],
)
def test_log_equals_the_harness_but_for_its_own_lines(
    real: dict[str, Story], simulated: dict[str, Story], name: str
) -> None:
    theirs = [line for line in real[name].log.split(b"\n") if not line.startswith(b"gputui: ")]
    assert simulated[name].log.split(b"\n") == theirs


def test_both_show_the_gpu_of_a_running_container(real: dict[str, Story], simulated: dict[str, Story]) -> None:
    name = "container stopped, TERM ignored"
    assert real[name].gpu_seen
    assert simulated[name].gpu_seen


async def _started(
    env: dict[str, str], *, image: str | None = None, lease_s: int | None = 300
) -> tuple[SimHost, ManualClock, VmRunner]:
    host, clock = SimHost(), ManualClock()
    runner = VmRunner(SimShell(host, clock, lambda: True), "p1")
    placement = Placement(
        id="p1", job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
        nonce="n0nce", state=PlacementState.READY, created_at_ms=0,
    )  # fmt: skip
    await runner.install(job_files(JobSpec(gpu="H100", image=image, command="t", env=env), placement, lease_s=lease_s))
    await runner.start()
    return host, clock, runner


async def test_hours_pass_at_no_cost_and_to_the_second() -> None:
    _, clock, runner = await _started({"MOCK_DURATION_S": "36000"}, lease_s=None, image=IMAGE)
    await clock.sleep(PULL_S + 35_999)
    assert (await runner.poll(0, lease_s=0)).state == "running"
    await clock.sleep(1)
    reply = await runner.poll(0, lease_s=0)
    assert (reply.state, reply.exit_code) == ("exited", 0)
    assert reply.started_s == (T0_MS + round(PULL_S * 1000)) // 1000
    assert (reply.finished_s or 0) - (reply.started_s or 0) == 36_000


async def test_record_survives_a_restart_at_any_moment() -> None:
    host, clock, runner = await _started(LONG)
    for _ in range(4):
        await clock.sleep(5)
        before = await runner.poll(0, lease_s=300)
        host = SimHost.from_json(json.loads(json.dumps(host.to_json())))
        runner = VmRunner(SimShell(host, clock, lambda: True), "p1")
        assert await runner.poll(0, lease_s=300) == before
    await runner.stop()
    assert (await runner.poll(0, lease_s=300)).exit_code == 143


async def test_record_keeps_no_secret() -> None:
    host, _, _ = await _started(SHORT | {"HF_TOKEN": "fake-token-value"})
    assert "fake-token-value" not in json.dumps(host.to_json())
    assert "HF_TOKEN" not in json.dumps(host.to_json())


async def test_log_only_grows_and_offsets_agree() -> None:
    _, clock, runner = await _started({"MOCK_DURATION_S": "30", "MOCK_EXIT_CODE": "1"})
    whole = b""
    pieces = b""
    for _ in range(40):
        reply = await runner.poll(0, lease_s=300)
        assert reply.payload.startswith(whole)
        whole = reply.payload
        pieces += (await runner.poll(len(pieces), limit=50, lease_s=300)).payload
        await clock.sleep(1)
    while piece := (await runner.poll(len(pieces), limit=50, lease_s=300)).payload:
        pieces += piece
    assert pieces == whole


async def test_lapsed_lease_is_not_renewed() -> None:
    _, clock, runner = await _started(LONG, lease_s=10)
    await clock.sleep(11)
    reply = await runner.poll(0, lease_s=300)
    assert (reply.state, reply.reason, reply.exit_code) == ("exited", "lease", 143)


async def test_unreachable_machine_raises_and_keeps_running() -> None:
    up = True
    host, clock, runner = await _started({"MOCK_DURATION_S": "20"})
    shell = SimShell(host, clock, lambda: up)
    up = False
    for call in (shell.run(["sh"]), shell.put(".gputui/p1/env", b"")):
        with pytest.raises(ShellError, match="does not answer"):
            await call
    await clock.sleep(20)
    up = True
    assert (await runner.poll(0, lease_s=0)).state == "exited"
    await shell.close()
    with pytest.raises(ShellError, match="closed"):
        await shell.run(["sh"])


@pytest.mark.parametrize(
    ("argv", "exit_code"),
    [
        (["id"], 126),
        (["sh", "-c", "id"], 126),
        (["sh", ".gputui/p1/harness.sh", "start", ".gputui/p2"], 126),
        (["sh", ".gputui/p1/harness.sh", "erase", ".gputui/p1"], 64),
        (["sh", ".gputui/p1/harness.sh", "poll", ".gputui/p1", "0", "-1", "0"], 64),
        (["sh", ".gputui/p9/harness.sh", "start", ".gputui/p9"], 2),
    ],
)
async def test_other_commands_are_refused(argv: list[str], exit_code: int) -> None:
    host, clock, _ = await _started(SHORT)
    result: Any = await SimShell(host, clock, lambda: True).run(argv)
    assert result.exit_code == exit_code
    assert result.stderr


async def test_other_files_are_refused() -> None:
    host, clock, _ = await _started(SHORT)
    with pytest.raises(ShellError, match="no place"):
        await SimShell(host, clock, lambda: True).put(".ssh/authorized_keys", b"")


async def test_every_change_is_told() -> None:
    changes: list[int] = []
    clock = ManualClock()
    shell = SimShell(SimHost(), clock, lambda: True, lambda: changes.append(1))
    await shell.put(".gputui/p1/command", b"train")
    assert len(changes) == 1
