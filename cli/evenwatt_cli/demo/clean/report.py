"""What came of the scenario: what was moved, learned and lowered, beside what is true and beside doing nothing.

Counted figures are the collector's; true ones come from the simulated machines' own log, and the grid's true hours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING, Any, Final

from evenwatt_cli.demo.clean.files import EXPLORE_SHARE, MODEL, PUE
from evenwatt_cli.demo.clean.learned import learned_caps
from evenwatt_cli.demo.clean.scenario import SERVING
from evenwatt_cli.demo.clean.seen import is_late
from evenwatt_cli.demo.clean.stream import BEFORE
from evenwatt_twin import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_cli.demo.clean.day import GridDay
    from evenwatt_cli.demo.clean.scenario import CleanScenario
    from evenwatt_cli.demo.clean.seen import Seen

Document = dict[str, Any]
_G_PER_J: Final = PUE / 3.6e6
"""Times g/kWh."""


@dataclass(frozen=True, slots=True)
class _Used:
    """Joules that were used within an hour of the grid."""

    hour: int
    energy_j: float


def make_report(scenario: CleanScenario, seen: Seen) -> Document:
    """Return the report as it is printed."""
    truths = {node: Truth.load(scenario.truth(node)) for node in scenario.nodes}
    jobs = sorted(seen.batch(scenario.batch), key=lambda job: float(job["submitted_s"]))
    outcomes = [job["outcome"] for job in jobs if job.get("outcome")]
    grams, at_once_g = (fsum(one[key] for one in outcomes) for key in ("grams", "counterfactual_g"))
    day = scenario.day
    return {
        "scenario": "clean-hours",
        "time": f"accelerated: an hour of the grid lasts {day.hour_s} s, a day {day.day_s} s",
        "seconds": seen.ended_s - seen.began_s,
        "grid_hours": (seen.ended_s - seen.began_s) / day.hour_s,
        "jobs": _counts(jobs, seen.ended_s),
        "energy": _energy(jobs, truths, scenario),
        "clean": _clean(jobs, truths, day),
        "grams": {
            "jobs": len(outcomes),
            "counted_g": grams,
            "at_once_g": at_once_g,
            "saved_g": at_once_g - grams,
            "saved_pct": 100.0 * (1.0 - grams / at_once_g) if at_once_g > 0 else None,
        },
        "service": _service(seen, day),
        "caps": learned_caps(scenario, seen, truths),
        "explore_share": EXPLORE_SHARE,
        "score": _scores(seen),
        "improvement": seen.improvement,
        "failures": seen.failures,
    }


def _counts(jobs: list[Document], ended_s: float) -> Document:
    late = [job["spec"]["name"] for job in jobs if is_late(job, ended_s)]
    states = [job["state"] for job in jobs]
    return {
        "submitted": len(jobs),
        "done": states.count("done"),
        "failed": states.count("failed"),
        "open": sum(state not in {"done", "failed", "cancelled"} for state in states),
        "late": len(late),
        "late_names": late,
        "runs": sum(len(job["runs"]) for job in jobs),
        "interrupted": sum(len(job["runs"]) > 1 for job in jobs),
        "controls": sum((job.get("decision") or {}).get("policy") == "baseline" for job in jobs),
    }


def _energy(jobs: list[Document], truths: dict[str, Truth], scenario: CleanScenario) -> Document:
    """Runs as counted, beside what their machines really drew meanwhile: a run has its machine for itself."""
    day, shift_ns = scenario.day, time.monotonic_ns() - time.time_ns()
    counted_j = true_j = counted_g = true_g = 0.0
    for job in jobs:
        for run in job["runs"]:
            counted_j += run["energy_j"]
            for used in _used(run, truths, day, shift_ns):
                true_j += used.energy_j
                true_g += used.energy_j * day.measured_g(used.hour) * _G_PER_J
        # What is claimed is the outcome's, by the intensities that came; a run tells as known when it was heard.
        counted_g += job["outcome"]["grams"] if job.get("outcome") else fsum(run["grams"] for run in job["runs"])
    return {
        "counted_j": counted_j,
        "true_j": true_j,
        "error_pct": _off_pct(counted_j, true_j),
        "counted_g": counted_g,
        "true_g": true_g,
        "grams_error_pct": _off_pct(counted_g, true_g),
        "nodes_true_j": {
            node: truth.energy_j(truth.mono_ns[0], truth.mono_ns[-1]) if truth.mono_ns else 0.0
            for node, truth in truths.items()
        },
    }


def _clean(jobs: list[Document], truths: dict[str, Truth], day: GridDay) -> Document:
    """Share of batch energy used in clean hours; at once every job would have begun when it was submitted."""
    shift_ns = time.monotonic_ns() - time.time_ns()
    whole_j = clean_j = whole_s = clean_s = 0.0
    for job in jobs:
        if job["spec"]["name"] in BEFORE:
            continue
        for run in job["runs"]:
            for used in _used(run, truths, day, shift_ns):
                whole_j += used.energy_j
                clean_j += used.energy_j if _is_clean(day, used.hour) else 0.0
        for hour, seconds in _hours(day, job["submitted_s"], job["submitted_s"] + job["length_s"]):
            whole_s += seconds
            clean_s += seconds if _is_clean(day, hour) else 0.0
    return {
        "median_g_per_kwh": day.median_g,
        "share_pct": 100.0 * clean_j / whole_j if whole_j > 0 else None,
        "at_once_share_pct": 100.0 * clean_s / whole_s if whole_s > 0 else None,
    }


def _service(seen: Seen, day: GridDay) -> Document:
    rows = [
        {
            "at_s": change.wall_s - seen.began_s,
            "grid_time": day.clock(change.wall_s),
            "g_per_kwh": change.intensity_g,
            "variant": change.variant,
            "why": change.why,
        }
        for change in seen.changes
    ]
    names = [change.variant for change in seen.changes]
    small, large = f"{MODEL}:small", f"{MODEL}:large"
    return {
        "node": SERVING,
        "changes": rows,
        "lowered": names.count(small),
        "restored": sum((before, after) == (small, large) for before, after in pairwise(names)),
    }


def _scores(seen: Seen) -> Document:
    """Return each workload's grams per unit before, and over the whole demo, with the factors of the change."""
    found = {}
    for score in seen.score.get("scores", []):
        against, sci = score.get("against"), score.get("sci")
        if against is None or sci is None:
            continue
        grade = score.get("grade") or {}
        found[score["name"]] = {
            "unit": score["unit"],
            "before_g_per_unit": against["g_per_unit"],
            "now_g_per_unit": sci["g_per_unit"],
            "points": grade.get("points"),
            "letter": grade.get("letter"),
            "factors": {factor["name"]: factor["ratio"] for factor in score["factors"]},
            "why": score.get("why", ""),
        }
    return found


def _used(run: Document, truths: dict[str, Truth], day: GridDay, shift_ns: int) -> Iterator[_Used]:
    """Yield what a run's machine drew while it ran, by hour of the grid."""
    truth = truths.get(run["node"])
    end_s = run["ended_s"] if run["ended_s"] is not None else run["heard_s"]
    if truth is None or run["started_s"] is None or end_s is None:
        return
    end_s = min(end_s, run["started_s"] + run["duration_s"])
    for hour, _ in _hours(day, run["started_s"], end_s):
        start_s, stop_s = max(run["started_s"], day.starts_s(hour)), min(end_s, day.starts_s(hour + 1))
        yield _Used(hour, truth.energy_j(round(start_s * 1e9) + shift_ns, round(stop_s * 1e9) + shift_ns))


def _hours(day: GridDay, start_s: float, end_s: float) -> Iterator[tuple[int, float]]:
    """Yield each hour of the grid in a stretch, and how many seconds of it lie there."""
    for hour in range(day.number(start_s), day.number(end_s) + 1):
        seconds = min(end_s, day.starts_s(hour + 1)) - max(start_s, day.starts_s(hour))
        if seconds > 0:
            yield hour, seconds


def _is_clean(day: GridDay, hour: int) -> bool:
    return day.measured_g(hour) < day.median_g


def _off_pct(counted: float, true: float) -> float | None:
    return 100.0 * (counted / true - 1.0) if true > 0 else None
