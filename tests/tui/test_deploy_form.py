"""What was typed, as a job spec and back."""

from __future__ import annotations

import pytest
from quiet import press

from gputui.model.errors import UsageError
from gputui.model.types import JobKind, JobSpec, Priority, Tier
from gputui.tui import deploy_form
from gputui.tui.app import GputuiApp
from gputui.tui.widgets.form import DeployForm


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(gpu="H100", command="python train.py"),
        JobSpec(
            gpu="A100-80GB-SXM",
            gpu_count=8,
            image="pytorch/pytorch:latest",
            command='python -c "print(1)" && echo done',
            env={"A": "b c", "EMPTY": "", "Q": "it's", "HF_TOKEN": "fake=token"},
            name="ft-1",
            provider="huddle",
            region="FIN-01",
            tier=Tier.SPOT,
            os_image="ubuntu-22.04",
            disk_gib=200,
            min_vram_gib=40,
            expected_s=61,
            volumes=("data", "models, old"),
            idle_stop_s=1800,
            idle_threshold_percent=10,
            priority=Priority.AVAILABILITY,
            max_price_micro_usd_per_hour=2_512_345,
            max_duration_s=5400,
        ),
        JobSpec(gpu="L4", kind=JobKind.MACHINE, max_duration_s=61),
    ],
)
def test_a_spec_survives_the_form(spec: JobSpec) -> None:
    assert deploy_form.parse(deploy_form.fill(spec)) == (spec, {})


@pytest.mark.parametrize(
    ("field", "typed", "says"),
    [
        ("gpu", "", "Which GPU"),
        ("gpu_count", "two", "not a number of GPUs"),
        ("gpu_count", "²", "not a number of GPUs"),
        ("env", "A=1\n\nfake-secret", "Line 3 is not NAME=value"),
        ("env", "A=1\nA=2", "A is given twice"),
        ("env", "HF_TOKEN=", "HF_TOKEN has no value"),
        ("min_vram", "0", "not a number of GiB"),
        ("disk", "big", "not a number of GiB"),
        ("idle_stop", "30m:lots", "not a share of use"),
        ("expected", "long", "not a duration"),
        ("max_price", "-1", "negative"),
        ("max_price", "cheap", "not an amount"),
        ("max_duration", "soon", "not a duration"),
    ],
)
def test_a_mistake_is_told_at_its_field(field: str, typed: str, says: str) -> None:
    values = {**deploy_form.fill(JobSpec(gpu="H100", command="x")), field: typed}
    spec, mistakes = deploy_form.parse(values)
    assert spec is None
    assert list(mistakes) == [field]
    assert says in mistakes[field]


def test_all_mistakes_are_told_at_once() -> None:
    _, mistakes = deploy_form.parse({"gpu": "", "gpu_count": "x", "max_price": "y", "max_duration": "z"})
    assert set(mistakes) == {"gpu", "gpu_count", "max_price", "max_duration"}


def test_errors_of_the_core_find_their_field() -> None:
    assert deploy_form.form_field("budget_max") == "max_price"
    assert deploy_form.form_field("command") == "command"
    assert deploy_form.form_field("disk_gib") == "disk"
    assert deploy_form.form_field(None) == "gpu"


def test_a_mistake_never_repeats_a_value_of_the_environment() -> None:
    _, mistakes = deploy_form.parse({"gpu": "L4", "env": "fake-secret"})
    assert "fake-secret" not in mistakes["env"]


def test_fields_that_do_not_apply_are_not_looked_at() -> None:
    spec, mistakes = deploy_form.parse({"gpu": "L4", "idle_stop": "nonsense"}, unused={"idle_stop"})
    assert (mistakes, spec and spec.idle_stop_s) == ({}, None)


def test_hints_of_the_command_line_are_left_out() -> None:
    assert deploy_form.sentence(UsageError("No.", hint="Try --x.")) == "No."
    assert deploy_form.sentence(UsageError("No.", hint="Did you mean H100?")) == "No. Did you mean H100?"


async def test_a_mistake_at_the_lower_edge_is_seen_whole(app: GputuiApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "3", *["pagedown"] * 3, "tab", "1", "h")
        form = app.screen.query_one(DeployForm)
        mistake = form.query_one("#row-max-price .mistake")
        assert mistake.region.height > 1
        assert form.region.contains_region(mistake.region)
