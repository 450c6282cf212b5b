import numpy as np
import pytest

from evenwatt_collector.carbon.forecast import linear
from evenwatt_collector.carbon.forecast.features import Lags
from evenwatt_collector.carbon.forecast.history import Past

from .series import DAY_S, START_S, made


@pytest.mark.parametrize("rows", [5, 127, 128, 700])
def test_least_squares_is_numpys_where_nothing_shrinks(rows):
    rng = np.random.default_rng(rows)
    x = np.column_stack((np.ones(rows), rng.normal(size=(rows, 2)), np.full(rows, 7.0)))  # the last column stands still
    y, weights = rng.normal(size=rows), rng.uniform(0.5, 2, rows)
    root = np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(x[:, :3] * root, y * root[:, 0], rcond=None)[0]
    np.testing.assert_allclose(linear._median_regression(x, y, weights, 0.0, rounds=1), [*expected, 0.0], atol=1e-9)


def test_shrinkage_leaves_the_mean():
    rng = np.random.default_rng(1)
    x = np.column_stack((np.ones(200), rng.normal(3, 1, 200)))
    y = 5 + 2 * x[:, 1]
    slope = linear._median_regression(x, y, np.ones(200), 1e9, rounds=1)
    assert x.mean(axis=0) @ slope == pytest.approx(y.mean())
    assert slope[1] == pytest.approx(0.0, abs=1e-6)


def test_a_median_regression_ignores_what_is_far_off():
    rng = np.random.default_rng(1)
    x = np.column_stack((np.ones(500), rng.normal(size=500)))
    y = 1 + 0.5 * x[:, 1]
    y[rng.random(500) < 0.1] += 50
    np.testing.assert_allclose(linear._median_regression(x, y, np.ones(500), 0.0), [1.0, 0.5], atol=0.05)


@pytest.mark.parametrize(("horizon", "day"), [(120, 24), (240, 48), (1440, 288)])
def test_between_knots_runs_a_line_and_never_across_a_day(horizon, day):
    knots = linear._knots(horizon, day)
    every = np.arange(1, horizon + 1)
    jumps = -(-every // day) * 100.0
    fitted = (jumps + every / day)[knots - 1][:, None]
    np.testing.assert_allclose(linear._between(fitted, knots, horizon, day)[:, 0], jumps + every / day)


def test_a_forecast_stays_near_what_was_ever_seen():
    past = Past.of(made(60), START_S + 60 * DAY_S, 100)
    model = linear.fit(past, 96, 1.0, relative=True)
    spike = past.filled.copy()
    spike[-24:] *= 1000
    lags = Lags(Past(past.start_s, past.step_s, spike, spike, past.now))
    said = model.predict(lags, np.full(96, len(spike)), np.arange(1, 97))
    span = past.filled.max() - past.filled.min()
    assert said.max() <= past.filled.max() + 0.25 * span
    assert said.min() >= 0


def test_too_little_teaches_nothing():
    assert linear.fit(Past.of(made(8), START_S + 8 * DAY_S, 100), 96, 1.0, relative=True) is None
