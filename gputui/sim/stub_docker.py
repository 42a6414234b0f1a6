"""The programs of a simulated machine: `docker`, `bash`, `nvidia-smi`, `mountpoint` and `sudo` that execute nothing.

The real harness runs on a simulated machine and finds these first on its PATH. `docker` knows exactly what the harness asks
of it; a container is a small record whose log and state follow from the clock (`sim.workload`), so there is no process
behind it. `bash -c COMMAND`, what a job without an image runs in, prints the workload's lines and never reads the command
as code.

Faults are read from `faults.json` in the state folder at every call (and while a log is followed), so that a test can
switch them: `daemon_down`, `run_error` (a text; no container is made), `run_error_after_create` (a text; the container
stays created), `gpu_runtime_missing` (the same, for containers that ask for GPUs), `run_reply_lost` (the container runs,
the client exits with 125), `oom` (the workload ends by memory), `pull_hangs` (an image; its pull does not end), `unmounted`
(a list of paths at which no volume is mounted).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gputui
from gputui.sim.workload import (
    EXIT_KILL,
    Workload,
    WorkloadRun,
    gpu_figures,
    lines,
    pull_error,
    pull_lines,
    workload_from,
)

DAEMON_DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
FOLLOW_EVERY_S = 0.1

_RUN_OPTIONS_WITH_VALUE = {
    "--name", "--label", "--log-driver", "--log-opt", "--env-file", "--entrypoint", "--gpus", "--mount"
}  # fmt: skip
_RUN_FLAGS = {"-d", "--ipc=host", "--init"}


class DockerError(Exception):
    """The stub's client fails with a message on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Container(NamedTuple):
    """What the stub's daemon remembers of a container."""

    workload: Workload
    wants_gpus: bool = False
    mounts: Sequence[str] = ()
    started_ms: int | None = None
    term_ms: int | None = None
    grace_s: float = 0.0

    def run(self) -> WorkloadRun | None:
        if self.started_ms is None:
            return None
        return WorkloadRun(self.workload, self.started_ms, self.term_ms, self.grace_s)

    def status(self, now_ms: int, *, oom: bool) -> tuple[str, int, bool]:
        """Return Docker's status word, the exit code and whether memory ran out."""
        run = self.run()
        if run is None:
            return "created", 0, False
        ended_ms, exit_code = run.end()
        if now_ms < ended_ms:
            return "running", 0, False
        return ("exited", EXIT_KILL, True) if oom else ("exited", exit_code, False)


def install_stubs(bin_dir: Path, python: str, *, state_dir: Path) -> None:
    """Write the programs into `bin_dir`. `python` is the interpreter they run with; their state is kept in `state_dir`."""
    import shlex

    bin_dir.mkdir(parents=True, exist_ok=True)
    state_dir.mkdir(parents=True, exist_ok=True)
    # A program that is started several times a second spends its life on starting: hence no `site`, no `-m`, and here and in
    # `sim.workload` named tuples, since importing `dataclasses` alone takes as long as the interpreter.
    code = f"import sys; sys.path.append({str(Path(gputui.__file__).parents[1])!r}); import {__name__} as me; me.run()"
    for program in ("docker", "bash", "nvidia-smi", "sudo", "mountpoint"):
        words = [python, "-I", "-S", "-c", code, program, str(state_dir)]
        path = bin_dir / program
        path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        path.chmod(0o700)


def set_faults(state_dir: Path, **faults: Any) -> None:
    """Replace the faults of the stub that keeps its state in `state_dir`."""
    _write_json(state_dir / "faults.json", faults)


class StubDocker:
    """The stub's client and daemon in one."""

    def __init__(self, state_dir: Path, now_ms: Callable[[], int]) -> None:
        self._state_dir = state_dir
        self._now_ms = now_ms

    def call(self, arguments: Sequence[str]) -> int:
        """Carry out one command line; return the exit code."""
        match list(arguments):
            case ["version"]:
                self._check_daemon()
                _write("Server: simulated\n docker-init:\n  Version: 0.19.0\n")
            case ["pull", image]:
                self._pull(image)
            case ["image", "inspect", image]:
                self._check_daemon()
                if not self._image_marker(image).exists():
                    raise DockerError(f"Error response from daemon: No such image: {image}")
            case ["run", *options]:
                return self._run(options)
            case ["start", name]:
                self._start(name)
            case ["container", "inspect", "-f", template, name]:
                _write(f"{self._inspect(template, name)}\n")
            case ["logs", name]:
                _write(self._running(name).output(self._now_ms()))
            case ["logs", "-f", name]:
                self._follow(name)
            case ["stop", "-t", grace_s, name]:
                self._end(name, float(grace_s))
            case ["kill", name]:
                self._end(name, None)
            case _:
                raise DockerError(f"docker: the stub does not know {' '.join(arguments[:2])!r}", 125)
        return 0

    def is_unmounted(self, path: str) -> bool:
        """Say whether no volume is mounted at a path."""
        return path in (self._fault("unmounted") or ())

    def running_workload(self) -> WorkloadRun | None:
        """Return a workload that runs now, None when the machine is idle."""
        now_ms = self._now_ms()
        for path in (self._state_dir / "containers").glob("*.json"):
            run = _container(path).run()
            if run is not None and now_ms < run.end()[0]:
                return run
        return None

    def record(self, name: str, container: Container) -> None:
        """Keep a container's record."""
        kept = container._asdict() | {"workload": container.workload._asdict()}
        _write_json(self._state_dir / "containers" / f"{name}.json", kept)

    def _fault(self, name: str) -> Any:
        path = self._state_dir / "faults.json"
        return json.loads(path.read_text()).get(name) if path.exists() else None

    def _check_daemon(self, exit_code: int = 1) -> None:
        if self._fault("daemon_down"):
            raise DockerError(DAEMON_DOWN, exit_code)

    def _image_marker(self, image: str) -> Path:
        return self._state_dir / "images" / image.replace("/", "_")

    def _load(self, name: str) -> Container:
        self._check_daemon()
        path = self._state_dir / "containers" / f"{name}.json"
        if not path.exists():
            raise DockerError(f"Error response from daemon: No such container: {name}")
        return _container(path)

    def _running(self, name: str) -> WorkloadRun:
        run = self._load(name).run()
        if run is None:
            raise DockerError(f"Error response from daemon: container {name} was never started")
        return run

    def _pull(self, image: str) -> None:
        self._check_daemon()
        if error := pull_error(image):
            raise DockerError(error)
        begun_ms = self._now_ms()
        for at_s, text in pull_lines(image):
            self._sleep_until(begun_ms + round(at_s * 1000))
            self._check_daemon()
            _write(f"{text}\n")
        while self._fault("pull_hangs") == image:
            time.sleep(FOLLOW_EVERY_S)
        marker = self._image_marker(image)
        marker.parent.mkdir(exist_ok=True)
        marker.touch()

    def _run(self, options: list[str]) -> int:
        self._check_daemon(125)
        values, mounts, rest = _parse_run(options)
        image, command = rest[0], rest[-1] if len(rest) > 1 else ""
        if error := self._fault("run_error"):
            raise DockerError(f"docker: Error response from daemon: {error}.", 125)
        env = _read_env_file(Path(values["--env-file"])) if "--env-file" in values else {}
        self.record(values["--name"], Container(workload_from(image, command, env), "--gpus" in values, mounts))
        self._start(values["--name"])
        if self._fault("run_reply_lost"):
            raise DockerError(f"docker: error during connect: {DAEMON_DOWN}", 125)
        _write("5b1e" * 16 + "\n")
        return 0

    def _start(self, name: str) -> None:
        container = self._load(name)
        error = self._fault("run_error_after_create")
        if container.wants_gpus and self._fault("gpu_runtime_missing"):
            error = 'could not select device driver "" with capabilities: [[gpu]]'
        if error:
            raise DockerError(f"docker: Error response from daemon: {error}.", 127)
        if container.started_ms is None:
            self.record(name, container._replace(started_ms=self._now_ms()))

    def _inspect(self, template: str, name: str) -> str:
        status, exit_code, oom = self._load(name).status(self._now_ms(), oom=bool(self._fault("oom")))
        fields = {"Status": status, "ExitCode": str(exit_code), "OOMKilled": str(oom).lower()}
        for field, value in fields.items():
            template = template.replace("{{.State." + field + "}}", value)
        return template

    def _follow(self, name: str) -> None:
        sent = 0
        while True:
            run = self._running(name)
            now_ms = self._now_ms()
            output = run.output(now_ms)
            _write(output[sent:])
            sent = len(output)
            if now_ms >= run.end()[0]:
                return
            time.sleep(FOLLOW_EVERY_S)

    def _end(self, name: str, grace_s: float | None) -> None:
        """Stop a container as `docker stop` does, or kill it when `grace_s` is None; return once it has ended."""
        container = self._load(name)
        if container.term_ms is None or grace_s is None:
            now_ms = self._now_ms()
            container = container._replace(term_ms=now_ms, grace_s=grace_s or 0.0)
            if grace_s is None:
                container = container._replace(workload=container.workload._replace(ignores_term=True))
            self.record(name, container)
        run = container.run()
        if run is not None:
            self._sleep_until(run.end()[0])

    def _sleep_until(self, moment_ms: int) -> None:
        time.sleep(max(0.0, (moment_ms - self._now_ms()) / 1000))


def run_plain(command: str, docker: StubDocker, now_ms: Callable[[], int]) -> int:
    """Print the lines of the workload that `command` stands for as they fall due; return its exit code."""
    workload = workload_from("", command, os.environ)
    if workload.ignores_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started_ms = now_ms()
    docker.record(f"process-{os.getpid()}", Container(workload, started_ms=started_ms))
    for at_s, text in (*lines(workload), (workload.duration_s, None)):
        time.sleep(max(0.0, (started_ms + at_s * 1000 - now_ms()) / 1000))
        if text is not None:
            _write(f"{text}\n")
    return workload.exit_code


def main(arguments: Sequence[str]) -> int:
    """Be the program named first, with the state folder named second."""
    program, state_dir, *rest = arguments
    docker = StubDocker(Path(state_dir), _now_ms)
    if program == "docker":
        try:
            return docker.call(rest)
        except DockerError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    if program == "bash" and len(rest) == 2 and rest[0] == "-c":
        return run_plain(rest[1], docker, _now_ms)
    if program == "mountpoint" and len(rest) == 2 and rest[0] == "-q":
        return 1 if docker.is_unmounted(rest[1]) else 0
    if program == "nvidia-smi" and rest and rest[0].startswith("--query-gpu="):
        figures = gpu_figures(docker.running_workload(), _now_ms())
        _write(", ".join(str(figure) for figure in figures) + "\n")
        return 0
    sys.stderr.write(f"{program}: not available on a simulated machine\n")
    return 1


def _parse_run(options: list[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Return the options with a value, the mounts, and what follows them: the image and its arguments."""
    values: dict[str, str] = {}
    mounts: list[str] = []
    rest = list(options)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _RUN_OPTIONS_WITH_VALUE and rest:
            values[option] = rest.pop(0)
            if option == "--mount":
                mounts.append(values[option])
        elif option not in _RUN_FLAGS:
            raise DockerError(f"unknown flag: {option}", 125)
    if values.get("--log-opt", "").startswith("max-size=-"):
        raise DockerError("docker: Error response from daemon: failed to initialize logging driver: invalid size", 125)
    if not rest or "--name" not in values:
        raise DockerError("docker: 'docker run' requires an image and, in the stub, a --name", 125)
    return values, mounts, rest


def _read_env_file(path: Path) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in path.read_text().splitlines() if "=" in line)


def _container(path: Path) -> Container:
    kept = json.loads(path.read_text())
    return Container(**kept | {"workload": Workload(**kept["workload"])})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def _write(data: bytes | str) -> None:
    sys.stdout.buffer.write(data.encode() if isinstance(data, str) else data)
    sys.stdout.buffer.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def run() -> None:
    """Be a process: the exit code is the program's."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a closed pipe is how a log's reader says that it has gone
    sys.exit(main(sys.argv[1:]))
