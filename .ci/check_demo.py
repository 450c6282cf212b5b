"""Hold the demo's report against what the README promises; reads the report on standard input."""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Print each promise with its figure; return 1 if one is not kept."""
    report = json.load(sys.stdin)
    peak = report["peak_over_budget_w"]
    simulated = [node for node in report["nodes"] if node["energy_true_j"] is not None]
    small = [node for node in simulated if node["counters"] == 8]
    promises = {
        "largest energy error, %": (max(abs(node["error_pct"]) for node in simulated), 0.5),
        "peak over budget with control, W": (peak["with_control"], peak["without_control"] / 3),
        "ledger records missing": (report["ledger"]["missing"], 0),
        "live windows lost": (report["messages"]["lost"], 0),
        "agent memory on eight counters, MB": (max(node["rss_mb"] for node in small), 45),
    }
    for name, (value, limit) in promises.items():
        print(f"{'ok  ' if value <= limit else 'FAIL'} {name}: {value:.3f} (at most {limit:.3f})")
    return int(any(value > limit for value, limit in promises.values()))


if __name__ == "__main__":
    sys.exit(main())
