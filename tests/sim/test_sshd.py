"""A simulated machine over real SSH: what it lets in, what it refuses, and a whole job on the real harness."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gputui.core.runner.protocol import harness_source, job_files
from gputui.core.runner.vm import VmRunner
from gputui.local.ssh import KeyPair, SshShell, ensure_key_pair, open_ssh_shell
from gputui.model.errors import ShellError
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement
from gputui.sim.sshd import SimSshd, start_sim_sshd
from gputui.sim.workload import lines, workload_from

OFFER = Offer(id="o", provider="mock", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1, fetched_at_ms=0)
FOLDER = ".gputui/p1"
HARNESS = f"{FOLDER}/harness.sh"


def files_of(spec: JobSpec) -> Any:
    placement = Placement(
        id="p1", job_id="j", attempt=1, provider="mock", offer=OFFER, label="l", idempotency_key="k",
        nonce="n0nce", state=PlacementState.READY, created_at_ms=0,
    )  # fmt: skip
    return job_files(spec, placement, lease_s=300, grace_s=1, docker_wait_s=5)


@pytest.fixture(scope="module")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return ensure_key_pair(tmp_path_factory.mktemp("keys"), "gputui-test")


@pytest.fixture
async def machine(tmp_path: Path, key_pair: KeyPair) -> AsyncIterator[SimSshd]:
    machine = await start_sim_sshd(tmp_path / "home", lambda: [key_pair.public_key])
    yield machine
    await machine.close()


async def open_shell(machine: SimSshd, key_pair: KeyPair) -> SshShell:
    return await open_ssh_shell(
        "127.0.0.1", machine.port, "ubuntu", key_pair.private_path,
        pinned_host_key=machine.host_public_key, on_first_key=lambda key: None,
    )  # fmt: skip


@pytest.fixture
async def shell(machine: SimSshd, key_pair: KeyPair) -> AsyncIterator[SshShell]:
    shell = await open_shell(machine, key_pair)
    yield shell
    await shell.close()


def connect_raw(machine: SimSshd, key_pair: KeyPair) -> Any:
    """Return a bare asyncssh connection, for what our own shell never does."""
    return asyncssh.connect(
        "127.0.0.1", machine.port, username="x", client_keys=[str(key_pair.private_path)],
        known_hosts=None, config=None, agent_path=None,
    )  # fmt: skip


async def poll_to_the_end(runner: VmRunner) -> tuple[Any, bytes]:
    log = b""
    async with asyncio.timeout(60):
        while True:
            reply = await runner.poll(len(log), lease_s=300)
            log += reply.payload
            if reply.state.is_final and len(log) == reply.size:
                return reply, log
            await asyncio.sleep(0.2)


async def test_whole_job_in_a_container(machine: SimSshd, shell: SshShell) -> None:
    env = {"MOCK_DURATION_S": "2", "MOCK_EXIT_CODE": "17"}
    spec = JobSpec(gpu="H100", image="pytorch/pytorch:2.9", command="touch executed; python train.py", env=env)
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(spec))
    await runner.start()
    reply, log = await poll_to_the_end(runner)
    assert (reply.state, reply.exit_code, reply.reason) == ("exited", 17, "exited")
    printed = "".join(f"{text}\n" for _, text in lines(workload_from(spec.image or "", spec.command or "", env)))
    assert log.endswith(printed.encode())
    assert b"Pulling from pytorch/pytorch" in log
    assert not list(machine.home.rglob("executed"))


async def test_whole_job_without_an_image_executes_no_command(machine: SimSshd, shell: SshShell) -> None:
    spec = JobSpec(gpu="H100", command=f"touch {machine.home}/executed", env={"MOCK_DURATION_S": "1"})
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(spec))
    await runner.start()
    reply, log = await poll_to_the_end(runner)
    assert (reply.state, reply.exit_code) == ("exited", 0)
    assert f"$ touch {machine.home}/executed".encode() in log
    assert not (machine.home / "executed").exists()


async def test_close_leaves_no_process(tmp_path: Path, key_pair: KeyPair) -> None:
    machine = await start_sim_sshd(tmp_path / "home", lambda: [key_pair.public_key])
    runner = VmRunner(await open_shell(machine, key_pair), "p1")
    env = {"MOCK_DURATION_S": "300", "MOCK_IGNORE_TERM": "1"}
    await runner.install(files_of(JobSpec(gpu="H100", command="train", env=env)))
    await runner.start()
    async with asyncio.timeout(60):
        while not (machine.home / FOLDER / "job.pid").exists():
            await asyncio.sleep(0.05)
    pids = [int((machine.home / FOLDER / f"{name}.pid").read_text().split()[0]) for name in ("job", "supervisor")]
    await machine.close()
    for pid in pids:
        assert not Path(f"/proc/{pid}/exe").exists() or not os.path.lexists(f"/proc/{pid}/exe") or _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_workload_survives_the_connection(machine: SimSshd, shell: SshShell, key_pair: KeyPair) -> None:
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(JobSpec(gpu="H100", command="train", env={"MOCK_DURATION_S": "2"})))
    await runner.start()
    await shell.close()
    again = await open_shell(machine, key_pair)
    reply, _ = await poll_to_the_end(VmRunner(again, "p1"))
    assert (reply.state, reply.exit_code) == ("exited", 0)
    await again.close()


async def test_many_commands_one_after_the_other_and_at_once(shell: SshShell) -> None:
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(JobSpec(gpu="H100", command="train")))
    for _ in range(15):
        assert (await runner.poll(0, lease_s=0)).state == "none"
    replies = await asyncio.gather(*(runner.poll(0, lease_s=0) for _ in range(8)))
    assert [reply.nonce for reply in replies] == ["n0nce"] * 8


async def test_large_log_comes_whole_in_pieces(machine: SimSshd, shell: SshShell) -> None:
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(JobSpec(gpu="H100", command="train")))
    written = os.urandom(5_000_000)
    (machine.home / FOLDER / "log").write_bytes(written)
    log = b""
    while len(log) < len(written):
        log += (await runner.poll(len(log), lease_s=0)).payload
    assert log == written


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "sh -c id",
        f"sh {HARNESS} start {FOLDER}; id",
        f"sh {HARNESS} start {FOLDER}\nid",
        f"sh {HARNESS} poll {FOLDER} 0 0 0 0",
        f"sh {HARNESS} poll {FOLDER} 0 -1 0",
        f"sh {HARNESS} start .gputui/p2",
        f"sh {HARNESS} _job {FOLDER}",
        f"sh {HARNESS} _supervise {FOLDER}",
        f"sh /{HARNESS} start {FOLDER}",
        "sh .gputui/../harness.sh start .gputui/..",
        f"bash {HARNESS} start {FOLDER}",
        f"sh {HARNESS} start $(id)",
    ],
)
async def test_other_commands_are_refused(shell: SshShell, machine: SimSshd, key_pair: KeyPair, command: str) -> None:
    await shell.put(HARNESS, harness_source())
    async with connect_raw(machine, key_pair) as connection:
        done = await connection.run(command)
    assert (done.exit_status, done.stdout) == (126, "")
    assert "only the harness" in done.stderr


@pytest.mark.parametrize("change", [lambda text: text + b"\nid\n", lambda text: text[:-1], lambda text: b""])
async def test_another_harness_is_refused(shell: SshShell, change: Any) -> None:
    await shell.put(HARNESS, change(harness_source()), mode=0o700)
    result = await shell.run(["sh", HARNESS, "start", FOLDER])
    assert result.exit_code == 126
    assert b"not the packaged harness" in result.stderr


async def test_absent_harness_is_refused(shell: SshShell) -> None:
    with pytest.raises(ShellError, match="126"):
        await VmRunner(shell, "p1").poll(0, lease_s=0)


async def test_sftp_stays_in_the_home_folder(machine: SimSshd, key_pair: KeyPair, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    async with connect_raw(machine, key_pair) as connection, connection.start_sftp_client() as sftp:
        for path in ("../outside", f"{tmp_path}/outside", "/../outside", "../home.machine/host_key"):
            with pytest.raises(asyncssh.SFTPError):
                await sftp.getsize(path)
        with pytest.raises(asyncssh.SFTPError):
            await sftp.symlink(str(tmp_path / "outside"), "link")
        with pytest.raises(asyncssh.SFTPError):
            await sftp.link("/etc/hostname", "link")
        assert [name for name in await sftp.listdir(".") if name not in (".", "..")] == []


async def test_unknown_key_and_password_are_refused(machine: SimSshd, tmp_path: Path) -> None:
    stranger = ensure_key_pair(tmp_path / "stranger", "stranger")
    with pytest.raises(ShellError, match="did not accept"):
        await open_shell(machine, stranger)
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", machine.port, username="root", password="x", client_keys=None, known_hosts=None,
            config=None, agent_path=None,
        )  # fmt: skip


async def test_keys_are_asked_for_at_every_login(tmp_path: Path, key_pair: KeyPair) -> None:
    keys: list[str] = []
    machine = await start_sim_sshd(tmp_path / "home", lambda: keys)
    with pytest.raises(ShellError, match="did not accept"):
        await open_shell(machine, key_pair)
    keys += ["", "not a key", key_pair.public_key]
    await (await open_shell(machine, key_pair)).close()
    await machine.close()


async def test_nothing_of_our_environment_reaches_the_machine(
    machine: SimSshd, shell: SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", "fake-key")
    runner = VmRunner(shell, "p1")
    await runner.install(files_of(JobSpec(gpu="H100", command="train", env={"MOCK_DURATION_S": "300"})))
    await runner.start()
    async with asyncio.timeout(60):
        while not (machine.home / FOLDER / "wrapper.pid").exists():
            await asyncio.sleep(0.05)
    pid = int((machine.home / FOLDER / "wrapper.pid").read_text().split()[0])
    names = {entry.split(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if entry}
    assert names <= {b"HOME", b"PATH", b"PWD", b"OLDPWD", b"SHLVL", b"_", b"GPUTUI_SIM_MACHINE"}


async def test_terminal_says_what_it_is_and_executes_nothing(machine: SimSshd, key_pair: KeyPair) -> None:
    async with connect_raw(machine, key_pair) as connection:
        process = await connection.create_process(term_type="xterm", encoding=None)
        process.stdin.write(b"touch executeX\x7fd\r\x03exit\r")
        async with asyncio.timeout(60):
            shown = await process.stdout.read()
            await process.wait_closed()
    assert b"simulated machine" in shown
    assert b"sim$ touch executeX\b \bd\r\n(not executed)\r\n" in shown
    assert process.exit_status == 0
    assert not list(machine.home.iterdir())


async def test_client_that_leaves_a_terminal_breaks_nothing(
    machine: SimSshd, key_pair: KeyPair, shell: SshShell
) -> None:
    connection = await connect_raw(machine, key_pair)
    await connection.create_process(term_type="xterm", encoding=None)
    connection.abort()
    await shell.put(HARNESS, harness_source())
    assert (await shell.run(["sh", HARNESS, "poll", FOLDER, "0", "0", "0"])).exit_code == 0


async def test_what_it_keeps_is_private(machine: SimSshd) -> None:
    assert stat.S_IMODE((machine.home.with_name("home.machine") / "host_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.home.stat().st_mode) == 0o700
