"""What can go wrong in the simulated world, and what a provider leaves open: every knob, its default, and how to turn it.

A knob is one of five kinds. A *chance* holds rules that say when it fires: with a probability, or for the next n calls of
an operation. The others hold a plain value: a *number* (seconds where the name ends in `_s`), a *flag*, a *choice* or
*words*. All randomness comes from the seed, so a run that found a bug can be repeated.

    faults.set(lost_reply={"count": 1, "operation": "deploy"}, server_error=0.05, billing_start="ordered")
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

Setting: TypeAlias = "tuple[Rule, ...] | float | bool | str | tuple[str, ...]"


class Kind(StrEnum):
    """What a knob holds."""

    CHANCE = "chance"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Rule:
    """When a chance fires: for calls of `operation`, after `skip` of them, with `probability`, at most `count` times.

    `operation` is a pattern for the operation's name with or without its provider ("deploy", "huddle.deploy", "get_*").
    """

    operation: str = "*"
    probability: float = 1.0
    count: int | None = None
    skip: int = 0

    def matches(self, operation: str) -> bool:
        bare = operation.rpartition(".")[2]
        return fnmatchcase(operation, self.operation) or fnmatchcase(bare, self.operation)


@dataclass(frozen=True, slots=True)
class Knob:
    """One thing that can be turned: its name, kind, default, the values a choice allows, and what it does."""

    name: str
    kind: Kind
    default: Setting
    doc: str
    choices: tuple[str, ...] = ()


class UnknownKnob(ValueError):
    """There is no knob of that name; the message lists those there are."""


class BadSetting(ValueError):
    """A knob cannot hold that value; the message says what it takes."""


def chance(name: str, doc: str) -> Knob:
    """Return a knob that fires by rules, never by default."""
    return Knob(name, Kind.CHANCE, (), doc)


def number(name: str, default: float, doc: str) -> Knob:
    """Return a knob that holds a number of at least 0."""
    return Knob(name, Kind.NUMBER, default, doc)


def flag(name: str, default: bool, doc: str) -> Knob:
    """Return a knob that is on or off."""
    return Knob(name, Kind.FLAG, default, doc)


def choice(name: str, choices: tuple[str, ...], doc: str) -> Knob:
    """Return a knob that holds one of `choices`, the first by default."""
    return Knob(name, Kind.CHOICE, choices[0], doc, choices)


def words(name: str, default: tuple[str, ...], doc: str) -> Knob:
    """Return a knob that holds a list of words."""
    return Knob(name, Kind.WORDS, default, doc)


COMMON_KNOBS: tuple[Knob, ...] = (
    # The connection. "after" means the request has taken effect when it breaks.
    chance("connect_error", "the connection is refused; nothing was sent"),
    chance("cut_before", "the connection breaks before the request takes effect"),
    chance("lost_reply", "the request takes effect, then the connection breaks before the answer"),
    chance("timeout_before", "no answer ever comes and the request takes no effect"),
    chance("timeout_after", "the request takes effect but no answer ever comes"),
    number("hang_s", 600.0, "how long a connection without an answer is held before it is cut"),
    chance("slow", "the answer waits for slow_s"),
    number("slow_s", 10.0, "how late a slow answer is"),
    number("latency_s", 0.0, "how long every answer takes"),
    # Answers that are not the provider's own.
    chance("rate_limited", "429 with a Retry-After header"),
    chance("rate_limited_silent", "429 without Retry-After"),
    number("retry_after_s", 2.0, "the seconds a Retry-After header asks for"),
    chance("server_error", "500 before the request takes effect"),
    chance("server_error_after_commit", "500 although the request took effect"),
    chance("bad_gateway", "502 before the request takes effect"),
    chance("unavailable", "503 before the request takes effect"),
    chance("unauthorized", "401 although the key is good"),
    chance("html_error", "503 with an HTML page of some proxy"),
    chance("html_ok", "200 with an HTML page, as a captive portal gives"),
    chance("truncated_json", "the answer's body is cut in half"),
    chance("extra_fields", "the answer's objects carry fields nobody knows"),
    chance("unknown_state", "the machines in the answer show unknown_state_word"),
    words("unknown_state_word", ("hibernating",), "the state that an unknown state shows"),
    # Capacity and prices.
    chance("no_capacity", "an order is refused for lack of capacity although it was on offer"),
    chance("no_capacity_after_accept", "an accepted order fails for lack of capacity before it runs"),
    number("market_churn", 0.0, "the share of capacity (0..1) that other customers take, changing every five minutes"),
    number("price_drift", 0.0, "how far (0..1) list prices move from the catalogue's, changing every hour"),
    chance("price_surprise", "a machine's own price is the list price times price_surprise_factor"),
    number("price_surprise_factor", 1.25, "the factor of a surprising price"),
    # A machine's life.
    chance("slow_provisioning", "a machine takes slow_provisioning_s longer to run"),
    number("slow_provisioning_s", 900.0, "how much longer slow provisioning takes"),
    chance("provisioning_error", "a machine fails while it is being set up"),
    number("ssh_after_s", 0.5, "how long after a machine runs its sshd answers"),
    chance("ssh_never", "a machine's sshd never answers"),
    chance("dies", "a machine dies dies_after_s after it began to run"),
    number("dies_after_s", 600.0, "when a machine that dies does so, counted from when it runs"),
    choice("dies_as", ("offline", "error", "vanish", "released"), "what a dead machine looks like"),
    number("power_s", 1.0, "how long a stop or a start takes"),
    number("delete_s", 0.5, "how long a deletion takes"),
    flag("own_key_works", True, "whether a machine can delete itself with the key that its provider gave it"),
    chance("stuck_terminate", "a deletion is accepted but nothing happens"),
    number("stuck_hides_s", 0.0, "how long a machine is missing from all answers after a deletion that is stuck"),
    # Consistency.
    number("eventual_get_s", 0.0, "how long after its creation a machine cannot be read by its id"),
    number("eventual_list_s", 0.0, "how long after its creation a machine is missing from lists"),
    number("deleted_still_listed_s", 0.0, "how long a deleted machine stays in lists, shown as it was"),
    number("deleted_readable_s", 86_400.0, "how long a deleted machine can still be read by its id"),
    # Money.
    number("starting_credit_usd", 100.0, "the credit of an account made after this is set"),
    choice("billing_start", ("running", "ordered"), "when a machine's billing starts"),
    choice("billing_stop", ("requested", "deleted"), "whether billing stops when deletion is asked for or done"),
    flag("offline_billing", True, "whether a machine that is offline is charged"),
    choice("low_balance_action", ("delete", "nothing"), "what happens to a machine at a tick without balance"),
)  # fmt: skip


class Faults:
    """The knobs of one world and their present settings."""

    def __init__(self, seed: int, knobs: Iterable[Knob] = COMMON_KNOBS) -> None:
        self._random = random.Random(f"faults:{seed}")
        self._knobs: dict[str, Knob] = {}
        self._settings: dict[str, Setting] = {}
        self.declare(knobs)

    def declare(self, knobs: Iterable[Knob]) -> None:
        """Add knobs; a provider's simulator brings its own. Declaring the same knob again changes nothing."""
        for knob in knobs:
            known = self._knobs.setdefault(knob.name, knob)
            if known != knob:
                raise ValueError(f"two knobs are called {knob.name}")
            self._settings.setdefault(knob.name, knob.default)

    def set(self, **settings: Any) -> None:
        """Turn knobs, all or none. Raises UnknownKnob or BadSetting."""
        self.apply(settings)

    def apply(self, settings: Mapping[str, Any]) -> None:
        """Turn knobs, all or none; None puts a knob back to its default. Raises UnknownKnob or BadSetting."""
        read = {name: _read(self._knob(name), value) for name, value in settings.items()}
        self._settings.update(read)

    def reset(self) -> None:
        """Put every knob back to its default."""
        self._settings = {name: knob.default for name, knob in self._knobs.items()}

    def fires(self, name: str, operation: str) -> bool:
        """Say whether a chance hits this call, using up its count. Draws a random number only for a real chance."""
        rules = self._settings[name]
        assert isinstance(rules, tuple), f"{name} is not a chance"
        hit = False
        left: list[Rule] = []
        for rule in rules:
            assert isinstance(rule, Rule), f"{name} is not a chance"
            kept, fired = self._try(rule, operation) if not hit else (rule, False)
            hit = hit or fired
            if kept is not None:
                left.append(kept)
        self._settings[name] = tuple(left)
        return hit

    def number(self, name: str) -> float:
        value = self._settings[name]
        assert isinstance(value, float), f"{name} is not a number"
        return value

    def flag(self, name: str) -> bool:
        value = self._settings[name]
        assert isinstance(value, bool), f"{name} is not a flag"
        return value

    def choice(self, name: str) -> str:
        value = self._settings[name]
        assert isinstance(value, str), f"{name} is not a choice"
        return value

    def words(self, name: str) -> tuple[str, ...]:
        value = self._settings[name]
        assert isinstance(value, tuple), f"{name} holds no words"
        return tuple(str(word) for word in value)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return every knob with its kind, present value and meaning, as JSON values."""
        return {
            name: {
                "kind": knob.kind.value,
                "value": _as_json(self._settings[name]),
                "doc": knob.doc,
                **({"choices": list(knob.choices)} if knob.choices else {}),
            }
            for name, knob in sorted(self._knobs.items())
        }

    def _knob(self, name: str) -> Knob:
        try:
            return self._knobs[name]
        except KeyError:
            raise UnknownKnob(f"There is no knob {name!r}. Known: {', '.join(sorted(self._knobs))}.") from None

    def _try(self, rule: Rule, operation: str) -> tuple[Rule | None, bool]:
        """Return what is left of a rule after this call, and whether it fired."""
        if not rule.matches(operation):
            return rule, False
        if rule.skip:
            return replace(rule, skip=rule.skip - 1), False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return rule, False
        if rule.count is None:
            return rule, True
        return (replace(rule, count=rule.count - 1) if rule.count > 1 else None), True


def _read(knob: Knob, value: Any) -> Setting:
    if value is None:
        return knob.default
    match knob.kind:
        case Kind.CHANCE:
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(rule for rule in (_rule(knob, item) for item in items) if rule.probability > 0)
        case Kind.NUMBER if _is_number(value) and value >= 0:
            return float(value)
        case Kind.FLAG if isinstance(value, bool):
            return value
        case Kind.CHOICE if value in knob.choices:
            return str(value)
        case Kind.WORDS if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return tuple(value)
    raise BadSetting(f"{knob.name} takes {_what_it_takes(knob)}, not {value!r}.")


def _rule(knob: Knob, value: Any) -> Rule:
    if isinstance(value, Rule):
        return value
    if isinstance(value, bool):
        return Rule(probability=float(value))
    if _is_number(value) and 0 <= value <= 1:
        return Rule(probability=float(value))
    if isinstance(value, Mapping) and set(value) <= {field.name for field in fields(Rule)}:
        rule = Rule(**value)
        if _is_sound(rule):
            return replace(rule, probability=float(rule.probability))
    raise BadSetting(f"{knob.name} takes {_what_it_takes(knob)}, not {value!r}.")


def _is_sound(rule: Rule) -> bool:
    return (
        isinstance(rule.operation, str)
        and _is_number(rule.probability)
        and 0 <= rule.probability <= 1
        and (rule.count is None or (_is_count(rule.count) and rule.count > 0))
        and _is_count(rule.skip)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _what_it_takes(knob: Knob) -> str:
    return {
        Kind.CHANCE: "a probability from 0 to 1, or {operation, probability, count, skip}, or a list of these",
        Kind.NUMBER: "a number of at least 0",
        Kind.FLAG: "true or false",
        Kind.CHOICE: f"one of {', '.join(knob.choices)}",
        Kind.WORDS: "a list of words",
    }[knob.kind]


def _as_json(setting: Setting) -> Any:
    if isinstance(setting, tuple):
        return [asdict(item) if isinstance(item, Rule) else item for item in setting]
    return setting
