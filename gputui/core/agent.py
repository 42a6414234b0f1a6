"""The agent as a process: lock, keys, signals, and the supervisor until there is nothing left to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import sys

from gputui import __version__
from gputui.core.accounts import HandedKeys
from gputui.core.agent_link import key_inbox_path
from gputui.core.desk import Desk
from gputui.core.journal import outliving
from gputui.core.supervisor import Replaced, Supervisor, crew_for
from gputui.local.clock import BootClock, SystemClock
from gputui.local.config import load_config
from gputui.local.daemon import READY, AgentLock, KeyInbox
from gputui.local.paths import paths_for
from gputui.local.secrets import Secrets
from gputui.model.errors import AgentBusy
from gputui.providers.registry import PROVIDERS

HANDOVER_DEADLINE_S = 10.0

log = logging.getLogger("gputui.agent")


def run_agent(profile: str | None, *, handover_fd: int | None = None, ready_fd: int | None = None) -> int:
    """Supervise a profile until told to stop; an agent that a view started also ends by itself when idle for a while.

    `handover_fd` is a pipe with the keys a view hands over; `ready_fd`, present when a view started us, is told when the
    lock is held and the store open.
    Returns the process's exit code. Raises AgentBusy when another agent holds the lock, StoreError, ConfigError.
    """
    _log_to_stderr()
    paths = paths_for(profile)
    paths.ensure()
    config = load_config(paths, known_providers=PROVIDERS)
    lock = AgentLock(paths.agent_lock)
    lock.acquire()
    handover = _read_all(handover_fd) if handover_fd is not None else b""
    secrets = Secrets(paths, environ=os.environ)
    keys = HandedKeys({}, fallback=secrets)
    desk = Desk.assemble(
        paths, config, secrets=secrets, keys=keys, clock=SystemClock(), environ=os.environ, agent_is_here=True
    )
    try:
        return asyncio.run(_supervise(desk, keys, lock, handover, ready_fd))
    finally:
        desk.close()
        lock.release()


async def _supervise(desk: Desk, keys: HandedKeys, lock: AgentLock, handover: bytes, ready_fd: int | None) -> int:
    loop = asyncio.get_running_loop()
    inbox = KeyInbox(key_inbox_path(desk.paths))
    if handover.strip():
        await desk.accounts.take_over(handover, keys)

    def may_exit() -> bool:
        # A view that wished for something while the lock was held relies on us; one that comes later starts another.
        lock.release()
        if not supervisor.has_work():
            return True
        try:
            lock.acquire()
        except AgentBusy:
            return True
        return False

    supervisor = Supervisor(
        crew_for(desk, desk.store),
        pid=os.getpid(),
        host=socket.gethostname(),
        version=__version__,
        # A view started it and another will when needed; one that was started by hand or by systemd stays.
        idle_exit_s=desk.config.agent.idle_exit_s if ready_fd is not None else None,
        may_exit=may_exit,
        steady=BootClock(),
        on_beat=lock.touch,
    )

    async def take_keys() -> None:
        for document in inbox.read_documents():
            try:
                await desk.accounts.take_over(document, keys)
            except ValueError:
                log.warning("somebody handed over keys that could not be read")
        with outliving("say which keys are known"):
            supervisor.publish_accounts()

    pending: set[asyncio.Task[None]] = set()

    def keys_arrived() -> None:
        task = loop.create_task(take_keys())
        pending.add(task)
        task.add_done_callback(pending.discard)

    def ready() -> None:
        log.info("agent of profile %s ready, pid %s", desk.paths.profile, os.getpid())
        if ready_fd is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(ready_fd, READY)
            os.close(ready_fd)

    main = asyncio.current_task()
    assert main is not None
    loop.add_reader(inbox.fd, keys_arrived)
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    if ready_fd is not None:
        loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        await supervisor.run(on_ready=ready)
    except asyncio.CancelledError:
        log.info("told to stop; live jobs stay as they are and go on with the next agent")
    except Replaced:
        log.error("another agent took over; this one ends")
        return 1
    finally:
        loop.remove_reader(inbox.fd)
        inbox.close()
        await desk.aclose()
    return 0


def _read_all(fd: int) -> bytes:
    """Return what a pipe holds until its writer closes it, which is at once; a writer that hangs must not hang us."""
    chunks = []
    with os.fdopen(fd, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], HANDOVER_DEADLINE_S)[0] and (chunk := pipe.read(65_536)):
            chunks.append(chunk)
    return b"".join(chunks)


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("asyncssh", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
