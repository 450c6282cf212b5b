"""``./dev bench sense [--json] [--quick]``: what sensing costs and how true it is, next to its peers, in one run.

This machine may have no RAPL: a simulated tree is mounted over ``/sys/class/powercap`` in a private namespace, and the
agent, a C loop and unmodified peers read the same files. Needs root. See docs/benchmarks.md for what this can say.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sensing import costs, namespace, node, peers, shares, table
from sensing.machine import BenchError, say, twin
from sensing.plan import FULL, QUICK, Plan


def main() -> int:
    """Run; return the exit code: 0 measured, 1 something could not be measured, 2 wrong call or no root."""
    parser = argparse.ArgumentParser(prog="dev bench sense", description="Overhead and accuracy of sensing.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="a smoke test of about a minute; its figures are rough")
    options = parser.parse_args()
    folder = os.environ.get(namespace.INSIDE)
    if folder is None:
        return namespace.enter(Path(__file__).resolve(), sys.argv[1:])
    try:
        _measure(Path(folder), QUICK if options.quick else FULL, as_json=options.json)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(folder: Path, plan: Plan, *, as_json: bool) -> None:
    there = peers.fetch()
    loop = peers.compile_loop(folder)
    with ExitStack() as stack:
        # The same steady tree for everybody: nothing but the reader changes between two rows.
        steady = {"preset": "xeon_2s", "profile": {"kind": "steady", "load": 0.8}}
        sysfs = stack.enter_context(twin(folder / "cost", steady))
        namespace.show(sysfs)
        ratios, ours, rows = costs.floor_and_ours(loop, plan)
        rows += costs.of_peers(there, folder, plan)
        agent = node.agent_cost(folder / "cost", plan, costs.SYSFS)
    runs = {"undisturbed": node.undisturbed(folder / "calm", plan)}
    runs["disturbed"] = node.disturbed(folder / "rough", plan)
    share = shares.share_error(folder / "shares", plan)
    result: dict[str, Any] = {
        "cpu_ratio_to_c": {str(rate): round(ratio, 3) for rate, ratio in ratios.items()},
        "agent": agent,
        "per_sample_cost_ratio": costs.ratios_of(rows, ours),
        "energy_error_pct": {name: run.error_pct for name, run in runs.items()},
        "share_error_pct": share["error_pct"],
        "shares": share,
        "peers": there.versions,
        "rows": [asdict(row) for row in rows],
        "ledger": {name: asdict(run) for name, run in runs.items()},
    }
    say("done")
    if as_json:
        print(json.dumps(result))
    else:
        table.show(result, rows, ours, runs)


if __name__ == "__main__":
    sys.exit(main())
