"""Lines of growing files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gputui.tui import log_index
from gputui.tui.log_index import LogIndex


def _lines(index: LogIndex) -> list[bytes]:
    return [index.line(number) for number in range(index.line_count)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"\n\n", [b"", b""]),
        (b"one\ntwo\nthree", [b"one", b"two", b"three"]),
    ],
)
def test_small_files(tmp_path: Path, content: bytes, lines: list[bytes]) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    index = LogIndex(path)
    index.extend()
    assert _lines(index) == lines
    assert index.line(-1) == b""
    assert index.line(len(lines)) == b""


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    index = LogIndex(tmp_path / "none.log")
    assert index.extend() is False
    assert index.line_count == 0


@pytest.mark.parametrize("seed", range(6))
def test_any_growth_gives_the_lines_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(log_index, "BLOCK_BYTES", 64)
    monkeypatch.setattr(log_index, "_CACHED_BLOCKS", 2)
    chance = random.Random(seed)
    path = tmp_path / "a.log"
    content = b""
    index = LogIndex(path)
    for _ in range(40):
        part = b"".join(
            chance.choice([b"x" * chance.randrange(200), b"\n", b"y\n"]) for _ in range(chance.randrange(6))
        )
        content += part
        path.write_bytes(content)
        index.extend(max_bytes=chance.choice([None, 50]))
    while index.extend():
        pass
    expected = content.split(b"\n")
    assert _lines(index) == (expected[:-1] if content.endswith(b"\n") or not content else expected)
    assert index.size == len(content)


def test_blocks_that_end_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_index, "BLOCK_BYTES", 8)
    path = tmp_path / "a.log"
    path.write_bytes(b"1234567\nabcdefg\n")
    index = LogIndex(path)
    index.extend()
    assert _lines(index) == [b"1234567", b"abcdefg"]


def test_a_file_that_became_shorter_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"old one\nold two\n")
    index = LogIndex(path)
    index.extend()
    path.write_bytes(b"new\n")
    assert index.extend()
    assert _lines(index) == [b"new"]


def test_an_endless_line_is_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    bar = b"".join(b"%3d%%\r" % (number % 101) for number in range(200_000)) + b"done"
    path.write_bytes(b"before\n" + bar + b"\nafter\n" + b"z" * 500_000)
    index = LogIndex(path)
    index.extend()
    assert index.line_count == 4
    assert index.line(1).endswith(b"\rdone")
    assert index.line(2) == b"after"
    assert index.line(3) == b"z" * log_index.MAX_LINE_BYTES


def test_a_million_lines_cost_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("wb") as file:
        for start in range(0, 1_000_000, 10_000):
            file.write(b"".join(b"step %7d loss 0.123\n" % number for number in range(start, start + 10_000)))
    index = LogIndex(path)
    index.extend()
    assert index.line_count == 1_000_000
    assert index.line(777_777) == b"step  777777 loss 0.123"
    assert len(index._ends) < 500
