"""GAIA's policies (Hanafy et al., ASPLOS 2024) rebuilt from umassos/GAIA, src/, beside ours; carbon over no waiting.

Its settings: time in ticks of 5 s; two queues (shorter than 2 h: waits up to 6 h; others up to 24 h); a window of 30
days that begins 7,000 h into the last year of the series; a core is a watt. What each knows:

- ``lowest_slot``: nothing of length; starts at the lowest tick of the waiting time.
- ``lowest_window``, ``carbon_time``: the queue's average length; they start at a whole number of hours from arrival, of
  least carbon over that length, or of most carbon saved per time to completion.
- ``ecovisor``: nothing of length, but may suspend: runs below the 30 % quantile of the next day, until patience ends.
- ``wait_awhile``: the true length, and may suspend: the lowest ticks. With a perfect forecast that is the optimum,
  which nothing can beat, only reach.

Ours, through the planner: ``evenwatt`` knows as much as ``wait_awhile``, ``evenwatt_window`` as much as
``lowest_window`` (no suspending), ``evenwatt_average`` may suspend and knows the average length alone, like
``ecovisor`` plus that average; what runs longer is expected to take as long again (memoryless). ``evenwatt_forecast``
is ``evenwatt`` with rolling forecasts from the past instead of a perfect one; ``evenwatt_average_forecast`` likewise.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from bench.planning.realistic import Outlook
from bench.planning.series import steady

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Clock, Job, Place, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TICK_S = 5
HOUR_TICKS = 3600 // TICK_S
WAITING_H = (6, 24)
SHORT_TICKS = 7200 // TICK_S
START_H = 7000
TRACE_H = 720
YEAR_H = 8760
AHEAD_H = 96


@dataclass(frozen=True)
class Task:
    """In ticks from the start of the trace."""

    arrival: int
    length: int
    cpus: int
    expected: int
    waiting: int


def tasks(path: Path) -> list[Task]:
    with path.open(encoding="utf-8") as lines:
        rows = [(float(r["arrival_time"]) / TICK_S, float(r["length"]) / TICK_S, int(r["cpus"]))
                for r in csv.DictReader(lines)]  # fmt: skip
    lengths = np.array([length for _, length, _ in rows])
    short, long = lengths[lengths <= SHORT_TICKS], lengths[lengths >= SHORT_TICKS]
    averages = (short.mean() if len(short) else 0, long.mean() if len(long) else 0)
    return [
        Task(int(arrival), int(length), cpus, int(averages[int(length) >= SHORT_TICKS]),
             WAITING_H[int(length) >= SHORT_TICKS] * HOUR_TICKS)
        for arrival, length, cpus in rows if length > 0
    ]  # fmt: skip


def measure(series: list[Path], jobs: Path, say: Callable[[str], None], *, rolling: bool = True) -> dict[str, Any]:
    """Return normalised carbon by series and policy; those come first that hold a year, as the study's does."""
    found: dict[str, Any] = {}
    read = [(path, steady(path, 3600)) for path in series]
    for path, hourly in sorted(read, key=lambda one: len(one[1].values) < YEAR_H):
        name = path.stem.split("_")[0]
        name = path.stem if name in found else name
        start = max(0, len(hourly.values) - YEAR_H) + START_H if len(hourly.values) >= YEAR_H else 0
        start = min(start, max(0, len(hourly.values) - TRACE_H))
        trace = hourly.values[start : start + TRACE_H]
        every = tasks(jobs)
        last = max(task.arrival + max(task.length, task.expected) + task.waiting for task in every) + 1
        if len(trace) * HOUR_TICKS < last or np.isnan(trace).any():
            say(f"gaia {path.stem}: skipped, {len(trace)} hours; {last / HOUR_TICKS:.0f} without a hole are needed")
            continue
        found[name] = row = _policies(trace, every)
        row |= _ours(trace, every)
        if rolling and start >= 60 * 24:
            outlook = Outlook(hourly, AHEAD_H)
            row["evenwatt_forecast"] = _rolling(trace, every, lambda h, o=outlook, s=start: o.at(s + h), known=True)
            row["evenwatt_average_forecast"] = _rolling(
                trace, every, lambda h, o=outlook, s=start: o.at(s + h), known=False
            )
        found[name] = {key: round(float(value), 5) for key, value in row.items()}
        say(f"gaia {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in found[name].items()))
    return found


def _policies(trace: Any, every: list[Task]) -> dict[str, float]:
    """Return each policy's carbon over that of no waiting."""
    ticks = np.repeat(trace, HOUR_TICKS)
    together = np.concatenate(([0.0], np.cumsum(ticks)))

    def run(task: Task, start: int) -> float:
        return float(together[task.arrival + start + task.length] - together[task.arrival + start]) * task.cpus

    grams = dict.fromkeys(("lowest_slot", "carbon_time", "lowest_window", "ecovisor", "wait_awhile"), 0.0)
    base = 0.0
    for task in every:
        at = task.arrival
        base += run(task, 0)
        grams["lowest_slot"] += run(task, int(ticks[at : at + task.waiting + 1].argmin()))
        starts = np.arange(0, task.waiting + 1, HOUR_TICKS)
        ends = np.minimum(at + starts + task.expected, len(together) - 1)
        expected = together[ends] - together[at + starts]
        grams["lowest_window"] += run(task, int(starts[expected.argmin()]))
        grams["carbon_time"] += run(task, int(starts[((expected[0] - expected) / (starts + task.expected)).argmax()]))
        window = ticks[at : at + task.length + task.waiting]
        grams["wait_awhile"] += float(np.sort(window)[: task.length].sum()) * task.cpus
        limit = np.quantile(ticks[at : at + 24 * HOUR_TICKS], 0.3)
        grams["ecovisor"] += _threshold(window, task, limit) * task.cpus
    return {name: value / base for name, value in grams.items()}


def _threshold(window: Any, task: Task, limit: float) -> float:
    """Run below a limit; once patience has ended, whatever comes."""
    clean = window < limit
    patience_ends = np.cumsum(~clean) > task.waiting
    chosen = np.flatnonzero(clean | patience_ends)[: task.length]
    return float(window[chosen].sum())


def _ours(trace: Any, every: list[Task]) -> dict[str, float]:
    """Plan with a perfect forecast: all at once with the length known, and with the average alone."""
    base = sum(_weigh(trace, task, [(task.arrival, task.arrival + task.length)]) for task in every)
    known = _planned(trace, every, split=True, expected=False)
    window = _planned(trace, every, split=False, expected=True)
    found = {"evenwatt": known / base, "evenwatt_window": window / base}
    found["evenwatt_average"] = _rolling(trace, every, lambda h: trace[h:], known=False)
    return found


def _planned(trace: Any, every: list[Task], *, split: bool, expected: bool) -> float:
    grams = 0.0
    for i in range(0, len(every), 100):
        batch = every[i : i + 100]
        jobs = {str(j): _job(str(j), task, task.expected if expected else task.length, split=split)
                for j, task in enumerate(batch)}  # fmt: skip
        plan = Planner().plan(_problem(trace, jobs, 0))
        for j, task in enumerate(batch):
            segments = plan.jobs[str(j)].segments
            spans = [(s.start_s / TICK_S, s.end_s / TICK_S) for s in segments]
            if expected:  # how long it really takes shows when it runs
                spans = [(spans[0][0], spans[0][0] + task.length)]
            grams += _weigh(trace, task, spans)
    return grams


def _job(name: str, task: Task, length: float, *, split: bool) -> Job:
    return Job(id=name, length_s=length * TICK_S, at={"here": At(power_w=float(task.cpus))}, interruptible=split,
               earliest_s=task.arrival * TICK_S,
               deadline_s=(task.arrival + length + task.waiting) * TICK_S)  # fmt: skip


def _problem(ahead: Any, jobs: dict[str, Job], hour: int) -> Problem:
    place = Place(name="here", intensity_g_per_kwh=ahead, low_g_per_kwh=ahead, high_g_per_kwh=ahead)
    clock = Clock(start_s=hour * 3600.0, slot_s=3600.0, slots=len(ahead), now_s=hour * 3600.0)
    return Problem(clock=clock, places={"here": place}, jobs=jobs)


@dataclass
class _Lived:
    """A task as it lives: what is left, how long it may still wait, and what it has run."""

    task: Task
    left: float
    patience: float
    spans: list[tuple[float, float]]


def _rolling(trace: Any, every: list[Task], outlook: Callable[[int], Any], *, known: bool) -> float:
    """Plan every hour anew by what is known then, and on arrivals for the rest of their hour."""
    waiting = sorted(every, key=lambda task: task.arrival)
    active: list[_Lived] = []
    done: list[_Lived] = []
    at = 0
    planner = Planner()
    for hour in range(len(trace)):
        begins, ends = hour * HOUR_TICKS, (hour + 1) * HOUR_TICKS
        while at < len(waiting) and waiting[at].arrival < ends:
            task = waiting[at]
            active.append(_Lived(task, task.length, task.waiting, []))
            at += 1
        if not active:
            if at >= len(waiting):
                break
            continue
        jobs = {str(id(one)): _left(one, begins, known=known) for one in active}
        plan = planner.plan(_problem(outlook(hour), jobs, hour))
        for one in active:
            _live(one, plan.jobs[str(id(one))].segments, begins, ends, known=known)
        done += [one for one in active if one.left <= 0]
        active = [one for one in active if one.left > 0]
    base = sum(_weigh(trace, task, [(task.arrival, task.arrival + task.length)]) for task in every)
    assert not active, "the trace ends before the work does"
    assert at == len(waiting), "the trace ends before the work comes"
    assert all(one.patience >= -1e-3 for one in done), "a task waited longer than it may"
    return sum(_weigh(trace, one.task, one.spans) for one in done) / base


def _left(one: _Lived, begins: float, *, known: bool) -> Job:
    """Return what is left of a task; where its length is unknown, the queue's average is expected to be left."""
    from_tick = max(begins, one.task.arrival)
    length = one.left if known else float(one.task.expected)
    job = _job("x", replace(one.task, waiting=0), length, split=True)
    return replace(job, id=str(id(one)), earliest_s=from_tick * TICK_S,
                   deadline_s=(from_tick + length + max(0.0, one.patience)) * TICK_S)  # fmt: skip


def _live(one: _Lived, segments: Any, begins: float, ends: float, *, known: bool) -> None:
    """Run what is planned until the hour ends; what is not used of the time has been waited."""
    from_tick = max(begins, one.task.arrival)
    ran = 0.0
    finished = ends
    for i, segment in enumerate(segments):
        planned_end = segment.end_s / TICK_S if known or i < len(segments) - 1 else ends  # it goes on if it is not done
        low, high = max(from_tick, segment.start_s / TICK_S), min(ends, planned_end)
        if high > low and one.left > 0:
            took = min(high - low, one.left)
            one.spans.append((low, low + took))
            one.left -= took
            ran += took
            finished = low + took
    if one.left <= 1e-6:
        one.left = 0.0
        one.patience -= finished - from_tick - ran
    else:
        one.patience -= ends - from_tick - ran


def _weigh(trace: Any, task: Task, spans: list[tuple[float, float]]) -> float:
    together = np.concatenate(([0.0], np.cumsum(trace))) * HOUR_TICKS
    at = np.interp(np.array(spans).ravel() / HOUR_TICKS, np.arange(len(together)), together)
    return float((at[1::2] - at[::2]).sum()) * task.cpus
