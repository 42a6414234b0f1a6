"""What a pod's container does over time: when it starts and starts again, and every line it and its host log.

A container made with the variables GPUTUI_NONCE and GPUTUI_COMMAND and told to run `sh -c <script>` prints what that script
would: `gputui-begin <nonce>`, the lines of a made-up job, and `gputui-end <nonce> code=<n> reason=<word>` every minute from
the job's end on. Where it is told how to delete its pod, it says whether it can (`gputui-guard <nonce> armed`), tells every
minute what the GPU does (`gputui-gpu <nonce> <figures> <seconds idle>`), and in time does delete it. It never ends by itself.
Started again on the disk of a job that had not ended, it says `code=- reason=restarted` instead. Any other container prints a
few lines and waits. All follows from the pod's records, so that what is planned can still be changed and what has been stays.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, takewhile

from gputui.sim import workload
from gputui.sim.lives import Life
from gputui.sim.runpod.state import Pod, Settings
from gputui.sim.workload import WorkloadRun

CONTAINER = "container"
SYSTEM = "system"

_REPEAT_MS = 60_000
_FOREVER_MS = 1 << 60
_IS_SET_UP = frozenset({Life.PROVISIONING, Life.RUNNING})
_SHELLS = ("sh", "bash", "dash", "ash")
_GAPS = {"begin": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "end": (2 / 3, 1.0)}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a pod's log."""

    at_ms: int
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """A container from its start to its end. `is_new` when its disk is empty; `is_boot` when the pod was started with it."""

    start_ms: int
    end_ms: int
    settings: Settings
    is_new: bool
    is_boot: bool


@dataclass(frozen=True, slots=True)
class Job:
    """The job that a container was made for."""

    nonce: str
    run: WorkloadRun
    stopped_for: str = ""

    def outcome(self) -> tuple[int, str]:
        """Return its exit code and why it ended."""
        natural_ms = self.run.started_ms + round(self.run.workload.duration_s * 1000)
        is_stopped = self.run.term_ms is not None and natural_ms > self.run.term_ms
        return self.run.end()[1], self.stopped_for if is_stopped else "exited"


def runs(pod: Pod) -> list[Run]:
    """Return every container the pod had, has or will have as things stand, oldest first."""
    found: list[Run] = []
    is_wiped = True
    for begin_ms, end_ms, life in _spans(pod):
        if life is Life.RELEASED:
            is_wiped = True
        delay_ms = pod.later_after_ms if found else pod.container_after_ms
        if life is not Life.RUNNING or delay_ms is None or begin_ms + delay_ms >= end_ms:
            continue
        start_ms = begin_ms + delay_ms
        restarts = [(item.at_ms, item.wipes) for item in pod.restarts]
        if not found:
            sudden = (start_ms + number * pod.restart_every_ms for number in range(1, pod.restart_times + 1))
            restarts += [(at_ms, pod.restart_wipes) for at_ms in sudden]
        cuts = sorted((at_ms, wipes) for at_ms, wipes in restarts if start_ms < at_ms < end_ms)
        starts = [(start_ms, is_wiped), *cuts]
        ends = [*(at_ms for at_ms, _ in cuts), end_ms]
        for (at_ms, wiped), until_ms in zip(starts, ends, strict=True):
            found.append(Run(at_ms, until_ms, _settings_at(pod, at_ms), wiped, at_ms == start_ms))
        is_wiped = False
    return found


def run_at(pod: Pod, now_ms: int) -> Run | None:
    """Return the container there is at a moment."""
    return next((run for run in runs(pod) if run.start_ms <= now_ms < run.end_ms), None)


def story(pod: Pod) -> Iterator[Line]:
    """Yield every line of the pod's log in order of time, as things stand; most often there is no last one."""
    all_runs = runs(pod)
    yield from takewhile(lambda line: pod.machine.life(line.at_ms) in _IS_SET_UP, _setup(pod))
    left: tuple[int, str] | None = None
    for run in all_runs:
        if run.is_boot and run is not all_runs[0]:
            yield Line(run.start_ms, SYSTEM, f"Status: Image is up to date for {run.settings.image}")
        yield Line(run.start_ms, SYSTEM, f"start container for {run.settings.image}: begin")
        job = job_of(run)
        yield from _until(run.end_ms, _banner(run) if job is None else _printed(pod, run, job, left))
        if run.is_new:
            left = job.outcome() if job and job.run.end()[0] < run.end_ms else None
        if _is_stopped(pod, run.end_ms):
            yield Line(run.end_ms + 1, SYSTEM, "stop container")
            yield Line(run.end_ms + 1, SYSTEM, "remove container")


def job_of(run: Run) -> Job | None:
    """Return the job that a container runs, None for one that runs none of ours."""
    env = run.settings.env
    words = argv_of(run.settings)
    is_script = len(words) >= 3 and words[-3].rpartition("/")[2] in _SHELLS and words[-2] == "-c" and words[-1]
    if not is_script or not env.get("GPUTUI_NONCE") or "GPUTUI_COMMAND" not in env:
        return None
    work = workload.workload_from(run.settings.image, env["GPUTUI_COMMAND"], env)
    stops: list[tuple[int, str]] = []
    if (max_ms := _seconds_in_ms(env.get("GPUTUI_MAX_DURATION_S"))) is not None:
        stops.append((run.start_ms + max_ms, "max_duration"))
    if (idle_ms := _seconds_in_ms(env.get("GPUTUI_IDLE_S"))) is not None and "MOCK_GPU" not in env:
        stops.append((WorkloadRun(work, run.start_ms).idle_stop_ms(_idle_percent(env), idle_ms // 1000), "idle_stop"))
    term_ms, why = min(stops, default=(None, ""))
    grace_s = (_seconds_in_ms(env.get("GPUTUI_GRACE_S")) or 0) / 1000
    return Job(env["GPUTUI_NONCE"], WorkloadRun(work, run.start_ms, term_ms, grace_s), why)


def own_end_ms(pod: Pod, now_ms: int) -> int | None:
    """Return when a pod's container had its pod deleted, None when it has not by now."""
    left: tuple[int, str] | None = None
    for run in runs(pod):
        job = job_of(run)
        if job is None or run.start_ms > now_ms:
            break
        ended_ms, reason = (job.run.end()[0], job.outcome()[1]) if run.is_new else (run.start_ms, (left or (0, ""))[1])
        if run.is_new:
            left = job.outcome() if ended_ms < run.end_ms else None
        is_limit = reason in ("max_duration", "idle_stop")
        stay_ms = _seconds_in_ms(run.settings.env.get("GPUTUI_COLLECT_S" if is_limit else "GPUTUI_LEASE_S"))
        if stay_ms is not None and _is_armed(pod, run) and ended_ms + stay_ms < min(run.end_ms, now_ms + 1):
            return ended_ms + stay_ms
    return None


def _is_armed(pod: Pod, run: Run) -> bool:
    names = (run.settings.env.get("GPUTUI_END_KEY", ""), run.settings.env.get("GPUTUI_END_ID", ""))
    return all(pod.machine.environ.get(name) for name in names)


def _idle_percent(env: Mapping[str, str]) -> int:
    return (_seconds_in_ms(env.get("GPUTUI_IDLE_PERCENT")) or 5000) // 1000


def argv_of(settings: Settings) -> list[str]:
    """Return the words a container is told to run, empty where it is left to the image or cannot be read."""
    if settings.entrypoint or settings.cmd:
        return [*settings.entrypoint, *settings.cmd]
    try:
        if settings.args.lstrip().startswith("{"):
            told = json.loads(settings.args)
            return [str(word) for name in ("entrypoint", "cmd") for word in told.get(name, ())]
        return list(_split(settings.args))
    except (ValueError, TypeError):
        return []


@lru_cache(maxsize=64)
def _split(args: str) -> tuple[str, ...]:
    return tuple(shlex.split(args))  # slow for a script of some length, and asked for at every look at the pod


def _spans(pod: Pod) -> Iterator[tuple[int, int, Life]]:
    """Yield (from, until, life) of a pod's life, the last one without end."""
    timeline = pod.machine.timeline
    ends = [*(at_ms for at_ms, _ in timeline[1:]), _FOREVER_MS]
    return ((at_ms, end_ms, life) for (at_ms, life), end_ms in zip(timeline, ends, strict=True))


def _until(end_ms: int, lines: Iterator[Line]) -> Iterator[Line]:
    return takewhile(lambda line: line.at_ms < end_ms, lines)


def _settings_at(pod: Pod, at_ms: int) -> Settings:
    return [item for item in pod.settings if item.from_ms <= at_ms][-1]


def _is_stopped(pod: Pod, at_ms: int) -> bool:
    return (at_ms, Life.RELEASED) in pod.machine.timeline


def _setup(pod: Pod) -> Iterator[Line]:
    """Yield what the host logs before the first container starts: for ever about an image that cannot be had."""
    settings, (begin_ms, end_ms) = pod.settings[0], pod.pull_ms
    if pod.mount is not None and pod.mount.volume_id is None:
        yield Line(begin_ms, SYSTEM, f"create {pod.mount.size_gb}GB volume")
    elif pod.mount is not None:
        yield Line(begin_ms, SYSTEM, f"mount network volume {pod.mount.volume_id}")
    yield Line(begin_ms, SYSTEM, f"create container {settings.image}")
    missing = workload.pull_error(settings.image)
    if missing:
        yield from (Line(begin_ms + n * _REPEAT_MS, SYSTEM, f"error pulling image: {missing}") for n in count())
    for at_s, text in workload.pull_lines(settings.image):
        yield Line(begin_ms + round((end_ms - begin_ms) * at_s / workload.PULL_S), SYSTEM, text)


def _banner(run: Run) -> Iterator[Line]:
    told = " ".join(argv_of(run.settings)) or "the default command of the image"
    for text in (f"== simulated container: nothing here is executed ({run.settings.image})", f"== idle: {told}"):
        yield Line(run.start_ms, CONTAINER, text[: workload.MAX_COLUMNS])


def _printed(pod: Pod, run: Run, job: Job, left: tuple[int, str] | None) -> Iterator[Line]:
    """Yield what the container of a job prints, for ever; `left` is how an earlier run of it on the same disk ended."""
    if not run.is_new:
        code, reason = left or ("-", "restarted")
        yield from _ends(job.nonce, code, reason, run.start_ms)
        return
    end_ms, _ = job.run.end()
    lost = _lost(pod, run.start_ms, end_ms)
    begin = [Line(run.start_ms, CONTAINER, f"gputui-begin {job.nonce}")]
    if "GPUTUI_END_KEY" in run.settings.env:
        word = "armed" if _is_armed(pod, run) else "no_key"
        begin.append(Line(run.start_ms, CONTAINER, f"gputui-guard {job.nonce} {word}"))
    timed = [
        Line(run.start_ms + round(at_s * 1000), CONTAINER, text) for at_s, text in workload.lines(job.run.workload)
    ]
    output = [line for line in timed if line.at_ms <= end_ms]
    unfinished = output.pop().text if pod.no_final_newline and output else ""
    if "GPUTUI_END_KEY" in run.settings.env:
        output = sorted([*output, *_gpu_lines(run, job, end_ms)], key=lambda line: line.at_ms)
    ends = _ends(job.nonce, *job.outcome(), end_ms)
    first_end = next(ends)
    spoken = [*begin, *output, replace(first_end, text=unfinished + first_end.text)]
    yield from (line for line in spoken if line.at_ms not in lost)
    yield from ends


def _gpu_lines(run: Run, job: Job, end_ms: int) -> Iterator[Line]:
    """Yield what the script tells of the GPU while a job runs."""
    problem = run.settings.env.get("MOCK_GPU")
    for at_ms in range(run.start_ms, end_ms, _REPEAT_MS):
        figures = ",".join(str(figure) for figure in workload.gpu_figures(job.run, at_ms))
        since_ms = job.run.idle_since_ms(at_ms, _idle_percent(run.settings.env))
        idle_s = 0 if since_ms is None else (at_ms - since_ms) // 1000
        said = f"- {problem}" if problem else f"{figures} {idle_s}"
        yield Line(at_ms, CONTAINER, f"gputui-gpu {job.nonce} {said}")


def _ends(nonce: str, code: int | str, reason: str, from_ms: int) -> Iterator[Line]:
    text = f"gputui-end {nonce} code={code} reason={reason}"
    return (Line(from_ms + number * _REPEAT_MS, CONTAINER, text) for number in count())


def _lost(pod: Pod, start_ms: int, end_ms: int) -> range:
    """Return the milliseconds in which what a job printed was lost."""
    if not pod.log_gap:
        return range(0)
    low, high = _GAPS[pod.log_gap]
    return range(start_ms + round((end_ms - start_ms) * low), start_ms + round((end_ms - start_ms) * high) + 1)


def _seconds_in_ms(text: str | None) -> int | None:
    try:
        return round(float(text) * 1000) if text else None
    except (ValueError, OverflowError):
        return None
