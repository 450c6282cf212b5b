"""Let's Wait Awhile (Wiener et al., Middleware 2021) rebuilt: its jobs, windows, error, seeds; ours and its own rule.

From its repository (dos-group/lets-wait-awhile, simulate.py and strategy.py):

- Nightly: a job of 30 min each day of 2020 at 01:00, shifted by up to +-2, 4, 6, 8 h; those that would begin before the
  year are left out.
- ML project: 3,387 jobs (seed 0) on workdays between 9:00 and 17:00, of 4 to 90 h; due at 9:00 of the next workday if
  they would end outside of working hours, or at 9:00 of the next Monday or Thursday. Its windows reach one step beyond
  what is due (an inclusive end), and its baseline is the better one of two starts (the same): both are kept.
- Error: Gaussian, 5 % of the series' mean, added to every half-hour, seeds 0 to 9; the mean of all ten runs.

The published figures are runs with error. ``rule_pct`` is its own rule in this harness, for the same jobs and errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from bench.planning.series import Series, steady

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Clock, Job, Place, Problem
from evenwatt_collector.plan.smoothing import smoothed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STEP_S = 1800
DAY = 48
SEEDS = 10
ERROR = 0.05
WEEK = 7 * DAY
AHEAD = 3 * WEEK
"""Half-hours that a batch of a week's jobs may reach."""

PUBLISHED = {
    "de": {"nightly": (1.4, 2.2, 5.5, 11.7), "ml": (5.91, 7.93, 14.11, 18.11)},
    "fr": {"nightly": (3.0, 4.1, 5.0, 5.6), "ml": (4.77, 5.92, 11.12, 13.33)},
    "gb": {"nightly": (4.8, 6.3, 6.7, 7.9)},
    "cal": {"nightly": (0.8, 1.1, 13.1, 33.7)},
}
"""% saved; by the file's first word. Order of nightly: +-2, 4, 6, 8 h; of ml: next workday without and with
interruption, semi-weekly without and with. They hold for the series of that study alone."""

STUDY = "2020_ci"
"""What its series are called."""


@dataclass(frozen=True)
class Task:
    """Times in half-hours from the start of the year."""

    arrival: int
    length: int
    last_end: int
    base_windows: int = 1
    """How many starts its baseline chooses from."""


def measure(path: Path, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return scenarios of one series, or nothing where it holds no year of half-hours."""
    series = steady(path, STEP_S)
    year = _year(series)
    if year is None:
        say(f"let's wait awhile {path.stem}: skipped, it needs a year of half-hours from a 1 January on")
        return {}
    values, before, begins = year
    published = PUBLISHED.get(path.stem.split("_")[0], {}) if STUDY in path.stem else {}
    name = path.stem.split("_")[0]
    noisy = [
        values + np.random.default_rng(seed).normal(0, ERROR * values.mean(), len(values)) for seed in range(SEEDS)
    ]
    known = [_cleaned(one, values, before) for one in noisy]
    scenarios: list[tuple[str, list[Task], bool, float | None]] = []
    for i, hours in enumerate((2, 4, 6, 8)):
        figure = published.get("nightly", (None,) * 4)[i]
        scenarios.append((f"{name} nightly {hours}h", nightly(hours, len(values)), False, figure))
    jobs = ml_jobs(begins)
    for i, (rule, split) in enumerate((("next workday", False), ("next workday", True),
                                       ("semi-weekly", False), ("semi-weekly", True))):  # fmt: skip
        tasks = [_due(arrival, length, rule, begins) for arrival, length in jobs]
        figure = published.get("ml", (None,) * 4)[i]
        scenarios.append((f"{name} ml {rule}{' split' if split else ''}", tasks, split, figure))
    found = {}
    for label, every, split, figure in scenarios:
        tasks = [task for task in every if task.last_end <= len(values)]
        base = sum(_base(task, values) for task in tasks)

        def saved(seen: Any, tasks: list[Task] = tasks, split: bool = split, base: float = base) -> tuple[float, int]:
            grams, missed = _ours(tasks, split, seen, values)
            return 100 * (1 - grams / base), missed

        runs = [saved(one) for one in known]
        perfect, missed_perfect = saved(values)
        row = {
            "saved_pct": round(float(np.mean([pct for pct, _ in runs])), 3),
            "saved_perfect_pct": round(float(perfect), 3),
            "optimum_pct": round(100 * (1 - sum(_least(task, split, values) for task in tasks) / base), 3),
            "published_pct": figure,
            "rule_pct": round(
                float(np.mean([100 * (1 - _rule(tasks, split, one, values) / base) for one in noisy])), 3
            ),
            "missed": missed_perfect + sum(missed for _, missed in runs),
        }
        found[label] = row
        say(f"{label}: {row}")
    return found


def nightly(hours: int, steps: int) -> list[Task]:
    window = 2 * hours
    every = [Task(2 + day * DAY - window, 1, 2 + day * DAY + window + 1) for day in range(365)]
    return [task for task in every if task.arrival >= 0 and task.last_end <= steps]


def ml_jobs(begins: datetime) -> list[tuple[int, int]]:
    """Return arrival and length, in half-hours: the study's generator, with its random numbers in its order."""
    rng = np.random.default_rng(0)
    days = [begins + timedelta(days=i) for i in range(366)]
    usable = [day for day in days if day.weekday() < 5]
    per_day = dict(zip(usable, rng.multinomial(3387, [1 / len(usable)] * len(usable)), strict=True))
    arrivals = []
    for i, day in enumerate(days):
        minutes = np.sort(rng.choice(range(9 * 60, 17 * 60, 30), size=int(per_day.get(day, 0))))
        arrivals += [i * DAY + int(minute) // 30 for minute in minutes]
    lengths = rng.choice(range(4 * 60, 90 * 60, 30), size=3387)
    return [(arrival, int(length) // 30) for arrival, length in zip(arrivals, lengths, strict=True)]


def _due(arrival: int, length: int, rule: str, begins: datetime) -> Task:
    end = begins + timedelta(minutes=30 * (arrival + length))
    hour, weekday = end.hour + end.minute / 60, end.weekday()
    nine = end.replace(hour=9, minute=0)
    if rule == "next workday":
        if weekday == 5:
            due = nine + timedelta(days=2)
        elif weekday == 6 or hour > 17:
            due = nine + timedelta(days=1)
        else:
            due = nine if hour < 9 else end
    elif (weekday == 0 and hour > 9) or weekday in {1, 2} or (weekday == 3 and hour <= 9):
        due = nine + timedelta(days=(10 - weekday) % 7)
    else:
        due = nine + timedelta(days=(7 - weekday) % 7)
    slack = int((due - end).total_seconds()) // STEP_S
    return Task(arrival, length, arrival + length + slack + 1, base_windows=2)


def _year(series: Series) -> tuple[Any, Any, datetime] | None:
    """Return values from the first 1 January on, what came before them, and that day."""
    for i in range(len(series.values)):
        at = datetime.fromtimestamp(series.start_s + i * STEP_S, UTC)
        if (at.month, at.day, at.hour, at.minute) == (1, 1, 0, 0):
            break
    else:
        return None
    values = series.values[i:]
    if len(values) < 366 * DAY or np.isnan(values).any():
        return None
    return values[: 400 * DAY], series.values[max(0, i - 14 * DAY) : i], at


def _cleaned(noisy: Any, actual: Any, before: Any) -> Any:
    """Return what our planner makes of a noisy forecast: week by week, knowing what had come before each week."""
    parts = []
    for at in range(0, len(noisy), WEEK):
        history = np.concatenate((before, actual[:at]))[-2 * WEEK :]
        ahead = smoothed(noisy[at : at + AHEAD], history)
        parts.append(ahead)
    return parts


def _ours(tasks: list[Task], split: bool, seen: Any, actual: Any) -> tuple[float, int]:
    """Plan by what is seen, weigh by what came; return grams (of a kilowatt) and missed deadlines."""
    together = np.concatenate(([0.0], np.cumsum(actual))) / 2
    grams, missed = 0.0, 0
    for week, batch in _weeks(tasks):
        ahead = seen[week] if isinstance(seen, list) else seen[week * WEEK : week * WEEK + AHEAD]
        start_s = 1.5e9
        place = Place(name="here", intensity_g_per_kwh=ahead, low_g_per_kwh=ahead, high_g_per_kwh=ahead)
        jobs = {
            str(i): Job(id=str(i), length_s=task.length * STEP_S, at={"here": At(power_w=1000.0)}, interruptible=split,
                        earliest_s=start_s + (task.arrival - week * WEEK) * STEP_S,
                        deadline_s=start_s + (task.last_end - week * WEEK) * STEP_S)
            for i, task in enumerate(batch)
        }  # fmt: skip
        clock = Clock(start_s=start_s, slot_s=STEP_S, slots=len(ahead), now_s=start_s)
        plan = Planner().plan(Problem(clock=clock, places={"here": place}, jobs=jobs))
        for planned in plan.jobs.values():
            missed += planned.late
            for segment in planned.segments:
                ends = [(t - start_s) / STEP_S + week * WEEK for t in (segment.start_s, segment.end_s)]
                low, high = np.interp(ends, np.arange(len(together)), together)
                grams += high - low
    return grams, missed


def _weeks(tasks: list[Task]) -> Iterator[tuple[int, list[Task]]]:
    for week in range(max(task.arrival for task in tasks) // WEEK + 1):
        batch = [task for task in tasks if task.arrival // WEEK == week]
        if batch:
            yield week, batch


def _sums(task: Task, values: Any) -> Any:
    """Return what runs weigh from each start in the window."""
    within = np.concatenate(([0.0], np.cumsum(values[task.arrival : task.last_end])))
    return within[task.length :] - within[: -task.length]


def _base(task: Task, values: Any) -> float:
    if task.length == 1 and task.base_windows == 1:  # nightly: in the middle of its window
        return float(values[(task.arrival + task.last_end - 1) // 2]) / 2
    return float(_sums(task, values)[: task.base_windows].min()) / 2


def _least(task: Task, split: bool, values: Any) -> float:
    if split:
        return float(np.sort(values[task.arrival : task.last_end])[: task.length].sum()) / 2
    return float(_sums(task, values).min()) / 2


def _rule(tasks: list[Task], split: bool, seen: Any, actual: Any) -> float:
    grams = 0.0
    for task in tasks:
        if split:
            chosen = np.argsort(seen[task.arrival : task.last_end], kind="stable")[: task.length]
            grams += float(actual[task.arrival + chosen].sum()) / 2
        else:
            start = task.arrival + int(_sums(task, seen).argmin())
            grams += float(actual[start : start + task.length].sum()) / 2
    return grams
