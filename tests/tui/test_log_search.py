"""Which lines a word is found in."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputui.tui.log_search import LogSearch

LINES = (
    "Größe 12",
    "GRÖSSE 13",
    "größe 14",
    "old größe\rnew",
    "gr\x1b[31möße\x1b[0m 15",
    "Ã¶ is no ö",
)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("größe", [0, 2, 4]),
        ("Größe", [0]),
        ("grö", [0, 2, 4]),
        ("Ö", [1]),
        ("new", [3]),
        ("ã", []),
    ],
)
def test_case_is_ignored_of_the_letters_a_to_z_alone(word: str, found: list[int], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(LINES), encoding="utf-8", newline="")
    search = LogSearch(word)
    search.take(search.scan(log, max_bytes=1_000_000))
    assert list(search.lines) == found
