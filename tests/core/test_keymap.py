"""A user's own keys: what is taken, and what is told."""

from __future__ import annotations

import pytest

from gputui.core.keymap import check_keymap, key_name

PLACES = {
    "the list": {"list.up": "up,k", "list.filter": "slash", "job.stop": "x", "app.quit": "ctrl+q", "app.help": "f1"},
    "the review": {"review.deploy": "ctrl+j", "app.quit": "ctrl+q", "app.help": "f1"},
}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("f", "f"),
        ("F", "F"),
        ("?", "question_mark"),
        ("/", "slash"),
        ("-", "minus"),
        ("+", "plus"),
        ("$", "dollar_sign"),
        (" f5 ", "f5"),
        ("ctrl+x", "ctrl+x"),
        ("ctrl+shift+left", "ctrl+shift+left"),
        ("slash", "slash"),
        ("space", "space"),
        ("ctl+x", None),
        ("f99", None),
        ("", None),
        ("\x1b", None),
    ],
)
def test_keys_are_written_as_characters_or_names(written: str, name: str | None) -> None:
    assert key_name(written) == name


def test_keys_that_are_free_are_taken() -> None:
    keymap, problems = check_keymap({"list.filter": "f, ?", "list.up": "k,up"}, PLACES)
    assert problems == []
    assert keymap == {"list.filter": "f,question_mark", "list.up": "k,up"}


def test_two_commands_may_change_places() -> None:
    keymap, problems = check_keymap({"list.filter": "x", "job.stop": "/"}, PLACES)
    assert problems == []
    assert keymap == {"list.filter": "x", "job.stop": "slash"}


def test_every_problem_is_told_at_once_and_the_rest_is_taken() -> None:
    keymap, problems = check_keymap(
        {
            "list.fliter": "f",
            "list.filter": "ctl+f",
            "job.stop": "escape",
            "list.up": "ctrl+h",
            "app.help": "f2",
        },
        PLACES,
    )
    assert keymap == {"app.help": "f2"}
    assert problems == [
        "list.fliter: there is no such command, did you mean list.filter?",
        "list.filter: there is no key 'ctl+f'.",
        "job.stop: escape is reserved.",
        "list.up: ctrl+h cannot be told from another key by a terminal.",
    ]


def test_a_key_that_means_something_else_there_is_refused() -> None:
    keymap, problems = check_keymap({"list.filter": "x"}, PLACES)
    assert keymap == {}
    assert problems == ["list.filter: x already is job.stop in the list."]


def test_of_two_wishes_for_one_key_the_first_wins() -> None:
    keymap, problems = check_keymap({"list.filter": "f", "job.stop": "f"}, PLACES)
    assert keymap == {"list.filter": "f"}
    assert problems == ["job.stop: f already is list.filter in the list."]


def test_the_same_key_in_two_places_is_no_clash() -> None:
    keymap, problems = check_keymap(
        {"review.deploy": "ctrl+x", "job.stop": "ctrl+x"}, PLACES, guarded={"review.deploy"}
    )
    assert problems == []
    assert set(keymap) == {"review.deploy", "job.stop"}


@pytest.mark.parametrize("key", ["d", "D", "space", "!", "slash"])
def test_what_spends_is_never_on_a_bare_key(key: str) -> None:
    keymap, problems = check_keymap({"review.deploy": key}, PLACES, guarded={"review.deploy"})
    assert keymap == {}
    assert "spends money" in problems[0]


def test_a_command_keeps_its_own_reserved_key() -> None:
    assert check_keymap({"app.quit": "ctrl+q,f10"}, PLACES) == ({"app.quit": "ctrl+q,f10"}, [])
