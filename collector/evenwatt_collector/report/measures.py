"""Columns of the database as the figures of a report. Pure."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.report.model import Figures
from evenwatt_collector.storage.tasks import DURATION
from evenwatt_collector.storage.weighing import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


def figures_of(
    columns: NDArray[np.float64], done: Mapping[str, float], missing_s: float, covered_s: float | None = None
) -> Figures:
    """Return figures.

    Args:
        columns: In the order of ``COLUMNS``.
        done: Units of work by name, and the time that tasks ran.
        missing_s: Time without records.
        covered_s: Time with records, where the columns do not have it.
    """
    of = dict(zip(COLUMNS, columns.tolist(), strict=True))
    others_j = of["integrated_j"] + of["estimated_j"] + of["unknown_j"]
    by_other_j = of["by_estimated_j"] + of["by_forecast_j"] + of["by_fallback_j"]
    return Figures(
        energy_j=of["energy_j"],
        dynamic_j=of["dynamic_j"],
        idle_j=of["energy_j"] - of["dynamic_j"],
        site_j=of["site_j"],
        location_g=of["location_g"],
        location_dynamic_g=of["location_dynamic_g"],
        market_g=_known(of["market_g"]),
        marginal_g=of["marginal_g"] if of["marginal_j"] > 0 else None,
        marginal_j=of["marginal_j"],
        embodied_g=_known(of["embodied_g"]),
        water_l=_known(of["water_l"]),
        measured_j=of["energy_j"] - others_j,
        integrated_j=of["integrated_j"],
        estimated_j=of["estimated_j"],
        unknown_j=of["unknown_j"],
        by_standing_j={
            Standing.MEASURED: of["energy_j"] - by_other_j,
            Standing.ESTIMATED: of["by_estimated_j"],
            Standing.FORECAST: of["by_forecast_j"],
            Standing.FALLBACK: of["by_fallback_j"],
        },
        missing_s=missing_s,
        covered_s=of["covered_s"] if covered_s is None else covered_s,
        units={unit: amount for unit, amount in sorted(done.items()) if unit != DURATION},
        duration_s=done.get(DURATION, 0.0),
        gpu_j=of["gpu_j"],
    )


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
