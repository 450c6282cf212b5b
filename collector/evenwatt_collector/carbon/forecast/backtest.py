"""A walk through a history as it would have been lived: forecasts at past origins, none saw its future. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.features import Lags
from evenwatt_collector.carbon.forecast.history import DAY_S, WEEK, History, Past
from evenwatt_collector.carbon.forecast.ledger import EVERY_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.carbon.forecast.forecaster import Forecaster
    from evenwatt_collector.carbon.forecast.history import Floats, Ints
    from evenwatt_collector.carbon.forecast.score import Scores

_KEPT_DAYS: Final = 2 * WEEK
"""Of history that the baselines need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What was forecast and what came, (origin, horizon)."""

    origins_s: Ints
    actual: Floats
    """NaN where unknown."""
    low: Floats
    """The 5 % quantile."""
    median: Floats
    high: Floats
    """The 95 % quantile."""
    persistence: Floats
    """The last 24 h repeated."""
    seasonal: Floats
    """The last 168 h repeated."""
    scores: Scores
    """As the forecaster itself scored, at the end."""
    fits: int


def walk(
    history: History,
    forecaster: Forecaster,
    first_s: int,
    horizon: int,
    said: Callable[[int, int], None] = lambda _done, _all: None,
) -> Walk:
    """Forecast from ``first_s`` on, an origin a day, as long as all of a horizon is within the history.

    Args:
        history: The whole of it.
        forecaster: A new one; refitted when it says it is due.
        first_s: The first origin.
        horizon: In steps, as the forecaster's.
        said: Told how many origins of how many are done.

    Raises:
        ValueError: the history ends before one whole horizon.
    """
    step_s = history.step_s
    last_s = history.start_s + (len(history.values) - horizon) * step_s
    origins = np.arange(first_s, last_s + 1, DAY_S, dtype=np.int64)
    if not len(origins):
        raise ValueError(f"the history ends less than {horizon} steps after {first_s}: no forecast can be scored")
    rows: list[tuple[Floats, ...]] = []
    fits = 0
    for origin_s in origins.tolist():
        for now_s in range(origin_s, origin_s + DAY_S, EVERY_S):
            forecaster.observe(history, now_s)
            if forecaster.refit_due(now_s):
                forecaster.fit(history, now_s)
                fits += 1
            made = forecaster.predict(history, now_s)
            if now_s == origin_s:
                rows.append((*_came(history, origin_s, horizon), *made.values))
        said(len(rows), len(origins))
    actual, persistence, seasonal, low, median, high = (np.array(column) for column in zip(*rows, strict=True))
    return Walk(
        origins_s=origins,
        actual=actual,
        low=low,
        median=median,
        high=high,
        persistence=persistence,
        seasonal=seasonal,
        scores=forecaster.scores(),
        fits=fits,
    )


def _came(history: History, origin_s: int, horizon: int) -> tuple[Floats, Floats, Floats]:
    """Return what came, and what persistence and the week before would have said."""
    past = Past.of(history, origin_s, _KEPT_DAYS)
    at = (origin_s - history.start_s) // history.step_s
    actual = np.asarray(history.values[at : at + horizon], dtype=np.float64)
    if not len(past.known):
        nothing = np.full(horizon, np.nan)
        return actual, nothing, nothing
    h = np.arange(1, horizon + 1, dtype=np.int64) + past.now - len(past.known)
    o = np.full(horizon, len(past.known), dtype=np.int64)
    lags = Lags(past)
    return actual, lags.persistence(o, h), lags.seasonal(o, h)
