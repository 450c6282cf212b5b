"""Ranges: what averages away and what does not, and that missing time only ever widens upwards."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.report.model import Figures
from evenwatt_collector.report.totals import added
from evenwatt_collector.report.uncertainty import EMBODIED, INTENSITY, OVERHEAD, QUALITY, spread
from tests.report.examples import any_figures

METERED = Figures(
    energy_j=100.0, site_j=100.0, location_g=10.0, measured_j=100.0, by_standing_j={Standing.MEASURED: 100.0}
)


def test_independent_terms_are_combined_as_root_of_squares():
    found = spread(METERED)
    assert found.relative == pytest.approx(hypot(0.05, 0.10))
    assert (found.low_g, found.high_g) == (pytest.approx(10 * (1 - hypot(0.05, 0.1))), pytest.approx(11.118, rel=1e-4))


def test_ways_of_metering_are_independent_of_each_other():
    assert spread(replace(METERED, measured_j=50.0, estimated_j=50.0)).energy == pytest.approx(hypot(0.025, 0.15))


def test_one_factor_is_common_to_all_hours_so_it_does_not_average_away():
    assert spread(added([METERED] * 1_000)).relative == pytest.approx(spread(METERED).relative)
    mixed = replace(METERED, by_standing_j={Standing.MEASURED: 50.0, Standing.FALLBACK: 50.0})
    assert spread(mixed).intensity == pytest.approx((0.10 + 0.47) / 2)


def test_missing_time_widens_upwards_only_and_the_figure_stays():
    whole = spread(METERED)
    found = spread(replace(METERED, covered_s=300.0, missing_s=100.0))
    assert found.low_g == whole.low_g
    assert found.high_g == pytest.approx(whole.high_g * (1 + 1 / 3))


def test_where_nothing_is_covered_there_is_no_upper_bound():
    assert spread(Figures(missing_s=60.0)).high_g is None


def test_what_pue_adds_is_less_sure():
    assert spread(replace(METERED, site_j=200.0)).overhead == pytest.approx(OVERHEAD.relative / 2)


def test_every_constant_says_where_it_is_from():
    for half in (*QUALITY.values(), *INTENSITY.values(), OVERHEAD, EMBODIED):
        assert 0 < half.relative < 1
        assert len(half.source) > 20
    assert set(INTENSITY) == set(Standing)


@given(any_figures())
def test_the_figure_lies_in_its_range(work):
    found = spread(work)
    assert 0 <= found.low_g <= work.location_g
    assert found.high_g is None or found.high_g >= work.location_g


@given(any_figures(), st.floats(0, 1e6))
def test_more_missing_time_never_narrows(work, more_s):
    one, other = spread(work), spread(replace(work, missing_s=work.missing_s + more_s))
    assert other.low_g == one.low_g
    if one.high_g is None:
        assert other.high_g is None
    elif other.high_g is not None:
        assert other.high_g >= one.high_g
