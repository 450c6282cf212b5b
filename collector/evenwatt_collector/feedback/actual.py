"""Energy by the time it was used, and the intensity that came: grams are their product. Pure; numpy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.carbon.series import Steps
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.plan.problem import Floats

J_PER_KWH: Final = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Energy of a job over a stretch of time, even within it."""

    zone: str
    start_s: float
    end_s: float
    energy_j: float
    """At the machine."""
    cap_w: float | None = None
    """The power cap that it ran under; None: full power."""


@dataclass(frozen=True, slots=True)
class Came:
    """The intensity that came, of one zone: constant between edges, its end values beyond them."""

    edges_s: Floats
    """Unix time, ascending; one more than values."""
    g_per_kwh: Floats
    """Average intensity, location-based; finite."""
    pue: float = 1.0

    @classmethod
    def of(cls, steps: Steps, fallback_g_per_kwh: float, pue: float = 1.0) -> Self:
        """Return what a resolved series says; the fallback stands where it knows nothing."""
        known = np.where(np.isfinite(steps.g_per_kwh), steps.g_per_kwh, fallback_g_per_kwh)
        return cls(np.asarray(steps.edges, dtype=np.float64), np.asarray(known, dtype=np.float64), pue)

    def mean_g_per_kwh(self, start_s: float, end_s: float) -> float:
        """Return the time-weighted mean over [start, end); of no time at all, the value at that moment."""
        if end_s <= start_s:
            at = int(np.searchsorted(self.edges_s, start_s, side="right")) - 1
            return float(self.g_per_kwh[min(max(at, 0), len(self.g_per_kwh) - 1)])
        inner = self.edges_s[(self.edges_s > start_s) & (self.edges_s < end_s)]
        cuts = np.concatenate(([start_s], inner, [end_s]))
        middle = (cuts[:-1] + cuts[1:]) / 2
        at_cuts = np.clip(np.searchsorted(self.edges_s, middle, side="right") - 1, 0, len(self.g_per_kwh) - 1)
        return float(self.g_per_kwh[at_cuts] @ np.diff(cuts)) / (end_s - start_s)

    def grams(self, energy_j: float, start_s: float, end_s: float) -> float:
        """Return energy x PUE x mean intensity, for energy that is used evenly over [start, end)."""
        return energy_j / J_PER_KWH * self.pue * self.mean_g_per_kwh(start_s, end_s)


def grams(used: Iterable[Used], came: Mapping[str, Came]) -> float:
    """Return what stretches of energy emitted.

    Raises:
        KeyError: nothing is given for one of their zones.
    """
    return fsum(came[one.zone].grams(one.energy_j, one.start_s, one.end_s) for one in used)


def used_by_runs(record: JobRecord) -> list[Used]:
    """Return a job's energy as its runs tell it: even over each run, since nothing finer is known of it."""
    found = []
    for run in record.runs:
        start_s = run.started_s if run.started_s is not None else run.asked_s
        end_s = run.ended_s if run.ended_s is not None else start_s + run.duration_s
        if run.energy_j > 0 or run.duration_s > 0:
            zone, energy_j, cap_w = run.zone, run.energy_j, run.cap_w
            found.append(Used(zone=zone, start_s=start_s, end_s=max(start_s, end_s), energy_j=energy_j, cap_w=cap_w))
    return found


def work_s(spans: Sequence[tuple[float, float]], speedup: Sequence[float]) -> float:
    """Return the work that runs did, in seconds on one slot: the sum over time of the speed on so many slots at once.

    Args:
        spans: Start and end of each run, Unix time.
        speedup: Speed on 1, 2, ... slots against one; beyond its end, its last value.
    """
    real = [(first, last) for first, last in spans if last > first]
    changes = sorted([(first, 1) for first, _ in real] + [(last, -1) for _, last in real])
    total, wide = [], 0
    for (start_s, step), (end_s, _) in pairwise(changes):
        wide += step
        if wide and end_s > start_s:
            total.append((end_s - start_s) * speedup[min(wide, len(speedup)) - 1])
    return fsum(total)
