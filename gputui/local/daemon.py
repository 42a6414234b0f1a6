"""The agent as a process: one lock per profile, a detached child, and a way to hand it keys that never touches the disk.

The kernel frees the lock on any death of its holder, so there is no stale pid file to reason about. The child lives in
its own session and survives the terminal that started it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gputui.model.errors import AgentBusy, AgentError

READY = b"ready\n"
_LOCK_PATIENCE_S = 1.5


class AgentLock:
    """Holds the profile's lock until `release` or death."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, patient for a moment because a view asking "is it held?" takes it for an instant.

        Raises AgentBusy, naming the pid that holds it.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                os.close(fd)
                raise AgentBusy(
                    f"Another agent of this profile is running (pid {holder or 'unknown'}).",
                    hint="One is enough. See: gputui agent status",
                ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without our name in it
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def touch(self) -> None:
        """Give a sign of life that a full disk takes too."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.utime(self._fd)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_holder(path: Path) -> int | None:
    """Return the pid of the agent that holds the lock, 0 when it is held but unnamed, None when it is free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(fd)


def last_sign_ms(path: Path) -> int | None:
    """Return when the holder of the lock last gave a sign of life; None when there is no lock file."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return None


def spawn_detached(
    arguments: Sequence[str], *, handover: bytes, log_path: Path, environment: dict[str, str], ready_s: float = 60.0
) -> int:
    """Start `python -m gputui <arguments> --handover-fd N --ready-fd M` in its own session and wait until it is ready.

    `handover` (keys) travels through a pipe; stdout and stderr go to `log_path`. Returns the pid.
    Raises AgentError when it died or did not get ready in time; the message carries its last line.
    """
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    keys_read, keys_write = os.pipe()
    ready_read, ready_write = os.pipe()
    log_start = os.fstat(log_fd).st_size
    try:
        argv = [sys.executable, "-m", "gputui", *arguments]
        argv += ["--handover-fd", str(keys_read), "--ready-fd", str(ready_write)]
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
                pass_fds=(keys_read, ready_write),
                cwd="/",
                env=environment,
            )
        except OSError as error:
            raise AgentError(f"The agent could not be started: {error.strerror}.") from None
        os.close(keys_read)
        os.close(ready_write)
        keys_read = ready_write = -1
        with contextlib.suppress(BrokenPipeError):
            os.write(keys_write, handover)
        os.close(keys_write)
        keys_write = -1
        readable, _, _ = select.select([ready_read], [], [], ready_s)
        if not readable or os.read(ready_read, len(READY)) != READY:
            state = "did not start in time" if not readable else "ended at once"
            raise AgentError(
                f"The agent {state}: {_last_line(log_path, log_start) or 'it said nothing'}", hint=f"See {log_path}."
            )
        # Nobody waits for it: it outlives us. Popen would warn about that when it is collected.
        child.returncode = 0
        return child.pid
    finally:
        for fd in (log_fd, keys_read, keys_write, ready_read, ready_write):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)


def stop_process(pid: int, lock_path: Path, *, patience_s: float = 10.0) -> bool:
    """Ask the holder of the lock to end and wait until the lock is free; kills it when it does not. False: it had ended."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if lock_holder(lock_path) != pid:
            return signal_number is signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if lock_holder(lock_path) is None:
                return True
            time.sleep(0.05)
    raise AgentError(f"The agent (pid {pid}) does not end.")


class KeyInbox:
    """A named pipe (0600) through which views hand keys to a running agent. What is written never touches the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.mkfifo(path, 0o600)
        # Opened for writing too, so that the last view leaving is no end of file.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""

    def read_documents(self) -> list[bytes]:
        """Return the complete documents (one line each) that have arrived; never blocks."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.fd, 65_536):
                self._buffer += chunk
        *documents, self._buffer = self._buffer.split(b"\n")
        return [document for document in documents if document]

    def close(self) -> None:
        os.close(self.fd)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def post_keys(path: Path, document: bytes) -> bool:
    """Hand one document to the agent that listens; False when none does."""
    try:
        if not stat.S_ISFIFO(path.stat().st_mode):
            return False
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        if len(document) > select.PIPE_BUF:
            raise AgentError("The keys are too long to hand over at once.")
        os.write(fd, document)  # at most PIPE_BUF, so two views never mix
    finally:
        os.close(fd)
    return True


def _last_line(path: Path, start: int) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as log:
        log.seek(start)
        lines = log.read(65_536).decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""
