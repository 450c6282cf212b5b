"""Week by week: what was saved against the counterfactual, and whether predictions get better. Pure.

Weeks are those of ISO 8601, in UTC; a job counts in the week in which it ended. All jobs that have an outcome count,
controls and those of a baseline too, so that a bad job cannot be left out. ``saved_pct`` is a ratio of sums. Its range
comes from how sure the energy at full power is: independent jobs add up by root of the sum of squares, what was put
right by one learned curve or one statement (the same workload) adds up linearly. A job without a range counts with that
of another place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, fsum, log, sqrt
from statistics import median
from typing import TYPE_CHECKING, Final

from evenwatt_collector.feedback.counterfactual import BY_PLACE
from evenwatt_collector.feedback.errors import Errors, errors, share_off
from evenwatt_collector.feedback.trend import Trend, trend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.jobs.model import Outcome

CONFIDENCE: Final = 0.9
WEEK_S: Final = 7 * 86_400.0
MEASURES: Final = ("grams", "energy", "length", "power", "intensity")
ENOUGH_CONTROLS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Against the counterfactual."""

    jobs: int
    grams: float
    counterfactual_g: float
    saved_g: float
    low_g: float
    """The 90 % range of what was saved."""
    high_g: float
    saved_pct: float | None
    """Of the counterfactual; None where that is 0."""
    low_pct: float | None
    high_pct: float | None
    late: int
    late_anyway: int
    """Jobs that the baseline would have made late too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """How predictions did."""

    jobs: int
    """That had one."""
    mape_pct: dict[str, float | None]
    """Mean of |actual - foreseen| / actual, by measure; None where nothing was foreseen of it."""
    bias_pct: dict[str, float | None]
    """Median of actual to foreseen, less 1: positive where too little was foreseen."""
    coverage: float | None
    """Share of jobs whose grams lay within the predicted 90 % range."""
    ranged: int = 0
    """Jobs that had a range."""
    inside: int = 0
    """Of those: within it."""
    wrong: dict[str, int]
    """How often each part was what was wrong the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Jobs that ran by the baseline on purpose: what chance says, without a model of what would have been."""

    jobs: int
    saved_pct: float | None
    """Geometric mean of grams to what was foreseen for at once, jobs against controls; None: too few."""
    low_pct: float | None
    high_pct: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One week, or the whole."""

    week: str
    """As ``2026-W48``."""
    start_s: float
    end_s: float
    saved: Saved
    predicted: Predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """All weeks of one workload, or of everything."""

    workload: str | None
    """None: of everything."""
    weeks: tuple[Week, ...]
    """The oldest first, weeks without jobs too."""
    total: Week
    controls: Controls
    error_trend: dict[str, Trend]
    """By measure: whether |ln(actual / foreseen)| falls; the slope is per week."""
    how: dict[str, int]
    """How the counterfactuals' energies are known: jobs by ``counterfactual_how``."""


def improvement(outcomes: Iterable[Outcome], now_s: float, weeks: int = 8, workload: str | None = None) -> Improvement:
    """Return the last weeks, the one that is under way included.

    Args:
        outcomes: What came of jobs, in any order; those of other times are left out.
        now_s: Unix time.
        weeks: How many.
        workload: Only this one; None: all.
    """
    end = _monday(now_s) + timedelta(days=7)
    starts = [end - timedelta(days=7 * (weeks - i)) for i in range(weeks)]
    first_s, end_s = starts[0].timestamp(), end.timestamp()
    kept = [one for one in outcomes if first_s <= one.ended_s < end_s and workload in {None, one.workload}]
    kept.sort(key=lambda one: (one.ended_s, one.job))
    slots: list[list[Outcome]] = [[] for _ in starts]
    for one in kept:
        slots[int((one.ended_s - first_s) // WEEK_S)].append(one)
    logs = [(one.ended_s / WEEK_S, errors(one)) for one in kept]
    return Improvement(
        workload=workload,
        weeks=tuple(_week(start, 7, group) for start, group in zip(starts, slots, strict=True)),
        total=_week(starts[0], 7 * weeks, kept),
        controls=controls(kept),
        error_trend={name: trend(_sizes(logs, name)) for name in MEASURES},
        how=_counted(one.counterfactual_how for one in kept),
    )


def by_workload(outcomes: Sequence[Outcome], now_s: float, weeks: int = 8) -> list[Improvement]:
    """Return the same for each workload, what emitted most first."""
    names = sorted({one.workload for one in outcomes})
    found = [improvement(outcomes, now_s, weeks, name) for name in names]
    return sorted((one for one in found if one.total.saved.jobs), key=lambda one: -one.total.saved.counterfactual_g)


def saved(outcomes: Sequence[Outcome]) -> Saved:
    """Return what jobs saved together."""
    grams, whole_g = fsum(one.grams for one in outcomes), fsum(one.counterfactual_g for one in outcomes)
    below, above = _half(outcomes, low=True), _half(outcomes, low=False)
    saved_g = whole_g - grams
    return Saved(
        jobs=len(outcomes),
        grams=grams,
        counterfactual_g=whole_g,
        saved_g=saved_g,
        low_g=saved_g - below,
        high_g=saved_g + above,
        saved_pct=_percent(saved_g, whole_g),
        low_pct=_percent(saved_g - below, whole_g - below),
        high_pct=_percent(saved_g + above, whole_g + above),
        late=sum(one.late for one in outcomes),
        late_anyway=sum(one.counterfactual_late for one in outcomes),
    )


def controls(outcomes: Sequence[Outcome]) -> Controls:
    """Return what chance says: jobs without pressure against controls, both over what was foreseen for at once."""
    groups: tuple[list[float], list[float]] = ([], [])
    for one in outcomes:
        if one.version and not one.pressed and one.predicted_baseline_g > 0 and one.grams > 0:
            control = one.policy == "baseline"
            if control and one.version == "baseline":
                continue  # a policy was rolled back: then nobody drew lots
            groups[control].append(log(one.grams / one.predicted_baseline_g))
    treated, drawn = groups
    if min(len(treated), len(drawn)) < ENOUGH_CONTROLS:
        return Controls(jobs=len(drawn), saved_pct=None, low_pct=None, high_pct=None)
    gap = fsum(treated) / len(treated) - fsum(drawn) / len(drawn)
    half = 1.645 * sqrt(_variance(treated) / len(treated) + _variance(drawn) / len(drawn))
    of = [100 * (1 - exp(value)) for value in (gap, gap + half, gap - half)]
    return Controls(jobs=len(drawn), saved_pct=of[0], low_pct=of[1], high_pct=of[2])


def predicted(outcomes: Sequence[Outcome]) -> Predicted:
    """Return how predictions did."""
    every = [errors(one) for one in outcomes]
    logs = {name: [value for e in every if (value := getattr(e, name)) is not None] for name in MEASURES}
    inside = [e.inside for e in every if e.inside is not None]
    return Predicted(
        jobs=sum(one.predicted_g > 0 for one in outcomes),
        mape_pct={
            name: 100 * fsum(map(share_off, values)) / len(values) if values else None for name, values in logs.items()
        },
        bias_pct={name: 100 * (exp(median(values)) - 1) if values else None for name, values in logs.items()},
        coverage=sum(inside) / len(inside) if inside else None,
        ranged=len(inside),
        inside=sum(inside),
        wrong=_counted(worst for e in every if (worst := e.worst) is not None),
    )


def week_name(start: datetime) -> str:
    """Return a week as ISO 8601 writes it."""
    year, week, _ = start.isocalendar()
    return f"{year}-W{week:02d}"


def _week(start: datetime, days: int, group: Sequence[Outcome]) -> Week:
    return Week(
        week=week_name(start),
        start_s=start.timestamp(),
        end_s=(start + timedelta(days=days)).timestamp(),
        saved=saved(group),
        predicted=predicted(group),
    )


def _monday(now_s: float) -> datetime:
    day = datetime.fromtimestamp(now_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _half(outcomes: Sequence[Outcome], *, low: bool) -> float:
    """Return half of the 90 % range of the sum of counterfactuals, downwards or upwards."""
    alone, together = [], dict[tuple[str, str], float]()
    for one in outcomes:
        edge = one.counterfactual_low_g if low else one.counterfactual_high_g
        half = BY_PLACE * one.counterfactual_g if edge is None else abs(one.counterfactual_g - edge)
        if one.counterfactual_how == "same":
            alone.append(half * half)
        else:
            key = (one.workload, one.counterfactual_how)
            together[key] = together.get(key, 0.0) + half
    return sqrt(fsum(alone) + fsum(half * half for half in together.values()))


def _sizes(logs: Sequence[tuple[float, Errors]], name: str) -> list[tuple[float, float]]:
    return [(week, abs(value)) for week, e in logs if (value := getattr(e, name)) is not None]


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole > 0 else None


def _variance(values: Sequence[float]) -> float:
    mean = fsum(values) / len(values)
    return fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _counted(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
