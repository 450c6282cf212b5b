"""Pausing work when caps are not enough. Pure: time is an argument.

::

    RUNS --zone over B for 10 s, every cap in it at its floor, chosen--> PAUSED
    RUNS --floors in the zone exceed B, chosen--> PAUSED
    PAUSED --60 s paused, zones around below 0.80 B for 60 s, room for its peak and floor, its turn--> RUNS
    PAUSED --no longer allowed to be paused, or no limit holds any more--> RUNS
    RUNS --a person asks for it--> ASKED --nobody asks any more, and no zone around is hot--> RUNS
    ASKED --nobody asks any more, and a zone around is hot--> PAUSED

Only work that opted in is paused (``Observations.pausable``), one node per delay of the loop, so that the effect of one
is seen before the next: the lowest class first, in it the one that draws most. Floors that exceed the budget do not
wait until power does: no cap could bring a burst down. A pause is a lease: it is renewed, and a node that hears nothing
any more resumes under its fallback cap. A paused node's lease counts in full all the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.renewing import RENEW_S, STEP_TOLERANCE_S
from evenwatt_collector.control.types import Pauses

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.tree import ZoneTree
    from evenwatt_collector.control.types import Bands, Observations

LEAST_RUN_S: Final = 300.0
"""Resumed work runs at least this long (our choice)."""
LEAST_PAUSE_S: Final = 60.0
"""Paused work stays so at least this long (our choice)."""
_LEAST_DELAY_S: Final = 2.0
_CONFIRMED_S: Final = 6.0
"""A node that has not said after this that it is paused is not waited for any longer."""


class Pausing:
    """Which nodes' work is paused, and since when."""

    def __init__(self, zones: int, slots: int = 0) -> None:
        self.replant(zones)
        self._resize(slots)

    def replant(self, zones: int) -> None:
        """Begin anew with other zones; what is paused stays so."""
        self._hot_since_s: Floats = np.full(zones, np.nan)
        self._cool_since_s: Floats = np.full(zones, np.nan)
        self._acted_s: Floats = np.full(zones, -np.inf)

    def _resize(self, slots: int) -> None:
        self.paused: Bools = np.zeros(slots, dtype=np.bool_)
        """Nodes whose work we want paused."""
        self.since_s: Floats = np.full(slots, -np.inf)
        """When that, or the resuming, was decided."""
        self._ours: Bools = np.zeros(slots, dtype=np.bool_)
        self._sent_s: Floats = np.full(slots, -np.inf)
        self._peak_w: Floats = np.zeros(slots)
        self.asked: Bools = np.zeros(slots, dtype=np.bool_)
        """Paused because a person asked for it, whatever the zone draws."""

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` nodes."""
        before = (self.paused, self.since_s, self._ours, self._sent_s, self._peak_w, self.asked)
        self._resize(slots)
        after = (self.paused, self.since_s, self._ours, self._sent_s, self._peak_w, self.asked)
        for old, new in zip(before, after, strict=True):
            new[: len(old)] = old

    def step(
        self, tree: ZoneTree, seen: Observations, live: Bools, zones: Heat, delay_s: float, now_s: float, bands: Bands
    ) -> Pauses:
        """Decide whose work is paused and whose goes on, and return the orders that are due.

        Args:
            tree: The zones.
            seen: The nodes.
            live: Which of them can be steered now.
            zones: How hot the zones are.
            delay_s: From an order to its effect in the readings.
            now_s: Monotonic time.
            bands: Thresholds.
        """
        limited = np.isfinite(zones.budget_w)
        hot = limited & zones.at_floors & (zones.infeasible | (zones.power_w > bands.brake_at * zones.budget_w))
        cool = zones.power_w < bands.resume_below * zones.budget_w
        self._hot_since_s = np.where(hot, np.fmin(self._hot_since_s, now_s), np.nan)
        self._cool_since_s = np.where(cool, np.fmin(self._cool_since_s, now_s), np.nan)
        takes_s = max(_LEAST_DELAY_S, delay_s)
        settled = now_s - self._acted_s >= takes_s
        waited = now_s - self._hot_since_s >= np.where(zones.infeasible, takes_s, bands.pause_s)
        self._follow_people(tree, seen, limited, hot, now_s)
        for z in np.flatnonzero(hot & settled & waited):
            self._pause_one(tree, seen, live, int(z), now_s)
        self._resume_unasked(tree, seen, limited, now_s)
        if self.paused.any():
            self._resume_one(tree, seen, zones, now_s, bands)
        return self._orders(seen, live, now_s)

    def _pause_one(self, tree: ZoneTree, seen: Observations, live: Bools, z: int, now_s: float) -> None:
        inside = tree.inside(z)[seen.zone]
        if (inside & self.paused & ~seen.paused & (now_s - self.since_s < _CONFIRMED_S)).any():
            return  # the one before has not said yet that it is paused
        may = inside & live & seen.pausable & ~self.paused & (now_s - self.since_s >= LEAST_RUN_S)
        if may.any():
            at = np.flatnonzero(may)
            slot = int(at[np.lexsort((-seen.power_w[at], seen.priority[at]))[0]])
            self._peak_w[slot] = max(seen.peak_w[slot], seen.power_w[slot])
            self._turn(tree, seen, slot, now_s, paused=True)

    def _follow_people(self, tree: ZoneTree, seen: Observations, limited: Bools, hot: Bools, now_s: float) -> None:
        """Pause at once what a person asks for; when nobody does any more it goes on, or waits as the zone's own."""
        if not (seen.asked.any() or self.asked.any()):
            return
        wanted = seen.asked & seen.present & seen.pausable & tree.any_around(limited)[seen.zone]
        for slot in np.flatnonzero(wanted & ~self.paused).tolist():
            self._peak_w[slot] = max(seen.peak_w[slot], seen.power_w[slot])
            self._turn(tree, seen, slot, now_s, paused=True)
        for slot in np.flatnonzero(self.asked & ~wanted & self.paused).tolist():
            if not any(hot[z] for z in tree.path(int(seen.zone[slot]))):
                self._turn(tree, seen, slot, now_s, paused=False)
        self.asked = wanted & self.paused

    def _resume_unasked(self, tree: ZoneTree, seen: Observations, limited: Bools, now_s: float) -> None:
        for slot in np.flatnonzero(self.paused & ~(seen.pausable & tree.any_around(limited)[seen.zone])).tolist():
            self._turn(tree, seen, slot, now_s, paused=False)

    def _resume_one(self, tree: ZoneTree, seen: Observations, zones: Heat, now_s: float, bands: Bands) -> None:
        rested = np.flatnonzero(self.paused & ~self.asked & (now_s - self.since_s >= LEAST_PAUSE_S))
        for slot in rested[np.lexsort((self._peak_w[rested], -seen.priority[rested]))].tolist():
            path = [z for z in tree.path(int(seen.zone[slot])) if np.isfinite(zones.budget_w[z])]
            calm = all(now_s - self._cool_since_s[z] >= bands.resume_s for z in path)
            fits = all(zones.power_w[z] + self._peak_w[slot] <= bands.target * zones.budget_w[z] for z in path)
            fits &= all(zones.least_w[z] + seen.floor_w[slot] <= zones.budget_w[z] for z in path)
            rested_long = all(now_s - self._acted_s[z] >= bands.pause_s for z in path)
            if calm and fits and rested_long:
                self._turn(tree, seen, slot, now_s, paused=False)

    def _turn(self, tree: ZoneTree, seen: Observations, slot: int, now_s: float, *, paused: bool) -> None:
        self.paused[slot], self.since_s[slot], self._sent_s[slot] = paused, now_s, -np.inf
        self._ours[slot] = True
        self._acted_s[tree.path(int(seen.zone[slot]))] = now_s

    def _orders(self, seen: Observations, live: Bools, now_s: float) -> Pauses:
        """Pauses are renewed like leases; a resume is repeated until the node says that it runs."""
        fresh = now_s - self._sent_s >= RENEW_S - STEP_TOLERANCE_S
        resume = self._ours & ~self.paused & (seen.paused | np.isneginf(self._sent_s))
        at = np.flatnonzero(live & fresh & (self.paused | resume))
        self._ours &= self.paused | seen.paused | np.isneginf(self._sent_s)
        self._sent_s[at] = now_s
        return Pauses(at, self.paused[at])


class Heat:
    """How hot zones are. One position a zone."""

    def __init__(self, power_w: Floats, budget_w: Floats, least_w: Floats, at_floors: Bools) -> None:
        self.power_w = power_w
        self.least_w = least_w
        """Floors, of paused nodes their power, and what cannot be steered."""
        self.infeasible: Bools = least_w > budget_w
        self.budget_w = budget_w
        """After the margin; infinite without a limit."""
        self.at_floors = at_floors
        """Whether every cap in it is at its floor, so that nothing is left to cut."""


def at_floors(tree: ZoneTree, zone: Ints, cap_w: Floats, floor_w: Floats, slack_w: Floats) -> Bools:
    """Return per zone whether every node in it has its cap at its floor."""
    return np.equal(tree.totals(zone, (cap_w > floor_w + slack_w).astype(np.float64)), 0)
