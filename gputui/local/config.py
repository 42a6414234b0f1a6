"""The configuration file: TOML, every key optional, every problem reported at once.

The docstring under a setting is its documentation; `reference` makes the page from them. Keys of providers never belong
here: they are secrets.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from gputui.model.errors import ConfigError, UsageError
from gputui.model.units import parse_duration

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from gputui.local.paths import Paths

_Section = TypeVar("_Section", bound="DataclassInstance")
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
_URL = re.compile(r"https?://[^\s/@]+(/[^\s@]*)?")
_SECRET_NAME = re.compile(r"(^|[_-])(key|token|secret|password)s?$")
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]*")


def _number(default: float | None, *, least: float, most: float) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


def _checked(default: Any, problem_in: Callable[[str], str | None]) -> Any:
    return field(default=default, metadata={"problem_in": problem_in})


def _duration_problem(text: str) -> str | None:
    if text == "none":
        return None
    try:
        parse_duration(text)
    except UsageError:
        return 'is not a duration; write it like "30m", "4h" or "none"'
    return None


def _url_problem(text: str) -> str | None:
    if _URL.fullmatch(text):
        return None
    return "is not a URL; write it like https://host/path, with no user name or key in it"


@dataclass(frozen=True, slots=True)
class OffersConfig:
    """What is shown and routed over."""

    max_age_s: int = _number(300, least=1, most=86_400)
    """Seconds after which a price is called stale and is fetched again before money is spent on it."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The background process that creates, watches and destroys machines."""

    poll_s: float = _number(1.0, least=0.01, most=60)
    """Seconds between two looks at what is wished for."""

    idle_exit_s: float = _number(30, least=0, most=86_400)
    """Seconds without anything to guard after which the agent ends; it starts again on demand."""

    boot_timeout_s: int | None = _number(None, least=1, most=86_400)
    """Seconds a new machine may take until its shell answers; after that it is destroyed and the next offer is tried. Left
    out, each provider's usual limit."""

    lease_s: int = _number(21_600, least=10, most=30 * 86_400)
    """Seconds a machine keeps working after it last heard from the agent; then it stops its own workload."""

    ssh_connect_timeout_s: float = _number(10, least=1, most=300)
    """Seconds one attempt to connect to a machine may take."""

    max_attempts: int = _number(6, least=1, most=100)
    """How many offers one job may try before it fails."""

    min_free_mb: int = _number(200, least=0, most=10**9)
    """Megabytes that must be free where state is kept before a machine is ordered; its log and cost need the room."""


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """The look through every account for machines and volumes that no job accounts for."""

    every_s: int = _number(900, least=0, most=86_400)
    """Seconds between two sweeps while the agent runs; it also sweeps when it starts. 0: only when asked to."""

    terminate_lost: bool = False
    """Whether a machine that this profile made and no job has any more is deleted after two sightings, unasked."""


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """What a job gets when the request does not say."""

    default_max_duration: str | None = _checked(None, _duration_problem)
    """The longest a job may run, like "4h"; "none" (or leaving it out) sets no limit."""

    default_os_image: str | None = None
    """The operating system image for providers that rent virtual machines; left out, the provider's usual one."""

    @property
    def default_max_duration_s(self) -> int | None:
        """The limit in seconds, None for no limit."""
        if self.default_max_duration is None or self.default_max_duration == "none":
            return None
        return parse_duration(self.default_max_duration)


@dataclass(frozen=True, slots=True)
class UiConfig:
    """The terminal interface."""

    theme: str = "gputui-dark"
    """The name of a theme: a built-in one, or the name of a file in the themes folder without its ending."""

    refresh_s: int = _number(30, least=1, most=86_400)
    """Seconds between two refreshes of prices while a screen that shows them is open."""

    ascii: bool = False
    """Draw with plain ASCII characters, for terminals and fonts without the others."""


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One provider; `<name>` is its name, like `huddle`. Its key does not go here: `gputui auth login <name>`."""

    url: str | None = _checked(None, _url_problem)
    """The address of its API, when it is not the usual one. `GPUTUI_<NAME>_URL` in the environment comes first."""

    enabled: bool = True
    """Whether its offers are fetched and routed over. Machines that already run there are guarded all the same."""

    label: str | None = None
    """What to call this account where its name is shown."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set. Defaults for what the file leaves out."""

    offers: OffersConfig = OffersConfig()
    agent: AgentConfig = AgentConfig()
    sweep: SweepConfig = SweepConfig()
    jobs: JobsConfig = JobsConfig()
    ui: UiConfig = UiConfig()
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Binding id -> keys of the user's own, parted by commas; checked by the interface, which knows the ids."""

    def provider(self, name: str) -> ProviderConfig:
        """Return a provider's settings, the defaults when the file does not mention it."""
        return self.providers.get(name) or ProviderConfig()


_SECTIONS: Mapping[str, type[DataclassInstance]] = MappingProxyType(
    {"offers": OffersConfig, "agent": AgentConfig, "sweep": SweepConfig, "jobs": JobsConfig, "ui": UiConfig}
)


_KEYS_REFERENCE = """\
# Keys of your own for the interface: a command's id and its keys, like list.filter="slash,f". The help (?) shows the ids.
[keys]
"""


def load_config(paths: Paths, *, known_providers: Collection[str] = ()) -> Config:
    """Read the profile's configuration file; all defaults when there is none.

    `known_providers`, when given, makes any other name under `[providers]` a problem. Raises ConfigError, listing every
    problem by its key; no value is repeated, since it may be a secret in the wrong place.
    """
    path = paths.config_file
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {path} is not UTF-8 text (byte {error.start}).") from None
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration {path} is not valid TOML: {error}.") from None
    config, problems = _read(document, known_providers)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"The configuration {path} has {count}:\n{listed}")
    return config


def provider_url(config: Config, name: str, environ: Mapping[str, str]) -> str | None:
    """Return the API address set for a provider: `GPUTUI_<NAME>_URL`, else the file's, else None (its usual one).

    Raises ConfigError when the variable does not hold a URL.
    """
    variable = f"GPUTUI_{name.upper().replace('-', '_')}_URL"
    url = environ.get(variable, "").strip()
    if not url:
        return config.provider(name).url
    if problem := _url_problem(url):
        raise ConfigError(f"{variable} {problem}.")
    return url


def reference() -> str:
    """Return every setting with its default and documentation, as a configuration file in which all is commented out."""
    parts = [_section_reference(f"[{name}]", section) for name, section in _SECTIONS.items()]
    return "\n".join([*parts, _section_reference("[providers.<name>]", ProviderConfig), _KEYS_REFERENCE])


def docs_of(section: type) -> dict[str, str]:
    """Return setting -> the docstring under it, from the source; a setting without one is absent."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section)))
    class_body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs: dict[str, str] = {}
    for statement, following in pairwise(class_body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[statement.target.id] = " ".join(text.split())
    return docs


def _section_reference(title: str, section: type[DataclassInstance]) -> str:
    docs = docs_of(section)
    lines = [f"# {' '.join((section.__doc__ or '').split())}", title]
    for setting in fields(section):
        lines += [f"# {line}" for line in textwrap.wrap(docs[setting.name], 100)]
        if "least" in setting.metadata:
            lines.append(f"# From {setting.metadata['least']} to {setting.metadata['most']}.")
        is_number_left_out = setting.default is None and "least" in setting.metadata
        lines.append(f"# {setting.name} = {'…    (not set)' if is_number_left_out else _toml(setting.default)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return '"…"    (not set)'
    return f'"{value}"' if isinstance(value, str) else str(value)


def _read(document: Mapping[str, Any], known_providers: Collection[str]) -> tuple[Config, list[str]]:
    problems: list[str] = []
    sections: dict[str, Any] = {}
    for name, content in document.items():
        if name == "providers":
            sections[name] = MappingProxyType(_read_providers(content, known_providers, problems))
        elif name == "keys":
            sections[name] = MappingProxyType(_read_keys(content, name, problems))
        elif name in _SECTIONS:
            sections[name] = _read_section(name, content, _SECTIONS[name], problems)
        else:
            problems.append(_unknown(name, name, [*_SECTIONS, "providers", "keys"]))
    return Config(**sections), problems


def _read_providers(content: Any, known: Collection[str], problems: list[str]) -> dict[str, ProviderConfig]:
    if not isinstance(content, dict):
        problems.append("providers: must be a table, like [providers.huddle].")
        return {}
    found: dict[str, ProviderConfig] = {}
    for name, settings in content.items():
        path = f"providers.{name}"
        if not _PROVIDER_NAME.fullmatch(name):
            problems.append(f"{path}: a provider's name is in lower-case letters and digits.")
        elif known and name not in known:
            problems.append(_unknown(path, name, sorted(known), what="provider"))
        else:
            found[name] = _read_section(path, settings, ProviderConfig, problems)
    return found


def _read_keys(content: Any, path: str, problems: list[str]) -> dict[str, str]:
    """Return id -> keys; TOML reads `list.filter = "f"` as a table within a table."""
    if isinstance(content, str):
        return {path.removeprefix("keys."): content}
    if not isinstance(content, dict):
        problems.append(f'{path}: must be keys in quotes, like list.filter = "f,slash".')
        return {}
    found: dict[str, str] = {}
    for name, value in content.items():
        found.update(_read_keys(value, f"{path}.{name}", problems))
    return found


def _read_section(path: str, content: Any, section: type[_Section], problems: list[str]) -> _Section:
    if not isinstance(content, dict):
        problems.append(f"{path}: must be a table; write [{path}] on a line of its own.")
        return section()
    hints = get_type_hints(section)
    settings = {setting.name: setting for setting in fields(section)}
    values: dict[str, Any] = {}
    for name, value in content.items():
        setting_path = f"{path}.{name}"
        if name not in settings:
            problems.append(_unknown(setting_path, name, list(settings)))
        elif problem := _problem_in(value, hints[name], settings[name].metadata):
            problems.append(f"{setting_path}: {problem}.")
        else:
            values[name] = value
    return section(**values)


def _problem_in(value: Any, hint: Any, rules: Mapping[str, Any]) -> str | None:
    wanted = next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    fits = isinstance(value, (int, float)) if wanted is float else isinstance(value, wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):
        return f"must be {_TYPE_NAMES[wanted]}"
    if "least" in rules and not rules["least"] <= value <= rules["most"]:
        return f"must be from {rules['least']} to {rules['most']}"
    problem: str | None = rules["problem_in"](value) if "problem_in" in rules else None
    return problem


def _unknown(path: str, name: str, known: list[str], *, what: str = "setting") -> str:
    import difflib

    if _SECRET_NAME.search(name.lower()):
        return f"{path}: a secret does not belong in this file. Run: gputui auth login PROVIDER."
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    rest = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."
    return f"{path}: no such {what}. {rest}"
