"""Reports against an independent calculation: late energy, corrections, holes, changed PUE, changes of clocks."""

from __future__ import annotations

import random
from datetime import datetime
from math import fsum
from zoneinfo import ZoneInfo

import pytest
from bench.accounting.reference import grams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.site import DeviceFacts
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.rollup import due, roll_up
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record, task

FALLBACK, EXACT = 412.5, 1e-9
RESIDUAL = ("idle", "system", "other", "unattributed")


def fleet(rng, nodes=3, minutes=240, step_ms=60_000, start_s=T0):
    """Records with uneven edges: (zone, record), in order of time."""
    made = []
    for n in range(nodes):
        at_ms = start_s * 1000 + rng.randrange(60_000)
        for seq in range(1, minutes + 1):
            end_ms = at_ms + step_ms + rng.randrange(-2_000, 2_000)
            parts = [("unit", "nginx.service", rng.uniform(0, 900), rng.choice((0.0, rng.uniform(0, 50)))),
                     ("task", f"{n + 1:012x}", rng.uniform(0, 5_000), 0.0),
                     ("idle", "", 0.0, rng.uniform(100, 2_000)), ("system", "", rng.uniform(0, 100), 0.0)]  # fmt: skip
            run = task(n + 1, workload=f"load-{n % 2}", duration_s=60.0 * seq, units=[("images", 7.0 * seq)])
            made.append(record(f"n{n}", seq, at_ms, end_ms, parts, tasks=[run]))
            at_ms = end_ms
    return sorted(made, key=lambda r: r.end_wall_ms)


def series(rng, start_s, end_s, step_s, hole=0.1, **fields):
    return [
        reading(at, at + step_s, rng.uniform(20, 900), **fields)
        for at in range(start_s - step_s, end_s + step_s, step_s)
        if rng.random() > hole
    ]


def corrected(rng, readings, share=0.3, later_s=2 * DAY):
    return [
        reading(r.start_s, r.end_s, rng.uniform(20, 900), recorded_s=r.recorded_s + later_s)
        for r in readings
        if rng.random() < share
    ]


def pieces(records, of=lambda part: True):
    return [
        (r.start_wall_ms, r.end_wall_ms, fsum(p.cpu_j + p.gpu_j + p.idle_j for p in r.parts if of(p))) for r in records
    ]


def stored(writer, records, *, late=(), late_s=0.0):
    """Store records a minute after they end, those of ``late`` together at ``late_s``."""
    for made in records:
        if made not in late:
            writer.append([entry(made)], made.end_wall_ms / 1e3 + 1)
    if late:
        writer.append([entry(made) for made in late], late_s)
    writer.settle()


def ask(writer, by, start_s, end_s, now_s, known_at_s=None, **more):
    query = ReportQuery(by=by, start_s=start_s, end_s=end_s, timezone="UTC", known_at_s=known_at_s, **more)
    return build_report(writer.connection, query, Made(now_s=now_s, version="0", fleet="test"))


def roll(writer, now_s):
    for day, zone in due(writer.connection, now_s):
        assert roll_up(writer.connection, day, zone, now_s)


@pytest.mark.parametrize("step_s", [300, 900, 1800, 3600])
def test_every_row_equals_the_reference(database, step_s):
    rng = random.Random(step_s)
    records = fleet(rng, minutes=26 * 60 // 5, step_ms=300_000)
    end_s = T0 + 27 * HOUR
    first = series(rng, T0, end_s, step_s)
    fixes = corrected(rng, first)
    pue = [(0, 1.25), (T0 + 5 * HOUR, 1.4)]
    store.set_site(database.connection, "hall", facts(fallback_g_per_kwh=FALLBACK), None, 1)
    store.set_site(
        database.connection, "hall", facts(fallback_g_per_kwh=FALLBACK, pue=1.4), T0 + 5 * HOUR, T0 + 6 * HOUR
    )
    store.record(database.connection, first)
    late = [made for made in records if rng.random() < 0.1]
    stored(database, records, late=late, late_s=end_s + 3 * HOUR)
    store.record(database.connection, fixes)
    now_s = end_s + 4 * DAY
    for rolled in (False, True):
        for by, named in (
            (By.NODE, {f"n{n}": [r for r in records if r.node == f"n{n}"] for n in range(3)}),
            (By.ZONE, {"hall": records}),
        ):
            report = ask(database, by, T0, T0 + 2 * DAY, now_s)
            assert {row.name for row in report.rows} == set(named)
            for row in report.rows:
                wanted = grams(pieces(named[row.name]), first + fixes, pue, FALLBACK, now_s)
                assert row.figures.location_g == pytest.approx(float(wanted), rel=EXACT)
                assert row.figures.energy_j == pytest.approx(fsum(r.total.energy_j for r in named[row.name]), rel=EXACT)
        report = ask(database, By.WORKLOAD, T0, T0 + 2 * DAY, now_s)
        rows = {row.name: row for row in report.rows}
        of = {"load-0": {"0" * 11 + "1", "0" * 11 + "3"}, "load-1": {"0" * 11 + "2"}}
        for name, ids in of.items():
            wanted = grams(pieces(records, lambda p, ids=ids: p.name in ids), first + fixes, pue, FALLBACK, now_s)
            assert rows[name].figures.location_g == pytest.approx(float(wanted), rel=EXACT)
        wanted = grams(pieces(records, lambda p: p.kind == "idle"), first + fixes, pue, FALLBACK, now_s)
        assert rows["(idle)"].figures.location_g == pytest.approx(float(wanted), rel=EXACT)
        assert rows["(idle)"].residual
        assert not rolled or not due(database.connection, now_s)
        roll(database, now_s)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9))
def test_what_was_known_then_can_be_had_again(tmp_path_factory, seed):
    """The same report at a moment, and later as of that moment; whatever came between."""
    rng = random.Random(seed)
    writer = LedgerWriter(str(tmp_path_factory.mktemp("known") / "c.db"))
    records = fleet(rng, nodes=2, minutes=90, step_ms=rng.choice((60_000, 120_000)))
    end_s = records[-1].end_wall_ms // 1000 + 1
    readings = series(rng, T0, end_s, rng.choice((300, 1800, 3600)), hole=0.2)
    fixes = corrected(rng, readings, later_s=rng.choice((600, HOUR, DAY)))
    store.set_site(writer.connection, "hall", facts(fallback_g_per_kwh=FALLBACK), None, 1)
    events = [(r.end_wall_ms / 1e3 + rng.choice((1.0, 1.0, 5_000.0, 30_000.0)), r) for r in records]
    events += [(float(r.recorded_s), r) for r in readings + fixes]
    moments = sorted(rng.sample(range(T0, end_s + 2 * DAY), 4))
    events += [(at + 0.5, None) for at in moments]
    seen = {}
    for at_s, what in sorted(events, key=lambda event: event[0]):
        if what is None:
            if rng.random() < 0.5:
                writer.settle()
            if rng.random() < 0.3:
                roll(writer, at_s)
            seen[at_s] = ask(writer, By.WORKLOAD, T0, T0 + DAY, at_s)
        elif hasattr(what, "grid"):
            store.record(writer.connection, [what])
        else:
            writer.append([entry(what)], at_s)
    writer.settle()
    later_s = end_s + 5 * DAY
    roll(writer, later_s)
    for at_s, then in seen.items():
        again = ask(writer, By.WORKLOAD, T0, T0 + DAY, later_s, known_at_s=at_s)
        assert again.total.location_g == pytest.approx(then.total.location_g, rel=EXACT)
        assert again.total.energy_j == pytest.approx(then.total.energy_j, rel=EXACT)
        assert {row.name: row.figures.energy_j for row in again.rows} == pytest.approx(
            {row.name: row.figures.energy_j for row in then.rows}, rel=EXACT
        )
    writer.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9))
def test_parts_and_rests_sum_to_what_was_measured_at_every_level(tmp_path_factory, seed):
    rng = random.Random(seed)
    writer = LedgerWriter(str(tmp_path_factory.mktemp("sums") / "c.db"))
    records = fleet(rng, nodes=3, minutes=40, step_ms=rng.choice((60_000, 600_000)))
    # Nodes whose parts leave something over, exceed the whole, or say nothing.
    odd = [
        record("odd", 1, T0 * 1000, None, [("unit", "a", 10.0, 5.0)], total_j=40.0),
        record("odd", 2, T0 * 1000 + 60_000, None, [("unit", "a", 70.0, 30.0)], total_j=50.0),
        record("odd", 3, T0 * 1000 + 120_000, None, [], total_j=30.0, quality="estimated"),
    ]
    store.set_site(writer.connection, "hall", facts(), None, 1)
    store.set_device(writer.connection, "n*", DeviceFacts(embodied_g=1.2e6, lifetime_s=1.3e8), None, 1)
    readings = series(rng, T0, T0 + DAY, 1800)
    store.record(writer.connection, readings)
    stored(writer, sorted([*records, *odd], key=lambda r: r.end_wall_ms))
    start_s, end_s, now_s = T0 + rng.randrange(0, HOUR), T0 + 3 * HOUR + rng.randrange(0, HOUR), T0 + 3 * DAY
    if rng.random() < 0.5:
        roll(writer, now_s)
    for period in ((start_s, end_s), (T0, T0 + DAY), (T0 - DAY, T0 + 5 * DAY)):
        totals = []
        for by in By:
            report = ask(writer, by, *period, now_s)
            for name in ("energy_j", "location_g", "embodied_g", "dynamic_j", "idle_j", "site_j", "estimated_j"):
                rows = fsum(getattr(row.figures, name) or 0.0 for row in report.rows)
                assert rows == pytest.approx(getattr(report.total, name) or 0.0, rel=1e-12, abs=1e-9), (by, name)
            figures = report.total
            assert fsum((figures.measured_j, figures.integrated_j, figures.estimated_j, figures.unknown_j)) == (
                pytest.approx(figures.energy_j, rel=1e-12)
            )
            assert fsum(figures.by_standing_j.values()) == pytest.approx(figures.energy_j, rel=1e-12)
            assert fsum(used.energy_j for used in report.used) == pytest.approx(figures.energy_j, rel=1e-9)
            assert fsum(point.location_g for point in report.line) == pytest.approx(figures.location_g, rel=1e-12)
            totals.append(
                (figures.energy_j, figures.location_g, figures.embodied_g, figures.covered_s, figures.missing_s)
            )
        for total in totals[1:]:
            assert total == pytest.approx(totals[0], rel=1e-9)
    whole = ask(writer, By.ZONE, T0 - DAY, T0 + 5 * DAY, now_s).total
    assert whole.energy_j == pytest.approx(fsum(r.total.energy_j for r in [*records, *odd]), rel=1e-12)
    writer.close()


def test_local_days_of_23_and_25_hours(database):
    berlin = ZoneInfo("Europe/Berlin")
    for first, hours in ((datetime(2026, 10, 25, tzinfo=berlin), 25), (datetime(2027, 3, 28, tzinfo=berlin), 23)):
        start_s = int(first.timestamp())
        end_s = int(datetime(first.year, first.month, first.day + 1, tzinfo=berlin).timestamp())
        assert (end_s - start_s) // HOUR == hours
        rng = random.Random(hours)
        node = f"d{hours}"
        made = [
            record(node, i + 1, (start_s - HOUR + 1800 * i) * 1000, (start_s - HOUR + 1800 * (i + 1)) * 1000,
                   [("unit", "a", 100.0, 0.0)])
            for i in range(2 * (hours + 2))
        ]  # fmt: skip
        readings = series(rng, start_s - HOUR, end_s + HOUR, 3600, hole=0.0)
        store.set_site(database.connection, "hall", facts(), None, 1)
        store.record(database.connection, readings)
        stored(database, made)
        inside = [r for r in made if start_s * 1000 <= r.start_wall_ms < end_s * 1000]
        for now_s in (end_s + HOUR, end_s + 3 * DAY):
            report = ask(database, By.NODE, start_s, end_s, now_s, node=node)
            assert report.total.energy_j == pytest.approx(100.0 * 2 * hours, rel=EXACT)
            wanted = grams(pieces(inside), readings, [(0, 1.25)], 400.0, now_s)
            assert report.total.location_g == pytest.approx(float(wanted), rel=EXACT)
            roll(database, now_s)


def test_the_first_source_of_the_chain_wins_and_forecasts_yield(database):
    store.set_site(database.connection, "hall", facts(order=("best", "second"), pue=1.0), None, 1)
    hours = [
        reading(T0, T0 + HOUR, 100.0, source="second"),
        reading(T0, T0 + HOUR, 200.0, source="best"),
        reading(T0 + HOUR, T0 + 2 * HOUR, 300.0, recorded_s=T0, standing=Standing.FORECAST, source="best"),
        reading(T0 + HOUR, T0 + 2 * HOUR, 500.0, source="second", standing=Standing.ESTIMATED),
        reading(T0 + 2 * HOUR, T0 + 3 * HOUR, 700.0, recorded_s=T0, standing=Standing.FORECAST, source="best"),
    ]
    store.record(database.connection, hours)
    made = [record("n1", i + 1, (T0 + i * HOUR) * 1000, (T0 + (i + 1) * HOUR) * 1000, total_j=3.6e6) for i in range(4)]
    stored(database, made)
    report = ask(database, By.ZONE, T0, T0 + 4 * HOUR, T0 + DAY)
    assert [point.location_g for point in report.line] == pytest.approx([200.0, 500.0, 700.0, 400.0])
    kwh = {standing: joules / 3.6e6 for standing, joules in report.total.by_standing_j.items()}
    assert kwh == pytest.approx({"measured": 1, "estimated": 1, "forecast": 1, "fallback": 1})
    assert {(u.source, u.standing.value) for u in report.used} == {
        ("best", "measured"), ("second", "estimated"), ("best", "forecast"), ("annual-average", "fallback"),
    }  # fmt: skip


def test_market_and_marginal_stand_beside_and_are_not_mixed(database):
    from evenwatt_collector.carbon.series import Kind
    from evenwatt_collector.carbon.site import Contract

    contract = Contract(share=0.75, g_per_kwh=10.0, rest_g_per_kwh=600.0)
    store.set_site(database.connection, "hall", facts(pue=2.0, contract=contract), None, 1)
    store.set_site(database.connection, "edge", facts(pue=1.0), None, 1)
    store.record(database.connection, [
        reading(T0, T0 + 2 * HOUR, 300.0),
        reading(T0, T0 + HOUR, 900.0, kind=Kind.MARGINAL, source="watttime"),
    ])  # fmt: skip
    for zone in ("hall", "edge"):
        made = [
            record("n1", i + 1, (T0 + i * HOUR) * 1000, (T0 + (i + 1) * HOUR) * 1000, total_j=3.6e6) for i in (0, 1)
        ]
        database.append([entry(r, zone) for r in made], T0 + 2 * HOUR)
    database.settle()
    for now_s in (T0 + 3 * HOUR, T0 + 3 * DAY):
        report = ask(database, By.ZONE, T0, T0 + DAY, now_s)
        rows = {row.name: row.figures for row in report.rows}
        assert rows["hall"].location_g == pytest.approx(2 * 2 * 300.0)
        assert rows["hall"].market_g == pytest.approx(2 * 2 * (0.75 * 10 + 0.25 * 600))
        assert rows["edge"].market_g is None
        # No contract: the market-based figure of that zone is its location-based one.
        assert report.total.market_g == pytest.approx(rows["hall"].market_g + rows["edge"].location_g)
        assert (rows["hall"].marginal_g, rows["hall"].marginal_j) == pytest.approx((2 * 900.0, 3.6e6))
        roll(database, now_s)
