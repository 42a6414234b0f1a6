"""What commands say: one document of data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import click

from gputui.cli.table import Column, printable, render_table
from gputui.model.errors import ConfirmationNeeded

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def emit(data: Any, *, as_json: bool, human: Callable[[], str]) -> None:
    """Print `data` as the one JSON document of a command, or what `human` returns."""
    if as_json:
        from gputui.core.shapes import ok_envelope

        emit_document(ok_envelope(data))
    else:
        click.echo(human())


def emit_document(document: dict[str, Any]) -> None:
    """Print a JSON document, indented where a person reads it."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def say(text: str) -> None:
    """Tell something on stderr, line by line, with nothing in it that could steer the terminal."""
    for line in text.split("\n"):
        click.echo(printable(line), err=True)


def warn(text: str) -> None:
    """Tell on stderr that something is not as it should be."""
    _say_with("warning:", "yellow", text)


def say_error(text: str, hint: str | None = None) -> None:
    """Tell on stderr what went wrong and, on a line of its own, what to do about it."""
    _say_with("error:", "red", text)
    if hint:
        say(hint)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, empty: str) -> str:
    """Return a table as wide as the terminal, uncut where stdout is none; `empty` when there are no rows."""
    if not rows:
        return empty
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return render_table(columns, rows, width=width)


def require_yes(question: str, *, yes: bool) -> None:
    """Ask before something is spent or destroyed. Raises ConfirmationNeeded when nobody can be asked, Abort for a no."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfirmationNeeded(f"{question} Nobody can be asked here.", hint="Add --yes to do it.")
    click.confirm(printable(question), default=False, abort=True, err=True)


def _say_with(label: str, colour: str, text: str) -> None:
    first, *rest = text.split("\n")
    shown = click.style(label, fg=colour, bold=True) if _colourful(sys.stderr) else label
    click.echo(f"{shown} {printable(first)}", err=True)
    for line in rest:
        say(line)


def _colourful(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
