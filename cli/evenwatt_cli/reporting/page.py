"""Reports as one page: self-contained HTML without scripts, for a screen, a phone and paper.

The template is ``templates/report.html``; every text that comes from outside is escaped there (autoescape), and the
page forbids itself scripts and the network (Content-Security-Policy).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from evenwatt_cli.reporting import sentences, words
from evenwatt_cli.reporting.timeline import time_line
from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.report.compare import LEAST_COVERAGE, Comparison
from evenwatt_collector.report.model import Row
from evenwatt_collector.report.sci import Score
from evenwatt_collector.report.totals import added
from evenwatt_collector.report.uncertainty import EMBODIED, INTENSITY, OVERHEAD, QUALITY, Spread, spread

if TYPE_CHECKING:
    from evenwatt_collector.report.document import Derived
    from evenwatt_collector.report.model import Figures, Report

MOST_ROWS: Final = 500
"""More rows than this are added up into one: nobody reads them on a page, csv has them all."""
_BARS: Final = 12
"""Groups that are drawn; the others are said in one line, since one bar of them all would dwarf the rest."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One row with its range."""

    row: Row
    sure: Spread


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a whole: its class in the style sheet, name and share."""

    style: str
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One group as a bar: per cent of the longest."""

    row: Row
    above_idle: float
    idle: float
    embodied: float
    grams: float
    """Operational and, where known, embodied."""


def as_page(report: Report, derived: Derived) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("evenwatt_cli.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": words, "sentences": sentences}
    rows = folded(report.rows, MOST_ROWS)
    owned = [row for row in report.rows if not row.residual]
    drawn = [*owned[:_BARS], *(row for row in report.rows if row.residual)]
    undrawn = len(report.rows) - len(drawn)
    return environment.get_template("report.html").render(
        report=report,
        derived=derived,
        total=report.total,
        sure=derived.total,
        rows=[Shown(row, spread(row.figures)) for row in rows],
        bars=_bars(drawn),
        undrawn=undrawn,
        undrawn_g=fsum(_grams(row) for row in report.rows) - fsum(_grams(row) for row in drawn),
        line=time_line(report),
        metered=_metered(report.total),
        known=_known(report.total),
        score=derived.sci if isinstance(derived.sci, Score) else None,
        scores=[(r, s) for r, s in zip(report.rows, derived.sci_rows, strict=False) if isinstance(s, Score)],
        comparison=derived.comparison if isinstance(derived.comparison, Comparison) else None,
        qualities=QUALITY,
        intensities=INTENSITY,
        overhead=OVERHEAD,
        embodied=EMBODIED,
        least_coverage=LEAST_COVERAGE,
        mean=_mean(report.total),
        pue=report.total.site_j / report.total.energy_j if report.total.energy_j > 0 else None,
    )


def folded(rows: tuple[Row, ...], most: int) -> list[Row]:
    """Return at most ``most`` rows that belong to somebody, the others added up as one, and all residual rows."""
    owned, rest = [row for row in rows if not row.residual], [row for row in rows if row.residual]
    if len(owned) <= most:
        return [*owned, *rest]
    others = owned[most - 1 :]
    one = Row(name=f"({len(others):,} others)", figures=added(row.figures for row in others))
    return [*owned[: most - 1], one, *rest]


def _bars(rows: list[Row]) -> list[Bar]:
    sums = [_grams(row) for row in rows]
    longest = max(sums, default=0.0)
    if longest <= 0:
        return []
    return [
        Bar(
            row,
            100 * min(row.figures.location_dynamic_g, row.figures.location_g) / longest,
            100 * max(0.0, row.figures.location_g - row.figures.location_dynamic_g) / longest,
            100 * (row.figures.embodied_g or 0.0) / longest,
            grams,
        )
        for row, grams in zip(rows, sums, strict=True)
    ]


def _grams(row: Row) -> float:
    return row.figures.location_g + (row.figures.embodied_g or 0.0)


def _metered(total: Figures) -> list[Part]:
    if total.energy_j <= 0:
        return []
    names = (("good", "measured"), ("fair", "integrated"), ("poor", "estimated"), ("none", "unknown"))
    return [Part(style, name, getattr(total, f"{name}_j") / total.energy_j) for style, name in names]


def _known(total: Figures) -> list[Part]:
    if total.energy_j <= 0:
        return []
    styles = ("good", "fair", "poor", "none")
    return [
        Part(style, standing.value, total.by_standing_j.get(standing, 0.0) / total.energy_j)
        for style, standing in zip(styles, Standing, strict=True)
    ]


def _mean(total: Figures) -> float | None:
    return total.location_g / (total.site_j / 3.6e6) if total.site_j > 0 else None
