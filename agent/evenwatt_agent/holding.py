"""One domain and what holds it to its limit: writing, checking, following, and changing to the next knob.

::

    LOOSE --write--> HELD --found with another value--> LOOSE
    HELD, LOOSE --refused, found loose twice in a row, or not obeyed; another knob is there--> LOOSE under that knob
    HELD, LOOSE --refused or found loose twice, no other knob; or the device is away--> STUCK
    STUCK --write, asked to retry--> HELD or STUCK

Calls block for milliseconds and are made from one thread.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError
from evenwatt_agent.obedience import Obedience

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_agent.actuators.ladder import Ladder
    from evenwatt_agent.actuators.model import Original

_DEADBAND_W: Final = 2.0
"""Shifts between knobs smaller than this are not worth a write."""
_LOOSE_W: Final = 2.0
"""A limit found this far above what was written no longer holds; below that is the device's rounding."""
_STRIKES: Final = 2
"""Times in a row that a limit is found loose before it counts as ignored and not as changed by somebody."""
_BIN_S: Final = 0.1


class HoldState(StrEnum):
    """Named states."""

    LOOSE = "loose"
    """Nothing is written, or what was written no longer holds."""
    HELD = "held"
    STUCK = "stuck"
    """The device does not take its limit and nothing else limits this domain, or it does not answer."""


class Holding:
    """One domain.

    Args:
        ladder: Its knobs.
        save: Called with original values before something is written for the first time.
        lag_s: How old the power that it is held against may be.
    """

    def __init__(self, ladder: Ladder, save: Callable[[Sequence[Original]], None], lag_s: float) -> None:
        self.ladder = ladder
        self.state = HoldState.LOOSE
        self.limit_w = math.inf
        """What was written last."""
        self.confirmed_w = ladder.active.ceiling_w
        """What the device is known to hold the domain to."""
        self.trouble = ""
        """Why it does not hold it where it should; empty while it does."""
        self._save, self._lag_s = save, lag_s
        self._strikes = 0
        self._watch = Obedience(_BIN_S)

    def is_due(self, limit_w: float, *, retry: bool) -> bool:
        """Whether a limit is to be written: it moves by enough, or the last one does not hold."""
        if self.state is HoldState.STUCK:
            return retry
        moved_w = limit_w - self.limit_w
        return self.state is HoldState.LOOSE or moved_w < -0.5 or moved_w > _DEADBAND_W

    def write(self, limit_w: float) -> None:
        """Write a limit, if need be through the next knob."""
        self.limit_w, self.trouble, self.state = limit_w, "", HoldState.LOOSE
        while True:
            try:
                self.confirmed_w = self.ladder.write(limit_w)
            except LockedError as error:
                if not self._step_down(str(error)):
                    self._fail(str(error), HoldState.STUCK)
                    return
            except OSError as error:
                self._fail(f"{self.ladder.active.id}: {error}", HoldState.STUCK)
                return
            else:
                self.state = HoldState.HELD
                return

    def verify(self) -> None:
        """Read the limit again: firmware, another program or a driver may have changed it after we wrote it."""
        if self.state is not HoldState.HELD:
            return
        knob = self.ladder.active
        try:
            now_w = knob.read()
        except OSError as error:
            self._fail(f"{knob.id}: {error}", HoldState.LOOSE)
            return
        if now_w <= self.limit_w + _LOOSE_W:
            self._strikes, self.trouble = 0, ""
            return
        reason = f"{knob.id}: {self.limit_w:.0f} W became {now_w:.0f} W"
        self._strikes += 1
        ignored = self._strikes >= _STRIKES and not self._step_down(reason)
        self._fail(reason, HoldState.STUCK if ignored else HoldState.LOOSE)
        self.confirmed_w = min(now_w, knob.ceiling_w)

    def follow(self, power_w: float) -> None:
        """Take the domain's power over one bin: throttles follow it, and a knob that it does not obey is doubted."""
        if self.state is not HoldState.HELD:
            return
        try:
            self.ladder.follow(power_w)
        except OSError as error:
            self._step_down(str(error))
            self._fail(str(error), HoldState.LOOSE)
            return
        doubted = self._watch.doubted(power_w, self.limit_w, self.ladder.active.delay_s + self._lag_s)
        if doubted and self.ladder.exhausted:
            self._step_down(f"{power_w:.0f} W where {self.limit_w:.0f} W were asked for")
        if self.ladder.throttle is not None:
            self.confirmed_w = self.ladder.throttle.held_w

    def forget(self) -> None:
        """Begin anew: the original values have been put back."""
        self.ladder.start_over()
        self.state, self.limit_w, self.trouble = HoldState.LOOSE, math.inf, ""
        self._strikes = 0
        self._watch.forget()

    def _fail(self, why: str, state: HoldState) -> None:
        self.trouble, self.state = why, state
        self.confirmed_w = self.ladder.active.ceiling_w

    def _step_down(self, why: str) -> bool:
        if not self.ladder.has_next:
            return False
        try:
            self._save(self.ladder.next_originals())
        except OSError:  # what cannot be saved is not changed
            return False
        self.ladder.step_down(why)
        self.state = HoldState.LOOSE
        self._strikes = 0
        self._watch.forget()
        return True
