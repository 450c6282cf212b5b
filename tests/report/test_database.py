"""The verb on a real database: a report before and after a correction, and the same sums in every format."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record, task

PARTS = (("task", f"{1:012x}", 900_000.0, 0.0), ("idle", "", 0.0, 300_000.0), ("system", "", 60_000.0, 0.0))
CORRECTED_S = T0 + DAY
"""When the provider said that the first three hours had been cleaner than it had thought."""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Twelve hours of a node of 350 W, in hours of 300 g/kWh; three of them were corrected to 200 g/kWh."""
    path = tmp_path_factory.mktemp("database") / "collector.db"
    writer = LedgerWriter(str(path))
    store.set_site(writer.connection, "hall", facts(), None, 1)
    store.record(writer.connection, [reading(T0 + HOUR * h, T0 + HOUR * (h + 1), 300.0) for h in range(24)])
    for seq in range(12):
        work = task(units=[("epoch", 2.0 * (seq + 1))], duration_s=3600.0 * (seq + 1))
        start_ms = (T0 + HOUR * seq) * 1000
        made = record("n1", seq + 1, start_ms, start_ms + 3_600_000, PARTS, tasks=[work])
        writer.append([entry(made)], T0 + HOUR * (seq + 1) + 1.0)
    writer.settle()
    fixes = [reading(T0 + HOUR * h, T0 + HOUR * (h + 1), 200.0, recorded_s=CORRECTED_S) for h in range(3)]
    store.record(writer.connection, fixes)
    writer.close()
    return path


def verb(database, *arguments, code=0):
    command = [
        sys.executable, "-m", "evenwatt_cli", "report", "--database", str(database), "--tz", "UTC",
        "--from", "2026-11-02", "--to", "2026-11-02T12:00", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, timeout=60, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr
    return done.stdout


def total_g(database, *arguments):
    return json.loads(verb(database, "--json", *arguments))["total"]["location_g"]


def test_a_report_as_it_was_and_as_it_is_now_known(database):
    kwh = 12 * 0.35 * 1.25
    before = total_g(database, "--known-at", "2026-11-02T23:59")
    after = total_g(database)
    assert before == pytest.approx(kwh * 300, rel=1e-9)
    assert after == pytest.approx(kwh * 275, rel=1e-9)
    assert total_g(database, "--known-at", "2026-11-02T23:59") == before


@pytest.mark.parametrize("by", ["zone", "node", "workload", "model", "phase", "team", "task"])
def test_every_format_of_every_grouping_comes_to_the_same(database, by):
    whole = json.loads(verb(database, "--json", "--by", by))
    grams = whole["total"]["location_g"]
    assert sum(row["figures"]["location_g"] for row in whole["rows"]) == pytest.approx(grams, rel=1e-9)
    rows = list(csv.DictReader(io.StringIO(verb(database, "--format", "csv", "--by", by).decode(), newline="")))
    assert sum(float(row["location_g"]) for row in rows) == pytest.approx(grams, rel=1e-9)
    table = pq.read_table(io.BytesIO(verb(database, "--format", "parquet", "--by", by)))
    assert sum(table.column("location_g").to_pylist()) == pytest.approx(grams, rel=1e-9)
    text = verb(database, "--format", "codecarbon", "--by", by).decode()
    runs = list(csv.DictReader(io.StringIO(text, newline="")))
    assert 1e3 * sum(float(run["emissions"]) for run in runs) == pytest.approx(grams, rel=1e-9)
    assert b"<h2>By " + by.encode() in verb(database, "--format", "html", "--by", by)


def test_a_score_of_real_work(database):
    said = json.loads(verb(database, "--json", "--by", "workload", "--per", "epoch"))
    assert said["derived"]["sci"]["units"] == 24.0
    assert said["derived"]["sci"]["g_per_unit"] == pytest.approx(12 * 0.35 * 1.25 * 275 / 24, rel=1e-9)


def test_halves_beside_each_other(database):
    said = json.loads(verb(database, "--json", "--from", "2026-11-02T06:00", "--compare", "previous", "--per", "epoch"))
    comparison = said["derived"]["comparison"]
    assert comparison["ratio"] == pytest.approx(300 / 250)
    ratios = {change["name"]: change["ratio"] for change in comparison["changes"]}
    assert ratios == pytest.approx({"energy above idle": 1, "idle": 1, "PUE": 1, "intensity": 1.2})
    assert sum(change["added_g"] for change in comparison["changes"]) == pytest.approx(
        comparison["later_g"] - comparison["earlier_g"]
    )


def test_what_is_not_in_it_is_said(database):
    verb(database, "--zone", "nowhere", code=2)
