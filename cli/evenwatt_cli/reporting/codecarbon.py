"""Reports as CodeCarbon's ``emissions.csv``, for tools that read that file.

Columns and their order are those of ``EmissionsData`` in codecarbon 3.3.2 (``output_methods/emissions_data.py``), which
``FileOutput`` writes in that order. Units are its units: kg, kg/s, kWh with PUE, litres, seconds. What a report does
not know stays empty: power and energy by component, hardware, place, utilisation.
"""

from __future__ import annotations

import csv
import io
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from evenwatt_cli.reporting.flat import harmless
from evenwatt_collector.report.model import By
from evenwatt_collector.report.totals import J_PER_KWH

if TYPE_CHECKING:
    from evenwatt_collector.report.model import Report, Row

COLUMNS: Final = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip
_RUNS: Final = uuid.UUID("5f0c2f5e-3f0e-5a53-9a52-0a1f6c3d7b11")
"""Namespace of run ids: a report made again has the same ids, so that CodeCarbon's own tools see the same runs."""


def as_codecarbon(report: Report) -> str:
    """Return one row per group: location-based operational emissions; residual rows are rows like others."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for row in report.rows:
        writer.writerow(
            {key: repr(value) if isinstance(value, float) else value for key, value in _row(report, row).items()}
        )
    return out.getvalue()


def _row(report: Report, row: Row) -> dict[str, str | float]:
    figures = row.figures
    whole = report.by in {By.ZONE, By.NODE} or row.residual
    end_s = min(report.end_s, max(report.known_at_s, report.start_s))
    duration_s = figures.duration_s or (end_s - report.start_s if whole else 0.0)
    kilograms = figures.location_g / 1e3
    said: dict[str, str | float] = {
        "timestamp": datetime.fromtimestamp(end_s, ZoneInfo(report.timezone)).strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": harmless(row.name),
        "run_id": str(uuid.uuid5(_RUNS, _identity(report, row))),
        "emissions": kilograms,
        "energy_consumed": figures.site_j / J_PER_KWH,
        "codecarbon_version": f"evenwatt-{report.version}",
        "tracking_mode": "machine" if whole else "process",
    }
    if duration_s > 0:
        said |= {"duration": duration_s, "emissions_rate": kilograms / duration_s}
    if figures.water_l is not None:
        said["water_consumed"] = figures.water_l
    if figures.energy_j > 0:
        said["pue"] = figures.site_j / figures.energy_j
    site_water = {site.wue_l_per_kwh for site in report.sites if not row.zone or site.zone == row.zone}
    if len(site_water) == 1 and (wue := site_water.pop()) is not None:
        said["wue"] = wue
    return said


def _identity(report: Report, row: Row) -> str:
    parts = (report.fleet, report.by.value, row.zone, row.node, row.name, repr(report.start_s), repr(report.end_s))
    return "\0".join(parts)
