"""Convex weights of several forecasts, learned from the errors they made. Pure; numpy.

Exponentiated gradient (Kivinen and Warmuth 1997) on the absolute error, with a fixed share given back to all each time
(Herbster and Warmuth 1998), so that one that was useless for a season can return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats

RATE: Final = 1.0
"""Step of the logarithm of a weight per unit of the gradient, an error relative to the level."""
_SHARED: Final = 0.002
"""Share of all weight that is dealt out evenly after each lesson."""


def learn(weights: Floats, candidates: Floats, actual: Floats, unit: Floats) -> Floats:
    """Return the weights after one origin's targets.

    Args:
        weights: One a candidate; 0 or more, 1 in sum.
        candidates: (target, candidate) what each said.
        actual: What came, one a target.
        unit: What an error is divided by, one a target; above 0.
    """
    side = np.sign(candidates @ weights - actual) / unit
    gradient = (side[:, None] * candidates).mean(axis=0)
    raised = weights * np.exp(-RATE * np.clip(gradient - gradient.min(), 0.0, 5.0))
    return np.asarray((1 - _SHARED) * raised / raised.sum() + _SHARED / len(weights), dtype=np.float64)
