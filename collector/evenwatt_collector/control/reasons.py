"""Why a node gets its cap, in plain words with the numbers. Pure.

The numbers of a step are kept as they are, arrays; words are made only for who asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.control.issue import deadband_w
from evenwatt_collector.control.waterfill import CLASSES, SURPLUS

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.demand import Demand
    from evenwatt_collector.control.waterfill import Allotment


@dataclass(frozen=True, slots=True)
class Why:
    """Everything that decided one step's shares: ``at`` and what follows have one position per steered node."""

    at: Ints
    """Their slots, in rising order."""
    demand: Demand
    allotment: Allotment
    power_w: Floats
    floor_w: Floats
    ceiling_w: Floats
    weight: Floats
    priority: Ints
    zone_names: tuple[str, ...]
    zone_power_w: Floats
    zone_budget_w: Floats
    braking: Bools

    def position(self, slot: int) -> int | None:
        """Return a slot's position, if it was steered."""
        i = int(np.searchsorted(self.at, slot))
        return i if i < len(self.at) and self.at[i] == slot else None

    def text(self, slot: int, cap_w: float) -> str:
        """Return the reason for granting ``cap_w`` to a slot."""
        i = self.position(slot)
        if i is None:
            return "not steered"
        wait_w = self.allotment.share_w[i] - cap_w
        waits = f"; {wait_w:.0f} W more once others have given them back" if wait_w >= deadband_w(cap_w) else ""
        return f"{self._why(i)}{waits}"

    def _why(self, i: int) -> str:
        z = int(self.allotment.bound[i])
        wish = f"demand {self.demand.full_w[i]:.0f} W"
        if self.demand.hidden[i]:
            wish += " (its ceiling, for it runs at its cap)"
        if z < 0:
            return f"{wish}; no zone is short, so it may draw its ceiling of {self.ceiling_w[i]:.0f} W"
        where = f"of {self.zone_budget_w[z]:.0f} W in {self.zone_names[z]}"
        stage, level_w = int(self.allotment.stage[z]), float(self.allotment.level[z] * self.weight[i])
        own = int(self.priority[i])
        if stage < 0:
            return f"floor {self.floor_w[i]:.0f} W, as the floors alone exceed what is left {where}"
        if self.braking[z]:
            return self._brake(i, z, stage, where)
        if stage >= SURPLUS:
            got = f"met, surplus to {self.allotment.share_w[i]:.0f} W (level {level_w:.0f} W)"
        elif stage < CLASSES:
            got = _essential(own, CLASSES - 1 - stage, level_w)
        else:
            got = _rest(own, CLASSES - 1 - (stage - CLASSES) // 2, level_w)
        return f"{wish} {got} {where}"

    def _brake(self, i: int, z: int, stage: int, where: str) -> str:
        own, level_class = int(self.priority[i]), CLASSES - 1 - (stage - CLASSES) // 2
        kept = own > level_class or stage >= SURPLUS
        cut = f"kept to its use of {self.power_w[i]:.0f} W" if kept else f"cut to {self.allotment.share_w[i]:.0f} W"
        return f"brake at {self.zone_power_w[z]:.0f} W drawn {where}: class {own} {cut}"


def _essential(own: int, level_class: int, level_w: float) -> str:
    if own > level_class:
        return f"met in its essential part (class {own})"
    if own < level_class:
        return f"waits, for the essential part of class {level_class} takes what is left"
    return f"met up to {level_w:.0f} W, a part of what is essential in class {own}"


def _rest(own: int, level_class: int, level_w: float) -> str:
    if own > level_class:
        return f"met in class {own}"
    if own < level_class:
        return f"met in its essential part, for class {level_class} goes first and takes what is left"
    return f"met up to water level {level_w:.0f} W in class {own}"
