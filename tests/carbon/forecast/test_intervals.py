import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon.forecast import intervals


def test_quantiles_of_a_window_that_is_all_ranks():
    residuals = np.arange(1.0, 100.0) - 50  # the k-th of 99 stands for k %
    assert intervals.offsets(residuals, 0.0, (0.05, 0.5, 0.95)) == pytest.approx([-45.0, 0.0, 45.0])
    assert intervals.offsets(residuals, np.log(2.0), (0.05, 0.95)) == pytest.approx([-90.0, 90.0])


def test_tails_of_a_few_days_reach_further():
    residuals = np.arange(1.0, 100.0) - 50
    assert intervals.offsets(residuals, 0.0, (0.05, 0.5, 0.95), 6) == pytest.approx([-49.0, 0.0, 49.0])
    few, many = (intervals.offsets(residuals, 0.0, (0.05, 0.95), days) for days in (10, 20))
    assert few[0] < many[0] < -45.0 < 45.0 < many[1] < few[1]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.floats(-1, 1),
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=9, unique=True),
)
def test_quantiles_never_cross(residuals, width, quantiles):
    found = intervals.offsets(np.array(residuals), width, sorted(quantiles))
    assert (np.diff(found) >= 0).all()


def test_misses_widen_hits_narrow_and_there_are_bounds():
    assert intervals.steer(0.0, 1.0) > 0 > intervals.steer(0.0, 0.0)
    width = 0.0
    for _ in range(10_000):
        width = intervals.steer(width, 1.0)
    assert np.exp(width) == pytest.approx(4.0)


def test_the_width_settles_where_a_tenth_is_missed():
    rng, width, missed = np.random.default_rng(2), np.log(0.3), []
    ranks = np.linspace(-1, 1, 201)
    for _ in range(6_000):
        low, high = intervals.offsets(ranks, width, (0.05, 0.95))
        missed.append(float(not low <= rng.uniform(-2, 2) <= high))
        width = intervals.steer(width, missed[-1])
    assert np.mean(missed[1_000:]) == pytest.approx(0.10, abs=0.02)
