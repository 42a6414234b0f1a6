"""The real program in a real terminal, which tmux plays: it starts, bends, sleeps, ends, and leaves the terminal whole."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.tmux,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

DEADLINE_S = 60.0
PYTHON = shlex.quote(sys.executable)


class Tmux:
    """A terminal with a shell in it, on a tmux server of its own."""

    def __init__(self, folder: Path, *, term: str = "tmux-256color", size: tuple[int, int] = (120, 36)) -> None:
        self._socket = str(folder / "tmux")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environ = {
            **kept,
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "GPUTUI_HOME": str(folder / "home"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        config = folder / "tmux.conf"
        config.write_text(
            f"set -g default-terminal {term}\nset -sg escape-time 10\nset -g remain-on-exit on\nset -g history-limit 0\n"
        )
        self._environ = environ
        columns, rows = size
        self._tmux(
            "-f", str(config), "new-session", "-d", "-x", str(columns), "-y", str(rows), "bash --norc --noprofile"
        )
        self.wait("bash-")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def run(self, command: str) -> None:
        self.type(command)
        self.keys("Enter")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait(self, *texts: str, gone: str | None = None, last_line: str = "") -> str:
        """Wait until all the texts are on the screen, `gone` is not, and its last line is so; returns the screen."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            screen = self.screen()
            has_texts = all(text in screen for text in texts) and last_line in screen.split("\n")[-2]
            if has_texts and (gone is None or gone not in screen):
                return screen
            time.sleep(0.05)
        raise AssertionError(f"{texts} did not come:\n{self.screen()}")

    def flag(self, name: str) -> bool:
        """Return a flag of the terminal, such as whether a program has the alternate screen or the mouse."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip() == "1"

    def shell_is_whole(self) -> None:
        """Check that the shell has the terminal back as it was: it echoes, breaks lines, and nothing is switched on."""
        self.run("clear; echo $((40 + 2)) $(stty -a | grep -o '[-]*icanon\\|[-]*echo\\b' | tr '\\n' ' ')")
        self.wait("42 icanon echo")
        for name in ("alternate_on", "mouse_any_flag", "mouse_all_flag"):
            assert not self.flag(name), name
        assert self.flag("cursor_flag")

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-S", self._socket, "kill-server"], env=self._environ, capture_output=True, timeout=DEADLINE_S
        )


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path)
    yield terminal
    terminal.close()


def pid_of(folder: Path) -> int:
    return int((folder / "pid").read_text())


def started(tmux: Tmux, folder: Path, program: str = "-m gputui") -> int:
    """Start the program and return its process; the shell tells its exit code in `exit`."""
    pid = shlex.quote(str(folder / "pid"))
    tmux.run(f"""bash -c 'echo $$ > {pid}; exec {PYTHON} {program}'; echo exit:$?""")
    tmux.wait("Matrix", "command")
    return pid_of(folder)


@pytest.mark.parametrize(
    ("term", "size"), [("screen-256color", (80, 24)), ("tmux-256color", (120, 36))], ids=["small", "wide"]
)
def test_the_demo_starts_and_ends(tmp_path: Path, term: str, size: tuple[int, int]) -> None:
    tmux = Tmux(tmp_path, term=term, size=size)
    try:
        tmux.run(f"{PYTHON} -m gputui demo; echo exit:$?")
        tmux.wait("H100-SXM", "live")
        assert tmux.flag("alternate_on")
        assert tmux.flag("mouse_any_flag")
        tmux.keys("4")
        screen = tmux.wait("finetune", "eval")
        assert len(screen.rstrip("\n").splitlines()) <= size[1]
        tmux.keys("C-q")
        tmux.wait("Quit?", "This is the demo")
        tmux.keys("y")
        tmux.wait("exit:0")
        tmux.shell_is_whole()
    finally:
        tmux.close()


def test_without_the_mouse_it_is_left_to_the_terminal(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path, "-m gputui --no-mouse")
    assert tmux.flag("alternate_on")
    assert not tmux.flag("mouse_any_flag")
    tmux.keys("C-q")
    tmux.wait("exit:0")
    tmux.shell_is_whole()


def test_a_storm_of_resizes_is_survived(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path)
    for number in range(30):
        tmux.resize(40 + number * 7 % 100, 6 + number * 5 % 40)
    tmux.resize(90, 20)
    lines = tmux.wait("Matrix", last_line="? help").splitlines()
    assert len(lines) == 20
    assert lines[0].lstrip().startswith("gputui")
    tmux.keys("C-q")
    tmux.wait("exit:0")


def test_ctrl_z_sleeps_and_fg_wakes_it(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path)
    before = tmux.wait("Huddle", "on Mock", last_line="? help")
    tmux.keys("C-z")
    tmux.wait("Stopped")
    tmux.shell_is_whole()
    tmux.run("fg")
    after = tmux.wait("Huddle", "on Mock", last_line="? help")
    assert tmux.flag("alternate_on")
    assert [line[:60] for line in after.splitlines()[1:9]] == [line[:60] for line in before.splitlines()[1:9]]
    tmux.keys("4")
    tmux.wait("Jobs")
    tmux.keys("C-q")
    tmux.wait("bash-", gone="Jobs")
    tmux.shell_is_whole()


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_and_leave_the_terminal_whole(
    tmux: Tmux, tmp_path: Path, told: signal.Signals, code: int
) -> None:
    pid = started(tmux, tmp_path)
    os.kill(pid, told)
    tmux.wait(f"exit:{code}")
    tmux.shell_is_whole()


def test_it_ends_when_its_terminal_is_gone(tmux: Tmux, tmp_path: Path) -> None:
    pid = started(tmux, tmp_path)
    tmux.close()
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and Path(f"/proc/{pid}").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_crash_leaves_one_line_and_a_whole_terminal(tmux: Tmux, tmp_path: Path) -> None:
    program = tmp_path / "falls_over.py"
    program.write_text(
        textwrap.dedent(
            """
            from gputui.tui import app

            def fall_over(self):
                password = "not-for-eyes"
                raise RuntimeError("[/] it fell " + str(len(password)))

            app.GputuiApp.action_help = fall_over
            raise SystemExit(app.run_app(None))
            """
        )
    )
    started(tmux, tmp_path, shlex.quote(str(program)))
    tmux.keys("?")
    screen = tmux.wait("exit:1")
    assert "gputui fell over (RuntimeError). Jobs go on." in screen
    assert "Traceback" not in screen
    assert "not-for-eyes" not in screen
    crash = (tmp_path / "home" / "state" / "crash.log").read_text()
    assert "RuntimeError: [/] it fell 12" in crash
    assert "not-for-eyes" not in crash.replace('password = "not-for-eyes"', "")
    tmux.shell_is_whole()


def test_a_login_lends_the_terminal_and_comes_back(tmux: Tmux, tmp_path: Path) -> None:
    """A fake ssh that tells its arguments and whether it has a terminal with echo, then fails the second time."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {shlex.quote(str(tmp_path / "argv"))}\n'
        "stty -a | grep -q ' icanon' && echo THIS IS THE MACHINE\n"
        "read line\n"
        '[ "$line" = fail ] && { echo "Connection refused"; exit 255; }\nexit 0\n'
    )
    (programs / "ssh").chmod(0o755)
    program = tmp_path / "with_a_job.py"
    program.write_text(_WITH_A_JOB)
    tmux.run(f"export PATH={shlex.quote(str(programs))}:$PATH")
    started(tmux, tmp_path, shlex.quote(str(program)))
    tmux.keys("4")
    tmux.wait("ft-run-1", "s log in")
    tmux.keys("s")
    tmux.wait("THIS IS THE MACHINE", gone="ft-run-1")
    assert not tmux.flag("alternate_on")
    argv = (tmp_path / "argv").read_text()
    assert "-p 2222" in argv
    assert argv.rstrip().endswith("-l ubuntu -- 192.0.2.7")
    assert "StrictHostKeyChecking=yes" in argv
    tmux.keys("C-c")  # a nuisance meant for the command alone: the shell script ends
    tmux.wait("ft-run-1", "s log in", gone="THIS IS THE MACHINE")
    tmux.keys("s")
    tmux.wait("THIS IS THE MACHINE")
    tmux.run("fail")
    tmux.wait("Connection refused", "Press enter to go back to gputui")
    tmux.keys("Enter")
    screen = tmux.wait("ft-run-1", "s log in", gone="Connection refused")
    assert screen.splitlines()[0].lstrip().startswith("gputui")
    tmux.keys("C-q")
    tmux.wait("Quit?")
    tmux.keys("y")
    tmux.wait("exit:0")
    tmux.shell_is_whole()


_WITH_A_JOB = """
from gputui.core.desk import Desk
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobKind, JobSpec, Offer, Placement
from gputui.store import jobs
from gputui.tui import app

desk = Desk.open(None)
now_ms = desk.clock.now_ms()
spec = JobSpec(gpu="H100", kind=JobKind.MACHINE)
offer = Offer(id="huddle:1", provider="huddle", gpu="H100-SXM", gpu_count=1, price_micro_usd_per_hour=1,
              fetched_at_ms=now_ms)
with desk.store.write() as tx:
    jobs.insert_job(tx, Job(id="01job", spec=spec, status=JobStatus.RUNNING, phase="running", created_at_ms=now_ms,
                            name="ft-run-1", started_at_ms=now_ms, placement_id="01place"))
    jobs.insert_placement(tx, Placement(
        id="01place", job_id="01job", attempt=1, provider="huddle", offer=offer, label="gputui-x", idempotency_key="k",
        nonce="n", state=PlacementState.RUNNING, created_at_ms=now_ms, machine_id="m", ssh_host="192.0.2.7",
        ssh_port=2222, ssh_user="ubuntu", host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFake"))
desk.close()
Desk.guard = lambda self: None
raise SystemExit(app.run_app(None))
"""
