import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.tuning.surface import fit

X = np.log(np.array([100.0, 125, 150, 175, 200, 225, 250]))


def _fit(measured, y, sd=0.01):
    return fit(X, measured, np.array(y, dtype=float), np.full(len(measured), sd))


def test_what_was_measured_is_believed_as_far_as_it_is_precise():
    surface = _fit([0, 3, 6], [1.0, 0.5, 0.8], 0.005)
    np.testing.assert_allclose(surface.mean[[0, 3, 6]], [1.0, 0.5, 0.8], atol=0.01)
    assert (surface.sd[[0, 3, 6]] < 0.01).all()
    assert (surface.sd[[1, 2, 4, 5]] > 0.01).all()


def test_what_is_far_from_any_measurement_is_less_sure():
    surface = _fit([6], [0.0])
    assert (np.diff(surface.sd[:-1]) < 0).all()


def test_scattered_values_are_taken_for_effects_of_their_own_and_smooth_ones_are_not():
    flat = np.zeros(7)
    scattered = fit(flat, [0, 1, 2, 3, 4], np.array([0.0, 0.1, -0.08, 0.06, -0.1]), np.full(5, 0.005))
    alike = fit(flat, [0, 1, 2, 3, 4], np.array([0.0, 0.002, -0.003, 0.001, 0.0]), np.full(5, 0.005))
    assert scattered.own > 0.05
    assert alike.own < 0.01
    assert scattered.gain(4, 0.01)[0][5] > 0.05
    assert alike.gain(4, 0.01)[0][5] < 0.02


@settings(max_examples=25, deadline=None)
@given(
    y=st.lists(st.floats(-2, 2), min_size=1, max_size=7),
    sd=st.floats(0.001, 0.3),
    tolerance=st.floats(0, 0.1),
    shift=st.floats(-20, 20),
)
def test_probabilities_and_savings_are_such_and_do_not_depend_on_the_unit(y, sd, tolerance, shift):
    measured = list(range(len(y)))
    surface, shifted = _fit(measured, y, sd), _fit(measured, [each + shift for each in y], sd)
    likely, saving = surface.gain(0, tolerance)
    assert ((likely >= 0) & (likely <= 1)).all()
    assert (saving >= 0).all()
    assert likely[0] == saving[0] == 0
    np.testing.assert_allclose(shifted.mean - surface.mean, shift, atol=1e-6)
    np.testing.assert_allclose(shifted.gain(0, tolerance)[0], likely, atol=1e-6)


def test_a_better_neighbour_makes_a_cap_promising():
    surface = _fit([6, 5, 4], [0.0, -0.1, -0.2])
    likely, saving = surface.gain(4, 0.01)
    assert likely[3] > 0.3
    assert saving[3] == pytest.approx(max(saving), abs=0.05)
