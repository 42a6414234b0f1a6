"""Whole jobs on simulated providers over loopback: real HTTP, real SSH, a real agent, and the world's own truth."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from test_end_to_end_mock import assert_whole_log, wait_until_over

PASSPHRASE = "not a real passphrase"
JOB = ("--gpu", "H100", "--image", "pytorch/pytorch:latest", "--command", "python train.py")


@dataclass
class Sim:
    """A running simulator."""

    port: int
    process: subprocess.Popen[bytes]

    def truth(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_sim/truth", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture
def sim(unused_port: int) -> Iterator[Sim]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gputui", "sim", "huddle", "--port", str(unused_port), "--boot", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = Sim(unused_port, process)
    deadline = time.monotonic() + 60
    while True:
        try:
            running.truth()
            break
        except OSError:
            assert process.poll() is None, "the simulator ended at once"
            assert time.monotonic() < deadline, "the simulator did not start"
            time.sleep(0.1)
    yield running
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=60)
    if process.poll() is None:
        process.kill()


@pytest.fixture
def huddle(terminal: Any, sim: Sim, monkeypatch: pytest.MonkeyPatch) -> Sim:
    """Point the profile at the simulator and keep a fake key in the vault."""
    said = terminal.run("sim", "huddle", "--port", str(sim.port), "--print-env")
    exports = dict(line.removeprefix("export ").split("=", 1) for line in said.out.splitlines())
    monkeypatch.setenv("GPUTUI_HUDDLE_URL", exports["GPUTUI_HUDDLE_URL"])
    monkeypatch.setenv("GPUTUI_VAULT_PASSPHRASE", PASSPHRASE)
    login = subprocess.run(
        [sys.executable, "-m", "gputui", "auth", "login", "huddle", "--stdin", "--yes"],
        input=exports["GPUTUI_HUDDLE_API_KEY"],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert login.returncode == 0, login.stderr
    assert exports["GPUTUI_HUDDLE_API_KEY"] not in login.stdout + login.stderr
    return sim


def test_a_job_from_login_to_the_proof_that_the_machine_is_gone(terminal: Any, huddle: Sim) -> None:
    assert terminal.run("auth", "test", "huddle").code == 0
    providers = {row["provider"] for row in terminal.run("pricing", "--json").data}
    assert providers >= {"huddle", "mock"}
    said = terminal.run("run", "--provider", "huddle", *JOB, "--env", "MOCK_DURATION_S=2", "--yes", "--follow")
    assert said.code == 0, said.err
    assert_whole_log(said.out)
    [job] = terminal.run("jobs", "list", "--json").data
    assert (job["status"], job["exit_code"]) == ("completed", 0)
    truth = huddle.truth()
    [machine] = truth["machines"]
    assert machine["alive"] is False
    assert abs(Decimal(job["cost_usd"]) - Decimal(truth["bill_usd"])) <= Decimal("0.000001")
    assert Decimal(job["cost_uncertainty_usd"]) == 0  # the ten-minute minimum decides
    assert terminal.run("machines", "list", "--json").data == []
    assert Decimal(terminal.run("billing", "balance", "--json").data[0]["balance_usd"]) < 100


def test_an_agent_killed_in_the_middle_loses_and_doubles_nothing(terminal: Any, huddle: Sim) -> None:
    knobs = ("--env", "MOCK_DURATION_S=8")
    job_id = terminal.run("run", "--provider", "huddle", *JOB, *knobs, "--yes").out.strip()
    for _ in range(3):
        time.sleep(2.5)
        pid = terminal.run("agent", "status", "--json").data["pid"]
        if pid:
            os.kill(pid, signal.SIGKILL)
        terminal.run("jobs", "list")
    assert wait_until_over(terminal, job_id)["exit_code"] == 0
    assert_whole_log(terminal.run("jobs", "logs", job_id).out)
    assert [machine["alive"] for machine in huddle.truth()["machines"]] == [False]


def test_a_wrong_key_is_told_as_such(terminal: Any, huddle: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", "fake-wrong-key")
    said = terminal.run("run", "--provider", "huddle", *JOB, "--yes")
    assert said.code == 4
    assert "fake-wrong-key" not in said.out + said.err
    assert huddle.truth()["machines"] == []
