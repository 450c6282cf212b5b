"""What earlier runs of a workload say of the next one: how long it takes, what it draws. Pure.

The figures are medians, so that one run that went wrong does not spoil them, of the latest runs, so that a workload
that has changed is soon known as it is now.
"""

from __future__ import annotations

from collections import defaultdict
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

LATEST: Final = 25
"""So many runs count."""


class Sample(Struct, frozen=True, kw_only=True):
    """One finished piece of work: a job with all its runs, or a task that was run by hand."""

    workload: str
    ended_s: float
    seconds: float
    """That it ran, at full power on one slot."""
    energy_j: float
    """That it added to its nodes, without their idle power; 0: not known."""
    units: dict[str, float] = {}
    full_power: bool = True
    """Nothing held it down."""


class Learned(Struct, frozen=True, kw_only=True):
    """What is known of a workload."""

    runs: int
    """That the figures are medians of."""
    length_s: float
    power_w: float | None = None
    """What it adds to a node's power."""
    seconds_per_unit: dict[str, float] = {}
    latest_s: float = 0.0
    """When the latest of the runs ended, Unix time."""


def learn(samples: Iterable[Sample]) -> dict[str, Learned]:
    """Return what is known, by workload. Runs that were held down count only where there are no others."""
    by_workload: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.workload and isfinite(sample.seconds) and sample.seconds > 0:
            by_workload[sample.workload].append(sample)
    return {workload: _of(found) for workload, found in sorted(by_workload.items())}


def _of(samples: list[Sample]) -> Learned:
    free = [sample for sample in samples if sample.full_power] or samples
    latest = sorted(free, key=lambda sample: sample.ended_s)[-LATEST:]
    powers = [s.energy_j / s.seconds for s in latest if isfinite(s.energy_j) and s.energy_j > 0]
    paces: dict[str, list[float]] = defaultdict(list)
    for sample in latest:
        for unit, amount in sample.units.items():
            if isfinite(amount) and amount > 0:
                paces[unit].append(sample.seconds / amount)
    return Learned(
        runs=len(latest),
        length_s=median(sample.seconds for sample in latest),
        power_w=median(powers) if powers else None,
        seconds_per_unit={unit: median(values) for unit, values in sorted(paces.items())},
        latest_s=latest[-1].ended_s,
    )
