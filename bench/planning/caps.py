"""Learning of power caps on tables of power limits, beside Zeus's sweep. See docs/tuning.md.

    python -m bench.planning.caps [--json] PATH...

The work of a row is what the device does in one hour at its highest limit, for both. ``explored`` is the part of that
work done while exploring: warm-up counts, and so does the first measurement at the highest limit. ``regret`` is the
true energy per step at the limit that is held at the end, over the least of the row. Both are the worst over all rows
and seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.planning.gpu_plant import Plant, Row, rows
from bench.planning.zeus import sweep

from evenwatt_collector.tuning import CapLearner, Context, Objective, Observed, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORK_S = 3600.0
"""Of every row, at its highest limit."""
MARKS_S = (900.0, 1800.0)
"""Shorter work, for which the explored part is told too."""
WINDOW_S = 1.0
"""While something is tried; otherwise five times as long. Windows end with a step."""
SEEDS = (1, 2)


@dataclass(slots=True)
class Run:
    """One row, lived through."""

    row: str
    held_w: float
    regret: float
    explored: float
    """Part of the work."""
    energy_explored: float
    """Part of the energy."""
    time_explored: float
    """Part of the time."""
    lost: float
    """Energy of all the work, over what it would have taken at the best limit from the first step on; relative."""
    slower: float
    """Time of all the work, over that at the highest limit; relative."""
    tried: int
    """Limits measured."""
    by_mark: dict[float, float] = field(default_factory=dict)
    """Part explored, had the work been so long."""


def measure(paths: list[Path], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures of each table, by the stem of its file."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not path.exists():
            say(f"caps {path.stem}: skipped, {path} is not there")
            continue
        table = rows(path)
        if not table:
            say(f"caps {path.stem}: skipped, no workload in it has three limits")
            continue
        found[path.stem] = said = _measure(table)
        say(
            f"caps {path.stem}: {said['rows']} rows, regret {said['regret_pct']:.2f} % (mean "
            f"{said['mean_regret_pct']:.2f}), explored {said['explored_pct']:.2f} % of the work; Zeus's sweep "
            f"{said['zeus_regret_pct']:.2f} % (mean {said['zeus_mean_regret_pct']:.2f}), "
            f"{said['zeus_explored_pct']:.2f} %"
        )
    return found


def _measure(table: Sequence[Row]) -> dict[str, Any]:
    ours = [live(row, seed) for row in table for seed in SEEDS]
    theirs = [live_zeus(row, seed, 1.0) for row in table for seed in SEEDS]
    weighed = [weigh(row, SEEDS[0]) for row in table]
    worst = max(ours, key=lambda run: run.regret)
    return {
        "regret_pct": _worst(ours, "regret"),
        "explored_pct": _worst(ours, "explored"),
        "zeus_regret_pct": _worst(theirs, "regret"),
        "zeus_explored_pct": _worst(theirs, "explored"),
        "rows": len(table),
        "seeds": len(SEEDS),
        "work_s": WORK_S,
        "worst_row": worst.row,
        "mean_regret_pct": _mean(ours, "regret"),
        "mean_explored_pct": _mean(ours, "explored"),
        "zeus_mean_regret_pct": _mean(theirs, "regret"),
        "zeus_mean_explored_pct": _mean(theirs, "explored"),
        "explored_energy_pct": _worst(ours, "energy_explored"),
        "explored_time_pct": _worst(ours, "time_explored"),
        "explored_pct_by_work_s": {
            f"{mark_s:.0f}": 100 * max(run.by_mark[mark_s] for run in ours) for mark_s in MARKS_S
        },
        "energy_lost_pct": _worst(ours, "lost"),
        "mean_energy_lost_pct": _mean(ours, "lost"),
        "zeus_energy_lost_pct": _worst(theirs, "lost"),
        "zeus_mean_energy_lost_pct": _mean(theirs, "lost"),
        "slower_pct": _worst(ours, "slower"),
        "mean_slower_pct": _mean(ours, "slower"),
        "zeus_slower_pct": _worst(theirs, "slower"),
        "zeus_mean_slower_pct": _mean(theirs, "slower"),
        "mean_limits_tried": sum(run.tried for run in ours) / len(ours),
        "mean_limits": sum(len(row.limits_w) for row in table) / len(table),
        "weighted_regret_pct": 100 * max(mine for mine, _ in weighed),
        "zeus_weighted_regret_pct": 100 * max(zeus for _, zeus in weighed),
    }


def live(row: Row, seed: int, objective: Objective | None = None) -> Run:
    """Live through the work of a row with our learner, which is not told how long it is."""
    plant, work = Plant(row, seed), WORK_S / row.step_s[row.limits_w[-1]]
    learner = CapLearner(Settings(caps_w=row.limits_w, objective=objective or Objective()))
    choice = learner.propose(0.0, Context())
    held_w, done = plant.limit_w, 0
    explored, explored_s, explored_j = 0, 0.0, 0.0
    by_mark: dict[float, float] = {}
    while done < work:
        plant.limit_w = choice.cap_w
        window_s = WINDOW_S if choice.exploring else 5 * WINDOW_S
        steps = max(1, ceil(window_s / row.step_s[plant.limit_w]))
        before_j = plant.true_j
        seconds, joules = plant.run(steps)
        done += steps
        if choice.exploring:
            explored, explored_s, explored_j = (
                explored + steps,
                explored_s + seconds,
                explored_j + plant.true_j - before_j,
            )
        else:
            held_w = choice.cap_w
        for mark_s in MARKS_S:
            if mark_s not in by_mark and done >= work * mark_s / WORK_S:
                by_mark[mark_s] = explored / done
        if joules > 0:
            learner.observe(
                Observed(cap_w=plant.limit_w, units=steps, energy_j=joules, seconds=seconds, at_s=plant.now_s)
            )
        choice = learner.propose(plant.now_s, Context())
    run = _run(plant, held_w, done, explored)
    run.energy_explored, run.time_explored = explored_j / plant.true_j, explored_s / plant.now_s
    run.tried, run.by_mark = sum(each["units"] > 0 for each in learner.state()["caps"]), by_mark
    return run


def live_zeus(row: Row, seed: int, eta: float) -> Run:
    """Live through the same work with Zeus's sweep, however long it takes."""
    plant, work = Plant(row, seed), WORK_S / row.step_s[row.limits_w[-1]]
    swept = sweep(plant)
    plant.limit_w = held_w = swept.choose(eta)
    swept_s, swept_j, done = plant.now_s, plant.true_j, float(swept.steps)
    steps = max(1, ceil(60 / row.step_s[held_w]))
    while done < work:
        plant.run(steps)
        done += steps
    run = _run(plant, held_w, done, swept.steps)
    run.explored = swept.steps / work
    run.energy_explored, run.time_explored = swept_j / plant.true_j, swept_s / plant.now_s
    run.tried = len(row.limits_w)
    return run


def weigh(row: Row, seed: int) -> tuple[float, float]:
    """Return the regrets of Zeus's cost at eta 0.5, ours and of the sweep."""
    most_w = row.limits_w[-1]
    cost = {limit: 0.5 * row.energy_j[limit] + 0.5 * most_w * row.step_s[limit] for limit in row.limits_w}
    ours = live(row, seed, Objective(aim="weighted", eta=0.5, max_power_w=most_w))
    zeus_w = sweep(Plant(row, seed)).choose(0.5)
    least = min(cost.values())
    return cost[ours.held_w] / least - 1, cost[zeus_w] / least - 1


def _run(plant: Plant, held_w: float, done: float, explored: float) -> Run:
    row = plant.row
    return Run(
        row=row.name,
        held_w=held_w,
        regret=row.regret(held_w),
        explored=explored / done,
        energy_explored=0.0,
        time_explored=0.0,
        lost=plant.true_j / (done * min(row.energy_j.values())) - 1,
        slower=plant.now_s / (done * row.step_s[row.limits_w[-1]]) - 1,
        tried=0,
    )


def _worst(runs: Sequence[Run], name: str) -> float:
    return 100 * max(getattr(run, name) for run in runs)


def _mean(runs: Sequence[Run], name: str) -> float:
    return 100 * sum(getattr(run, name) for run in runs) / len(runs)


def main() -> int:
    """Measure the tables that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="table: dataset,network,...,average_power")
    parser.add_argument("--json", action="store_true", help="end with the figures as JSON")
    options = parser.parse_args()
    found = measure(options.paths, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=None if options.json else 2))
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
