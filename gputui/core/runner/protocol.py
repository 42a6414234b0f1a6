"""What travels between us and the harness on a machine: the files of a job and the answer to a poll. Pure.

A job lives in one folder on the machine, `.gputui/<placement id>` under the login user's home. The harness answers every
poll with one header line and then exactly as many raw log bytes as the header announces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from gputui.model.errors import ShellError, UsageError
from gputui.model.states import JobStatus
from gputui.model.types import JobSpec, Placement

HARNESS_NAME = "harness.sh"
HEADER_VERSION = "gputui/1"

GRACE_S = 30
"""Seconds a workload gets between TERM and KILL, enough to flush a checkpoint."""

COLLECT_S = 600
"""Seconds after a limit ended a workload in which somebody may come for its log, before a machine deletes itself."""

LIMITS = frozenset({"max_duration", "idle_stop"})
"""Reasons for which a job counts as stopped, as its user asked, rather than failed."""

DOCKER_WAIT_S = 120
"""Seconds a freshly booted machine gets until its Docker daemon must answer."""

MAX_COMMAND_BYTES = 100_000  # Linux takes at most 128 KiB in one argument (MAX_ARG_STRLEN)
MAX_ENV_LINE_BYTES = 65_000  # docker reads --env-file through a scanner with 64 KiB lines

_PLACEMENT_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_IMAGE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/:@-]{0,511}")
_MOUNT = re.compile(r"(/[0-9A-Za-z][0-9A-Za-z._-]*)+")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL_READ_ONLY = frozenset({"UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"})


class RunState(StrEnum):
    """Where a workload is. `lost` ran but its exit code is gone; `failed` never ran."""

    NONE = "none"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (RunState.EXITED, RunState.LOST, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class GpuSample:
    """The busiest GPU of a machine a few seconds ago; a figure its driver does not tell is None."""

    util_percent: float | None
    mem_used_mib: float | None
    mem_total_mib: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class PollReply:
    """The harness's answer. Times are whole seconds since the epoch by the machine's own clock.

    `size` is the length of the whole log on the machine in bytes, `payload` the part that was asked for. `reason` says
    why a final state was reached: exited, cancelled, max_duration, lease, idle_stop, oom, submit_failed, pull_failed,
    docker_missing, volume_missing, tools_missing, rebooted. `cursor` is set where the log has no byte offsets: where to go
    on from.
    `idle` is for how many seconds every GPU has been idle, or why nobody knows: missing (no nvidia-smi), failed, unknown.
    `guard` is "armed" when the machine can delete itself, else why not: no_key, no_downloader.
    """

    state: RunState
    exit_code: int | None
    reason: str | None
    size: int
    nonce: str
    started_s: int | None
    finished_s: int | None
    gpu: GpuSample | None
    payload: bytes
    cursor: str | None = None
    idle: str | None = None
    guard: str | None = None


@dataclass(frozen=True, slots=True)
class EndCalls:
    """How a machine asks its provider to be deleted, with the key that the provider gave it for itself alone.

    `key_variable` and `id_variable` name the machine's own variables that hold the key and its id at the provider. Each
    call is (method, URL, body), "{id}" standing for the id; all are made, whatever the answers.
    """

    key_variable: str
    id_variable: str
    calls: Sequence[tuple[str, str, str]]

    def lines(self) -> str:
        """Return the calls one a line, as the harness reads them."""
        return "".join(f"{method} {url} {body}\n" for method, url, body in self.calls)


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file to put into the job folder before the start."""

    name: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class ExitOutcome:
    """How a finished workload counts for its job. `error` is a sentence for a person, None when all went well."""

    status: JobStatus
    exit_code: int | None
    error: str | None
    error_code: str | None


def job_folder(placement_id: str) -> str:
    """Return the job's folder on the machine, relative to the login user's home."""
    if not _PLACEMENT_ID.fullmatch(placement_id):
        raise UsageError(f"{placement_id!r} cannot name a folder.")
    return f".gputui/{placement_id}"


def is_mountable(path: str) -> bool:
    """Say whether a path can be handed to the harness and to Docker as it is."""
    return _MOUNT.fullmatch(path) is not None


def container_name(placement_id: str) -> str:
    """Return the name of the job's container on the machine."""
    return f"gputui-{placement_id}"


def harness_source() -> bytes:
    """Return the harness as packaged."""
    return resources.files("gputui.core.runner").joinpath(HARNESS_NAME).read_bytes()


def harness_section(title: str) -> str:
    """Return one section of the harness by its heading, for scripts that are sent on their own."""
    _, _, rest = harness_source().decode().partition(f"# ---- {title} ---")
    section, _, _ = rest.partition("\n# ---- ")
    return section.partition("\n")[2]


def job_files(
    spec: JobSpec,
    placement: Placement,
    *,
    lease_s: int | None,
    end_calls: EndCalls | None = None,
    mounts: Sequence[str] = (),
    grace_s: int = GRACE_S,
    docker_wait_s: int = DOCKER_WAIT_S,
) -> list[JobFile]:
    """Return every file a job needs on its machine: the harness, its orders, the command and the environment.

    `lease_s` is the first lease, running from the start; every poll renews it. None: the workload needs no watcher.
    `end_calls` None: the provider gives its machines no key to themselves. `mounts` are paths at which volumes will be
    mounted on the machine: the workload waits for them, and its container gets them at the same paths.
    Raises UsageError when the job cannot be carried: an image that is no image name, an environment value with a line
    break, no command where there is no image either.
    """
    image = spec.image or ""
    command = spec.command or ""
    _check_image(image)
    _check_command(command, image)
    _check_mounts(mounts)
    orders = {
        "mode": "docker" if image else "plain",
        "name": container_name(placement.id),
        "image": image,
        "max_duration_s": "" if spec.max_duration_s is None else str(spec.max_duration_s),
        "grace_s": str(grace_s),
        "lease_s": "" if lease_s is None else str(lease_s),
        "docker_wait_s": str(docker_wait_s),
        "idle_stop_s": "" if spec.idle_stop_s is None else str(spec.idle_stop_s),
        "idle_percent": str(spec.idle_threshold_percent),
        "end_key": end_calls.key_variable if end_calls else "",
        "end_id": end_calls.id_variable if end_calls else "",
        "mounts": ":".join(mounts),
        "nonce": placement.nonce,
    }
    return [
        JobFile("spec", _key_value_lines(orders), 0o600),
        JobFile("command", command.encode(), 0o600),
        JobFile("env", env_file(spec.env), 0o600),
        JobFile("ends", (end_calls.lines() if end_calls else "").encode(), 0o600),
        JobFile(HARNESS_NAME, harness_source(), 0o700),
    ]


def env_file(env: Mapping[str, str]) -> bytes:
    """Return an environment in the format of `docker run --env-file`: one NAME=value a line, nothing quoted.

    Raises UsageError for what that format cannot carry: line breaks, NUL, odd names, values of 64 KiB. The message
    never holds a value.
    """
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a name of an environment variable.", field="env")
        if name in _SHELL_READ_ONLY:
            raise UsageError(f"{name} is a variable the shell keeps for itself.", field="env")
        if any(character in value for character in "\n\r\0"):
            raise UsageError(
                f"The value of {name} has a line break or a NUL, which a container's environment file cannot carry.",
                field="env",
                hint="Encode it (base64) and decode it in the command.",
            )
        if len(f"{name}={value}".encode()) > MAX_ENV_LINE_BYTES:
            raise UsageError(f"The value of {name} is over {MAX_ENV_LINE_BYTES} bytes.", field="env")
    return _key_value_lines(env)


def parse_poll(raw: bytes, *, offset: int, limit: int) -> PollReply:
    """Read the answer to a poll for `limit` bytes from `offset`.

    Raises ShellError when it is not one, is cut short, or when the log is shorter than what was read before.
    """
    header, line_break, payload = raw.partition(b"\n")
    words = header.decode("ascii", errors="replace").split(" ")
    if not line_break or words[0] != HEADER_VERSION:
        raise ShellError(f"The machine's answer is not one of the harness: {_excerpt(header)!r}.")
    fields = dict(word.partition("=")[::2] for word in words[1:])
    try:
        announced = int(fields["bytes"])
        reply = PollReply(
            state=RunState(fields["state"]),
            exit_code=_number_or_none(fields["exit"]),
            reason=_text_or_none(fields["reason"]),
            size=int(fields["size"]),
            nonce=fields["nonce"],
            started_s=_number_or_none(fields["started"]),
            finished_s=_number_or_none(fields["finished"]),
            gpu=gpu_or_none(fields["gpu"]),
            payload=payload,
            idle=_text_or_none(fields["idle"]),
            guard=_text_or_none(fields["guard"]),
        )
    except (KeyError, ValueError) as error:
        raise ShellError(f"The machine's answer cannot be read: {_excerpt(header)!r}.") from error
    if len(payload) != announced:
        raise ShellError(f"The machine's answer is cut short: {len(payload)} of {announced} log bytes came.")
    if reply.size < offset:
        raise ShellError(f"The log on the machine is {reply.size} bytes, shorter than the {offset} already read.")
    if announced != min(limit, reply.size - offset):
        raise ShellError(f"The machine sent {announced} log bytes where others were due.")
    return reply


def exit_outcome(reply: PollReply) -> ExitOutcome | None:
    """Return how a finished workload counts, None while it has not ended."""
    if not reply.state.is_final:
        return None
    if reply.state is RunState.EXITED and reply.reason == "exited" and reply.exit_code == 0:
        return ExitOutcome(JobStatus.COMPLETED, 0, None, None)
    if reply.reason == "cancelled":
        return ExitOutcome(JobStatus.STOPPED, reply.exit_code, None, None)
    code = _CODES.get(reply.reason or "lost", reply.reason or "lost")
    if reply.state is RunState.LOST and code not in _ERRORS:
        code = "lost"
    if code == "exited":
        sentence = _FOREIGN_ENDS.get(reply.exit_code or 0, f"The command exited with code {reply.exit_code}.")
        return ExitOutcome(JobStatus.FAILED, reply.exit_code, sentence, "exit_code")
    status = JobStatus.STOPPED if code in LIMITS else JobStatus.FAILED
    error = _ERRORS.get(code, f"The workload ended: {code}.")
    return ExitOutcome(status, reply.exit_code, error, code)


_CODES = {"lease": "lease_expired"}

_FOREIGN_ENDS = {
    137: "The command was killed (exit code 137), but not by gputui.",
    143: "The command was asked to end (exit code 143), but not by gputui; a restart of Docker does that.",
}

_ERRORS: dict[str, str] = {
    "volume_missing": "A volume was not mounted on the machine in time; the log names it.",
    "max_duration": "The job reached its maximum duration and was stopped.",
    "idle_stop": "The job was stopped because its GPUs had been idle for as long as it allows.",
    "lease_expired": "The machine stopped the job because nobody had watched it for longer than the lease.",
    "oom": "The machine ran out of memory and killed the command.",
    "submit_failed": "Docker refused to start the container; its message is in the log.",
    "pull_failed": "The image could not be pulled; Docker's message is in the log.",
    "docker_missing": "Docker cannot be used on this machine; the log says why.",
    "tools_missing": "The machine lacks tools the harness needs (flock, setsid); the log names them.",
    "rebooted": "The machine rebooted and took the job with it; its exit code is unknown.",
    "restarted": "The provider started the container again in the middle of the job.",
    "lost": "The job's process vanished without an exit code.",
}


def _check_image(image: str) -> None:
    if image and not _IMAGE.fullmatch(image):
        raise UsageError(f"{image!r} is not a name of a container image.", field="image")


def _check_mounts(mounts: Sequence[str]) -> None:
    for path in mounts:
        if not is_mountable(path):
            raise UsageError(f"{path!r} is not a path a volume can be mounted at.", field="volumes")


def _check_command(command: str, image: str) -> None:
    if not command.strip() and not image:
        raise UsageError("A job without an image needs a command.", field="command")
    if "\0" in command:
        raise UsageError("The command holds a NUL character.", field="command")
    if len(command.encode()) > MAX_COMMAND_BYTES:
        raise UsageError(
            f"The command is over {MAX_COMMAND_BYTES} bytes.",
            field="command",
            hint="Put it into the image as a script.",
        )


def _key_value_lines(values: Mapping[str, str]) -> bytes:
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()


def _number_or_none(text: str) -> int | None:
    return None if text == "-" else int(text)


def _text_or_none(text: str) -> str | None:
    return None if text in ("-", "") else text


def gpu_or_none(text: str) -> GpuSample | None:
    """Return the sample; None for no sample or an odd one, which is no reason to lose sight of the job."""
    figures = [_figure_or_none(part) for part in text.split(",")]
    return GpuSample(*figures) if len(figures) == 4 and any(figure is not None for figure in figures) else None


def _figure_or_none(text: str) -> float | None:
    try:
        figure = float(text)
    except ValueError:
        return None
    return figure if math.isfinite(figure) else None


def _excerpt(data: bytes) -> str:
    return data[:120].decode("utf-8", errors="replace")
