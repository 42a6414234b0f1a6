"""How a person logs in to a job's machine from their own terminal."""

from __future__ import annotations

from gputui.local.paths import Paths
from gputui.model.errors import NotFoundError
from gputui.model.types import Placement
from gputui.providers.registry import provider_title


def login_argv(paths: Paths, placement: Placement) -> list[str]:
    """Return the ssh command for a placement's machine, with our key, trusting only the host key pinned for it.

    Writes that host key where ssh can read it. Raises NotFoundError when the machine is gone, has no SSH, or was not
    reached yet, SecretsError when the file cannot be written.
    """
    from gputui.core.crew import DEFAULT_SSH_USER
    from gputui.local.ssh import ensure_key_pair, ssh_argv, write_known_hosts

    if placement.state.is_final:
        raise NotFoundError(f"Machine {placement.machine_id or ''} is gone.".replace("  ", " "))
    if not placement.ssh_host:
        raise NotFoundError(
            f"There is no SSH address of this {provider_title(placement.provider)} machine.",
            hint="It may still be starting; some providers have none.",
        )
    if not placement.host_key:
        raise NotFoundError(
            "The agent has not reached this machine yet, so nothing proves that it is the right one.",
            hint="Try again in a moment.",
        )
    port = placement.ssh_port or 22
    key_pair = ensure_key_pair(paths.ssh_dir, f"gputui-{paths.profile}")
    known_hosts = paths.ssh_dir / f"known_hosts.{placement.id}"
    write_known_hosts(known_hosts, placement.ssh_host, port, placement.host_key)
    return ssh_argv(
        placement.ssh_host, port, placement.ssh_user or DEFAULT_SSH_USER, key_pair.private_path, known_hosts
    )
