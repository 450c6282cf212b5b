"""The ledger on disk: SQLite, each record once, sums kept beside the records in the same transaction.

``synchronous=FULL`` in WAL mode: a commit is on the disk before ``stored`` is said, because the node deletes its only
copy on that word. The cost, one fsync a commit, is shared by all records that arrived meanwhile (``store``).

Energy per node and domain stands in ``domain_energy``, by quality; the record as it was received in
``ledger.payload``. Sums are kept in two floats (``carbon.Sum``), so that years of minutes lose nothing to rounding.

One thread at a time may use an object of this module.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evenwatt_collector.books import MAX_STRETCHES, BootTotals, Commit, Entry, Span, complete_up_to, cover, holes
from evenwatt_collector.carbon import Factor, Sum, grams
from evenwatt_daemon import EXIT_FAILURE, EXIT_USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evenwatt_wire import Ledger

SCHEMA_VERSION: Final = 1
_APPLICATION: Final = 0x45565754  # "EVWT" in the file's header: this database is ours
_BUSY_MS: Final = 2_000

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE factor (
    id INTEGER PRIMARY KEY, intensity_g_per_kwh REAL NOT NULL, pue REAL NOT NULL, source TEXT NOT NULL,
    year INTEGER NOT NULL, UNIQUE (intensity_g_per_kwh, pue, source, year));
CREATE TABLE node_boot (
    node TEXT NOT NULL, boot TEXT NOT NULL, zone TEXT NOT NULL, records INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    last_total_j REAL NOT NULL, energy_j REAL NOT NULL, energy_low_j REAL NOT NULL, grams REAL NOT NULL,
    grams_low REAL NOT NULL, numbers TEXT NOT NULL, covered TEXT NOT NULL, PRIMARY KEY (node, boot));
CREATE TABLE ledger (
    node TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL, zone TEXT NOT NULL,
    start_mono_ns INTEGER NOT NULL, end_mono_ns INTEGER NOT NULL, start_wall_ms INTEGER NOT NULL,
    end_wall_ms INTEGER NOT NULL, energy_j REAL NOT NULL, quality TEXT NOT NULL, gaps INTEGER NOT NULL,
    factor INTEGER NOT NULL REFERENCES factor (id), grams REAL NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (node, boot, seq));
CREATE INDEX ledger_by_time ON ledger (zone, end_wall_ms);
CREATE TABLE domain_energy (
    node TEXT NOT NULL, boot TEXT NOT NULL, domain TEXT NOT NULL, quality TEXT NOT NULL,
    energy_j REAL NOT NULL, energy_low_j REAL NOT NULL, PRIMARY KEY (node, boot, domain, quality)) WITHOUT ROWID;
"""


@dataclass(slots=True)
class _Boot:
    """One row of ``node_boot`` with what is needed to go on from it."""

    zone: str
    records: int = 0
    last_seq: int = 0
    last_total_j: float = 0.0
    energy: Sum = field(default_factory=Sum)
    grams: Sum = field(default_factory=Sum)
    numbers: list[Span] = field(default_factory=list)
    """Sequence numbers stored, as stretches."""
    covered: list[Span] = field(default_factory=list)
    """Monotonic time stored, as stretches."""

    def add(self, record: Ledger, weight_g: float) -> None:
        self.records += 1
        self.numbers = cover(self.numbers, record.seq, record.seq + 1)
        self.energy.add(record.total.energy_j)
        self.grams.add(weight_g)
        end_ns = max(record.start_mono_ns, record.end_mono_ns)
        self.covered = cover(self.covered, record.start_mono_ns, end_ns)[-MAX_STRETCHES:]
        if record.seq > self.last_seq:
            self.last_seq, self.last_total_j = record.seq, record.total.total_j

    def totals(self, node: str, boot: str) -> BootTotals:
        return BootTotals(
            zone=self.zone,
            node=node,
            boot=boot,
            records=self.records,
            mark=complete_up_to(self.numbers),
            missing=holes(self.numbers),
            last_seq=self.last_seq,
            last_total_j=self.last_total_j,
            energy_j=self.energy.value,
            grams=self.grams.value,
            covered=tuple(self.covered),
        )


class LedgerDatabase:
    """The open database.

    Raises:
        Failure: it cannot be opened or is not ours.
    """

    def __init__(self, path: Path) -> None:
        self._boots: dict[tuple[str, str], _Boot] = {}
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            self._prepare()
        except sqlite3.OperationalError as error:  # locked, full, no such folder: some of these pass
            wait = "locked" in str(error) or "full" in str(error)
            raise Failure(
                f"{path}: {error}; the folder must exist, have room and be writable by this user",
                exit_code=EXIT_FAILURE if wait else EXIT_USAGE,
            ) from None
        except sqlite3.DatabaseError as error:
            raise Failure(f"{path}: {error}; move it away or name another file with 'database'") from None

    def new_epoch(self, wall_s: int) -> tuple[int, bool]:
        """Begin an epoch: return its number, durably above all before it, and whether an earlier one ran here.

        The wall clock is a lower bound, so that a collector with a new, empty database is not refused by nodes that
        remember the epochs of the old one.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
            epoch = max(int(row[0]) + 1 if row else 1, wall_s)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
        return epoch, row is not None

    def totals(self) -> tuple[BootTotals, ...]:
        """Return the totals of every boot."""
        keys = self._db.execute("SELECT node, boot FROM node_boot ORDER BY rowid").fetchall()
        return tuple(self._boot(node, boot, "").totals(node, boot) for node, boot in keys)

    def append(self, entries: Sequence[Entry]) -> Commit:
        """Store records in one transaction.

        Raises:
            sqlite3.Error: nothing of it was stored.
        """
        touched: dict[tuple[str, str], set[int]] = {}
        stored = 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for entry in entries:
                touched.setdefault((entry.record.node, entry.record.boot), set()).add(entry.record.seq)
                stored += self._insert(entry)
            for node, boot in touched:
                self._save(node, boot)
            self._db.execute("COMMIT")
        except BaseException:
            self._boots.clear()  # they are ahead of the disk now, and are read again
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        totals = tuple(self._boots[key].totals(*key) for key in touched)
        beyond = {
            (boot.node, boot.boot): sorted(seq for seq in touched[boot.node, boot.boot] if seq > boot.mark)
            for boot in totals
        }
        return Commit(totals, beyond, stored, len(entries) - stored)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == SCHEMA_VERSION and self._db.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION:
            return
        if version or self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError(f"not a ledger of version {SCHEMA_VERSION}")
        header = f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version={SCHEMA_VERSION};"
        self._db.executescript(f"BEGIN; {_SCHEMA} {header} COMMIT;")

    def _insert(self, entry: Entry) -> int:
        record = entry.record
        weight_g = grams(record.total.energy_j, entry.factor)
        row = (
            record.node, record.boot, record.seq, entry.zone, record.start_mono_ns, record.end_mono_ns,
            record.start_wall_ms, record.end_wall_ms, record.total.energy_j, record.total.quality.value,
            len(record.gaps), self._factor(entry.factor), weight_g, entry.payload,
        )  # fmt: skip
        boot = self._boot(record.node, record.boot, entry.zone)
        if not self._db.execute(f"INSERT OR IGNORE INTO ledger VALUES ({_marks(len(row))})", row).rowcount:  # noqa: S608
            return 0
        boot.add(record, weight_g)
        self._add_domains(record)
        return 1

    def _add_domains(self, record: Ledger) -> None:
        for domain in record.domains:
            key = (record.node, record.boot, domain.id, domain.quality.value)
            row = self._db.execute(
                "SELECT energy_j, energy_low_j FROM domain_energy "
                "WHERE node = ? AND boot = ? AND domain = ? AND quality = ?",
                key,
            ).fetchone()
            total = Sum(*row) if row else Sum()
            total.add(domain.energy_j)
            self._db.execute(
                "INSERT OR REPLACE INTO domain_energy VALUES (?, ?, ?, ?, ?, ?)", (*key, total.high, total.low)
            )

    def _factor(self, factor: Factor) -> int:
        values = (factor.intensity_g_per_kwh, factor.pue, factor.source, factor.year or 0)
        self._db.execute(
            "INSERT OR IGNORE INTO factor (intensity_g_per_kwh, pue, source, year) VALUES (?, ?, ?, ?)", values
        )
        row = self._db.execute(
            "SELECT id FROM factor WHERE intensity_g_per_kwh = ? AND pue = ? AND source = ? AND year = ?", values
        ).fetchone()
        return int(row[0])

    def _boot(self, node: str, boot: str, zone: str) -> _Boot:
        known = self._boots.get((node, boot))
        if known is None:
            known = self._boots[node, boot] = self._load(node, boot) or _Boot(zone)
        return known

    def _load(self, node: str, boot: str) -> _Boot | None:
        row = self._db.execute(
            "SELECT zone, records, last_seq, last_total_j, energy_j, energy_low_j, grams, grams_low, numbers, covered "
            "FROM node_boot WHERE node = ? AND boot = ?",
            (node, boot),
        ).fetchone()
        if row is None:
            return None
        zone, records, last_seq, last_total_j, energy, energy_low, weight, weight_low, numbers, covered = row
        return _Boot(
            zone=zone,
            records=records,
            last_seq=last_seq,
            last_total_j=last_total_j,
            energy=Sum(energy, energy_low),
            grams=Sum(weight, weight_low),
            numbers=[(start, end) for start, end in json.loads(numbers)],
            covered=[(start, end) for start, end in json.loads(covered)],
        )

    def _save(self, node: str, boot: str) -> None:
        book = self._boots[node, boot]
        row = (
            node, boot, book.zone, book.records, book.last_seq, book.last_total_j, book.energy.high, book.energy.low,
            book.grams.high, book.grams.low, json.dumps(book.numbers), json.dumps(book.covered),
        )  # fmt: skip
        # ON CONFLICT and not REPLACE: the order of rows is the order of boots.
        self._db.execute(
            f"INSERT INTO node_boot VALUES ({_marks(len(row))}) ON CONFLICT (node, boot) DO UPDATE SET "  # noqa: S608
            "records = excluded.records, last_seq = excluded.last_seq, last_total_j = excluded.last_total_j, "
            "energy_j = excluded.energy_j, energy_low_j = excluded.energy_low_j, grams = excluded.grams, "
            "grams_low = excluded.grams_low, numbers = excluded.numbers, covered = excluded.covered",
            row,
        )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def grams_since(path: Path, zone: str, wall_s: float) -> float:
    """Return what a zone's records that ended after a moment (Unix time) weigh; reads beside the writer."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_MS / 1e3)) as connection:
        row = connection.execute(
            "SELECT total(grams) FROM ledger WHERE zone = ? AND end_wall_ms > ?", (zone, round(wall_s * 1e3))
        ).fetchone()
    return float(row[0])
