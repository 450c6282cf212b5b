"""Lengths, powers, reserves and ranges, learned from streams of runs."""

from __future__ import annotations

import json
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.feedback.learned import RESERVE, RUNS, Learned
from evenwatt_daemon import Failure
from tests.feedback.made import outcome


def ran(number, length_s, stated_s=0.0, **more):
    return outcome(
        number, length_s=length_s, stated_length_s=stated_s, counterfactual_energy_j=200.0 * length_s, **more
    )


def test_nothing_is_made_up():
    learned = Learned()
    assert learned.length("night", 3600.0) is None
    assert learned.power_w("night") is None
    assert learned.reserve("night") == RESERVE
    assert learned.widen("night") == 1.0


def test_statements_units_and_plain_lengths():
    learned = Learned()
    for number in range(20):
        learned.observe(
            ran(number, 1000.0 * (1 + number % 3), 500.0 * (1 + number % 3), units={"epoch": 1 + number % 3})
        )
    stated = learned.length("night", 600.0)
    assert stated.value == pytest.approx(600 * exp(log(2) * 20 / 22))
    assert learned.length("night", work=("epoch", 7.0)).value == pytest.approx(7000.0)
    assert learned.length("night").value == pytest.approx(2000.0)
    assert learned.power_w("night").value == pytest.approx(200.0)
    assert stated.runs == 20
    assert learned.length("other") is None


def test_one_odd_run_moves_nothing():
    plain, odd = Learned(), Learned()
    for number in range(9):
        plain.observe(ran(number, 1000.0, 1000.0))
        odd.observe(ran(number, 1e6 if number == 4 else 1000.0, 1000.0))
    assert odd.length("night", 1000.0).value == plain.length("night", 1000.0).value == 1000.0
    assert odd.length("night", 1000.0).high > 1e5  # it is seen in the range, and kept room for
    assert odd.reserve("night") == 2.0


@given(st.floats(0.2, 5), st.floats(0, 0.3), st.integers(0, 10**6))
def test_on_stationary_work_the_error_falls(truth, noise, seed):
    random = np.random.default_rng(seed)
    learned, off = Learned(), []
    for number in range(60):
        stated = float(random.uniform(100, 10_000))
        actual = stated * truth * exp(noise * float(random.standard_normal()))
        known = learned.length("night", stated)
        off.append(abs(log(actual / (known.value if known else stated))))
        learned.observe(ran(number, actual, stated))
    final = learned.length("night", 1.0).value
    # What is left is the noise, the pull of two runs as stated, and the error of a median of 40.
    assert abs(log(final / truth)) <= abs(log(truth)) * 2 / 42 + 1.3 * noise + 1e-9
    assert np.mean(off[-20:]) <= max(off[0], 0.0) + 1.2 * noise + 1e-9
    if abs(log(truth)) > 3 * noise + 0.1:
        assert np.mean(off[-20:]) < 0.6 * abs(log(truth)) + noise


def test_a_workload_that_changes_is_learned_anew():
    learned = Learned()
    for number in range(200):
        learned.observe(ran(number, 1000.0 if number < 100 else 3000.0, 1000.0))
    assert learned.length("night", 1000.0).value == pytest.approx(3000 * exp(-log(3) * 2 / 42))


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.4])
def test_the_reserve_is_enough_for_19_of_20(noise):
    random = np.random.default_rng(7)
    learned, late, judged, kept = Learned(), 0, 0, []
    for number in range(1500):
        actual = 1000.0 * exp(noise * float(random.standard_normal()))
        known = learned.length("night", 1000.0)
        if known and number >= RUNS:
            judged += 1
            kept.append(learned.reserve("night"))
            late += actual > known.value * (1 + learned.reserve("night"))
        learned.observe(ran(number, actual, 1000.0))
    assert 0.015 <= late / judged <= 0.075
    assert exp(1.3 * noise) - 1 < np.mean(kept) < exp(2.5 * noise) - 1  # 1.645, and what 40 runs cannot tell


@pytest.mark.parametrize(("sigma", "shift"), [(0.02, 0.0), (0.1, 0.0), (0.5, 0.0), (0.1, 0.3)])
def test_ranges_come_to_hold_nine_of_ten(sigma, shift):
    """Predicted +-16 %, errors of another size; from the middle on the world is another."""
    random = np.random.default_rng(3)
    learned, inside = Learned(), []
    for number in range(3000):
        grams = 100.0
        low, high = learned.interval("night", grams, 84.0, 116.0)
        actual = grams * exp(sigma * float(random.standard_normal()) + (shift if number > 1500 else 0.0))
        inside.append(low <= actual <= high)
        learned.observe(outcome(number, grams=actual, predicted_g=grams, predicted_low_g=low, predicted_high_g=high))
    for part in (inside[500:1500], inside[2000:]):
        assert 0.87 <= np.mean(part) <= 0.94


def test_a_new_workload_begins_with_what_all_have_taught():
    learned = Learned()
    for number in range(200):
        learned.observe(outcome(number, grams=200.0, predicted_g=100.0, predicted_low_g=95.0, predicted_high_g=105.0))
    assert learned.widen("another") > 5


def test_it_is_stored_and_goes_on_and_counts_nothing_twice():
    learned = Learned()
    for number in range(30):
        learned.observe(ran(number, 900.0 + number, 1000.0, units={"image": 10.0}))
    again = Learned(json.loads(json.dumps(learned.document())))
    assert again.document() == learned.document()
    for one in (learned, again):
        one.observe(ran(5, 5e6, 1000.0))
        one.observe(ran(31, 950.0, 1000.0))
    assert again.document() == learned.document()
    assert again.length("night", 1000.0).runs == 31


@pytest.mark.parametrize("state", [{"version": 99}, {"workloads": 5}, {"workloads": {"a": {"length": ["x"]}}}])
def test_a_spoilt_state_is_refused(state):
    with pytest.raises(Failure, match="what was learned"):
        Learned(state)


ANY = st.just(0.0) | st.floats(1e-6, 1e9)


@given(st.lists(st.tuples(st.floats(1e-3, 1e7), ANY, ANY), max_size=30))
def test_estimates_are_finite_and_within_their_range(runs):
    learned = Learned()
    for number, (length_s, stated_s, energy_j) in enumerate(runs):
        learned.observe(outcome(number, length_s=length_s, stated_length_s=stated_s, counterfactual_energy_j=energy_j))
    for found in (learned.length("night"), learned.length("night", 60.0), learned.power_w("night")):
        assert found is None or 0 < found.low <= found.value <= found.high < float("inf")
    assert 0 <= learned.reserve("night") <= 2


def test_a_range_is_as_wide_as_power_and_length_are_known_and_says_until_when_it_is_not_to_be_trusted():
    learned = Learned()
    widths = []
    for known in ("length stated, power assumed", "length stated, power stated", "power stated", ""):
        low, high = learned.interval("night", 100.0, 95.0, 105.0, known)
        widths.append(high - low)
        assert low <= 95.0
        assert high >= 105.0
    assert widths == sorted(widths, reverse=True)
    low, high = learned.interval("night", 100.0, 100.0, 100.0, "power assumed")
    assert (low, high) == (pytest.approx(50.0), pytest.approx(200.0))
    assert learned.trust("night") == "its range is not to be trusted yet: no outcome was held against one"
    for number in range(20):
        assert learned.trust("night")
        learned.observe(outcome(number, 100.0, workload="night", predicted_g=100.0))
        if number == 6:
            assert learned.trust("night").endswith("7 of 7 inside")
    assert not learned.trust("night")
    low, high = learned.interval("night", 100.0, 95.0, 105.0, "length learned from 20 runs, power learned from 20 runs")
    assert high - low < widths[1]
