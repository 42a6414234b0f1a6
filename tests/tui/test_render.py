"""What is painted, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from gputui.core.agent_link import AgentCondition, AgentState
from gputui.core.reports import JobReport
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobSpec, Offer, Placement, UsageInterval
from gputui.model.vitals import Vitals
from gputui.store.alarms import Alarm, AlarmKind
from gputui.tui.render import frame, jobs, log_line, matrix, money
from gputui.tui.render.text import cut, left, plain, right, rule, spread, styled
from gputui.tui.widgets.glyphs import to_ascii

HOSTILE = "[/bold]\x1b[2J\x1b]0;own\x07\u202eevil\u202c\r\nnext\t\x00[@click=app.quit]x"


def test_foreign_text_becomes_one_harmless_line() -> None:
    assert plain(HOSTILE) == "[/bold][2J]0;ownevil  next [@click=app.quit]x"
    assert plain(None) == "–"


@pytest.mark.parametrize("text", ["", "a", "abcdef", "日本語のテスト", "😀😀😀😀"])
def test_cells_have_their_width(text: str) -> None:
    assert cell_len(left(text, 6)) == 6
    assert cell_len(cut(text, 5)) <= 5


def test_money_is_never_cut() -> None:
    assert right("1,234,567.89", 4) == "1,234,567.89"
    assert spread(styled("a long name of a job"), styled("$1,234.50"), 14).plain.endswith("$1,234.50")


@pytest.mark.parametrize(
    ("micro", "shown"),
    [(2_290_000, "2.29"), (87_500, "0.0875"), (0, "0.00"), (18_320_000, "18.32"), (None, "–")],
)
def test_prices(micro: int | None, shown: str) -> None:
    assert money.price(micro) == shown


def test_a_rule_fills_its_width() -> None:
    assert rule("Jobs", 40, right_title="2 live").cell_length == 40
    assert rule("A title that is longer than the room there is", 20).cell_length <= 20


def test_ascii_keeps_every_width() -> None:
    text = "● gputui › Jobs ─── $2.29 ± 0.01 日本"
    assert to_ascii(text).isascii()
    assert cell_len(to_ascii(text)) == cell_len(text)


def test_a_chart_has_bars_in_ascii_and_a_scrollbar_has_none() -> None:
    assert to_ascii("  ▁▂▃▄▅▆▇") == "  _.-:=+*"
    assert to_ascii("▇") == " "


# Log lines


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain", "plain"),
        (b" 10%\r 60%\r100% done", "100% done"),
        (b"windows line\r", "windows line"),
        (b"\x1b[1;32mgreen\x1b[0m and not", "green and not"),
        (b"\x1b[2J\x1b[H\x1b[?25lhidden cursor", "hidden cursor"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0\x1b\\sixel", "sixel"),
        (b"tab\there", "tab     here"),
        (b"[/red] [@click=app.quit]x[/]", "[/red] [@click=app.quit]x[/]"),
        ("\u202eright to left".encode(), "right to left"),
        (b"\xff\xfe not utf-8", "\ufffd\ufffd not utf-8"),
        (b"lone \x1b escape\x1b", "lone escape"),
        (b"", ""),
    ],
)
def test_log_lines_cannot_do_harm(raw: bytes, shown: str) -> None:
    painted = log_line.paint(raw)
    assert painted.plain == shown
    assert not any(span.style and "link" in str(span.style) for span in painted.spans)


def test_colours_of_a_log_line_are_kept() -> None:
    painted = log_line.paint(b"\x1b[33mwarning:\x1b[0m slow")
    assert painted.plain == "warning: slow"
    assert [painted.plain[found.start : found.end] for found in painted.spans] == ["warning:"]


def test_an_endless_log_line_is_cut() -> None:
    assert log_line.paint(b"x" * 9, bytes_left_out=1_000).plain == "xxxxxxxxx … 1,000 bytes more"


# The matrix


def _columns(count: int) -> list[matrix.Column]:
    return [matrix.Column(f"p{number}", f"Provider {number}") for number in range(count)]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("cursor", [0, 5])
def test_the_cursor_column_is_always_visible_and_everything_fits(width: int, count: int, cursor: int) -> None:
    cursor = min(cursor, count - 1)
    plan = matrix.layout(_columns(count), width, cursor)
    assert plan.first <= cursor < plan.first + len(plan.columns)
    assert plan.hidden == count - len(plan.columns)
    header = matrix.header(plan, cursor_column=cursor).plain
    before, after = plan.first, plan.hidden - plan.first
    assert (f"‹ {before}" in header) is bool(before)
    assert (f"{after} ›" in header) is bool(after)
    assert plan.hidden == 0 or cell_len(header) <= width
    if not plan.hidden:
        assert matrix.header(plan, cursor_column=cursor).cell_length <= width


# The alert


def _alert(*alarms: Alarm, condition: AgentCondition = AgentCondition.RUNNING) -> str | None:
    agent = AgentState(condition, 7, 900_000, "1", {})
    return frame.alert(now_ms=1_000_000, alive_jobs=2, rate=3_980_000, agent=agent, alarms=alarms)


def _alarm(kind: AlarmKind, **changes: Any) -> Alarm:
    return replace(Alarm(kind, "dep_1", "It went wrong.", "Put it right.", since_ms=0), **changes)


def test_no_alert_when_all_is_well() -> None:
    assert _alert() is None


def test_unguarded_jobs_say_what_they_cost_and_what_helps() -> None:
    text = _alert(_alarm(AlarmKind.UNGUARDED), condition=AgentCondition.NONE)
    assert text == "2 jobs at $3.98/h unguarded: no agent is watching. To start one, run: gputui agent run"


def test_a_silent_agent_is_told_with_its_pid() -> None:
    text = _alert(_alarm(AlarmKind.UNGUARDED), condition=AgentCondition.HUNG)
    assert text is not None
    assert "(pid 7) has been silent for 1 min" in text


def test_the_most_urgent_alarm_is_told_with_what_it_costs_and_what_to_do() -> None:
    undying = _alarm(AlarmKind.UNDYING, rate_micro_usd_per_hour=2_490_000)
    assert _alert(undying, _alarm(AlarmKind.LOST, message="Never mind.")) == "It went wrong. ($2.49/h) Put it right."


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_the_header_fits_and_keeps_the_burn_rate(desk: Any, width: int) -> None:
    from gputui.tui.frame_facts import load_frame_facts

    accounts = [desk.accounts.account(name) for name in desk.accounts.names()]
    header = frame.header(["Matrix"], load_frame_facts(desk, accounts), width)
    assert header.cell_length <= width
    assert "$2.29/h" in header.plain


def test_the_header_tells_the_price_of_what_is_being_ordered(make_desk: Any, kit: SimpleNamespace) -> None:
    from gputui.store import jobs as job_store
    from gputui.tui.frame_facts import load_frame_facts

    def header() -> str:
        return " ".join(frame.header(["Jobs"], load_frame_facts(desk, []), 120).plain.split())

    desk = make_desk()
    assert "● 0 live $0.00/h" in header()
    kit.add_job(desk, 1, JobStatus.QUEUED, name="waits", spec=kit.TRAINING)
    assert "● 1 live no machine yet" in header()
    job = kit.add_job(desk, 2, JobStatus.PROVISIONING, name="ordered", spec=kit.TRAINING,
                      placement_state=PlacementState.REQUESTING, found=kit.HUDDLE_OFFERS[2])  # fmt: skip
    with desk.store.write() as tx:
        job_store.update_placement(tx, job.placement_id, machine_id=None)
    assert "● 2 live $2.29/h" in header()


# Jobs


def test_hostile_text_in_a_job_stays_text(kit: SimpleNamespace) -> None:
    spec = JobSpec(gpu="H100", image=HOSTILE, command=HOSTILE)
    job = Job(
        id="0" * 26,
        spec=spec,
        status=JobStatus.FAILED,
        phase=HOSTILE,
        created_at_ms=kit.NOW_MS,
        name=HOSTILE,
        error=HOSTILE,
    )
    report = JobReport(job, None, ())
    shown = jobs.detail(report, [], now_ms=kit.NOW_MS, width=80, title=str)
    assert "\x1b" not in shown.plain
    assert "\u202e" not in shown.plain
    assert "[/bold]" in shown.plain
    assert all(line.cell_length <= 80 for line in shown.split("\n"))


def armed_report(kit: SimpleNamespace, **changes: Any) -> JobReport:
    offer = Offer("v:1", "vastai", "H100-SXM", 1, 2_000_000, kit.NOW_MS)
    placement = Placement("p", "j", 1, "vastai", offer, "l", "k", "n", PlacementState.RUNNING, kit.NOW_MS)
    spec = JobSpec(gpu="H100", command="train", idle_stop_s=1800)
    job = Job("0" * 26, spec, JobStatus.RUNNING, "running", kit.NOW_MS, "train")
    values = {"contact_ms": kit.NOW_MS, "guard": "armed", "idle": "0", "gpu_at_ms": kit.NOW_MS, "gpu_percent": 97.0}
    return JobReport(job, placement, (), Vitals("p", **{**values, **changes}))


@pytest.mark.parametrize(
    ("changes", "shown", "hidden"),
    [
        ({}, ["armed", "97 %"], ["agent-only", "no idle stop"]),
        ({"guard": "no_downloader"}, ["agent-only"], ["armed"]),
        ({"guard": None}, [], ["armed", "agent-only"]),
        ({"idle": "failed"}, ["armed", "no idle stop"], []),
        ({"gpu_at_ms": 0}, ["97 %", "d ago"], []),  # never shown as if it were of now
    ],
)
def test_a_live_job_says_who_ends_its_machine(
    kit: SimpleNamespace, changes: dict[str, Any], shown: list[str], hidden: list[str]
) -> None:
    painted = jobs.detail(armed_report(kit, **changes), [], now_ms=kit.NOW_MS, width=80, title=str).plain
    assert all(word in painted for word in shown)
    assert not any(word in painted for word in hidden)


def test_a_cost_that_its_minimum_made_is_told_with_it(kit: SimpleNamespace) -> None:
    report = armed_report(kit)
    assert report.placement is not None
    at_huddle = replace(report, placement=replace(report.placement, provider="huddle"))

    def rate(report: JobReport, ran_min: int) -> str | None:
        started_ms = kit.NOW_MS - ran_min * kit.MINUTE_MS
        return jobs._rate(replace(report, job=replace(report.job, started_at_ms=started_ms)), kit.NOW_MS)

    assert rate(at_huddle, 2) == "$2.00/h, 10 min at least"
    assert rate(at_huddle, 11) == "$2.00/h"
    assert rate(report, 2) == "$2.00/h"


def test_the_most_that_a_job_can_cost_counts_its_start_and_its_minimum(kit: SimpleNamespace) -> None:
    report = armed_report(kit)
    spec = replace(report.job.spec, max_duration_s=3600)
    began_ms = kit.NOW_MS - 3 * kit.MINUTE_MS
    billed = UsageInterval(
        1, "j", "p", "vastai", "gpu", 2_000_000, granularity_s=1, minimum_s=600,
        start_earliest_ms=began_ms, start_latest_ms=began_ms, last_seen_ms=kit.NOW_MS,
    )  # fmt: skip
    starting = replace(report, job=replace(report.job, spec=spec), intervals=(billed,))
    running = replace(starting, job=replace(starting.job, started_at_ms=kit.NOW_MS - kit.MINUTE_MS))
    assert starting.most_micro_usd(now_ms=kit.NOW_MS) == 2_100_000  # three minutes so far, and the hour
    assert running.most_micro_usd(now_ms=kit.NOW_MS) == 2_066_667
    assert replace(running, intervals=()).most_micro_usd(now_ms=kit.NOW_MS) == 0
    assert report.most_micro_usd(now_ms=kit.NOW_MS) is None


def test_time_is_left_only_while_the_workload_runs(kit: SimpleNamespace) -> None:
    report = armed_report(kit)
    spec = replace(report.job.spec, max_duration_s=600)
    running = replace(report, job=replace(report.job, spec=spec, started_at_ms=kit.NOW_MS - 60_000))
    assert jobs._limit(running, kit.NOW_MS) == "10 min, 9:00 min left"
    finishing = replace(running, job=replace(running.job, outcome=JobStatus.COMPLETED))
    assert jobs._limit(finishing, kit.NOW_MS) == "10 min"


def test_a_long_timeline_keeps_its_end(desk: Any, kit: SimpleNamespace) -> None:
    report = desk.jobs()[0]
    events = desk.events(report.job.id) * 20
    shown = jobs.timeline(events, now_ms=kit.NOW_MS, width=40, is_over=False)
    assert shown.cell_length <= 40
    assert shown.plain.startswith("… › ")
    assert "running 1:12:09" in shown.plain
