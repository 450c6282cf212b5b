"""From a node's bytes to the ledger and its books, beside a naive way and DuckDB with the same rows."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from bench.accounting.fleet import MINUTE_MS, ZONE, record

from evenwatt_collector.books import Entry
from evenwatt_collector.storage import LedgerWriter
from evenwatt_wire import Kind, Topic, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MINUTES, BATCH = 30, 5_000
T0_MS = 1_793_577_600_000
NAIVE_RECORDS = 5_000


def measure(folder: Path, nodes: int, say: Callable[[str], None]) -> dict[str, float]:
    topics = {f"n{node}": Topic(ZONE, f"n{node}", Kind.LEDGER) for node in range(nodes)}
    payloads = [
        (f"n{node}", encode(record(node, minute + 1, T0_MS + minute * MINUTE_MS, T0_MS + (minute + 1) * MINUTE_MS,
                                   20_000.0 + node)))
        for minute in range(MINUTES)
        for node in range(nodes)
    ]  # fmt: skip
    say(f"ingest: {len(payloads)} node-minutes of {len(payloads[0][1])} bytes")
    ours = ledger(folder / "ingest.db", topics, payloads)
    say(f"ingest, ours: {ours:,.0f} node-minutes per second of processor time, fsync included")
    naive = naive_sqlite(folder / "naive.db", topics, payloads[:NAIVE_RECORDS])
    say(f"ingest, naive (a row a part, grams by SQL at each record, batches of {BATCH}): {naive:,.0f}")
    duck = duckdb_rows(folder / "duck.db", topics, payloads[:NAIVE_RECORDS])
    say(f"ingest, the same rows into DuckDB: {duck:,.0f}")
    return {
        "ingest_node_minutes_per_s": ours,
        "ingest_naive_per_s": naive,
        "ingest_duckdb_per_s": duck,
    }


def ledger(path: Path, topics: dict[str, Topic], payloads: list[tuple[str, bytes]]) -> float:
    """Decode, store durably, book by hour and owner."""
    writer = LedgerWriter(str(path))
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, len(payloads), BATCH):
        batch = payloads[first : first + BATCH]
        entries = [Entry(ZONE, decode(topics[node], payload), payload, 1.0) for node, payload in batch]
        writer.append(entries, entries[-1].record.end_wall_ms / 1e3 + 1)
    writer.settle()
    wall_s, busy_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    writer.close()
    return len(payloads) / max(wall_s, busy_s)


def _parts(topics: dict[str, Topic], payloads: list[tuple[str, bytes]]) -> Iterator[tuple[object, ...]]:
    for node, payload in payloads:
        made = decode(topics[node], payload)
        for part in made.parts:
            yield (node, made.boot, made.seq, made.end_wall_ms, part.kind, part.name, part.cpu_j + part.gpu_j,
                   part.idle_j)  # fmt: skip


def naive_sqlite(path: Path, topics: dict[str, Topic], payloads: list[tuple[str, bytes]]) -> float:
    """A row a part with its grams, looked up in the table of intensities."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE intensity (hour PRIMARY KEY, g);"
                     "CREATE TABLE part (node, boot, seq, end_ms, kind, name, dynamic_j, idle_j, grams,"
                     " PRIMARY KEY (node, boot, seq, kind, name));")  # fmt: skip
    hour = T0_MS // 3_600_000
    db.executemany("INSERT INTO intensity VALUES (?, ?)", [(hour + i, 300.0 + i) for i in range(48)])
    began_s = time.perf_counter()
    for first in range(0, len(payloads), BATCH):
        db.execute("BEGIN")
        db.executemany(
            "INSERT OR IGNORE INTO part SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (?7 + ?8) / 3.6e6 * 1.2 * g "
            "FROM intensity WHERE hour = ?4 / 3600000",
            _parts(topics, payloads[first : first + BATCH]),
        )
        db.execute("COMMIT")
    took_s = time.perf_counter() - began_s
    db.close()
    return len(payloads) / took_s


def duckdb_rows(path: Path, topics: dict[str, Topic], payloads: list[tuple[str, bytes]]) -> float:
    """The same rows, loaded through Arrow, the fastest way in."""
    import duckdb
    import pyarrow as pa

    db = duckdb.connect(str(path), config={"threads": 1})
    db.execute("CREATE TABLE part (node VARCHAR, boot VARCHAR, seq BIGINT, end_ms BIGINT, kind VARCHAR, name VARCHAR,"
               " dynamic_j DOUBLE, idle_j DOUBLE)")  # fmt: skip
    began_s = time.perf_counter()
    for first in range(0, len(payloads), BATCH):
        columns = list(zip(*_parts(topics, payloads[first : first + BATCH]), strict=True))
        names = ("node", "boot", "seq", "end_ms", "kind", "name", "dynamic_j", "idle_j")
        table = pa.table(dict(zip(names, map(list, columns), strict=True)))
        db.register("batch", table)
        db.execute("INSERT INTO part SELECT * FROM batch")
        db.unregister("batch")
    db.execute("CHECKPOINT")
    took_s = time.perf_counter() - began_s
    db.close()
    return len(payloads) / took_s
