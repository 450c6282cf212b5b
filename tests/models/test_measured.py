"""Means, intervals and what they rest on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.models.measured import LATENCY, measure, ratio, student_95
from tests.models.market import piece


def test_the_mean_is_that_of_an_average_unit():
    found = measure([piece("m", 10.0, units=100), piece("m", 40.0, units=300, run="b")], "image")
    assert found.joules_per_unit.mean == pytest.approx((1000 + 12_000) / 400)
    assert (found.runs, found.units, found.idle_share) == (2, 400, 0.25)


def test_one_piece_has_no_interval():
    found = measure([piece("m", 10.0)], "image")
    assert (found.joules_per_unit.low, found.joules_per_unit.high, found.joules_per_unit.relative) == (None, None, None)


def test_energy_without_work_belongs_to_the_mean():
    found = measure([piece("m", 10.0), piece("m", 5.0, units=100.0), idle_piece()], "image")
    assert found.joules_per_unit.mean == pytest.approx((1000 + 500 + 700) / 200)


def idle_piece():
    return replace(piece("m", 7.0), units={})


def test_no_work_no_figure():
    assert measure([idle_piece()], "image") is None
    assert measure([piece("m", 1.0)], "token") is None


def test_latency_is_counted_or_estimated():
    plain = measure([piece("m", 1.0, units=50.0, seconds=10.0)], "image")
    assert (plain.latency_s.mean, plain.latency_measured) == (pytest.approx(0.2), False)
    counted = replace(piece("m", 1.0, units=50.0), units={"image": 50.0, LATENCY: 100.0})
    found = measure([counted], "image")
    assert (found.latency_s.mean, found.latency_measured) == (2.0, True)


def test_the_interval_holds_what_it_promises():
    """90 % of intervals from ten noisy pieces hold the true mean; between 84 % and 95 % of 1,000 do."""
    seed, held = random.Random(4), 0
    for _ in range(1000):
        units = [seed.uniform(50, 150) for _ in range(10)]
        joules = [unit * 20 * seed.gauss(1, 0.2) for unit in units]
        found = ratio(joules, units)
        held += found.low <= 20 <= found.high
    assert 840 <= held <= 950


def test_students_t_ends_at_the_normal_distribution():
    assert student_95(1) == 6.314
    assert student_95(30) > student_95(31) == student_95(10**6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0.1, 1e6)), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_units_of_measurement_do_not_matter(pairs, scale):
    joules, units = zip(*pairs, strict=True)
    one, other = ratio(joules, units), ratio([j * scale for j in joules], units)
    assert other.mean == pytest.approx(one.mean * scale)
    if one.high is not None:
        assert other.high == pytest.approx(one.high * scale)
        assert one.low <= one.mean <= one.high


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0.1, 1e6)), min_size=2, max_size=20))
def test_the_mean_lies_between_the_least_and_the_most(pairs):
    joules, units = zip(*pairs, strict=True)
    each = [j / u for j, u in pairs]
    assert min(each) * (1 - 1e-9) <= ratio(joules, units).mean <= max(each) * (1 + 1e-9)
