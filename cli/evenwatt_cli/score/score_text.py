"""Scores in a terminal: the figure first, then the grade, then what made it so."""

from __future__ import annotations

from datetime import UTC, datetime
from math import fsum, prod
from typing import TYPE_CHECKING, Final

from evenwatt_cli.reporting import words
from evenwatt_cli.score.lines import console, put, table
from evenwatt_collector.models.amounts import singular

if TYPE_CHECKING:
    from rich.console import Console

    from evenwatt_collector.score.answer import Scores
    from evenwatt_collector.score.baseline import Baseline
    from evenwatt_collector.score.scoring import Scored
    from evenwatt_collector.score.terms import Factor

_WITH_PUE: Final = {"grid": "grid x PUE", "placement": "placement, PUE"}
"""Factors that the sites' overhead is in."""


def print_scores(found: Scores, timezone: str) -> None:
    """Print an answer: a page for one score, a table for many."""
    out = console()
    when = words.period(found.start_s, found.end_s, timezone)
    by = "" if found.subject == "fleet" else f" scores by {found.subject},"
    put(out, f"{found.fleet}:{by} {when}", "bold")
    if not found.scores:
        put(out, "no work was recorded in this period")
    elif len(found.scores) == 1:
        _page(out, found.scores[0], min(found.end_s, found.known_at_s) - found.start_s)
    else:
        _listing(out, found)
    for note in found.notes:
        put(out, f"! {note}", "yellow")


def print_baseline(found: Baseline, timezone: str) -> None:
    """Print what was frozen."""
    out = console()
    what = f"{found.subject}s {found.pattern!r}" if found.pattern else "the fleet"
    per = f"{words.mass(found.g_per_unit)} CO2e per {singular(found.unit)}"
    put(out, f"frozen: {found.label} of {what}, {per} ({_range(found.low_g_per_unit, found.high_g_per_unit)})", "bold")
    put(out, f"  of {words.period(found.start_s, found.end_s, timezone)}, {found.how}")
    if found.provisional:
        put(out, f"  ! provisional: {found.provisional}; freeze it again once there is more", "yellow")
    put(out, f"  intensities: {', '.join(found.factors) or 'none'}")
    if found.previous_g_per_unit:
        moved = words.signed(found.g_per_unit / found.previous_g_per_unit - 1)
        put(out, f"  it lies {moved} from version {found.version - 1}, which stays")
    for pin in found.pins:
        put(
            out,
            f"  counts {pin.name} v{pin.version}: {words.mass(pin.g_per_unit)} per {singular(pin.unit)} of "
            f"{pin.pattern!r}",
        )
    put(out, f"  SHA-256 {found.digest}")


def _page(out: Console, one: Scored, length_s: float) -> None:
    sci = one.sci
    if sci is None:
        put(out, f"{one.name}: no score: {one.why}", "bold")
    else:
        figure = f"{words.mass(sci.g_per_unit)} CO2e per {singular(one.unit)}"
        put(out, f"{one.name}: {figure} ({_range(sci.low_g_per_unit, sci.high_g_per_unit)})", "bold")
        made = "M unknown" if sci.embodied_g is None else f"M {words.mass(sci.embodied_g)}"
        put(
            out,
            f"  SCI = (E x I + M) / R: E {words.digits(sci.energy_kwh)} kWh, I {words.digits(sci.g_per_kwh)} g/kWh, "
            f"{made}, R {words.digits(sci.units)} {one.unit}",
        )
        put(out, f"  boundary: {one.boundary}")
        put(out, f"  intensities: {', '.join(one.factors_from) or 'none'}")
        put(out, f"  {_graded(one)}")
        _factors(out, one)
    put(out, f"  measured coverage {words.share(one.coverage)}{_recorded(one, length_s)}; {one.kept.words}")
    if one.runs is not None and one.runs.count:
        put(out, f"  {_runs(one)}")
    for note in one.notes:
        put(out, f"  ! {note}", "yellow")


def _recorded(one: Scored, length_s: float) -> str:
    """Say how much of the period lies after the first record, where that is not all of it."""
    if one.recorded_s >= length_s - 1:
        return ""
    return f" (recording began {words.span(one.recorded_s)} before its end)"


def _graded(one: Scored) -> str:
    if one.grade is None:
        fix = "evenwatt score freeze --fleet" if one.subject == "fleet" else f"evenwatt score freeze {one.name}"
        return f"no grade: {one.why}" + (f"; {fix} makes one of this period" if one.against is None else "")
    given, against = one.grade, one.against
    said = f"grade {given.letter}: {given.points:.0f} of 100 points (90 %: {given.low:.0f} to {given.high:.0f})"
    if given.capped:
        said += f", B at the most since {given.capped}"
    if against is None:
        return said
    said += f"; baseline {against.name} v{against.version} of {_day(against.made_s)}, {against.digest[:12]}"
    said += f": {words.mass(against.g_per_unit)} per {singular(one.unit)}"
    if against.provisional:
        said += f", provisional: {against.provisional}"
    if against.compared == "operation":
        said += ", operation alone, since only one side knows the making of the devices"
    if against.moved_pct is not None:
        said += f"; it lies {against.moved_pct:+.3g} % from the version before"
    return said


def _factors(out: Console, one: Scored) -> None:
    if not one.factors:
        put(out, "  no factors: one of them is 0 or unknown")
        return
    making = one.terms is not None and one.terms.embodied_g is not None
    embodied = making and (one.against is None or one.against.compared == "whole")
    rows = [
        [f"  {_WITH_PUE.get(factor.name, factor.name)}", singular(factor.unit), *_cells(factor, embodied=embodied)]
        for factor in one.factors
    ]
    ratios = [factor.ratio for factor in one.factors if factor.ratio is not None]
    points = [factor.points for factor in one.factors if factor.points is not None]
    bases = [factor.base for factor in one.factors if factor.base is not None]
    rows.append(
        [
            "  product",
            f"g/{singular(one.unit)}",
            words.digits(prod(bases)) if bases else words.UNKNOWN,
            words.digits(prod(factor.actual for factor in one.factors)),
            f"{prod(ratios):.3f}" if ratios else words.UNKNOWN,
            _points(fsum(points)) if points else words.UNKNOWN,
        ]
    )
    out.print(table(["  FACTOR", "UNIT", "BASE", "NOW", "RATIO", "POINTS"], rows, 2))


def _cells(factor: Factor, *, embodied: bool) -> list[str]:
    """Return base, now, ratio and points; what is not known of the making of devices is no factor of 1."""
    if factor.name == "embodied" and not embodied:
        return [words.UNKNOWN if factor.base is None else "not known", "not known", words.UNKNOWN, words.UNKNOWN]
    return [
        words.digits(factor.base),
        words.digits(factor.actual),
        words.UNKNOWN if factor.ratio is None else f"{factor.ratio:.3f}",
        words.UNKNOWN if factor.points is None else _points(factor.points),
    ]


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # no minus before a zero


def _runs(one: Scored) -> str:
    runs = one.runs
    if runs is None:
        return ""
    said = f"{runs.count} runs, all counted" if runs.count > 1 else "1 run"
    if runs.worst_ratio is not None and runs.count > 1:
        said += f"; the worst, {runs.worst}, took {runs.worst_ratio:.3g} times as much per {singular(one.unit)}"
    if runs.without_units:
        said += f"; {runs.without_units} did no {singular(one.unit)} and count with {words.mass(runs.without_units_g)}"
    return said


def _listing(out: Console, found: Scores) -> None:
    rows = []
    for one in found.scores:
        graded = f"{one.grade.letter} {one.grade.points:.0f}" if one.grade else words.UNKNOWN
        base = f"{one.against.name} v{one.against.version}" if one.against else words.UNKNOWN
        if one.sci is None:
            rows.append([one.name, words.UNKNOWN, "", graded, base, words.mass(one.grams)])
            continue
        sci = one.sci
        per = f"{words.mass(sci.g_per_unit)}/{singular(one.unit)}"
        rows.append(
            [one.name, per, _range(sci.low_g_per_unit, sci.high_g_per_unit), graded, base, words.mass(one.grams)]
        )
    out.print(table([found.subject.upper(), "SCI", "90 %", "GRADE", "BASELINE", "CO2e"], rows))
    whole = found.whole_g
    if whole > 0:
        put(
            out,
            f"of {words.mass(whole)} CO2e in all {words.share(found.scored_g / whole)} has a score, "
            f"{words.share(found.nobody_g / whole)} belongs to nobody (idle, system); --fleet scores all of it",
        )
    for one in found.scores:
        if one.sci is None:
            put(out, f"! {one.name}: no score: {one.why}", "yellow")


def _range(low_g: float, high_g: float | None) -> str:
    return f"90 %: {words.mass_range(low_g, high_g)}"


def _day(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d}"
