"""A machine that deletes itself: when, with which program, and that nobody sees its key. Real shells, real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.container import container_start
from gputui.core.runner.protocol import COLLECT_S, EndCalls, harness_section, harness_source
from gputui.model.states import PlacementState
from gputui.model.types import JobSpec, Offer, Placement
from gputui.sim.stub_docker import set_faults

SHARED = harness_section("shared with containers that take no orders")
KEY = "fake-machine-key.0123_abc"
MACHINE = {"CONTAINER_API_KEY": KEY, "CONTAINER_ID": "77"}
BODY = '{"query":"mutation { podTerminate(input: {podId: \\"{id}\\"}) }"}'


@dataclass(frozen=True)
class Heard:
    """A request as it came: method, path, Authorization, body; and whether any process then showed the key in its arguments."""

    method: str
    path: str
    authorization: str
    body: str
    key_was_shown: bool


class ProviderStub:
    """Answers every request with an error, so that whoever asks goes on, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                authorization = self.headers.get("Authorization", "")
                stub.heard.append(Heard(self.command, self.path, authorization, body, _is_shown(KEY)))
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_DELETE = do_GET = answer

            def log_message(self, *values: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def calls(self, *calls: tuple[str, str, str]) -> EndCalls:
        """Return calls to this stub: (method, path, body)."""
        base = f"http://127.0.0.1:{self.server.server_port}"
        full = [(method, f"{base}{path}", body) for method, path, body in calls]
        return EndCalls("CONTAINER_API_KEY", "CONTAINER_ID", full)

    def delete_call(self) -> EndCalls:
        return self.calls(("DELETE", "/api/v0/instances/{id}/", ""))


def _is_shown(secret: str) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if secret.encode() in (entry / "cmdline").read_bytes():
                    return True
    return False


@pytest.fixture
def provider() -> Iterator[ProviderStub]:
    stub = ProviderStub()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


@pytest.fixture
def machine(new_machine: Any) -> Any:
    made = new_machine()
    made.environ = dict(MACHINE)
    return made


async def until_heard(provider: ProviderStub, count: int = 1) -> list[Heard]:
    async with asyncio.timeout(60):
        while len(provider.heard) < count:
            await asyncio.sleep(0.05)
    return provider.heard


@pytest.mark.parametrize("downloader", ["curl", "python3", "wget"])
async def test_a_lapsed_lease_deletes_the_machine_with_whatever_program_is_there(
    machine: Any, provider: ProviderStub, downloader: str
) -> None:
    if shutil.which(downloader, path="/usr/bin:/bin") is None:
        pytest.skip(f"no {downloader} here")
    machine.only_programs(downloader)
    calls = provider.calls(("POST", "/graphql", BODY), ("DELETE", "/v2/pods/{id}", ""))
    runner = await machine.start("sleep 300", end_calls=calls)
    await machine.until(lambda: machine.has("job.pid"))
    machine.expire("lease")
    ended = await machine.ended(lease_s=0)
    assert ended.summary == ("exited", 143, "lease")
    assert ended.reply.guard == "armed"
    first, second = (await until_heard(provider, 2))[:2]
    assert (first.method, first.path) == ("POST", "/graphql")
    assert first.body == BODY.replace("{id}", "77")
    assert (second.method, second.path, second.body) == ("DELETE", "/v2/pods/77", "")
    assert {first.authorization, second.authorization} == {f"Bearer {KEY}"}
    assert not first.key_was_shown
    assert not second.key_was_shown
    # one of the programs reads it from a private file, for as long as it asks
    await machine.until(lambda: not machine.has(".wgetrc"))
    files = [path for path in machine.folder.glob("[!.]*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert (await runner.poll(0, lease_s=0)).reason == "lease"


async def test_a_job_that_is_over_holds_its_machine_no_longer_than_the_lease(
    machine: Any, provider: ProviderStub
) -> None:
    await machine.start("exit 3", lease_s=300, end_calls=provider.delete_call())
    assert (await machine.ended()).summary == ("exited", 3, "exited")
    await asyncio.sleep(3)
    assert provider.heard == []
    machine.expire("lease")
    [heard, *_] = await until_heard(provider)
    assert (heard.method, heard.path) == ("DELETE", "/api/v0/instances/77/")


async def test_a_dead_docker_does_not_keep_the_machine(new_machine: Any, provider: ProviderStub) -> None:
    machine = new_machine(docker=True)
    machine.environ = dict(MACHINE)
    env = {"MOCK_DURATION_S": "300"}
    runner = await machine.start("python train.py", image="i:1", env=env, end_calls=provider.delete_call())
    await machine.until(lambda: machine.has("started"))
    set_faults(machine.docker_state, daemon_down=True)
    machine.expire("lease")
    await machine.until(lambda: machine.has("hung"))
    assert (await runner.poll(0, lease_s=0)).state == "running"
    assert provider.heard == []
    machine.expire("hung")
    ended = await machine.ended(lease_s=0)
    assert ended.summary == ("lost", None, "lease")
    await until_heard(provider)
    assert (machine.folder / "supervisor.err").read_text() == ""


async def test_after_the_maximum_duration_somebody_may_still_come_for_the_log(
    machine: Any, provider: ProviderStub
) -> None:
    runner = await machine.start("sleep 300", max_duration_s=1, end_calls=provider.delete_call())
    assert (await machine.ended()).summary == ("exited", 143, "max_duration")
    await machine.until(lambda: machine.has("collect"))
    async with machine.held("supervisor"):
        machine.expire("collect")
        reply = await runner.poll(0, lease_s=300)  # somebody came, so the time begins anew
    assert reply.reason == "max_duration"
    await asyncio.sleep(3)
    assert provider.heard == []
    machine.expire("collect")
    await until_heard(provider)


async def test_a_guard_that_was_killed_is_set_again_by_the_next_poll(machine: Any, provider: ProviderStub) -> None:
    runner = await machine.start("true", end_calls=provider.delete_call())
    await machine.ended()
    pid = machine.recorded_pid("supervisor")
    os.kill(pid, 9)
    await machine.until(lambda: not machine.owns(pid))
    await runner.poll(0, lease_s=300)
    await machine.until(lambda: machine.recorded_pid("supervisor") != pid)
    machine.expire("lease")
    await until_heard(provider)


@pytest.mark.parametrize(
    ("environ", "programs", "guard"),
    [
        ({}, ("curl",), "no_key"),
        ({"CONTAINER_API_KEY": KEY}, ("curl",), "no_key"),
        ({**MACHINE, "CONTAINER_API_KEY": 'fake" -o /etc/passwd'}, ("curl",), "no_key"),
        ({**MACHINE, "CONTAINER_ID": "77/../78"}, ("curl",), "no_key"),
        (MACHINE, (), "no_downloader"),
    ],
)
async def test_a_machine_that_cannot_delete_itself_says_why(
    machine: Any, provider: ProviderStub, environ: dict[str, str], programs: tuple[str, ...], guard: str
) -> None:
    machine.only_programs(*programs)
    machine.environ = environ
    await machine.start("sleep 300", lease_s=1, end_calls=provider.delete_call())
    ended = await machine.ended(lease_s=0)
    assert (ended.reply.reason, ended.reply.guard) == ("lease", guard)
    assert provider.heard == []
    assert "supervisor.pid" in os.listdir(machine.folder)
    await machine.until(lambda: not machine.processes())


async def test_without_anything_to_ask_with_no_key_is_looked_for(machine: Any) -> None:
    await machine.start("sleep 300", lease_s=1)
    ended = await machine.ended(lease_s=0)
    assert (ended.reply.reason, ended.reply.guard) == ("lease", "no_key")


def test_the_harness_waits_as_long_as_we_reckon() -> None:
    assert f"COLLECT_S={COLLECT_S}\n" in harness_source().decode()


@pytest.mark.parametrize(
    ("command", "max_duration_s", "knob", "reason"),
    [("sleep 2", None, "GPUTUI_LEASE_S", "exited"), ("sleep 300", 1, "GPUTUI_COLLECT_S", "max_duration")],
)
async def test_a_container_deletes_its_machine_when_its_job_is_over(
    provider: ProviderStub, tmp_path: Path, command: str, max_duration_s: int | None, knob: str, reason: str
) -> None:
    nonce = secrets.token_hex(8)
    spec = JobSpec(gpu="H100", image="i", command=command, max_duration_s=max_duration_s)
    offer = Offer("x:1", "x", "H100-SXM", 1, 1, 0)
    placement = Placement("p", "j", 1, "x", offer, "label", "key", nonce, PlacementState.READY, 0)
    start = container_start(spec, placement, lease_s=300, end_calls=provider.delete_call())
    log = tmp_path / "log"
    with log.open("wb") as file:
        env = {"PATH": os.environ["PATH"], **MACHINE, **start.env, "GPUTUI_GRACE_S": "1", knob: "1"}
        process = subprocess.Popen(start.argv, env=env, stdout=file, stderr=file, start_new_session=True)
    try:
        [heard, *_] = await until_heard(provider)
        assert (heard.method, heard.path, heard.authorization) == (
            "DELETE",
            "/api/v0/instances/77/",
            f"Bearer {KEY}",
        )
        assert not heard.key_was_shown
        lines = log.read_text().splitlines()
        assert f"gputui-guard {nonce} armed" in lines
        assert any(line.startswith(f"gputui-end {nonce}") and line.endswith(f"reason={reason}") for line in lines)
    finally:
        os.killpg(process.pid, 9)
        process.wait(60)
        shutil.rmtree(f"/var/tmp/gputui-{nonce}", ignore_errors=True)


def test_a_login_that_inherits_no_variables_finds_them_with_the_containers_first_process(tmp_path: Path) -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("no process namespaces here")
    script = tmp_path / "login.sh"
    script.write_text(f"{SHARED}\narm CONTAINER_API_KEY CONTAINER_ID\necho $guard $own_id $own_key\n")
    login = f"env -i PATH=/usr/bin:/bin sh -u {script}; true"  # not the shell's last act, so that it stays the first process
    done = subprocess.run(
        [*unshare, "sh", "-c", login],
        env={"PATH": "/usr/bin:/bin", **MACHINE},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["armed", "77", KEY], "")
