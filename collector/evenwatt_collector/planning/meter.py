"""Cuts what a run tells into windows that a cap can be judged by: units, joules of its node, seconds, under one cap.

A window goes from one report of the run to the next. The node's energy at the moment of a report is interpolated
between its live windows, by the node's own clock, so that idle power and all else that holding the machine takes is in
it. Pure: time and messages are given.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from evenwatt_collector.tuning.records import Observed

if TYPE_CHECKING:
    from evenwatt_collector.node import Node
    from evenwatt_wire import RunReport

_KEPT: Final = 256
_LEAST_S: Final = 0.5
_SAME: Final = 0.01
"""A node calls a cap kept that it holds to a hundredth: what is set aside for memory moves, and rounding does."""


@dataclass(slots=True)
class RunMeter:
    """One run that is alone on its node.

    Attributes:
        unit: Unit of work that counts.
        caps: Node caps read back, with the node's time; the last of equal ones is left out.
    """

    unit: str
    points: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """Node's wall time (ms) and cumulative joules, of its live windows."""
    caps: deque[tuple[int, float | None]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    pending: list[RunReport] = field(default_factory=list)
    """Reports whose moment no live window has reached yet."""
    last: tuple[int, float, float] | None = None
    """Time (ms), units and joules at the end of the window before."""
    company: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """Node's time (ms) at which something else ran on it."""

    def look(self, node: Node, *, alone: bool) -> None:
        """Note how the node stands; call it each second."""
        live = node.live
        if live is not None and (not self.points or live.wall_ms > self.points[-1][0]):
            self.points.append((live.wall_ms, live.total.total_j))
            if not self.caps or not _same(self.caps[-1][1], node.cap_w):
                self.caps.append((live.wall_ms, node.cap_w))
            if not alone:
                self.company.append(live.wall_ms)

    def take(self, told: RunReport) -> None:
        """Note what the run says."""
        if len(self.pending) < _KEPT and (not self.pending or told.wall_ms > self.pending[-1].wall_ms):
            self.pending.append(told)

    def windows(self) -> list[Observed]:
        """Return the windows that are complete now."""
        found = []
        while self.pending and self.points and self.points[-1][0] >= self.pending[0].wall_ms:
            window = self._window(self.pending.pop(0))
            if window is not None:
                found.append(window)
        return found

    def _window(self, told: RunReport) -> Observed | None:
        joules = self._joules_at(told.wall_ms)
        if joules is None:
            return None
        units = dict(told.units).get(self.unit, 0.0)
        before, self.last = self.last, (told.wall_ms, units, joules)
        if before is None or told.wall_ms - before[0] < 1000 * _LEAST_S or units < before[1]:
            return None
        cap_w, steady = self._cap_over(before[0], told.wall_ms)
        if cap_w is None:
            return None
        return Observed(
            cap_w=cap_w,
            units=units - before[1],
            energy_j=joules - before[2],
            seconds=(told.wall_ms - before[0]) / 1000,
            at_s=told.wall_ms / 1000,
            clean=steady and not any(before[0] <= at_ms <= told.wall_ms for at_ms in self.company),
        )

    def _joules_at(self, wall_ms: int) -> float | None:
        for (early_ms, early_j), (late_ms, late_j) in pairwise(self.points):
            if early_ms <= wall_ms <= late_ms and late_j >= early_j:
                return early_j + (late_j - early_j) * (wall_ms - early_ms) / max(1, late_ms - early_ms)
        return None

    def _cap_over(self, start_ms: int, end_ms: int) -> tuple[float | None, bool]:
        """Return the cap at the end of a stretch, and whether it held throughout."""
        at_end = [cap_w for at_ms, cap_w in self.caps if at_ms <= end_ms]
        changed = any(start_ms < at_ms <= end_ms for at_ms, _ in self.caps)
        return (at_end[-1] if at_end else None), not changed


def _same(before_w: float | None, now_w: float | None) -> bool:
    if before_w is None or now_w is None:
        return before_w is now_w
    return abs(now_w - before_w) <= max(1.0, _SAME * before_w)
