"""Noise is taken out of a forecast, and nothing else."""

import numpy as np

from evenwatt_collector.plan.smoothing import noise_variance, smoothed


def series(count, seed):
    """A day's wave with what is left of yesterday's weather: an AR(2) process, smooth over half-hours."""
    rng = np.random.default_rng(seed)
    values = np.zeros(count)
    for i in range(2, count):
        values[i] = 1.8 * values[i - 1] - 0.81 * values[i - 2] + rng.normal(0, 0.4)
    return 100 + 20 * np.sin(np.arange(count) * 2 * np.pi / 48) + values


def test_a_forecast_as_smooth_as_its_past_is_left_alone():
    for seed in range(20):
        values = series(1000, seed)
        forecast = values[700:900]
        assert smoothed(forecast, values[:700]) is forecast


def test_noise_is_found_and_taken_out():
    for seed in range(10):
        values, noise = series(1200, seed), np.random.default_rng(seed + 100).normal(0, 5, 400)
        forecast = values[700:1100] + noise
        assert 0.6 * 25 < noise_variance(forecast, values[:700]) < 1.5 * 25
        left = smoothed(forecast, values[:700]) - values[700:1100]
        assert np.sqrt((left**2).mean()) < 0.6 * np.sqrt((noise**2).mean())


def test_a_level_is_kept():
    rng = np.random.default_rng(0)
    history = 50 + np.cumsum(rng.normal(0, 0.01, 500))
    forecast = history[-1] + rng.normal(0, 3, 200)
    assert abs(smoothed(forecast, history).mean() - forecast.mean()) < 0.5


def test_little_or_nothing_known_changes_nothing():
    forecast = np.array([1.0, 9.0] * 40)
    assert smoothed(forecast, np.array([])) is forecast
    assert smoothed(forecast, np.full(400, np.nan)) is forecast


def test_holes_stay_holes():
    rng = np.random.default_rng(1)
    history = np.cumsum(rng.normal(0, 0.1, 500)) + 100
    forecast = history[-1] + rng.normal(0, 10, 100)
    forecast[7] = np.nan
    found = smoothed(forecast, history)
    assert np.isnan(found[7])
    assert np.isfinite(np.delete(found, 7)).all()
