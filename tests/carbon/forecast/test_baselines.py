import numpy as np
import pytest

from evenwatt_collector.carbon.forecast.features import Lags
from evenwatt_collector.carbon.forecast.history import Past

from .series import DAY_S, HOUR_S, START_S, history, made


def _ahead(past, count):
    return np.full(count, len(past.known), dtype=np.int64), np.arange(1, count + 1, dtype=np.int64)


def _past(values, hours, keep_days=100):
    return Past.of(history(values), START_S + hours * HOUR_S, keep_days)


def test_persistence_repeats_the_last_24_hours_and_seasonal_the_last_168():
    values = np.arange(400.0)
    past = _past(values, 300)
    lags, (o, h) = Lags(past), _ahead(past, 200)
    assert lags.persistence(o, h).tolist() == [276 + i % 24 for i in range(200)]
    assert lags.seasonal(o, h).tolist() == [132 + i % 168 for i in range(200)]


def test_the_profile_is_the_mean_of_the_same_hour_of_the_days_there_are():
    values = np.repeat([1.0, 2.0, 6.0], 24) + np.tile(np.arange(24.0), 3)
    past = _past(values, 72)
    lags, (o, h) = Lags(past), _ahead(past, 48)
    np.testing.assert_allclose(lags.profile(o, h, 28), 3 + np.tile(np.arange(24.0), 2))
    np.testing.assert_allclose(lags.profile(o, h, 2), 4 + np.tile(np.arange(24.0), 2))
    np.testing.assert_allclose(lags.spread(o, h), np.std([1.0, 2.0, 6.0]))


@pytest.mark.parametrize("step_s", [300, 1800, 3600])
def test_regressors_at_an_origin_are_the_same_with_and_without_what_comes_after(step_s):
    whole = made(40, step_s=step_s)
    day = DAY_S // step_s
    every = Past.of(whole, START_S + 40 * DAY_S, 100)
    end = 31 * day + 7
    h = np.arange(1, 4 * day, max(1, day // 7), dtype=np.int64)
    o = np.full(len(h), end, dtype=np.int64)
    full, cut = Lags(every), Lags(every.cut(end))
    np.testing.assert_allclose(full.regressors(o, h), cut.regressors(o, h), rtol=0, atol=1e-9)
    np.testing.assert_allclose(full.calendar(o, h), cut.calendar(o, h), rtol=0, atol=1e-6)


def test_only_steps_that_have_ended_belong_to_the_past():
    values = np.arange(48.0)
    assert len(Past.of(history(values), START_S + 10 * HOUR_S, 9).known) == 10
    assert len(Past.of(history(values), START_S + 11 * HOUR_S - 1, 9).known) == 10
    assert len(Past.of(history(values), START_S - 1, 9).known) == 0


def test_holes_are_filled_from_before_and_a_late_provider_makes_the_forecast_reach_further():
    values = np.tile(np.arange(1.0, 25.0), 10)
    values[100:110] = np.nan
    values[230:] = np.nan
    past = _past(values, 240)
    assert (len(past.known), past.now) == (230, 240)
    np.testing.assert_allclose(past.filled, np.tile(np.arange(1.0, 25.0), 10)[:230])
    assert past.known_days == 220 / 24


def test_a_long_silence_is_filled_up_to_a_day_before_now():
    past = _past(np.concatenate((np.tile(np.arange(24.0), 5), np.full(72, np.nan))), 192)
    assert (len(past.known), past.now) == (168, 192)
    assert not np.isnan(past.filled).any()
    assert (len(_past(np.tile(np.arange(24.0), 5), 192).known)) == 168  # the same when the array just ends


def test_what_is_negative_or_no_number_counts_as_unknown():
    past = _past([1.0, -5.0, np.inf, 4.0], 4)
    assert np.isnan(past.known).tolist() == [False, True, True, False]
    assert past.filled.tolist() == [1.0, 1.0, 1.0, 4.0]
