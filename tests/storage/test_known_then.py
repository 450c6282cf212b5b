"""Reports as known at earlier moments: what had been stored by then to the joule, from days and from hours alike."""

from __future__ import annotations

import random
from math import fsum

import pytest

from evenwatt_collector.carbon.site import DeviceFacts
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import energy
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.rollup import clean_days, due, roll_up
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record, task
from tests.storage.test_reference import ask

DAYS, NODES, STEP_S = 3, 3, 1200
NOW_S = T0 + (DAYS + 5) * DAY
DELAYS_S = (2, 2, 2, 2, 2, 2, 2, 1_500, 7 * HOUR, 2 * DAY)
SUMS = ("energy_j", "dynamic_j", "idle_j", "gpu_j", "estimated_j", "integrated_j", "covered_s")
GRAMS = ("location_g", "location_dynamic_g", "site_j", "embodied_g", "missing_s")


def arrivals(rng):
    """Records of four slots, of whole joules that four divides, so that sums are exact: (moment, record)."""
    made = []
    for n in range(NODES):
        for seq in range(1, DAYS * DAY // STEP_S + 1):
            start_s = T0 + (seq - 1) * STEP_S
            day = (start_s - T0) // DAY
            parts = [("task", f"{n * 100 + day:012x}", 4.0 * rng.randrange(1_000), 4.0 * rng.randrange(100)),
                     ("unit", "nginx.service", 4.0 * rng.randrange(50), 0.0),
                     ("idle", "", 0.0, 4.0 * rng.randrange(500))]  # fmt: skip
            run = task(n * 100 + day, workload=f"load-{n % 2}", duration_s=60.0 * seq)
            one = record(f"n{n}", seq, start_s * 1000, (start_s + STEP_S) * 1000, parts, tasks=[run],
                         quality=rng.choice(("measured", "estimated")))  # fmt: skip
            made.append((start_s + STEP_S + rng.choice(DELAYS_S) + rng.random(), one))
    return sorted(made, key=lambda pair: pair[0])


def lived(writer, rng):
    """Let a collector live through it: records, corrections, new facts, roll-ups. Returns arrivals."""
    connection = writer.connection
    store.set_site(connection, "hall", facts(), None, 1)
    store.set_device(connection, "n1", DeviceFacts(embodied_g=1e6, lifetime_s=1e8), None, 1)
    first = [reading(at_s, at_s + HOUR, rng.uniform(20, 900)) for at_s in range(T0, T0 + DAYS * DAY, HOUR)]
    heard = arrivals(rng)
    told = [(one.recorded_s + rng.randrange(600), [one]) for one in first]
    for _ in range(4):
        at_s = rng.randrange(T0, T0 + (DAYS + 2) * DAY)
        day_s = T0 + rng.randrange(DAYS) * DAY
        past = [one for one in first if day_s <= one.start_s < min(at_s - HOUR, day_s + DAY) and rng.random() < 0.2]
        again = [reading(one.start_s, one.end_s, rng.uniform(20, 900), recorded_s=at_s) for one in past]
        told.append((at_s, again))
    events = [(at_s, 0, "record", one) for at_s, one in heard] + [(at_s, 1, "tell", some) for at_s, some in told]
    events += [(T0 + rng.randrange((DAYS + 3) * DAY), 2, "roll", None) for _ in range(8)]
    events += [(T0 + (DAYS + 3) * DAY, 2, "roll", None), (T0 + rng.randrange((DAYS + 2) * DAY), 3, "facts", None)]
    for at_s, _, what, told_now in sorted(events, key=lambda event: event[:2]):
        if what == "record":
            writer.append([entry(told_now)], at_s)
        elif what == "tell":
            store.record(connection, told_now)
        elif what == "roll":
            for day, zone in due(connection, at_s):
                assert roll_up(connection, day, zone, at_s)
        else:
            store.set_site(connection, "hall", facts(pue=1.5), int(at_s) // HOUR * HOUR - DAY, int(at_s))
        if rng.random() < 0.5:
            writer.settle()
    writer.settle()
    return heard


def figures(report, names):
    rows = {(row.name, row.node): row.figures for row in report.rows}
    return {
        (key, name): getattr(of, name) or 0.0 for key, of in [*rows.items(), ("total", report.total)] for name in names
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_known_then_is_the_same_from_days_and_from_hours(database, seed, monkeypatch):
    rng = random.Random(seed)
    heard = lived(database, rng)
    connection = database.connection
    (zone,) = connection.rows("SELECT id FROM zone")[0]
    states = connection.rows("SELECT stale, day, zone FROM day_state")
    moments = [*(rng.uniform(T0 + DAY, T0 + (DAYS + 3) * DAY) for _ in range(4)), T0 + (DAYS + 4) * DAY, None]
    period, by_days = (T0, T0 + (DAYS + 1) * DAY), 0
    for known_s in moments:
        limit_ms = None if known_s is None else int(known_s * 1000)
        clean = clean_days(connection, zone, T0 // DAY, T0 // DAY + DAYS, limit_ms)
        by_days += sum(last - first for first, last in clean)
        stored = [one for at_s, one in heard if known_s is None or int(at_s * 1000) <= limit_ms]
        for by in (By.TASK, rng.choice((By.WORKLOAD, By.NODE))):
            found = ask(database, by, *period, NOW_S, known_s)
            assert found.total.energy_j == fsum(one.total.energy_j for one in stored)
            connection.run("UPDATE day_state SET stale = 1")
            others = [ask(database, by, *period, NOW_S, known_s)]
            if by is By.TASK:
                with monkeypatch.context() as small:
                    small.setattr(energy, "_PIECE_SLOTS", 60)
                    others.append(ask(database, by, *period, NOW_S, known_s))
            connection.many("UPDATE day_state SET stale = ? WHERE day = ? AND zone = ?", states)
            for other in others:
                assert figures(found, SUMS) == figures(other, SUMS), (by, known_s)
                assert figures(found, GRAMS) == pytest.approx(figures(other, GRAMS), rel=1e-12, abs=1e-6)
                assert fsum(use.energy_j for use in found.used) == pytest.approx(other.total.energy_j, rel=1e-12)
                assert [(one.start_s, one.energy_j) for one in found.line] == [
                    (one.start_s, one.energy_j) for one in other.line
                ]
    assert by_days >= 2 * DAYS, "days served reports of then as well"
