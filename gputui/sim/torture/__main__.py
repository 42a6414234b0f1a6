"""`python -m gputui.sim.torture --seeds 200 [--seed K] [--provider P] [--jobs W]`: play seeds, tell what broke."""

from __future__ import annotations

import sys
import time

import click

from gputui.sim.serve import PROVIDER_APPS
from gputui.sim.torture.run import play_seeds
from gputui.sim.torture.tell import replay_command

TOLD_IN_FULL = 3


@click.command()
@click.option(
    "--seeds", "count", type=click.IntRange(1), default=1, help="How many seeds to play, one after the other."
)
@click.option("--seed", "first", type=click.IntRange(0), default=0, help="The first one.")
@click.option(
    "--provider", type=click.Choice(sorted(PROVIDER_APPS)), help="This provider only; each seed picks otherwise."
)
@click.option("--jobs", "workers", type=click.IntRange(1), default=1, help="How many processes play.")
@click.option("--timeline", "shows_timeline", is_flag=True, help="Tell what happened even where all is well.")
def main(count: int, first: int, provider: str | None, workers: int, shows_timeline: bool) -> None:
    """Play seeds over the simulated world and check each against the truth. Exits with 1 when anything did not hold."""
    began = time.perf_counter()
    broken = 0
    for outcome in play_seeds(range(first, first + count), provider, workers, keep_timeline=shows_timeline):
        if outcome.violations:
            broken += 1
            click.echo(
                f"seed {outcome.seed}: {len(outcome.violations)} violations; {replay_command(outcome.seed, provider)}"
            )
            for violation in outcome.violations:
                click.echo(f"  {violation}")
        if shows_timeline or (outcome.violations and broken <= TOLD_IN_FULL):
            click.echo("\n".join(outcome.timeline))
    click.echo(f"{count / (time.perf_counter() - began):.1f} seeds/s", err=True)
    click.echo(f"{count} seeds, {broken} violations")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
