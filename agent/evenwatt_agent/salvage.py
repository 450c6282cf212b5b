"""Reads what can be read of a damaged database, and sets it aside.

Every page that cannot be read costs what stands on it and no more: rows are asked for one by one, from both ends where
there are no numbers to ask for. A record counts only if its checksum is right. While this goes on the file is called
``<name>.mending``; it becomes ``<name>.broken-<time>`` when everything found is in the new one, so that a crash in
between begins again.
"""

from __future__ import annotations

import sqlite3
import time
from base64 import b64decode
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from evenwatt_agent.checkpoint import decode_record
from evenwatt_agent.merging import bridge, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evenwatt_wire import Ledger

_ASIDE_KEPT: Final = 3
_MOST_ROWS: Final = 10_000_000
_BESIDE: Final = ("", "-wal", "-shm")


@dataclass(slots=True)
class Salvaged:
    """What could be read."""

    records: list[Ledger] = field(default_factory=list)
    """In the order in which they were written."""
    unreadable: int = 0
    """Records that are known to have been there."""
    memory: dict[str, str] = field(default_factory=dict)
    others: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """Rows of all other tables, by their name."""

    def with_bridges(self) -> Iterator[Ledger]:
        """Yield the records, and for each hole between two of one boot one that the counters tell."""
        before = self._forgotten()
        for record in self.records:
            same = before if before is not None and before.boot == record.boot else None
            missing = bridge(same, record)
            if missing is not None:
                yield missing
            yield record
            before = record

    def _forgotten(self) -> Ledger | None:
        """Return the last record that was stored and forgotten, as far as its number and counters go."""
        with suppress(ValueError, KeyError):
            return decode_record(b64decode(self.memory["forgotten"]))
        return None


def unfinished(path: Path) -> bool:
    """Whether mending was interrupted."""
    return _mending(path).exists()


def begin(path: Path) -> None:
    """Take a damaged database out of the way.

    Raises:
        OSError: that is not possible.
    """
    if unfinished(path):  # what stands in its place was begun and holds nothing else
        for suffix in _BESIDE:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return
    for suffix in _BESIDE[::-1]:  # the database at last: until then it is the one that is found
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(_mending(path).with_name(_mending(path).name + suffix))


def end(path: Path) -> str:
    """Give it its last name, forget the oldest of its kind, and return the name."""
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in _BESIDE[::-1]:
        beside = _mending(path).with_name(_mending(path).name + suffix)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + suffix))
    older = sorted(p for p in path.parent.glob(f"{path.name}.broken-*") if not p.name.endswith(_BESIDE[1:]))
    for one in older[:-_ASIDE_KEPT]:
        for suffix in _BESIDE:
            one.with_name(one.name + suffix).unlink(missing_ok=True)
    return aside.name


def read(path: Path, tables: set[str]) -> Salvaged:
    """Return what can be read of the database that ``begin`` took out of the way. It never raises.

    Args:
        path: Where it was.
        tables: What to look for besides records and memory.
    """
    found = Salvaged()
    with suppress(sqlite3.Error), closing(_open(_mending(path))) as database:
        found.memory = {
            name: value for name, value in _rows(database, "memory") if isinstance(name, str) and isinstance(value, str)
        }
        found.others = {table: _rows(database, table) for table in sorted(tables)}
        _read_records(database, found)
    return found


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with suppress(sqlite3.Error):
        database.execute("PRAGMA cell_size_check=1")
    database.text_factory = lambda raw: raw.decode(errors="replace")
    return database


def _rows(database: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table that has no numbers: from the front, then from the back, up to the damage."""
    found: dict[Any, tuple[Any, ...]] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error):
            for row in database.execute(f"SELECT * FROM {table} ORDER BY 1 {order}"):  # noqa: S608 - our own names
                if row[0] in found and order == "DESC":
                    break
                found[row[0]] = row
    return [row for row in found.values() if None not in row]


def _read_records(database: sqlite3.Connection, found: Salvaged) -> None:
    seen: set[tuple[str, int]] = set()
    first, last = _ends(database)
    for number in range(first, last + 1):
        try:
            row = database.execute("SELECT crc, payload FROM ledger WHERE row = ?", (number,)).fetchone()
        except sqlite3.Error:
            found.unreadable += 1
            continue
        if row is None:
            continue
        record = _record(*row)
        if record is None or (record.boot, record.seq) in seen:
            found.unreadable += 1
            continue
        seen.add((record.boot, record.seq))
        found.records.append(record)
    found.records = _without_overlap(found.records)


def _ends(database: sqlite3.Connection) -> tuple[int, int]:
    """Return the first and last number a record may have."""
    known: list[int] = []
    for sql in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'ledger'", "SELECT max(row) FROM ledger",
        "SELECT max(row) FROM waiting", "SELECT max(rowid) FROM ledger INDEXED BY sqlite_autoindex_ledger_1",
    ):  # fmt: skip
        with suppress(sqlite3.Error):
            known += [row[0] for row in database.execute(sql) if isinstance(row[0], int) and row[0] < _MOST_ROWS]
    last = max(known, default=0)
    with suppress(sqlite3.Error):
        row = database.execute("SELECT min(row) FROM ledger").fetchone()
        if isinstance(row[0], int) and 0 < row[0] <= last:
            return row[0], last
    return 1, last


def _record(crc: object, payload: object) -> Ledger | None:
    if not isinstance(payload, bytes) or crc32(payload) != crc:
        return None
    with suppress(ValueError):
        return decode_record(payload)
    return None


def _without_overlap(records: list[Ledger]) -> list[Ledger]:
    """Return records without those that another one stands for: an old page may have come back."""
    reach: dict[str, int] = {}
    kept = []
    for record in sorted(records, key=lambda record: (first_of(record), -record.seq)):
        if first_of(record) > reach.get(record.boot, 0):
            kept.append(record)
            reach[record.boot] = record.seq
    chosen = {id(record) for record in kept}
    return [record for record in records if id(record) in chosen]


def _mending(path: Path) -> Path:
    return path.with_name(f"{path.name}.mending")
