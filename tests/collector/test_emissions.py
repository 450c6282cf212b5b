from __future__ import annotations

import csv
from importlib import resources
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon import Factor, IntensityTable, Sum, UnknownGridError, grams, grams_per_hour, unrecorded_j

FACTOR = Factor(400.0, 1.25, "test", 2025)
joules = st.floats(0, 1e12)


def test_one_kilowatt_hour():
    assert grams(3.6e6, FACTOR) == pytest.approx(500.0)
    assert grams_per_hour(1000.0, FACTOR) == pytest.approx(500.0)
    assert FACTOR.g_per_j * 3.6e6 == pytest.approx(500.0)


@given(joules, joules)
def test_grams_are_monotone_and_splitting_changes_nothing(one, other):
    whole = grams(one + other, FACTOR)
    assert whole >= grams(one, FACTOR)
    assert whole == pytest.approx(grams(one, FACTOR) + grams(other, FACTOR), rel=1e-12)


@given(st.lists(st.floats(-1e9, 1e9), max_size=300))
def test_sum_keeps_what_rounding_drops(values):
    total = Sum()
    for value in values:
        total.add(value)
    assert total.value == pytest.approx(fsum(values), rel=1e-15, abs=1e-15 * fsum(map(abs, values)))


def test_sum_of_minutes_and_years():
    total = Sum(1e16)
    for _ in range(1000):
        total.add(0.001)
    assert total.value - 1e16 == pytest.approx(1.0, abs=2.0)
    assert total.high + total.low == total.value
    assert total.low == pytest.approx(1.0)


def test_no_joule_stands_in_both_ledger_and_tail():
    assert unrecorded_j(1000.0, 900.0, 0.0) == 100.0
    assert unrecorded_j(1000.0, None, 400.0) == 600.0
    assert unrecorded_j(900.0, 1000.0, 0.0) == 0.0


def test_packaged_table():
    table = IntensityTable.packaged()
    germany, california, world = table.row("DE"), table.row("US-CA"), table.row("WORLD")
    assert germany.name == "Germany"
    assert 200 < germany.intensity_g_per_kwh < 450
    assert 100 < california.intensity_g_per_kwh < 300
    assert 400 < world.intensity_g_per_kwh < 520
    assert sum(len(code) == 2 for code in table.codes) >= 200
    assert sum(code.startswith("US-") for code in table.codes) == 51
    assert [table.nearest(text) for text in ("germany", "de", "USCA", "?!")] == ["DE", "DE", "US-CA", None]
    with pytest.raises(UnknownGridError, match="'XX'"):
        table.row("XX")


def test_every_row_says_year_source_and_licence():
    path = resources.files("evenwatt_collector.carbon") / "data" / "annual_intensity.csv"
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len({row["code"] for row in rows}) == len(rows)
    for row in rows:
        assert row["name"], row
        assert row["source"], row
        assert row["licence"] in {"CC BY 4.0", "public domain"}
        assert 2000 <= int(row["year"]) <= 2026
        assert 0 <= float(row["intensity_g_per_kwh"]) < 2000
