"""Figures put together, and the shares that say how well they are known. Pure."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.report.model import Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PLAIN: Final = (
    "energy_j", "dynamic_j", "idle_j", "site_j", "location_g", "location_dynamic_g", "marginal_j", "measured_j",
    "integrated_j", "estimated_j", "unknown_j", "missing_s", "covered_s", "duration_s", "gpu_j",
)  # fmt: skip
"""Fields that are always known."""
OPTIONAL: Final = ("market_g", "marginal_g", "embodied_g", "water_l")
"""Fields that are None where nothing is configured or known."""
TABLES: Final = ("by_standing_j", "units")
J_PER_KWH: Final = 3.6e6


def added(parts: Iterable[Figures]) -> Figures:
    """Return the sum; an optional field is None only if no part knows it."""
    every = list(parts)
    optional = {name: [value for f in every if (value := getattr(f, name)) is not None] for name in OPTIONAL}
    sums: dict[str, Any] = {
        **{name: fsum(getattr(f, name) for f in every) for name in PLAIN},
        **{name: fsum(known) if known else None for name, known in optional.items()},
        **{name: _table(every, name) for name in TABLES},
    }
    return Figures(**sums)


def _table(every: Sequence[Figures], name: str) -> dict[str, float]:
    keys = {key for f in every for key in getattr(f, name)}
    return {key: fsum(getattr(f, name).get(key, 0.0) for f in every) for key in sorted(keys)}


def time_coverage(figures: Figures) -> float | None:
    """Return the share of the node-time that records cover; None where rows carry no time (below nodes)."""
    whole = figures.covered_s + figures.missing_s
    return figures.covered_s / whole if whole > 0 else None


def metered_share(figures: Figures) -> float | None:
    """Return the share of the energy that hardware counted or sampled; None where there is no energy."""
    if figures.energy_j <= 0:
        return None
    return (figures.measured_j + figures.integrated_j) / figures.energy_j


def coverage(figures: Figures) -> float | None:
    """Return the share of the period that was metered: the two above, multiplied."""
    time, metered = time_coverage(figures), metered_share(figures)
    return None if time is None or metered is None else time * metered
