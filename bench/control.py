"""``./dev bench control [--json] [--quick] [--trace PATH] [--plant PATH]``: our control core beside published rules.

Three parts: replays of every scenario under every rule, on the same machines, work, network and dice; a fleet of real
agents on a real broker that is hit by steps and then loses its collector and its broker (``controlling/live.py``); and
the time of one step for 10,000 nodes. docs/benchmarks.md says what this can tell and what it cannot.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from controlling.live import run_live

from evenwatt_cli.replay.engine import Setting
from evenwatt_cli.replay.report import document, page, table, verdict
from evenwatt_cli.replay.run import RULES, World, run_all
from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree
from evenwatt_daemon import Failure

SCENARIOS = ("inference", "training", "mixed-priorities", "demand-response", "sagging-budget")
NODES_10K = 10_000


def main() -> int:
    """Run; return the exit code: 0 measured, otherwise what a failure says."""
    try:
        _run(_parse())
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return failure.exit_code
    return 0


def _run(options: argparse.Namespace) -> None:
    results = run_all(_worlds(options), list(RULES))
    said = verdict(results)
    if not options.json:
        print("\n\n".join(table(name, runs) for name, runs in results.items()))
        print(f"\nbetter than ours on both W*s and work lost: {', '.join(said['beaten_on']) or 'none, anywhere'}")
        for name, sums in said["all_scenarios"].items():
            print(f"{name:>22}: {sums['over_budget_ws']:>14.0f} W*s over, {sums['work_lost_pct']:6.2f} % of work lost")
    if options.html:
        options.html.write_text(page(results, "evenwatt bench control"), encoding="utf-8")
    step_ms = step_10k_ms(5 if options.quick else 40)
    size = {"agents": 8, "steps": 4} if options.quick else {"agents": 50}
    live = None if options.no_live else run_live(**size)
    if options.json:
        report = {"scenarios": document(results), "verdict": said, "live": live, "step_10k_ms": step_ms}
        print(json.dumps(report))
    else:
        print(f"\none step for {NODES_10K} nodes in 261 zones: {step_ms:.1f} ms")
        for name, value in (live or {}).items():
            print(f"{name:>32}: {value}")


def step_10k_ms(steps: int) -> float:
    """Return the median time of a step for 10,000 nodes in 250 racks, 10 feeders and a site, everything in motion."""
    rng = np.random.default_rng(1)
    feeders = [ZoneSpec(f"feeder{f}", "site") for f in range(10)]
    racks = [ZoneSpec(f"rack{r}", f"feeder{r % 10}") for r in range(250)]
    tree = ZoneTree.of([ZoneSpec("site"), *feeders, *racks])
    seen = Observations(NODES_10K)
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.zone[:] = 11 + np.arange(NODES_10K) % 250
    seen.priority[:] = rng.integers(0, 10, NODES_10K)
    seen.floor_w[:], seen.fallback_w[:], seen.age_s[:] = 150.0, 200.0, 0.5
    seen.ceiling_w[:] = rng.uniform(400.0, 1000.0, NODES_10K)
    whole_w = seen.ceiling_w.sum()
    budget_w = np.concatenate(([0.6 * whole_w], np.full(10, 0.063 * whole_w), np.full(250, 0.65 * whole_w / 250)))
    controller, took = Controller(tree), []
    controller.set_limits(budget_w)
    for now in range(steps + 10):
        wants_w = seen.ceiling_w * rng.uniform(0.2, 1.0, NODES_10K)
        caps_w = controller.accounts.in_force_w(float(now)) if now else seen.fallback_w
        seen.power_w[:] = seen.window_peak_w[:] = np.minimum(wants_w, caps_w)
        seen.peak_w[:] = np.maximum(seen.power_w, 0.9 * seen.peak_w)
        began = time.perf_counter()
        grants = controller.step(float(now), seen).grants
        took.append(time.perf_counter() - began)
        controller.acknowledge_many(grants.slot, grants.seq, grants.cap_w, now + 0.2)
    return round(1e3 * statistics.median(took[10:]), 2)


def _worlds(options: argparse.Namespace) -> list[World]:
    seconds, nodes = (60.0, 40) if options.quick else (600.0, 120)
    known: dict[str, Any] = {"nodes": nodes, "seconds": seconds, "setting": Setting(seed=options.seed)}
    worlds = [World(scenario=name, plant=options.plant, **known) for name in SCENARIOS]
    if options.trace is not None:
        worlds.append(World(scenario=options.trace.stem, plant=options.plant, trace=options.trace, **known))
    return worlds


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev bench control", description="Control beside published rules.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="a smoke test of some minutes; its figures are rough")
    parser.add_argument("--trace", type=Path, help="also replay this CSV file: power or load over time, or arrivals")
    parser.add_argument("--plant", type=Path, help="devices as in this CSV file: a sweep of power limits")
    parser.add_argument("--html", type=Path, help="write a page with plots")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-live", action="store_true", help="leave the real agents out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
