"""--volume: refused with a sentence where it cannot be had, and shown with its place where it can."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.cli.run import _summary
from gputui.core.routing import Plan, Quote
from gputui.model.types import JobSpec, Offer, Volume

WANTED = ("--gpu", "H100", "--volume", "data")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--provider"),
        (("--provider", "mock"), "Mock cannot order a machine with a volume"),
        (("--provider", "mock", "--volume", "data"), "twice"),
    ],
)
@pytest.mark.parametrize("command", [("route",), ("run", "--command", "true", "--yes")])
def test_refusals_come_before_anything_is_written(
    cli: Any, desk: Any, command: tuple[str, ...], words: tuple[str, ...], told: str
) -> None:
    said = cli(*command, *WANTED, *words)
    assert said.code not in (0, 70), said.err
    assert told in said.err
    assert desk.jobs() == []


def test_what_will_be_rented_says_where_the_volume_will_be() -> None:
    volume = Volume("1", "lambda", "data", "free", region="us-east-1", mount_path="/lambda/nfs/data")
    offer = Offer("o", "lambda", "H100-SXM", 1, 4_290_000, 0, region="us-east-1")
    spec = JobSpec("H100", command="true", provider="lambda", volumes=("data",))
    shown = _summary(Plan(spec, [Quote(offer, 4_290_000, 4_290_000)], {}, volumes=[volume]))
    assert "volume    data at /lambda/nfs/data" in shown
