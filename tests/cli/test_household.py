"""billing, agent, doctor, demo, sim."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from arrange import keep_job

from gputui.core.desk import Desk
from gputui.local.daemon import AgentLock
from gputui.model.errors import AuthError
from gputui.model.states import JobStatus
from gputui.providers.mock.client import MockClient


def test_usage_adds_up(cli: Any, desk: Desk) -> None:
    for name in ("one", "two"):
        keep_job(desk, name=name)
    usage = cli("billing", "usage", "--json").data
    assert {row["name"] for row in usage["jobs"]} == {"one", "two"}
    assert [row["cost_usd"] for row in usage["jobs"]] == ["2.29", "2.29"]
    assert (usage["total_usd"], usage["total_uncertainty_usd"]) == ("4.58", "0.02")
    shown = cli("billing", "usage").out.splitlines()
    assert shown[-1].split() == ["total", "4.5800", "0.0200"]


def test_usage_looks_back_as_far_as_asked(cli: Any, desk: Desk) -> None:
    keep_job(desk)
    time.sleep(1.1)
    assert cli("billing", "usage", "--since", "1s", "--json").data["jobs"] == []
    assert len(cli("billing", "usage", "--since", "1h", "--json").data["jobs"]) == 1
    assert cli("billing", "usage", "--since", "yesterday").code == 2


def test_balance(cli: Any) -> None:
    [row] = cli("billing", "balance", "--json").data
    assert row["provider"] == "mock"
    assert float(row["balance_usd"]) > 0


def test_a_balance_that_cannot_be_had_is_told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: MockClient) -> None:
        raise AuthError("mock refused the key.", provider="mock")

    monkeypatch.setattr(MockClient, "fetch_balance", refuse)
    said = cli("billing", "balance", "--json")
    assert said.code == 4
    assert said.data == []
    assert "refused the key" in said.err


def test_no_agent(cli: Any) -> None:
    assert cli("agent", "status", "--json").data["condition"] == "none"
    assert cli("agent", "stop", "--json").data == {"was_running": False, "pid": None, "alive_jobs": 0}


def test_a_live_job_without_an_agent_is_a_warning(cli: Any, desk: Desk) -> None:
    keep_job(desk, status=JobStatus.RUNNING)
    said = cli("agent", "status", "--json")
    assert said.data["alive_jobs"] == 1
    assert "nobody watches" in said.err
    doctor = cli("doctor", "--json")
    assert doctor.code == 1
    assert [row["name"] for row in doctor.data if row["ok"] is False] == ["agent"]


def test_a_second_agent_is_refused(cli: Any, desk: Desk) -> None:
    lock = AgentLock(desk.paths.agent_lock)
    lock.acquire()
    try:
        said = cli("agent", "run")
    finally:
        lock.release()
    assert said.code == 1
    assert "Another agent of this profile is running" in said.err


def test_doctor_finds_everything_in_order(cli: Any, home: Path) -> None:
    said = cli("doctor", "--json")
    assert said.code == 0
    rows = {row["name"]: row for row in said.data}
    assert str(home / "state") in rows["state folder"]["detail"]
    assert "journal mode" in rows["database"]["detail"]
    assert "off" in rows["key store keyring"]["detail"]
    assert "gputui auth login huddle" in rows["provider huddle"]["detail"]
    assert "ok" in cli("doctor").out


def test_doctor_probes_keys_and_never_shows_one(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", "fake-0123456789abcdef")
    monkeypatch.setenv("GPUTUI_HUDDLE_URL", "http://127.0.0.1:9/api/v1")
    said = cli("doctor", "--probe", "--json")
    rows = {row["name"]: row for row in said.data}
    assert said.code == 1
    assert rows["provider mock"]["ok"] is True
    assert rows["provider huddle"]["ok"] is False
    assert "environment" in rows["provider huddle"]["detail"]
    assert "fake-0123456789abcdef" not in said.out + said.err


def test_doctor_goes_on_when_the_state_cannot_be_used(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("GPUTUI_HOME", str(blocker / "below"))
    said = cli("doctor", "--json")
    assert said.code == 1
    assert {row["name"] for row in said.data if row["ok"] is False} == {"folders", "database"}


def test_the_demo_needs_a_terminal(cli: Any) -> None:
    assert cli("demo").code == 2


def test_sim_prints_what_points_a_client_at_it(cli: Any) -> None:
    lines = cli("sim", "huddle", "--port", "4711", "--print-env").out.splitlines()
    assert lines[0].startswith("export GPUTUI_HUDDLE_URL=http://127.0.0.1:4711/huddle/")
    assert lines[1].startswith("export GPUTUI_HUDDLE_API_KEY=sim-")
    assert cli("sim", "nope", "--port", "4711").code == 3


async def test_sim_serves_until_it_is_interrupted(unused_port: int) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "gputui", "sim", "huddle", "--port", str(unused_port)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        first = await asyncio.wait_for(asyncio.to_thread(server.stderr.readline), 60)
        assert f"127.0.0.1:{unused_port}" in first
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_port)
        writer.write(b"GET /_sim/truth HTTP/1.0\r\n\r\n")
        assert b'"machines"' in await asyncio.wait_for(reader.read(), 60)
        writer.close()
        server.terminate()
        await asyncio.to_thread(server.wait, 60)
    finally:
        server.kill()
        server.wait()
        if server.stderr is not None:
            server.stderr.close()
