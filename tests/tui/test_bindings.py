"""The table of keys."""

from __future__ import annotations

import re
from collections import Counter

from textual.binding import Binding

from gputui.tui import bindings

_NEVER_ALONE = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket"}


def _all() -> list[Binding]:
    return [binding for table in bindings.TABLES for binding in table if isinstance(binding, Binding)]


def test_every_binding_has_an_id_a_word_and_a_sentence() -> None:
    for binding in _all():
        assert binding.id is not None
        assert re.fullmatch(r"[a-z]+\.[a-z-]+", binding.id)
        assert binding.description
        assert binding.tooltip
    assert [ident for ident, count in Counter(binding.id for binding in _all()).items() if count > 1] == []


def test_no_key_means_two_things_in_one_table() -> None:
    for table in bindings.TABLES:
        keys = Counter(key for binding in table if isinstance(binding, Binding) for key in binding.key.split(","))
        assert [key for key, count in keys.items() if count > 1] == []


def test_keys_that_terminals_send_for_others_are_not_used() -> None:
    assert not _NEVER_ALONE & {key for binding in _all() for key in binding.key.split(",")}


def test_only_the_review_spends() -> None:
    spending = [binding.id for binding in _all() if "spends" in binding.tooltip]
    assert spending == ["review.deploy"]
