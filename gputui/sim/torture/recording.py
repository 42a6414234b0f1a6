"""What happened in one run, as it happened: the material of the checks and of the timeline people read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gputui.sim.faults import Faults


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, at a moment of the world's own time."""

    at_ms: int
    who: str
    what: str


@dataclass(slots=True)
class Recording:
    """Everything that happened, in order. `now_ms` tells the world's time.

    `fired` holds (when, knob, operation) of every fault that hit. `commits` holds (when, the newest event's id) after every
    transaction, so that an event's moment is known whatever the host's clock said. `absences` holds (from, until) of every
    stretch without an agent, `outages` those in which no machine could be reached. `deletions` holds
    (when, path and body) of every request for a machine's end.
    """

    now_ms: Callable[[], int]
    entries: list[Entry] = field(default_factory=list)
    fired: list[tuple[int, str, str]] = field(default_factory=list)
    commits: list[tuple[int, int]] = field(default_factory=list)
    absences: list[tuple[int, int]] = field(default_factory=list)
    outages: list[tuple[int, int]] = field(default_factory=list)
    deletions: list[tuple[int, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note(self, who: str, what: str) -> None:
        self.entries.append(Entry(self.now_ms(), who, what))

    def committed(self, newest_event_id: int) -> None:
        if not self.commits or self.commits[-1][1] < newest_event_id:
            self.commits.append((self.now_ms(), newest_event_id))

    def complain(self, what: str) -> None:
        """Note something that must never happen."""
        self.complaints.append(what)
        self.note("check", what)


class ToldFaults(Faults):
    """Faults that are noted when they hit."""

    def __init__(self, seed: int, recording: Recording) -> None:
        super().__init__(seed)
        self._recording = recording

    def fires(self, name: str, operation: str) -> bool:
        hit = super().fires(name, operation)
        if hit:
            self._recording.fired.append((self._recording.now_ms(), name, operation))
            self._recording.note("fault", f"{name} hits {operation}")
        return hit
