"""A home folder and a clean environment for every test, and ways to call the command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gputui.cli.main import main
from gputui.core.desk import Desk
from gputui.local.daemon import lock_holder
from gputui.local.paths import Paths, paths_for
from gputui.sim.serve import env_lines


@dataclass(frozen=True)
class Said:
    """What a command printed and ended with."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of the one JSON document on stdout."""
        document = json.loads(self.out)
        assert document["status"] == "ok", document
        return document["data"]

    @property
    def error(self) -> dict[str, str]:
        """The error of the one JSON document on stdout."""
        document: dict[str, str] = json.loads(self.out)
        assert document["status"] == "error", document
        return document


Cli = Callable[..., Said]

# What arranges the stage is a plain module beside the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder; no keys, no keyring, no profile in the environment."""
    for name in list(os.environ):
        if name.startswith("GPUTUI_") or name.endswith(("_API_KEY", "_API_KEY_FILE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GPUTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return tmp_path / "home"


@pytest.fixture
def paths() -> Paths:
    return paths_for()


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """Run a command line in this process."""

    def run(*arguments: str) -> Said:
        capsysbinary.readouterr()
        code = main(arguments)
        captured = capsysbinary.readouterr()
        return Said(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def desk() -> Iterator[Desk]:
    """The profile's desk, to arrange what a command will find."""
    opened = Desk.open()
    yield opened
    opened.close()


@dataclass(frozen=True)
class Terminal:
    """Runs `gputui` as a user does: as a process."""

    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *arguments: str, timeout: float = 300) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "gputui", *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            text=True,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; it is killed after the test if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "gputui", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end_all(self) -> None:
        """Kill what still runs, and then the agent, which a follower would start again."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)
        self.end_agent()

    @property
    def agent_pid(self) -> int | None:
        """The pid of the agent that holds this home's lock, None when there is none."""
        return lock_holder(paths_for().agent_lock) or None

    def end_agent(self) -> None:
        """Kill the agent by its pid and wait until the kernel has freed its lock."""
        deadline = time.monotonic() + 60
        while (pid := self.agent_pid) is not None and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        assert self.agent_pid is None


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    """A terminal whose agent, if any was started, is ended after the test."""
    opened = Terminal(home)
    yield opened
    opened.end_all()


# Vast.ai takes one call in some seconds only, which a quick test cannot wait for.
SIMULATED = ("huddle", "runpod", "lambda", "tensordock")


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given meanwhile; a server of ours may have it, as both reuse addresses."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@pytest.fixture
def unused_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def session_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def sim_port(session_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running simulator of every provider. Each key that begins with "sim-" is an account of its own."""
    said = tmp_path_factory.mktemp("sim") / "log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gputui", "sim", *SIMULATED, "--port", str(session_port), "--boot", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and b"Serving" not in said.read_bytes():
        time.sleep(0.05)
    assert process.poll() is None, said.read_text()
    # Lambda counts calls by address: here those of all tests together, each without the memory of the ones before.
    knobs = json.dumps({"request_every_s": 0}).encode()
    urllib.request.urlopen(f"http://127.0.0.1:{session_port}/_sim/faults", knobs, timeout=60).close()
    yield session_port
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def simulated(sim_port: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Fresh accounts at the simulated providers, with keys in the environment; the agent ends with the test."""
    key = f"sim-{uuid.uuid4().hex}"
    for name in SIMULATED:
        for line in env_lines(name, sim_port):
            variable, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(variable, key if variable.endswith("_KEY") else value)
    return terminal
