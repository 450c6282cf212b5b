"""Forecasts for planning: hours that follow from the running one are found, and nothing beyond it is looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.forecast import hourly
from evenwatt_collector.carbon.forecast.history import HOUR_S, Forecast, History
from evenwatt_collector.carbon.forecast.sharpening import Sharpener

DAYS, AHEAD = 150, 48
START_S = 1_600_000_000 // 86_400 * 86_400


def windy(seed, days=DAYS):
    """A day's wave and weather that comes and goes within hours; steeper at noon than at night."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    wind = np.zeros(len(hours))
    for i in range(1, len(hours)):
        wind[i] = 0.93 * wind[i - 1] + rng.normal(0, 0.08)
    shape = 0.3 * np.cos(2 * np.pi * hours / 24)
    return 300 * np.exp(shape + wind * (1 + 0.5 * np.sin(2 * np.pi * hours / 24)))


def history(values):
    return History(start_s=START_S, step_s=HOUR_S, values=values)


def made(values, at, step_s=HOUR_S):
    """The same time of the week before, as a forecast, with a band of a tenth."""
    mean = values[at - 168 : at].reshape(7, 24).mean(axis=0)
    median = np.tile(mean, AHEAD // 24)
    return Forecast(start_s=START_S + at * HOUR_S, step_s=step_s, quantiles=(0.05, 0.5, 0.95),
                    values=np.array([0.9 * median, median, 1.1 * median]), model="x", why="y")  # fmt: skip


def fitted(values, at):
    sharpener = Sharpener(AHEAD * HOUR_S)
    sharpener.fit(history(values), START_S + at * HOUR_S)
    return sharpener


@pytest.mark.parametrize("seed", range(4))
def test_errors_shrink_while_weather_lasts(seed):
    values = windy(seed)
    sharpener = fitted(values, 110 * 24)
    before, after = [], []
    for at in range(110 * 24, 145 * 24, 7):
        usual = made(values, at)
        said = sharpener.sharpened(usual, history(values), START_S + at * HOUR_S, values[at])
        truth = values[at : at + AHEAD]
        before.append(np.abs(usual.at(0.5) - truth)[1:7])
        after.append(np.abs(said.at(0.5) - truth)[1:7])
    # Of an error that fades by .93 an hour, sqrt(1 - .93 ** 2h) cannot be known: 0.6 on average over six hours.
    assert np.mean(after) < 0.75 * np.mean(before)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 50), at=st.integers(80 * 24, 140 * 24), known=st.booleans())
def test_nothing_after_the_running_hour_counts(seed, at, known):
    values = windy(seed)
    other = values.copy()
    other[at + (1 if known else 0) :] = 1e4
    running = values[at] if known else None
    now_s = START_S + at * HOUR_S + 600
    a = fitted(values, at).sharpened(made(values, at), history(values), now_s, running)
    b = fitted(other, at).sharpened(made(values, at), history(other), now_s, running)
    assert np.array_equal(a.values, b.values)
    assert (a.values >= 0).all()
    assert np.isfinite(a.values).all()
    assert (np.diff(a.values[:, 1:], axis=0) >= 0).all()


def test_the_running_hour_is_what_it_is():
    values = windy(1)
    at = 120 * 24 + 5
    said = fitted(values, at).sharpened(made(values, at), history(values), START_S + at * HOUR_S, 123.0)
    assert (said.values[:, 0] == 123.0).all()
    assert "the running hour" in said.why


def test_levels_and_units_do_not_matter():
    values = windy(2)
    at = 120 * 24
    now_s = START_S + at * HOUR_S
    one = fitted(values, at).sharpened(made(values, at), history(values), now_s, values[at])
    big = values * 1000
    other = fitted(big, at).sharpened(made(big, at), history(big), now_s, big[at])
    assert np.allclose(1000 * one.values, other.values, rtol=1e-6)


def test_a_publisher_that_is_late_is_looked_over_and_one_that_is_silent_changes_nothing():
    values = windy(3)
    at = 120 * 24
    sharpener, now_s = fitted(values, at), START_S + at * HOUR_S
    late, silent = values.copy(), values.copy()
    late[at - 3 :], silent[at - 12 :] = np.nan, np.nan
    said = sharpener.sharpened(made(values, at), history(late), now_s)
    assert len(said.at(0.5)) == AHEAD
    assert not np.array_equal(said.values, made(values, at).values)
    assert sharpener.sharpened(asked := made(values, at), history(silent), now_s) is asked


def test_little_history_other_steps_or_no_fit_change_nothing():
    values = windy(4)
    at = 20 * 24
    asked = made(values, at)
    assert fitted(values, at).sharpened(asked, history(values), START_S + at * HOUR_S, values[at]) is asked
    at = 120 * 24
    asked = made(values, at, step_s=1800)
    assert fitted(values, at).sharpened(asked, history(values), START_S + at * HOUR_S, values[at]) is asked
    assert Sharpener(HOUR_S).sharpened(asked, history(values), START_S + at * HOUR_S) is asked


@pytest.mark.parametrize("value", [0.0, 50.0])
def test_series_that_stand_still_are_forecast_to_stand_still(value):
    values = np.full(100 * 24, value)
    model = hourly.fit(values, 0, 24)
    assert (model is None) == (value == 0)
    if model is not None:
        assert np.allclose(model.predict(values, 23), value, rtol=1e-6)


def test_zeros_within_a_series_are_no_trouble():
    values = windy(5)
    values[::24] = 0.0
    at = 120 * 24
    said = fitted(values, at).sharpened(made(values, at), history(values), START_S + at * HOUR_S, 0.0)
    assert np.isfinite(said.values).all()
    assert (said.values >= 0).all()
