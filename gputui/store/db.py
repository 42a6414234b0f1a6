"""Opening the database: driver, pragmas, migrations, and the one way to write.

Every write transaction is `BEGIN IMMEDIATE` (a deferred one that reads first loses to other writers at once, whatever the
busy timeout). A `Store` belongs to the thread that opened it.

SQLite 3.7.0–3.51.2 can lose committed pages when checkpoints of several processes overlap in WAL mode (sqlite.org/wal.html,
"WAL-reset bug"; fixed in 3.51.3, 3.50.7 and 3.44.6). The driver bundled by `pysqlite3` is past it; on an affected one the
database is kept in rollback-journal mode instead, which at our few writes a second nobody notices.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gputui.model.errors import StoreError, StoreReadOnly, StoreTooNew

try:
    import pysqlite3 as sqlite3
except ImportError:  # not packaged for this platform: the system's own driver
    import sqlite3

if TYPE_CHECKING:
    import sqlite3 as sqlite_types

# A row, by column name or by position (`sqlite3.Row` of whichever driver serves).
Row: TypeAlias = Any

# How many migrations this version knows; migrations.py asserts that it agrees.
SCHEMA_VERSION = 11
BUSY_TIMEOUT_S = 10.0
# An intent must be on the disk itself before the create call leaves. Tests of virtual hours turn this off.
SYNCHRONOUS = "FULL"


def driver_is_safe_for_wal(version: tuple[int, ...]) -> bool:
    """True when this SQLite has the fix of the WAL-reset bug."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def driver_description() -> str:
    """Return the driver and its SQLite version, for `doctor`."""
    return f"{sqlite3.__name__} with SQLite {sqlite3.sqlite_version}"


def journal_mode() -> str:
    """Return the journal mode this process uses for every database."""
    return "wal" if driver_is_safe_for_wal(sqlite3.sqlite_version_info) else "delete"


class Store:
    """A connection to one profile's database, migrated to the schema this version knows."""

    def __init__(self, connection: sqlite_types.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """Return all rows of a query. Never leaves a cursor open: that would pin the write-ahead log."""
        with _translated(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def read_one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """Run a write transaction: all of it is committed, or nothing. Raises StoreReadOnly, StoreError."""
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Tx(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself, a refused commit does not
                    self._connection.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed; cheap enough to ask several times a second."""
        return int(self.read("PRAGMA data_version")[0][0])

    def close(self) -> None:
        self._connection.close()


class Tx:
    """An open write transaction; only `Store.write` makes one."""

    def __init__(self, connection: sqlite_types.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Run one statement and return how many rows it touched."""
        return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)

    def insert(self, table: str, row: dict[str, Any]) -> int:
        """Insert a row and return its rowid. `table` and the column names are ours, never a user's."""
        columns = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        cursor = self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)
        return int(cursor.lastrowid or 0)

    def update(self, table: str, key: str, key_value: object, changes: dict[str, Any]) -> int:
        """Update the row whose `key` column equals `key_value`; returns how many rows changed."""
        if not changes:
            return 0
        assignments = ", ".join(f"{name} = :{name}" for name in changes)
        sql = f"UPDATE {table} SET {assignments} WHERE {key} = :_key"
        return self._connection.execute(sql, {**changes, "_key": key_value}).rowcount

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()


def open_store(path: Path) -> Store:
    """Open the database, creating and migrating it under a file lock when needed.

    Raises StoreTooNew when a newer version of this program wrote it, StoreReadOnly when it cannot be written,
    StoreError for anything else that keeps it from opening.
    """
    with _translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = _connect(path)
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA_VERSION:
                raise StoreTooNew(
                    f"The database {path} was written by a newer gputui (schema {version}, this one knows {SCHEMA_VERSION}).",
                    hint="Update gputui, or use another profile with --profile.",
                )
            if version < SCHEMA_VERSION:
                connection.close()
                _migrate(path)
                connection = _connect(path)
        except BaseException:
            connection.close()
            raise
    return Store(connection, path)


def _connect(path: Path) -> sqlite_types.Connection:
    connection: sqlite_types.Connection = sqlite3.connect(str(path), timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    os.chmod(path, 0o600)
    connection.execute("PRAGMA foreign_keys = ON")
    mode = "delete" if on_network_disk(path) else journal_mode()
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != mode:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    return connection


def _migrate(path: Path) -> None:
    """Bring the schema up to date; one process at a time, because two starting together would both create tables."""
    from gputui.store.migrations import migrate

    with open(path.with_suffix(".migrate.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _connect(path)
        try:
            migrate(connection, path)
        finally:
            connection.close()


def on_network_disk(path: Path) -> bool:
    """True when the folder is on NFS, where neither a write-ahead log nor our locks can be trusted between hosts."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            best, kind = "", ""
            folder = str(path.parent.resolve())
            for line in mounts:
                left, _, right = line.partition(" - ")
                point = left.split(" ")[4]
                inside = folder == point or folder.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, right.split(" ")[0]
            return kind.startswith("nfs")
    except (OSError, IndexError):
        return False


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the driver's and the system's errors into ours, with the next step."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "readonly" in text or "unable to open" in text:
            raise StoreReadOnly(
                f"The database {path} cannot be written ({text}).",
                hint="Check the disk and the folder's permissions, or set GPUTUI_HOME to a writable folder.",
            ) from None
        if "full" in text:
            raise StoreReadOnly(f"The disk that holds {path} is full.", hint="Free some space and try again.") from None
        if "locked" in text or "busy" in text:
            raise StoreError(
                f"The database {path} stayed locked for {BUSY_TIMEOUT_S:.0f} s.",
                hint="Another process holds it; try again.",
            ) from None
        raise StoreError(f"The database {path} failed: {text}.") from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise StoreError(
            f"The database {path} cannot be read: {error}.",
            hint="Move it aside to start afresh (a copy keeps your history), then see what is alive: gputui machines list",
        ) from None
    except OverflowError:
        raise StoreError(f"The database {path} does not take a number that large.") from None
    except OSError as error:
        if error.errno in (
            errno.EROFS,
            errno.EACCES,
            errno.EPERM,
            errno.ENOSPC,
            errno.EDQUOT,
            errno.ENOTDIR,
            errno.EEXIST,
        ):
            raise StoreReadOnly(
                f"The state folder {path.parent} cannot be written ({error.strerror}).",
                hint="Check the disk and the folder's permissions, or set GPUTUI_HOME to a writable folder.",
            ) from None
        raise
