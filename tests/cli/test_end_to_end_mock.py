"""Whole jobs on the mock cloud, with processes as a user has them: a real command line and a real agent."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from gputui.core.desk import Desk
from gputui.model.types import Job

JOB = ("--provider", "mock", "--gpu", "H100", "--image", "pytorch/pytorch:latest", "--command", "python train.py")
STEP = re.compile(r"^step +\d+", re.MULTILINE)


def submit(terminal: Any, *extra: str, duration_s: float) -> str:
    """Submit a job and return its id."""
    knobs = ("--env", f"MOCK_DURATION_S={duration_s}", "--env", "MOCK_BOOT_S=0.5")
    said = terminal.run("run", *JOB, *knobs, "--max-duration", "1h", "--yes", *extra)
    assert said.code == 0, said.err
    return str(said.out.strip())


def status_of(terminal: Any, job_id: str) -> dict[str, Any]:
    said = terminal.run("jobs", "status", job_id, "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = said.data
    return found


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def jobs() -> list[Job]:
    """Return the jobs as they are in the store: asking a process again and again would be most of what a wait costs."""
    with contextlib.closing(Desk.open()) as desk:
        return [report.job for report in desk.jobs()]


def is_running(job_id: str) -> bool:
    return [job.status for job in jobs() if job.id == job_id] == ["running"]


def is_over(job_id: str) -> bool:
    return all(job.ended_at_ms is not None for job in jobs() if job.id == job_id)


def log_of(job_id: str) -> str:
    with contextlib.closing(Desk.open()) as desk:
        log = desk.log_path(job_id)
        return log.read_text() if log.exists() else ""


def wait_until_over(terminal: Any, job_id: str) -> dict[str, Any]:
    wait_for(lambda: is_over(job_id))
    return status_of(terminal, job_id)


def assert_whole_log(log: str) -> None:
    """The log has its first and last line and no line of the training twice."""
    assert "$ python train.py" in log
    assert "pytorch/pytorch:latest" in log
    assert log.rstrip().splitlines()[-1].startswith("done in")
    steps = STEP.findall(log)
    assert len(steps) > 3
    assert [step for step, count in Counter(steps).items() if count > 1] == []


def test_run_and_follow_a_job_to_its_end(terminal: Any) -> None:
    knobs = ("--env", "MOCK_DURATION_S=2", "--env", "MOCK_BOOT_S=0.5")
    said = terminal.run("run", *JOB, *knobs, "--max-duration", "1h", "--yes", "--follow")
    assert said.code == 0, said.err
    assert_whole_log(said.out)
    assert "the machine is gone" in said.err
    [job] = terminal.run("jobs", "list", "--json").data
    assert (job["status"], job["exit_code"], job["error"]) == ("completed", 0, None)
    assert float(job["cost_usd"]) > 0
    assert float(job["cost_uncertainty_usd"]) < float(job["cost_usd"])
    assert terminal.run("machines", "list", "--json").data == []
    usage = terminal.run("billing", "usage", "--json").data
    assert usage["total_usd"] == job["cost_usd"]
    moves = [event["to"] for event in terminal.run("jobs", "events", job["id"], "--json").data if event["to"]]
    assert moves[0] == "queued"
    assert moves[-1] == "completed"


def test_a_failing_job_ends_its_follower_with_the_same_code(terminal: Any) -> None:
    knobs = ("--env", "MOCK_DURATION_S=1", "--env", "MOCK_BOOT_S=0.2", "--env", "MOCK_EXIT_CODE=3")
    said = terminal.run("run", *JOB, *knobs, "--yes", "--follow")
    assert said.code == 3, said.err
    [job] = terminal.run("jobs", "list", "--json").data
    assert (job["status"], job["exit_code"]) == ("failed", 3)
    assert terminal.run("machines", "list", "--json").data == []


def test_no_capacity_anywhere_ends_the_follower_with_5(terminal: Any) -> None:
    said = terminal.run("run", *JOB, "--env", "MOCK_NO_CAPACITY=all", "--yes", "--follow")
    assert said.code == 5, said.err
    [job] = terminal.run("jobs", "list", "--json").data
    assert job["status"] == "failed"
    assert "capacity" in job["error"] or "free" in job["error"]
    assert job["cost_usd"] == "0.00"


def test_the_job_outlives_its_killed_follower(terminal: Any) -> None:
    follower = terminal.start(
        "run", *JOB, "--env", "MOCK_DURATION_S=8", "--env", "MOCK_BOOT_S=0.5", "--yes", "--follow"
    )
    wait_for(lambda: bool(jobs()))
    follower.send_signal(signal.SIGKILL)
    follower.communicate(timeout=60)
    [left] = jobs()
    assert left.status in ("queued", "provisioning", "running")
    job = wait_until_over(terminal, left.id)
    assert (job["status"], job["exit_code"]) == ("completed", 0)
    assert_whole_log(terminal.run("jobs", "logs", job["id"]).out)


def test_interrupting_the_follower_leaves_the_job_running(terminal: Any) -> None:
    follower = terminal.start(
        "run", *JOB, "--env", "MOCK_DURATION_S=600", "--env", "MOCK_BOOT_S=0.2", "--yes", "--follow"
    )

    def runs() -> bool:
        assert follower.poll() is None, follower.communicate()
        return [job.status for job in jobs()] == ["running"]

    wait_for(runs)
    follower.send_signal(signal.SIGINT)
    _, talk = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert "The job goes on" in talk
    [job] = terminal.run("jobs", "list", "--json").data
    assert job["status"] == "running"
    [machine] = terminal.run("machines", "list", "--json").data
    assert machine["job_id"] == job["id"]
    stopped = terminal.run("jobs", "stop", job["id"], "--yes", "--json")
    assert stopped.data["status"] == "stopped"
    assert terminal.run("machines", "list", "--json").data == []


def test_a_killed_agent_is_replaced_by_any_command_and_nothing_is_lost_or_doubled(terminal: Any) -> None:
    job_id = submit(terminal, duration_s=12)
    wait_for(lambda: is_running(job_id))
    wait_for(lambda: STEP.search(log_of(job_id)) is not None)
    first = terminal.agent_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: terminal.agent_pid is None)
    listed = terminal.run("jobs", "list", "--json")
    assert listed.code == 0, listed.err
    second = terminal.agent_pid
    assert second not in (None, first)
    job = wait_until_over(terminal, job_id)
    assert (job["status"], job["exit_code"]) == ("completed", 0)
    assert_whole_log(terminal.run("jobs", "logs", job_id).out)
    events = terminal.run("jobs", "events", job_id, "--json").data
    machines = {
        event["placement_id"] for event in events if event["kind"] == "placement" and event["to"] == "requesting"
    }
    assert len(machines) == 1
    assert terminal.run("machines", "list", "--json").data == []


def test_terminating_the_machine_of_a_job_stops_the_job_and_proves_the_end(terminal: Any) -> None:
    job_id = submit(terminal, duration_s=600)
    wait_for(lambda: is_running(job_id))
    [machine] = terminal.run("machines", "list", "--json").data
    said = terminal.run("machines", "terminate", machine["id"], "--yes", "--json")
    assert said.code == 0, said.err
    assert said.data["is_gone"] is True
    assert terminal.run("machines", "list", "--json").data == []
    assert wait_until_over(terminal, job_id)["status"] == "stopped"


def test_a_machine_without_a_command_lives_until_it_is_stopped(terminal: Any) -> None:
    said = terminal.run(
        "run", "--provider", "mock", "--gpu", "A10", "--machine", "--env", "MOCK_BOOT_S=0.2", "--yes", "--json"
    )
    job_id = said.data["id"]
    assert said.data["kind"] == "machine"
    wait_for(lambda: is_running(job_id))
    stopped = terminal.run("jobs", "stop", job_id, "--yes", "--json")
    assert stopped.data["status"] in ("stopped", "completed")
    assert terminal.run("machines", "list", "--json").data == []


def test_stopping_the_agent_with_a_live_job_asks_and_the_next_command_starts_another(terminal: Any) -> None:
    job_id = submit(terminal, duration_s=600)
    wait_for(lambda: is_running(job_id))
    assert terminal.run("agent", "stop").code == 2
    ended = terminal.run("agent", "stop", "--yes", "--json")
    assert ended.data["was_running"] is True
    assert terminal.agent_pid is None
    assert status_of(terminal, job_id)["ended_at"] is None
    assert terminal.agent_pid is not None
    assert terminal.run("jobs", "stop", job_id, "--yes", "--json").data["status"] == "stopped"


def test_an_agent_without_work_ends_by_itself_and_not_before(terminal: Any) -> None:
    config = terminal.home / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[agent]\nidle_exit_s = 0\n")
    job_id = submit(terminal, duration_s=1)
    agent = terminal.agent_pid
    assert wait_until_over(terminal, job_id)["status"] == "completed"
    assert terminal.agent_pid in (agent, None)
    wait_for(lambda: terminal.agent_pid is None)
