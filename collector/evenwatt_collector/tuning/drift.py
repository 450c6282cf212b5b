"""Whether a workload still is what it was: a two-sided cumulative sum of residuals. Pure.

Page 1954, Continuous inspection schemes: what exceeds an allowance is added up, what falls short is taken off, never
below zero. With residuals r (logarithms) of noise density k (variance x seconds) a change that is not there is reported
with a probability of about exp(-2 ALLOWANCE x threshold / k) a visit to zero (Siegmund 1985, eq. 2.52); the threshold
is chosen so that this is exp(-20).
"""

from __future__ import annotations

from typing import Final

import msgspec

ALLOWANCE: Final = 0.05
"""Changes below 5 % are none: the choice of a cap hardly depends on them, and gradual forgetting follows them."""
_LEAST_THRESHOLD_S: Final = 1.5
"""Such as 15 % more than before for 15 s."""


class Watch(msgspec.Struct):
    """One quantity; plain data."""

    up: float = 0.0
    down: float = 0.0

    def add(self, residual: float, seconds: float, noise: float) -> bool:
        """Take in one residual; return whether the workload has changed.

        Args:
            residual: Logarithm of what was seen over what was expected.
            seconds: That it covers.
            noise: Variance of residuals times seconds, in s.
        """
        # One window says no more than a third of what is needed: a hiccup is no change.
        threshold = max(_LEAST_THRESHOLD_S, 10 * noise / ALLOWANCE)
        most = threshold / 3
        self.up = max(0.0, self.up + min(most, (residual - ALLOWANCE) * seconds))
        self.down = max(0.0, self.down + min(most, (-residual - ALLOWANCE) * seconds))
        return max(self.up, self.down) > threshold

    def clear(self) -> None:
        """Begin anew."""
        self.up = self.down = 0.0
