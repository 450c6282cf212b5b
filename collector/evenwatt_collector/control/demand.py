"""What a node would draw if it were let. Pure.

A node below its cap shows its demand: the highest 100 ms bin of late and some headroom. The last three seconds say
what it is doing, the last ten what it may do again; the first is served before the second. A node at its cap hides
its demand, so it is taken to want everything; after a raise that holds for two more windows, because the peak still
tells of the old cap. A peak well above the present cap was measured under an earlier one and tells the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evenwatt_collector.control.types import NodeObservation

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


@dataclass(slots=True)
class _Memory:
    peak_w: float
    peak_s: float
    hidden_until_s: float = -inf


@dataclass(frozen=True, slots=True)
class Demand:
    """Watts a node wants, between its floor and its ceiling."""

    recent_w: float
    """For what it did within the last three seconds."""
    full_w: float
    """For what it did within the last ten."""
    hidden: bool
    """Whether the cap hides the demand, so that it is taken to be the ceiling."""


class Appetite:
    """Each node's recent peak, and whether it was at its cap a moment ago."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Memory] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def demand(self, node: NodeObservation, cap_w: float, now_s: float) -> Demand:
        """Return what the node wants, given the cap it confirmed."""
        window_w = node.peak_w if node.window_peak_w is None else node.window_peak_w
        memory = self._nodes.get(node.node)
        if memory is None:
            memory = self._nodes[node.node] = _Memory(window_w, now_s)
        elif window_w >= memory.peak_w or now_s - memory.peak_s >= RECENT_S:
            memory.peak_w, memory.peak_s = window_w, now_s
        if node.power_w >= AT_CAP * cap_w or AT_CAP * cap_w <= memory.peak_w <= OVER_CAP * cap_w:
            memory.hidden_until_s = now_s + HIDDEN_S
        ceiling_w = max(node.floor_w, node.ceiling_w)
        if now_s < memory.hidden_until_s:
            return Demand(ceiling_w, ceiling_w, hidden=True)
        recent_w = max(node.floor_w, min(ceiling_w, HEADROOM * memory.peak_w + HEADROOM_W))
        full_w = max(recent_w, min(ceiling_w, HEADROOM * node.peak_w + HEADROOM_W))
        return Demand(recent_w, full_w, hidden=False)

    def keep_only(self, nodes: set[str]) -> None:
        """Forget nodes that are not there any more."""
        self._nodes = {name: memory for name, memory in self._nodes.items() if name in nodes}
