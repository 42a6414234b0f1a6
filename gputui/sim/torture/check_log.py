"""The job's log against what was really printed: every byte once, in order, and all of it where the exit code is known.

What a placement's machine printed is asked of the world. Ours must be its beginning; it must be the whole of it when the
job ended by its command's own end. What is missing then must be marked as a gap.
"""

from __future__ import annotations

from collections.abc import Iterator

from gputui.core.runner.logfile import read_marks
from gputui.sim.torture.facts import Facts, Told


def check_log(facts: Facts) -> Iterator[str]:
    """Each job's log is what its machines printed."""
    for told in facts.jobs:
        path = facts.stage.desk.log_path(told.report.job.id)
        marks = read_marks(path)
        content = path.read_bytes() if path.exists() else b""
        bases = [(mark.placement, mark.byte) for mark in marks if mark.placement is not None]
        ends = [*(byte for _, byte in bases[1:]), len(content)][: len(bases)]
        if bases and bases[0][1] != 0:
            yield f"the log of job {told.number} begins with {bases[0][1]} bytes of nobody"
        gaps = [mark.byte for mark in marks if mark.gap is not None]
        for (placement_id, begin), end in zip(bases, ends, strict=True):
            if not any(begin <= gap <= end for gap in gaps):
                yield from _piece(facts, told, str(placement_id), content[begin:end])
        if content and not bases:
            yield f"the log of job {told.number} holds {len(content)} bytes of no placement"


def _piece(facts: Facts, told: Told, placement_id: str, ours: bytes) -> Iterator[str]:
    placement = next((item for item in told.placements if item.id == placement_id), None)
    if placement is None:
        yield f"the log of job {told.number} names a placement {placement_id} that there is not"
        return
    work = next(filter(None, (facts.work_on(machine, placement) for machine in facts.machines_of(placement))), None)
    truth = work.printed if work else b""
    name = f"the log of job {told.number}, attempt {placement.attempt},"
    if not truth.startswith(ours):
        same = next(
            (n for n, (a, b) in enumerate(zip(ours, truth, strict=False)) if a != b), min(len(ours), len(truth))
        )
        yield (
            f"{name} differs from what was printed at byte {same} of {len(truth)}:"
            f" {ours[same : same + 60]!r} for {truth[same : same + 60]!r}"
        )
    elif len(ours) < len(truth) and told.report.job.error_code in (None, "exit_code") and _ended_by_itself(told):
        yield f"{name} has {len(ours)} of {len(truth)} bytes, and no gap is marked"


def _ended_by_itself(told: Told) -> bool:
    return told.report.job.exit_code is not None and told.report.job.status in ("completed", "failed")
