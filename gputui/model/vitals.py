"""What a machine last said of itself."""

from __future__ import annotations

from dataclasses import dataclass

from gputui.model.units import Ms


@dataclass(frozen=True, slots=True)
class Vitals:
    """The newest word of a placement's machine. Unknown is None.

    `guard`: "armed" when the machine can delete itself, else why not: "no_key", "no_downloader". `idle`: the seconds for
    which every GPU has been idle, else why nobody knows: "missing", "failed", "unknown" (see `core.runner.protocol`).
    The figures are of the busiest GPU, measured at about `gpu_at_ms`.
    """

    placement_id: str
    contact_ms: Ms
    guard: str | None = None
    idle: str | None = None
    gpu_at_ms: Ms | None = None
    gpu_percent: float | None = None
    gpu_used_mib: float | None = None
    gpu_total_mib: float | None = None
    gpu_watts: float | None = None
