"""`./dev bench carbon`: grams against an independent calculation, ingest, a year's report, forecasts.

Ends with one line of JSON where ``--json`` is given. Everything runs in this process, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.accounting import correctness, forecast, ingest, year

SHARED = Path(os.environ.get("EVENWATT_SERIES", "../shared/data/carbon"))
SERIES = ("ciso", "de", "pl")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench carbon", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON in the end")
    parser.add_argument("--series", nargs="+", type=Path, default=None, metavar="PATH",
                        help="CSV files of intensity: time, g/kWh (default: those in $EVENWATT_SERIES)")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=("reference", "ingest", "year", "forecast"), default=None)
    parser.add_argument("--nodes", type=int, default=1_000)
    options = parser.parse_args()
    paths = options.series if options.series is not None else given()
    wanted = options.only or ["reference", "ingest", "year", "forecast"]
    began_s, found = time.monotonic(), {}

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began_s:5.0f} s] {text}", file=sys.stderr, flush=True)

    with TemporaryDirectory(prefix="evenwatt-carbon-") as folder:
        if "reference" in wanted:
            found |= correctness.measure(Path(folder), paths, say)
        if "ingest" in wanted:
            found |= ingest.measure(Path(folder), options.nodes, say)
        if "year" in wanted:
            found |= year.measure(Path(folder), options.nodes, say)
    if "forecast" in wanted:
        found["forecast"] = forecast.measure(paths, say) if paths else {}
    show(found)
    if options.json:
        print(json.dumps(found))
    return 0


def given() -> list[Path]:
    found = [SHARED / f"{name}_2020_2021_lifecycle_hourly.csv" for name in SERIES]
    missing = [path for path in found if not path.exists()]
    if missing:
        print(f"no {missing[0]}: forecasts are skipped; name files with --series", file=sys.stderr)
    return [path for path in found if path.exists()]


def show(found: dict) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            for series, figures in value.items():
                print(f"{name} {series}: " + ", ".join(
                    f"{key} {figure:.2f}" for key, figure in figures.items() if isinstance(figure, float)
                ))  # fmt: skip
                for horizon, skill in figures.get("skill", {}).items():
                    print(f"    {horizon}: {skill}")
        else:
            print(f"{name}: {value:.3e}" if isinstance(value, float) and value < 1e-3 else f"{name}: {value}")


if __name__ == "__main__":
    sys.exit(main())
