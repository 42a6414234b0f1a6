"""`gputui images` and `gputui regions`: what machines can be made with, and where."""

from __future__ import annotations

import click

from gputui.cli.context import ask, open_guarded_desk
from gputui.cli.output import emit, json_option, table
from gputui.cli.resources import conclude, providers_option, rows_of
from gputui.cli.table import Column


@click.group()
def images() -> None:
    """Disk images for machines of providers that rent virtual machines."""


@images.command("list")
@providers_option
@json_option
@click.pass_context
def list_images(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List disk images; the one that is taken when none is named is marked. Name one with: gputui run --os-image IMAGE."""
    from gputui.core.resource_shapes import image_shape
    from gputui.core.resources import list_os_images

    desk = open_guarded_desk(ctx)
    asked = ask(desk, list_os_images(desk.accounts, providers))
    found = rows_of(asked)
    columns = [Column("PROVIDER"), Column("IMAGE", shrinks=True), Column("NAME", shrinks=True), Column("DEFAULT")]
    rows = [[image.provider, image.value, image.name, "yes" if image.is_default else "–"] for image in found]
    emit([image_shape(image) for image in found], as_json=as_json, human=lambda: table(columns, rows, empty="None."))
    conclude(ctx, asked.problems)


@click.group()
def regions() -> None:
    """The places where machines stand."""


@regions.command("list")
@providers_option
@json_option
@click.pass_context
def list_regions(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List regions. Name one with --region when something is made."""
    from gputui.core.resource_shapes import region_shape
    from gputui.core.resources import list_regions as fetch_regions

    desk = open_guarded_desk(ctx)
    asked = ask(desk, fetch_regions(desk.accounts, providers))
    found = rows_of(asked)
    columns = [Column("PROVIDER"), Column("REGION"), Column("COUNTRY"), Column("NAME", shrinks=True)]
    rows = [[region.provider, region.code, region.country or "–", region.name] for region in found]
    emit([region_shape(region) for region in found], as_json=as_json, human=lambda: table(columns, rows, empty="None."))
    conclude(ctx, asked.problems)
