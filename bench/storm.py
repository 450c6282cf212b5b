"""``./dev bench storm [--agents N] [--stopped S] [--json]``: a collector that is away, a burst, and a fleet at once."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from storming.storm import Size, run_storm

from evenwatt_daemon import Failure


def main() -> int:
    """Run; return the exit code: 0 measured, otherwise what a failure says."""
    parser = argparse.ArgumentParser(prog="./dev bench storm", description=__doc__)
    parser.add_argument("--agents", type=int, default=200, help="nodes, each with the shipping link and spool")
    parser.add_argument("--stopped", type=float, default=600.0, help="seconds that the collector is away, each time")
    parser.add_argument("--variant", choices=("stop", "kill", "both"), default="both")
    parser.add_argument("--ledger-s", type=float, default=60.0, help="seconds between a node's records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    variants = ("stop", "kill") if options.variant == "both" else (options.variant,)
    size = Size(agents=options.agents, stopped_s=options.stopped, ledger_s=options.ledger_s, variants=variants)
    try:
        found = run_storm(size)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return failure.exit_code
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
