"""What was typed, as a job spec and back."""

from __future__ import annotations

import pytest

from gputui.model.types import JobKind, JobSpec, Priority
from gputui.tui import deploy_form


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(gpu="H100", command="python train.py"),
        JobSpec(
            gpu="A100-80GB-SXM",
            gpu_count=8,
            image="pytorch/pytorch:latest",
            command='python -c "print(1)" && echo done',
            env={"A": "b c", "EMPTY": "", "Q": "it's"},
            name="ft-1",
            provider="huddle",
            region="FIN-01",
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
        ("env", "A=1 B", "'B' is not NAME=value"),
        ("env", "A='1", "quotation mark"),
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
    assert deploy_form.form_field(None) == "gpu"
