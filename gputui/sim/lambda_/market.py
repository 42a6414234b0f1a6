"""What there is to rent and where: instance types, regions and images."""

from __future__ import annotations

from gputui.sim.gate import Answer, Call, Keyed
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.data import IMAGES, REGIONS
from gputui.sim.lambda_.state import PROVIDER, Tenant


async def instance_types(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /instance-types`: an object by type name, with the regions where one could be had now."""
    world = call.world
    return render.ok(
        Keyed(
            {
                name: {
                    "instance_type": render.instance_type(item, world.list_price_usd(PROVIDER, name), world.faults),
                    "regions_with_capacity_available": [
                        render.region(code) for code in REGIONS if world.free(PROVIDER, name, code)
                    ],
                }
                for name, item in world.catalogue(PROVIDER).types.items()
            }
        )
    )


async def regions(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.region(code) for code in REGIONS])


async def images(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /images`: one entry for every image and region."""
    return render.ok([render.image(item) for item in IMAGES])
