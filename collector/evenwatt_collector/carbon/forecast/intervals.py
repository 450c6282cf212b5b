"""Intervals from the errors that were made, widened or narrowed by how often they failed. Pure; numpy.

Split conformal prediction over a rolling window of residuals, each in units of the size that was expected of it (Lei et
al. 2018), upper and lower tail apart; the width is steered by the misses as in adaptive conformal inference (Gibbs and
Candes 2021), in its multiplicative form. So coverage holds over time even when the grid changes its manners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.forecast.history import Floats

MISS: Final = 0.10
"""Share that may fall outside the interval that is steered by: from the 5 % to the 95 % quantile."""
ENOUGH: Final = 40
"""Residuals from which a 5 % tail can be told: two lie beyond it."""
_STEER: Final = 0.06
"""Change of the logarithm of the width per unit of misses too many. An origin's targets miss together."""
_OF_A_DAY: Final = 3
"""Our choice: a front passes in some eight hours."""
_WIDEST: Final = np.log(4.0)


def offsets(residuals: Floats, width: float, quantiles: Sequence[float], days: int | None = None) -> Floats:
    """Return how far each quantile lies from the median, in units of the expected size.

    Below the median they are 0 or less, above it 0 or more, so that quantiles never cross.

    Args:
        residuals: Actual minus forecast, in those units; at least one.
        width: Natural logarithm of the factor on them.
        quantiles: Between 0 and 1.
        days: On how many days they were made. Errors of one day are much alike, so a day counts as three residuals at
            the most: tails of a few days reach further. None: each counts.
    """
    n = len(residuals) if days is None else min(len(residuals), _OF_A_DAY * days)
    wanted = np.asarray(quantiles, dtype=np.float64)
    level = np.clip(((n + 1) * wanted - 1) / max(1, n - 1), 0.0, 1.0)  # the k-th of n stands for k / (n + 1)
    found = np.quantile(residuals, level) * np.exp(width)
    bounded = np.where(wanted < 0.5, np.minimum(found, 0.0), np.where(wanted > 0.5, np.maximum(found, 0.0), 0.0))
    return np.asarray(bounded, dtype=np.float64)


def steer(width: float, missed: float) -> float:
    """Return the width's logarithm after one origin.

    Args:
        width: Before.
        missed: Share of its targets that fell outside.
    """
    return float(np.clip(width + _STEER * (missed - MISS), -_WIDEST, _WIDEST))
