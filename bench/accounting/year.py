"""A year of a fleet: the report from roll-ups, beside SQL over hours in SQLite and in DuckDB, with the same result."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import numpy as np
from bench.accounting.fleet import ZONE

from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing
from evenwatt_collector.carbon.site import SiteFacts
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, open_and_build
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.hours import LABEL, NODE, OWNER
from evenwatt_collector.storage.rollup import due, roll_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from evenwatt_collector.storage import Connection

    Floats = NDArray[np.float64]

DAYS, HOURS, DAY_S = 365, 8_760, 86_400
FIRST = 20_454  # 2026-01-01
WORKLOADS, PUE = 20, 1.2
NAIVE_NODES = 50


def measure(folder: Path, nodes: int, say: Callable[[str], None]) -> dict[str, float]:
    rng = np.random.default_rng(7)
    energy_j = rng.uniform(1e5, 4e6, (nodes, HOURS))
    intensity = rng.uniform(50, 700, HOURS)
    path = folder / "year.db"
    build(path, energy_j, intensity, say)
    times = {by: report(path, by) for by in (By.ZONE, By.NODE, By.WORKLOAD)}
    ours_g, year_s = times[By.NODE][1], max(took for took, _ in times.values())
    for by, (took_s, _) in times.items():
        say(f"year's report by {by.value}, {nodes} nodes: {took_s:.3f} s (size {path.stat().st_size / 1e6:.0f} MB)")
    naive_s, naive_g = naive(folder / "naive-year.db", energy_j[:NAIVE_NODES], intensity)
    naive_s *= nodes / NAIVE_NODES
    say(
        f"the same by SQL over hours in SQLite: {naive_s:.1f} s (of {NAIVE_NODES} nodes, times {nodes / NAIVE_NODES:g})"
    )
    duck_s, duck_g = duck(energy_j, intensity)
    say(f"the same by SQL over hours in DuckDB, one thread, data in memory: {duck_s:.2f} s")
    ours = [abs(ours_g[f"n{i}"] - duck_g[i]) / duck_g[i] for i in range(nodes)]
    theirs = [abs(naive_g[i] - duck_g[i]) / duck_g[i] for i in range(NAIVE_NODES)]
    difference = max(ours + theirs)
    say(f"the three agree to {difference:.1e}")
    return {
        "year_report_s": year_s,
        "year_naive_s": naive_s,
        "year_duckdb_s": duck_s,
        "year_rel_difference": difference,
    }


def build(path: Path, energy_j: Floats, intensity: Floats, say: Callable[[str], None]) -> None:
    """Fill hours as the writer does and roll up every day by the shipping code."""
    nodes = len(energy_j)
    writer = LedgerWriter(str(path))
    db = writer.connection
    db.run("PRAGMA synchronous=OFF")
    store.set_site(db, ZONE, SiteFacts(grid="G", fallback_g_per_kwh=400.0, pue=PUE), None, 1)
    store.record(db, [_reading((FIRST * 24 + i) * 3600, float(value)) for i, value in enumerate(intensity)])
    db.begin()
    ends = FIRST * DAY_S * 1000, (FIRST + DAYS) * DAY_S * 1000
    db.many("INSERT INTO node VALUES (?, 1, ?, ?, ?, 1)", [(i + 1, f"n{i}", *ends) for i in range(nodes)])
    db.many("INSERT INTO owner VALUES (?, ?, 'unit', ?, ?, '', '', '', '')",
            [(i + 1, i + 1, f"u{i}", f"load-{i}") for i in range(WORKLOADS)])  # fmt: skip
    db.commit()
    for day in range(DAYS):
        fill(db, day, energy_j)
        now_s = (FIRST + day + 2) * DAY_S
        for number, zone in due(db, now_s):
            roll_up(db, number, zone, now_s)
        db.run("DELETE FROM hour")
        if day % 60 == 59:
            say(f"year: {day + 1} of {DAYS} days rolled up")
    writer.close()


def _reading(start_s: int, value: float) -> Reading:
    end_s = start_s + 3600
    return Reading(
        grid="G", start_s=start_s, end_s=end_s, g_per_kwh=value, kind=Kind.AVERAGE, basis=Basis.LIFECYCLE,
        source="file", standing=Standing.MEASURED, issued_s=end_s, recorded_s=end_s,
    )  # fmt: skip


def fill(db: Connection, day: int, energy_j: Floats) -> None:
    nodes, first = len(energy_j), (FIRST + day) * 24
    part = energy_j[:, day * 24 : (day + 1) * 24]
    slots = np.zeros((nodes, 24, 24))
    slots[:, :, :12] = (part / 12)[:, :, None]
    rows = []
    for hour in range(24):
        for node in range(nodes):
            joules = float(part[node, hour])
            blob = slots[node, hour].tobytes()
            rows.append((NODE, first + hour, 1, node + 1, 0, 0, joules, 0, 0, 0, 0, 3600.0, blob))
    by_load = np.stack([part[w::WORKLOADS].sum(axis=0) for w in range(WORKLOADS)])
    for w in range(WORKLOADS):
        for hour in range(24):
            blob = np.concatenate((np.full(12, by_load[w, hour] / 12), np.zeros(12))).tobytes()
            rows.append((LABEL, first + hour, 1, 0, w + 1, 0, float(by_load[w, hour]), 0, 0, 0, 0, 0, blob))
    rows += [(OWNER, *row[1:4], row[3] % WORKLOADS + 1, *row[5:]) for row in rows[: 24 * nodes : 24]]
    db.begin()
    db.many(f"INSERT INTO hour VALUES ({', '.join('?' * 13)})", rows)
    db.run("INSERT INTO day_state VALUES (?, 1, 0, 1)", (FIRST + day,))
    db.commit()


def report(path: Path, by: By) -> tuple[float, dict[str, float]]:
    """Open, ask, close: what `evenwatt report --database` does. The better of two."""
    query = ReportQuery(by=by, start_s=FIRST * DAY_S, end_s=(FIRST + DAYS) * DAY_S, timezone="UTC")
    made = Made(now_s=(FIRST + DAYS + 3) * DAY_S, version="bench", fleet="bench")
    best_s, rows = float("inf"), {}
    for _ in range(2):
        began_s = time.perf_counter()
        found = open_and_build(str(path), query, made)
        best_s = min(best_s, time.perf_counter() - began_s)
        rows = {row.name: row.figures.location_g for row in found.rows}
    return best_s, rows


SQL = "SELECT node, SUM(energy_j / 3.6e6 * 1.2 * g) FROM e JOIN i ON e.hour = i.hour GROUP BY node ORDER BY node"


def naive(path: Path, energy_j: Floats, intensity: Floats) -> tuple[float, list[float]]:
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE e (node, hour, energy_j, PRIMARY KEY (node, hour)); CREATE TABLE i (hour PRIMARY KEY, g)"
    )
    db.executemany("INSERT INTO i VALUES (?, ?)", enumerate(intensity.tolist()))
    db.executemany("INSERT INTO e VALUES (?, ?, ?)",
                   ((n, h, v) for n, row in enumerate(energy_j.tolist()) for h, v in enumerate(row)))  # fmt: skip
    db.commit()
    began_s = time.perf_counter()
    rows = db.execute(SQL).fetchall()
    took_s = time.perf_counter() - began_s
    db.close()
    return took_s, [grams for _, grams in rows]


def duck(energy_j: Floats, intensity: Floats) -> tuple[float, list[float]]:
    import duckdb
    import pyarrow as pa

    nodes = len(energy_j)
    e = pa.table({"node": np.repeat(np.arange(nodes), HOURS), "hour": np.tile(np.arange(HOURS), nodes),
                       "energy_j": energy_j.ravel()})  # fmt: skip
    i = pa.table({"hour": np.arange(HOURS), "g": intensity})
    db = duckdb.connect(config={"threads": 1})
    db.register("e_given", e)
    db.register("i_given", i)
    db.execute("CREATE TABLE e AS SELECT * FROM e_given; CREATE TABLE i AS SELECT * FROM i_given")
    began_s = time.perf_counter()
    rows = db.execute(SQL).fetchall()
    took_s = time.perf_counter() - began_s
    db.close()
    return took_s, [grams for _, grams in rows]
