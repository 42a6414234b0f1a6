"""The `gputui` command: finds the command asked for, imports only that one, and turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

import click

from gputui import __version__
from gputui.cli.exits import ExitCode, exit_code_of
from gputui.cli.output import emit_document, say, say_error
from gputui.model.errors import GputuiError, UsageError

# Heading -> command -> (where it is, what --help says of it). The help is here so that showing it imports nothing.
_COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Market": {
        "pricing": ("gputui.cli.pricing:pricing", "Prices by GPU model and provider."),
        "offers": ("gputui.cli.offers:offers", "Everything that can be rented now, cheapest first."),
        "route": ("gputui.cli.route:route", "What a job would run on and why; spends nothing."),
        "providers": ("gputui.cli.providers:providers", "Providers: usable or why not, and what each can do."),
    },
    "Work": {
        "run": ("gputui.cli.run:run", "Run a command on a rented GPU machine, or rent one to log in to."),
        "templates": (
            "gputui.cli.templates:templates",
            "What run is asked for with again and again: list, show, delete.",
        ),
        "jobs": ("gputui.cli.jobs:jobs", "Jobs: list, status, logs, events, stop."),
        "machines": ("gputui.cli.machines:machines", "What exists at the providers: list, log in, terminate."),
        "billing": ("gputui.cli.billing:billing", "What was spent, and credit left."),
    },
    "At the providers": {
        "volumes": ("gputui.cli.volumes:volumes", "Storage that outlives machines: list, create, delete."),
        "ssh-keys": ("gputui.cli.ssh_keys:ssh_keys", "Your public keys: which is where, add, delete."),
        "images": ("gputui.cli.places:images", "Disk images for virtual machines."),
        "regions": ("gputui.cli.places:regions", "Where machines stand."),
        "waitlist": ("gputui.cli.waitlist:waitlist", "Be told when a sold-out machine type is back."),
        "webhooks": ("gputui.cli.webhooks:webhooks", "Addresses that a provider calls."),
        "api-keys": ("gputui.cli.api_keys:api_keys", "Keys to your accounts: list, create, revoke."),
    },
    "Setup": {
        "auth": ("gputui.cli.auth:auth", "Keys of providers: keep, remove, show where from, test."),
        "agent": ("gputui.cli.agent:agent", "The background process that watches machines."),
        "doctor": ("gputui.cli.doctor:doctor", "Check this installation and say what is wrong."),
    },
    "Try": {
        "demo": ("gputui.cli.demo:demo", "The terminal interface on a simulated world: no account, no network."),
        "sim": ("gputui.cli.sim:sim", "Serve a simulated provider on this machine."),
    },
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in _COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in _COMMANDS.values():
            if cmd_name in commands:
                module_name, _, attribute = commands[cmd_name][0].partition(":")
                command: click.Command = getattr(importlib.import_module(module_name), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()], col_max=12)


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", metavar="NAME", help="Use another profile: its own configuration, state and keys.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal, so that it marks text as usual.")
@click.version_option(__version__, prog_name="gputui")
@click.pass_context
def cli(ctx: click.Context, profile: str | None, no_mouse: bool) -> None:
    """Every GPU cloud you have an account with, in one terminal.

    Without a command, opens the terminal interface.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(ctx.get_help())
        say("The terminal interface needs a terminal; here, name a command.")
        ctx.exit(ExitCode.USAGE)
    from gputui.cli.ui import open_tui

    ctx.exit(open_tui(profile, mouse=not no_mouse))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error has been told by then."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has left. What is still buffered must not fail again when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        outcome = cli.main(arguments, prog_name="gputui", standalone_mode=False)
    except GputuiError as error:
        return _fail(error, as_json=as_json)
    except click.UsageError as error:
        where = f"Try: {error.ctx.command_path} --help" if error.ctx else None
        return _fail(UsageError(error.format_message(), hint=where), as_json=as_json)
    except click.ClickException as error:
        return _fail(GputuiError(error.format_message()), as_json=as_json)
    except click.Abort as abort:
        interrupted = isinstance(abort.__cause__, KeyboardInterrupt)
        say("Interrupted." if interrupted else "Nothing was done.")
        return ExitCode.INTERRUPTED if interrupted else ExitCode.FAILED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  the last resort: a sentence for the person, the traceback for us
        return _fail(_unexpected(error, arguments), as_json=as_json)
    return outcome if isinstance(outcome, int) else ExitCode.OK


def _fail(error: GputuiError, *, as_json: bool) -> ExitCode:
    if as_json:
        from gputui.core.shapes import error_envelope

        emit_document(error_envelope(error))
    else:
        say_error(error.message, error.hint)
    return exit_code_of(error)


def _unexpected(error: Exception, arguments: list[str]) -> GputuiError:
    """Keep the traceback in the state folder and return the error to show."""
    import traceback

    from gputui.local.crash import keep_crash
    from gputui.local.paths import paths_for

    what = f"Something went wrong that should not have ({type(error).__name__})."
    try:
        path = keep_crash(paths_for(_profile_in(arguments)).state_dir, error)
    except (OSError, GputuiError):
        say("".join(traceback.format_exception(error)))
        return GputuiError(what, hint="The details above could not be kept on disk; please report them.")
    return GputuiError(what, hint=f"The details are in {path}; please report them.")


def _profile_in(arguments: list[str]) -> str | None:
    for name, value in pairwise(arguments):
        if name == "--profile":
            return value
    return next((text.removeprefix("--profile=") for text in arguments if text.startswith("--profile=")), None)
