"""ssh-keys: which key is where, add, delete, on simulated providers over loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gputui.local.ssh import ensure_key_pair, fingerprint

pytestmark = pytest.mark.usefixtures("simulated")

TWO = ("--provider", "huddle", "--provider", "lambda")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return new_key(tmp_path / "one", "me@laptop")


def new_key(folder: Path, comment: str) -> Path:
    path = folder / "id_ed25519.pub"
    folder.mkdir()
    path.write_text(ensure_key_pair(folder, comment).public_key + "\n")
    return path


def test_one_key_at_two_providers_is_one_row(cli: Any, key_file: Path, tmp_path: Path) -> None:
    added = cli("ssh-keys", "add", *TWO, "--file", str(key_file), "--json").data
    assert [(item["provider"], item["name"], item["was_there"]) for item in added] == [
        ("huddle", "me@laptop", False),
        ("lambda", "me@laptop", False),
    ]
    other = new_key(tmp_path / "two", "other")
    assert cli("ssh-keys", "add", "--provider", "lambda", "--file", str(other), "--name", "mine").code == 0
    rows = cli("ssh-keys", "list", "--json").data
    assert [(row["name"], row["providers"]) for row in rows] == [
        ("me@laptop", ["huddle", "lambda"]),
        ("mine", ["lambda"]),
    ]
    assert rows[0]["fingerprint"] == fingerprint(key_file.read_text())
    title, mine, *_ = cli("ssh-keys", "list").out.splitlines()
    assert title.split() == ["NAME", "FINGERPRINT", "HUDDLE", "RUNPOD", "LAMBDA", "TENSORDOCK", "MOCK"]
    assert mine.split() == ["me@laptop", rows[0]["fingerprint"], "yes", "–", "yes", "–", "–"]


def test_adding_a_key_again_adds_nothing(cli: Any, key_file: Path) -> None:
    cli("ssh-keys", "add", "--provider", "huddle", "--file", str(key_file))
    again = cli("ssh-keys", "add", *TWO, "--file", str(key_file), "--name", "another name", "--json").data
    assert {item["provider"]: item["was_there"] for item in again} == {"huddle": True, "lambda": False}
    [row] = cli("ssh-keys", "list", "--json").data
    assert len(row["registrations"]) == 2


def test_without_a_provider_it_is_added_wherever_it_can_be(cli: Any, key_file: Path) -> None:
    added = cli("ssh-keys", "add", "--file", str(key_file), "--json").data
    assert {item["provider"] for item in added} >= {"huddle", "runpod", "lambda", "tensordock"}


def test_the_private_half_is_refused_and_not_shown(cli: Any, key_file: Path) -> None:
    private = key_file.with_suffix("")
    said = cli("ssh-keys", "add", "--file", str(private), "--json")
    assert (said.code, said.error["code"]) == (2, "usage")
    assert f"{private}.pub" in said.error["error"]
    assert private.read_text().splitlines()[1] not in said.out + said.err


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "not a key", "ssh-ed25519 AAAA\nssh-ed25519 AAAA"])
def test_what_is_no_public_key_is_refused(cli: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.pub"
    path.write_text(text)
    assert cli("ssh-keys", "add", "--file", str(path), "--json").error["code"] == "usage"
    assert cli("ssh-keys", "add", "--file", str(tmp_path / "none"), "--json").code == 3


def test_one_provider_that_refuses_does_not_keep_the_other_from_it(
    cli: Any, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", "fake-wrong-key")
    said = cli("ssh-keys", "add", *TWO, "--file", str(key_file), "--json")
    assert (said.code, [item["provider"] for item in said.data]) == (4, ["lambda"])
    assert "huddle: " in said.err
    listed = cli("ssh-keys", "list", *TWO)
    assert listed.code == 4
    assert listed.out.splitlines()[1].split()[-2:] == ["?", "yes"]
    both = cli("ssh-keys", "add", "--provider", "huddle", "--file", str(key_file), "--json")
    assert (both.code, both.error["code"]) == (4, "auth")


@pytest.mark.parametrize("by", ["name", "fingerprint", "id"])
def test_a_key_is_deleted_wherever_it_is(cli: Any, key_file: Path, by: str) -> None:
    said = cli("ssh-keys", "add", *TWO, "--file", str(key_file), "--json")
    assert said.code == 0, said.err
    added = said.data[0]
    asked = cli("ssh-keys", "delete", added[by], "--json")
    assert (asked.code, asked.error["code"]) == (2, "confirmation_needed")
    gone = cli("ssh-keys", "delete", added[by][:30], "--yes", "--json").data
    assert gone["removed_from"] == ["huddle", "lambda"]
    assert cli("ssh-keys", "list", "--json").data == []


def test_a_key_can_be_deleted_at_one_provider_only(cli: Any, key_file: Path) -> None:
    added = cli("ssh-keys", "add", *TWO, "--file", str(key_file))
    assert added.code == 0, added.err
    gone = cli("ssh-keys", "delete", "me@laptop", "--provider", "lambda", "--yes")
    assert gone.out == "Gone at lambda.\n", gone.err
    [row] = cli("ssh-keys", "list", "--json").data
    assert row["providers"] == ["huddle"]
    assert cli("ssh-keys", "delete", "me@laptop", "--provider", "lambda", "--yes").code == 3


def test_two_keys_of_one_name_are_told_apart_by_fingerprint(cli: Any, key_file: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "two", "me@laptop")
    for path in (key_file, other):
        cli("ssh-keys", "add", "--provider", "huddle", "--file", str(path))
    said = cli("ssh-keys", "delete", "me@laptop", "--yes", "--json")
    assert said.error["code"] == "usage"
    assert fingerprint(other.read_text()) in said.error["error"]
    assert cli("ssh-keys", "delete", fingerprint(other.read_text()), "--yes").code == 0
    assert [row["fingerprint"] for row in cli("ssh-keys", "list", "--json").data] == [fingerprint(key_file.read_text())]
