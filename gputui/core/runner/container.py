"""Run a job where the image is the machine and nothing but the provider's log is to be had of it.

The container starts with our script instead of the image's own command. It runs the job once, and says in the log how it
ended: these providers start a container again when its process ends and go on billing, so the script stays alive and
says it again from time to time. Every line of ours carries the placement's nonce, which a job cannot guess.

    gputui-begin <nonce>
    gputui-guard <nonce> <armed | no_key | no_downloader>
    gputui-gpu <nonce> <percent,MiB used,MiB,watts of the busiest GPU> <seconds idle, or why nobody knows>
    gputui-end <nonce> code=<exit code, or - > reason=<exited | max_duration | idle_stop | restarted>

Nobody can renew a lease where nobody takes orders, so it runs from the job's end: a container that is still there when it
lapses, or a few minutes after a limit ended the job, deletes its own machine. While the job runs, only its limits end it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache

from gputui.core.runner.protocol import (
    COLLECT_S,
    GRACE_S,
    EndCalls,
    GpuSample,
    PollReply,
    RunState,
    gpu_or_none,
    harness_section,
)
from gputui.model.errors import UsageError
from gputui.model.logs import LogPage
from gputui.model.types import JobSpec, Placement
from gputui.providers.registry import provider_title

# What is left of a job in the container's own file system keeps a restarted container from running it twice.
_SCRIPT = """\
umask 077
d=/var/tmp/gputui-$GPUTUI_NONCE
idle_percent=$GPUTUI_IDLE_PERCENT
tell() { printf 'gputui-%s %s%s\\n' "$1" "$GPUTUI_NONCE" "${2:+ $2}"; }
stay() {
  stay_s=$GPUTUI_LEASE_S
  case $2 in max_duration | idle_stop) stay_s=$GPUTUI_COLLECT_S ;; esac
  if [ "$guard" = armed ] && [ -n "$stay_s" ]; then ( sleep "$stay_s"; end_machine "$d" "$GPUTUI_ENDS" ) < /dev/null & fi
  while :; do tell end "code=$1 reason=$2"; sleep 60; done
}
arm "$GPUTUI_END_KEY" "$GPUTUI_END_ID"
if [ -e "$d/end" ]; then read -r code reason < "$d/end"; stay "$code" "$reason"; fi
mkdir -p /var/tmp
if ! mkdir "$d" 2> /dev/null; then stay - restarted; fi
tell begin
tell guard "$guard"
shell=sh; command -v bash > /dev/null && shell=bash
group=; command -v setsid > /dev/null && group=setsid
$group "$shell" -c "$GPUTUI_COMMAND" 2>&1 < /dev/null &
job=$!
signal() { kill "-$1" -- "-$job" 2> /dev/null || kill "-$1" "$job" 2> /dev/null; }
limit() { : > "$d/$1"; signal TERM; sleep "$GPUTUI_GRACE_S"; signal KILL; }
trap 'signal TERM' TERM INT
if [ -n "$GPUTUI_MAX_DURATION_S" ]; then ( sleep "$GPUTUI_MAX_DURATION_S"; limit max_duration ) & fi
(
  idle_since=- sampled=0
  while kill -0 "$job" 2> /dev/null; do
    measure_gpus
    follow_idle
    tell gpu "$gpu $idle"
    [ "$gpu_use" != missing ] || exit 0
    if [ -n "$GPUTUI_IDLE_S" ] && is_figure "$idle" && [ "$idle" -ge "$GPUTUI_IDLE_S" ]; then limit idle_stop; fi
    sleep "$GPUTUI_GPU_EVERY_S"
  done
) &
wait "$job"; code=$?
while kill -0 "$job" 2> /dev/null; do wait "$job"; code=$?; done
reason=exited
for why in idle_stop max_duration; do [ ! -e "$d/$why" ] || reason=$why; done
printf '%s %s\\n' "$code" "$reason" > "$d/.end" && mv "$d/.end" "$d/end"
stay "$code" "$reason"
"""

GPU_EVERY_S = 30

_END = re.compile(r"gputui-end (?P<nonce>[0-9a-f]+) code=(?P<code>-|\d+) reason=(?P<reason>[a-z_]+)$")
_BEGIN = re.compile(r"gputui-begin (?P<nonce>[0-9a-f]+)$")
_GUARD = re.compile(r"gputui-guard (?P<nonce>[0-9a-f]+) (?P<guard>[a-z_]+)$")
_GPU = re.compile(r"gputui-gpu (?P<nonce>[0-9a-f]+) (?P<gpu>[0-9.,-]+) (?P<idle>[0-9a-z]+)$")
_REASONS = frozenset({"exited", "max_duration", "idle_stop", "restarted"})


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """What the container is told to run, and the variables our script reads beside the job's own."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@cache
def script() -> str:
    """Return the script that runs a job; what it has in common with the harness comes from there."""
    return harness_section("shared with containers that take no orders") + _SCRIPT


def container_start(
    spec: JobSpec, placement: Placement, *, lease_s: int | None, end_calls: EndCalls | None = None
) -> ContainerStart:
    """Return how a container is started for a job; `lease_s` runs from the job's end.

    Raises UsageError where the job cannot run this way.
    """
    if not spec.image:
        raise UsageError(
            f"{provider_title(placement.provider)} runs images; the job names none.",
            field="image",
            hint="Say which, such as --image pytorch/pytorch:latest.",
        )
    reserved = [name for name in spec.env if name.startswith("GPUTUI_")]
    if reserved:
        raise UsageError(f"Variables beginning with GPUTUI_ are ours: {', '.join(reserved)}.", field="env")
    return ContainerStart(
        argv=("sh", "-c", script()),
        env={
            "GPUTUI_NONCE": placement.nonce,
            "GPUTUI_COMMAND": spec.command or "",
            "GPUTUI_MAX_DURATION_S": "" if spec.max_duration_s is None else str(spec.max_duration_s),
            "GPUTUI_GRACE_S": str(GRACE_S),
            "GPUTUI_IDLE_S": "" if spec.idle_stop_s is None else str(spec.idle_stop_s),
            "GPUTUI_IDLE_PERCENT": str(spec.idle_threshold_percent),
            "GPUTUI_GPU_EVERY_S": str(GPU_EVERY_S),
            "GPUTUI_LEASE_S": "" if lease_s is None else str(lease_s),
            "GPUTUI_COLLECT_S": str(COLLECT_S),
            "GPUTUI_END_KEY": end_calls.key_variable if end_calls else "",
            "GPUTUI_END_ID": end_calls.id_variable if end_calls else "",
            "GPUTUI_ENDS": end_calls.lines() if end_calls else "",
        },
    )


class ContainerRunner:
    """Follows a container's job by the provider's log. `read_page(after)` returns what follows a cursor.

    The log has no byte offsets: the cursor of what is already kept goes in and comes back with every poll. `has_begun`
    says that some of the job's output was read before.
    """

    takes_orders = False

    def __init__(
        self,
        read_page: Callable[[str | None], Awaitable[LogPage]],
        nonce: str,
        *,
        cursor: str | None = None,
        has_begun: bool = False,
    ) -> None:
        self._read_page = read_page
        self._nonce = nonce
        self._cursor = cursor
        self._has_begun = has_begun
        self._end: tuple[int | None, str] | None = None
        self._guard: str | None = None
        self._gpu: GpuSample | None = None
        self._idle: str | None = None

    async def begin(self) -> None:
        """The container began by itself when it was made."""

    async def poll(self, offset: int) -> PollReply:
        page = await self._read_page(self._cursor)
        self._gpu = self._idle = None
        payload = "".join(map(self._without_ours, page.lines)).encode("utf-8", errors="replace")
        self._cursor = page.cursor
        state = RunState.RUNNING if self._has_begun or not page.was_asked else RunState.STARTING
        code, reason = None, None
        if self._end is not None:
            code, reason = self._end
            state = RunState.LOST if reason == "restarted" else RunState.EXITED
        return PollReply(
            state=state,
            exit_code=code,
            reason=reason,
            size=offset + len(payload),
            nonce=self._nonce,
            started_s=None,
            finished_s=None,
            gpu=self._gpu,
            payload=payload,
            cursor=page.cursor,
            idle=self._idle,
            guard=self._guard,
        )

    async def stop(self) -> None:
        """There is nobody to ask (see `takes_orders`)."""

    async def close(self) -> None:
        """There is no connection to let go of."""

    def _without_ours(self, text: str) -> str:
        """Return what a line has of the job, its line end included. Output without a line end shares its line with ours."""
        for pattern in (_END, _BEGIN, _GUARD, _GPU):
            match = pattern.search(text)
            if match is not None and match["nonce"] == self._nonce:
                self._take(pattern, match)
                return text[: match.start()]
        return f"{text}\n"

    def _take(self, pattern: re.Pattern[str], match: re.Match[str]) -> None:
        if pattern is _BEGIN and self._has_begun and self._end is None:
            # Started again on an empty disk, so that the script could not know: the job runs a second time.
            self._end = (None, "restarted")
        self._has_begun = True
        if pattern is _END and self._end is None and match["reason"] in _REASONS:
            self._end = (None if match["code"] == "-" else int(match["code"]), match["reason"])
        elif pattern is _GUARD:
            self._guard = match["guard"]
        elif pattern is _GPU:
            self._gpu, self._idle = gpu_or_none(match["gpu"]), match["idle"]
