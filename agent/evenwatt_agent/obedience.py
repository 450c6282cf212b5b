"""Whether power keeps to a limit, given the time that limits take. Pure.

A limit that has just gone down is not in force yet: until its delay is over the earlier, higher one is what power may
still be at. So power is held against the highest limit of the last ``delay_s`` seconds, which also does right by a
limit that comes down slowly.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

_OVER: Final = 0.05
_GRAIN_W: Final = 2.0
_DOUBT_BINS: Final = 10
"""A second: sound devices overshoot a step of the load for tens of milliseconds (our choice)."""


class Allowed:
    """The highest limit that may still be in force."""

    def __init__(self) -> None:
        self._limits: deque[tuple[float, float]] = deque()
        """(since when, limit), of which the first began before the delay."""

    def take(self, now_s: float, limit_w: float, delay_s: float) -> float:
        """Note the limit at ``now_s`` and return what power may be; infinite before the first one has taken hold."""
        if not self._limits:
            self._limits.append((float("-inf"), math.inf))
        if limit_w != self._limits[-1][1]:
            self._limits.append((now_s, limit_w))
        while len(self._limits) > 1 and self._limits[1][0] <= now_s - delay_s:
            self._limits.popleft()
        return max(limit for _, limit in self._limits)

    def forget(self) -> None:
        """There is no limit any more; the next one is a new one."""
        self._limits.clear()


class Obedience:
    """Watches one domain under one knob; time is counted in the calls, one for each bin of ``bin_s``."""

    def __init__(self, bin_s: float) -> None:
        self._bin_s = bin_s
        self._bins = 0
        self._over = 0
        self._allowed = Allowed()

    def doubted(self, power_w: float, limit_w: float, delay_s: float) -> bool:
        """Take one bin; return whether power has been over the limit for long enough to doubt the knob."""
        self._bins += 1
        allowed_w = self._allowed.take(self._bins * self._bin_s, limit_w, delay_s)
        over = power_w > allowed_w + max(_GRAIN_W, _OVER * allowed_w)
        self._over = self._over + 1 if over else 0
        return self._over >= _DOUBT_BINS

    def forget(self) -> None:
        """Another knob has taken over, or there is no limit."""
        self._over = 0
        self._allowed.forget()
