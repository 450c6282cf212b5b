"""Splitting a node's cap among its actuators. Pure.

The cap is on the node's total. Some of it no knob reaches (memory, a board that cannot be limited): that part is set
aside first, at its recent peak and at least its standing reserve. The rest is shared so that each knob gets its floor,
then what it asks for as far as that goes (the same level for all who want more), then the surplus by headroom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Claim:
    """What one actuator may and wants to draw, in watts."""

    floor_w: float
    ceiling_w: float
    demand_w: float


def split_cap(cap_w: float, fixed_w: float, claims: Sequence[Claim]) -> list[float]:
    """Return each actuator's limit; their sum is ``cap_w - fixed_w`` unless floors or ceilings forbid it."""
    limits = [claim.floor_w for claim in claims]
    left_w = cap_w - fixed_w - sum(limits)
    left_w = _fill(limits, [min(c.ceiling_w, max(c.floor_w, c.demand_w)) for c in claims], left_w)
    _fill(limits, [claim.ceiling_w for claim in claims], left_w)
    return limits


def _fill(limits: list[float], wanted: Sequence[float], left_w: float) -> float:
    """Raise ``limits`` towards ``wanted`` with equal increments; return what is left over."""
    order = sorted(range(len(limits)), key=lambda i: wanted[i] - limits[i])
    for position, i in enumerate(order):
        if left_w <= 0:
            return 0.0
        share_w = left_w / (len(order) - position)
        added_w = min(max(0.0, wanted[i] - limits[i]), share_w)
        limits[i] += added_w
        left_w -= added_w
    return left_w
