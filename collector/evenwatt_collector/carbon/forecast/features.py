"""What a forecast is made from: baselines and regressors, each from values before its origin alone. Pure; numpy.

An origin ``o`` is an index: steps before it are known. A target is ``o + h - 1`` for the horizon h = 1, 2, ... steps.
All functions take arrays of origins and horizons of one length, so that training and forecasting share every line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.history import DAY_S, WEEK

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats, Ints, Past

MONTH: Final = 28
"""Days of the long profile: four weeks, so that each weekday has the same share."""
REACH_DAYS: Final = MONTH + WEEK
"""How far back any regressor looks."""
_YEAR_S: Final = 365.2425 * DAY_S
_LEAST_SPREAD: Final = 0.02
_LEAST_LEVEL: Final = 1e-3
"""A week's mean below this share of the whole mean is not divided by: the series stood still then."""


class Lags:
    """Running sums over one past, so that any window's mean is two look-ups.

    Memory is a few arrays as long as the past.
    """

    def __init__(self, past: Past) -> None:
        self.day = past.day
        self._start_s, self._step_s = past.start_s, past.step_s
        self._v = past.filled
        self._sum = np.concatenate(([0.0], np.cumsum(self._v)))
        self._by_day = _sums_by_day(self._v, self.day)
        self._squares = _sums_by_day(self._v**2, self.day)
        every = np.arange(len(self._v))
        usual = self._same_time(self._by_day, every - self.day, WEEK)
        self._odd = np.concatenate(([0.0], np.cumsum(np.where(every < self.day, 0.0, self._v - usual))))
        padded = np.concatenate((np.full(self.day - 1, self._v[0]), self._v))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.day)
        self._low, self._high = windows.min(axis=1), windows.max(axis=1)
        self._least = _LEAST_LEVEL * float(self._v.mean())

    def level(self, o: Ints) -> Floats:
        """Return the mean of the week before each origin: the unit that everything is scaled by; above 0."""
        return np.maximum(self._mean(o - WEEK * self.day, o), self._least or 1.0)

    def persistence(self, o: Ints, h: Ints) -> Floats:
        """The last 24 h again and again."""
        return self._lag(o, h, 1)

    def seasonal(self, o: Ints, h: Ints) -> Floats:
        """The last 168 h again and again; the last 24 h where there are fewer."""
        week = self.day * WEEK
        at = o + h - 1 - -(-h // week) * week
        return np.where(at >= 0, self._v[np.maximum(at, 0)], self.persistence(o, h))

    def profile(self, o: Ints, h: Ints, days: int) -> Floats:
        """The mean of the same time of the last ``days`` days; of those that there are."""
        at = o + h - 1 - -(-h // self.day) * self.day
        return np.where(at >= 0, self._same_time(self._by_day, at, days), self._mean(0 * o, o))

    def usual_spread(self, o: int) -> float:
        """Return the mean of :meth:`spread` over the day after an origin; at least 2 % of the level."""
        h = np.arange(1, self.day + 1, dtype=np.int64)
        at = np.full(self.day, o, dtype=np.int64)
        return max(float(self.spread(at, h).mean()), _LEAST_SPREAD * float(self.level(at[:1])[0]))

    def spread(self, o: Ints, h: Ints) -> Floats:
        """The standard deviation of the same time of the last seven days."""
        at = o + h - 1 - -(-h // self.day) * self.day
        mean, square = self._same_time(self._by_day, at, WEEK), self._same_time(self._squares, at, WEEK)
        return np.sqrt(np.maximum(0.0, square - mean**2))

    def regressors(self, o: Ints, h: Ints) -> Floats:
        """Return the regressors, (row, column), as differences in units of the level; the first column is 1.

        They are what persistence, weekly and mean-reverting forecasts are made of, how far the last step, hours and
        days were off what is usual at their time, and the calendar: hour, weekday, season.
        """
        day, hours = self.day, self.day // 24 or 1
        level, usual = self.level(o), self.profile(o, h, WEEK)
        stamp = self._start_s + (o + h - 1) * self._step_s
        clock, season = 2 * np.pi * (stamp % DAY_S) / DAY_S, 2 * np.pi * (stamp % _YEAR_S) / _YEAR_S
        sin, cos, weekday = np.sin(clock), np.cos(clock), (stamp // DAY_S + 3) % WEEK
        latest = self._lag(o, h, 1)
        at = o + h - 1 - -(-h // day) * day
        shift = (self._mean(o - day, o) - self._mean(o - WEEK * day, o)) / level
        odd = self._mean_odd(o, 6 * hours) / level
        scaled = (
            latest - usual,
            self._lag(o, h, 2) - usual,
            self._lag(o, h, 3) - usual,
            self.seasonal(o, h) - usual,
            self.profile(o, h, MONTH) - usual,
            usual - self._mean(o - WEEK * day, o),
            self._low[o - 1] - usual,
            self._high[o - 1] - usual,
            self._mean(at - 2 * hours, at) - latest,
            self._mean_odd(o, 1),
            self._mean_odd(o, 3 * hours),
            self._mean(o - 2 * day, o - day) - self._mean(o - WEEK * day, o),
            self._mean(o - MONTH * day, o) - self._mean(o - WEEK * day, o),
        )
        return np.column_stack(
            (
                np.ones(len(o)),
                np.column_stack(scaled) / level[:, None],
                *(odd, odd * sin, odd * cos, shift, shift * sin, shift * cos),
                *(sin, cos, np.sin(2 * clock), np.cos(2 * clock), np.sin(season), np.cos(season)),
                *((weekday == k).astype(np.float64) for k in range(WEEK - 1)),
            )
        )

    def calendar(self, o: Ints, h: Ints) -> Floats:
        """Return what the size of an error is explained by, (row, column)."""
        clock = 2 * np.pi * ((self._start_s + (o + h - 1) * self._step_s) % DAY_S) / DAY_S
        spread = self.spread(o, h) / self.level(o)
        return np.column_stack(
            (np.ones(len(o)), np.sin(clock), np.cos(clock), np.sin(2 * clock), np.cos(2 * clock), spread)
        )

    def _lag(self, o: Ints, h: Ints, days: int) -> Floats:
        """Return the same time of the ``days``-th last day; the usual one before the beginning."""
        at = o + h - 1 - (-(-h // self.day) + days - 1) * self.day
        return np.where(at >= 0, self._v[np.maximum(at, 0)], self.profile(o, h, WEEK))

    def _mean(self, start: Ints, end: Ints) -> Floats:
        start, end = np.maximum(start, 0), np.maximum(end, 1)
        start = np.minimum(start, end - 1)
        return np.asarray((self._sum[end] - self._sum[start]) / (end - start), dtype=np.float64)

    def _mean_odd(self, o: Ints, steps: int) -> Floats:
        start = np.maximum(o - steps, 0)
        return np.asarray((self._odd[o] - self._odd[start]) / (o - start), dtype=np.float64)

    def _same_time(self, sums: Floats, at: Ints, days: int) -> Floats:
        """Return the mean over ``at`` and the days before it; meaningless for ``at`` < 0."""
        count = np.clip(np.floor_divide(at, self.day) + 1, 1, days)
        before = at - count * self.day
        total = sums[np.maximum(at, 0)] - np.where(before >= 0, sums[np.maximum(before, 0)], 0.0)
        return np.asarray(total / count, dtype=np.float64)


def _sums_by_day(values: Floats, day: int) -> Floats:
    """Return, for each step, the sum over it and the same time of all days before."""
    whole = np.concatenate((values, np.zeros(-len(values) % day)))
    sums: Floats = np.cumsum(whole.reshape(-1, day), axis=0).ravel()[: len(values)]
    return sums
