"""Cost against cap, from a few measurements: a Gaussian process over the logarithm of power. Pure; numpy.

The logarithm of the cost of a unit is taken as a smooth function of the logarithm of the cap (Matern 5/2: Rasmussen,
Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.17), plus an effect of each cap's own, plus the error of
its measurement. The effect of its own matters where the cap does not bind: there measured energy differs between caps
for no physical reason (temperature, clocks, placement of data), and as a rule by several percent.

Length, height and own effect are not fitted but averaged over a small grid, weighed by the likelihood of what was
measured: with three points a fit would be sure of what it cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import erf, pi, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_GRID: Final = np.array(
    list(
        product(
            (0.2, 0.4, 0.8),  # length, in logarithms of power: the width of what a cap of its neighbour's tells
            (0.1, 0.3, 0.7),  # height, in logarithms of cost
            (0.003, 0.015, 0.04, 0.08),  # effect of a cap's own
        )
    )
)
_erf: Final = np.vectorize(erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Surface:
    """What is believed of every cap: a mixture of normal distributions of the logarithm of cost."""

    weights: Floats
    """(member of the grid,)."""
    means: Floats
    """(member, cap)."""
    covariances: Floats
    """(member, cap, cap)."""

    @property
    def mean(self) -> Floats:
        """Mean of each cap."""
        return np.asarray(self.weights @ self.means)

    @property
    def sd(self) -> Floats:
        """Standard deviation of each cap."""
        spread = np.diagonal(self.covariances, axis1=1, axis2=2) + (self.means - self.mean) ** 2
        return np.sqrt(np.maximum(self.weights @ spread, 0.0))

    @property
    def own(self) -> float:
        """Expected standard deviation of the effects that caps have of their own."""
        return float(self.weights @ _GRID[:, 2])

    def gain(self, best: int, tolerance: float) -> tuple[Floats, Floats]:
        """Compare every cap with one of them.

        Returns:
            Of each cap, the probability that it is better than ``best`` by more than ``tolerance`` (relative), and
            the expected saving (relative; the expected improvement of Jones, Schonlau, Welch 1998).
        """
        difference = self.means[:, best : best + 1] - self.means
        own = np.diagonal(self.covariances, axis1=1, axis2=2)
        variance = own + own[:, best : best + 1] - 2 * self.covariances[:, :, best]
        sd = np.sqrt(np.maximum(variance, 1e-12))
        likely = self.weights @ _normal((difference - tolerance) / sd)
        z = difference / sd
        improvement = sd * (z * _normal(z) + np.exp(-0.5 * z**2) / sqrt(2 * pi))
        improvement[:, best] = 0.0
        likely[best] = 0.0
        return np.minimum(likely, 1.0), np.maximum(self.weights @ improvement, 0.0)


def fit(x: Floats, measured: Sequence[int], y: Floats, sd: Floats) -> Surface:
    """Return what is believed after some measurements.

    Args:
        x: Logarithm of power of each cap, (cap,).
        measured: Which caps have been measured; not empty.
        y: Logarithm of their cost, (measured,).
        sd: Standard error of each, (measured,).
    """
    at = np.asarray(measured)
    base = float(y[int(np.argmax(x[at]))])
    length, height, own = _GRID.T[:, :, None, None]
    far = sqrt(5) * np.abs(x[:, None] - x[None, :]) / length
    prior = height**2 * (1 + far + far**2 / 3) * np.exp(-far) + own**2 * np.eye(len(x))
    seen = prior[:, at[:, None], at[None, :]] + np.diag(sd**2 + 1e-10)
    across = prior[:, :, at]
    solved = np.linalg.solve(seen, np.swapaxes(across, 1, 2))
    from_base = y - base
    alpha = np.linalg.solve(seen, np.broadcast_to(from_base[:, None], (len(_GRID), len(at), 1)))[:, :, 0]
    evidence = -0.5 * (alpha @ from_base + np.linalg.slogdet(seen)[1])
    weights = np.exp(evidence - evidence.max())
    means = base + np.einsum("hcm,hm->hc", across, alpha)
    return Surface(weights / weights.sum(), means, prior - across @ solved)


def _normal(z: Floats) -> Floats:
    """Return the distribution function of the normal distribution."""
    return np.asarray(0.5 * (1 + _erf(z / sqrt(2))))
