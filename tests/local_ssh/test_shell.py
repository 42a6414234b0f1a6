"""The SSH shell against a simulated machine, and against ports that misbehave."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gputui.local.ssh import KeyPair, ensure_key_pair, fingerprint
from gputui.model.errors import HostKeyChanged, ShellError
from gputui.sim.sshd import SimSshd, start_sim_sshd

Connect = Callable[..., Any]


async def test_first_key_is_handed_over_once_logged_in(sim_sshd: SimSshd, connect: Connect) -> None:
    seen: list[str] = []
    await connect(sim_sshd.port, on_first_key=seen.append)
    assert seen == [sim_sshd.host_public_key]
    await connect(sim_sshd.port, pinned=seen[0], on_first_key=seen.append)
    assert len(seen) == 1


async def test_first_key_of_a_machine_that_refuses_us_is_not_pinned(
    sim_sshd: SimSshd, connect: Connect, tmp_path: Path
) -> None:
    seen: list[str] = []
    stranger = ensure_key_pair(tmp_path / "stranger", "stranger")
    with pytest.raises(ShellError, match="did not accept our SSH key for user root"):
        await connect(sim_sshd.port, private_key_path=stranger.private_path, on_first_key=seen.append)
    assert seen == []


async def test_another_host_key_than_the_pinned_is_refused(
    sim_sshd: SimSshd, connect: Connect, key_pair: KeyPair
) -> None:
    with pytest.raises(HostKeyChanged) as caught:
        await connect(sim_sshd.port, pinned=key_pair.public_key)
    assert fingerprint(key_pair.public_key) in caught.value.message
    assert fingerprint(sim_sshd.host_public_key) in (caught.value.hint or "")


async def test_pinned_key_of_a_kind_the_machine_no_longer_has_is_refused(sim_sshd: SimSshd, connect: Connect) -> None:
    import asyncssh

    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=1024).export_public_key().decode()
    with pytest.raises(HostKeyChanged):
        await connect(sim_sshd.port, pinned=rsa)


async def test_callback_that_fails_closes_the_connection(sim_sshd: SimSshd, connect: Connect) -> None:
    def refuse(key: str) -> None:
        raise RuntimeError("cannot store it")

    with pytest.raises(RuntimeError, match="cannot store it"):
        await connect(sim_sshd.port, on_first_key=refuse)
    async with asyncio.timeout(60):
        while sim_sshd.connections:
            await asyncio.sleep(0.01)


async def test_put_writes_in_one_step_with_its_mode(sim_sshd: SimSshd, connect: Connect) -> None:
    shell = await connect(sim_sshd.port)
    await shell.put(".gputui/p1/env", b"A=1\n", mode=0o600)
    await shell.put(".gputui/p1/env", b"A=2\n\0\xff", mode=0o640)
    path = sim_sshd.home / ".gputui/p1/env"
    assert path.read_bytes() == b"A=2\n\0\xff"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["env"]


async def test_many_puts_at_once(sim_sshd: SimSshd, connect: Connect) -> None:
    shell = await connect(sim_sshd.port)
    contents = {f".gputui/p{number % 3}/file{number}": bytes([number]) * 70_000 for number in range(20)}
    await asyncio.gather(*(shell.put(path, content) for path, content in contents.items()))
    assert {path: (sim_sshd.home / path).read_bytes() for path in contents} == contents


async def test_put_that_cannot_be_written_is_a_shell_error(sim_sshd: SimSshd, connect: Connect) -> None:
    shell = await connect(sim_sshd.port)
    (sim_sshd.home / "folder").mkdir()
    with pytest.raises(ShellError, match="could not write"):
        await shell.put("folder", b"x")


async def test_closed_shell_raises_shell_errors(sim_sshd: SimSshd, connect: Connect) -> None:
    shell = await connect(sim_sshd.port)
    await shell.close()
    with pytest.raises(ShellError):
        await shell.run(["sh", "x"])
    with pytest.raises(ShellError):
        await shell.put("x", b"")
    await shell.close()


async def test_machine_that_dies_raises_shell_errors(sim_sshd: SimSshd, connect: Connect) -> None:
    shell = await connect(sim_sshd.port)
    for connection in list(sim_sshd.connections):
        connection.abort()
    with pytest.raises(ShellError):
        await shell.run(["sh", "x"])


async def test_refused_port(connect: Connect) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(ShellError, match="refused the connection"):
            await connect(probe.getsockname()[1])


async def test_silent_port_fails_in_time(connect: Connect) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ShellError, match="did not answer in time"):
            async with asyncio.timeout(60):
                await connect(listener.getsockname()[1], connect_timeout_s=0.5)


async def test_port_that_is_no_ssh(connect: Connect) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3000)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ShellError):
            await connect(server.sockets[0].getsockname()[1])


async def test_unknown_host_name(key_pair: KeyPair) -> None:
    from gputui.local.ssh import open_ssh_shell

    with pytest.raises(ShellError):
        await open_ssh_shell(
            "no-such-host.invalid", 22, "root", key_pair.private_path,
            pinned_host_key=None, on_first_key=lambda key: None, connect_timeout_s=5,
        )  # fmt: skip


async def test_private_key_never_shows(
    sim_sshd: SimSshd, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = ensure_key_pair(tmp_path / "other", "other").private_path.read_text()
    broken = tmp_path / "broken"
    broken.write_text(secret.replace("PRIVATE KEY", "PRIVATE KEI"))
    with pytest.raises(ShellError) as caught:
        await connect(sim_sshd.port, private_key_path=broken)
    body = secret.splitlines()[2]
    assert body not in str(caught.value)
    assert caught.value.__cause__ is None
    await connect(sim_sshd.port)
    assert body not in caplog.text


async def test_users_own_ssh_set_up_is_left_alone(
    sim_sshd: SimSshd, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_folder = tmp_path / "user" / ".ssh"
    ssh_folder.mkdir(parents=True)
    (ssh_folder / "config").write_text("Host *\n  Port 1\n  User nobody\n  ProxyJump nowhere.invalid\n")
    monkeypatch.setenv("HOME", str(ssh_folder.parent))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    await connect(sim_sshd.port)
    assert [entry.name for entry in ssh_folder.iterdir()] == ["config"]


async def test_host_key_stays_when_the_machine_starts_again(tmp_path: Path, key_pair: KeyPair) -> None:
    first = await start_sim_sshd(tmp_path / "m", lambda: [key_pair.public_key])
    await first.close()
    second = await start_sim_sshd(tmp_path / "m", lambda: [key_pair.public_key])
    await second.close()
    assert second.host_public_key == first.host_public_key
