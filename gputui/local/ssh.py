"""SSH to rented machines: our own key pair, host keys pinned on first sight, and the `Shell` the runner works through.

Nothing of the user's own SSH set-up is read or written: no configuration, no agent, no known_hosts file.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import shlex
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gputui.local.private_file import PrivateFile
from gputui.model.errors import HostKeyChanged, SecretsError, ShellError
from gputui.model.shell import ShellResult

if TYPE_CHECKING:
    import asyncssh

KEEPALIVE_EVERY_S = 15
KEEPALIVE_MISSES = 3
PUT_TIMEOUT_S = 60.0

# Writes standard input to "$1" in one step, for machines without an SFTP subsystem.
_PUT_SCRIPT = 'umask 077; mkdir -p "$(dirname "$1")" && cat >"$1.part" && chmod "$2" "$1.part" && mv -f "$1.part" "$1"'

_RSA_ALGORITHMS = ["rsa-sha2-512", "rsa-sha2-256"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Our key pair of one profile: where the private half lies, and the public half as one OpenSSH line."""

    private_path: Path
    public_key: str


async def open_ssh_shell(
    host: str,
    port: int,
    username: str,
    private_key_path: Path,
    *,
    pinned_host_key: str | None,
    on_first_key: Callable[[str], None],
    connect_timeout_s: float = 20.0,
) -> SshShell:
    """Connect and log in. The connection is closed by `close()`, or by itself when the machine falls silent for a minute.

    `pinned_host_key` is the machine's key as one OpenSSH line; any other key is refused. Where it is None the key is
    trusted, and handed to `on_first_key` once we are logged in: only then is it the key of the machine we were given.
    Raises HostKeyChanged, and ShellError for everything that may work on another try.
    """
    import asyncssh

    seen = _HostKeyCheck(pinned_host_key)
    options: dict[str, Any] = {
        "username": username,
        "client_keys": [str(private_key_path)],
        "client_factory": lambda: _client_class()(seen),
        "known_hosts": b"",
        "config": None,
        "agent_path": None,
        "agent_forwarding": False,
        "preferred_auth": "publickey",
        "password": None,
        "gss_host": None,
        "keepalive_interval": KEEPALIVE_EVERY_S,
        "keepalive_count_max": KEEPALIVE_MISSES,
        "connect_timeout": connect_timeout_s,
        "login_timeout": connect_timeout_s,
    }
    if pinned_host_key is not None:
        options["server_host_key_algs"] = _algorithms_of(pinned_host_key)
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(connect_timeout_s):
            connection = await asyncssh.connect(host, port, **options)
    except (OSError, asyncssh.Error, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise _as_shell_error(error, where, username, seen) from None
    if pinned_host_key is None and seen.offered is not None:
        try:
            on_first_key(seen.offered)
        except BaseException:
            connection.abort()
            raise
    return SshShell(connection, where)


class SshShell:
    """A `Shell` over one SSH connection. Calls may overlap; each has a deadline."""

    def __init__(self, connection: asyncssh.SSHClientConnection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._sftp: asyncssh.SFTPClient | None = None
        self._has_sftp = True
        self._sftp_lock = asyncio.Lock()

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Write a file in one step (another name, then a rename), making its folders (0700)."""
        async with self._errors_as_shell_errors(), asyncio.timeout(PUT_TIMEOUT_S):
            sftp = await self._open_sftp()
            if sftp is not None:
                await self._put_by_sftp(sftp, path, content, mode)
                return
            result = await self._communicate(["sh", "-c", _PUT_SCRIPT, "sh", path, f"{mode:04o}"], content)
            if result.exit_code != 0:
                said = result.stderr[:200].decode("utf-8", errors="replace").strip()
                raise ShellError(f"{path} could not be written on {self._where}: {said}")

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        """Run a command to its end; one ended by a signal has a negative exit code.

        Past the deadline its channel is closed and ShellError raised; the command itself may go on over there, since
        sshd passes no signal on for some users.
        """
        async with self._errors_as_shell_errors():
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._communicate(argv, b"")
            except TimeoutError:
                raise ShellError(f"{self._where} did not finish `{argv[0]}` within {timeout_s:g} s.") from None

    async def close(self) -> None:
        """Close the connection without waiting for the other side."""
        self._connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._connection.wait_closed()

    async def _communicate(self, argv: Sequence[str], stdin: bytes) -> ShellResult:
        process = await self._connection.create_process(shlex.join(argv), encoding=None)
        try:
            stdout, stderr = await process.communicate(stdin)
        except BaseException:
            process.kill()
            process.channel.abort()
            raise
        if process.returncode is None:
            raise ShellError(f"The connection to {self._where} broke while a command ran.")
        return ShellResult(process.returncode, _as_bytes(stdout), _as_bytes(stderr))

    async def _open_sftp(self) -> asyncssh.SFTPClient | None:
        """Return the connection's SFTP client, None where the machine has no such subsystem."""
        import asyncssh

        async with self._sftp_lock:
            if self._sftp is None and self._has_sftp:
                try:
                    self._sftp = await self._connection.start_sftp_client()
                except (asyncssh.ChannelOpenError, asyncssh.SFTPError):
                    if self._connection.is_closed():
                        raise
                    self._has_sftp = False
            return self._sftp

    async def _put_by_sftp(self, sftp: asyncssh.SFTPClient, path: str, content: bytes, mode: int) -> None:
        import asyncssh

        for folder in reversed(PurePosixPath(path).parents[:-1]):
            if not await sftp.isdir(str(folder)):
                with contextlib.suppress(asyncssh.SFTPFailure):  # another call may have made it just now
                    await sftp.mkdir(str(folder), asyncssh.SFTPAttrs(permissions=0o700))
        part = f"{path}.part"
        async with sftp.open(part, "wb", asyncssh.SFTPAttrs(permissions=mode)) as file:
            await file.write(content)
        await sftp.chmod(part, mode)
        await sftp.posix_rename(part, path)

    @contextlib.asynccontextmanager
    async def _errors_as_shell_errors(self) -> AsyncIterator[None]:
        import asyncssh

        try:
            yield
        except (OSError, asyncssh.Error) as error:
            raise _as_shell_error(error, self._where, "", None) from None


class _HostKeyCheck:
    """Compares the key a machine shows with the pinned one and remembers it."""

    def __init__(self, pinned: str | None) -> None:
        self.pinned = pinned
        self.offered: str | None = None

    def accepts(self, public_key: str) -> bool:
        self.offered = public_key
        return self.pinned is None or _key_blob(public_key) == _key_blob(self.pinned)


def _client_class() -> Any:
    import asyncssh

    class PinningClient(asyncssh.SSHClient):
        def __init__(self, check: _HostKeyCheck) -> None:
            self._check = check

        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            return self._check.accepts(key.export_public_key().decode().strip())

    return PinningClient


def _as_shell_error(error: Exception, where: str, username: str, check: _HostKeyCheck | None) -> ShellError:
    """Return our error for one of asyncssh or the system: a sentence, never key material."""
    import asyncssh

    if check is not None and check.pinned is not None and _is_host_key_error(error):
        shown = f"It now shows {fingerprint(check.offered)}. " if check.offered else ""
        return HostKeyChanged(
            f"{where} answered with another host key than {fingerprint(check.pinned)}, pinned for this machine.",
            hint=f"{shown}Someone may be in between, or the machine was reinstalled; it is not trusted.",
        )
    match error:
        case TimeoutError():
            return ShellError(f"{where} did not answer in time.")
        case ConnectionRefusedError():
            return ShellError(f"{where} refused the connection; the machine may still be starting.")
        case socket.gaierror():
            return ShellError(f"{where} is not a known host name.")
        case asyncssh.PermissionDenied():
            return ShellError(f"{where} did not accept our SSH key for user {username}.")
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return ShellError("Our private SSH key cannot be read; see `gputui doctor`.")
        case asyncssh.SFTPError():
            return ShellError(f"{where} could not write a file: {error.reason}")
        case asyncssh.ConnectionLost():
            return ShellError(f"The connection to {where} broke: {error.reason}")
        case asyncssh.DisconnectError() | asyncssh.ChannelOpenError():
            return ShellError(f"{where} ended the connection: {error.reason}")
        case OSError():
            return ShellError(f"{where} cannot be reached: {error.strerror or type(error).__name__}.")
    return ShellError(f"SSH to {where} failed: {type(error).__name__}.")


def _is_host_key_error(error: Exception) -> bool:
    """True for another key, and for a machine that no longer has one of the pinned kind at all."""
    import asyncssh

    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return True
    return isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error.reason).lower()


def _algorithms_of(public_key: str) -> list[str]:
    kind = public_key.split()[0]
    return _RSA_ALGORITHMS if kind == "ssh-rsa" else [kind]


def _as_bytes(data: bytes | str | None) -> bytes:
    return data.encode() if isinstance(data, str) else data or b""


def _key_blob(public_key: str) -> bytes:
    """Return the decoded key of an OpenSSH line, without type and comment."""
    words = public_key.split()
    if len(words) < 2:
        raise ValueError("not an OpenSSH public key")
    return base64.b64decode(words[1], validate=True)


def fingerprint(public_key: str) -> str:
    """Return the fingerprint of an OpenSSH public key line as ssh-keygen prints it: "SHA256:…", unpadded.

    Raises ValueError when it is no such line.
    """
    try:
        digest = hashlib.sha256(_key_blob(public_key)).digest()
    except binascii.Error as error:
        raise ValueError("not an OpenSSH public key") from error
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def ensure_key_pair(ssh_dir: Path, comment: str) -> KeyPair:
    """Return the profile's ed25519 key pair, made on the first call. Two processes at once get the same one.

    The private half is readable by its owner alone. Raises SecretsError when it can be neither read nor made.
    """
    file = PrivateFile(ssh_dir / "id_ed25519")
    with file.locked():
        content = file.read()
        if content is None:
            content = _new_private_key()
            file.replace(content)
    return KeyPair(file.path, f"{_public_half(content, file.path)} {comment}")


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _public_half(private_key: bytes, path: Path) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SecretsError(
            f"{path} is not a private key that we can read.", hint="Move it away; a new one is then made."
        ) from None
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def write_known_hosts(path: Path, host: str, port: int, host_key: str) -> None:
    """Write a known_hosts file that holds one machine's pinned key, for `ssh_argv`. Raises SecretsError when it cannot."""
    name = host if port == 22 else f"[{host}]:{port}"
    file = PrivateFile(path)
    with file.locked():
        file.replace(f"{name} {' '.join(host_key.split()[:2])}\n".encode())


def ssh_argv(host: str, port: int, user: str, private_path: Path, known_hosts_path: Path) -> list[str]:
    """Return the command for an interactive terminal on a machine, trusting only its pinned key and offering only ours."""
    options = {
        "IdentityFile": _ssh_path(private_path),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": _ssh_path(known_hosts_path),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "ServerAliveInterval": str(KEEPALIVE_EVERY_S),
        "ServerAliveCountMax": str(KEEPALIVE_MISSES),
        "ConnectTimeout": "20",
    }
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", *settings, "-p", str(port), "-l", user, "--", host]


def _ssh_path(path: Path) -> str:
    """Return a path as ssh's configuration wants it: quoted, since it splits at spaces, and without its % tokens."""
    return '"' + str(path).replace("%", "%%") + '"'
