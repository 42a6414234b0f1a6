"""The agent as a real process: one per profile, detached, handed its keys over pipes, replaced when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gputui.core.agent_link import AgentCondition, _without_keys, key_inbox_path
from gputui.core.desk import Desk
from gputui.local import daemon
from gputui.model.errors import AgentBusy, AgentError
from gputui.providers.registry import PROVIDERS
from gputui.store.agents import register_agent


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in list(os.environ):
        if name.startswith("GPUTUI_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GPUTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return dict(os.environ)


@pytest.fixture
def desk(environ: dict[str, str]) -> Iterator[Desk]:
    opened = Desk.open(environ=environ)
    yield opened
    pid = daemon.lock_holder(opened.paths.agent_lock)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    opened.close()


def test_no_providers_key_is_in_an_agents_environment() -> None:
    variables = {variable for info in PROVIDERS.values() for variable in info.key_variables}
    variables |= {f"GPUTUI_{name.upper()}_API_KEY" for name in PROVIDERS} | {"GPUTUI_HUDDLE_API_KEY_FILE"}
    assert _without_keys({"PATH": "/bin", **dict.fromkeys(variables, "sim-key")}) == {"PATH": "/bin"}


def wait_for(condition: object, what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {within_s} s")


def test_an_agent_is_started_once_and_lives_in_its_own_session(desk: Desk) -> None:
    desk.ensure_agent()
    first = desk.agent_state()
    assert first.condition is AgentCondition.RUNNING
    assert first.pid is not None
    assert os.getsid(first.pid) == first.pid != os.getsid(0)
    desk.ensure_agent()
    assert desk.agent_state().pid == first.pid


def test_a_hangup_does_not_end_it_and_a_termination_does(desk: Desk) -> None:
    desk.ensure_agent()
    pid = desk.agent_state().pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert desk.agent_state().pid == pid
    assert daemon.stop_process(pid, desk.paths.agent_lock)
    assert desk.agent_state().condition is AgentCondition.NONE


def test_an_agent_that_was_killed_is_replaced(desk: Desk) -> None:
    desk.ensure_agent()
    pid = desk.agent_state().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: desk.agent_state().condition is AgentCondition.NONE, "the lock becoming free")
    desk.ensure_agent()
    assert desk.agent_state().pid not in (None, pid)


def test_after_a_reboot_a_pid_that_is_somebody_elses_now_means_nothing(desk: Desk) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        desk.paths.agent_lock.write_text(f"{stranger.pid}\n")
        os.mkfifo(key_inbox_path(desk.paths))
        register_agent(
            desk.store,
            pid=stranger.pid,
            host="here",
            version="0",
            accounts={},
            now_ms=desk.clock.now_ms(),
            boot_id="old",
        )
        assert desk.agent_state().condition is AgentCondition.NONE
        desk.ensure_agent()
        state = desk.agent_state()
        assert state.condition is AgentCondition.RUNNING
        assert state.pid not in (None, stranger.pid)
        assert daemon.stop_process(state.pid, desk.paths.agent_lock)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_beat_from_the_future_is_no_sign_of_life_and_a_touched_lock_is(desk: Desk) -> None:
    lock = daemon.AgentLock(desk.paths.agent_lock)
    lock.acquire()
    try:
        now_ms = desk.clock.now_ms()
        register_agent(desk.store, pid=os.getpid(), host="h", version="0", accounts={}, now_ms=now_ms + 3_600_000)
        long_ago_s = now_ms / 1000 - 3600
        os.utime(desk.paths.agent_lock, (long_ago_s, long_ago_s))
        assert desk.agent_state().condition is AgentCondition.HUNG
        lock.touch()  # what an agent does that cannot write its heartbeat for want of room
        assert desk.agent_state().condition is AgentCondition.RUNNING
    finally:
        lock.release()


def test_views_starting_it_together_end_up_with_one(desk: Desk, environ: dict[str, str]) -> None:
    def start() -> int | None:
        with contextlib.closing(Desk.open(environ=environ)) as view:
            with contextlib.suppress(AgentError):  # somebody else's agent took the lock first
                view.ensure_agent()
            return view.agent_state().pid

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: start(), range(4)))
    wait_for(lambda: agents(environ) == [desk.agent_state().pid], "one agent being left")
    assert desk.agent_state().condition is AgentCondition.RUNNING


def agents(environ: dict[str, str]) -> list[int]:
    """Return the agents that run in this home."""
    home, found = f"GPUTUI_HOME={environ['GPUTUI_HOME']}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"agent" in words and home in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def test_a_second_agent_is_refused_with_a_clear_sentence(desk: Desk, environ: dict[str, str]) -> None:
    desk.ensure_agent()
    second = subprocess.run(
        [sys.executable, "-m", "gputui", "agent", "run"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "Another agent of this profile is running" in second.stderr
    assert "Traceback" not in second.stderr
    with pytest.raises(AgentBusy):
        daemon.AgentLock(desk.paths.agent_lock).acquire()


def test_a_key_that_comes_later_reaches_the_running_agent(desk: Desk, environ: dict[str, str]) -> None:
    desk.ensure_agent()
    assert desk.agent_state().accounts == {}
    pid = desk.agent_state().pid
    with contextlib.closing(Desk.open(environ={**environ, "GPUTUI_HUDDLE_API_KEY": "sim-later"})) as later:
        later.ensure_agent()
        assert later.agent_state().accounts == later.accounts.fingerprints() != {}
    assert desk.agent_state().pid == pid
    desk.ensure_agent()  # a view without that key does not take it away
    assert set(desk.agent_state().accounts) == {"huddle"}


def test_no_key_is_in_the_agents_arguments_environment_files_or_store(environ: dict[str, str]) -> None:
    key = "sim-very-secret-0123456789"
    with contextlib.closing(Desk.open(environ={**environ, "GPUTUI_HUDDLE_API_KEY": key})) as desk:
        desk.ensure_agent()
        pid = desk.agent_state().pid
        assert pid is not None
        try:
            for kind in ("cmdline", "environ"):
                assert key.encode() not in Path(f"/proc/{pid}/{kind}").read_bytes()
            assert set(desk.agent_state().accounts) == {"huddle"}
            for path in Path(environ["GPUTUI_HOME"]).rglob("*"):
                if path.is_file():
                    assert key.encode() not in path.read_bytes(), path
        finally:
            os.kill(pid, signal.SIGKILL)


def test_an_idle_agent_ends_by_itself_and_cleans_up(environ: dict[str, str]) -> None:
    config = Path(environ["GPUTUI_HOME"]) / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[agent]\nidle_exit_s = 0.5\n")
    with contextlib.closing(Desk.open(environ=environ)) as desk:
        desk.ensure_agent()
        wait_for(lambda: desk.agent_state().condition is AgentCondition.NONE, "the idle agent ending")
        wait_for(lambda: not key_inbox_path(desk.paths).exists(), "the key inbox going away")


def test_an_agent_that_cannot_start_says_why(desk: Desk) -> None:
    desk.paths.config_file.write_text("[agent]\npoll_s = 'often'\n")
    with pytest.raises(AgentError, match="poll_s"):
        desk.ensure_agent()


def test_nobody_listening_is_told_apart_from_a_file_in_the_way(tmp_path: Path) -> None:
    assert not daemon.post_keys(tmp_path / "absent", b"{}\n")
    (tmp_path / "file").write_text("")
    assert not daemon.post_keys(tmp_path / "file", b"{}\n")
    os.mkfifo(tmp_path / "pipe")
    assert not daemon.post_keys(tmp_path / "pipe", b"{}\n")


def test_documents_are_read_whole_however_they_arrive(tmp_path: Path) -> None:
    inbox = daemon.KeyInbox(tmp_path / "keys")
    assert inbox.read_documents() == []
    assert daemon.post_keys(inbox.path, b'{"a":1}\n{"b"')
    assert inbox.read_documents() == [b'{"a":1}']
    assert daemon.post_keys(inbox.path, b":2}\n")
    assert inbox.read_documents() == [b'{"b":2}']
    with pytest.raises(AgentError, match="too long"):
        daemon.post_keys(inbox.path, b"x" * 5000)
    inbox.close()
    assert not (tmp_path / "keys").exists()
