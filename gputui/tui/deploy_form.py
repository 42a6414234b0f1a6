"""The deploy form as data: its fields, and the way from what was typed to a job spec and back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from gputui.core.request import parse_idle_stop, price_cap
from gputui.core.routing import CONSTRAINTS, Plan
from gputui.core.templates import looks_secret
from gputui.model.errors import GputuiError, UsageError
from gputui.model.types import JobKind, JobSpec, Priority, Tier
from gputui.model.units import micro_to_usd, parse_duration, short_duration

ANY = ""
"""The value of a choice that leaves it open."""

T = TypeVar("T")


class FieldKind(StrEnum):
    """How a field is filled in: a line, several lines, one of a few, any of a few."""

    LINE = "line"
    LINES = "lines"
    ONE = "one"
    MANY = "many"


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a choice, what it is called, and a word about it in the list."""

    value: str
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form. `hint` shows while it is empty; `options` are those it begins with."""

    name: str
    label: str
    hint: str = ""
    kind: FieldKind = FieldKind.LINE
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One step of the form."""

    title: str
    fields: tuple[Field, ...]


_KINDS = (Option(JobKind.BATCH, "batch job"), Option(JobKind.MACHINE, "machine for SSH"))
_ANYWHERE = (Option(ANY, "any"),)

SECTIONS: tuple[Section, ...] = (
    Section(
        "What",
        (
            Field("kind", "kind", kind=FieldKind.ONE, options=_KINDS),
            Field("gpu", "GPU", "H100, A100-80GB-SXM, RTX-4090 …"),
            Field("gpu_count", "count", "1"),
            Field("min_vram", "memory", "GiB per GPU at least"),
            Field("image", "image", "pytorch/pytorch:latest, or none"),
            Field("command", "command", "python train.py"),
            Field("env", "env", "WANDB_MODE=offline", FieldKind.LINES),
            Field("name", "name", "made up if left empty"),
        ),
    ),
    Section(
        "Where",
        (
            Field("provider", "provider", kind=FieldKind.ONE, options=_ANYWHERE),
            Field("region", "region", kind=FieldKind.ONE, options=_ANYWHERE),
            Field("tier", "tier", kind=FieldKind.ONE, options=_ANYWHERE),
            Field("expected", "expected", "1h, to compare prices"),
            Field(
                "priority",
                "priority",
                kind=FieldKind.ONE,
                options=tuple(Option(priority, priority.value) for priority in Priority),
            ),
        ),
    ),
    Section(
        "Storage",
        (
            Field("disk", "disk", "GiB, or the usual size"),
            Field("os_image", "OS image", kind=FieldKind.ONE, options=(Option(ANY, "the usual one"),)),
            Field("volumes", "volumes", kind=FieldKind.MANY),
        ),
    ),
    Section(
        "Guards",
        (
            Field("max_duration", "at most", "4h, 90m, or no limit"),
            Field("max_price", "price cap", "2.50 $/h, or none"),
            Field("idle_stop", "idle stop", "30m, 30m:10%, or none"),
        ),
    ),
)
FIELDS: tuple[Field, ...] = tuple(field for section in SECTIONS for field in section.fields)

# The core names its fields after the spec and the command line; the form has its own names for some of them.
_FORM_FIELD = {"budget_max": "max_price", "disk_gib": "disk", "min_vram_gib": "min_vram"}


def form_field(name: str | None) -> str:
    """Return the form's field for an error's; errors about nothing in the form are shown at the GPU."""
    name = _FORM_FIELD.get(name or "", name or "")
    return name if any(field.name == name for field in FIELDS) else "gpu"


def field_ruling_out(plan: Plan) -> str | None:
    """Return the form's field that ruled out the last offers of an empty plan, None when nothing in the form did."""
    last = next((name for name in reversed(CONSTRAINTS) if plan.lost.get(name)), "")
    return _RULING_OUT.get(last)


_RULING_OUT = {
    "gpu-count": "gpu_count",
    "provider": "provider",
    "vram": "min_vram",
    "region": "region",
    "volumes": "volumes",
    "tier": "tier",
    "price": "max_price",
}


def sentence(error: GputuiError) -> str:
    """Return what an error says in the form: its hint is left out where it speaks of the command line."""
    is_for_here = error.hint is not None and "--" not in error.hint and "gputui " not in error.hint
    return str(error) if is_for_here else error.message


def parse(values: Mapping[str, str], *, unused: Collection[str] = ()) -> tuple[JobSpec | None, dict[str, str]]:
    """Return the spec that was typed, or None, and field -> what is wrong with it. An empty field means "not said".

    Fields that are `unused`, because they do not go with the others, are not looked at.
    """
    problems: dict[str, str] = {}

    def read(name: str, reader: Callable[[str], T]) -> T | None:
        text = "" if name in unused else values.get(name, "").strip()
        try:
            return reader(text) if text else None
        except UsageError as error:
            problems[name] = sentence(error)
            return None

    kind = JobKind(values.get("kind") or JobKind.BATCH)
    limit_s = read("max_duration", lambda text: parse_duration(text, field="at most"))
    idle = read("idle_stop", parse_idle_stop)
    usual = JobSpec(gpu="")
    spec = JobSpec(
        gpu=read("gpu", str) or "",
        kind=kind,
        gpu_count=read("gpu_count", lambda text: _whole(text, "GPUs")) or usual.gpu_count,
        image=read("image", str),
        command=read("command", str) if kind is JobKind.BATCH else None,
        name=read("name", str),
        env=read("env", parse_env) or {},
        provider=read("provider", str),
        region=read("region", str),
        tier=read("tier", Tier),
        os_image=read("os_image", str),
        disk_gib=read("disk", lambda text: _whole(text, "GiB")),
        min_vram_gib=read("min_vram", lambda text: _whole(text, "GiB")),
        max_price_micro_usd_per_hour=read("max_price", lambda text: price_cap(text, field="price cap")),
        max_duration_s=limit_s,
        expected_s=read("expected", lambda text: parse_duration(text, field="expected")) or _expected_s(limit_s),
        priority=Priority(values.get("priority") or usual.priority),
        volumes=tuple((read("volumes", str) or "").splitlines()),
        idle_stop_s=idle[0] if idle else None,
        idle_threshold_percent=idle[1] if idle else usual.idle_threshold_percent,
    )
    if not spec.gpu:
        problems["gpu"] = "Which GPU? Write one such as H100."
    return (None if problems else spec), problems


def fill(spec: JobSpec) -> dict[str, str]:
    """Return what the form shows for a spec; `parse` reads it back."""
    cap = spec.max_price_micro_usd_per_hour
    idle = short_duration(spec.idle_stop_s) if spec.idle_stop_s else ""
    if idle and spec.idle_threshold_percent != JobSpec(gpu="").idle_threshold_percent:
        idle = f"{idle}:{spec.idle_threshold_percent}%"
    return {
        "gpu": spec.gpu,
        "gpu_count": str(spec.gpu_count),
        "kind": spec.kind,
        "min_vram": str(spec.min_vram_gib or ""),
        "image": spec.image or "",
        "command": spec.command or "",
        "env": "\n".join(f"{name}={value}" for name, value in spec.env.items()),
        "name": spec.name or "",
        "provider": spec.provider or ANY,
        "region": spec.region or ANY,
        "tier": spec.tier or ANY,
        "expected": "" if spec.expected_s == _expected_s(spec.max_duration_s) else short_duration(spec.expected_s),
        "priority": spec.priority,
        "disk": str(spec.disk_gib or ""),
        "os_image": spec.os_image or ANY,
        "volumes": "\n".join(spec.volumes),
        "max_price": micro_to_usd(cap) if cap is not None else "",
        "max_duration": short_duration(spec.max_duration_s) if spec.max_duration_s else "",
        "idle_stop": idle,
    }


def parse_env(text: str) -> dict[str, str]:
    """Read lines of NAME=value, everything behind the first = being the value. Raises UsageError, never naming a value."""
    env: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, equals, value = line.strip().partition("=")
        if not name and not equals:
            continue
        if not name or not equals:
            raise UsageError(f"Line {number} is not NAME=value.", field="env")
        if name in env:
            raise UsageError(f"{name} is given twice.", field="env")
        if not value and looks_secret(name):
            raise UsageError(f"{name} has no value.", field="env")
        env[name] = value
    return env


def _expected_s(limit_s: int | None) -> int:
    """Return how long a job is taken to run when nothing is said."""
    usual_s = JobSpec(gpu="").expected_s
    return min(usual_s, limit_s or usual_s)


def _whole(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise UsageError(f"{text!r} is not a number of {what}.")
    return int(text)
