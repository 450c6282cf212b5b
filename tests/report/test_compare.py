"""Two periods: factors multiply to the ratio, shares add to the difference, and doubts are said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Basis, Standing
from evenwatt_collector.report.compare import Comparison, NoComparison, compare, log_mean
from evenwatt_collector.report.model import Figures
from tests.report.examples import EXAMPLE, any_figures, figures

UNITS = {"token": 1_000.0}


def week(total, **changes):
    return replace(EXAMPLE, total=replace(total, covered_s=total.covered_s or 1.0), rows=(), **changes)


def test_each_factor_is_found_by_itself():
    before = week(figures(16, 4, units=UNITS, node=True))
    greener = compare(before, week(figures(16, 4, units=UNITS, node=True, g_per_kwh=160.0)), "token")
    assert [round(change.ratio, 12) for change in greener.changes] == [1, 1, 1, 0.5]
    assert greener.changes[-1].added_g == pytest.approx(greener.later_g - greener.earlier_g)
    cooler = compare(before, week(figures(16, 4, units=UNITS, node=True, pue=1.0)), "token")
    assert [round(change.ratio, 12) for change in cooler.changes] == [1, 1, 0.8, 1]
    busier = compare(before, week(figures(16, 4, units={"token": 2_000.0}, node=True)), "token")
    assert [round(change.ratio, 12) for change in busier.changes] == [0.5, 1, 1, 1]
    assert not greener.doubts


@given(any_figures(), any_figures(), st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_factors_multiply_to_the_ratio_and_shares_add_to_the_difference(one, other, work, more):
    assume(min(one.dynamic_j, other.dynamic_j) > 1 and min(one.location_g, other.location_g) > 1e-6)
    before, after = (week(replace(total, units={"token": units})) for total, units in ((one, work), (other, more)))
    found = compare(before, after, "token")
    assert math.prod(change.ratio for change in found.changes) == pytest.approx(found.ratio, rel=1e-9)
    whole = found.later_g - found.earlier_g
    size = max(found.later_g, found.earlier_g)
    assert sum(change.added_g for change in found.changes) == pytest.approx(whole, rel=1e-6, abs=1e-9 * size)


def test_without_units_periods_are_compared_per_day():
    whole = week(figures(16, 4, node=True))
    half = week(figures(8, 2, node=True), end_s=EXAMPLE.start_s + (EXAMPLE.end_s - EXAMPLE.start_s) / 2)
    found = compare(whole, half)
    assert found.per == "day"
    assert found.ratio == pytest.approx(1.0)


def test_where_nothing_can_be_divided_that_is_said():
    some = week(figures(1, 0, units=UNITS))
    for before, after, word in [
        (some, week(Figures(units=UNITS)), "no energy"),
        (some, week(figures(1, 0)), "no token"),
        (week(figures(1, 0)), some, "no token"),
    ]:
        found = compare(before, after, "token")
        assert isinstance(found, NoComparison)
        assert word in found.why


def test_a_factor_of_zero_leaves_the_ratio_but_no_shares():
    clean = week(replace(figures(16, 4, units=UNITS, node=True), location_g=0.0))
    found = compare(week(figures(16, 4, units=UNITS, node=True)), clean, "token")
    assert isinstance(found, Comparison)
    assert (found.ratio, found.changes) == (0.0, ())
    assert compare(clean, clean, "token").ratio is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"total": {"estimated_j": 50e6, "measured_j": 7.6e6, "integrated_j": 0.0}}, "is metered to"),
        ({"total": {"missing_s": 1e9}}, "is metered to"),
        ({"total": {"by_standing_j": {Standing.FORECAST: 1e6}}}, "open hours"),
        ({"known_at_s": EXAMPLE.end_s - 1}, "was not over"),
        ({"used": ()}, "another basis"),
        ({"used": tuple(replace(used, basis=Basis.DIRECT) for used in EXAMPLE.used)}, "another basis"),
        (
            {"used": tuple(replace(used, detail="2024") for used in EXAMPLE.used)},
            "uses these factors: DE annual (2024)",
        ),
        ({"fleet": "other"}, "different fleets"),
    ],
)
def test_what_makes_periods_incomparable_is_said(change, word):
    before = week(figures(16, 4, node=True))
    total = replace(before.total, **change.pop("total", {}))
    found = compare(before, replace(before, total=total, **change))
    assert any(word in doubt for doubt in found.doubts), found.doubts


@given(st.floats(1e-6, 1e12), st.floats(1e-6, 1e12))
def test_a_logarithmic_mean_lies_between(a, b):
    assert min(a, b) * (1 - 1e-9) <= log_mean(a, b) <= max(a, b) * (1 + 1e-9)
    assert log_mean(a, b) == pytest.approx(log_mean(b, a), rel=1e-8)
