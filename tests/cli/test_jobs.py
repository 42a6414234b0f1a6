"""jobs: list, status, logs, events, stop, on jobs that are over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arrange import keep_job

from gputui.cli.follow import tail_offset
from gputui.core.desk import Desk
from gputui.core.runner.logfile import JobLog
from gputui.model.states import JobStatus
from gputui.model.types import JobSpec
from gputui.model.vitals import Vitals
from gputui.store.vitals import save_vitals

JOB_KEYS = [
    "id",
    "status",
    "phase",
    "kind",
    "provider",
    "gpu",
    "gpu_count",
    "image",
    "command",
    "cost_per_hour_usd",
    "cost_usd",
    "cost_uncertainty_usd",
    "created_at",
    "started_at",
    "ended_at",
    "exit_code",
    "error",
    "machine",
    "guard",
    "gpu_use",
]


def test_list_is_newest_first_with_the_agreed_keys(cli: Any, desk: Desk) -> None:
    older = keep_job(desk, name="older")
    newer = keep_job(desk, name="newer", status=JobStatus.FAILED, exit_code=3, error="it broke")
    rows = cli("jobs", "list", "--json").data
    assert [row["id"] for row in rows] == [newer.id, older.id]
    assert list(rows[0]) == JOB_KEYS
    assert rows[0]["status"] == "failed"
    assert rows[0]["exit_code"] == 3
    assert rows[1]["gpu"] == "H100-SXM"
    assert rows[1]["cost_per_hour_usd"] == "2.29"
    assert rows[1]["cost_usd"] == "2.29"
    assert rows[1]["cost_uncertainty_usd"] == "0.01"
    assert set(rows[1]["machine"]) == {"id", "ip", "ssh"}
    assert rows[1]["machine"]["ssh"] is None  # it is gone


def test_list_is_narrowed_and_says_when_it_is_cut(cli: Any, desk: Desk) -> None:
    keep_job(desk)
    keep_job(desk, status=JobStatus.FAILED)
    assert [row["status"] for row in cli("jobs", "list", "--status", "failed", "--json").data] == ["failed"]
    assert "there may be more" in cli("jobs", "list", "--limit", "1").err


def test_an_empty_list_says_how_to_begin(cli: Any) -> None:
    assert "gputui run" in cli("jobs", "list").out


@pytest.mark.parametrize("part", ["id", "beginning", "end", "name"])
def test_a_job_is_found_by_what_people_type(cli: Any, desk: Desk, part: str) -> None:
    job = keep_job(desk, name="train-me")
    reference = {"id": job.id, "beginning": job.id[:20], "end": job.id[-6:], "name": "train-me"}[part]
    assert cli("jobs", "status", reference, "--json").data["id"] == job.id


@pytest.mark.parametrize("command", ["status", "logs", "events", "stop"])
def test_an_unknown_job_is_not_found(cli: Any, command: str) -> None:
    said = cli("jobs", command, "nope", "--json")
    assert (said.code, said.error["code"]) == (3, "not_found")


def test_an_ambiguous_beginning_lists_the_ids(cli: Any, desk: Desk) -> None:
    jobs = [keep_job(desk, name=f"n{n}") for n in range(2)]
    said = cli("jobs", "status", jobs[0].id[:4], "--json")
    assert (said.code, said.error["code"]) == (2, "usage")
    assert all(job.id[-8:] in said.error["error"] for job in jobs)


def test_status_shows_what_matters(cli: Any, desk: Desk) -> None:
    keep_job(desk, name="train-me", error="bad \x1b[31mnews")
    shown = cli("jobs", "status", "train-me").out
    assert "completed" in shown
    assert "python train.py" in shown
    assert "\x1b" not in shown


def test_status_tells_the_guards_and_what_the_gpu_does(cli: Any, desk: Desk) -> None:
    spec = JobSpec(gpu="H100", command="train", idle_stop_s=1800, idle_threshold_percent=10, max_duration_s=3600)
    job = keep_job(desk, name="train-me", spec=spec)
    now_ms = desk.clock.now_ms()
    figures = {"gpu_at_ms": now_ms, "gpu_percent": 97.0, "gpu_used_mib": 61_000.0, "gpu_total_mib": 81_559.0}
    with desk.store.write() as tx:
        save_vitals(tx, Vitals(job.placement_id or "", now_ms, "no_key", "12", **figures))
    guard = cli("jobs", "status", "train-me", "--json").data["guard"]
    assert (guard["state"], guard["max_duration_s"], guard["max_price_per_hour_usd"]) == ("agent-only", 3600, None)
    assert guard["idle_stop"] == {
        "after_s": 1800, "below_percent": 10, "possible": True, "problem": None, "idle_s": 12
    }  # fmt: skip
    shown = cli("jobs", "status", "train-me").out
    assert "agent-only: Mock gives machines no key" in shown
    assert "after 1800 s below 10 %; idle for 12 s" in shown
    assert "97 %, 61000 of 81559 MiB at " in shown
    with desk.store.write() as tx:
        save_vitals(tx, Vitals(job.placement_id or "", now_ms, "no_key", "missing"))
    shown = cli("jobs", "status", "train-me").out
    assert "NOT POSSIBLE: there is no nvidia-smi" in shown
    assert "gpu_use" not in shown


def test_events_are_the_timeline(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    [event] = cli("jobs", "events", job.id, "--json").data
    assert (event["to"], event["why"], event["job_id"]) == ("completed", "it ended", job.id)
    assert "it ended" in cli("jobs", "events", job.id).out


def test_logs_come_as_they_were_written(cli: Any, desk: Desk, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    job = keep_job(desk)
    content = b"first\r 50%\r100%\nsecond \xff\xfe\nno end"
    desk.log_path(job.id).write_bytes(content)
    from gputui.cli.main import main

    assert main(["jobs", "logs", job.id]) == 0
    assert capsysbinary.readouterr().out == content
    assert main(["jobs", "logs", job.id, "--follow"]) == 0  # it is over: everything, then the end
    assert capsysbinary.readouterr().out == content
    assert cli("jobs", "logs", job.id, "--tail", "2", "--json").data["lines"] == ["second ��", "no end"]


def test_logs_without_a_log_say_so(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    said = cli("jobs", "logs", job.id)
    assert (said.code, said.out) == (0, "")
    assert "empty" in said.err


def test_a_lost_stretch_of_a_log_is_said(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    log = JobLog(desk.log_path(job.id))
    log.begin("p", now_ms=1)
    log.append("p", 0, b"before\n", now_ms=1)
    log.mark_gap("the machine was lost", now_ms=2)
    assert "the machine was lost" in cli("jobs", "logs", job.id).err
    [gap] = cli("jobs", "logs", job.id, "--json").data["gaps"]
    assert (gap["byte"], gap["why"]) == (7, "the machine was lost")


def test_stopping_a_job_that_is_over_changes_nothing_and_asks_nothing(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    said = cli("jobs", "stop", job.id, "--json")
    assert said.code == 0
    assert said.data["status"] == "completed"
    assert "already" in said.err


def test_stopping_a_live_job_needs_a_yes(cli: Any, desk: Desk) -> None:
    job = keep_job(desk, status=JobStatus.RUNNING, ended_at_ms=None, exit_code=None)
    said = cli("jobs", "stop", job.id, "--json")
    assert (said.code, said.error["code"]) == (2, "confirmation_needed")
    assert desk.job(job.id).job.stop_requested_at_ms is None


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 10])
def test_tail_offset_counts_lines(tmp_path: Path, ending: str, count: int) -> None:
    path = tmp_path / "log"
    lines = ["one", "", "three", "four"]
    path.write_text("\n".join(lines) + ending)
    tail = path.read_bytes()[tail_offset(path, count) :].decode()
    expected = lines[-count:] if count else []
    assert tail == ("\n".join(expected) + ending if count else "")


def test_tail_offset_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [f"line {number} {'x' * 90}" for number in range(10_000)]
    path.write_text("\n".join(lines) + "\n")
    for count in (1, 5, 4_000):
        assert path.read_bytes()[tail_offset(path, count) :].decode().splitlines() == lines[-count:]
    assert tail_offset(tmp_path / "absent", 5) == 0
