"""Plots as inline SVG: what a page without scripts and without a network can show. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a plot's data lie within its view box: from ``left`` to ``width``, between the margins above and below."""

    width: float
    height: float
    left: float = 0.0
    bottom: float = 0.0
    head: float = 0.0

    def y(self, value: float, top: float) -> float:
        """Return the height of a value, 0 being the base line and ``top`` the upper edge."""
        base = self.height - self.bottom
        return base - value / top * (base - self.head)

    def x(self, share: float) -> float:
        """Return the place of a share (0 to 1) of the width."""
        return self.left + share * (self.width - self.left)


def polyline(frame: Frame, points: Iterable[tuple[float, float]], top: float, style: str) -> str:
    """Return a line through (share of the width, value); ``style`` are attributes of our own making."""
    drawn = " ".join(f"{frame.x(share):.1f},{frame.y(value, top):.1f}" for share, value in points)
    return f'<polyline fill="none" {style} points="{drawn}"/>'


def round_step(top: float, most: int = 4) -> float:
    """Return the step (1, 2, 2.5 or 5 times a power of ten) that divides 0 to ``top`` into at most ``most`` parts."""
    power = 10.0 ** floor(log10(top / most))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step * most >= top * (1 - 1e-9))
