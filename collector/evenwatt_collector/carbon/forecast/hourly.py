"""From the last known hour on: a regression for each hour of the day and each horizon, in logarithms. Pure; numpy.

Where work is put depends on how hours differ from one another, and how they do depends on the hour from which one
looks: a low at noon tells something else of the evening than a low at midnight. So each hour of origin has its own
slopes, fitted on the origins within two hours of it (kernel weights; varying-coefficient models, Hastie and Tibshirani
1993), directly from the origin to each target (Marcellino, Stock, Watson 2006), by ridge-regularised least squares.
Steps are hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.history import WEEK

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats, Ints

DAY: Final = 24
LEAST_DAYS: Final = 60
"""Of history to learn from: fewer say too little for each hour of the day."""
KEEP_DAYS: Final = 2 * 366
_REACH: Final = 28 * DAY
"""Hours back that regressors look."""
_NEAR: Final = 2
"""Hours of origin at either side that count for one."""
_RIDGE: Final = 0.02
"""Of regressors in units of their spread."""
_FLOOR: Final = 0.02
"""Share of the mean below which values are alike: a logarithm of nothing is no number."""
_BACK: Final = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Hourly:
    """What was learned: by hour of the day of the origin and horizon."""

    slopes: Floats
    """(hour of the day of the origin, horizon - 1, regressor)."""
    least: float
    most: float

    def predict(self, values: Floats, hour: int) -> Floats:
        """Return what is expected from the last known hour on, g/kWh; the first is that hour itself.

        Args:
            values: By the hour, four weeks or more; without holes.
            hour: Of the day, of the last of them, as it was counted for :func:`fit`.
        """
        logs = _logs(values[-_REACH - DAY :], self.least)
        slopes = self.slopes[hour]
        at = np.full(len(slopes), len(logs) - 1, dtype=np.int64)
        h = np.arange(1, len(slopes) + 1, dtype=np.int64)
        x, usual = _of_target(logs, at, h, np.repeat(_common(logs, at[:1]), len(at), axis=0))
        found = usual + np.einsum("ij,ij->i", x, slopes)
        expected = np.exp(np.clip(found, np.log(self.least), np.log(self.most)))
        return np.concatenate((values[-1:], expected))


def fit(values: Floats, first_hour: int, horizon: int) -> Hourly | None:
    """Learn from hours that are over; None where they are too few.

    Args:
        values: By the hour, g/kWh; without holes.
        first_hour: Of the day, of the first of them.
        horizon: Hours from the last known one to the last that is forecast.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < LEAST_DAYS * DAY or values.mean() <= 0:
        return None
    least = _FLOOR * float(values.mean())
    logs = _logs(values, least)
    slopes = np.empty((DAY, horizon, len(_BACK) + 10))
    origins = np.arange(min(_REACH, len(values) // 3), len(values) - 1, dtype=np.int64)
    common = _common(logs, origins)
    for h in range(1, horizon + 1):
        there = origins + h < len(values)
        at = origins[there]
        x, usual = _of_target(logs, at, np.full(len(at), h, dtype=np.int64), common[there])
        slopes[:, h - 1] = _by_hour(x, logs[at + h] - usual, (first_hour + at) % DAY)
    return Hourly(slopes=slopes, least=least, most=1.25 * float(values.max()))


def _by_hour(x: Floats, y: Floats, hours: Ints) -> Floats:
    """Return slopes for each hour of origin; sums of squares are taken by hour once, and weighed together."""
    spread = np.sqrt((x[:, 1:] ** 2).mean(axis=0)) + 1e-9
    scaled = np.column_stack((x[:, :1], x[:, 1:] / spread))
    squares, products, counts = [], [], []
    for hour in range(DAY):
        own = scaled[hours == hour]
        squares.append(own.T @ own)
        products.append(own.T @ y[hours == hour])
        counts.append(len(own))
    penalty = np.diag(np.r_[0.0, np.full(x.shape[1] - 1, _RIDGE)])
    found = np.empty((DAY, x.shape[1]))
    for hour in range(DAY):
        near = [((hour + k) % DAY, 1 - abs(k) / (_NEAR + 1)) for k in range(-_NEAR, _NEAR + 1)]
        total = sum(weight * counts[i] for i, weight in near) or 1.0
        square = np.sum([weight * squares[i] for i, weight in near], axis=0) / total
        product = np.sum([weight * products[i] for i, weight in near], axis=0) / total
        found[hour] = np.linalg.solve(square + penalty + 1e-9 * np.eye(len(square)), product)
    found[:, 1:] /= spread
    return found


def _logs(values: Floats, least: float) -> Floats:
    return np.asarray(np.log(np.maximum(values, least)), dtype=np.float64)


def _common(logs: Floats, at: Ints) -> Floats:
    """Return what is known at origins, (origin, regressor): how the running hour stands to those before."""
    now = logs[at]
    sums = np.concatenate(([0.0], np.cumsum(logs)))

    def mean(hours: int) -> Floats:
        begin = np.maximum(at + 1 - hours, 0)
        return np.asarray((sums[at + 1] - sums[begin]) / (at + 1 - begin), dtype=np.float64)

    day, week, month = mean(DAY), mean(WEEK * DAY), mean(_REACH)
    usual = _usual(logs, at - DAY, np.zeros_like(at), WEEK)
    back = [now - logs[np.maximum(at - hours, 0)] for hours in _BACK]
    return np.column_stack((np.ones(len(at)), *back, now - day, day - week, week - month, now - usual))


def _of_target(logs: Floats, at: Ints, h: Ints, common: Floats) -> tuple[Floats, Floats]:
    """Return regressors and what is usual at the target's time of day."""
    usual = _usual(logs, at, h, WEEK)
    same = logs[np.maximum(at + h - WEEK * DAY * -(-h // (WEEK * DAY)), 0)]
    own = (_usual(logs, at, h, 1), _usual(logs, at, h, 2), _usual(logs, at, h, 28), same, logs[at])
    return np.column_stack((common, *(one - usual for one in own))), usual


def _usual(logs: Floats, at: Ints, h: Ints, days: int) -> Floats:
    """Return the mean of the target's time of day over the last days that are known at the origin."""
    last = at + h - DAY * -(-h // DAY)
    found = np.zeros(len(at))
    for back in range(days):
        found += logs[np.maximum(last - DAY * back, last % DAY)]
    return found / days
