"""The schema's history. Append only: a migration that has been released is never edited.

Money is INTEGER micro-USD (per hour for rates), time INTEGER milliseconds UTC; tables are strict, so a float or a
string in one of those columns is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database, Migrations

from gputui.store.db import SCHEMA_VERSION

if TYPE_CHECKING:
    import sqlite3

migrations = Migrations("gputui")


@migrations()
def m001_one_job_end_to_end(db: Database) -> None:
    for statement in _M001.split(";\n"):
        if statement.strip():
            db.conn.execute(statement)


@migrations()
def m002_price_history(db: Database) -> None:
    db.conn.execute(_M002)


@migrations()
def m003_rates_in_doubt_and_traffic(db: Database) -> None:
    for statement in _M003:
        db.conn.execute(statement)


@migrations()
def m004_orders_of_volumes(db: Database) -> None:
    for statement in _M004:
        db.conn.execute(statement)


# `name`: as the user calls it; `label`: as the provider does, what is looked for after a lost reply.
_M004 = (
    """
    CREATE TABLE volume_orders (
      id TEXT PRIMARY KEY,
      provider TEXT NOT NULL,
      wish TEXT NOT NULL CHECK (wish IN ('create', 'delete')),
      state TEXT NOT NULL,
      name TEXT NOT NULL,
      label TEXT NOT NULL,
      size_gib INTEGER,
      region TEXT,
      kind TEXT,
      volume_id TEXT,
      price_micro_usd_per_month INTEGER,
      error TEXT,
      error_code TEXT,
      key_print TEXT,
      created_at_ms INTEGER NOT NULL,
      requested_at_ms INTEGER,
      ended_at_ms INTEGER,
      CHECK (wish = 'create' OR volume_id IS NOT NULL)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX one_open_volume_creation ON volume_orders (provider, label) "
    "WHERE wish = 'create' AND ended_at_ms IS NULL",
    "CREATE UNIQUE INDEX one_open_volume_deletion ON volume_orders (provider, volume_id) "
    "WHERE wish = 'delete' AND ended_at_ms IS NULL",
    "CREATE INDEX volumes_made ON volume_orders (provider, volume_id) WHERE wish = 'create' AND volume_id IS NOT NULL",
)


@migrations()
def m005_volumes_of_a_placement(db: Database) -> None:
    db.conn.execute("ALTER TABLE placements ADD COLUMN volumes TEXT NOT NULL DEFAULT '[]'")


@migrations()
def m006_what_sweeps_find_alarms_and_whose_key(db: Database) -> None:
    for statement in _M006:
        db.conn.execute(statement)


# A finding is open while sweeps go on seeing it. `key_print` tells keys apart without holding one; `account` is the
# provider's own name for the account. `steady_ms` counts from the boot named, whatever the clock is set to.
_M006 = (
    """
    CREATE TABLE findings (
      kind TEXT NOT NULL,
      provider TEXT NOT NULL,
      id TEXT NOT NULL,
      label TEXT,
      state TEXT,
      sightings INTEGER NOT NULL DEFAULT 1,
      first_seen_ms INTEGER NOT NULL,
      last_seen_ms INTEGER NOT NULL,
      rate_micro_usd_per_hour INTEGER,
      price_micro_usd_per_month INTEGER,
      resolved_ms INTEGER
    ) STRICT
    """,
    "CREATE UNIQUE INDEX one_open_finding ON findings (kind, provider, id) WHERE resolved_ms IS NULL",
    """
    CREATE TABLE sweeps (
      provider TEXT PRIMARY KEY,
      tried_ms INTEGER NOT NULL,
      ok_ms INTEGER,
      error TEXT
    ) STRICT
    """,
    """
    CREATE TABLE alarms (
      kind TEXT NOT NULL,
      subject TEXT NOT NULL,
      provider TEXT,
      job_id TEXT,
      message TEXT NOT NULL,
      hint TEXT NOT NULL,
      rate_micro_usd_per_hour INTEGER,
      since_ms INTEGER NOT NULL,
      ended_ms INTEGER
    ) STRICT
    """,
    "CREATE UNIQUE INDEX one_open_alarm ON alarms (kind, subject) WHERE ended_ms IS NULL",
    "ALTER TABLE placements ADD COLUMN key_print TEXT",
    "ALTER TABLE placements ADD COLUMN account TEXT",
    "ALTER TABLE terminations ADD COLUMN key_print TEXT",
    "ALTER TABLE agent ADD COLUMN steady_ms INTEGER",
    "ALTER TABLE agent ADD COLUMN boot_id TEXT",
)


@migrations()
def m007_vitals_of_placements(db: Database) -> None:
    db.conn.execute(_M007)


@migrations()
def m008_what_is_left_of_a_minimum(db: Database) -> None:
    # The least that can be left of it after the rate changed within it (NULL: `minimum_s`).
    db.conn.execute("ALTER TABLE usage_intervals ADD COLUMN minimum_low_s INTEGER")


@migrations()
def m009_rates_that_were_never_told(db: Database) -> None:
    db.conn.execute("ALTER TABLE usage_intervals ADD COLUMN rate_is_assumed INTEGER NOT NULL DEFAULT 0")


@migrations()
def m010_since_when_a_machine_is_ours_and_out_of_reach(db: Database) -> None:
    db.conn.execute("ALTER TABLE placements RENAME COLUMN last_seen_ms TO accepted_at_ms")
    db.conn.execute("ALTER TABLE placements ADD COLUMN out_of_reach_ms INTEGER NOT NULL DEFAULT 0")


@migrations()
def m011_prices_found_without_looking_at_every_offer(db: Database) -> None:
    db.conn.execute("DROP INDEX offers_by_provider")
    db.conn.execute("CREATE INDEX offers_by_provider ON offers (provider, id)")
    db.conn.execute(
        "CREATE INDEX offers_by_price ON offers (provider, gpu, stock IS 'none', price_micro_usd_per_hour / gpu_count)"
    )


# The newest word of the machine itself: one row per placement, replaced, never added to.
_M007 = """
CREATE TABLE vitals (
  placement_id TEXT PRIMARY KEY REFERENCES placements (id),
  contact_ms INTEGER NOT NULL,
  guard TEXT,
  idle TEXT,
  gpu_at_ms INTEGER,
  gpu_percent REAL,
  gpu_used_mib REAL,
  gpu_total_mib REAL,
  gpu_watts REAL
) STRICT, WITHOUT ROWID
"""


# `rate_low`: where it is not told whether a state is billed, what it may cost at the least (NULL: the rate itself).
# `metered`: what the provider's own counter said at `last_seen_ms`; `rate` is then the most it can grow by.
_M003 = (
    "ALTER TABLE usage_intervals ADD COLUMN rate_low_micro_usd_per_hour INTEGER",
    "ALTER TABLE usage_intervals ADD COLUMN metered_micro_usd INTEGER",
)

_M002 = """
CREATE TABLE price_history (
  provider TEXT NOT NULL,
  gpu TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  price_micro_usd_per_gpu_hour INTEGER,
  PRIMARY KEY (provider, gpu, at_ms)
) STRICT, WITHOUT ROWID
"""

_M001 = """
CREATE TABLE offers (
  id TEXT PRIMARY KEY,
  provider TEXT NOT NULL,
  gpu TEXT NOT NULL,
  gpu_count INTEGER NOT NULL,
  price_micro_usd_per_hour INTEGER NOT NULL CHECK (price_micro_usd_per_hour >= 0),
  vram_gib INTEGER,
  vcpus INTEGER,
  ram_gib INTEGER,
  disk_gib INTEGER,
  region TEXT,
  tier TEXT NOT NULL,
  stock TEXT,
  reliability REAL,
  fetched_at_ms INTEGER NOT NULL,
  native TEXT NOT NULL
) STRICT;
CREATE INDEX offers_by_gpu ON offers (gpu, price_micro_usd_per_hour);
CREATE INDEX offers_by_provider ON offers (provider);

CREATE TABLE provider_status (
  provider TEXT PRIMARY KEY,
  last_try_ms INTEGER,
  last_ok_ms INTEGER,
  latency_ms INTEGER,
  offer_count INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  error_code TEXT
) STRICT;

CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  status TEXT NOT NULL,
  phase TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  stop_requested_at_ms INTEGER,
  started_at_ms INTEGER,
  ended_at_ms INTEGER,
  outcome TEXT,
  exit_code INTEGER,
  error TEXT,
  error_code TEXT,
  placement_id TEXT
) STRICT;
CREATE INDEX jobs_alive ON jobs (status) WHERE status IN ('queued', 'provisioning', 'running');

CREATE TABLE placements (
  id TEXT PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs (id),
  attempt INTEGER NOT NULL,
  provider TEXT NOT NULL,
  offer TEXT NOT NULL,
  label TEXT NOT NULL UNIQUE,
  idempotency_key TEXT NOT NULL UNIQUE,
  nonce TEXT NOT NULL,
  state TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  price_ceiling_micro_usd_per_hour INTEGER,
  agreed_price_micro_usd_per_hour INTEGER,
  machine_id TEXT,
  ssh_host TEXT,
  ssh_port INTEGER,
  ssh_user TEXT,
  host_key TEXT,
  requested_at_ms INTEGER,
  ready_at_ms INTEGER,
  running_at_ms INTEGER,
  terminating_at_ms INTEGER,
  gone_at_ms INTEGER,
  last_seen_ms INTEGER,
  reason_code TEXT,
  reason TEXT,
  UNIQUE (job_id, attempt)
) STRICT;
CREATE INDEX placements_by_machine ON placements (provider, machine_id);

CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  job_id TEXT NOT NULL REFERENCES jobs (id),
  placement_id TEXT,
  kind TEXT NOT NULL,
  state_from TEXT,
  state_to TEXT,
  why TEXT NOT NULL,
  facts TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job_id, id);

CREATE TABLE usage_intervals (
  id INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs (id),
  placement_id TEXT NOT NULL REFERENCES placements (id),
  provider TEXT NOT NULL,
  resource TEXT NOT NULL,
  rate_micro_usd_per_hour INTEGER NOT NULL,
  granularity_s INTEGER NOT NULL,
  minimum_s INTEGER NOT NULL,
  start_earliest_ms INTEGER NOT NULL,
  start_latest_ms INTEGER,
  last_seen_ms INTEGER NOT NULL,
  end_earliest_ms INTEGER,
  end_latest_ms INTEGER,
  cost_low_micro_usd INTEGER,
  cost_high_micro_usd INTEGER,
  close_reason TEXT,
  CHECK ((end_latest_ms IS NULL) = (cost_low_micro_usd IS NULL))
) STRICT;
CREATE UNIQUE INDEX one_open_interval ON usage_intervals (placement_id, resource) WHERE end_latest_ms IS NULL;
CREATE INDEX usage_by_job ON usage_intervals (job_id);
CREATE TRIGGER closed_intervals_never_change BEFORE UPDATE ON usage_intervals WHEN OLD.end_latest_ms IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a closed interval never changes'); END;

CREATE TABLE terminations (
  id TEXT PRIMARY KEY,
  provider TEXT NOT NULL,
  machine_id TEXT NOT NULL,
  label TEXT,
  requested_at_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  gone_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX one_open_termination ON terminations (provider, machine_id) WHERE gone_at_ms IS NULL;

CREATE TABLE agent (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL,
  pid INTEGER NOT NULL,
  host TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  beat_ms INTEGER NOT NULL,
  version TEXT NOT NULL,
  accounts TEXT NOT NULL,
  stopped_at_ms INTEGER
) STRICT;
"""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is pending, after a copy of a database that already holds something. The caller holds the lock."""
    known = migrations_known()
    if known != SCHEMA_VERSION:
        raise AssertionError(f"SCHEMA_VERSION is {SCHEMA_VERSION} but there are {known} migrations")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version >= known:
        return  # another process was faster
    if version > 0:
        copy = path.with_name(f"{path.stem}.before-{known}.db")
        copy.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
    database: Any = Database(connection)
    migrations.apply(database)
    connection.execute(f"PRAGMA user_version = {known}")


def migrations_known() -> int:
    """Return how many migrations there are."""
    return sum(1 for name in globals() if name.startswith("m0"))
