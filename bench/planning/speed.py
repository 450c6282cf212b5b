"""How long a plan of 10,000 jobs over 96 half-hours takes, and keeping it up after one change of each kind."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Clock, Job, Place, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS = 96
SLOT_S = 1800.0
PLACES = 4
START_S = 1.8e9


def problem(count: int, seed: int = 0) -> Problem:
    """Return work of a fleet: places with limited slots, half of it interruptible, deadlines, transfers, priorities."""
    rng = np.random.default_rng(seed)
    places, jobs = {}, {}
    needed = count * 2.0 / (48 * PLACES)  # slots that the work fills on average over a day
    for i in range(PLACES):
        t = np.arange(SLOTS)
        values = 300 + 50 * i + 100 * np.sin(2 * np.pi * (t / 48 + rng.random())) + rng.normal(0, 20, SLOTS)
        places[f"p{i}"] = Place(name=f"p{i}", intensity_g_per_kwh=values, low_g_per_kwh=0.9 * values,
                                high_g_per_kwh=1.1 * values, pue=1.1 + 0.1 * i,
                                slots_free=np.full(SLOTS, round(2.8 * needed)),
                                power_free_w=np.full(SLOTS, 900.0 * needed))  # fmt: skip
    for i in range(count):
        length_s, earliest_s = float(rng.uniform(900, 4 * 3600)), START_S + float(rng.uniform(0, 24 * 3600))
        due_s = min(earliest_s + 1.2 * length_s + float(rng.uniform(0, 20 * 3600)), START_S + SLOTS * SLOT_S)
        at = {name: At(power_w=float(rng.uniform(100, 400)), transfer_kwh=0.01 * (j > 0), transfer_s=60.0 * (j > 0))
              for j, name in enumerate(places)}  # fmt: skip
        jobs[f"j{i}"] = Job(id=f"j{i}", length_s=length_s, at=at, earliest_s=earliest_s, deadline_s=due_s,
                            interruptible=bool(rng.random() < 0.5), priority=int(rng.integers(0, 10)))  # fmt: skip
    clock = Clock(start_s=START_S, slot_s=SLOT_S, slots=SLOTS, now_s=START_S + 300)
    return Problem(clock=clock, places=places, jobs=jobs)


def changes(asked: Problem) -> dict[str, Callable[[Problem], Problem]]:
    """Return what may happen, one thing each."""
    rng = np.random.default_rng(1)
    some = sorted(asked.jobs)

    def with_jobs(now: Problem, **jobs: Any) -> Problem:
        return replace(now, jobs={name: job for name, job in {**now.jobs, **jobs}.items() if job is not None})

    def forecast(now: Problem, names: list[str]) -> Problem:
        def other(place: Place) -> Place:
            factor = rng.normal(1, 0.05, SLOTS)
            return replace(
                place,
                intensity_g_per_kwh=place.intensity_g_per_kwh * factor,
                low_g_per_kwh=place.low_g_per_kwh * factor,
                high_g_per_kwh=place.high_g_per_kwh * factor,
            )

        return replace(now, places={n: other(p) if n in names else p for n, p in now.places.items()})

    return {
        "job changed": lambda now: with_jobs(
            now, **{some[5]: replace(now.jobs[some[5]], length_s=1.3 * now.jobs[some[5]].length_s)}
        ),
        "job new": lambda now: with_jobs(now, new=replace(now.jobs[some[7]], id="new")),
        "job gone": lambda now: with_jobs(now, **{some[9]: None}),
        "actual": lambda now: with_jobs(
            now, **{some[11]: replace(now.jobs[some[11]], length_s=0.9 * now.jobs[some[11]].length_s)}
        ),
        "forecast of a place": lambda now: forecast(now, ["p0"]),
        "forecast of all": lambda now: forecast(now, list(now.places)),
    }


def measure(say: Callable[[str], None], count: int = 10_000) -> dict[str, Any]:
    """Return seconds of wall clock."""
    asked = problem(count)
    planner = Planner()
    began = time.perf_counter(), time.process_time()
    plan = planner.plan(asked)
    plan_s, cpu_s = time.perf_counter() - began[0], time.process_time() - began[1]
    late = sum(one.late for one in plan.jobs.values())
    say(f"planning {count} jobs over {SLOTS} half-hours at {PLACES} places: {plan_s:.2f} s ({cpu_s:.2f} s of CPU), "
        f"{late} late, by {plan.solver}")  # fmt: skip
    each = {}
    for name, change in changes(asked).items():
        asked = change(asked)
        began = time.perf_counter(), time.process_time()
        after = planner.replan(asked)
        each[name] = round(time.perf_counter() - began[0], 3)
        moved = sum(plan.jobs[n].segments != one.segments for n, one in after.jobs.items() if n in plan.jobs)
        say(f"again after {name}: {each[name]:.3f} s ({time.process_time() - began[1]:.3f} s of CPU), {moved} moved")
        plan = after
    return {"plan_10k_s": round(plan_s, 3), "plan_10k_cpu_s": round(cpu_s, 3), "plan_10k_late": late,
            "replan_s": max(each.values()), "replan_each_s": each}  # fmt: skip
