"""A simulated machine in-process: answers the harness's verbs from a small record and the clock, with no process behind it.

The record holds what was put and when things were asked for; every answer is a function of it and the time, so a machine
lives on through a restart of the program and hours pass at no cost. The answers equal those of the real harness: tests run
the same scenarios against both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gputui.model.clock import Clock
from gputui.model.errors import ShellError
from gputui.model.units import Ms
from gputui.providers.base import ShellResult
from gputui.sim.workload import PULL_S, WorkloadRun, gpu_figures, printed, pull_error, pull_lines, workload_from

_FILE = re.compile(r"(?P<folder>\.gputui/[0-9A-Za-z_-]+)/(?P<name>harness\.sh|spec|command|env|ends)")
# How long somebody may come for the log of what a limit ended, before the machine deletes itself; as in the harness.
COLLECT_S = 600

_REFUSED = ShellResult(126, b"", b"simulated machine: only the harness can be run here\n")


@dataclass(frozen=True, slots=True)
class SimJob:
    """What one job folder of a simulated machine remembers. Of the environment only the MOCK_ knobs are kept.

    `stillborn`: it was stopped before it was started.
    """

    spec: dict[str, str] = field(default_factory=dict)
    command: str = ""
    knobs: dict[str, str] = field(default_factory=dict)
    installed: bool = False
    accepted_ms: Ms | None = None
    stillborn: bool = False
    cancelled_ms: Ms | None = None
    lease_until_ms: Ms | None = None
    polled_ms: Ms = 0


@dataclass(frozen=True, slots=True)
class _Moment:
    """A job's state at one time, in the words of the harness's header. `figures` are those of the GPU and of its idleness."""

    state: str
    log: bytes = b""
    exit_code: int | None = None
    reason: str | None = None
    started_ms: Ms | None = None
    finished_ms: Ms | None = None
    figures: tuple[str, str] = ("-", "-")


class SimHost:
    """A simulated machine's disk and processes. `to_json` and `from_json` carry it through a restart.

    `environ` are the variables that its provider put into it, a key for itself among them perhaps.
    """

    def __init__(self, jobs: dict[str, SimJob] | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self._jobs: dict[str, SimJob] = dict(jobs or {})
        self._environ = dict(environ or {})

    def to_json(self) -> dict[str, Any]:
        """Return the whole machine as JSON values. No value of the job's environment but the knobs is in it."""
        return {folder: asdict(job) for folder, job in self._jobs.items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> SimHost:
        """Return the machine that `to_json` described."""
        return cls({folder: SimJob(**job) for folder, job in record.items()})

    def put(self, path: str, content: bytes) -> None:
        """Store one file of a job folder. Raises ShellError for any other path."""
        match = _FILE.fullmatch(path)
        if match is None:
            raise ShellError(f"The simulated machine has no place for {path!r}.")
        job = self._jobs.get(match["folder"], SimJob())
        text = content.decode("utf-8", errors="replace")
        if match["name"] == "harness.sh":
            job = replace(job, installed=True)
        elif match["name"] == "spec":
            job = replace(job, spec=_pairs(text))
        elif match["name"] == "command":
            job = replace(job, command=text)
        elif match["name"] == "env":
            knobs = {name: value for name, value in _pairs(text).items() if name.startswith("MOCK_")}
            job = replace(job, knobs=knobs)
        self._jobs[match["folder"]] = job

    def is_installed(self, folder: str) -> bool:
        """Return whether the harness lies in a job folder."""
        return folder in self._jobs and self._jobs[folder].installed

    def start(self, folder: str, now_ms: Ms) -> None:
        """Accept the job, once; the first lease runs from here."""
        job = self._jobs[folder]
        if job.accepted_ms is None:
            lease_s = job.spec.get("lease_s")
            lease_until_ms = now_ms + int(lease_s) * 1000 if lease_s else None
            stillborn = job.cancelled_ms is not None
            self._jobs[folder] = replace(job, accepted_ms=now_ms, stillborn=stillborn, lease_until_ms=lease_until_ms)

    def stop(self, folder: str, now_ms: Ms) -> None:
        """Remember that the job is to end; the first time counts."""
        job = self._jobs[folder]
        if job.cancelled_ms is None:
            self._jobs[folder] = replace(job, cancelled_ms=now_ms)

    def poll(self, folder: str, now_ms: Ms, *, offset: int, limit: int, lease_s: int) -> bytes:
        """Renew the lease unless it has lapsed, and return the header line and the log bytes asked for."""
        job = self._jobs[folder]
        lapsed = job.lease_until_ms is not None and now_ms >= job.lease_until_ms
        if job.accepted_ms is not None:
            job = replace(job, polled_ms=now_ms)
            if lease_s and not lapsed:
                job = replace(job, lease_until_ms=now_ms + lease_s * 1000)
            self._jobs[folder] = job
        moment = _moment(job, now_ms)
        payload = moment.log[offset : offset + limit]
        gpu, idle = moment.figures
        header = (
            f"gputui/1 state={moment.state} exit={_or_dash(moment.exit_code)} reason={_or_dash(moment.reason)}"
            f" size={len(moment.log)} nonce={job.spec.get('nonce') or '-'}"
            f" started={_seconds(moment.started_ms)} finished={_seconds(moment.finished_ms)}"
            f" gpu={gpu} idle={idle} guard={self._guard(job)} bytes={len(payload)}\n"
        )
        return header.encode() + payload

    def ended_itself_ms(self, now_ms: Ms) -> Ms | None:
        """Return when this machine had its provider delete it, None when it has not by now."""
        ends = [end_ms for job in self._jobs.values() if (end_ms := self._end_ms(job, now_ms)) is not None]
        return min(ends, default=None)

    def _end_ms(self, job: SimJob, now_ms: Ms) -> Ms | None:
        moment = _moment(job, now_ms)
        if moment.finished_ms is None or self._guard(job) != "armed":
            return None
        ends = [max(moment.finished_ms, job.lease_until_ms)] if job.lease_until_ms is not None else []
        if moment.reason in ("max_duration", "idle_stop"):
            ends.append(max(moment.finished_ms, job.polled_ms) + COLLECT_S * 1000)
        return min((end_ms for end_ms in ends if end_ms <= now_ms), default=None)

    def _guard(self, job: SimJob) -> str:
        if job.accepted_ms is None:
            return "-"
        names = job.spec.get("end_key", ""), job.spec.get("end_id", "")
        return "armed" if all(self._environ.get(name) for name in names) else "no_key"


class SimShell:
    """The `Shell` of a simulated machine. It knows `put` and the three verbs of the harness and refuses all else.

    `on_change` is called after everything that changed the machine's record, so that its owner can keep it.
    """

    def __init__(
        self,
        host: SimHost,
        clock: Clock,
        reachable: Callable[[], bool],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._reachable = reachable
        self._on_change = on_change
        self._closed = False

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Store a file of a job folder."""
        await self._check_reachable()
        self._host.put(path, content)
        self._changed()

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        """Carry out `sh DIR/harness.sh start|poll|stop DIR …`; anything else exits with 126."""
        await self._check_reachable()
        words = list(argv)
        if len(words) < 4 or words[0] != "sh" or words[1] != f"{words[3]}/harness.sh":
            return _REFUSED
        verb, folder, numbers = words[2], words[3], words[4:]
        if not self._host.is_installed(folder):
            return ShellResult(2, b"", f"sh: 0: cannot open {words[1]}: No such file\n".encode())
        now_ms = self._clock.now_ms()
        if verb == "start" and not numbers:
            self._host.start(folder, now_ms)
            answer = b""
        elif verb == "stop" and not numbers:
            self._host.stop(folder, now_ms)
            answer = b""
        elif verb == "poll" and len(numbers) == 3 and all(number.isdecimal() for number in numbers):
            offset, limit, lease_s = map(int, numbers)
            answer = self._host.poll(folder, now_ms, offset=offset, limit=limit, lease_s=lease_s)
        else:
            return ShellResult(64, b"", b"usage: harness.sh start|stop DIR | poll DIR OFFSET LIMIT LEASE_S\n")
        self._changed()
        return ShellResult(0, answer)

    async def close(self) -> None:
        """Refuse further calls."""
        self._closed = True

    async def _check_reachable(self) -> None:
        await asyncio.sleep(0)
        if self._closed:
            raise ShellError("The connection to the simulated machine is closed.")
        if not self._reachable():
            raise ShellError("The simulated machine does not answer.")

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()


def _moment(job: SimJob, now_ms: Ms) -> _Moment:
    """Return where the job stands at `now_ms`."""
    if job.accepted_ms is None:
        return _Moment("none")
    if job.stillborn:
        return _Moment("failed", reason="cancelled", finished_ms=job.accepted_ms)
    image = job.spec.get("image", "") if job.spec.get("mode") == "docker" else ""
    due_ms = job.accepted_ms + (round(PULL_S * 1000) if image else 0)
    stop_before = _first_stop(job, job.accepted_ms)
    if stop_before and stop_before[0] < due_ms:
        ended_ms, reason = stop_before
        log = printed(pull_lines(image), (min(ended_ms, now_ms) - job.accepted_ms) / 1000)
        if now_ms < ended_ms:
            return _Moment("starting", log, figures=_figures(job, None, now_ms))
        return _Moment("failed", log, reason=reason, finished_ms=ended_ms)
    if error := pull_error(image):
        if now_ms < due_ms:
            return _Moment("starting", figures=_figures(job, None, now_ms))
        return _Moment("failed", f"{error}\n".encode(), reason="pull_failed", finished_ms=due_ms)
    pulled = printed(pull_lines(image), (now_ms - job.accepted_ms) / 1000) if image else b""
    if now_ms < due_ms:
        return _Moment("starting", pulled, figures=_figures(job, None, now_ms))
    workload = workload_from(image, job.command, job.knobs)
    stop = _first_stop(job, due_ms, WorkloadRun(workload, due_ms))
    run = WorkloadRun(
        workload,
        started_ms=due_ms,
        term_ms=stop[0] if stop else None,
        grace_s=float(job.spec.get("grace_s") or 0),
    )
    log = pulled + run.output(now_ms)
    ended_ms, exit_code = run.end()
    if now_ms < ended_ms:
        return _Moment("running", log, started_ms=due_ms, figures=_figures(job, run, now_ms))
    reason = stop[1] if stop and stop[0] < due_ms + round(run.workload.duration_s * 1000) else "exited"
    return _Moment("exited", log, exit_code, reason, started_ms=due_ms, finished_ms=ended_ms)


def _first_stop(job: SimJob, since_ms: Ms, run: WorkloadRun | None = None) -> tuple[Ms, str] | None:
    """Return the first moment from `since_ms` on at which the harness would end the job, and why; None: nothing will.

    `run` is how it would go if nobody stopped it, once it has begun.
    """
    causes: list[tuple[Ms, str]] = []
    if job.cancelled_ms is not None:
        causes.append((max(job.cancelled_ms, since_ms), "cancelled"))
    if max_duration_s := job.spec.get("max_duration_s"):
        causes.append((since_ms + int(max_duration_s) * 1000, "max_duration"))
    if job.lease_until_ms is not None:
        causes.append((max(job.lease_until_ms, since_ms), "lease"))
    if run is not None and (idle_stop_s := job.spec.get("idle_stop_s")) and "MOCK_GPU" not in job.knobs:
        causes.append((run.idle_stop_ms(int(job.spec["idle_percent"]), int(idle_stop_s)), "idle_stop"))
    return min(causes, default=None)


def _figures(job: SimJob, run: WorkloadRun | None, now_ms: Ms) -> tuple[str, str]:
    """Return what the harness measures of the GPU, and for how long it has been idle."""
    if problem := job.knobs.get("MOCK_GPU"):
        return "-", problem
    since_ms = run.idle_since_ms(now_ms, int(job.spec.get("idle_percent") or 5)) if run else None
    idle_s = 0 if since_ms is None else (now_ms - since_ms) // 1000
    return ",".join(str(figure) for figure in gpu_figures(run, now_ms)), str(idle_s)


def _pairs(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _seconds(at_ms: Ms | None) -> str:
    return "-" if at_ms is None else str(at_ms // 1000)
