"""Whether a mean is below zero, tested after each value for as long as one likes. Pure.

A bet against the claim "the mean is 0 or more": of a capital of 1, the share ``lambda`` is staked on each value falling
below zero::

    K = mean over lambda of product over i of (1 - lambda x_i),     -1 <= x_i <= 1

While the claim holds, K is a supermartingale, so that K ever reaches 1 / alpha with a chance of at most alpha (Ville's
inequality): one may look at it after every value and stop whenever one likes. Betting on means of bounded values:
Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024; here with a fixed grid of
stakes, which needs no tuning.
"""

from __future__ import annotations

from math import exp, fsum, log, log1p, sqrt
from typing import Final

from msgspec import Struct

STAKES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


class Evidence(Struct, kw_only=True):
    """What has been seen of one mean."""

    logs: list[float] = []
    """Logarithm of the capital of each stake."""
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float, margin: float = 0.0) -> None:
        """Take in a value, -1 to 1; with a margin the claim is "the mean is at least -margin".

        Raises:
            ValueError: it is out of its range.
        """
        if not -1 <= value <= 1:
            raise ValueError(f"a value of {value:g}, expected -1 to 1")
        logs = self.logs or [0.0] * len(STAKES)
        # With a margin the values go up to 1 + margin; the largest stake still leaves some capital then.
        self.logs = [kept + log1p(-stake * (value + margin)) for kept, stake in zip(logs, STAKES, strict=True)]
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def log_capital(self) -> float:
        """Natural logarithm of K; 0 before anything is seen."""
        if not self.logs:
            return 0.0
        most = max(self.logs)
        return most + log(fsum(exp(value - most) for value in self.logs) / len(self.logs))

    def against(self, alpha: float) -> bool:
        """Whether the claim is refuted, at most ``alpha`` of all true claims ever being."""
        return self.log_capital >= -log(alpha)

    @property
    def mean(self) -> float:
        """Of the values; 0 of none."""
        return self.total / self.count if self.count else 0.0

    @property
    def half_width(self) -> float:
        """Half of a 90 % range of the mean as of a normal distribution: for people, not for the test."""
        if self.count < 2:
            return 1.0
        variance = max(0.0, self.squares - self.total * self.total / self.count) / (self.count - 1)
        return 1.645 * sqrt(variance / self.count)
