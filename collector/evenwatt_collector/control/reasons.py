"""Why a node gets its cap, in plain words with the numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.demand import Demand
    from evenwatt_collector.control.types import NodeObservation
    from evenwatt_collector.control.waterfill import Allotment


@dataclass(frozen=True, slots=True)
class Reasons:
    """Everything that decided one step's shares, one position per steered node."""

    nodes: Sequence[NodeObservation]
    demands: Sequence[Demand]
    allotment: Allotment
    budget_w: float
    power_w: float
    braking: bool

    def text(self, i: int, cap_w: float) -> str:
        """Return the reason for granting ``cap_w`` to node ``i``."""
        wait_w = self.allotment.shares_w[i] - cap_w
        waits = f"; {wait_w:.0f} W more once others have given them back" if wait_w >= 1 else ""
        return f"{self._why(i)} of {self.budget_w:.0f} W budget{waits}"

    def _why(self, i: int) -> str:
        node = self.nodes[i]
        level_w = self.allotment.levels_w[node.priority]
        if not self.allotment.feasible:
            return f"floor {node.floor_w:.0f} W, as the floors alone exceed what is left"
        if self.braking:
            cut = f"kept to its use of {node.power_w:.0f} W" if level_w == inf else f"cut to level {level_w:.0f} W"
            return f"brake at {self.power_w:.0f} W drawn: class {node.priority} {cut}"
        demand = f"demand {self.demands[i].full_w:.0f} W"
        if self.demands[i].hidden:
            demand += " (its ceiling, for it runs at its cap)"
        if level_w != inf:
            return f"{demand}, water level {level_w * node.weight:.0f} W in class {node.priority}"
        surplus_w = self.allotment.surplus_w
        if surplus_w is None:
            return f"{demand} met in class {node.priority}"
        if surplus_w == inf:
            return f"{demand} met, surplus up to its ceiling of {node.ceiling_w:.0f} W"
        return f"{demand} met, surplus to level {surplus_w * node.weight:.0f} W"
