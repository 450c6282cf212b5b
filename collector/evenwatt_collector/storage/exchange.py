"""Everything in one portable file: to move from SQLite to PostgreSQL or back, or to put away.

A gzip file of JSON lines: a header, for each table a line with its columns and then its rows, and at the end a line
with how many rows there were, so that a file that was cut off is known to be. Bytes are base64, after ``b64:``.
"""

from __future__ import annotations

import base64
import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.storage.connection import DatabaseError, connect, is_url, shown, snapshot, transaction
from evenwatt_collector.storage.schema import PARTITIONED, VERSION, Partitions, check, migrate
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evenwatt_collector.storage.connection import Connection

FORMAT: Final = "evenwatt-ledger"
_TABLES: Final = {
    "meta": "name",
    "zone": "id",
    "node": "id",
    "owner": "id",
    "boot": "id",
    "ledger": "boot, seq",
    "domain_energy": "node, domain, quality",
    "hour": "cut, zone, hour, node, owner, recorded_ms",
    "day": "cut, zone, day, node, owner",
    "day_hours": "cut, zone, day, node, owner",
    "day_state": "day, zone",
    "day_used": "day, zone, kind, basis, source, standing, grid",
    "task": "owner",
    "work": "hour, zone, node, owner, unit, recorded_ms",
    "reading": "grid, kind, start_s, source, standing, recorded_s, issued_s, end_s",
    "site": "zone, since_s, recorded_s",
    "device": "pattern, since_s, recorded_s",
    "memory": "name",
    "settled": "zone, mark_ms",
    "shard": "zone",
    "job": "id",
    "decision": "job, made_s",
    "outcome": "job",
    "job_log": "job, run, start",
    "document": "kind, name, at_s",
}
"""Tables and their order."""
_NUMBERED: Final = ("zone", "node", "owner", "boot")
_BATCH: Final = 5_000
_BYTES: Final = "b64:"
_TEXT: Final = "txt:"


def export(database: str, path: Path, say: Callable[[str, int], None]) -> int:
    """Write a database, as of one moment, to a file; return how many rows. ``say`` is told tables and rows so far.

    Raises:
        Failure: it cannot be read, or the file not be written; then there is no file.
    """
    connection = connect(database, write=False)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        check(connection, shown(database))
        with snapshot(connection), gzip.open(unfinished, "wb", compresslevel=6) as out:
            rows = 0
            out.write(_line({"format": FORMAT, "schema": VERSION}))
            for table, order in _TABLES.items():
                columns = _columns(connection, table)
                out.write(_line({"table": table, "columns": columns}))
                for row in _all(connection, table, columns, order):
                    out.write(_line([_said(value) for value in row]))
                    rows += 1
                    if rows % _BATCH == 0:
                        say(table, rows)
            out.write(_line({"rows": rows}))
        unfinished.replace(path)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}; name a file in a folder with room") from None
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}", exit_code=EXIT_FAILURE) from None
    finally:
        connection.close()
        unfinished.unlink(missing_ok=True)
    return rows


def import_(path: Path, database: str, say: Callable[[str, int], None]) -> int:
    """Read a file into a new, empty database, all or nothing; return how many rows.

    Raises:
        Failure: the file is damaged or of another version, or the database is not empty.
    """
    made = not is_url(database) and not Path(database).exists()
    connection = connect(database)
    rows = None
    try:
        migrate(connection, shown(database))
        if connection.rows("SELECT 1 FROM zone LIMIT 1"):
            raise Failure(f"{shown(database)}: it is not empty; name a new database")
        with transaction(connection):
            connection.run("DELETE FROM meta")
            rows = _read(connection, path, say)
            _number_on(connection)
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}; nothing was imported", exit_code=EXIT_FAILURE) from None
    finally:
        connection.close()
        if made and rows is None:
            for end in ("", "-wal", "-shm"):
                Path(f"{database}{end}").unlink(missing_ok=True)
    return rows


def _read(connection: Connection, path: Path, say: Callable[[str, int], None]) -> int:
    lines, rows, said = _lines(path), 0, None
    header = next(lines, None)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise Failure(f"{path}: no export of evenwatt; expected a file that 'evenwatt ledger export' wrote")
    if header.get("schema") != VERSION:
        raise Failure(
            f"{path}: of schema version {header.get('schema')}, expected {VERSION}; import it with its version"
        )
    table, marks, batch = "", "", []
    for line in lines:
        if isinstance(line, list):
            batch.append(tuple(_meant(value) for value in line))
            rows += 1
            if len(batch) < _BATCH:
                continue
        _put(connection, table, marks, batch)
        batch = []
        say(table, rows)
        if isinstance(line, dict) and "table" in line:
            table, columns = line["table"], line["columns"]
            if table not in _TABLES or columns != _columns(connection, table):
                raise Failure(f"{path}: table {table!r} with columns {columns}: not what version {VERSION} has")
            marks = f"({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        elif isinstance(line, dict):
            said = line.get("rows")
    if said != rows:
        raise Failure(f"{path}: {rows} rows, and its last line says {said}; the file was cut off: export it again")
    return rows


def _put(connection: Connection, table: str, marks: str, batch: list[tuple[Any, ...]]) -> None:
    if not batch:
        return
    if table in PARTITIONED:
        column = marks[1 : marks.index(")")].split(", ").index(PARTITIONED[table][0])
        Partitions(connection).ensure(table, {row[column] for row in batch})
    connection.many(f"INSERT INTO {table} {marks}", batch)


def _lines(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield msgspec.json.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise Failure(f"{path}: line {number}: {error}; the file is damaged") from None
    except (OSError, EOFError) as error:
        raise Failure(f"{path}: {error}; expected a file that 'evenwatt ledger export' wrote") from None


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number on after the highest number that was imported; SQLite does so by itself."""
    if connection.postgres:
        for table in _NUMBERED:
            connection.rows(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f"(SELECT COALESCE(MAX(id), 0) + 1 FROM {table}), false)"
            )


def _columns(connection: Connection, table: str) -> list[str]:
    if connection.postgres:
        rows = connection.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name = ? ORDER BY ordinal_position",
            (table,),
        )
    else:
        rows = connection.rows("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))
    return [str(name) for (name,) in rows]


def _all(connection: Connection, table: str, columns: list[str], order: str) -> Iterator[tuple[Any, ...]]:
    """Read a table in stretches of its order, so that it need not fit into memory."""
    keys = [columns.index(name) for name in order.split(", ")]
    after: tuple[Any, ...] | None = None
    names = ", ".join(columns)
    while True:
        where = "" if after is None else f"WHERE ({order}) > ({', '.join('?' * len(keys))})"
        rows = connection.rows(f"SELECT {names} FROM {table} {where} ORDER BY {order} LIMIT {_BATCH}", after or ())
        yield from rows
        if len(rows) < _BATCH:
            return
        after = tuple(rows[-1][key] for key in keys)


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _said(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return _BYTES + base64.b64encode(value).decode("ascii")
    if isinstance(value, str) and value.startswith((_BYTES, _TEXT)):
        return _TEXT + value
    return value


def _meant(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_BYTES):
        return base64.b64decode(value[len(_BYTES) :])
    if isinstance(value, str) and value.startswith(_TEXT):
        return value[len(_TEXT) :]
    return value
