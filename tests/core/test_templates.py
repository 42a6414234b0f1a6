"""What a job was asked for with, kept and read back."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gputui.core.templates import delete_template, load_templates, looks_secret, save_template
from gputui.model.errors import ConfigError, NotFoundError, UsageError
from gputui.model.types import JobKind, JobSpec, Priority, Tier

FULL = JobSpec(
    gpu="H100-SXM",
    gpu_count=8,
    image="org/image:1",
    command='python -c "print(1)"',
    name="ft",
    env={"WANDB_MODE": "offline", "EMPTY": ""},
    provider="huddle",
    region="FIN-01",
    tier=Tier.SPOT,
    os_image="ubuntu",
    disk_gib=200,
    min_vram_gib=80,
    max_price_micro_usd_per_hour=18_320_001,
    max_duration_s=5400,
    expected_s=61,
    priority=Priority.SPEED,
    volumes=("data", "models"),
    idle_stop_s=1800,
    idle_threshold_percent=10,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "templates.json"


@pytest.mark.parametrize(
    "spec", [FULL, JobSpec(gpu="L4", command="x"), JobSpec(gpu="L4", kind=JobKind.MACHINE, max_duration_s=3600)]
)
def test_a_spec_comes_back_as_it_was(path: Path, spec: JobSpec) -> None:
    save_template(path, "one", spec)
    templates = load_templates(path)
    assert templates.problems == ()
    assert templates.named("one").spec == spec


def test_secrets_are_left_out_unless_asked_for_and_nobody_else_can_read_the_file(path: Path) -> None:
    spec = JobSpec(gpu="L4", command="x", env={"HF_TOKEN": "fake-token", "MODE": "a"})
    assert save_template(path, "one", spec).left_out == ("HF_TOKEN",)
    assert "fake-token" not in path.read_text()
    kept = load_templates(path).named("one")
    assert (kept.left_out, dict(kept.spec.env)) == (("HF_TOKEN",), {"MODE": "a"})
    save_template(path, "two", spec, with_secrets=True)
    assert load_templates(path).named("two").spec == spec
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("HF_TOKEN", True),
        ("aws_secret_access_key", True),
        ("WANDB_API_KEY", True),
        ("DB_PASSWORD", True),
        ("SEED", False),
    ],
)
def test_names_of_secrets_are_told_apart(variable: str, secret: bool) -> None:
    assert looks_secret(variable) is secret


def test_deleting_leaves_the_others(path: Path) -> None:
    for name in ("one", "two"):
        save_template(path, name, FULL)
    delete_template(path, "one")
    delete_template(path, "never-there")
    assert list(load_templates(path).usable) == ["two"]


def test_one_that_cannot_be_used_says_everything_that_is_wrong_with_it_and_spares_the_others(path: Path) -> None:
    save_template(path, "good", FULL)
    documents: dict[str, Any] = json.loads(path.read_text())
    documents["bad"] = {"count": "two", "colour": "red", "env": {"A": 1}}
    documents["late"] = {"gpu": "L4", "max_duration": "soon"}
    path.write_text(json.dumps(documents))
    templates = load_templates(path)
    assert list(templates.usable) == ["good"]
    assert templates.problems[0] == (
        "bad: count must be a whole number; there is no setting 'colour'; env must be an object of texts; gpu is missing."
    )
    assert "'soon' is not a duration" in templates.problems[1]
    with pytest.raises(NotFoundError, match="count must be a whole number"):
        templates.named("bad")
    with pytest.raises(NotFoundError, match="There are: good"):
        templates.named("other")


@pytest.mark.parametrize("content", ["[1]", "{", "\xff"])
def test_a_damaged_file_is_one_problem_and_is_not_written_over(path: Path, content: str) -> None:
    path.write_bytes(content.encode("latin-1"))
    [problem] = load_templates(path).problems
    assert "is not a JSON object of templates" in problem
    with pytest.raises(ConfigError):
        save_template(path, "one", FULL)
    assert path.read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("name", ["", "../up", "a b", "-dash", "x" * 64])
def test_some_names_cannot_be_given(path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        save_template(path, name, FULL)
    assert not path.exists()
