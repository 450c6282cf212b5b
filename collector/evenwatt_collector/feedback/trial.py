"""What has been seen of one version of the policy: four claims under test, each fed by the outcomes it is about. Pure.

Which claims, and why these, stands in ``guard``.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from evenwatt_collector.feedback.evidence import Evidence

if TYPE_CHECKING:
    from evenwatt_collector.jobs.model import Outcome

LOSS: Final = 0.05
"""What a job may lose on average before the quick test speaks."""
LATE: Final = 0.01
"""Share of jobs that a policy may make late."""
A_DAY: Final = 12
"""Jobs of one day that the quick tests count."""
TESTS: Final = ("loss", "drift", "late", "control")
MOST_JOB: Final = 0.5
"""Saved or lost share beyond which a job counts as this much: the narrower, the sooner a test can speak."""
MOST_DAY: Final = 0.25
"""The same of a day's mean."""
_DAY_S: Final = 86_400
_SIZES: Final = 200


class Day(Struct, kw_only=True):
    """What is under way of a day."""

    day: int = -1
    jobs: int = 0
    """That the quick tests have counted."""
    deadlines: int = 0
    weight: float = 0.0
    weighted: float = 0.0


class Trial(Struct, kw_only=True):
    """What has been seen of a version since it was adopted."""

    tests: dict[str, Evidence] = field(default_factory=lambda: {name: Evidence() for name in TESTS})
    saved: Evidence = field(default_factory=Evidence)
    """All of its jobs, for people."""
    day: Day = field(default_factory=Day)
    sizes_g: list[float] = []
    """Counterfactual grams of the last jobs."""
    late: int = 0
    late_anyway: int = 0
    controls: int = 0
    since_control: tuple[int, float] = (0, 0.0)
    """Jobs without pressure since the last control: how many, and the sum of their grams over what was foreseen."""


def saved_share(outcome: Outcome) -> float:
    """Return what a job saved, as a share of the larger of what was and what would have been; -1 to 1."""
    largest = max(outcome.counterfactual_g, outcome.grams)
    return outcome.saved_g / largest if largest > 0 else 0.0


def take_treated(trial: Trial, outcome: Outcome) -> None:
    """Take in what came of a job that the version decided."""
    share, weight = saved_share(outcome), _weight(trial, outcome.counterfactual_g)
    trial.saved.add(share)
    _turn(trial, int(outcome.ended_s // _DAY_S))
    day = trial.day
    day.weight, day.weighted = day.weight + weight, day.weighted + weight * share
    if day.jobs < A_DAY:
        day.jobs += 1
        trial.tests["loss"].add(weight * _within(share, MOST_JOB), weight * LOSS / MOST_JOB)
    if outcome.deadline_s is not None:
        trial.late += outcome.late
        trial.late_anyway += outcome.counterfactual_late
        if day.deadlines < A_DAY:
            day.deadlines += 1
            trial.tests["late"].add(float(outcome.counterfactual_late) - float(outcome.late), LATE)
    if not outcome.pressed and outcome.predicted_baseline_g > 0:
        count, total = trial.since_control
        trial.since_control = (count + 1, total + outcome.grams / outcome.predicted_baseline_g)


def take_control(trial: Trial, outcome: Outcome) -> None:
    """Take in what came of a control."""
    trial.controls += 1
    count, total = trial.since_control
    if not count or outcome.predicted_baseline_g <= 0:
        return
    trial.since_control = (0, 0.0)
    control, treated = outcome.grams / outcome.predicted_baseline_g, total / count
    largest = max(control, treated)
    if largest > 0:
        trial.tests["control"].add((control - treated) / largest)


def _turn(trial: Trial, day: int) -> None:
    """Close the day before when another begins; days only go on, whenever outcomes come."""
    if day <= trial.day.day:
        return
    if trial.day.weight > 0:
        trial.tests["drift"].add(_within(trial.day.weighted / trial.day.weight, MOST_DAY))
    trial.day = Day(day=day)


def _within(share: float, most: float) -> float:
    return max(-1.0, min(1.0, share / most))


def _weight(trial: Trial, grams: float) -> float:
    """Return what a job counts, 0 to 1: its grams against the median of those before it."""
    most = median(trial.sizes_g) if trial.sizes_g else grams
    trial.sizes_g = [*trial.sizes_g[-(_SIZES - 1) :], grams]
    return min(1.0, grams / most) if most > 0 else 1.0
