"""Scores: every term, what must hold for any figures, and no number where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Kind
from evenwatt_collector.report.model import Figures
from evenwatt_collector.report.sci import NoScore, Per, Score, score
from evenwatt_collector.report.totals import OPTIONAL, PLAIN, TABLES, added
from tests.report.examples import EXAMPLE, any_figures, figures

TOKENS = Per(unit="token", count=1_000.0)


def scaled(whole, share):
    return replace(
        whole,
        **{name: getattr(whole, name) * share for name in PLAIN},
        **{name: None if (v := getattr(whole, name)) is None else v * share for name in OPTIONAL},
        **{name: {key: v * share for key, v in getattr(whole, name).items()} for name in TABLES},
    )


def test_every_term_is_shown():
    found = score([figures(16, 4, units={"epoch": 8.0})], Per(unit="epoch"))
    assert isinstance(found, Score)
    assert found.energy_kwh == pytest.approx(20.0)  # 16 kWh x PUE 1.25, idle included
    assert found.g_per_kwh == pytest.approx(320.0)
    assert found.embodied_g == pytest.approx(640.0)
    assert found.units == 8.0
    assert found.g_per_unit == pytest.approx((20 * 320 + 640) / 8)
    assert found.complete
    assert found.low_g_per_unit < found.g_per_unit < found.high_g_per_unit


def test_marginal_is_another_number_and_says_for_how_much_it_is_known():
    found = score([figures(16, 4, units={"epoch": 8.0})], Per(unit="epoch", kind=Kind.MARGINAL))
    assert (found.g_per_kwh, found.intensity_share) == (pytest.approx(500.0), pytest.approx(0.9))
    assert found.kind is Kind.MARGINAL


@pytest.mark.parametrize(
    ("work", "per", "word"),
    [
        (Figures(), Per(unit="token"), "no token was reported; no task reported units"),
        (figures(1, 0, units={"epoch": 2.0}), Per(unit="token"), "reported are epoch"),
        (figures(1, 0, units={"token": 0.0}), Per(unit="token"), "no token was reported"),
        (Figures(units={"token": 3.0}), Per(unit="token"), "no energy was recorded"),
        (replace(figures(1, 0), marginal_g=None), replace(TOKENS, kind=Kind.MARGINAL), "no provider gave"),
        (replace(figures(1, 0), marginal_j=1.0), replace(TOKENS, kind=Kind.MARGINAL), "expected at least 80 %"),
    ],
)
def test_where_there_is_no_score_the_reason_is_said(work, per, word):
    found = score([work], per)
    assert isinstance(found, NoScore)
    assert word in found.why


def test_without_devices_it_says_that_it_is_not_whole():
    found = score([replace(figures(1, 0), embodied_g=None)], TOKENS)
    assert found.embodied_g is None
    assert not found.complete
    assert found.g_per_unit == pytest.approx(1.25 * 320 / 1000)


@given(any_figures(), st.floats(1.001, 100))
def test_more_energy_intensity_or_making_is_never_a_lower_score(work, times):
    assume(work.energy_j > 1)
    base = score([work], TOKENS)
    more_energy = replace(work, site_j=work.site_j * times, location_g=work.location_g * times)
    more_intensity = replace(work, location_g=work.location_g * times)
    more_made = replace(work, embodied_g=(work.embodied_g or 0.0) * times + 1)
    slack = 1 - 1e-12
    assert score([more_energy], TOKENS).g_per_unit >= base.g_per_unit * slack
    assert score([more_intensity], TOKENS).g_per_unit >= base.g_per_unit * slack
    assert score([more_made], TOKENS).g_per_unit >= base.g_per_unit * slack


@given(any_figures(), st.floats(0.001, 0.999), st.sampled_from(Kind))
def test_cutting_a_job_in_two_changes_nothing(work, cut, kind):
    assume(work.energy_j > 1)
    per = Per(unit="request", kind=kind)
    whole = score([work], per)
    halves = score([scaled(work, cut), scaled(work, 1 - cut)], per)
    if isinstance(whole, NoScore):
        assume("expected at least" not in whole.why)
        assert isinstance(halves, NoScore)
        return
    assume(not isinstance(halves, NoScore) or abs(whole.intensity_share - 0.8) > 1e-6)
    assert halves.g_per_unit == pytest.approx(whole.g_per_unit, rel=1e-9)
    assert halves.low_g_per_unit == pytest.approx(whole.low_g_per_unit, rel=1e-9, abs=1e-300)


@given(any_figures(), st.sampled_from([1e-3, 1e3, 1e6]))
def test_counting_in_other_units_scales_the_score_and_nothing_else(work, factor):
    assume(work.energy_j > 1)
    one = score([work], TOKENS)
    other = score([work], replace(TOKENS, count=1_000.0 * factor))
    assert other.g_per_unit * factor == pytest.approx(one.g_per_unit, rel=1e-12)
    assert (other.energy_kwh, other.g_per_kwh, other.embodied_g) == (one.energy_kwh, one.g_per_kwh, one.embodied_g)


@given(any_figures(), st.sampled_from(Kind))
def test_a_score_is_finite_or_there_is_none(work, kind):
    found = score([work], Per(unit="request", kind=kind))
    if isinstance(found, Score):
        assert math.isfinite(found.g_per_unit)
        assert 0 <= found.low_g_per_unit <= found.g_per_unit * (1 + 1e-12)
        assert found.high_g_per_unit is None or found.high_g_per_unit >= found.g_per_unit * (1 - 1e-12)
    else:
        assert found.why


def test_idle_that_nobody_reserved_stays_in_the_score_of_the_whole():
    whole = score([EXAMPLE.total], Per(unit="epoch"))
    owned = score([row.figures for row in EXAMPLE.rows if not row.residual], Per(unit="epoch"))
    assert whole.g_per_unit > owned.g_per_unit
    assert added(row.figures for row in EXAMPLE.rows).location_g == EXAMPLE.total.location_g
