from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from sqlite_utils import Database

from gputui.model.errors import StoreError, StoreReadOnly, StoreTooNew
from gputui.store import db
from gputui.store.db import SCHEMA_VERSION, Store, driver_is_safe_for_wal, open_store
from gputui.store.migrations import migrations

WRITER = """
import sys
from pathlib import Path
from gputui.store.db import open_store
store = open_store(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with store.write() as tx:
        count = tx.read("SELECT offer_count FROM provider_status WHERE provider = 'x'")[0][0]
        tx.execute("UPDATE provider_status SET offer_count = ? WHERE provider = 'x'", (count + 1,))
"""


def test_a_new_database_is_private_and_current(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gputui.db"
    store = open_store(path)
    assert store.read("PRAGMA user_version")[0][0] == SCHEMA_VERSION
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    store.close()


def test_processes_starting_together_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    code = "import sys; from pathlib import Path; from gputui.store.db import open_store; open_store(Path(sys.argv[1]))"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def test_concurrent_read_then_write_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    store = open_store(path)
    with store.write() as tx:
        tx.execute("INSERT INTO provider_status (provider, offer_count) VALUES ('x', 0)")
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), "60"]) for _ in range(3)]
    for process in running:
        assert process.wait(timeout=60) == 0
    assert store.read("SELECT offer_count FROM provider_status")[0][0] == 180
    store.close()


def test_a_database_of_the_first_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    connection = db.sqlite3.connect(str(path), isolation_level=None)
    database = Database(connection)
    migrations.apply(database, stop_before="m002_price_history")
    connection.execute("INSERT INTO provider_status (provider, offer_count) VALUES ('kept', 7)")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = open_store(path)
    assert store.read("PRAGMA user_version")[0][0] == SCHEMA_VERSION
    assert store.read("SELECT offer_count FROM provider_status WHERE provider = 'kept'")[0][0] == 7
    assert store.read("SELECT count(*) FROM price_history")[0][0] == 0
    assert path.with_name(f"gputui.before-{SCHEMA_VERSION}.db").exists()
    store.close()


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as tx:
        tx.execute("INSERT INTO provider_status (provider) VALUES ('x')")
        raise RuntimeError("in the middle")
    assert store.read("SELECT * FROM provider_status") == []


def test_a_killed_writer_leaves_the_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    open_store(path).close()
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from gputui.store.db import open_store
        store = open_store(Path(sys.argv[1]))
        with store.write() as tx:
            tx.execute("INSERT INTO provider_status (provider) VALUES ('kept')")
        with store.write() as tx:
            tx.execute("INSERT INTO provider_status (provider) VALUES ('lost')")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60).returncode == -9
    store = open_store(path)
    assert [row[0] for row in store.read("SELECT provider FROM provider_status")] == ["kept"]
    store.close()


def test_a_store_from_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    store = open_store(path)
    store._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    store.close()
    with pytest.raises(StoreTooNew, match="newer gputui"):
        open_store(path)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gputui.db"
    path.write_bytes(b"this is not a database, but somebody put it here" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(path)
    assert path.exists()


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreReadOnly, match="GPUTUI_HOME"):
        open_store(tmp_path / "file" / "gputui.db")


def test_a_full_disk_is_told_as_such(store: Store) -> None:
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreReadOnly, match="full"), store.write() as tx:
        for number in range(2000):
            tx.execute("INSERT INTO provider_status (provider, error) VALUES (?, ?)", (str(number), "x" * 500))


def test_a_commit_that_a_reader_held_up_is_undone_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(db, "journal_mode", lambda: "delete")
    monkeypatch.setattr(db, "BUSY_TIMEOUT_S", 0.05)
    store, reader = open_store(tmp_path / "gputui.db"), open_store(tmp_path / "gputui.db")
    reader._connection.execute("BEGIN")
    reader.read("SELECT * FROM provider_status")
    with pytest.raises(StoreError, match="locked"), store.write() as tx:
        tx.execute("INSERT INTO provider_status (provider) VALUES ('held up')")
    reader.close()
    with store.write() as tx:
        tx.execute("INSERT INTO provider_status (provider) VALUES ('kept')")
    assert [row[0] for row in store.read("SELECT provider FROM provider_status")] == ["kept"]
    store.close()


def test_a_number_that_no_column_takes_is_told_as_such(store: Store) -> None:
    with pytest.raises(StoreError, match="number"), store.write() as tx:
        tx.execute("INSERT INTO provider_status (provider, latency_ms) VALUES ('x', ?)", (2**63,))


def test_other_connections_are_noticed(store: Store) -> None:
    before = store.data_version()
    other = open_store(store.path)
    with other.write() as tx:
        tx.execute("INSERT INTO provider_status (provider) VALUES ('x')")
    other.close()
    assert store.data_version() != before


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 6), True),
        ((3, 50, 4), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
    ],
)
def test_an_affected_driver_never_uses_the_write_ahead_log(
    version: tuple[int, ...], safe: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert driver_is_safe_for_wal(version) is safe
    monkeypatch.setattr(db.sqlite3, "sqlite_version_info", version)
    store = open_store(tmp_path / "gputui.db")
    assert store.read("PRAGMA journal_mode")[0][0] == ("wal" if safe else "delete")
    store.close()


def test_money_columns_refuse_floats(store: Store) -> None:
    with pytest.raises(db.sqlite3.IntegrityError), store.write() as tx:
        tx.execute(
            "INSERT INTO offers (id, provider, gpu, gpu_count, price_micro_usd_per_hour, tier, fetched_at_ms, native) "
            "VALUES ('a', 'mock', 'H100', 1, 2.5, 'on-demand', 0, '{}')"
        )
