"""Scores of workloads, of models and of the fleet: the figure first, then what is derived from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Final

from evenwatt_collector.report.sci import NoScore, Per, Score, score
from evenwatt_collector.report.totals import coverage
from evenwatt_collector.score.baseline import FLEET_UNIT, Baseline, Pin, Subject, worth
from evenwatt_collector.score.grade import Grade, Kept, grade, kept, spoilt
from evenwatt_collector.score.terms import Factor, Terms, decompose, terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.jobs.model import Outcome
    from evenwatt_collector.report.model import Figures
    from evenwatt_collector.score.material import Material, Part, Run

FLEET: Final = "fleet"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a grade is held against."""

    name: str
    version: int
    made_s: float
    start_s: float
    end_s: float
    g_per_unit: float
    digest: str
    moved_pct: float | None
    """By how much it lies above the version before; a goal that was moved is seen."""
    compared: str
    """``whole``, or ``operation`` where only one side knows what making the devices weighs."""
    provisional: str = ""
    """Why it is no good measure, and was frozen anyway; empty: it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Runs of tasks: an outlier is in the figure in full, and is named."""

    count: int
    without_units: int
    """Runs that did no such work; their grams count."""
    without_units_g: float
    worst: str
    worst_ratio: float | None
    """Grams per unit of the worst run against the whole; None: no run did any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One score."""

    subject: Subject
    name: str
    unit: str
    sci: Score | None
    """The headline; None: there is none, and ``why`` says why."""
    boundary: str
    factors_from: tuple[str, ...]
    """Which intensities it rests on."""
    coverage: float | None
    """Metered share of the period, time before the first record counted as not metered; None: not known."""
    recorded_s: float
    """Of the period: since recording began."""
    kept: Kept
    grade: Grade | None
    why: str
    """Why there is no score or no grade; empty where there are both."""
    against: Against | None
    factors: tuple[Factor, ...]
    """They multiply to grams per unit; empty where one of them is unknown."""
    terms: Terms | None
    grams: float
    """Operational, all of it."""
    runs: Runs | None = None
    notes: tuple[str, ...] = ()


def score_part(
    material: Material,
    part: Part,
    baseline: Baseline | None,
    unit: str | None = None,
    outcomes: Sequence[Outcome] | None = None,
) -> Scored:
    """Return the score of a workload or a model.

    Args:
        material: Of the period.
        part: Which; one of the material's, or several put together.
        baseline: Of its class; None: there is none.
        unit: R; None: the baseline's, else the only one that it reports.
        outcomes: Of its jobs; None: those that the material has under its name.
    """
    figures = material.covered(part)
    outcomes = material.outcomes_of(part.name) if outcomes is None else outcomes
    unit = unit or (baseline.unit if baseline else None) or _only(figures.units)
    lost = spoilt(outcomes, unit or "")
    units = max(0.0, figures.units.get(unit or "", 0.0) - lost)
    notes = (f"{lost:g} {unit} missed their quality bound: their grams count, they do not",) if lost > 0 else ()
    return _scored(
        material,
        _Work(material.by, part.name, part.by_zone, figures, unit or "unit", units),
        baseline,
        kept(outcomes),
        notes,
        _runs(material.runs.get(part.name, ()), unit or ""),
    )


def score_fleet(
    material: Material, baseline: Baseline | None, unit: str | None = None, classes: Iterable[Baseline] = ()
) -> Scored:
    """Return the score of everything, idle and nameless work included.

    Args:
        material: Of the period, by workload.
        baseline: Of the fleet; None: there is none.
        unit: R; None: work as baselines value it, in ``baseline-kg``.
        classes: By which work is valued where the fleet has no baseline.
    """
    by_zone = {zone: place.total for zone, place in material.places.items()}
    total, notes = material.total, list[str]()
    good = good_units(material)
    if unit is None:
        units, without = worth(baseline.pins if baseline else pins(classes), good)
        unit = FLEET_UNIT
        loose_g = fsum(material.grams_of(part) for part in material.parts if part.name in without)
        nobody_g = total.location_g - fsum(material.grams_of(part) for part in material.parts)
        notes += _rest(without, loose_g, nobody_g, total.location_g) if units > 0 else []
    else:
        units = fsum(done.get(unit, 0.0) for done in good.values())
    work = _Work("fleet", FLEET, by_zone, total, unit, units)
    comparable = baseline if baseline and baseline.unit == unit else None
    return _scored(material, work, comparable, kept(material.outcomes), tuple(notes))


def good_units(material: Material) -> dict[str, dict[str, float]]:
    """Return units of work by part, without those that missed quality, or whose part is below its bounds."""
    found = {}
    for part in material.parts:
        outcomes = material.outcomes_of(part.name)
        passes = kept(outcomes).passes
        found[part.name] = {
            unit: max(0.0, amount - spoilt(outcomes, unit)) if passes else 0.0 for unit, amount in part.units.items()
        }
    return found


def pins(baselines: Iterable[Baseline]) -> list[Pin]:
    """Return what units of workload classes are worth to the fleet."""
    return [
        Pin(name=one.name, version=one.version, pattern=one.pattern, unit=one.unit, g_per_unit=one.g_per_unit)
        for one in baselines
        if one.subject == "workload"
    ]


@dataclass(frozen=True, slots=True)
class _Work:
    subject: Subject
    name: str
    by_zone: Mapping[str, Figures]
    figures: Figures
    unit: str
    units: float


def _scored(
    material: Material,
    work: _Work,
    baseline: Baseline | None,
    bounds: Kept,
    notes: tuple[str, ...] = (),
    runs: Runs | None = None,
) -> Scored:
    weights = {**(baseline.weights if baseline else material.weights)}
    means = (baseline.mean_g_per_kwh if baseline else {}) | material.means  # a zone that is gone keeps its old mean
    gone = sorted(weights.keys() - material.means.keys())
    if gone:
        notes = (*notes, f"zones of the reference mix that are gone count as they were then: {', '.join(gone)}")
    found = _headline(work, bounds)
    of = terms(work.by_zone, means, weights, work.units) if isinstance(found, Score) else None
    metered = coverage(work.figures)
    recorded = material.recorded_share(work.by_zone)
    covered = None if metered is None else metered * recorded
    why = found.why if isinstance(found, NoScore) else "" if baseline else "no baseline of its class is frozen"
    given, against = None, None
    if baseline is not None:
        whole = of is None or (of.embodied_g is None) == (baseline.terms.embodied_g is None)
        base = baseline.g_per_unit if whole else baseline.terms.without_embodied().g_per_unit
        against = _against(baseline, base, "whole" if whole else "operation")
        if isinstance(found, Score) and of is not None:
            actual = of.g_per_unit if whole else of.without_embodied().g_per_unit
            scale = actual / found.g_per_unit if found.g_per_unit > 0 else 1.0
            high = found.high_g_per_unit
            given = grade(base, (actual, found.low_g_per_unit * scale, None if high is None else high * scale), covered)
    return Scored(
        subject=work.subject,
        name=work.name,
        unit=work.unit,
        sci=found if isinstance(found, Score) else None,
        boundary=_boundary(work),
        factors_from=material.factors,
        coverage=covered,
        recorded_s=recorded * material.length_s,
        kept=bounds,
        grade=given,
        why=why,
        against=against,
        factors=() if of is None else decompose(of, baseline.terms if baseline else None, work.unit),
        terms=of,
        grams=work.figures.location_g,
        runs=runs,
        notes=notes,
    )


def _headline(work: _Work, bounds: Kept) -> Score | NoScore:
    # A workload below its bounds gives the fleet no work, and all its grams; the fleet itself has no bound.
    if not bounds.passes and work.subject != FLEET:
        return NoScore(f"below its bounds: {bounds.words}")
    if work.unit == FLEET_UNIT and work.units <= 0:
        return NoScore("no work of a frozen class was done: freeze classes of workloads, then the fleet")
    return score([work.figures], Per(unit=work.unit, count=work.units if work.units > 0 else None))


def _against(baseline: Baseline, base: float, compared: str) -> Against:
    before = baseline.previous_g_per_unit
    return Against(
        name=baseline.name,
        version=baseline.version,
        made_s=baseline.made_s,
        start_s=baseline.start_s,
        end_s=baseline.end_s,
        g_per_unit=base,
        digest=baseline.digest,
        moved_pct=100 * (baseline.g_per_unit / before - 1) if before else None,
        compared=compared,
        provisional=baseline.provisional,
    )


def _boundary(work: _Work) -> str:
    parts = ["machines' energy with its share of idle", "PUE", "location-based average intensity"]
    if work.subject == "fleet":
        parts[0] = "all machines' energy, idle and nameless work included"
    made = "making of the devices" if work.figures.embodied_g is not None else "no making of devices: none configured"
    return ", ".join([*parts, made])


def _rest(without: Sequence[str], loose_g: float, nobody_g: float, whole_g: float) -> list[str]:
    """Say how much of the grams no work stands against."""
    if whole_g <= 0:
        return []
    said = []
    if without and loose_g > 0:
        names = ", ".join(without[:_SHOWN]) + (f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else "")
        said.append(f"{loose_g / whole_g:.0%} of the grams is work that no frozen class counts: {names}")
    if nobody_g > 1e-9 * whole_g:
        said.append(f"{nobody_g / whole_g:.0%} of the grams belongs to nobody (idle, system); it is in the figure")
    return said


def _runs(every: Sequence[Run], unit: str) -> Runs | None:
    if not every:
        return None
    did = [(run.grams / run.units[unit], run.name) for run in every if run.units.get(unit, 0.0) > 0]
    idle = [run for run in every if run.units.get(unit, 0.0) <= 0]
    worst = max(did, default=(0.0, ""))
    whole_g, units = fsum(run.grams for run in every), fsum(run.units.get(unit, 0.0) for run in every)
    return Runs(
        count=len(every),
        without_units=len(idle),
        without_units_g=fsum(run.grams for run in idle),
        worst=worst[1],
        worst_ratio=worst[0] / (whole_g / units) if did and whole_g > 0 else None,
    )


def _only(units: Mapping[str, float]) -> str | None:
    """Return the unit that is meant where there is only one."""
    done = [unit for unit, amount in units.items() if amount > 0]
    return done[0] if len(done) == 1 else None
