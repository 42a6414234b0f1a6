"""run: mistakes are told before anything is written, and nothing is spent without a yes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arrange import keep_offers, make_offer

from gputui.core.desk import Desk
from gputui.model.errors import AgentError

GOOD = {"--gpu": "H100", "--command": "python train.py", "--image": "pytorch/pytorch:latest"}


def run_words(**changes: str | None) -> list[str]:
    values = {**GOOD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return ["run", *(word for name, value in values.items() if value is not None for word in (name, value))]


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"gpu": "H1000"}, 2, "Did you mean"),
        ({"gpu": " "}, 2, "No GPU was named"),
        ({"command": None}, 2, "no command"),
        ({"command": "  "}, 2, "no command"),
        ({"image": "not an image"}, 2, "container image"),
        ({"budget_max": "-1"}, 2, "negative"),
        ({"budget_max": "0"}, 2, "above 0"),
        ({"budget_max": "cheap"}, 2, "not an amount"),
        ({"budget_max": "nan"}, 2, "not a sensible amount"),
        ({"max_duration": "-4h"}, 2, "not a duration"),
        ({"max_duration": "soon"}, 2, "not a duration"),
        ({"expected": "0"}, 2, "between one second"),
        ({"count": "0"}, 2, "1 to 64"),
        ({"disk": "0"}, 2, "disk"),
        ({"provider": "nope"}, 2, "no provider called"),
        ({"provider": "huddle"}, 4, "gputui auth login huddle"),
        ({"priority": "beauty"}, 2, "priority"),
        ({"tier": "gold"}, 2, "on-demand, spot, secure, community"),
        ({"name": "a b"}, 2, "name"),
        ({"env": "NOVALUE"}, 2, "NAME=value"),
        ({"env": "1X=2"}, 2, "name of a variable"),
        ({"budget_max": "0.01"}, 5, "the cheapest is"),
        ({"region": "mars"}, 5, "Regions on offer"),
        ({"count": "7"}, 5, "Counts on offer"),
        ({"min_vram": "1000"}, 5, "The nearest has"),
    ],
)
def test_mistakes_are_told_and_nothing_is_submitted(
    cli: Any, desk: Desk, changes: dict[str, str | None], code: int, told: str
) -> None:
    said = cli(*run_words(**changes), "--yes")
    assert said.code == code, said.err
    assert told in said.err
    assert said.err.splitlines()[-1] != ""
    assert desk.jobs() == []


def test_a_mistake_is_told_before_anybody_is_asked(cli: Any) -> None:
    assert "Asking" not in cli(*run_words(command=None), "--yes").err


def test_a_value_of_a_variable_is_never_repeated(cli: Any) -> None:
    assert "hunter2" not in cli(*run_words(env="=hunter2"), "--yes").err


def test_a_machine_takes_no_command(cli: Any) -> None:
    said = cli(*run_words(), "--machine", "--yes")
    assert said.code == 2
    assert "takes no command" in said.err


def test_follow_and_json_exclude_each_other(cli: Any) -> None:
    assert cli(*run_words(), "--yes", "--follow", "--json").code == 2


def test_spending_needs_a_yes_when_nobody_can_be_asked(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk), make_offer(desk, id="mock:two", price_micro_usd_per_hour=2_500_000))
    said = cli(*run_words(max_duration="4h"))
    assert said.code == 2
    assert "--yes" in said.err
    assert "1 × H100-SXM at Mock us-east on-demand, 2.29 $/h" in said.err
    assert "9.16 $" in said.err
    assert "1 other offer may be tried, up to 2.50 $/h" in said.err
    assert desk.jobs() == []
    assert cli(*run_words(), "--json").error["code"] == "confirmation_needed"


def test_a_job_without_a_limit_says_so(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk))
    assert "no limit" in cli(*run_words(), "--dry-run").err


def test_the_configured_limit_holds_unless_it_is_lifted(cli: Any, desk: Desk, home: Path) -> None:
    keep_offers(desk, make_offer(desk))
    (home / "config" / "config.toml").write_text('[jobs]\ndefault_max_duration = "2h"\n')
    assert "4.58 $" in cli(*run_words(), "--dry-run").err
    assert "2.29 $, for 1:00:00" in cli(*run_words(max_duration="1h"), "--dry-run").err
    assert "no limit" in cli(*run_words(max_duration="none"), "--dry-run").err


def test_a_dry_run_shows_the_plan_and_spends_nothing(cli: Any, desk: Desk) -> None:
    keep_offers(desk, make_offer(desk))
    said = cli(*run_words(), "--dry-run", "--json")
    assert said.data["chosen"]["offer"]["id"] == "mock:one"
    assert desk.jobs() == []


def test_a_job_is_kept_when_no_agent_can_be_started(cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Desk) -> None:
        raise AgentError("The agent ended at once.", hint="See the log.")

    keep_offers(desk, make_offer(desk))
    monkeypatch.setattr(Desk, "ensure_agent", fail)
    said = cli(*run_words(name="kept"), "--yes")
    assert said.code == 1
    assert "The job is kept" in said.err
    assert [report.job.name for report in desk.jobs()] == ["kept"]


@pytest.mark.parametrize("follow", [[], ["--follow"]])
def test_interrupting_while_the_agent_starts_tells_that_the_job_goes_on(
    cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch, follow: list[str]
) -> None:
    def interrupt(self: Desk) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Desk, "ensure_agent", interrupt)
    said = cli(*run_words(), "--yes", *follow)
    [report] = desk.jobs()
    assert said.code == 130
    assert f"The job goes on. Watch: gputui jobs logs -f {report.job.name}" in said.err


def test_what_is_asked_for_is_what_is_stored(cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_offers(desk, make_offer(desk, disk_gib=500))
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)
    said = cli(
        *run_words(
            budget_max="$2.50",
            max_duration="90m",
            expected="30m",
            region="us-east",
            disk="100",
            min_vram="40",
            name="n",
        ),
        *("--env", "A=1=2", "--env", "B=", "--tier", "on-demand", "--priority", "speed", "--os-image", "u24"),
        *("--provider", "mock", "--yes"),
    )
    [report] = desk.jobs()
    spec = report.job.spec
    assert said.out.strip() == report.job.id
    assert dict(spec.env) == {"A": "1=2", "B": ""}
    assert (spec.max_price_micro_usd_per_hour, spec.max_duration_s, spec.expected_s) == (2_500_000, 5400, 1800)
    assert (spec.region, spec.disk_gib, spec.min_vram_gib, spec.os_image) == ("us-east", 100, 40, "u24")
    assert (spec.tier, spec.priority, spec.provider) == ("on-demand", "speed", "mock")
    assert spec.command == GOOD["--command"]
