"""From "watts wanted" to a setting that is not in watts, by the power that comes of it. Pure; it counts 100 ms bins.

A frequency ceiling or a quota says nothing about watts, so the share ``s`` of the full setting is steered:

- **Before there is a measurement** the share is where the straight line between the two known ends (power at the least
  share, power at the full one) meets the goal. Power rises faster than frequency (a higher one needs a higher
  voltage), so the true curve lies below that line and a load that jumps from idle finds a limit that holds.
- **Above the goal** the share is multiplied by goal/power at once. For power ~ s^n the error becomes 1-n of itself in
  the logarithm: nothing for n = 1, a dip below the goal for n > 1, the safe side.
- **Below the goal under load** it is multiplied by (goal/power)^0.5, at most 5 % a step: stable for every n < 4.
- **Far below the goal** the domain idles, or is held down by a line that is too careful. After 0.5 s and then every 3 s
  the share is raised by a tenth, at least by 0.05, for a moment: if power answers, there is load and the raise stays;
  if not, it is taken back. So the gaps of a bursty load do not open it. After 30 s without an answer it goes back to
  the line.

After each step as many bins are let pass as the change needs to show (integral control with a dead time is stable when
it waits for it). The ends are estimates until they are seen: more power than the upper end, or at the least share than
the lower one, lifts that end; a goal below the lower end that is held lowers it; power above the line in between lifts
where the line begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_BAND: Final = 0.02
"""No step while power is this close to the goal: meters and loads are noisy (our choice)."""
_FAR: Final = 0.05
_BUSY: Final = 0.7
_RISE: Final = 1.05
_CUT: Final = 0.5
"""A step never does more than halve the share, since power also has a part that the share does not reach."""
_HOLD_BINS: Final = 300
_NUDGE: Final = 0.1
"""A goal that moves by less than this, as shares between domains do all the time, is followed in proportion."""
_PROBE_BINS: Final = 30
_FIRST_PROBE: Final = 5
_PROBE: Final = 1.1
_PROBE_LEAST: Final = 0.05
_ANSWER: Final = 1.03
"""Power that has risen by less than this has not answered: meters and loads are noisy."""
_DRIFT: Final = 0.01
"""Share per bin on the way back to the line."""
_TELLING: Final = 0.8
"""Part of the range up to which a power says something about the line's lower end."""


@dataclass(slots=True)
class Ends:
    """Power of the domain under full load at the least and at the full setting, in watts: estimated, then seen."""

    floor_w: float
    ceiling_w: float
    floor_seen: bool = False
    """Whether power was seen at the least setting under load; until then a lower goal is tried all the same."""
    lift_w: float = 0.0
    """How far above the floor the line begins: it must not lie below any power that was seen in between."""

    def share_for(self, goal_w: float, least: float) -> float:
        """Return where the line meets ``goal_w``, within ``least`` and 1."""
        first_w = min(self.ceiling_w, self.floor_w + self.lift_w)
        span_w = max(1e-9, self.ceiling_w - first_w)
        return min(1.0, max(least, least + (1.0 - least) * (goal_w - first_w) / span_w))

    def learn(self, power_w: float, goal_w: float, share: float, least: float) -> None:
        """Take a bin that shows the domain at ``share``, on its way to ``goal_w``."""
        self.ceiling_w = max(self.ceiling_w, power_w)
        if share <= least:
            if power_w > goal_w:  # there is load, and nothing is left to lower
                self.floor_w = max(self.floor_w, power_w) if self.floor_seen else power_w
                self.floor_seen = True
            return
        if goal_w < self.floor_w and _BUSY * goal_w <= power_w <= goal_w:
            self.floor_w = goal_w  # it was thought to be more
        along = (share - least) / (1.0 - least)
        if along <= _TELLING:
            first_w = (power_w - along * self.ceiling_w) / (1.0 - along)
            self.lift_w = max(self.lift_w, first_w - self.floor_w)


class Follower:
    """Steers one share.

    Args:
        least: Smallest share, above 0.
        ends: What is known of the domain's power; it is learned in place.
        wait_bins: Bins that a step needs to show in the power.
    """

    def __init__(self, least: float, ends: Ends, wait_bins: int) -> None:
        self.least, self.ends = least, ends
        self.share = 1.0
        self.goal_w = math.inf
        self._wait_bins = wait_bins
        self._waiting = 0
        self._idle_bins = 0
        self._probe: tuple[float, float] | None = None
        """Power and share before a raise whose answer is awaited."""

    @property
    def at_least(self) -> bool:
        """Whether the share can go no lower."""
        return self.share <= self.least

    def aim(self, goal_w: float, power_w: float) -> float:
        """Take a new goal while the domain draws ``power_w``; return the share from now on."""
        before_w, self.goal_w = self.goal_w, goal_w
        if (
            math.isfinite(before_w) and abs(goal_w - before_w) <= _NUDGE * before_w
        ):  # what the load has shown still holds, a little lower or higher
            return self._move(self.share * min(1.0, goal_w / before_w), settle=False)
        line, self._probe = self._line(), None
        if goal_w > before_w:
            return self._move(max(self.share, line))
        measured = self.share * goal_w / power_w if power_w > goal_w else 1.0
        return self._move(min(self.share, line, measured))

    def step(self, power_w: float) -> float:
        """Take the power of one bin; return the share from now on."""
        if self._waiting > 0:
            self._waiting -= 1
            return self.share
        self.ends.learn(power_w, self.goal_w, self.share, self.least)
        if self.goal_w >= self.ends.ceiling_w:
            return self._move(1.0)
        if power_w < _BUSY * self.goal_w:
            return self._rest(power_w)
        self._idle_bins, self._probe = 0, None
        return self._trim(self.goal_w / max(power_w, 1e-9))

    def _trim(self, ratio: float) -> float:
        if ratio < 1.0 - _BAND:
            factor = ratio if ratio < 1.0 - _FAR else math.sqrt(ratio)
            return self._move(self.share * max(_CUT, factor))
        if ratio > 1.0 + _BAND:
            return self._move(self.share * min(_RISE, math.sqrt(ratio)))
        return self.share

    def _rest(self, power_w: float) -> float:
        line = self._line()
        if self._probe is not None:
            return self._judge(power_w)
        self._idle_bins += 1
        if self.share < line:
            self.share = min(line, self.share + _DRIFT)
        elif self._idle_bins > _HOLD_BINS:
            self.share = max(line, self.share - _DRIFT)
        elif self._idle_bins % _PROBE_BINS == _FIRST_PROBE and self.share < 1.0:
            self._probe = power_w, self.share
            self._move(max(self.share * _PROBE, self.share + _PROBE_LEAST))
        return self.share

    def _judge(self, power_w: float) -> float:
        before_w, before = self._probe or (power_w, self.share)
        self._probe = None
        if power_w < _ANSWER * before_w:
            return self._move(before)
        self._idle_bins = _FIRST_PROBE - 1  # load: try the next raise at once
        return self.share

    def _line(self) -> float:
        if self.goal_w >= self.ends.ceiling_w:
            return 1.0
        return self.ends.share_for(self.goal_w, self.least)

    def _move(self, share: float, *, settle: bool = True) -> float:
        share = min(1.0, max(self.least, share))
        if share != self.share and settle:
            self._waiting = self._wait_bins
        self.share = share
        return share
