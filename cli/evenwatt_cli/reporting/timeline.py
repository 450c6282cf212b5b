"""A report's time line as plots: energy, grams and intensity over the same time. Labels are HTML, shapes are SVG.

The drawings stretch with the page and the letters do not, so that a phone and a printed page can both be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from evenwatt_cli.plots import Frame, polyline, round_step
from evenwatt_cli.reporting import words
from evenwatt_collector.report.totals import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_collector.report.model import Moment, Report

_FRAME: Final = Frame(1000, 100)
_TICKS: Final = 6
_LAST: Final = 85.0
"""Per cent of the width beyond which no label begins: it would not end on the page."""
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside a plot and where it stands: per cent of the width or height."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot."""

    title: str
    summary: str
    drawing: Markup
    levels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLine:
    """Plots above each other and the moments below them."""

    slot: str
    panels: tuple[Panel, ...]
    moments: tuple[Label, ...]


def time_line(report: Report) -> TimeLine | None:
    """Return the plots of a report; None where there is nothing to plot."""
    line = [moment for moment in report.line if moment.end_s > moment.start_s]
    if not line or not any(moment.energy_j > 0 for moment in line):
        return None
    slot = _slot(line)
    mean = "" if slot == "hour" else f", mean of each {slot}"  # a rate, since slots at the ends may be shorter
    panels = (
        _panel(f"Energy per hour{mean}", line, lambda m: m.energy_j / _hours(m), words.energy, "a", 3.6e6),
        _panel(
            f"Emissions per hour{mean}, location-based", line, lambda m: m.location_g / _hours(m), words.mass, "b", 1.0
        ),
        _panel("Grams per kWh of node energy, PUE included", line, _intensity, _per_kwh, "c", 1.0),
    )
    return TimeLine(slot=slot, panels=panels, moments=_moments(line, report.timezone))


def _panel(
    title: str,
    line: Sequence[Moment],
    value: Callable[[Moment], float | None],
    say: Callable[[float], str],
    style: str,
    unit: float,
) -> Panel:
    known = [(moment, found) for moment in line if (found := value(moment)) is not None]
    most = max((found for _, found in known), default=0.0)
    least = min((found for _, found in known), default=0.0)
    top = most or unit
    scale = _scale_of(top, unit)
    step = round_step(top / scale) * scale
    levels = [step * i for i in range(1, int(top / step + 1e-9) + 1)]
    top = max(top, levels[-1] if levels else top) * 1.04
    grid = "".join(f'<path class="grid" d="M0 {_FRAME.y(level, top):.2f}H1000"/>' for level in levels)
    shape = _steps(line, value, top) if style == "c" else _bars(line, value, top, style)
    summary = f"{title}: from {say(least)} to {say(most)}"
    svg = (
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{summary}">{grid}{shape}</svg>'
    )
    return Panel(
        title=title,
        summary=summary,
        drawing=Markup(svg),  # noqa: S704  (numbers and titles of this module only; no name from outside is in it)
        levels=tuple(Label(100 * level / top, say(level)) for level in levels),
    )


def _scale_of(top: float, unit: float) -> float:
    """Return the unit that makes round numbers: of energy, thousands of watt-hours; else one."""
    while top < 0.5 * unit and unit > 1e-12:
        unit /= 1_000
    return unit


def _bars(line: Sequence[Moment], value: Callable[[Moment], float | None], top: float, style: str) -> str:
    first_s, whole_s = line[0].start_s, line[-1].end_s - line[0].start_s
    bars = []
    for moment in line:
        found = value(moment)
        if not found:
            continue
        x = 1000 * (moment.start_s - first_s) / whole_s
        width = 1000 * (moment.end_s - moment.start_s) / whole_s
        y = _FRAME.y(found, top)
        gap = min(0.15 * width, 2.0)
        bars.append(f"M{x + gap / 2:.2f} 100V{y:.2f}h{width - gap:.2f}V100z")
    return f'<path class="fill-{style}" d="{"".join(bars)}"/>'


def _steps(line: Sequence[Moment], value: Callable[[Moment], float | None], top: float) -> str:
    """Return one line per stretch that is known throughout."""
    first_s, whole_s = line[0].start_s, line[-1].end_s - line[0].start_s
    drawn = []
    for known, stretch in groupby(line, key=lambda moment: value(moment) is not None):
        if not known:
            continue
        points = [
            ((at - first_s) / whole_s, value(moment) or 0.0)
            for moment in stretch
            for at in (moment.start_s, moment.end_s)
        ]
        drawn.append(polyline(_FRAME, points, top, 'class="line-c"'))
    return "".join(drawn)


def _hours(moment: Moment) -> float:
    return (moment.end_s - moment.start_s) / 3_600


def _intensity(moment: Moment) -> float | None:
    return moment.location_g / (moment.energy_j / J_PER_KWH) if moment.energy_j > 0 else None


def _per_kwh(value: float) -> str:
    return f"{words.digits(value)} g/kWh"


def _slot(line: Sequence[Moment]) -> str:
    length_s = sorted(moment.end_s - moment.start_s for moment in line)[len(line) // 2]
    if abs(length_s - 3_600) < 1:
        return "hour"
    return "day" if abs(length_s - _DAY_S) <= 3_600 else words.span(length_s)


def _moments(line: Sequence[Moment], timezone: str) -> tuple[Label, ...]:
    """Return labels of at most a handful of beginnings, at equal steps."""
    first_s, whole_s = line[0].start_s, line[-1].end_s - line[0].start_s
    every = max(1, -(-len(line) // _TICKS))
    form = "%d %b" if _slot(line) == "day" else "%d %b %H:%M"
    tz = ZoneInfo(timezone)
    labels = (
        Label(100 * (moment.start_s - first_s) / whole_s, f"{datetime.fromtimestamp(moment.start_s, tz):{form}}")
        for moment in line[::every]
    )
    return tuple(label for label in labels if label.at <= _LAST)
