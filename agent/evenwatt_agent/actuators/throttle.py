"""A knob in watts made of a lever that is not: it aims at a limit and follows the domain's power towards it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.follow import Ends, Follower

if TYPE_CHECKING:
    from evenwatt_agent.actuators.model import Lever, Original

_BIN_S: Final = 0.1
_FEEL: Final = 0.005
"""Smaller changes of the share are not written."""
_SLACK: Final = 0.02
"""A lever found this far above what was set does not hold; below that is the device's rounding."""
_CONVERGE_S: Final = 1.5
"""From a lower goal until the law has brought a steady load under it: a few steps of a few bins."""


class Throttle:
    """A lever with the law that steers it.

    Args:
        lever: What is set.
        domain: Whose power it lowers.
        ends: Power at the least and the full setting: an estimate or what was learned before.
        lag_s: How old a reading of the domain's power may be.
    """

    def __init__(self, lever: Lever, domain: str, ends: Ends, lag_s: float = 0.0) -> None:
        self._lever = lever
        self.kind, self.domain = lever.kind, domain
        self.id = f"{lever.kind}:{domain}"
        self.delay_s = _CONVERGE_S + 3 * (lever.delay_s + lag_s)
        self._ends = ends
        self._wait_bins = max(1, math.ceil((lever.delay_s + lag_s) / _BIN_S))
        self._follower = Follower(lever.least, ends, self._wait_bins)
        self._power_w = 0.0
        self._set = 1.0

    @property
    def floor_w(self) -> float:
        """Power under load at the least setting: an estimate until it has been seen."""
        return self._ends.floor_w

    @property
    def ceiling_w(self) -> float:
        """The highest power seen, or the estimate of it."""
        return self._ends.ceiling_w

    @property
    def held_w(self) -> float:
        """What the domain is held to: the limit, or where that is too low the power seen at the least setting."""
        goal_w = self._follower.goal_w
        return max(goal_w, self._ends.floor_w) if self._ends.floor_seen else goal_w

    @property
    def exhausted(self) -> bool:
        """Whether the lever is at its end: if power is above the limit now, this knob cannot lower it."""
        return self._follower.at_least

    def originals(self) -> list[Original]:
        """The lever's."""
        return self._lever.originals()

    def read(self) -> float:
        """Return the limit aimed at, or the ceiling where the lever is no longer where it was put."""
        return self._follower.goal_w if self._lever.read() <= self._set + _SLACK else self.ceiling_w

    def write(self, limit_w: float) -> float:
        """Aim at a limit, and return what the domain is held to by it.

        A limit below the floor is tried as long as the floor is an estimate.
        """
        self._follower.aim(limit_w, self._power_w)
        self._apply(always=True)
        return self.held_w

    def follow(self, power_w: float) -> None:
        """Take the domain's power over the latest bin, and move the lever if that is called for.

        Raises:
            LockedError: the device refused it.
            OSError: the device is gone.
        """
        self._power_w = power_w
        self._follower.step(power_w)
        self._apply(always=False)

    @property
    def learned(self) -> tuple[float, float, bool]:
        """Floor, ceiling, and whether the floor was seen: for :meth:`recall` after a restart."""
        return self.floor_w, self.ceiling_w, self._ends.floor_seen

    def recall(self, floor_w: float, ceiling_w: float, floor_seen: bool) -> None:
        """Take over ends that were learned before."""
        if floor_seen:
            self._ends.floor_w, self._ends.floor_seen = floor_w, True
        self._ends.ceiling_w = max(self._ends.ceiling_w, ceiling_w, self._ends.floor_w)

    def forget(self) -> None:
        """Begin anew: somebody has put the lever back to what it was."""
        self._follower = Follower(self._lever.least, self._ends, self._wait_bins)
        self._set = 1.0

    def _apply(self, *, always: bool) -> None:
        share = self._follower.share
        end = share in (self._lever.least, 1.0) and share != self._set
        if always or end or abs(share - self._set) > _FEEL:
            self._lever.set(share)
            self._set = share
