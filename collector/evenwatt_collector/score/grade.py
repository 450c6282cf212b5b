"""Points and letters from a ratio, and the gates before them. Pure.

``S = clip(50 + 25 log2(base / actual), 0, 100)``: as good as the baseline is 50, twice as good 75, four times 100, half
as good 25. Gates are no weights: nothing that they ask for can be bought with fewer grams.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log2
from typing import TYPE_CHECKING, Final

from evenwatt_collector.score.terms import PER_HALVING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.jobs.model import Outcome

LETTERS: Final = (("A", 75.0), ("B", 60.0), ("C", 40.0), ("D", 25.0), ("E", 0.0))
"""From how many points on; C is about as good as the baseline, within a third of it: our choice."""
LEAST_COVERAGE: Final = 0.8
"""Measured share below which the grade is B at the most; the same as for comparing periods."""
CAPPED_POINTS: Final = 74.0
"""What B is at the most."""
LEAST_KEPT: Final = 0.95
"""Share of the jobs that have to keep their quality and SLO bounds; below it there is no score: our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A grade; never shown without the figure that it is derived from."""

    points: float
    """0 to 100."""
    letter: str
    low: float
    """The 90 % range of the points, the baseline taken as exact: it is a frozen figure, not an estimate."""
    high: float
    capped: str = ""
    """Why it is not higher; empty: it is as it came out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How the jobs of a subject kept their bounds."""

    jobs: int
    kept: int
    quality_missed: int
    slo_missed: int
    """Deadline, latency or slow-down."""

    @property
    def passes(self) -> bool:
        """Whether there may be a score."""
        return self.jobs == 0 or self.kept >= LEAST_KEPT * self.jobs

    @property
    def words(self) -> str:
        """What a reader should know of it."""
        if not self.jobs:
            return "quality and SLO are not judged: no job with an outcome ended in the period"
        said = f"{self.kept} of {self.jobs} jobs kept their bounds"
        missed = [f"{count} missed {what}" for count, what in ((self.quality_missed, "quality"),
                  (self.slo_missed, "deadline or SLO")) if count]  # fmt: skip
        return f"{said}; {', '.join(missed)}" if missed else said


def points(base: float, actual: float) -> float:
    """Return the points of grams per unit against the baseline's."""
    if actual <= 0:
        return 100.0 if base > 0 else 50.0
    return min(100.0, max(0.0, 50.0 + PER_HALVING * log2(base / actual))) if base > 0 else 0.0


def letter(of_points: float) -> str:
    """Return the letter of so many points."""
    return next(name for name, least in LETTERS if of_points >= least)


def grade(base: float, actual: tuple[float, float, float | None], coverage: float | None) -> Grade:
    """Return the grade of grams per unit.

    Args:
        base: The baseline's.
        actual: Figure, and its 90 % range; None as its upper end: no bound can be given.
        coverage: Measured share of the period; None: not known.
    """
    figure, low_g, high_g = actual
    found, best = points(base, figure), points(base, low_g)
    worst = 0.0 if high_g is None or high_g == inf else points(base, high_g)
    capped = ""
    if coverage is None or coverage < LEAST_COVERAGE:
        share = "of an unknown share" if coverage is None else f"{coverage:.0%}"
        measured = f"measured coverage is {share}, an A needs {LEAST_COVERAGE:.0%}"
        capped = measured if found > CAPPED_POINTS else ""
        found, best, worst = (min(CAPPED_POINTS, value) for value in (found, best, worst))
    return Grade(points=found, letter=letter(found), low=worst, high=best, capped=capped)


def kept(outcomes: Sequence[Outcome]) -> Kept:
    """Return how jobs kept their bounds; a late job has missed its SLO, unless it could not have been in time."""
    quality = [not one.quality_ok for one in outcomes]
    slo = [not one.slo_ok or (one.late and not one.counterfactual_late) for one in outcomes]
    return Kept(
        jobs=len(outcomes),
        kept=sum(not (q or s) for q, s in zip(quality, slo, strict=True)),
        quality_missed=sum(quality),
        slo_missed=sum(slo),
    )


def spoilt(outcomes: Sequence[Outcome], unit: str) -> float:
    """Return units of work that missed their quality bound: their grams count, they themselves do not."""
    return sum(one.units.get(unit, 0.0) for one in outcomes if not one.quality_ok)
