"""`gputui demo`."""

from __future__ import annotations

import sys

import click

from gputui.model.errors import UsageError


@click.command()
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
@click.pass_context
def demo(ctx: click.Context, no_mouse: bool) -> None:
    """Open the terminal interface on a simulated world: no account, no network, nothing is kept."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The demo needs a terminal.", hint="On the command line, try: gputui pricing")
    from gputui.cli.ui import open_demo

    ctx.exit(open_demo(mouse=not no_mouse))
