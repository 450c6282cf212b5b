"""Interruptible work with a perfect forecast, and with forecasts made from the past alone, re-planned every hour.

The optimum is a linear program, solved by HiGHS from the true values: an independent calculation of the same thing.
Jobs arrive every few hours of the test period (the last months of the series) in several lengths and windows; each is
a scenario. With forecasts, each hour a new one is made, all is planned anew, and what the plan says runs until the next
hour. Grams are weighed by what came. Two forecasts:

- ``forecast``: as good as a published provider of weather-based forecasts: CarbonCast's MAPE over day 1 and over 96 h
  for that grid, the mean of its grids for those that it does not have. Errors belong together over hours and shrink as
  the hour comes near (martingale model of forecast evolution, Heath and Jackson 1994): 13 h ahead they correlate with
  those of the next hour by .93, of the sixth by .77; those that our own Forecaster makes in Germany by .92 and .78.
  They are drawn (seed 0), not any provider's. The running hour is known with the error of one hour ahead.
- ``own``: the collector's own Forecaster from the intensities of the past alone, refitted once a week and sharpened as
  the collector does it. The running hour is known when it begins, as in Let's Wait Awhile and GAIA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bench.planning.series import Series, steady

from evenwatt_collector.carbon.forecast import Forecaster, History
from evenwatt_collector.carbon.forecast.sharpening import Sharpener
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Clock, Job, Place, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR_S = 3600
SCENARIOS = ((1, 12), (2, 24), (4, 24), (6, 48), (12, 36), (24, 72), (12, 96))
"""Hours of work, hours until the deadline."""
TEST_DAYS = 60
EVERY_H = 7
"""A job of each scenario arrives: prime to a day, so that all hours come."""
DAY = 24
LEAST_DAYS = 90
"""Of history before the test."""

CARBONCAST_PCT = {"ciso": (6.5, 15.6), "de": (7.2, 12.4), "pl": (2.4, 4.2)}
"""MAPE over day 1 and over 96 h by the file's first word (Maji et al., BuildSys 2022; July to December 2021)."""
CARBONCAST_MEAN_PCT = (5.4, 9.3)
"""Of its 13 grids."""


class Outlook:
    """Forecasts of an hourly series from its own past, kept: several scenarios ask for the same hours."""

    def __init__(self, series: Series, ahead: int) -> None:
        filled = series.values
        self._history = History(start_s=series.start_s, step_s=HOUR_S, values=filled)
        self._forecaster = Forecaster(HOUR_S, ahead * HOUR_S)
        self._sharpener = Sharpener(ahead * HOUR_S)
        self._made: dict[int, Any] = {}

    def at(self, hour: int) -> Any:
        """Return the median from an hour on, knowing that hour and those before; hours must be asked for in order."""
        return self.quantiles(hour)[1]

    def quantiles(self, hour: int) -> Any:
        """Return the 5 %, 50 % and 95 % quantiles."""
        if hour not in self._made:
            now_s = self._history.start_s + hour * HOUR_S
            self._forecaster.observe(self._history, now_s)
            if self._forecaster.refit_due(now_s):
                self._forecaster.fit(self._history, now_s)
                self._sharpener.fit(self._history, now_s)
            made = self._forecaster.predict(self._history, now_s)
            running = float(self._history.values[hour])
            self._made[hour] = self._sharpener.sharpened(made, self._history, now_s, running).values
        return self._made[hour]


class Provided:
    """Forecasts of a given quality: truth times an error that grows with lead time and is revealed hour by hour."""

    def __init__(self, series: Series, ahead: int, mape_pct: tuple[float, float], seed: int = 0) -> None:
        self._values, self._ahead = series.values, ahead
        self._news = np.random.default_rng(seed).normal(size=len(series.values) + ahead)
        day, four_days = mape_pct
        power = np.log(four_days / day) / np.log(4)  # the mean of h ** power over 1..H grows as H ** power
        leads = np.arange(1, max(ahead, DAY) + 1) ** power
        absolute = np.sqrt(2 / np.pi)  # mean of a normal variable's size, over its standard deviation
        self._sigma = (day / 100 / absolute / leads[:DAY].mean() * leads)[:ahead]
        self._steps = np.sqrt(np.diff(self._sigma**2, prepend=0.0))

    def quantiles(self, hour: int) -> Any:
        """Return the 5 %, 50 % and 95 % quantiles from an hour on."""
        truth = self._values[hour : hour + self._ahead]
        error = np.convolve(self._news[hour : hour + self._ahead], self._steps)[: len(truth)]
        median = truth * np.exp(error)
        spread = np.exp(1.645 * self._sigma[: len(truth)])
        return median / spread, median, median * spread


@dataclass
class _Task:
    arrival: int
    length: int
    deadline: int
    left: float = 0.0
    grams: float = 0.0


def measure(path: Path, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return scenarios of one series."""
    series = steady(path, HOUR_S)
    hours, name = len(series.values), path.stem
    scenarios = [(length, window) for length, window in SCENARIOS if window <= hours - 24]
    if not scenarios:
        say(f"shifting {name}: skipped, {hours} hours are too few")
        return {}
    longest = max(window for _, window in scenarios)
    first = max(0, hours - TEST_DAYS * 24 - longest)
    outlooks: dict[str, Outlook | Provided] = {"forecast": Provided(series, longest, _quality(name))}
    if first >= LEAST_DAYS * 24:
        outlooks["own"] = Outlook(series, longest)
    else:
        say(f"shifting {name}: own forecasts are skipped, {first / 24:.0f} days before the test are too few")
    found: dict[str, dict[str, Any]] = {}
    batches = {
        (length, window): [
            _Task(arrival, length, arrival + window)
            for arrival in range(first + i, hours - longest, EVERY_H)
            if not np.isnan(series.values[arrival : arrival + window]).any()
        ]
        for i, (length, window) in enumerate(scenarios)
    }
    batches = {key: batch for key, batch in batches.items() if batch}
    say(f"shifting {name}: {sum(len(batch) for batch in batches.values())} jobs, one forecast an hour")
    rolled = {key: _rolled(series, batches, outlook, first, hours) for key, outlook in outlooks.items()}
    for (length, window), batch in batches.items():
        base = sum(float(series.values[t.arrival : t.arrival + length].sum()) for t in batch)
        optimum, perfect = _optimum(series.values, batch), _perfect(series.values, batch)
        best = 100 * (1 - optimum / base)
        label = f"{name} {length}h in {window}h"
        found[label] = {
            "saved_pct": _pct(perfect, base),
            "optimum_pct": round(best, 3),
            "published_pct": None,
            "missed": 0,
        }
        for key, (grams, missed) in rolled.items():
            saved = 100 * (1 - grams[length, window] / base)
            found[f"{label} {key}"] = {"saved_pct": round(saved, 3), "optimum_pct": round(best, 3),
                                       "published_pct": None, "missed": missed[length, window],
                                       "share_pct": round(100 * saved / best, 2) if best > 0 else None}  # fmt: skip
        say(f"shifting {label}: optimum {best:.2f} %, perfect {_pct(perfect, base):.2f} %, "
            + ", ".join(f"{key} {found[f'{label} {key}']['share_pct']} % of it" for key in rolled))  # fmt: skip
    return found


def _quality(name: str) -> tuple[float, float]:
    return CARBONCAST_PCT.get(name.split("_", maxsplit=1)[0], CARBONCAST_MEAN_PCT)


def _pct(grams: float, base: float) -> float:
    return round(float(100 * (1 - grams / base)), 3)


def _optimum(values: Any, batch: list[_Task]) -> float:
    """Return the least grams of all jobs: minimise sum c x, sum x = length, 0 <= x <= 1 an hour, by HiGHS."""
    from bench.planning.optimum import fill

    return sum(fill(values[t.arrival : t.deadline], t.length) for t in batch)


def _perfect(values: Any, batch: list[_Task]) -> float:
    grams = 0.0
    for begin in range(0, len(batch), 64):
        part = batch[begin : begin + 64]
        start = part[0].arrival
        ahead = values[start : max(t.deadline for t in part)]
        jobs = {str(i): _job(str(i), t.length, t.arrival - start, t.deadline - start) for i, t in enumerate(part)}
        plan = Planner().plan(_problem(ahead, ahead, ahead, jobs))
        grams += sum(planned.grams for planned in plan.jobs.values())
        assert not any(planned.late for planned in plan.jobs.values())
    return grams


def _rolled(series: Series, batches: Any, outlook: Outlook | Provided, first: int, hours: int) -> Any:
    """Live through the hours; return grams and missed deadlines of each scenario."""
    grams, missed = dict.fromkeys(batches, 0.0), dict.fromkeys(batches, 0)
    tasks = {f"{key} {i}": (key, t) for key, batch in batches.items() for i, t in enumerate(batch)}
    for _, task in tasks.values():
        task.left = float(task.length)
    arriving: dict[int, list[str]] = {}
    for name, (_, task) in tasks.items():
        arriving.setdefault(task.arrival, []).append(name)
    active: list[str] = []
    planner = Planner()
    for hour in range(first, hours):
        active += arriving.get(hour, [])
        if not active:
            continue
        low, median, high = outlook.quantiles(hour)
        jobs = {}
        for name in active:
            task = tasks[name][1]
            jobs[name] = _job(name, task.left, 0, task.deadline - hour)
        plan = planner.plan(_problem(median, low, high, jobs))
        for name in list(active):
            key, task = tasks[name]
            ran = sum(max(0.0, min(1.0, s.end_s / HOUR_S) - s.start_s / HOUR_S) for s in plan.jobs[name].segments)
            task.left -= ran
            grams[key] += ran * series.values[hour]
            if task.left <= 1e-6:
                active.remove(name)
            elif hour + 1 >= task.deadline:
                missed[key] += 1
                active.remove(name)
    return grams, missed


def _job(name: str, left: float, earliest: int, deadline: int) -> Job:
    return Job(id=name, length_s=left * HOUR_S, at={"here": At(power_w=1000.0)}, interruptible=True,
               earliest_s=earliest * HOUR_S, deadline_s=deadline * HOUR_S)  # fmt: skip


def _problem(median: Any, low: Any, high: Any, jobs: dict[str, Job]) -> Problem:
    place = Place(name="here", intensity_g_per_kwh=median, low_g_per_kwh=low, high_g_per_kwh=high)
    return Problem(
        clock=Clock(start_s=0.0, slot_s=HOUR_S, slots=len(median), now_s=0.0), places={"here": place}, jobs=jobs
    )
