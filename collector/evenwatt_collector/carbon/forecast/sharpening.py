"""A forecast made sharper for planning, by what its hours tell from the hour from which one looks. Pure; numpy.

The Forecaster is fitted for the least error; a plan needs to know which hours are lower than others. Its median over
the first day is taken from :mod:`~evenwatt_collector.carbon.forecast.hourly`, which also uses the running hour where
its value is known already; from the second day's end on it is the geometric mean of both (equal weights: Bates and
Granger 1969; Timmermann 2006). The quantiles keep their ratio to the median.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast import hourly
from evenwatt_collector.carbon.forecast.history import DAY_S, HOUR_S, Past

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats, Forecast, History
    from evenwatt_collector.carbon.forecast.hourly import Hourly

_TO_DAYS: Final = (1, 2)
"""Days ahead over which the share of what the hours tell falls from all to a half."""
_LATE: Final = 6
"""Hours that the newest value may lie back; what hours tell of one another fades over some hours."""
_DAY: Final = DAY_S // HOUR_S


class Sharpener:
    """Sharpens forecasts of one series of hours; forecasts on other steps are left as they are.

    Args:
        horizon_s: How far the forecasts reach.
    """

    def __init__(self, horizon_s: int) -> None:
        self._horizon = -(-horizon_s // HOUR_S)
        self._model: Hourly | None = None

    def fit(self, history: History, now_s: int) -> None:
        """Learn from what had ended by ``now_s``; takes a second, and may run in a thread beside ``sharpened``."""
        if history.step_s != HOUR_S:
            return
        past = Past.of(history, now_s, hourly.KEEP_DAYS)
        self._model = hourly.fit(past.filled, past.start_s // HOUR_S % _DAY, self._horizon) if past.known_days else None

    def sharpened(self, made: Forecast, history: History, now_s: int, running: float | None = None) -> Forecast:
        """Return a forecast made at ``now_s``, sharper where enough is known; else itself.

        Args:
            made: From the running hour on.
            history: Of which nothing is looked at but hours that had ended by ``now_s``.
            now_s: Unix time.
            running: Value of the hour that runs, if it is known (measured or estimated, no forecast); g/kWh.
        """
        model = self._model
        if model is None or made.step_s != HOUR_S or made.quantiles.count(0.5) == 0:
            return made
        past = Past.of(history, now_s, hourly.KEEP_DAYS)
        late = past.now - len(past.known)
        values = past.filled
        if late > _LATE or past.known_days < hourly.LEAST_DAYS:
            return made  # what the newest hours tell is not known
        last = past.start_s // HOUR_S + len(values) - 1
        if late == 0 and running is not None and np.isfinite(running) and running >= 0:
            told = model.predict(np.append(values, running), (last + 1) % _DAY)
            return _combined(made, told, known=True)
        return _combined(made, model.predict(values, last % _DAY)[1 + late :], known=False)


def _combined(made: Forecast, told: Floats, *, known: bool) -> Forecast:
    median = made.at(0.5)
    count = min(len(median), len(told))
    days = np.arange(count) / _DAY
    share = np.interp(days, _TO_DAYS, (1.0, 0.5))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(median[:count] > 0, (told[:count] / median[:count]) ** share, 1.0)
    ratio = np.where(np.isfinite(ratio), ratio, 1.0)
    values = made.values.copy()
    values[:, :count] *= ratio
    if known:
        values[:, 0] = told[0]
    from_hour = "the running hour" if known else "the last hour that is known"
    return replace(made, values=values, why=f"{made.why}; sharpened by how hours follow {from_hour}")
