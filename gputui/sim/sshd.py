"""A simulated machine that answers real SSH on loopback: files go to its home folder, and only the harness runs there.

One server per machine. What a client may do: log in with an authorised key, use SFTP inside the home folder, run the
harness's verbs, and look at a terminal that says what this is. The harness must be byte for byte the packaged one; the
programs it finds first on its PATH are stubs that execute nothing, so a user's command never runs on this host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gputui.sim.stub_docker import install_stubs

if TYPE_CHECKING:
    import asyncssh

COMMAND_TIMEOUT_S = 60.0
KILL_ROUNDS = 20
MARKER = "GPUTUI_SIM_MACHINE"
PROMPT = b"sim$ "
BANNER = (
    b"This is a simulated machine. Nothing that is typed here is executed; type exit to leave.\r\n"
)  # fmt: skip

_FOLDER = r"(?P<folder>\.gputui/[0-9A-Za-z_-]{1,64})"
_HARNESS_CALL = re.compile(
    rf"sh {_FOLDER}/harness\.sh (?:(?:start|stop) (?P=folder)|poll (?P=folder) \d{{1,18}} \d{{1,18}} \d{{1,9}})"
)


async def start_sim_sshd(
    home: Path,
    authorized_keys: Callable[[], list[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    environ: Mapping[str, str] | None = None,
) -> SimSshd:
    """Start the SSH server of one simulated machine.

    `home` is its login user's home folder; what else it needs (host key, stub programs, the stub Docker's state) lies
    beside it in `<home>.machine`, so a machine keeps its host key when it is started again. `authorized_keys` is asked at
    every login. `port` 0 takes a free one. `environ` are variables that its provider put into it. Raises OSError when it
    cannot listen.
    """
    import asyncssh

    machine = SimSshd(home, authorized_keys, environ or {})
    machine.server = await asyncssh.create_server(
        lambda: _server_class()(machine),
        host,
        port,
        server_host_keys=[machine.host_key],
        process_factory=machine.serve,
        sftp_factory=lambda channel: _sftp_class()(channel, chroot=str(home)),
        encoding=None,
        line_editor=False,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        agent_forwarding=False,
        login_timeout=20,
    )
    return machine


class SimSshd:
    """A running server: where it listens and which host key it shows. Close it to end all that ran on the machine."""

    server: asyncssh.SSHAcceptor

    def __init__(self, home: Path, authorized_keys: Callable[[], list[str]], environ: Mapping[str, str]) -> None:
        self.home = home.resolve()
        self._environ = dict(environ)
        self.authorized_keys = authorized_keys
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._machine_dir = self.home.with_name(f"{self.home.name}.machine")
        self._harness = resources.files("gputui.core.runner").joinpath("harness.sh").read_bytes()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        install_stubs(self._machine_dir / "bin", sys.executable, state_dir=self.docker_state_dir)
        self.host_key = self._load_host_key()

    @property
    def port(self) -> int:
        """Return the TCP port it listens on."""
        return int(self.server.get_port())

    @property
    def host_public_key(self) -> str:
        """Return its host key as one OpenSSH line."""
        return self.host_key.export_public_key().decode().strip()

    @property
    def docker_state_dir(self) -> Path:
        """Return where the machine's stub Docker keeps its state, and reads its faults."""
        return self._machine_dir / "docker"

    async def close(self) -> None:
        """Stop listening, cut every connection and kill what the harness left running."""
        self.server.close()
        for connection in list(self.connections):
            connection.abort()
        await self.server.wait_closed()
        await self.kill_processes()

    async def kill_processes(self) -> None:
        """Kill everything that runs on the machine, as a power cut would. Its disk stays."""
        for _ in range(KILL_ROUNDS):
            running = self._processes()
            if not running:
                return
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.05)

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Answer one session: a call of the harness, or a terminal."""
        if process.command is None:
            await self._talk(process)
            return
        folder = self._folder_of_call(process.command)
        if folder is None:
            process.stderr.write(b"simulated machine: only the harness can be run here\n")
            process.exit(126)
        elif not self._is_our_harness(folder):
            process.stderr.write(b"simulated machine: this is not the packaged harness\n")
            process.exit(126)
        else:
            exit_code, stdout, stderr = await self._run(shlex.split(process.command))
            process.stdout.write(stdout)
            process.stderr.write(stderr)
            await process.stdout.drain()
            process.exit(exit_code)

    async def _run(self, words: list[str]) -> tuple[int, bytes, bytes]:
        """Run a checked command line to its end; return its exit code and output."""
        child = await asyncio.create_subprocess_exec(
            *words,
            cwd=self.home,
            env={
                **self._environ,
                "HOME": str(self.home),
                "PATH": f"{self._machine_dir / 'bin'}:/usr/bin:/bin",
                MARKER: str(self.home),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                stdout, stderr = await child.communicate()
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, TimeoutError):
                return 124, b"", b"simulated machine: the command took too long\n"
            raise
        return child.returncode or 0, stdout, stderr

    async def _talk(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Show a terminal that echoes and executes nothing, until `exit` or ctrl+d."""
        process.stdout.write(BANNER + PROMPT)
        typed = b""
        while data := await process.stdin.read(1024):
            for key in (bytes([number]) for number in data):
                if key == b"\x04" or (key in b"\r\n" and typed.strip() in (b"exit", b"logout")):
                    process.stdout.write(b"\r\n")
                    process.exit(0)
                    return
                if key in b"\r\n":
                    process.stdout.write(b"\r\n" + (b"(not executed)\r\n" if typed.strip() else b"") + PROMPT)
                    typed = b""
                elif key == b"\x03":
                    process.stdout.write(b"^C\r\n" + PROMPT)
                    typed = b""
                elif key in b"\x7f\x08":
                    process.stdout.write(b"\b \b" * bool(typed))
                    typed = typed[:-1]
                elif key >= b" ":
                    process.stdout.write(key)
                    typed += key
        process.exit(0)

    def _folder_of_call(self, command: str) -> str | None:
        match = _HARNESS_CALL.fullmatch(command)
        return match["folder"] if match else None

    def _is_our_harness(self, folder: str) -> bool:
        path = self.home / folder / "harness.sh"
        try:
            return path.resolve() == path and path.read_bytes() == self._harness
        except OSError:
            return False

    def _processes(self) -> list[int]:
        """Return the ids of the processes of this machine: those that carry its marker in their environment."""
        marker = f"{MARKER}={self.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if marker in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def _load_host_key(self) -> asyncssh.SSHKey:
        import asyncssh

        path = self._machine_dir / "host_key"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        return asyncssh.read_private_key(path)


def _server_class() -> Any:
    import asyncssh

    class KeyOnlyServer(asyncssh.SSHServer):
        """Lets in whoever holds one of the machine's authorised keys, under any user name."""

        def __init__(self, machine: SimSshd) -> None:
            self._machine = machine
            self._connection: asyncssh.SSHServerConnection | None = None

        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn
            self._machine.connections.add(conn)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._connection is not None:
                self._machine.connections.discard(self._connection)

        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            offered = key.export_public_key().split()[1]
            return any(line.encode().split()[1:2] == [offered] for line in self._machine.authorized_keys())

    return KeyOnlyServer


def _sftp_class() -> Any:
    import asyncssh

    class HomeOnlySftp(asyncssh.SFTPServer):
        """SFTP inside the home folder, with no links that could lead out of it."""

        def symlink(self, oldpath: bytes, newpath: bytes) -> None:
            raise asyncssh.SFTPPermissionDenied("No links on a simulated machine")

        def link(self, oldpath: bytes, newpath: bytes) -> None:
            raise asyncssh.SFTPPermissionDenied("No links on a simulated machine")

    return HomeOnlySftp
