import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.forecast import Forecaster, History, mape, walk

from .series import DAY_S, HOUR_S, START_S, history, made

HORIZON = 96
NOW_S = START_S + 60 * DAY_S


@cache
def _state():
    forecaster = Forecaster(HOUR_S, HORIZON * HOUR_S)
    forecaster.fit(made(66), NOW_S)
    return json.dumps(forecaster.state())


def _copy():
    """Return a fitted forecaster; each has books of its own, since predicting writes into them."""
    copy = Forecaster(HOUR_S, HORIZON * HOUR_S)
    copy.restore(json.loads(_state()))
    copy.fit(made(66), NOW_S)
    return copy


_fitted = cache(_copy)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5 * 24), st.lists(st.one_of(st.floats(0, 1e5), st.just(np.nan)), min_size=1, max_size=140))
def test_no_forecast_sees_its_future(hours, future):
    now_s = NOW_S + hours * HOUR_S + 1799
    whole = made(66)
    at = 60 * 24 + hours
    other = whole.values.copy()
    count = min(len(future), len(other) - at)
    other[at : at + count] = future[:count]
    changed = History(start_s=START_S, step_s=HOUR_S, values=other)
    a, b = _fitted().predict(whole, now_s), _fitted().predict(changed, now_s)
    np.testing.assert_array_equal(a.values, b.values)
    cut = History(start_s=START_S, step_s=HOUR_S, values=whole.values[:at])
    np.testing.assert_array_equal(a.values, _fitted().predict(cut, now_s).values)


def test_no_fit_and_no_score_sees_the_future():
    whole = made(66)
    other = whole.values.copy()
    other[60 * 24 + 12 :] *= 7
    changed = History(start_s=START_S, step_s=HOUR_S, values=other)
    states, said = [], []
    for held in (whole, changed):
        forecaster = Forecaster(HOUR_S, HORIZON * HOUR_S)
        forecaster.fit(held, NOW_S)
        forecaster.predict(held, NOW_S)
        forecaster.observe(held, NOW_S + 12 * HOUR_S)
        forecaster.fit(held, NOW_S + 12 * HOUR_S)
        said.append(forecaster.predict(held, NOW_S + 12 * HOUR_S).values)
        states.append(forecaster.state())
    assert states[0] == states[1]
    np.testing.assert_array_equal(*said)


def test_better_than_persistence_and_the_week_before_and_coverage_holds_while_the_noise_doubles():
    lived = walk(made(170, drift=1.0), Forecaster(HOUR_S, HORIZON * HOUR_S), START_S + 120 * DAY_S, HORIZON)
    assert mape(lived.actual, lived.median) < 0.9 * mape(lived.actual, lived.persistence)
    assert mape(lived.actual, lived.median) < 0.9 * mape(lived.actual, lived.seasonal)
    assert 0.87 <= np.mean((lived.actual >= lived.low) & (lived.actual <= lived.high)) <= 0.93
    for block in lived.scores.blocks:
        assert block.skill_persistence > 0
        assert block.chosen in {"linear", "profile"}
        assert block.n > 300


def test_persistence_in_a_walk_is_the_last_24_hours():
    whole = made(30)
    lived = walk(whole, Forecaster(HOUR_S, HORIZON * HOUR_S), START_S + 20 * DAY_S, HORIZON)
    assert len(lived.origins_s) == 7
    np.testing.assert_array_equal(lived.persistence[0], np.tile(whole.values[19 * 24 : 20 * 24], 4))
    np.testing.assert_array_equal(lived.seasonal[0], whole.values[13 * 24 : 17 * 24])
    np.testing.assert_array_equal(lived.actual[0], whole.values[20 * 24 : 24 * 24])
    with pytest.raises(ValueError, match="no forecast can be scored"):
        walk(whole, Forecaster(HOUR_S, HORIZON * HOUR_S), START_S + 29 * DAY_S, HORIZON)


def test_any_quantiles_ascend_and_are_never_below_zero():
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    made_now = _fitted().predict(made(66), NOW_S, levels)
    assert made_now.values.shape == (7, HORIZON)
    assert (made_now.values >= 0).all()
    assert (np.diff(made_now.values, axis=0) >= 0).all()
    np.testing.assert_array_equal(made_now.at(0.5), _fitted().predict(made(66), NOW_S).at(0.5))


def test_the_same_twice():
    a, b = Forecaster(HOUR_S, HORIZON * HOUR_S), Forecaster(HOUR_S, HORIZON * HOUR_S)
    for forecaster in (a, b):
        forecaster.fit(made(60), NOW_S)
    np.testing.assert_array_equal(a.predict(made(60), NOW_S).values, b.predict(made(60), NOW_S).values)
    assert a.state() == b.state()


def test_a_restart_forgets_nothing():
    before, after, whole = _copy(), _copy(), made(66)
    for hours in range(0, 96, 5):
        now_s = NOW_S + hours * HOUR_S
        before.observe(whole, now_s)
        before.predict(whole, now_s)
    state = json.loads(json.dumps(before.state(), allow_nan=False))
    after.restore(state)
    later_s = NOW_S + 5 * DAY_S
    assert before.observe(whole, later_s) == after.observe(whole, later_s) > 0
    np.testing.assert_array_equal(before.predict(whole, later_s).values, after.predict(whole, later_s).values)
    assert before.scores() == after.scores()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("books"),
        lambda state: state["books"].pop(),
        lambda state: state["books"][0].update(chosen=9),
        lambda state: state["books"][0].update(rows=[[1, 2]]),
        lambda state: state["waiting"][0].pop("block"),
        lambda state: state["waiting"][0].update(block=-1),
        lambda state: state["waiting"][0]["low"].pop(),
        lambda state: state.update(step_s=300),
    ],
)
def test_a_state_that_is_none_is_refused_and_changes_nothing(spoil):
    forecaster = _copy()
    kept, state = forecaster.state(), json.loads(json.dumps(forecaster.state()))
    spoil(state)
    with pytest.raises(ValueError, match="state"):
        forecaster.restore(state)
    assert forecaster.state() == kept


@pytest.mark.parametrize(("days", "model"), [(0, "none"), (1, "mean"), (8, "persistence")])
def test_with_little_history_it_says_so(days, model):
    forecaster, whole = Forecaster(HOUR_S, HORIZON * HOUR_S), made(max(1, days))
    now_s = START_S + days * DAY_S
    assert forecaster.refit_due(now_s)
    forecaster.fit(whole, now_s)
    assert not forecaster.refit_due(now_s + DAY_S)
    assert forecaster.refit_due(now_s + 7 * DAY_S)
    made_now = forecaster.predict(whole, now_s)
    assert made_now.model == model
    assert "known" in made_now.why
    if model == "none":
        assert np.isnan(made_now.values).all()
    else:
        assert (np.diff(made_now.values, axis=0) >= 0).all()
    if model == "persistence":
        np.testing.assert_array_equal(made_now.at(0.5), np.tile(whole.values[-24:], 4))


@pytest.mark.parametrize("days", [15, 21, 28, 35])
def test_between_two_and_five_weeks_something_sound_is_said(days):
    forecaster, whole = Forecaster(HOUR_S, HORIZON * HOUR_S), made(days)
    forecaster.fit(whole, START_S + days * DAY_S)
    made_now = forecaster.predict(whole, START_S + days * DAY_S)
    assert set(made_now.model.split(" and ")) <= {"linear", "persistence", "profile", "seasonal"}
    assert "MAPE" in made_now.why
    assert (made_now.values >= 0).all()
    assert made_now.values.max() < 2 * whole.values.max()


def test_before_any_fit_it_persists():
    made_now = Forecaster(HOUR_S, HORIZON * HOUR_S).predict(made(40), START_S + 40 * DAY_S)
    assert made_now.model == "persistence"
    assert "no forecast has been scored yet" in made_now.why


@pytest.mark.parametrize("value", [0.0, 300.0])
def test_a_constant_series_is_forecast_as_it_is(value):
    whole, forecaster = history(np.full(60 * 24, value)), Forecaster(HOUR_S, HORIZON * HOUR_S)
    forecaster.fit(whole, NOW_S)
    np.testing.assert_allclose(forecaster.predict(whole, NOW_S).values, value, rtol=1e-9)


def test_a_series_that_is_mostly_zero_stays_finite():
    values = np.where(np.arange(70 * 24) % 24 < 20, 0.0, made(70).values)
    for relative in (True, False):
        lived = walk(
            history(values),
            Forecaster(HOUR_S, HORIZON * HOUR_S, relative=relative),
            START_S + 60 * DAY_S,
            HORIZON,
        )
        assert np.isfinite(lived.high).all()
        assert (lived.low >= 0).all()
        assert lived.high.max() < 2 * values.max()
        assert all(np.isfinite(block.error) for block in lived.scores.blocks)


def test_holes_and_a_late_provider():
    whole = made(66)
    values, rng = whole.values.copy(), np.random.default_rng(3)
    values[rng.random(len(values)) < 0.1] = np.nan
    values[500:700] = np.nan
    holed = history(values)
    lived = walk(holed, Forecaster(HOUR_S, HORIZON * HOUR_S), START_S + 50 * DAY_S, HORIZON)
    assert np.isfinite(lived.median).all()
    assert mape(lived.actual, lived.median) < mape(lived.actual, lived.persistence)
    late = history(whole.values[: 60 * 24 - 5])
    made_now = _fitted().predict(late, NOW_S)
    assert (made_now.start_s, made_now.values.shape) == (NOW_S, (3, HORIZON))
    assert "the last 5 h are not known yet" in made_now.why


@pytest.mark.parametrize("step_s", [300, 1800])
def test_shorter_steps(step_s):
    whole, forecaster = made(40, step_s=step_s), Forecaster(step_s, DAY_S, relative=False)
    now_s = START_S + 36 * DAY_S
    forecaster.fit(whole, now_s)
    made_now = forecaster.predict(whole, now_s + 2 * step_s - 1)
    steps = DAY_S // step_s
    assert made_now.values.shape == (3, steps)
    assert made_now.start_s == now_s + step_s
    came = whole.values[36 * steps + 1 :][:steps]
    assert np.abs(made_now.at(0.5) - came).mean() < 60
    assert "WAPE" in made_now.why


def test_summer_time_does_not_exist():
    days = 91  # up to 2021-04-02; the clocks of Europe spring forward on March 28
    values = np.tile(200 + 10 * np.arange(24.0), days)
    forecaster = Forecaster(HOUR_S, HORIZON * HOUR_S)
    forecaster.fit(history(values), START_S + 80 * DAY_S)
    made_now = forecaster.predict(history(values), START_S + 85 * DAY_S + 17 * HOUR_S)
    np.testing.assert_allclose(made_now.at(0.5), values[17 : 17 + HORIZON], rtol=1e-6)


@pytest.mark.parametrize(("step_s", "horizon_s"), [(0, 3600), (7000, 86_400), (7200, 86_400), (3600, 60), (60, 10**6)])
def test_lengths_that_cannot_be_are_refused(step_s, horizon_s):
    with pytest.raises(ValueError, match="expected one"):
        Forecaster(step_s, horizon_s)


@pytest.mark.parametrize("quantiles", [(0.0, 0.5), (0.5, 0.5), (0.9, 0.1), (0.5, 1.0)])
def test_quantiles_that_cannot_be_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles"):
        _fitted().predict(made(66), NOW_S, quantiles)


def test_a_history_of_another_step_is_refused():
    with pytest.raises(ValueError, match="steps of 300 s, expected 3600"):
        _fitted().predict(made(3, step_s=300), NOW_S)
