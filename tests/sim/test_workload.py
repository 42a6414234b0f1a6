"""What a simulated job prints: deterministic, varied, bounded, and steered by the job's environment."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gputui.sim.workload import (
    MAX_COLUMNS,
    Workload,
    WorkloadRun,
    gpu_figures,
    lines,
    printed,
    pull_error,
    pull_lines,
    workload_from,
)

T0_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (10.0, 0, False)),
        ({"MOCK_DURATION_S": "2.5", "MOCK_EXIT_CODE": "3"}, (2.5, 3, False)),
        ({"MOCK_DURATION_S": "soon", "MOCK_EXIT_CODE": "bad"}, (10.0, 0, False)),
        ({"MOCK_DURATION_S": "nan"}, (10.0, 0, False)),
        ({"MOCK_DURATION_S": "-4"}, (0.0, 0, False)),
        ({"MOCK_DURATION_S": "1e30"}, (30 * 86_400.0, 0, False)),
        ({"MOCK_EXIT_CODE": "300"}, (10.0, 44, False)),
        ({"MOCK_IGNORE_TERM": "1"}, (10.0, 0, True)),
    ],
)
def test_knobs(env: dict[str, str], expected: tuple[float, int, bool]) -> None:
    workload = workload_from("i", "c", env)
    assert (workload.duration_s, workload.exit_code, workload.ignores_term) == expected


@pytest.mark.parametrize("duration_s", [0.0, 0.5, 10.0, 3_600.0, 400_000.0])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_lines_are_in_order_within_the_duration_and_bounded(duration_s: float, exit_code: int) -> None:
    timed = lines(Workload("image:tag", "x" * 500, duration_s=duration_s, exit_code=exit_code, seed=7))
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(timed))
    assert timed[0][0] >= 0
    assert timed[-1][0] <= duration_s
    assert 15 < len(timed) <= 2000
    assert max(len(text) for _, text in timed) <= MAX_COLUMNS
    assert not any("\n" in text or "\r" in text for _, text in timed)


def test_same_job_same_lines_other_job_other_lines() -> None:
    first = workload_from("pytorch:2", "python a.py", {})
    assert lines(first) == lines(workload_from("pytorch:2", "python a.py", {}))
    assert lines(first)[10:] != lines(workload_from("pytorch:2", "python b.py", {}))[10:]


def test_says_what_it_is_and_echoes_image_and_command() -> None:
    opening = [text for _, text in lines(workload_from("pytorch:2", "python a.py\n--lr 3\x1b[2J", {}))][:2]
    assert "simulated" in opening[0]
    assert "pytorch:2" in opening[0]
    assert opening[1] == "$ python a.py --lr 3 [2J"


def test_loss_falls() -> None:
    losses = [
        float(text.split("loss")[1].split("|")[0])
        for _, text in lines(Workload("i", "c", duration_s=600, seed=3))
        if text.startswith("step")
    ]
    assert losses[-1] < losses[len(losses) // 3] < losses[0]


def test_failure_ends_in_an_error_and_success_in_a_summary() -> None:
    failed = [text for _, text in lines(Workload("i", "c", exit_code=3))]
    assert "Traceback (most recent call last):" in failed
    assert failed[-1] == "(simulated) exit code 3"
    assert lines(Workload("i", "c"))[-1][1].startswith("done in 10.0 s")


@pytest.mark.parametrize(
    ("ignores_term", "term_s", "grace_s", "expected"),
    [
        (False, None, 5.0, (10.0, 4)),
        (False, 3.0, 5.0, (3.0, 143)),
        (False, 12.0, 5.0, (10.0, 4)),
        (True, 3.0, 5.0, (8.0, 137)),
        (True, 6.0, 5.0, (10.0, 4)),
    ],
)
def test_end_of_a_run(ignores_term: bool, term_s: float | None, grace_s: float, expected: tuple[float, int]) -> None:
    workload = Workload("i", "c", exit_code=4, ignores_term=ignores_term)
    term_ms = None if term_s is None else T0_MS + round(term_s * 1000)
    ended_ms, exit_code = WorkloadRun(workload, T0_MS, term_ms, grace_s).end()
    assert ((ended_ms - T0_MS) / 1000, exit_code) == expected


def test_stopped_run_prints_nothing_more() -> None:
    run = WorkloadRun(Workload("i", "c"), T0_MS, term_ms=T0_MS + 4000)
    assert run.output(T0_MS + 4000) == run.output(T0_MS + 60_000)
    assert run.output(T0_MS - 1) == b""
    assert run.output(T0_MS + 4000) == printed(lines(run.workload), 4.0)


def test_pull_shows_progress_and_refuses_what_is_missing() -> None:
    assert pull_lines("a/b:1.2")[0][1] == "1.2: Pulling from a/b"
    assert pull_error("a/b:1.2") is None
    assert "manifest unknown" in (pull_error("a/b:missing") or "")
    assert "manifest unknown" in (pull_error("does-not-exist/b") or "")


def test_gpu_is_busy_only_while_something_runs() -> None:
    run = WorkloadRun(Workload("i", "c", duration_s=100), T0_MS)
    assert gpu_figures(None, T0_MS)[0] == 0
    assert gpu_figures(run, T0_MS - 1)[0] == 0
    assert gpu_figures(run, T0_MS + 50_000)[0] > 80
    assert gpu_figures(run, T0_MS + 100_000)[0] == 0
