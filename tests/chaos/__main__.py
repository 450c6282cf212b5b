"""``./dev chaos``: break things one row of the failure table after the other, and say what was measured."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.rows import ROWS
from tests.chaos.table import write_table


def main():
    parser = argparse.ArgumentParser(prog="dev chaos", description="Break every row of the failure table for real.")
    parser.add_argument("--full", action="store_true", help="outages of ten minutes instead of seconds")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this one; repeatable")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the figures into this page's table")
    parser.add_argument("--soak", type=float, metavar="HOURS", help="random faults instead, for that long")
    parser.add_argument("--seed", type=int, default=0, help="of the random faults")
    options = parser.parse_args()
    if options.soak:
        from tests.chaos.soak import soak

        return asyncio.run(soak(options.soak, options.seed))
    results = []
    for row in ROWS:
        if options.row and row.name not in options.row:
            continue
        results.append(run_row(row, full=options.full))
        said = results[-1]
        print(
            json.dumps(said) if options.json else f"{said['row']:12} {said['result']:7} {said['measured']}", flush=True
        )
    if options.write:
        write_table(options.write, results)
    return int(any(result["result"] == "failed" for result in results))


def run_row(row, *, full):
    """Run one row in a folder of its own; return its line."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="evenwatt-chaos-") as folder:
        try:
            with row.rig(Path(folder), nodes=row.nodes, pair=row.pair) as rig:
                result, measured = "kept", asyncio.run(row.run(rig, full))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            skipped = type(error).__name__ == "Skipped"
            result, measured = "skipped" if skipped else "failed", f"{type(error).__name__}: {error}"
    outage = "10 min" if full else "some seconds"
    return {"row": row.name, "injected": row.injected.format(outage=outage), "promised": row.promised,
            "result": result, "measured": measured, "took_s": round(time.monotonic() - began_s, 1)}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
