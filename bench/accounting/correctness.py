"""Reports against the independent calculation of ``reference.py``: given series, generated loads, corrections, gaps."""

from __future__ import annotations

import random
from functools import partial
from math import fsum
from typing import TYPE_CHECKING

from bench.accounting.fleet import ZONE, record
from bench.accounting.reference import grams
from bench.accounting.series import load

from evenwatt_collector.books import Entry
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing
from evenwatt_collector.carbon.site import SiteFacts
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.rollup import due, roll_up
from evenwatt_wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction
    from pathlib import Path

    from evenwatt_collector.report.model import Report, Row
    from evenwatt_wire import Ledger, PartEnergy

    Line = list[tuple[int, float]]
    Times = tuple[int, int, int]
    Whose = Callable[[PartEnergy], bool]

NODES, DAYS, FALLBACK = 2, 2, 380.0
DAY = 86_400


def measure(folder: Path, paths: list[Path], say: Callable[[str], None]) -> dict[str, float]:
    every = sorted({*paths, *(path for known in paths for path in known.parent.glob("*.csv"))})
    series = {f"generated, {step_s} s": generated(step_s) for step_s in (60, 300, 1800, 3600)}
    series |= {path.name: points for path in every if len(points := load(path)) >= 48}
    worst = 0.0
    for number, (name, points) in enumerate(series.items()):
        error = compare(folder / f"reference-{number}.db", points, random.Random(number))
        say(f"reference {name}: relative error {error:.1e}")
        worst = max(worst, error)
    return {"reference_rel_error": worst}


def generated(step_s: int) -> list[tuple[int, int, float]]:
    """Return a series of three and a half days, so that there is always one."""
    rng, start_s = random.Random(step_s), 1_793_577_600
    count = 7 * DAY // (2 * step_s)
    return [(start_s + i * step_s, start_s + (i + 1) * step_s, rng.uniform(20, 900)) for i in range(count)]


def compare(path: Path, points: list[tuple[int, int, float]], rng: random.Random) -> float:
    """Return the largest relative difference over rows, before and after corrections, from hours and from days."""
    step_s = points[0][1] - points[0][0]
    start_s = (
        next(start for start, _, _ in points if start % DAY == 0) if len(points) * step_s > 3 * DAY else points[0][0]
    )
    start_s -= start_s % 3600
    end_s = min(start_s + DAYS * DAY, points[-1][1] - 3600)
    readings = [
        Reading(grid="G", start_s=a, end_s=b, g_per_kwh=value, kind=Kind.AVERAGE, basis=Basis.LIFECYCLE, source="file",
                standing=Standing.MEASURED, issued_s=b, recorded_s=b)
        for a, b, value in points
        if a < end_s + 3600 and b > start_s - 3600 and rng.random() > 0.05
    ]  # fmt: skip
    fixed_s = end_s + 5 * DAY
    fixes = [
        Reading(grid="G", start_s=r.start_s, end_s=r.end_s, g_per_kwh=r.g_per_kwh * 1.1, kind=r.kind, basis=r.basis,
                source=r.source, standing=r.standing, issued_s=fixed_s, recorded_s=fixed_s)
        for r in readings
        if rng.random() < 0.2
    ]  # fmt: skip
    writer = LedgerWriter(str(path), {ZONE: 60 if step_s % 300 else 12})
    store.set_site(writer.connection, ZONE, SiteFacts(grid="G", fallback_g_per_kwh=FALLBACK, pue=1.3), None, 1)
    store.record(writer.connection, readings)
    records = _records(rng, start_s, end_s)
    for made in records:
        late_s = rng.choice((1, 1, 1, 7 * 3600))
        writer.append([Entry(ZONE, made, encode(made), 0.0)], made.end_wall_ms / 1e3 + late_s)
    writer.settle()
    line, worst = [(0, 1.3)], 0.0
    for now_s, known in ((end_s + 4 * DAY, readings), (end_s + 6 * DAY, readings + fixes)):
        if known is not readings:
            store.record(writer.connection, fixes)
        for rolled in (False, True):
            worst = max(worst, _rows(writer, records, known, line, (start_s, end_s, now_s)))
            if not rolled:
                for day, zone in due(writer.connection, now_s):
                    roll_up(writer.connection, day, zone, now_s)
    before = _report(writer, By.NODE, start_s, end_s, end_s + 6 * DAY, end_s + 4 * DAY)
    wanted = grams([p for r in records for p in _pieces([r])], readings, line, FALLBACK, end_s + 4 * DAY)
    worst = max(worst, abs(before.total.location_g - float(wanted)) / float(wanted))
    writer.close()
    return worst


def _records(rng: random.Random, start_s: int, end_s: int) -> list[Ledger]:
    made = []
    for node in range(NODES):
        at_ms, seq = start_s * 1000 + rng.randrange(30_000), 0
        while at_ms < end_s * 1000 - 700_000:
            seq += 1
            next_ms = at_ms + rng.choice((60_000, 60_000, 61_337, 600_001))
            if rng.random() > 0.02:
                made.append(record(node, seq, at_ms, next_ms, rng.uniform(1e3, 6e4), f"load-{node % 2}"))
            at_ms = next_ms
    return sorted(made, key=lambda r: r.end_wall_ms)


def _pieces(records: list[Ledger], of: Whose = lambda _part: True) -> list[tuple[int, int, float]]:
    return [
        (r.start_wall_ms, r.end_wall_ms, fsum(p.cpu_j + p.gpu_j + p.idle_j for p in r.parts if of(p))) for r in records
    ]


def _rows(writer: LedgerWriter, records: list[Ledger], readings: list[Reading], line: Line, times: Times) -> float:
    start_s, end_s, now_s = times
    worst = 0.0
    for row in _report(writer, By.NODE, start_s, end_s, now_s).rows:
        own = [r for r in records if r.node == row.name]
        worst = max(worst, _off(row, grams(_pieces(own), readings, line, FALLBACK, now_s)))
    for row in _report(writer, By.WORKLOAD, start_s, end_s, now_s).rows:
        kind, _, name = row.name.partition("/")
        if name:
            own = _pieces(records, partial(_is, kind, name))
        elif row.residual:
            own = _pieces(records, partial(_is, row.name.strip("()"), ""))
        else:
            ids = {t.id for r in records for t in r.tasks if t.workload == row.name}
            own = _pieces(records, partial(_in, ids))
        worst = max(worst, _off(row, grams(own, readings, line, FALLBACK, now_s)))
    return worst


def _is(kind: str, name: str, part: PartEnergy) -> bool:
    return (part.kind, part.name) == (kind, name)


def _in(tasks: set[str], part: PartEnergy) -> bool:
    return part.name in tasks


def _off(row: Row, wanted: Fraction) -> float:
    return abs(row.figures.location_g - float(wanted)) / float(wanted)


def _report(
    writer: LedgerWriter, by: By, start_s: float, end_s: float, now_s: float, known_at_s: float | None = None
) -> Report:
    query = ReportQuery(by=by, start_s=start_s, end_s=end_s + 3600.0, timezone="UTC", known_at_s=known_at_s)
    return build_report(writer.connection, query, Made(now_s=now_s, version="bench", fleet="bench"))
