"""The log of a job on this machine: no byte lost or doubled, whatever cut it off; lines and characters never split."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.logfile import (
    MAX_LINE_BYTES,
    JobLog,
    LogFollower,
    LogMark,
    index_path,
    iter_lines,
    read,
    read_marks,
    tail_lines,
)
from gputui.model.errors import StoreError, StoreReadOnly

MIXED = "größe 模型 🚀 one\ntwo\n\nthree 模\n".encode()


@pytest.fixture
def log(tmp_path: Path) -> JobLog:
    log = JobLog(tmp_path / "logs" / "job1.log")
    log.begin("p1", now_ms=1_000)
    return log


def test_appends_go_on_where_the_last_one_ended(log: JobLog) -> None:
    assert (log.size, log.remote_offset("p1")) == (0, 0)
    log.append("p1", 0, b"abc")
    log.append("p1", 3, b"")
    log.append("p1", 3, b"\0\xff")
    assert log.path.read_bytes() == b"abc\0\xff"
    assert log.remote_offset("p1") == 5


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_gap_and_overlap_are_refused(log: JobLog, offset: int) -> None:
    log.append("p1", 0, b"abc")
    with pytest.raises(StoreError, match="goes on at byte 3"):
        log.append("p1", offset, b"x")
    assert log.path.read_bytes() == b"abc"


def test_failover_writes_one_log_with_two_bases(log: JobLog) -> None:
    log.append("p1", 0, b"first\n")
    log.begin("p2", now_ms=9_000)
    assert log.remote_offset("p2") == 0
    log.append("p2", 0, b"second\n")
    assert log.path.read_bytes() == b"first\nsecond\n"
    assert log.remote_offset("p2") == 7
    with pytest.raises(StoreError, match="closed"):
        log.append("p1", 6, b"late")
    assert [(mark.placement, mark.byte) for mark in read_marks(log.path)] == [("p1", 0), ("p2", 6)]


def test_another_process_goes_on_from_the_files_alone(log: JobLog) -> None:
    log.append("p1", 0, b"first\n")
    log.begin("p2", now_ms=2_000)
    log.append("p2", 0, b"sec")
    again = JobLog(log.path)
    again.begin("p2", now_ms=3_000)
    assert again.remote_offset("p2") == 3
    again.append("p2", 3, b"ond\n")
    assert log.path.read_bytes() == b"first\nsecond\n"


def test_unknown_placement_is_refused(log: JobLog) -> None:
    with pytest.raises(StoreError, match="knows no placement p9"):
        log.remote_offset("p9")


def test_write_cut_off_in_the_middle_makes_the_next_offset_smaller(log: JobLog) -> None:
    log.append("p1", 0, b"abc")
    with log.path.open("ab") as file:
        file.write(b"de")  # of a payload "defg", then the process died
    again = JobLog(log.path)
    assert again.remote_offset("p1") == 5
    again.append("p1", 5, b"fg")
    assert log.path.read_bytes() == b"abcdefg"


def test_index_line_cut_off_loses_only_itself(log: JobLog) -> None:
    log.append("p1", 0, b"abc")
    with index_path(log.path).open("ab") as file:
        file.write(b'{"byte": 3, "at_m')
    again = JobLog(log.path)
    again.begin("p2", now_ms=5_000)
    assert JobLog(log.path).remote_offset("p2") == 0
    assert [mark.placement for mark in read_marks(log.path)] == ["p1", "p2"]


def test_full_disk_says_so_and_doubles_nothing(log: JobLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("p1", 0, b"abc")
    write = os.write
    room = [2]

    def write_little(descriptor: int, data: Any) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write_little)
    with pytest.raises(StoreError, match="No space left on device"):
        log.append("p1", 3, b"defgh")
    monkeypatch.undo()
    assert log.remote_offset("p1") == 5
    log.append("p1", 5, b"fgh")
    assert log.path.read_bytes() == b"abcdefgh"


def test_forbidden_folder_is_read_only(log: JobLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreReadOnly, match="Read-only file system"):
        log.append("p1", 0, b"x")


def test_times_are_noted_every_few_seconds_and_gaps_are_marked(log: JobLog) -> None:
    for second in range(12):
        log.append("p1", second, b"x", now_ms=10_000 + second * 1000)
    log.mark_gap("the machine vanished", now_ms=30_000)
    assert read_marks(log.path) == [
        LogMark(0, 1_000, placement="p1"),
        LogMark(0, 10_000),
        LogMark(5, 15_000),
        LogMark(10, 20_000),
        LogMark(12, 30_000, gap="the machine vanished"),
    ]


def test_files_are_private(log: JobLog) -> None:
    log.append("p1", 0, b"x")
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert index_path(log.path).stat().st_mode & 0o777 == 0o600


def test_absent_log_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "none.log"
    assert read(path, 0, 10) == b""
    assert list(iter_lines(path)) == []
    assert tail_lines(path, 5) == []
    assert LogFollower(path).read_lines() == []
    assert read_marks(path) == []


def test_read_takes_a_window(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"0123456789")
    assert read(path, 3, 4) == b"3456"
    assert read(path, 8, 10) == b"89"
    assert read(path, 20, 10) == b""


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 10])
@pytest.mark.parametrize("end", ["", "\n"])
def test_tail_gives_the_last_lines(tmp_path: Path, count: int, end: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(f"one\ntwo\n\nfour 模{end}".encode())
    assert tail_lines(path, count) == ["one", "two", "", "four 模"][max(0, 4 - count) :][: count or 0]


def test_tail_of_a_long_log_is_right_across_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [f"line {number} " + "é" * (number % 97) for number in range(30_000)]
    path.write_text("\n".join(lines) + "\n")
    for count in (1, 7, 5_000, 29_999, 30_000, 40_000):
        assert tail_lines(path, count) == lines[-count:]


def test_follower_splits_neither_lines_nor_characters(tmp_path: Path) -> None:
    """Whatever the writer's pieces are, the lines come whole and once."""
    path = tmp_path / "a.log"
    for size in (1, 2, 3, 5, 7, 1000):
        path.write_bytes(b"")
        follower = LogFollower(path)
        seen: list[str] = []
        for start in range(0, len(MIXED), size):
            with path.open("ab") as file:
                file.write(MIXED[start : start + size])
            seen += follower.read_lines()
            assert follower.offset <= path.stat().st_size
        assert seen == MIXED.decode().split("\n")[:-1]
        assert follower.rest() == ""
        assert follower.offset == len(MIXED)


def test_follower_keeps_an_unfinished_line_back(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntw")
    follower = LogFollower(path)
    assert follower.read_lines() == ["one"]
    assert follower.read_lines() == []
    assert (follower.rest(), follower.offset) == ("tw", 4)
    with path.open("ab") as file:
        file.write(b"o\n")
    assert follower.read_lines() == ["two"]


def test_follower_starts_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nthree\n")
    assert LogFollower(path, 4).read_lines() == ["two", "three"]


def test_line_without_an_end_comes_in_pieces_of_whole_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    text = "x" + "模" * 60_000
    follower = LogFollower(path)
    pieces: list[str] = []
    path.write_bytes(text.encode())
    while lines := follower.read_lines():
        pieces += lines
    assert len(pieces) > 1
    assert "".join(pieces) + follower.rest() == text
    assert all(len(piece.encode()) <= MAX_LINE_BYTES for piece in pieces)


def test_binary_output_does_not_end_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"\xff\xfe\0\n\x80ok\n")
    assert list(iter_lines(path)) == ["\ufffd\ufffd\0", "\ufffdok"]


def test_iter_lines_includes_the_unfinished_last_one(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(MIXED + b"rest")
    assert list(iter_lines(path)) == [*MIXED.decode().split("\n")[:-1], "rest"]
    assert list(iter_lines(path, MIXED.index(b"two"))) == ["two", "", "three 模", "rest"]
