"""The node's own reflex: when power is over the lease although a cap is set, ask the devices for less. Pure.

It looks at every 100 ms bin and needs nobody else: it works when the collector is slow or gone, and when a device does
not do as it is told.

::

    CALM --3 bins over 1.05 x the lease--> SQUEEZED   (0.75 of what was asked, again after 3 more such bins)
    CALM, SQUEEZED --2 bins over 1.15 x, or the devices read back more than the lease--> LEAST
    SQUEEZED, LEAST --a bin within the lease--> RECOVERING --+5 % of the lease a second, until all of it--> CALM
    RECOVERING --over again--> SQUEEZED or LEAST
    any --no lease--> CALM

Power is held against the highest cap that may still be in force (``obedience``): after a decrease a device needs its
time, and punishing it meanwhile would cut twice. On small machines some watts over are the meter's grain and not
disobedience.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from evenwatt_agent.obedience import Allowed

_OVER: Final = 0.05
_FAR_OVER: Final = 0.15
_GRAIN_W: Final = 1.5
"""Least excess that counts as over: on a board of 10 W, 5 % is what its current monitor is off."""
_FAR_GRAIN_W: Final = 4.0
_OVER_BINS: Final = 3
_FAR_BINS: Final = 2
_SQUEEZE: Final = 0.75
_RECOVER_PER_S: Final = 0.05
_LONGEST_STEP_S: Final = 1.0
"""A bin that comes later than this recovers no more than this: a stalled process has seen nothing meanwhile."""


class ReflexState(StrEnum):
    """Named states."""

    CALM = "calm"
    SQUEEZED = "squeezed"
    LEAST = "least"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Change:
    """The reflex has begun or ended, with its numbers."""

    begun: bool
    power_w: float
    """In the bin that began it; when it ends, the highest since."""
    cap_w: float
    why: str
    lasted_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Devices:
    """What carries a cap out."""

    floor_w: float = 0.0
    """Node power at their minimum: where recovery starts from."""
    delay_s: float = 0.0
    """How long a lower cap takes to be obeyed and seen."""
    loose: str = ""
    """Why they are known to allow more than the cap; empty when they are not."""


class Reflex:
    """How much of the lease is asked of the devices."""

    def __init__(self) -> None:
        self.state = ReflexState.CALM
        self.share = 1.0
        """Of the lease; 0 asks for the devices' minimum."""
        self._allowed = Allowed()
        self._settled_s = float("-inf")
        self._over = self._far = 0
        self._at_s: float | None = None
        self._began_s = 0.0
        self._peak_w = 0.0

    def observe(self, now_s: float, power_w: float, cap_w: float | None, devices: Devices) -> Change | None:
        """Take one bin.

        Args:
            now_s: End of the bin on the monotonic clock.
            power_w: Node power in it.
            cap_w: The lease, or whatever caps the node; None for nothing.
            devices: What is known of what carries the cap out.

        Returns:
            What has begun or ended with this bin.
        """
        elapsed_s = 0.0 if self._at_s is None else min(_LONGEST_STEP_S, max(0.0, now_s - self._at_s))
        self._at_s = now_s
        if cap_w is None:
            self._allowed.forget()
            return self._calm_down(now_s, 0.0, "no cap any more")
        self._peak_w = max(self._peak_w, power_w)
        self._count(now_s, power_w, self._allowed.take(now_s, cap_w, devices.delay_s))
        why = devices.loose or (f"{self._far} bins over {1 + _FAR_OVER:.0%}" if self._far >= _FAR_BINS else "")
        if why:
            return self._cut(now_s, power_w, cap_w, 0.0, why, devices.delay_s)
        if self._over >= _OVER_BINS:
            why = f"{self._over} bins over {1 + _OVER:.0%}"
            return self._cut(now_s, power_w, cap_w, self.share * _SQUEEZE, why, devices.delay_s)
        if self.state is ReflexState.CALM or power_w > cap_w:
            return None
        return self._recover(now_s, cap_w, devices.floor_w, elapsed_s)

    def _recover(self, now_s: float, cap_w: float, floor_w: float, elapsed_s: float) -> Change | None:
        self.state = ReflexState.RECOVERING
        least_share = min(1.0, floor_w / cap_w) if cap_w > 0 else 1.0
        self.share = max(self.share, least_share) + _RECOVER_PER_S * elapsed_s
        return self._calm_down(now_s, cap_w, "within the cap") if self.share >= 1.0 else None

    def _count(self, now_s: float, power_w: float, allowed_w: float) -> None:
        if now_s < self._settled_s:
            return
        excess_w = power_w - allowed_w
        self._over = self._over + 1 if excess_w > max(_GRAIN_W, _OVER * allowed_w) else 0
        self._far = self._far + 1 if excess_w > max(_FAR_GRAIN_W, _FAR_OVER * allowed_w) else 0

    def _cut(self, now_s: float, power_w: float, cap_w: float, share: float, why: str, delay_s: float) -> Change | None:
        begins = self.state is ReflexState.CALM
        self.share = share
        self.state = ReflexState.SQUEEZED if share > 0.0 else ReflexState.LEAST
        self._over = self._far = 0
        self._settled_s = now_s + delay_s
        if not begins:
            return None
        self._began_s, self._peak_w = now_s, power_w
        return Change(begun=True, power_w=power_w, cap_w=cap_w, why=why)

    def _calm_down(self, now_s: float, cap_w: float, why: str) -> Change | None:
        was, self.state, self.share = self.state, ReflexState.CALM, 1.0
        peak_w, self._peak_w = self._peak_w, 0.0
        self._over = self._far = 0
        if was is ReflexState.CALM:
            return None
        return Change(begun=False, power_w=peak_w, cap_w=cap_w, why=why, lasted_s=now_s - self._began_s)
