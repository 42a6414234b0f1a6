"""From what a person asked for to a job that can be run: every mistake is told before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from gputui.core.mounts import check_volumes
from gputui.model.errors import UsageError
from gputui.model.gpus import canonical_gpu, fold, gpus_for_request, suggest_gpus
from gputui.model.types import JobKind, JobSpec
from gputui.providers.registry import PROVIDERS

MAX_GPUS = 64
MIN_IDLE_STOP_S = 60  # a few figures must have been seen
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def validated(spec: JobSpec, *, gpus_on_offer: Collection[str] = ()) -> JobSpec:
    """Return the spec with spelling tidied. `gpus_on_offer` are names that providers use beyond our table.

    Raises UsageError naming the field and what to write instead, NotSupported for volumes where they cannot be attached.
    """
    check_gpu(spec.gpu, gpus_on_offer)
    if not 1 <= spec.gpu_count <= MAX_GPUS:
        raise UsageError(f"A machine has 1 to {MAX_GPUS} GPUs, not {spec.gpu_count}.", field="gpu_count")
    if spec.provider is not None and spec.provider not in PROVIDERS:
        raise UsageError(
            f"There is no provider called {spec.provider!r}.", field="provider", hint=f"Known: {', '.join(PROVIDERS)}."
        )
    if spec.kind is JobKind.BATCH and not (spec.command or "").strip():
        raise UsageError(
            "The job has no command.",
            field="command",
            hint='Say what to run, such as --command "python train.py", or rent a machine to log in to with --machine.',
        )
    if spec.image is not None and (not spec.image.strip() or re.search(r"\s", spec.image.strip())):
        raise UsageError(
            f"{spec.image!r} is not the name of a container image.",
            field="image",
            hint="Write it like pytorch/pytorch:latest, or leave it out to run on the machine itself.",
        )
    if spec.max_price_micro_usd_per_hour is not None and spec.max_price_micro_usd_per_hour <= 0:
        raise UsageError("The price cap must be above 0.", field="budget_max")
    if spec.idle_stop_s is not None:
        _check_idle_stop(spec)
    if spec.disk_gib is not None and not 1 <= spec.disk_gib <= 65_536:
        raise UsageError("The disk must be between 1 and 65536 GiB.", field="disk")
    if spec.name is not None and not _NAME.fullmatch(spec.name):
        raise UsageError(
            f"{spec.name!r} cannot be a job's name.",
            field="name",
            hint="Use letters, digits, dots and dashes; at most 63.",
        )
    for variable, value in spec.env.items():
        if not _VARIABLE.fullmatch(variable):
            raise UsageError(f"{variable!r} cannot be the name of a variable.", field="env")
        if any(character in value for character in "\n\r\0"):
            raise UsageError(f"The value of {variable} has a line break, which cannot travel.", field="env")
    check_volumes(spec)
    return replace(
        spec,
        gpu=spec.gpu.strip(),
        image=spec.image.strip() if spec.image else None,
        command=spec.command if spec.kind is JobKind.BATCH else None,
        env=dict(spec.env),
    )


def _check_idle_stop(spec: JobSpec) -> None:
    if spec.kind is JobKind.MACHINE:
        raise UsageError(
            "Nothing of ours runs on a machine to log in to, so nobody could see that it is idle.",
            field="idle_stop",
            hint="Give it a --max-duration instead.",
        )
    if spec.idle_stop_s is not None and spec.idle_stop_s < MIN_IDLE_STOP_S:
        raise UsageError(f"An idle stop takes at least {MIN_IDLE_STOP_S} s.", field="idle_stop")
    if not 1 <= spec.idle_threshold_percent <= 99:
        raise UsageError("The use below which a GPU is idle must be from 1 to 99 percent.", field="idle_stop")


def default_name(spec: JobSpec, job_id: str) -> str:
    """Return a name people recognise: the GPU's family and the end of the id."""
    gpu = fold(spec.gpu).lower()
    return f"{gpu}-{job_id[-6:]}"


def check_gpu(text: str, gpus_on_offer: Collection[str]) -> None:
    """Raise UsageError, with the nearest names, for a GPU that neither our table nor any provider knows."""
    if not text.strip():
        raise UsageError("No GPU was named.", field="gpu", hint="Say which, such as --gpu H100.")
    if gpus_for_request(text) or fold(canonical_gpu(text)) in {fold(name) for name in gpus_on_offer}:
        return
    nearest = suggest_gpus(text)
    hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "See: gputui pricing"
    raise UsageError(f"There is no GPU called {text!r}.", field="gpu", hint=hint)
