"""Reports as flat rows: the columns of csv and parquet, one row per group. ``docs/reports.md`` lists them.

Names of columns end in their unit. The total is no row: columns add up to it, residual rows included.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.report.sci import Score

if TYPE_CHECKING:
    from evenwatt_collector.report.document import Derived
    from evenwatt_collector.report.model import Report, Row
    from evenwatt_collector.report.uncertainty import Spread

FIGURES: Final = (
    "energy_j", "dynamic_j", "gpu_j", "idle_j", "site_j", "location_g", "location_dynamic_g", "market_g", "marginal_g",
    "marginal_j", "embodied_g", "water_l", "measured_j", "integrated_j", "estimated_j", "unknown_j",
)  # fmt: skip
STANDINGS: Final = tuple(f"intensity_{standing}_j" for standing in Standing)
SCORE: Final = (
    "sci_per",
    "sci_energy_kwh",
    "sci_intensity",
    "sci_g_per_kwh",
    "sci_embodied_g",
    "sci_units",
    "sci_g_per_unit",
)
TEXTS: Final = ("fleet", "by", "name", "zone", "node", "units", "sci_per", "sci_intensity")
TIMES: Final = ("start", "end", "known_at")
COLUMNS: Final = (
    "fleet", "by", "start", "end", "known_at", "name", "residual", "zone", "node", *FIGURES, *STANDINGS,
    "location_low_g", "location_high_g", "missing_s", "covered_s", "duration_s", "units", *SCORE,
)  # fmt: skip


def records(report: Report, derived: Derived) -> list[dict[str, Any]]:
    """Return a report's rows; moments are aware datetimes in UTC, ``units`` is a dict."""
    shared = {
        "fleet": report.fleet,
        "by": report.by.value,
        "start": datetime.fromtimestamp(report.start_s, UTC),
        "end": datetime.fromtimestamp(report.end_s, UTC),
        "known_at": datetime.fromtimestamp(report.known_at_s, UTC),
    }
    scores = derived.sci_rows or (None,) * len(report.rows)
    return [
        {**shared, **_row(row, sure), **_score(score if isinstance(score, Score) else None)}
        for row, sure, score in zip(report.rows, derived.rows, scores, strict=True)
    ]


def as_csv(report: Report, derived: Derived) -> str:
    """Return a report's rows as CSV (RFC 4180); what is not known is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for record in records(report, derived):
        writer.writerow({column: _cell(record[column]) for column in COLUMNS})
    return out.getvalue()


def harmless(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula: an apostrophe goes before what would start one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def _row(row: Row, sure: Spread) -> dict[str, Any]:
    figures = row.figures
    return {
        "name": row.name,
        "residual": row.residual,
        "zone": row.zone,
        "node": row.node,
        **{name: getattr(figures, name) for name in FIGURES},
        **{f"intensity_{standing}_j": figures.by_standing_j.get(standing, 0.0) for standing in Standing},
        "location_low_g": sure.low_g,
        "location_high_g": sure.high_g,
        "missing_s": figures.missing_s,
        "covered_s": figures.covered_s,
        "duration_s": figures.duration_s,
        "units": dict(figures.units),
    }


def _score(score: Score | None) -> dict[str, Any]:
    if score is None:
        return dict.fromkeys(SCORE)
    values = (
        score.unit, score.energy_kwh, score.kind.value, score.g_per_kwh, score.embodied_g, score.units,
        score.g_per_unit,
    )  # fmt: skip
    return dict(zip(SCORE, values, strict=True))


def _cell(value: object) -> str:
    """Return a value as text; floats in the shortest form that reads back as the same number."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() | int():
            return repr(float(value))
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return json.dumps(value, sort_keys=True) if value else ""
        case _:
            return harmless(str(value))
