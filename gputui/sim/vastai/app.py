"""The routes of the simulated Vast.ai API. Every path is served with and without a slash at its end."""

from __future__ import annotations

from functools import partial

from gputui.sim.gate import Endpoint, Handler, ProviderApp
from gputui.sim.vastai import money
from gputui.sim.vastai.access import Access
from gputui.sim.vastai.contracts import stop_unpaid
from gputui.sim.vastai.create import Create
from gputui.sim.vastai.errors import failed
from gputui.sim.vastai.instances import Instances
from gputui.sim.vastai.keys import ApiKeys, SshKeys
from gputui.sim.vastai.knobs import KNOBS
from gputui.sim.vastai.logs import BUCKET, Logs
from gputui.sim.vastai.market import PROVIDER
from gputui.sim.vastai.offers import Offers
from gputui.sim.vastai.pacing import SEARCH
from gputui.sim.vastai.state import VastState
from gputui.sim.vastai.volumes import Volumes
from gputui.sim.world import World

API_PATH = ""


def build(world: World, mount_path: str = "") -> ProviderApp:
    """Return the Vast.ai API over a world, its paths (/api/v0/…, /api/v1/…) under `mount_path`."""
    world.faults.declare(KNOBS)
    state = VastState(world)
    world.when_unpaid[PROVIDER] = lambda account, now_ms: stop_unpaid(state, account, now_ms)
    offers, create, instances = Offers(state), Create(state), Instances(state)
    logs, volumes = Logs(state, instances, mount_path), Volumes(state)
    ssh_keys, api_keys = SshKeys(state, instances), ApiKeys(state)
    access = Access(state)
    anybody = access.without_key
    reads, writes = partial(access.with_key, "instance_read"), partial(access.with_key, "instance_write")
    reads_user, writes_user = partial(access.with_key, "user_read"), partial(access.with_key, "user_write")
    reads_bills = partial(access.with_key, "billing_read")
    routes: list[tuple[str, str, str, Handler]] = [
        ("POST", "/api/v0/bundles", SEARCH, anybody(offers.search)),
        ("GET", "/api/v0/bundles", SEARCH, anybody(offers.search)),
        ("PUT", "/api/v0/search/asks", SEARCH, anybody(offers.search_asks)),
        ("GET", "/api/v0/gpu_names/unique", "list_gpu_names", anybody(offers.gpu_names)),
        ("PUT", "/api/v0/asks/{id}", "create_instance", writes(create.accept)),
        ("GET", "/api/v1/instances", "list_instances", reads(instances.list_all)),
        ("GET", "/api/v0/instances", "list_instances_v0", reads(instances.list_retired)),
        ("PUT", "/api/v0/instances", "manage_instances", writes(instances.manage_many)),
        ("DELETE", "/api/v0/instances", "destroy_instances", writes(instances.destroy_many)),
        ("GET", "/api/v0/instances/{id}", "get_instance", reads(instances.get)),
        ("PUT", "/api/v0/instances/{id}", "manage_instance", writes(instances.manage)),
        ("DELETE", "/api/v0/instances/{id}", "destroy_instance", writes(instances.destroy)),
        ("PUT", "/api/v0/instances/reboot/{id}", "reboot_instance", writes(instances.reboot)),
        ("PUT", "/api/v0/instances/recycle/{id}", "recycle_instance", writes(instances.recycle)),
        ("PUT", "/api/v0/instances/bid_price/{id}", "change_bid", writes(instances.change_bid)),
        ("PUT", "/api/v0/instances/request_logs/{id}", "request_logs", reads(logs.request)),
        ("GET", BUCKET + "/{name}", "read_log_file", logs.read_file),
        ("GET", "/api/v0/instances/{id}/ssh", "list_attached", reads(ssh_keys.list_attached)),
        ("POST", "/api/v0/instances/{id}/ssh", "attach_ssh_key", writes(ssh_keys.attach)),
        ("DELETE", "/api/v0/instances/{id}/ssh/{ssh_key_id}", "detach_ssh_key", writes(ssh_keys.detach)),
        ("GET", "/api/v0/ssh", "list_ssh_keys", reads_user(ssh_keys.list_all)),
        ("POST", "/api/v0/ssh", "add_ssh_key", writes_user(ssh_keys.add)),
        ("PUT", "/api/v0/ssh/{id}", "replace_ssh_key", writes_user(ssh_keys.replace)),
        ("DELETE", "/api/v0/ssh/{id}", "delete_ssh_key", writes_user(ssh_keys.delete)),
        ("POST", "/api/v0/volumes/search", "search_volumes", anybody(volumes.search)),
        ("PUT", "/api/v0/volumes", "create_volume", writes(volumes.create, is_volume=True)),
        ("GET", "/api/v0/volumes", "list_volumes", reads(volumes.list_all, is_volume=True)),
        ("DELETE", "/api/v0/volumes", "delete_volume", writes(volumes.delete, is_volume=True)),
        ("GET", "/api/v0/users/current", "current_user", reads_user(money.current_user)),
        ("GET", "/api/v0/charges", "list_charges", reads_bills(money.charges)),
        ("GET", "/api/v1/invoices", "list_invoices", reads_bills(money.invoices)),
        ("GET", "/api/v0/auth/apikeys", "list_api_keys", reads_user(api_keys.list_all)),
        ("POST", "/api/v0/auth/apikeys", "create_api_key", writes_user(api_keys.create)),
        ("GET", "/api/v0/auth/apikeys/{id}", "get_api_key", reads_user(api_keys.get)),
        ("DELETE", "/api/v0/auth/apikeys/{id}", "delete_api_key", writes_user(api_keys.delete)),
    ]
    endpoints = [
        Endpoint(method, path + slash, operation, handler)
        for method, path, operation, handler in routes
        for slash in ("/", "")
    ]
    return ProviderApp(
        world,
        PROVIDER,
        mount_path,
        endpoints,
        error=lambda error: failed(world, error),
        request_id_header="X-Request-Id",
    )
