"""The node's memory on disk: ledger records, and what a restarted agent must know.

SQLite in WAL mode with ``synchronous=FULL``: a record is on the disk before it is sent, and a torn write is rolled back
by the library. A record and the counter readings that it ends with are written in one transaction, so that the next
agent counts on from exactly there: no joule twice, none lost. The same readings stand in a second small file
(``checkpoint``), so that a database which loses its end does not count that stretch again.

Records stay after the collector has said ``stored``, for as long as there is room: a collector that lost its database
gets them again. ``waiting`` holds those not known to be stored; that a record is stored costs one small page and not
its own again. When there is no room, stored ones go first, oldest first; then the oldest waiting ones are added up
(``merging``): their detail goes, their joules stay. Only where nothing can be added up any more are records dropped.

What is damaged is set aside and what can be read of it is kept (``salvage``). Every payload carries a checksum.

Not safe for threads at once: callers hold one lock (``service`` runs every call on one worker thread).
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

from msgspec.structs import replace

from evenwatt_agent import checkpoint as checkpoints
from evenwatt_agent import salvage
from evenwatt_agent.memory import DamagedError, Memory
from evenwatt_agent.merging import end_of, first_of, merge, slim
from evenwatt_agent.room import Row, runs
from evenwatt_daemon import EXIT_FAILURE, Failure, get_logger
from evenwatt_wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_agent.checkpoint import Checkpoint
    from evenwatt_agent.salvage import Salvaged
    from evenwatt_wire import Ledger, Stored

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    row INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, first INTEGER NOT NULL, seq INTEGER NOT NULL,
    end_ms INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL, UNIQUE (boot, seq));
CREATE TABLE IF NOT EXISTS waiting (row INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_RECORDS: Final = frozenset({"ledger", "waiting", "sqlite_sequence"})
_LEDGERS_KEPT: Final = 16
_MISSING_AT_MOST: Final = 100
_LAST_ROW: Final = 2**62
_ROW_BYTES: Final = 100
"""What a row takes besides its payload, its index included."""


@dataclass(frozen=True, slots=True)
class Freed:
    """What had to be done to make room for a record."""

    merged: int = 0
    """Records that were added up into coarser ones."""
    dropped: int = 0
    dropped_j: float = 0.0


class Spool(Memory):
    """The ledger spool and the agent's small memory.

    Args:
        path: The database; ``:memory:`` keeps nothing.
        capacity: Records kept at most.
        max_bytes: Bytes of records kept at most; the file is a little larger.

    Raises:
        Failure: the file cannot be opened, and not because it is damaged.
    """

    def __init__(self, path: Path | str, capacity: int, max_bytes: int = 64_000_000) -> None:
        self._capacity, self._max_bytes = capacity, max_bytes
        self._path = None if path == ":memory:" else Path(path)
        self._count = self._bytes = 0
        self._notes: list[str] = []
        try:
            self._open()
        except DamagedError as error:
            self.mend(str(error))
        self._adopt_tail()

    def _open(self) -> None:
        if self._path is not None and salvage.unfinished(self._path):
            raise DamagedError(f"{self._path}: mending it was interrupted")
        super().__init__(self._path or ":memory:", _SCHEMA)
        self._db.text_factory = _text
        try:
            if (self._db.execute("PRAGMA quick_check(1)").fetchone() or ("no answer",))[0] != "ok":
                raise sqlite3.DatabaseError("it is damaged")  # noqa: TRY301 - as the library would say it
            text = self.recall("checkpoint")
            if text is not None and checkpoints.load(text) is None:
                raise sqlite3.DatabaseError("what it remembers is damaged")  # noqa: TRY301
            self._measure()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DamagedError(f"{self._path}: {error}") from None

    def mend(self, why: str) -> None:
        """Set a damaged file aside, keep what can be read of it, and go on.

        Raises:
            Failure: a sound one cannot be made.
        """
        if self._path is None:
            raise Failure(f"the records in memory are damaged: {why}; start the agent again")
        try:
            with suppress(AttributeError, sqlite3.Error):
                self._db.close()
            salvage.begin(self._path)
            super().__init__(self._path, _SCHEMA)
            self._db.text_factory = _text
            known = self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            found = salvage.read(self._path, {str(name) for (name,) in known} - _RECORDS - {"memory"})
            with self._writing():
                self._take_in(found)
            self._measure()
            aside = salvage.end(self._path)
        except (OSError, sqlite3.Error) as error:
            raise Failure(
                f"{self._path}: it is damaged ({why}) and no new one can be made: {error}; see that its folder is "
                f"writable and has room",
                exit_code=EXIT_FAILURE,
            ) from None
        get_logger("spool").error(
            "the database was damaged; it is set aside, and what can be read of it is kept",
            why=why, aside=aside, records=len(found.records), unreadable=found.unreadable,
        )  # fmt: skip
        self._notes.append(
            f"the spool was damaged and is set aside as {aside}: {len(found.records)} records could be read, "
            f"{found.unreadable} could not; what no counter bridges is not known"
        )

    def _take_in(self, found: Salvaged) -> None:
        for record in found.with_bridges():
            self._insert(record)
        for name, value in found.memory.items():
            if name != "checkpoint" or checkpoints.load(value) is not None:
                self._remember(name, value)
        for table, rows in found.others.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                with suppress(sqlite3.DatabaseError):  # of another shape: written by another version
                    self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - our own

    def _adopt_tail(self) -> None:
        """Take the second file's word where the database ends before it."""
        known = checkpoints.read_tail(self._path) if self._path is not None else None
        if known is None:
            return
        last = self._last_of(known.end.boot)
        if (last.seq if last else 0) >= known.end.seq - 1:
            return
        with self._writing():
            missing = known.bridge_from(last, checkpoints.load(self.recall("checkpoint")))
            if missing is not None:
                self._insert(missing)
            self._remember("checkpoint", checkpoints.dump(known.checkpoint))
        self._measure()

    def _last_of(self, boot: str) -> Ledger | None:
        row = self._db.execute(
            "SELECT boot, payload FROM ledger WHERE boot = ? ORDER BY seq DESC LIMIT 1", (boot,)
        ).fetchone()
        return self._decode(row[1]) if row else None

    # --- records --------------------------------------------------------------------------------------------------

    def append(self, record: Ledger, checkpoint: Checkpoint) -> Freed:
        """Keep a record and the readings it ends with; make room for it if need be.

        Raises:
            sqlite3.Error: nothing was kept.
        """
        with self._writing():
            self._insert(record)
            self._remember("checkpoint", checkpoints.dump(checkpoint))
            freed = self._make_room()
        if self._path is not None:
            checkpoints.write_tail(self._path, checkpoint, record)
        return freed

    def checkpoint(self) -> Checkpoint | None:
        """Where the last record ended, or None on a first start."""
        return checkpoints.load(self.recall("checkpoint"))

    def take_notes(self) -> list[str]:
        """Return what is not known about earlier records, once; the next record says it."""
        notes, self._notes = self._notes, []
        return notes

    def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to ``limit`` (row, payload) not yet known to be stored, oldest first, beyond row ``after``.

        Raises:
            sqlite3.DatabaseError: one of them is damaged.
        """
        rows = self._db.execute(
            "SELECT ledger.row, payload, crc FROM waiting JOIN ledger ON ledger.row = waiting.row "
            "WHERE waiting.row > ? ORDER BY waiting.row LIMIT ?",
            (after, limit),
        ).fetchall()
        if any(not isinstance(payload, bytes) or crc32(payload) != crc for _, payload, crc in rows):
            raise sqlite3.DatabaseError("a record's checksum is wrong")
        return [(row, payload) for row, payload, _ in rows]

    def stored(self, said: Stored) -> int:
        """Take the collector's word on a boot. Return how many records must be sent again, since it lacks them."""
        with self._writing():
            self._db.execute(
                "DELETE FROM waiting WHERE row IN (SELECT waiting.row FROM waiting JOIN ledger "
                "ON ledger.row = waiting.row WHERE boot = ? AND seq <= ?)",
                (said.boot, said.seq),
            )
            if said.beyond:
                rows = self._db.execute(
                    "SELECT ledger.row, first, seq FROM waiting JOIN ledger ON ledger.row = waiting.row WHERE boot = ?",
                    (said.boot,),
                ).fetchall()
                safe = [(row,) for row, first, seq in rows if _is_safe(said, first, seq)]
                self._db.executemany("DELETE FROM waiting WHERE row = ?", safe)
            before = self.waiting()
            self._db.executemany(
                "INSERT OR IGNORE INTO waiting SELECT row FROM ledger WHERE boot = ? AND seq >= ? AND first <= ?",
                [(said.boot, first, last) for first, last in said.missing],
            )
            return self.waiting() - before

    def meet(self, ledger: str, since_ms: int) -> int:
        """Note the name of a collector's database. If it is new, all records that ended since ``since_ms`` wait again.

        Returns:
            Records that wait and did not before.
        """
        known: list[str] = json.loads(self.recall("ledgers") or "[]")
        if not ledger or ledger in known:
            return 0
        with self._writing():
            before = self.waiting()
            self._db.execute("INSERT OR IGNORE INTO waiting SELECT row FROM ledger WHERE end_ms >= ?", (since_ms,))
            self._remember("ledgers", json.dumps([*known, ledger][-_LEDGERS_KEPT:]))
            return self.waiting() - before

    def waiting(self, after: int = 0, up_to: int = _LAST_ROW) -> int:
        """Records not yet known to be stored, of those beyond row ``after`` up to row ``up_to``."""
        sql = "SELECT count(*) FROM waiting WHERE row > ? AND row <= ?"
        return int(self._db.execute(sql, (after, up_to)).fetchone()[0])

    @property
    def kept(self) -> tuple[int, int]:
        """Records and bytes kept, stored ones included."""
        return self._count, self._bytes

    # --- room -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> Freed:
        """Free a hundredth at a time, so that the oldest pages are not rewritten for every record."""
        if self._count <= self._capacity and self._bytes <= self._max_bytes:
            return Freed()
        most = self._capacity - self._capacity // 100, self._max_bytes - self._max_bytes // 100
        self._forget_stored(*most)
        merged = dropped = 0
        dropped_j = 0.0
        while self._count > most[0] or self._bytes > most[1]:
            groups = runs(self._rows(), self._excess(*most))
            merged += sum(map(len, groups))
            for group in groups:
                self._merge(group)
            if not groups:
                dropped, dropped_j = dropped + 1, dropped_j + self._drop_oldest()
        if dropped:
            self._notes.append(f"spool full: the oldest {dropped} records were dropped, {dropped_j:.3f} J")
        return Freed(merged, dropped, dropped_j)

    def _excess(self, records: int, size: int) -> int:
        return max(self._count - records, (self._bytes - size) * self._count // max(1, self._bytes), 1)

    def _forget_stored(self, records: int, size: int) -> None:
        rows = self._db.execute(
            "SELECT row, length(payload) FROM ledger WHERE row NOT IN (SELECT row FROM waiting) ORDER BY row"
        )
        gone = []
        for row, length in rows:
            if self._count <= records and self._bytes <= size:
                break
            gone.append(row)
            self._count, self._bytes = self._count - 1, self._bytes - length - _ROW_BYTES
        if not gone:
            return
        (payload,) = self._db.execute("SELECT payload FROM ledger WHERE row = ?", (gone[-1],)).fetchone()
        last = self._decode(payload)
        self._remember("forgotten", b64encode(encode(replace(end_of(last), seq=last.seq))).decode())
        self._db.executemany("DELETE FROM ledger WHERE row = ?", [(row,) for row in gone])

    def _rows(self) -> list[Row]:
        return [Row(*row) for row in self._db.execute("SELECT row, boot, first, seq FROM ledger ORDER BY row")]

    def _merge(self, group: Sequence[Row]) -> None:
        kept = group[-1].row
        records, size = [], 0
        for row in group:
            (payload,) = self._db.execute("SELECT payload FROM ledger WHERE row = ?", (row.row,)).fetchone()
            records.append(self._decode(payload))
            size += len(payload) + _ROW_BYTES
        coarse = merge(records)
        payload = encode(coarse)
        gone = [(row.row,) for row in group[:-1]]
        self._db.executemany("DELETE FROM ledger WHERE row = ?", gone)
        self._db.executemany("DELETE FROM waiting WHERE row = ?", gone)
        self._db.execute(
            "UPDATE ledger SET first = ?, payload = ?, crc = ? WHERE row = ?",
            (first_of(coarse), payload, crc32(payload), kept),
        )
        self._count -= len(gone)
        self._bytes += len(payload) + _ROW_BYTES - size

    def _drop_oldest(self) -> float:
        row, payload = self._db.execute("SELECT row, payload FROM ledger ORDER BY row LIMIT 1").fetchone()
        self._db.execute("DELETE FROM ledger WHERE row = ?", (row,))
        self._db.execute("DELETE FROM waiting WHERE row = ?", (row,))
        self._count, self._bytes = self._count - 1, self._bytes - len(payload) - _ROW_BYTES
        return self._decode(payload).total.energy_j

    # --- jobs -----------------------------------------------------------------------------------------------------

    def runs(self) -> list[bytes]:
        """Return what is kept of the runs of jobs."""
        return [row[0] for row in self._db.execute("SELECT CAST(body AS BLOB) FROM runs ORDER BY id")]

    def keep_run(self, run: str, body: bytes) -> None:
        """Keep how a run stands: when this returns it is on the disk."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (run, body))

    def forget_runs(self, runs: Sequence[str]) -> None:
        """Forget runs that ended long ago."""
        with self._db:
            self._db.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in runs])

    # --- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run what is inside as one transaction; what was counted along is right again if it fails."""
        counted, notes = (self._count, self._bytes), list(self._notes)
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield
        except BaseException:
            (self._count, self._bytes), self._notes = counted, notes
            raise

    def _insert(self, record: Ledger) -> None:
        record, payload = slim(record)
        row = self._db.execute(
            "INSERT INTO ledger (boot, first, seq, end_ms, crc, payload) VALUES (?, ?, ?, ?, ?, ?)",
            (record.boot, first_of(record), record.seq, record.end_wall_ms, crc32(payload), payload),
        ).lastrowid
        self._db.execute("INSERT INTO waiting VALUES (?)", (row,))
        self._count, self._bytes = self._count + 1, self._bytes + len(payload) + _ROW_BYTES

    def _decode(self, payload: bytes) -> Ledger:
        return checkpoints.decode_record(payload)

    def _measure(self) -> None:
        self._count, length = self._db.execute(
            "SELECT count(*), COALESCE(sum(length(payload)), 0) FROM ledger"
        ).fetchone()
        self._bytes = length + _ROW_BYTES * self._count


def _text(raw: bytes) -> str:
    """Return what a damaged text says; the library would call it an error that may pass."""
    return raw.decode(errors="replace")


def _is_safe(said: Stored, first: int, seq: int) -> bool:
    """Whether a collector has all that a record stands for."""
    if seq <= said.seq:
        return True
    if not said.missing:
        return all(number <= said.seq or number in said.beyond for number in range(first, seq + 1))
    known = said.missing[-1][0] - 1 if len(said.missing) >= _MISSING_AT_MOST else max(said.beyond)
    return seq <= known and not any(first <= last and start <= seq for start, last in said.missing)
