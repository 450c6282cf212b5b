"""How often the fast counters are read: seldom while nothing moves, at full rate when something does. Pure.

::

    FULL --steady for 10 s, nothing expected--> QUIET
    QUIET --power moves, or something is expected--> FULL
    FULL, QUIET --expect()--> BURST --2 s--> FULL

Energy counters lose nothing by being read seldom: a bin always has a reading, whatever the rate, and only the edges of
what happens within a bin are finer at a higher one. So a steady machine is read once a bin, which costs a tenth; the
first bin that moves brings the full rate back, and a cap that changes or a task that begins or ends brings the burst.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_STEADY_BINS: Final = 100
"""Ten seconds of 100 ms."""
_MOVES_SHARE: Final = 0.03
_MOVES_W: Final = 2.0
"""A bin this far from the steady mean moves (our choice: well above the grain of a 61 uJ counter over 100 ms)."""
_BURST_S: Final = 2.0


class Pace(StrEnum):
    """Named states."""

    QUIET = "quiet"
    FULL = "full"
    BURST = "burst"


@dataclass(slots=True)
class Pacer:
    """Chooses the rate in hertz.

    Args:
        full_hz: While power moves.
        quiet_hz: While it does not; the same as ``full_hz`` switches quietness off.
        burst_hz: For two seconds around something expected.
    """

    full_hz: float
    quiet_hz: float
    burst_hz: float
    state: Pace = Pace.FULL
    _burst_until_s: float = 0.0
    _cap_w: float | None = None
    _recent_w: deque[float] = field(default_factory=lambda: deque(maxlen=_STEADY_BINS))

    @property
    def rate_hz(self) -> float:
        """Rate of the present state."""
        return {Pace.QUIET: self.quiet_hz, Pace.FULL: self.full_hz, Pace.BURST: self.burst_hz}[self.state]

    def expect(self, now_s: float) -> float:
        """Something is about to happen to power: read fast for a while. Return the rate."""
        self._burst_until_s = now_s + _BURST_S
        self.state = Pace.BURST
        self._recent_w.clear()
        return self.rate_hz

    def observe(self, now_s: float, power_w: float, cap_w: float | None = None) -> float:
        """Take a bin's mean power and the cap at its end; return the rate from now on."""
        if _changed(self._cap_w, cap_w):
            self._cap_w = cap_w
            return self.expect(now_s)
        mean_w = sum(self._recent_w) / len(self._recent_w) if self._recent_w else power_w
        if abs(power_w - mean_w) > max(_MOVES_W, _MOVES_SHARE * mean_w):
            self._recent_w.clear()
        self._recent_w.append(power_w)
        if now_s < self._burst_until_s:
            return self.rate_hz
        self.state = Pace.QUIET if len(self._recent_w) == _STEADY_BINS else Pace.FULL
        return self.rate_hz


def _changed(old_w: float | None, new_w: float | None) -> bool:
    """Whether a cap has moved by more than its renewals do: 5 W and 2 %."""
    if old_w is None or new_w is None:
        return old_w is not new_w
    return abs(new_w - old_w) > max(5.0, 0.02 * old_w)
