"""Key pairs, a simulated machine behind SSH, and a real OpenSSH server, all on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.protocol import job_folder
from gputui.local.ssh import KeyPair, SshShell, ensure_key_pair, open_ssh_shell
from gputui.sim.sshd import SimSshd, start_sim_sshd

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
SFTP_LINE = "Subsystem sftp internal-sftp"
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/{host_key}
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowAgentForwarding no
AllowTcpForwarding no
X11Forwarding no
{more}
"""


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return ensure_key_pair(tmp_path_factory.mktemp("keys"), "gputui-test")


@pytest.fixture
async def sim_sshd(tmp_path: Path, key_pair: KeyPair) -> AsyncIterator[SimSshd]:
    machine = await start_sim_sshd(tmp_path / "home", lambda: [key_pair.public_key])
    yield machine
    await machine.close()


@pytest.fixture
async def connect(key_pair: KeyPair) -> AsyncIterator[Callable[..., Any]]:
    """Open shells on 127.0.0.1 that are closed at the end: `await connect(port, …)`."""
    shells: list[SshShell] = []

    async def open_shell(port: int, *, pinned: str | None = None, username: str = "root", **options: Any) -> SshShell:
        options.setdefault("on_first_key", lambda key: None)
        options.setdefault("private_key_path", key_pair.private_path)
        shell = await open_ssh_shell("127.0.0.1", port, username, pinned_host_key=pinned, **options)
        shells.append(shell)
        return shell

    yield open_shell
    await asyncio.gather(*(shell.close() for shell in shells))


class OpenSsh:
    """A real sshd of our own user, with two host keys to choose from."""

    def __init__(self, folder: Path, public_key: str) -> None:
        self.folder = folder
        self.username = pwd.getpwuid(os.getuid()).pw_name
        # Bound as long as this lives, so that nobody else is given the port; sshd may have it because both reuse addresses.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = int(self._reserved.getsockname()[1])
        for name in ("host_a", "host_b"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        (folder / "authorized_keys").write_text(f"{public_key}\n")
        self._process: subprocess.Popen[bytes] | None = None

    def host_public_key(self, name: str = "host_a") -> str:
        return (self.folder / f"{name}.pub").read_text().strip()

    def start(self, *, host_key: str = "host_a", sftp: bool = True, environ: Mapping[str, str] | None = None) -> None:
        """Serve logins; `environ` is what they find in their environment."""
        assert SSHD is not None
        lines = [SFTP_LINE] * sftp
        if environ:
            lines.append("SetEnv " + " ".join(f"{name}={value}" for name, value in environ.items()))
        config = self.folder / "sshd.conf"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, host_key=host_key, more="\n".join(lines)))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = [SSHD, "-D", "-f", str(config), "-E", str(self.folder / "sshd.log")]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            signal.sigtimedwait([], 0.02)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._reserved.close()


@pytest.fixture(scope="session")
def _home_as_it_was() -> Iterator[None]:
    """sshd logs in to the user's real home: take away the empty folder that the jobs there leave."""
    existed = (Path.home() / ".gputui").exists()
    yield
    if not existed:
        with contextlib.suppress(OSError):
            (Path.home() / ".gputui").rmdir()


@pytest.fixture
def openssh(tmp_path: Path, key_pair: KeyPair, _home_as_it_was: None) -> Iterator[OpenSsh]:
    if SSHD is None:
        pytest.skip("no OpenSSH server on this machine")
    server = OpenSsh(tmp_path, key_pair.public_key)
    yield server
    server.close()


@pytest.fixture
async def placement_id(tmp_path: Path) -> AsyncIterator[str]:
    """A job folder in the real home of the user that sshd logs in; removed, and its processes ended, afterwards."""
    name = f"test-{tmp_path.name[-30:].replace('_', '-')}-{os.getpid()}"
    folder = Path.home() / job_folder(name)
    yield name
    for record in ("supervisor.pid", "wrapper.pid", "job.pid"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pid, started, _ = (folder / record).read_text().split()
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19] == started:
                os.killpg(int(pid), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
