"""`gputui sim`: a simulated provider on this machine."""

from __future__ import annotations

import click

from gputui.cli.output import say


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port on 127.0.0.1.")
@click.option(
    "--boot",
    "boot_s",
    type=click.FloatRange(0),
    default=3.0,
    show_default=True,
    metavar="S",
    help="How long a machine takes to start.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same faults.")
@click.option("--print-env", is_flag=True, help="Print the export lines that point a client here, and end.")
def sim(names: tuple[str, ...], port: int, boot_s: float, seed: int, print_env: bool) -> None:
    """Serve the API of provider NAME ("all" for every one) under /NAME, with its machines answering SSH, until interrupted.

    Any key that begins with "sim-" is accepted. GET /_sim/truth tells what really exists and what it cost. No command of
    a job is ever executed here; the machines only pretend.
    """
    import asyncio

    from gputui.local.clock import SystemClock
    from gputui.sim.serve import PROVIDER_APPS, env_lines, serve

    if names == ("all",):
        names = tuple(PROVIDER_APPS)
    lines = [line for name in names for line in env_lines(name, port)]
    if print_env:
        click.echo("\n".join(lines))
        return

    def tell(bound_port: int) -> None:
        say(f"Serving {', '.join(names)} on 127.0.0.1:{bound_port}; Ctrl-C ends it and everything on it.")
        say("\n".join(lines))

    asyncio.run(serve(names, clock=SystemClock(), port=port, seed=seed, boot_s=boot_s, on_ready=tell))
