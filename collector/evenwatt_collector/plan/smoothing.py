"""A forecast that jumps more than its series ever did, with the jumps taken out. Pure; numpy.

Work is put where a forecast is lowest, so where its noise is lowest: of a forecast with independent errors the plan
picks the errors (the optimiser's curse). How much noise there is shows in its roughness: the mean squared second
difference of independent noise is six times its variance, and what the forecast has more of than what came in the past
is noise. It is filtered by ordinary kriging (Cressie, Statistics for Spatial Data, 1993, 3.2 and 3.4) with a power
variogram that is fitted to the past. A forecast that is no rougher than its past is returned as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.plan.problem import Floats

_REACH: Final = 12
"""Slots before and after that count for a slot."""

_LEAST_STEPS: Final = 48
"""Of history: fewer say nothing about roughness."""

_ROUGHER: Final = 1.5
"""Of mean squared second differences: less than this is no sign of noise."""

_POWERS: Final = (0.5, 1.9)
"""Of the variogram: below 2 it is valid, and a series of intensities is rougher than a line."""


def smoothed(forecast: Floats, history: Floats) -> Floats:
    """Return a forecast without the noise that its history does not know.

    Args:
        forecast: One value a slot, g/kWh; NaN where unknown.
        history: What came before, on the same slots; NaN where unknown. Two weeks are plenty.
    """
    noise = noise_variance(forecast, history)
    if noise <= 0:
        return forecast
    scale, power = _variogram(history)
    reach = min(_REACH, (len(forecast) - 1) // 2)
    size = 2 * reach + 1
    weights = [_weights(size, target, scale, power, noise) for target in range(size)]
    known = np.where(np.isnan(forecast), np.nanmean(forecast), forecast)
    found: Floats = np.convolve(known, weights[reach], mode="same")
    for i in range(reach):
        found[i] = weights[i] @ known[:size]
        found[-1 - i] = weights[size - 1 - i] @ known[-size:]
    return np.where(np.isnan(forecast), np.nan, np.maximum(found, 0.0))


def noise_variance(forecast: Floats, history: Floats) -> float:
    """Return the variance of independent errors in a forecast, (g/kWh)^2; 0 where there is no sign of any."""
    known = int(np.count_nonzero(np.isfinite(history)))
    if known < _LEAST_STEPS or len(forecast) < _LEAST_STEPS // 4:
        return 0.0
    usual, now = _roughness(history), _roughness(forecast)
    if not (np.isfinite(usual) and np.isfinite(now)) or now <= _ROUGHER * usual:
        return 0.0
    return (now - usual) / 6


def _roughness(values: Floats) -> float:
    second = np.diff(values, 2)
    second = second[np.isfinite(second)]
    return float((second**2).mean()) if len(second) else float("nan")


def _variogram(history: Floats) -> tuple[float, float]:
    """Return scale and power of half the mean squared difference over a lag, as scale * lag ** power."""
    lags = np.arange(1, 5)
    halves = np.array([np.nanmean((history[lag:] - history[:-lag]) ** 2) / 2 for lag in lags.tolist()])
    if not (halves > 0).all():
        return max(1e-9, float(halves[0])), 1.0
    slope = float(np.polyfit(np.log(lags), np.log(halves), 1)[0])
    power = min(max(slope, _POWERS[0]), _POWERS[1])
    return float(np.exp(np.log(halves).mean() - power * np.log(lags).mean())), power


def _weights(size: int, target: int, scale: float, power: float, noise: float) -> Floats:
    """Return what each of neighbouring values counts for one of them; they sum to 1."""
    at = np.arange(size)
    system: Floats = np.ones((size + 1, size + 1))
    system[-1, -1] = 0.0
    system[:size, :size] = -scale * np.abs(at[:, None] - at) ** power + noise * np.eye(size)
    wanted = np.append(-scale * np.abs(at - target) ** power, 1.0)
    found: Floats = np.linalg.solve(system, wanted)[:size]
    return found[::-1] if size % 2 and target == size // 2 else found
