"""What `GPU` and `AsyncGPU` both stand on: a profile's desk on a thread of its own, and the questions asked there.

The desk belongs to one thread; with its own, a `GPU` may be used from any thread, and from a notebook whose event loop
already runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gputui.core import request
from gputui.model.errors import AgentError, GputuiError, UsageError
from gputui.providers.registry import provider_title
from gputui.sdk_types import (
    MachineInfo,
    OfferInfo,
    Price,
    Route,
    SshKeyInfo,
    VolumeInfo,
    machine_of,
    offer_of,
    prices_of,
    route_of,
    ssh_key_of,
    volume_of,
)

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.reports import JobReport
    from gputui.model.volumes import VolumeOrder

GLANCE_S = 0.1
GUARD_EVERY_S = 2.0

_T = TypeVar("_T")


class DeskThread:
    """A desk that is opened by the first question and closed by `close`; questions are answered one after another."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gputui")
        self._desk: Desk | None = None
        self._closed = False

    def ask(self, question: Callable[[Desk], _T]) -> Future[_T]:
        """Answer a question on the desk's thread. Raises UsageError after `close`."""
        if self._closed:
            raise UsageError("This GPU object is closed.", hint="Make a new one.")
        return self._executor.submit(lambda: question(self._open()))

    def close(self) -> None:
        """Close the desk; jobs go on. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._executor.submit(self._close_desk).result()
            self._executor.shutdown()

    def _open(self) -> Desk:
        if self._desk is None:
            from gputui.core.desk import Desk

            self._desk = Desk.open(self._profile)
        return self._desk

    def _close_desk(self) -> None:
        if self._desk is not None:
            self._desk.close()


def submit(desk: Desk, wanted: dict[str, Any]) -> JobReport:
    """Submit a job, provided that an offer fits now. Raises UsageError, AuthError, NoMatch, AgentError."""
    plan = _plan(desk, wanted)
    plan.require_quote()
    return desk.job(desk.submit(plan.spec).id)


def route(desk: Desk, wanted: dict[str, Any]) -> Route:
    """Return what a job would run on and why every other offer lost."""
    return route_of(_plan(desk, {"machine": True, **wanted}))  # a command changes nothing about where it runs


def prices(desk: Desk, gpu: str | None, refresh: bool) -> list[Price]:
    """Return prices, after asking the providers whose prices are old (`refresh`: all of them)."""
    _refresh(desk, gpu, force=refresh)
    return prices_of(desk.prices(gpu))


def offers(desk: Desk, gpu: str | None, refresh: bool) -> list[OfferInfo]:
    """Return everything on offer, cheapest machine first."""
    _refresh(desk, gpu, force=refresh)
    return [offer_of(quote) for quote in request.quotes_for(desk.offers(gpu=gpu))]


def machines(desk: Desk) -> list[MachineInfo]:
    """Return what is alive at every provider; one that does not answer is told as a warning."""
    rows, problems = _run(desk, desk.machines())
    _warn("machines", problems)
    return [machine_of(row) for row in rows]


def volumes(desk: Desk) -> list[VolumeInfo]:
    """Return the volumes of every provider; one that does not answer is told as a warning."""
    rows, problems = _run(desk, desk.volumes())
    _warn("volumes", problems)
    return [volume_of(row) for row in rows]


def request_volume(desk: Desk, wanted: dict[str, Any]) -> VolumeOrder:
    """Wish for a volume. Raises UsageError, NotSupported, AuthError, AgentError."""
    return desk.request_volume(**wanted)


def request_volume_deletion(desk: Desk, reference: str, provider: str | None, foreign: bool) -> VolumeOrder:
    """Wish that a volume be gone. Raises NotFoundError, UsageError when several fit, GuardRefused, AgentError."""
    from gputui.core.volume_wishes import pick_volume, require_ours

    rows, problems = _run(desk, desk.volumes([provider] if provider else ()))
    row = pick_volume(rows, reference, not_asked=list(problems))
    if not foreign:
        require_ours(row, hint="Say foreign=True if it really is to be deleted.")
    return desk.request_volume_deletion(row)


def finished_volume_order(desk: Desk, order_id: str) -> VolumeOrder | None:
    """Return an order that is done, None while it is open. Raises the error it ended with."""
    from gputui.core.volume_wishes import failure_of

    order = desk.volume_order(order_id)
    if (failure := failure_of(order)) is not None:
        raise failure
    return order if order.is_over else None


def ssh_keys(desk: Desk) -> list[SshKeyInfo]:
    """Return the registered keys; a provider that does not answer is told as a warning."""
    from gputui.core.resources import list_ssh_keys

    rows, problems = _run(desk, list_ssh_keys(desk.accounts))
    _warn("keys", problems)
    return [ssh_key_of(row) for row in rows]


def add_ssh_key(desk: Desk, public_key: str, name: str | None, providers: Sequence[str]) -> SshKeyInfo:
    """Register a public key. Raises UsageError for what is none, the first provider's error."""
    from gputui.core.resources import add_ssh_key as register
    from gputui.core.resources import public_key_of

    key = public_key_of(public_key)
    name = name or key.comment or "gputui"
    asked = _run(desk, register(desk.accounts, key, name, providers))
    for error in asked.problems.values():
        raise error
    return SshKeyInfo(name, key.fingerprint, tuple(asked.answers))


def jobs(desk: Desk, limit: int) -> list[JobReport]:
    """Return jobs, newest first."""
    guard(desk)
    return desk.jobs(limit=limit)


def job(desk: Desk, reference: str) -> JobReport:
    """Return one job. Raises NotFoundError, UsageError when several fit."""
    return desk.job(reference)


def stop(desk: Desk, job_id: str) -> JobReport:
    """Wish that a job be stopped."""
    desk.request_stop(job_id)
    return desk.job(job_id)


def log_path(desk: Desk, job_id: str) -> Path:
    return desk.log_path(job_id)


def guard(desk: Desk) -> None:
    """See to it that whatever is alive has an agent; a failure is told as a warning."""
    try:
        desk.guard()
    except AgentError as error:
        warnings.warn(f"jobs are alive and nobody watches them: {error}", RuntimeWarning, stacklevel=2)


def _warn(what: str, problems: Mapping[str, GputuiError]) -> None:
    for name, error in problems.items():
        warnings.warn(
            f"{provider_title(name)} could not be asked for its {what}: {error}", RuntimeWarning, stacklevel=3
        )


def _plan(desk: Desk, wanted: dict[str, Any]) -> Any:
    spec = request.make_spec(**wanted, default_max_duration_s=desk.config.jobs.default_max_duration_s)
    plan, _ = _run(desk, request.fresh_plan(desk, spec))
    return plan


def _refresh(desk: Desk, gpu: str | None, *, force: bool) -> None:
    due = request.due_for_refresh(desk, force=force)
    outcomes = _run(desk, desk.refresh(due)) if due else []
    for outcome in outcomes:
        if outcome.error is not None:
            warnings.warn(
                f"{provider_title(outcome.provider)} could not be asked: {outcome.error}", RuntimeWarning, stacklevel=2
            )
    if gpu is not None:
        request.require_known_gpu(desk, gpu)


def _run(desk: Desk, question: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that talks to providers on this thread, and close the connections it made."""
    import asyncio

    async def run_and_close() -> _T:
        try:
            return await question
        finally:
            await desk.aclose()

    return asyncio.run(run_and_close())
