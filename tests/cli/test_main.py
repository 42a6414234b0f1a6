"""The frame of the command line: help, errors into words and exit codes, and what happens when the unexpected does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from gputui import __version__
from gputui.cli import main as main_module
from gputui.cli.main import cli as root
from gputui.core.desk import Desk

COMMANDS = root.list_commands(click.Context(root))


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return every command below a group with the words that call it."""
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


def test_help_lists_every_command_once(cli: Any) -> None:
    said = cli("--help")
    assert said.code == 0
    listed = [line.split()[0] for line in said.out.splitlines() if line.startswith("  ") and line.split()]
    assert [name for name in listed if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize("words", [words for words, _ in every_command(root)], ids=" ".join)
def test_every_command_explains_itself(cli: Any, words: tuple[str, ...]) -> None:
    said = cli(*words, "--help")
    assert said.code == 0
    assert f"Usage: gputui {' '.join(words)}" in said.out


def test_commands_that_only_read_offer_json() -> None:
    talks = {("agent", "run"), ("demo",), ("sim",), ("machines", "ssh")}
    for words, command in every_command(root):
        if not isinstance(command, click.Group) and words not in talks:
            assert "--json" in {option for parameter in command.params for option in parameter.opts}, words


def test_version(cli: Any) -> None:
    assert cli("--version").out.strip() == f"gputui, version {__version__}"


def test_without_a_terminal_a_bare_call_shows_help_and_says_what_to_do(cli: Any) -> None:
    said = cli()
    assert said.code == 2
    assert "Usage: gputui" in said.out
    assert "name a command" in said.err


def test_an_unknown_command_is_a_usage_error(cli: Any) -> None:
    said = cli("jbos")
    assert said.code == 2
    assert "jbos" in said.err
    assert said.out == ""


def test_a_missing_option_with_json_is_one_document(cli: Any) -> None:
    said = cli("run", "--json")
    assert said.code == 2
    assert set(said.error) == {"status", "error", "code"}
    assert said.error["code"] == "usage"
    assert "--gpu" in said.error["error"]


def test_a_profile_has_its_own_state(cli: Any, home: Path) -> None:
    assert cli("--profile", "other", "jobs", "list", "--json").data == []
    assert (home / "state" / "profiles" / "other" / "gputui.db").exists()
    assert not (home / "state" / "gputui.db").exists()


def test_a_bad_profile_name_is_a_usage_error(cli: Any) -> None:
    said = cli("--profile", "Not A Name", "jobs", "list")
    assert said.code == 2
    assert "profile" in said.err


def test_an_unexpected_error_is_one_sentence_and_keeps_its_traceback(
    cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Desk, "jobs", explode)
    said = cli("jobs", "list")
    crash = home / "state" / "crash.log"
    assert said.code == 1
    assert "RuntimeError" in said.err
    assert str(crash) in said.err
    assert "Traceback" not in said.err
    assert "boom" in crash.read_text()
    assert crash.stat().st_mode & 0o777 == 0o600


def test_the_traceback_goes_to_the_profile_that_was_named(
    cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(main_module.importlib, "import_module", explode)
    cli("--profile=other", "jobs", "list")
    assert "boom" in (home / "state" / "profiles" / "other" / "crash.log").read_text()


def test_a_traceback_that_cannot_be_kept_is_shown(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("boom")

    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("GPUTUI_HOME", str(blocker / "below"))
    monkeypatch.setattr(main_module.importlib, "import_module", explode)
    said = cli("jobs", "list")
    assert said.code == 1
    assert "Traceback" in said.err


def test_interrupting_a_command_is_no_crash(cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Desk, "guard", interrupt)
    said = cli("jobs", "list")
    assert said.code == 130
    assert not (home / "state" / "crash.log").exists()


def test_a_store_from_a_newer_version_is_left_alone(cli: Any, desk: Desk) -> None:
    desk.store.read("PRAGMA user_version = 999")
    before = desk.paths.database.read_bytes()
    said = cli("jobs", "list", "--json")
    assert said.code == 1
    assert said.error["code"] == "store_too_new"
    assert "newer" in said.error["error"]
    assert desk.paths.database.read_bytes() == before


def test_a_state_folder_that_cannot_be_written_is_said(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocker = tmp_path / "a-file"
    blocker.write_text("in the way")
    monkeypatch.setenv("GPUTUI_HOME", str(blocker / "below"))
    said = cli("jobs", "list", "--json")
    assert said.code == 1
    assert said.error["code"] == "store_read_only"
    assert "GPUTUI_HOME" in said.error["error"]


def test_a_broken_configuration_names_the_field(cli: Any, home: Path) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "config.toml").write_text('[offers]\nmax_age_s = "soon"\n')
    said = cli("pricing", "--json")
    assert said.code == 2
    assert said.error["code"] == "config"
    assert "offers.max_age_s" in said.error["error"]


def test_a_reader_that_leaves_is_no_error_message() -> None:
    lister = subprocess.Popen(
        [sys.executable, "-m", "gputui", "offers", "--limit", "0", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert lister.stdout is not None
    assert lister.stderr is not None
    lister.stdout.close()
    errors = lister.stderr.read()
    lister.stderr.close()
    assert lister.wait(timeout=60) == 1
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_stdout_is_one_json_document_and_talk_is_on_stderr(cli: Any) -> None:
    said = cli("pricing", "--json")
    assert json.loads(said.out)["status"] == "ok"
    assert "Asking Mock" in said.err
