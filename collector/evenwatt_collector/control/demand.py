"""What nodes would draw if they were let. Pure.

A node below its cap shows its demand: the highest 100 ms bin of late and some headroom. The last three seconds say
what it is doing, the last ten what it may do again; the first is served before the second. A node at its cap hides
its demand, so it is taken to want everything; after a raise that holds for two more windows, because the peak still
tells of the old cap. A peak well above the present cap was measured under an earlier one and tells the truth.

A node that is capped below what it was seen to want is at its cap whatever it wants now, so for a while what was seen
counts. Else it would be raised to find out, found to want little, cut, and raised again: a device that swings every
few seconds for as long as its zone is short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.types import Observations

HEADROOM: Final = 1.1
"""Demand over the recent peak (our choice) ..."""
HEADROOM_W: Final = 5.0
"""... and some watts for small machines (our choice)."""
AT_CAP: Final = 0.95
"""From this fraction of its cap on a node may want more (our choice)."""
OVER_CAP: Final = 1.05
"""A peak above this fraction of the cap is older than the cap (our choice: what the node's reflex tolerates)."""
RECENT_S: Final = 3.0
"""Bursts that come at least this often count as one activity (our choice; inference bursts come once a second)."""
HIDDEN_S: Final = 2.0
"""How long a hidden demand is remembered: a raise, its network delay and a one-second window fit in (our choice)."""
KNOWN_S: Final = 20.0
"""What a node was seen to want counts so long while it is capped below that; then it is let up to look (our choice)."""

BELOW_CAP: Final = 0.9
"""Only below this fraction of its cap what a node draws is surely all that it wants: a limit may hold a device some
percent below itself (our choice; a node that has its demand with ``HEADROOM`` is below it)."""

ESSENTIAL: Final = 0.65
"""This part of a demand is served before the rest of any other: the last third of a board's power does a seventh of its
work (V100, median of the Zeus power-limit sweeps, NSDI 2023). In replays less sets classes further apart, and this
loses the least work in all."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Watts that nodes want, between their floors and their ceilings."""

    recent_w: Floats
    """For what they did within the last three seconds."""
    full_w: Floats
    """For what they did within the last ten."""
    hidden: Bools
    """Whether the cap hides the demand, so that it is taken to be the ceiling."""


class Appetite:
    """Each slot's recent peak, whether it was at its cap a moment ago, and what it drew when it was not."""

    def __init__(self, slots: int = 0) -> None:
        self._peak_w: Floats = np.zeros(slots)
        self._peak_s: Floats = np.full(slots, -np.inf)
        self._hidden_until_s: Floats = np.full(slots, -np.inf)
        self._known_w: Floats = np.zeros(slots)
        self._known_s: Floats = np.full(slots, -np.inf)

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` nodes."""
        bigger = Appetite(slots)
        for name, column in vars(self).items():
            getattr(bigger, name)[: len(column)] = column
            setattr(self, name, getattr(bigger, name))

    def forget(self, slots: Ints) -> None:
        """Know nothing of nodes that arrive."""
        self._peak_s[slots] = self._hidden_until_s[slots] = self._known_s[slots] = -np.inf

    def demand(self, seen: Observations, at: Ints, cap_w: Floats, now_s: float) -> Demand:
        """Return what the nodes in slots ``at`` want, given the caps ``cap_w`` that they confirmed."""
        window_w = seen.window_peak_w[at]
        newer = (window_w >= self._peak_w[at]) | (now_s - self._peak_s[at] >= RECENT_S)
        self._peak_w[at[newer]] = window_w[newer]
        self._peak_s[at[newer]] = now_s
        peak_w = self._peak_w[at]
        near_w = AT_CAP * cap_w
        hides = (seen.power_w[at] >= near_w) | ((near_w <= peak_w) & (peak_w <= OVER_CAP * cap_w))
        known = now_s - self._known_s[at] < KNOWN_S
        cut = hides & known & (near_w <= self._known_w[at])
        self._hidden_until_s[at[hides & ~cut]] = now_s + HIDDEN_S
        hidden = now_s < self._hidden_until_s[at]
        seen_now = at[~hides & ~hidden & (peak_w < BELOW_CAP * cap_w)]
        self._known_w[seen_now], self._known_s[seen_now] = self._peak_w[seen_now], now_s
        peak_w = np.where(cut, np.maximum(peak_w, self._known_w[at]), peak_w)
        floor_w = seen.floor_w[at]
        ceiling_w = np.maximum(floor_w, seen.ceiling_w[at])
        recent_w = np.clip(HEADROOM * peak_w + HEADROOM_W, floor_w, ceiling_w)
        full_w = np.maximum(recent_w, np.minimum(ceiling_w, HEADROOM * seen.peak_w[at] + HEADROOM_W))
        return Demand(np.where(hidden, ceiling_w, recent_w), np.where(hidden, ceiling_w, full_w), hidden)
