"""Run a job where the image is the machine and nothing but the provider's log is to be had of it.

The container starts with our script instead of the image's own command. It runs the job once, and says in the log how it
ended: these providers start a container again when its process ends and go on billing, so the script stays alive and
says it again from time to time. Every line of ours carries the placement's nonce, which a job cannot guess.

    gputui-begin <nonce>
    gputui-end <nonce> code=<exit code, or - > reason=<exited | max_duration | restarted>
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gputui.core.runner.protocol import GRACE_S, PollReply, RunState
from gputui.model.errors import UsageError
from gputui.model.logs import LogPage
from gputui.model.types import JobSpec, Placement

# What is left of a job in the container's own file system keeps a restarted container from running it twice.
SCRIPT = """\
umask 077
d=/var/tmp/gputui-$GPUTUI_NONCE
end() { printf 'gputui-end %s code=%s reason=%s\\n' "$GPUTUI_NONCE" "$1" "$2"; }
stay() { end "$1" "$2"; while :; do sleep 60; end "$1" "$2"; done; }
if [ -e "$d/end" ]; then read -r code reason < "$d/end"; stay "$code" "$reason"; fi
mkdir -p /var/tmp
if ! mkdir "$d" 2> /dev/null; then stay - restarted; fi
printf 'gputui-begin %s\\n' "$GPUTUI_NONCE"
shell=sh; command -v bash > /dev/null && shell=bash
group=; command -v setsid > /dev/null && group=setsid
$group "$shell" -c "$GPUTUI_COMMAND" 2>&1 < /dev/null &
job=$!
signal() { kill "-$1" -- "-$job" 2> /dev/null || kill "-$1" "$job" 2> /dev/null; }
trap 'signal TERM' TERM INT
if [ -n "$GPUTUI_MAX_DURATION_S" ]; then
  ( sleep "$GPUTUI_MAX_DURATION_S"; : > "$d/overtime"; signal TERM; sleep "$GPUTUI_GRACE_S"; signal KILL ) &
fi
wait "$job"; code=$?
while kill -0 "$job" 2> /dev/null; do wait "$job"; code=$?; done
reason=exited; [ -e "$d/overtime" ] && reason=max_duration
printf '%s %s\\n' "$code" "$reason" > "$d/.end" && mv "$d/.end" "$d/end"
stay "$code" "$reason"
"""

_END = re.compile(r"gputui-end (?P<nonce>[0-9a-f]+) code=(?P<code>-|\d+) reason=(?P<reason>[a-z_]+)$")
_BEGIN = re.compile(r"gputui-begin (?P<nonce>[0-9a-f]+)$")
_REASONS = frozenset({"exited", "max_duration", "restarted"})


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """What the container is told to run, and the variables our script reads beside the job's own."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def container_start(spec: JobSpec, placement: Placement) -> ContainerStart:
    """Return how a container is started for a job. Raises UsageError where the job cannot run this way."""
    if not spec.image:
        raise UsageError(
            f"{placement.provider} runs images; the job names none.",
            field="image",
            hint="Say which, such as --image pytorch/pytorch:latest.",
        )
    reserved = [name for name in spec.env if name.startswith("GPUTUI_")]
    if reserved:
        raise UsageError(f"Variables beginning with GPUTUI_ are ours: {', '.join(reserved)}.", field="env")
    return ContainerStart(
        argv=("sh", "-c", SCRIPT),
        env={
            "GPUTUI_NONCE": placement.nonce,
            "GPUTUI_COMMAND": spec.command or "",
            "GPUTUI_MAX_DURATION_S": "" if spec.max_duration_s is None else str(spec.max_duration_s),
            "GPUTUI_GRACE_S": str(GRACE_S),
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

    async def begin(self) -> None:
        """The container began by itself when it was made."""

    async def poll(self, offset: int) -> PollReply:
        page = await self._read_page(self._cursor)
        kept = [line for line in (self._strip_ours(text) for text in page.lines) if line is not None]
        payload = "".join(f"{line}\n" for line in kept).encode("utf-8", errors="replace")
        self._cursor = page.cursor
        state = RunState.RUNNING if self._has_begun else RunState.STARTING
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
            gpu=None,
            payload=payload,
            cursor=page.cursor,
        )

    async def stop(self) -> None:
        """There is nobody to ask (see `takes_orders`)."""

    async def close(self) -> None:
        """There is no connection to let go of."""

    def _strip_ours(self, text: str) -> str | None:
        """Return a line of the job, None for one of ours. Output without a line end shares its line with our last word."""
        for pattern in (_END, _BEGIN):
            match = pattern.search(text)
            if match is None or match["nonce"] != self._nonce:
                continue
            if pattern is _BEGIN and self._has_begun and self._end is None:
                # Started again on an empty disk, so that the script could not know: the job runs a second time.
                self._end = (None, "restarted")
            self._has_begun = True
            if pattern is _END and self._end is None and match["reason"] in _REASONS:
                self._end = (None if match["code"] == "-" else int(match["code"]), match["reason"])
            return text[: match.start()] or None
        return text
