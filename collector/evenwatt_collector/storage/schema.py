"""The tables, as migrations that are applied in order, each in its own transaction.

Times: ``*_ms`` and ``*_s`` are Unix time, ``hour`` and ``day`` count from 1970, in UTC. ``zone``, ``node`` and
``owner`` are numbers of the tables of names.

Energy stands in three tiers. ``ledger`` has each record as it was received, about a minute. ``hour`` has joules per
hour in three *cuts*: a node as a whole (1), an owner's label in a zone (2), an owner on a node (3). ``slots`` are
little-endian doubles: dynamic energy of each slot of the hour, then idle energy of each. ``recorded_ms`` is 0 for what
was stored before the hour was closed, else a mark of ``settled``: up to which commit the ledger was in the books.
That makes energy as bitemporal as intensity is. ``day`` has grams besides, by what was known when it was rolled up;
``day_state`` says which days have to be rolled up again, and as of when (``rolled_ms``) the others were known.

``stored_ms`` and all marks only grow within a zone, whatever the clock does; ``arrived_ms`` is what the clock said.
``booked_ms`` of a zone is up to which commit its ledger is in the books. ``known_ms`` of a node is when its first
record was stored. ``day_hours`` has seven figures for each hour of a day whose rows are gone.

``reading`` holds what sources said about intensity, and nothing in it is ever changed. ``memory`` holds what parts of
the collector remember over a restart, as JSON.

``job`` has each job's record as JSON, beside what it is found by; ``is_open`` is 1 while something is left to do.
``decision`` has all decisions about a job, ``outcome`` what came of it, ``job_log`` what its runs wrote, by the offset
at which a piece begins in all that the run has written. ``document`` holds values with a history: the newest of a kind
and name counts, the older ones stay. ``shard`` says which of several collectors has which zone (docs/scale.md), and
where it is asked; of ``job`` it is the one that plans it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from evenwatt_collector.storage.connection import DatabaseError, transaction
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_collector.storage.connection import Connection

_BASE: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE zone (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE node (
    id INTEGER PRIMARY KEY, zone INTEGER NOT NULL, name TEXT NOT NULL, first_ms INTEGER, last_ms INTEGER,
    known_ms INTEGER,
    UNIQUE (zone, name));
CREATE TABLE owner (
    id INTEGER PRIMARY KEY, label INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, workload TEXT NOT NULL,
    model TEXT NOT NULL, phase TEXT NOT NULL, team TEXT NOT NULL, task TEXT NOT NULL,
    UNIQUE (kind, name, workload, model, phase, team, task));
CREATE TABLE boot (
    id INTEGER PRIMARY KEY, node INTEGER NOT NULL, boot TEXT NOT NULL, zone INTEGER NOT NULL, records INTEGER NOT NULL,
    last_seq INTEGER NOT NULL, last_total_j REAL NOT NULL, energy_j REAL NOT NULL, energy_low_j REAL NOT NULL,
    grams REAL NOT NULL, grams_low REAL NOT NULL, numbers TEXT NOT NULL, covered TEXT NOT NULL, UNIQUE (node, boot));
CREATE TABLE ledger (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, end_ms INTEGER NOT NULL, start_ms INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL, arrived_ms INTEGER NOT NULL, energy_j REAL NOT NULL, quality TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (boot, seq, end_ms));
CREATE INDEX ledger_by_storing ON ledger (stored_ms);
CREATE TABLE domain_energy (
    node INTEGER NOT NULL, domain TEXT NOT NULL, quality TEXT NOT NULL, energy_j REAL NOT NULL,
    energy_low_j REAL NOT NULL, PRIMARY KEY (node, domain, quality)) WITHOUT ROWID;
CREATE TABLE hour (
    cut INTEGER NOT NULL, hour INTEGER NOT NULL, zone INTEGER NOT NULL, node INTEGER NOT NULL, owner INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL, energy_j REAL NOT NULL, gpu_j REAL NOT NULL, integrated_j REAL NOT NULL,
    estimated_j REAL NOT NULL, unknown_j REAL NOT NULL, covered_s REAL NOT NULL, slots BLOB NOT NULL,
    PRIMARY KEY (cut, zone, hour, node, owner, recorded_ms)) WITHOUT ROWID;
CREATE TABLE day (
    cut INTEGER NOT NULL, day INTEGER NOT NULL, zone INTEGER NOT NULL, node INTEGER NOT NULL, owner INTEGER NOT NULL,
    energy_j REAL NOT NULL, dynamic_j REAL NOT NULL, gpu_j REAL NOT NULL, integrated_j REAL NOT NULL,
    estimated_j REAL NOT NULL, unknown_j REAL NOT NULL, covered_s REAL NOT NULL, site_j REAL NOT NULL,
    location_g REAL NOT NULL, location_dynamic_g REAL NOT NULL, market_g REAL, marginal_g REAL,
    marginal_j REAL NOT NULL, embodied_g REAL, water_l REAL, by_estimated_j REAL NOT NULL,
    by_forecast_j REAL NOT NULL, by_fallback_j REAL NOT NULL,
    PRIMARY KEY (cut, zone, day, node, owner)) WITHOUT ROWID;
CREATE TABLE day_hours (
    cut INTEGER NOT NULL, day INTEGER NOT NULL, zone INTEGER NOT NULL, node INTEGER NOT NULL, owner INTEGER NOT NULL,
    hours BLOB NOT NULL, PRIMARY KEY (cut, zone, day, node, owner)) WITHOUT ROWID;
CREATE TABLE day_state (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, rolled_ms INTEGER NOT NULL, stale INTEGER NOT NULL,
    PRIMARY KEY (day, zone)) WITHOUT ROWID;
CREATE TABLE day_used (
    day INTEGER NOT NULL, zone INTEGER NOT NULL, kind TEXT NOT NULL, basis TEXT NOT NULL, source TEXT NOT NULL,
    standing TEXT NOT NULL, grid TEXT NOT NULL, energy_j REAL NOT NULL, grams REAL NOT NULL,
    least_g_per_kwh REAL NOT NULL, most_g_per_kwh REAL NOT NULL,
    PRIMARY KEY (day, zone, kind, basis, source, standing, grid)) WITHOUT ROWID;
CREATE TABLE task (
    owner INTEGER PRIMARY KEY, node INTEGER NOT NULL, started_ms INTEGER NOT NULL, state TEXT NOT NULL,
    boot TEXT NOT NULL, seq INTEGER NOT NULL, duration_s REAL NOT NULL, peak_w REAL NOT NULL, units TEXT NOT NULL);
CREATE TABLE work (
    hour INTEGER NOT NULL, zone INTEGER NOT NULL, node INTEGER NOT NULL, owner INTEGER NOT NULL, unit TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL, amount REAL NOT NULL, PRIMARY KEY (hour, zone, node, owner, unit, recorded_ms))
    WITHOUT ROWID;
CREATE TABLE reading (
    grid TEXT NOT NULL, kind TEXT NOT NULL, start_s INTEGER NOT NULL, end_s INTEGER NOT NULL, source TEXT NOT NULL,
    standing TEXT NOT NULL, recorded_s INTEGER NOT NULL, issued_s INTEGER NOT NULL, g_per_kwh REAL NOT NULL,
    basis TEXT NOT NULL, PRIMARY KEY (grid, kind, start_s, source, standing, recorded_s, issued_s, end_s))
    WITHOUT ROWID;
CREATE TABLE site (
    zone INTEGER NOT NULL, since_s INTEGER NOT NULL, recorded_s INTEGER NOT NULL, facts TEXT NOT NULL,
    PRIMARY KEY (zone, since_s, recorded_s)) WITHOUT ROWID;
CREATE TABLE device (
    pattern TEXT NOT NULL, since_s INTEGER NOT NULL, recorded_s INTEGER NOT NULL, facts TEXT NOT NULL,
    PRIMARY KEY (pattern, since_s, recorded_s)) WITHOUT ROWID;
"""

_MEMORY: Final = """
CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE settled (mark_ms INTEGER PRIMARY KEY);
INSERT INTO settled SELECT DISTINCT recorded_ms FROM hour WHERE recorded_ms > 0;
"""

_JOBS: Final = """
CREATE TABLE job (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, is_open INTEGER NOT NULL, workload TEXT NOT NULL,
    submitted_ms INTEGER NOT NULL, ended_ms INTEGER, record TEXT NOT NULL);
CREATE INDEX job_by_submission ON job (submitted_ms, id);
CREATE INDEX job_by_openness ON job (is_open, ended_ms);
CREATE INDEX job_by_workload ON job (workload, submitted_ms);
CREATE TABLE decision (
    job TEXT NOT NULL, made_s REAL NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, made_s));
CREATE TABLE outcome (
    job TEXT PRIMARY KEY, workload TEXT NOT NULL, model TEXT NOT NULL, policy TEXT NOT NULL, ended_ms INTEGER NOT NULL,
    value TEXT NOT NULL);
CREATE INDEX outcome_by_end ON outcome (ended_ms, job);
CREATE TABLE job_log (
    job TEXT NOT NULL, run TEXT NOT NULL, start INTEGER NOT NULL, at_ms INTEGER NOT NULL, characters INTEGER NOT NULL,
    text TEXT NOT NULL, PRIMARY KEY (job, run, start));
CREATE INDEX job_log_by_time ON job_log (at_ms);
CREATE INDEX owner_by_task ON owner (task);
CREATE TABLE document (
    kind TEXT NOT NULL, name TEXT NOT NULL, at_s REAL NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name, at_s));
"""

_SHARDS: Final = """
ALTER TABLE zone ADD COLUMN booked_ms INTEGER NOT NULL DEFAULT 0;
UPDATE zone SET booked_ms = COALESCE((SELECT value FROM meta WHERE meta.name = 'booked'), 0);
DELETE FROM meta WHERE name = 'booked';
ALTER TABLE settled RENAME TO settled_before;
CREATE TABLE settled (zone INTEGER NOT NULL, mark_ms INTEGER NOT NULL, PRIMARY KEY (zone, mark_ms)) WITHOUT ROWID;
INSERT INTO settled (zone, mark_ms) SELECT zone.id, settled_before.mark_ms FROM zone CROSS JOIN settled_before;
DROP TABLE settled_before;
CREATE TABLE shard (zone TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL);
ALTER TABLE job ADD COLUMN shard TEXT NOT NULL DEFAULT '';
"""

MIGRATIONS: Final[dict[int, str]] = {2: _BASE, 3: _MEMORY, 4: _JOBS, 5: _SHARDS}
"""What leads from the version before to each version. Version 1 was never released, and is refused."""

VERSION: Final = max(MIGRATIONS)

_MAKING: Final = 0x4556575453
"""Advisory lock of who makes tables."""

PARTITIONED: Final = {"ledger": ("end_ms", 1), "hour": ("hour", 3_600_000)}
"""On PostgreSQL: tables in partitions of about a month (30 days of UTC), by which column, and its unit in ms."""
PARTITION_MS: Final = 30 * 86_400_000


def migrate(connection: Connection, where: str) -> None:
    """Bring a database to this version.

    Raises:
        Failure: it is newer than this program, or too old.
    """
    have = _version(connection)
    if have == VERSION:
        return
    if have > VERSION or 0 < have < min(MIGRATIONS):
        fix = "install a newer evenwatt" if have > VERSION else "move it away: that version was never released"
        raise Failure(f"{where}: its schema has version {have}, expected {min(MIGRATIONS)} to {VERSION}; {fix}")
    for version in range(max(have + 1, min(MIGRATIONS)), VERSION + 1):
        with transaction(connection):
            _one_at_a_time(connection)
            if _version(connection) >= version:
                continue  # another collector has done it meanwhile
            for statement in MIGRATIONS[version].split(";"):
                if statement.strip():
                    connection.run(_said(statement, postgres=connection.postgres))
            connection.run("DELETE FROM meta WHERE name = 'schema'")
            connection.run("INSERT INTO meta VALUES ('schema', ?)", (version,))


def _one_at_a_time(connection: Connection) -> None:
    """Wait, until the transaction ends, for others who make tables: PostgreSQL refuses two that make the same."""
    if connection.postgres:
        connection.rows("SELECT pg_advisory_xact_lock(?)", (_MAKING,))


def prepare(connection: Connection, where: str) -> None:
    """Make the tables of an empty database; leave any other as it is.

    Raises:
        DatabaseError: somebody else makes them at this moment.
    """
    if _version(connection) == 0:
        migrate(connection, where)


def check(connection: Connection, where: str) -> None:
    """See that a database has this version, without changing it.

    Raises:
        Failure: it has another.
    """
    have = _version(connection)
    if have != VERSION:
        raise Failure(
            f"{where}: its schema has version {have}, expected {VERSION}; start this version's collector once"
        )


def _version(connection: Connection) -> int:
    exists = (
        "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?"
        if connection.postgres
        else "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    )
    if not connection.rows(exists, ("meta",)):
        return 0
    row = connection.rows("SELECT value FROM meta WHERE name = 'schema'")
    return int(row[0][0]) if row else 1


def _said(statement: str, *, postgres: bool) -> str:
    if not postgres:
        return statement
    name = re.search(r"CREATE TABLE (\w+)", statement)
    partition = PARTITIONED.get(name[1]) if name else None
    for ours, theirs in (
        (r"\bid INTEGER PRIMARY KEY", "id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        (r"\bINTEGER\b", "BIGINT"),
        (r"\bREAL\b", "DOUBLE PRECISION"),
        (r"\bBLOB\b", "BYTEA"),
        (r"\s*WITHOUT ROWID", ""),
    ):
        statement = re.sub(ours, theirs, statement)
    return f"{statement} PARTITION BY RANGE ({partition[0]})" if partition else statement


class Partitions:
    """Makes PostgreSQL's partitions as they are needed; SQLite has none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made: set[str] = set()

    def ensure(self, table: str, values: set[int]) -> None:
        """Make partitions for values of the table's partition column."""
        if not self._connection.postgres:
            return
        _, unit_ms = PARTITIONED[table]
        for number in {value * unit_ms // PARTITION_MS for value in values}:
            name = f"{table}_{number}"
            if name in self._made:
                continue
            _one_at_a_time(self._connection)
            low, high = (edge * PARTITION_MS // unit_ms for edge in (number, number + 1))
            self._connection.run(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES FROM ({low}) TO ({high})"
            )
            self._made.add(name)

    def forget(self) -> None:
        """Look again: a transaction that made some was rolled back."""
        self._made.clear()

    def drop_before(self, table: str, value: int) -> int:
        """Drop partitions that lie wholly before a value; return how many."""
        _, unit_ms = PARTITIONED[table]
        rows = self._connection.rows(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "JOIN pg_class p ON p.oid = i.inhparent WHERE p.relname = ?",
            (table,),
        )
        old = [name for (name,) in rows if (int(name.rpartition("_")[2]) + 1) * PARTITION_MS <= value * unit_ms]
        for name in old:
            self._connection.run(f"DROP TABLE IF EXISTS {name}")  # another shard may have done it
            self._made.discard(name)
        return len(old)


__all__ = ["MIGRATIONS", "PARTITIONED", "VERSION", "DatabaseError", "Partitions", "check", "migrate", "prepare"]
