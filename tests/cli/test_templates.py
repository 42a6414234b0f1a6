"""Templates on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gputui.core.desk import Desk
from gputui.core.templates import load_templates, save_template
from gputui.model.types import JobSpec

SPEC = JobSpec(
    gpu="H100", command="python a.py", env={"HF_TOKEN": "fake-token", "MODE": "a"}, provider="mock", max_duration_s=3600
)


@pytest.fixture
def _kept(desk: Desk) -> None:
    save_template(desk.paths.templates_file, "train", SPEC)


@pytest.mark.usefixtures("_kept")
def test_they_are_listed_and_shown_without_secrets(cli: Any) -> None:
    listed = cli("templates", "list")
    assert (listed.code, "HF_TOKEN" in listed.out) == (0, True)
    shown = json.loads(cli("templates", "show", "train", "--json").out)["data"]
    assert (shown["gpu"], shown["max_duration"], shown["left_out"]) == ("H100", "1h", ["HF_TOKEN"])
    assert "fake-token" not in listed.out + str(shown)


@pytest.mark.usefixtures("_kept")
def test_run_begins_with_a_template_and_options_say_otherwise(cli: Any, desk: Desk) -> None:
    missing = cli("run", "--template", "train", "--dry-run")
    assert "leaves out the value of HF_TOKEN" in missing.err
    assert missing.code == 2
    said = cli(
        "run", "--template", "train", "--env", "HF_TOKEN=fake-other", "--env", "MODE=b", "--gpu", "RTX-4090",
        "--max-duration", "2h", "--yes", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    spec = desk.jobs()[0].job.spec
    assert (spec.gpu, spec.command, spec.provider, spec.max_duration_s) == ("RTX-4090", "python a.py", "mock", 7200)
    assert dict(spec.env) == {"HF_TOKEN": "fake-other", "MODE": "b"}


def test_without_a_template_a_gpu_is_needed(cli: Any) -> None:
    said = cli("run", "--command", "x", "--dry-run")
    assert (said.code, "--gpu" in said.err) == (2, True)
    assert "There is no template 'nope'" in cli("run", "--template", "nope", "--dry-run").err


@pytest.mark.usefixtures("_kept")
def test_deleting_asks_and_takes_broken_ones_too(cli: Any, desk: Desk) -> None:
    path = desk.paths.templates_file
    path.write_text(json.dumps({**json.loads(path.read_text()), "bad": {"gpu": 1}}))
    assert "bad: gpu must be text" in cli("templates", "list").err
    assert cli("templates", "delete", "bad").code != 0
    assert cli("templates", "delete", "bad", "--yes").code == 0
    assert cli("templates", "delete", "nope", "--yes").code == 3
    assert load_templates(path).problems == ()
    assert list(load_templates(path).usable) == ["train"]
