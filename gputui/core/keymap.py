"""A user's own keys, checked before they are used. Pure.

A key is written as one character or as its name (`f5`, `ctrl+x`, `question_mark`). What is wrong is told in one list; the
bindings it concerns keep their own keys.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from difflib import get_close_matches

# Keys a user must always be able to rely on.
RESERVED = frozenset({"ctrl+c", "ctrl+q", "escape", "tab", "shift+tab", "enter"})
# Terminals send these for enter, tab, backspace and escape.
INDISTINCT = frozenset({"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket"})
_NAMED = frozenset(
    ["up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete", "backspace", "space"]
    + ["enter", "tab", "escape"]
    + [f"f{number}" for number in range(1, 25)]
)
_MODIFIERS = ("ctrl", "shift", "alt")
_SHORT_NAMES = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def key_name(written: str) -> str | None:
    """Return a key's name as the interface knows it ("?" is "question_mark"), None when there is no such key."""
    *modifiers, key = written.strip().split("+") if len(written.strip()) > 1 else (written.strip(),)
    if any(modifier not in _MODIFIERS for modifier in modifiers):
        return None
    if len(key) == 1:
        key = _character_name(key) if key.isprintable() and key != " " else ""
    elif key not in _NAMED and key not in _PUNCTUATION_NAMES:
        key = ""
    return "+".join([*modifiers, key]) if key else None


def _character_name(character: str) -> str:
    if character.isalnum():
        return character
    name = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    return _SHORT_NAMES.get(name, name)


_PUNCTUATION_NAMES = frozenset(_character_name(character) for character in _PUNCTUATION)


def check_keymap(
    wanted: Mapping[str, str],
    places: Mapping[str, Mapping[str, str]],
    *,
    guarded: Collection[str] = (),
) -> tuple[dict[str, str], list[str]]:
    """Return the part of a user's keymap that can be used, and a sentence for each part that cannot.

    `wanted` maps binding id -> keys parted by commas. `places` maps a place of the interface -> the ids that work there
    -> their own keys. `guarded` ids spend or destroy: they are never on a bare character.
    """
    own = {ident: keys for bindings in places.values() for ident, keys in bindings.items()}
    problems: list[str] = []
    keymap: dict[str, list[str]] = {}
    for ident, written in wanted.items():
        problem, keys = _read(ident, written, own, guarded)
        if problem:
            problems.append(f"{ident}: {problem}")
        else:
            keymap[ident] = keys
    while (clash := _clash(keymap, places)) is not None:
        ident, other, key, place = clash
        problems.append(f"{ident}: {key} already is {other} in {place}.")
        del keymap[ident]
    return {ident: ",".join(keys) for ident, keys in keymap.items()}, problems


def _read(ident: str, written: str, own: Mapping[str, str], guarded: Collection[str]) -> tuple[str | None, list[str]]:
    if ident not in own:
        close = get_close_matches(ident, own, n=1, cutoff=0.6)
        return "there is no such command" + (f", did you mean {close[0]}?" if close else "."), []
    keys: list[str] = []
    for part in written.split(","):
        key = key_name(part)
        if key is None:
            return f"there is no key {part.strip()!r}.", []
        if key in INDISTINCT:
            return f"{key} cannot be told from another key by a terminal.", []
        if key in RESERVED and key not in own[ident].split(","):
            return f"{key} is reserved.", []
        if ident in guarded and (len(key) == 1 or key in _PUNCTUATION_NAMES or key == "space"):
            return "this spends money, so its key needs ctrl or is a function key.", []
        keys.append(key)
    return None, keys


def _clash(keymap: dict[str, list[str]], places: Mapping[str, Mapping[str, str]]) -> tuple[str, str, str, str] | None:
    """Return the last id of the user's whose key means something else in a place: (id, the other id, key, place)."""
    for ident in reversed(keymap):
        for place, bindings in places.items():
            if ident not in bindings:
                continue
            for other, keys in bindings.items():
                if other == ident:
                    continue
                for key in keymap.get(other, keys.split(",")):
                    if key in keymap[ident] and key not in bindings[ident].split(","):
                        return ident, other, key, place
    return None
