"""The deploy form as data: its fields, and the way from what was typed to a job spec and back. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gputui.model.errors import UsageError
from gputui.model.types import JobKind, JobSpec, Priority
from gputui.model.units import micro_to_usd, parse_duration, parse_usd

ANY = "any"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the form. `choices` makes it a choice instead of free text; `hint` shows while it is empty."""

    name: str
    label: str
    hint: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    fields: tuple[Field, ...]


def sections(providers: Sequence[str]) -> tuple[Section, ...]:
    """Return the form's sections; `providers` are the ones that may be chosen."""
    return (
        Section(
            "What",
            (
                Field("gpu", "GPU", "H100, A100-80GB-SXM, RTX-4090 …"),
                Field("gpu_count", "count", "1"),
                Field("kind", "kind", choices=(JobKind.BATCH.value, JobKind.MACHINE.value)),
                Field("image", "image", "pytorch/pytorch:latest, or none"),
                Field("command", "command", "python train.py"),
                Field("env", "env", "WANDB_MODE=offline SEED=7"),
                Field("name", "name", "made from the GPU when empty"),
            ),
        ),
        Section(
            "Where",
            (
                Field("provider", "provider", choices=(ANY, *providers)),
                Field("region", "region", "any"),
                Field("priority", "priority", choices=tuple(priority.value for priority in Priority)),
            ),
        ),
        Section(
            "Guards",
            (
                Field("max_price", "price cap", "2.50 $/h, or none"),
                Field("max_duration", "at most", "4h, 90m, or no limit"),
            ),
        ),
    )


# The core names its fields after the spec and the command line; the form has its own names for two of them.
_FORM_FIELD = {"budget_max": "max_price", "tier": "provider", "disk": "image"}


def form_field(name: str | None) -> str:
    """Return the form's field for an error's; errors about nothing in the form are shown at the GPU."""
    return _FORM_FIELD.get(name or "", name or "gpu")


def parse(values: Mapping[str, str]) -> tuple[JobSpec | None, dict[str, str]]:
    """Return the spec that was typed, or None, and field -> what is wrong with it. An empty field means "not said"."""
    problems: dict[str, str] = {}

    def read(name: str) -> str | None:
        return values.get(name, "").strip() or None

    def attempt(name: str, reader: Callable[[], T]) -> T | None:
        try:
            return reader()
        except UsageError as error:
            problems[name] = str(error)
            return None

    count = attempt("gpu_count", lambda: _count(read("gpu_count")))
    env = attempt("env", lambda: _env(read("env")))
    cap, limit = read("max_price"), read("max_duration")
    cap_micro = attempt("max_price", lambda: parse_usd(cap, field="price cap")) if cap else None
    limit_s = attempt("max_duration", lambda: parse_duration(limit, field="at most")) if limit else None
    gpu = read("gpu")
    if gpu is None:
        problems["gpu"] = "Which GPU? Write one such as H100."
    if problems or gpu is None:
        return None, problems
    provider = read("provider")
    kind = JobKind(values.get("kind") or JobKind.BATCH.value)
    spec = JobSpec(
        gpu=gpu,
        kind=kind,
        gpu_count=count or 1,
        image=read("image"),
        command=values.get("command", "").strip() or None if kind is JobKind.BATCH else None,
        name=read("name"),
        env=env or {},
        provider=None if provider in (None, ANY) else provider,
        region=read("region"),
        max_price_micro_usd_per_hour=cap_micro,
        max_duration_s=limit_s,
        priority=Priority(values.get("priority") or Priority.COST.value),
    )
    return spec, {}


def fill(spec: JobSpec) -> dict[str, str]:
    """Return what the form shows for a spec; `parse` reads it back."""
    cap = spec.max_price_micro_usd_per_hour
    return {
        "gpu": spec.gpu,
        "gpu_count": str(spec.gpu_count),
        "kind": spec.kind.value,
        "image": spec.image or "",
        "command": spec.command or "",
        "env": " ".join(shlex.quote(f"{name}={value}") for name, value in spec.env.items()),
        "name": spec.name or "",
        "provider": spec.provider or ANY,
        "region": spec.region or "",
        "priority": spec.priority.value,
        "max_price": micro_to_usd(cap) if cap is not None else "",
        "max_duration": _duration(spec.max_duration_s),
    }


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _count(text: str | None) -> int:
    if text is None:
        return 1
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"{text!r} is not a number of GPUs.")
    return int(text)


def _env(text: str | None) -> dict[str, str]:
    try:
        words = shlex.split(text or "")
    except ValueError:
        raise UsageError("A quotation mark is not closed.") from None
    env = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not NAME=value.")
        env[name] = value
    return env
