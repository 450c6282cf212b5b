"""The model that learns: one median regression per horizon, straight from the origin to the target. Pure; numpy.

Direct multi-step forecasts (Marcellino, Stock, Watson 2006) with the regressors of electricity-price models of the LEAR
kind (Lago et al. 2021), shrunk towards the usual day of the last week. The loss is absolute, because the scores are:
iteratively re-weighted least squares (Schlossmacher 1973), each value weighed by its inverse where relative errors
count. No weather goes in, so a front that turns the wind is seen only once it has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.features import Lags
from evenwatt_collector.carbon.forecast.history import WEEK

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats, Ints, Past

ORIGINS: Final = 3_000
"""Origins a horizon is fitted on at the most; neighbours tell nearly the same."""
_ROUNDS: Final = 6
"""Of re-weighting; the coefficients hardly move after these."""
_FLAT: Final = 0.02
"""Errors below this share of the level weigh alike: an absolute loss that is round at its bottom."""
_LEAST_SHARE: Final = 0.1
"""A value below this share of the level weighs no more than one at it."""
_STILL: Final = 1e-9
_PIECE: Final = 128
"""Rows."""
_SEED: Final = 20_210_701
_EDGE: Final = 0.25
"""How far beyond what was ever seen a forecast may go, as a share of what was seen."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Coefficients by horizon, and the size of the errors they leave."""

    slopes: Floats
    """(horizon, regressor), in units of the level."""
    sizes: Floats
    """(horizon, calendar column): a regression of the absolute error."""
    usual: Floats
    """The mean absolute error by horizon, in units of the level."""
    least: float
    most: float
    fitted_to: int
    """Unix time: the end of the last step that was learned from."""
    days: float
    """How much it was learned from."""

    def predict(self, lags: Lags, o: Ints, h: Ints) -> Floats:
        """Return the median of each target, in the unit of the series."""
        level = lags.level(o)
        relative = np.einsum("ij,ij->i", lags.regressors(o, h), self.slopes[h - 1])
        said = lags.profile(o, h, WEEK) + relative * level
        return np.asarray(np.clip(said, self.least, self.most), dtype=np.float64)

    def size(self, lags: Lags, o: Ints, h: Ints) -> Floats:
        """Return how large an error is to be expected of each target, in the unit of the series; above 0."""
        usual = self.usual[h - 1]
        said = np.einsum("ij,ij->i", lags.calendar(o, h), self.sizes[h - 1])
        return np.asarray(np.clip(said, 0.3 * usual, 3.0 * usual) * lags.level(o), dtype=np.float64)


def fit(past: Past, horizon: int, shrink: float, *, relative: bool) -> Linear | None:
    """Fit on all targets of a past; None where it has too little in it to learn from.

    Args:
        past: Nothing beyond it is looked at.
        horizon: The longest, in steps.
        shrink: Strength of the shrinkage, in days of data that speak for the usual day.
        relative: Whether errors count relative to the value, or as they are.
    """
    lags, day = Lags(past), past.day
    rng = np.random.default_rng(_SEED)
    first, knots = WEEK * day, _knots(horizon, day)
    slopes, sizes, usual = [], [], []
    for h in knots.tolist():
        origins = np.arange(first, len(past.known) - h + 1, dtype=np.int64)
        origins = origins[~np.isnan(past.known[origins + h - 1])]
        if len(origins) > ORIGINS:
            origins = np.sort(rng.choice(origins, ORIGINS, replace=False))
        steps = np.full(len(origins), h, dtype=np.int64)
        level = lags.level(origins)
        target = past.known[origins + h - 1] / level
        gap = target - lags.profile(origins, steps, WEEK) / level
        x = lags.regressors(origins, steps) if len(origins) else np.empty((0, 0))
        if len(origins) < 2 * x.shape[1] or not np.any(gap):
            return None
        weights = 1 / np.maximum(target, _LEAST_SHARE) if relative else np.ones(len(target))
        slope = _median_regression(x, gap, weights, shrink / past.known_days)
        error = np.abs(gap - _times(x, slope))
        calendar = lags.calendar(origins, steps)
        slopes.append(slope)
        sizes.append(_median_regression(calendar, error, np.ones(len(error)), 1e-3, rounds=1))
        usual.append(max(float(error.mean()), 1e-6))
    seen = past.known[~np.isnan(past.known)]
    room = _EDGE * float(seen.max() - seen.min())
    return Linear(
        slopes=_between(np.array(slopes), knots, horizon, day),
        sizes=_between(np.array(sizes), knots, horizon, day),
        usual=_between(np.array(usual)[:, None], knots, horizon, day)[:, 0],
        least=max(0.0, float(seen.min()) - room),
        most=float(seen.max()) + room,
        fitted_to=past.start_s + len(past.known) * past.step_s,
        days=past.known_days,
    )


def _median_regression(x: Floats, y: Floats, weights: Floats, shrink: float, rounds: int = _ROUNDS) -> Floats:
    """Return coefficients; the first column of ``x`` is 1 and is not shrunk, the others are, each by its own spread.

    A column that stands still gets 0. One round is weighted least squares.
    """
    share = weights / weights.sum()
    centre = _times(x.T, share)
    centre[0] = 0.0
    z = x - centre
    spread = np.sqrt(_times((z**2).T, share))
    spread[0] = 1.0
    still = spread < _STILL
    z *= np.where(still, 0.0, 1 / np.where(still, 1.0, spread))
    penalty = np.where(still, 1.0, shrink)
    penalty[0] = 0.0
    for left in range(rounds, 0, -1):
        weighted = z * share[:, None]
        slope = np.linalg.solve(_inner(weighted, z) + np.diag(penalty), _times(weighted.T, y))
        if left > 1:
            share = weights / np.maximum(np.abs(y - _times(z, slope)), _FLAT)
            share /= share.sum()
    slope = np.where(still, 0.0, slope / np.where(still, 1.0, spread))
    slope[0] -= float(np.einsum("i,i", centre, slope))
    return np.asarray(slope, dtype=np.float64)


def _times(matrix: Floats, vector: Floats) -> Floats:
    """Return their product, without BLAS."""
    return np.asarray(np.einsum("ij,j->i", matrix, vector), dtype=np.float64)


def _inner(a: Floats, b: Floats) -> Floats:
    """Return ``a.T @ b``, in pieces that are too small for BLAS to share out between threads.

    It does so for larger ones, and on a busy machine its threads then wait for one another, spinning: a fit took 20
    times as long.
    """
    whole = len(a) // _PIECE * _PIECE
    pieces = (whole // _PIECE, _PIECE, a.shape[1])
    total = (a[:whole].reshape(pieces).transpose(0, 2, 1) @ b[:whole].reshape(pieces)).sum(axis=0)
    return np.asarray(total + a[whole:].T @ b[whole:], dtype=np.float64)


def _knots(horizon: int, day: int) -> Ints:
    """Return the horizons that are fitted: each up to an hour each, the first and last of every day, and the first few.

    With steps of an hour these are all.
    """
    hour = max(1, day // 24)
    hourly = np.arange(hour, horizon + 1, hour)
    firsts = np.arange(1, horizon + 1, day)
    few = np.array([h for h in (1, 2, 3, 6) if h <= min(hour, horizon)])
    return np.unique(np.concatenate((few, firsts, hourly, [horizon]))).astype(np.int64)


def _between(fitted: Floats, knots: Ints, horizon: int, day: int) -> Floats:
    """Spread what was fitted at the knots over all horizons: along a line, but within a day: lags jump between."""
    every = np.arange(1, horizon + 1)
    out = np.empty((horizon, fitted.shape[1]))
    for start in range(0, horizon, day):
        inside = (every > start) & (every <= start + day)
        own = (knots > start) & (knots <= start + day)
        for column in range(fitted.shape[1]):
            out[inside, column] = np.interp(every[inside], knots[own], fitted[own, column])
    return out
