"""Templates: what a job was asked for with, kept under a name to be asked for again.

They are one JSON file, name -> the values that `request.make_spec` takes, readable by its owner alone. Values of variables
that look like secrets are left out unless they are asked for; their names are kept, so that they can be asked for again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gputui.core.request import make_spec
from gputui.model.errors import ConfigError, NotFoundError, SecretsError, UsageError
from gputui.model.types import JobKind, JobSpec
from gputui.model.units import micro_to_usd, short_duration

if TYPE_CHECKING:
    from pathlib import Path

    from gputui.local.private_file import PrivateFile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_TEXTS = ("gpu", "image", "command", "name", "provider", "region", "tier", "os_image", "budget_max", "max_duration",
          "idle_stop", "expected", "priority")  # fmt: skip
_NUMBERS = ("count", "disk_gib", "min_vram_gib")
_LISTS = ("volumes", "left_out")


@dataclass(frozen=True, slots=True)
class Template:
    """A job's spec under a name. `left_out` names the variables whose values were not kept; they are not in `spec.env`."""

    name: str
    spec: JobSpec
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Templates:
    """Those that can be used, by name, and one sentence for each that cannot."""

    usable: Mapping[str, Template]
    problems: tuple[str, ...] = ()

    def named(self, name: str) -> Template:
        """Return one. Raises NotFoundError, with what is wrong with it where it is there but cannot be used."""
        if name in self.usable:
            return self.usable[name]
        if why := self.problem_of(name):
            raise NotFoundError(f"The template cannot be used. {why}")
        known = ", ".join(self.usable) or "none"
        raise NotFoundError(f"There is no template {name!r}.", hint=f"There are: {known}.")

    def problem_of(self, name: str) -> str | None:
        """Return what is wrong with one that is there but cannot be used."""
        return next((problem for problem in self.problems if problem.startswith(f"{name}: ")), None)


def looks_secret(variable: str) -> bool:
    """True for the name of a variable whose value is probably a secret."""
    return _SECRET_NAME.search(variable) is not None


def load_templates(path: Path) -> Templates:
    """Return the templates of a profile. A file that cannot be read is a problem like any other."""
    try:
        documents = _read(path)
    except ConfigError as error:
        return Templates({}, (str(error),))
    usable, problems = {}, []
    for name, document in sorted(documents.items()):
        try:
            usable[name] = template_from(name, document)
        except UsageError as error:
            problems.append(f"{name}: {error.message}")
    return Templates(usable, tuple(problems))


def save_template(path: Path, name: str, spec: JobSpec, *, with_secrets: bool = False) -> Template:
    """Keep a spec under a name, replacing one of that name, and return what was kept. Raises UsageError, ConfigError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a template's name.",
            field="name",
            hint="Use letters, digits, dots and dashes; at most 63.",
        )
    secret = [variable for variable in spec.env if looks_secret(variable) and not with_secrets]
    kept = {variable: value for variable, value in spec.env.items() if variable not in secret}
    template = Template(name, replace(spec, env=kept), tuple(secret))
    _change(path, {name: document_of(template)})
    return template


def spec_from(template: Template, *, env: Mapping[str, str], **said: Any) -> JobSpec:
    """Return a template's spec with what is said otherwise, in the words of `request.make_spec`.

    Raises UsageError, also where the value of a variable that the template leaves out is not in `env`.
    """
    env = {**template.spec.env, **env}
    if missing := [name for name in template.left_out if name not in env]:
        raise UsageError(
            f"The template {template.name} leaves out the value of {', '.join(missing)}.",
            field="env",
            hint=f"Give it with --env {missing[0]}=VALUE.",
        )
    kept = {key: value for key, value in document_of(template).items() if key != "left_out"}
    return make_spec(**{**kept, **said, "env": env})


def delete_template(path: Path, name: str) -> None:
    """Forget a template, usable or not; one that is not there is as good. Raises ConfigError."""
    _change(path, {name: None})


def document_of(template: Template) -> dict[str, Any]:
    """Return a template as it is written: only what was said, in the words of the command line."""
    spec, usual = template.spec, JobSpec(gpu="")
    cap = spec.max_price_micro_usd_per_hour
    idle = f"{short_duration(spec.idle_stop_s)}:{spec.idle_threshold_percent}%" if spec.idle_stop_s else None
    said: dict[str, Any] = {
        "gpu": spec.gpu,
        "machine": spec.kind is JobKind.MACHINE,
        "count": spec.gpu_count,
        "image": spec.image,
        "command": spec.command,
        "name": spec.name,
        "env": dict(spec.env),
        "left_out": list(template.left_out),
        "provider": spec.provider,
        "region": spec.region,
        "tier": spec.tier,
        "os_image": spec.os_image,
        "disk_gib": spec.disk_gib,
        "min_vram_gib": spec.min_vram_gib,
        "budget_max": micro_to_usd(cap) if cap is not None else None,
        "max_duration": short_duration(spec.max_duration_s) if spec.max_duration_s else "none",
        "idle_stop": idle,
        "expected": short_duration(spec.expected_s),
        "priority": spec.priority if spec.priority is not usual.priority else None,
        "volumes": list(spec.volumes),
    }
    return {key: value for key, value in said.items() if value not in (None, False, [], {})}


def template_from(name: str, document: Any) -> Template:
    """Return the template that a JSON value describes. Raises UsageError naming everything that is wrong with it."""
    if not isinstance(document, dict):
        raise UsageError("must be an object.")
    problems = [_problem(key, value) for key, value in document.items()]
    if "gpu" not in document:
        problems.append("gpu is missing")
    if wrong := [problem for problem in problems if problem]:
        raise UsageError("; ".join(wrong) + ".")
    wanted = {key: value for key, value in document.items() if key != "left_out"}
    return Template(name, make_spec(**wanted), tuple(document.get("left_out", ())))


def _problem(key: str, value: Any) -> str | None:
    """Return what is wrong with one value, never repeating it: it may be a secret."""
    if key in _TEXTS:
        return None if isinstance(value, str) else f"{key} must be text"
    if key in _NUMBERS:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole else f"{key} must be a whole number"
    if key in _LISTS:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return None if fits else f"{key} must be a list of texts"
    if key == "env":
        fits = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        return None if fits else "env must be an object of texts"
    if key == "machine":
        return None if isinstance(value, bool) else "machine must be true or false"
    return f"there is no setting {key!r}"


def _file(path: Path) -> PrivateFile:
    from gputui.local.private_file import PrivateFile

    return PrivateFile(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = _file(path).read()
        documents = json.loads(content) if content is not None else {}
    except SecretsError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    except ValueError:
        documents = None
    if not isinstance(documents, dict):
        raise ConfigError(f"{path} is not a JSON object of templates.", hint="Repair it, or delete it to begin again.")
    return documents


def _change(path: Path, changes: Mapping[str, Any]) -> None:
    """Put documents in by name, None taking one out; writers of all processes take turns."""
    file = _file(path)
    try:
        with file.locked():
            documents = {name: one for name, one in {**_read(path), **changes}.items() if one is not None}
            file.replace(json.dumps(documents, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n")
    except SecretsError as error:
        raise ConfigError(error.message, hint=error.hint) from error
