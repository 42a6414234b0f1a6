"""Real SSH servers on loopback for the machines of a world that runs in real time.

Every machine gets an address of its own in 127.0.0.0/8 where the system has more than one loopback address, so that host
keys differ by address as they would in a cloud, and a port that is fixed when it is ordered. Its server listens while its
sshd would answer and is cut, with all that ran there, the moment it would not.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from gputui.sim.machine import SimMachine
from gputui.sim.world import World

if TYPE_CHECKING:
    from gputui.sim.sshd import SimSshd

_LOOK_EVERY_S = 0.1


class SshFleet:
    """The SSH servers of one world. `root` is a folder of its own for the machines' disks, theirs until they are deleted."""

    def __init__(self, world: World, root: Path) -> None:
        self._world = world
        self._root = root
        self._servers: dict[str, SimSshd] = {}
        self._disks: set[str] = set()
        self._addresses = 0
        self._reserved: dict[tuple[str, int], socket.socket] = {}
        world.reserve_endpoint = self.reserve_endpoint

    def reserve_endpoint(self) -> tuple[str, int]:
        """Return a loopback address and a free port on it, which nobody else gets until the machine's server listens."""
        self._addresses += 1
        high, low = divmod(self._addresses, 250)
        try:
            holder = _bound(f"127.77.{high % 250}.{low + 1}")
        except OSError:  # a system with 127.0.0.1 alone
            holder = _bound("127.0.0.1")
        host, port = holder.getsockname()
        self._reserved[host, port] = holder
        return host, port

    async def run(self) -> None:
        """Keep servers and machines in step until cancelled. Raises OSError when a server cannot listen."""
        while True:
            await self.refresh()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def refresh(self) -> None:
        """Start and stop servers so that they match the machines as they are now; wipe the disks of those that are gone."""
        for machine in list(self._world.machines.values()):
            answers = self._world.answers_ssh(machine.id)
            if answers and machine.id not in self._servers:
                self._servers[machine.id] = await self._start(machine)
                self._disks.add(machine.id)
            elif not answers and machine.id in self._servers:
                await self._servers.pop(machine.id).close()
            if not machine.is_alive(self._world.now_ms()):
                self._give_up_port(machine)
                if machine.id in self._disks:
                    self._wipe(machine)

    async def close(self) -> None:
        """Stop every server and kill what ran on the machines."""
        while self._servers:
            await self._servers.popitem()[1].close()
        while self._reserved:
            self._reserved.popitem()[1].close()

    async def _start(self, machine: SimMachine) -> SimSshd:
        from gputui.sim.sshd import start_sim_sshd

        home = self._root / machine.id
        self._give_up_port(machine)
        return await start_sim_sshd(
            home,
            lambda: list(machine.authorized_keys),
            host=machine.ip,
            port=machine.ssh_port or 0,
            environ=machine.environ,
        )

    def _give_up_port(self, machine: SimMachine) -> None:
        holder = self._reserved.pop((machine.ip, machine.ssh_port or 0), None)
        if holder is not None:
            holder.close()

    def _wipe(self, machine: SimMachine) -> None:
        home = self._root / machine.id
        for folder in (home, home.with_name(f"{home.name}.machine")):
            shutil.rmtree(folder)
        self._disks.remove(machine.id)


def _bound(host: str) -> socket.socket:
    """Return a socket on a free port. Raises OSError where there is no such address."""
    holder = socket.socket()
    try:
        holder.bind((host, 0))
    except OSError:
        holder.close()
        raise
    return holder
