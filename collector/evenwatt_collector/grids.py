"""What is known of each grid's intensity around now, in memory: what live figures and control count with. Pure.

Readings are kept for three days back and as far ahead as they go. At a moment that no reading covers, the newest one
stands for two hours more: providers publish late. After that it is the annual average, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.emissions import Factor
from evenwatt_collector.carbon.loop import Intensities
from evenwatt_collector.carbon.series import Kind, Reading, Standing, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.carbon.series import Steps
    from evenwatt_collector.carbon.site import SiteFacts

BEHIND_S: Final = 3 * 86_400
AHEAD_S: Final = 5 * 86_400
HELD_S: Final = 2 * 3600
"""The newest value stands for so long after its end (our choice: hourly data comes up to two hours late)."""
_MOVED_S: Final = 3600
"""The window is moved along once an hour."""


@dataclass(slots=True)
class _Series:
    """One grid's readings of one kind."""

    readings: dict[tuple[str, Standing, int, int], Reading] = field(default_factory=dict)
    """The last one that its source said of an interval."""
    steps: Steps | None = None
    at_s: float = 0.0
    """Around when ``steps`` lies."""


class Grids:
    """Every grid.

    Args:
        order: Sources by grid, the most trusted first.
    """

    def __init__(self, order: Mapping[str, tuple[str, ...]]) -> None:
        self._order = dict(order)
        self._leads: dict[str, str] = {}
        self._series: dict[tuple[str, Kind], _Series] = {}

    def lead(self, grid: str, source: str | None) -> None:
        """Let a source's forecasts count before the chain's, or the chain's again; what happened is above both."""
        if self._leads.get(grid) == source:
            return
        if source is None:
            del self._leads[grid]
        else:
            self._leads[grid] = source
        for (name, _), series in self._series.items():
            if name == grid:
                series.steps = None

    def _order_of(self, grid: str) -> tuple[str, ...]:
        """Return who counts before whom now."""
        order, lead = self._order.get(grid, ()), self._leads.get(grid)
        return order if lead is None else (lead, *(name for name in order if name != lead))

    def take(self, readings: Iterable[Reading], now_s: float) -> None:
        """Take what a source says."""
        for reading in readings:
            if reading.end_s > now_s - BEHIND_S:
                series = self._series.setdefault((reading.grid, reading.kind), _Series())
                key = (reading.source, reading.standing, reading.start_s, reading.end_s)
                known = series.readings.get(key)
                if known is None or (known.issued_s, known.recorded_s) <= (reading.issued_s, reading.recorded_s):
                    series.readings[key] = reading
                    series.steps = None

    def steps(self, grid: str, now_s: float, kind: Kind = Kind.AVERAGE) -> Steps | None:
        """Return a grid's series around now; None if nothing was ever heard."""
        series = self._series.get((grid, kind))
        if series is None:
            return None
        if series.steps is None or abs(now_s - series.at_s) > _MOVED_S:
            old_s = now_s - BEHIND_S
            series.readings = {key: reading for key, reading in series.readings.items() if reading.end_s > old_s}
            series.steps = resolve(series.readings.values(), old_s, now_s + AHEAD_S, order=self._order_of(grid))
            series.at_s = now_s
        return series.steps

    def factor(self, facts: SiteFacts, wall_s: float, now_s: float) -> Factor:
        """Return what a joule weighs that was used at a moment."""
        found = self.reading(facts.grid, wall_s, now_s)
        if found is None:
            return Factor(
                facts.fallback_g_per_kwh, facts.pue, facts.fallback_detail, facts.fallback_year, facts.fallback_standing
            )
        return Factor(found.g_per_kwh, facts.pue, found.source, None, found.standing)

    def reading(self, grid: str, wall_s: float, now_s: float) -> Reading | None:
        """Return what decides a grid's average intensity at a moment; None if only the annual average is left."""
        steps = self.steps(grid, now_s)
        if steps is None or not len(steps.which):
            return None
        found = steps.at(wall_s)
        if found is not None:
            return found
        last = int(np.searchsorted(steps.edges, wall_s, side="right")) - 1
        known = np.flatnonzero(steps.which[: max(0, last)] >= 0)
        if len(known) and wall_s - steps.edges[known[-1] + 1] <= HELD_S:
            return steps.readings[int(steps.which[known[-1]])]
        return None

    def intensities(self, facts: SiteFacts, now_s: float) -> Intensities:
        """Return the series as the carbon loop takes it: what was seen, and what is forecast."""
        steps = self.steps(facts.grid, now_s)
        points = []
        if steps is not None:
            # A value stands for an hour at the most there, so a longer one is told again.
            for start_s, end_s, i in zip(steps.edges[:-1], steps.edges[1:], steps.which, strict=True):
                if i >= 0:
                    value = steps.readings[int(i)].g_per_kwh
                    points += [(float(at_s), value) for at_s in np.arange(start_s, end_s, 3600.0)]
        return Intensities(points, facts.fallback_g_per_kwh)

    def forecast(self, grid: str, now_s: float) -> list[Reading]:
        """Return what is forecast from now on, contiguous and in order."""
        ahead = [reading for reading in self._shown(grid, now_s) if reading.end_s > now_s]
        for i in range(1, len(ahead)):
            if ahead[i].start_s > ahead[i - 1].end_s:
                return ahead[:i]
        return ahead

    def _shown(self, grid: str, now_s: float) -> list[Reading]:
        steps = self.steps(grid, now_s)
        if steps is None:
            return []
        order = dict.fromkeys(int(i) for i in steps.which if i >= 0)
        return sorted((steps.readings[i] for i in order), key=lambda reading: reading.start_s)
