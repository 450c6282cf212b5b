"""`./dev bench plan`: what planning saves beside published studies and exact solvers, how fast it is, and cap learning.

Ends with one line of JSON where ``--json`` is given. All that is timed runs in this process, on one core.
In ``shifting``, ``saved_pct`` of scenarios of Let's Wait Awhile is with its error of 5 %, like ``published_pct``;
``saved_perfect_pct`` is without; ``optimum_pct`` is always the optimum of a perfect forecast. Scenarios that end in
``forecast`` or ``own`` are lived through with forecasts. ``gaia`` is of the first series that fits; those of all stand
in ``gaia_by_series``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.planning import gaia, realistic, speed, wait_awhile
from bench.planning.series import usual_step_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARED = Path(os.environ.get("EVENWATT_SERIES", "../shared/data/carbon"))
PARTS = ("waiting", "shifting", "gaia", "speed", "caps")


def main() -> int:
    options = asked()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began_s:5.0f} s] {text}", file=sys.stderr, flush=True)

    series, jobs, plants = (files(paths, say) for paths in (options.series, options.jobs, options.plant))
    found: dict = {"shifting": {}, "gaia": {}}
    if "speed" in options.only:
        found |= speed.measure(say)
    if "waiting" in options.only:
        for path in (path for path in series if usual_step_s(path) == wait_awhile.STEP_S):
            found["shifting"] |= wait_awhile.measure(path, say)
    if "gaia" in options.only:
        found |= policies(series, jobs, say)
    if "shifting" in options.only:
        for told in lived_through(series, say):
            found["shifting"] |= told
    if "caps" in options.only:
        found["cap_learning"] = caps(plants, say)
    show(found)
    if options.json:
        print(json.dumps(found))
    return 0


def lived_through(series: list[Path], say: Callable[[str], None]) -> Iterator[dict]:
    """Measure series in processes of their own, as many at once as there are cores; nothing in them is timed."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for path, told in zip(series, pool.map(shifted, series), strict=True):
            found, words = told
            for line in words:
                say(line)
            say(f"shifting {path.stem}: done")
            yield found


def shifted(path: Path) -> tuple[dict, list[str]]:
    words: list[str] = []
    return realistic.measure(path, words.append), words


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench plan", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON in the end")
    parser.add_argument("--series", nargs="+", type=Path, default=[SHARED], metavar="PATH",
                        help="CSV files of intensity, or folders of them (default: $EVENWATT_SERIES)")  # fmt: skip
    parser.add_argument("--jobs", nargs="+", type=Path, default=[SHARED.parent / "jobs"], metavar="PATH",
                        help="CSV files of jobs: arrival_time, length, cpus; or folders of them")  # fmt: skip
    parser.add_argument("--plant", nargs="+", type=Path, default=[SHARED.parent / "gpu"], metavar="PATH",
                        help="CSV files of measured limits, or folders of them")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def policies(series: list[Path], jobs: list[Path], say: Callable[[str], None]) -> dict:
    by_series = {}
    for path in jobs:
        for name, row in gaia.measure(series, path, say).items():
            by_series[name if len(jobs) == 1 else f"{name} {path.stem}"] = row
    first = next(iter(by_series), None)
    return {"gaia": by_series.get(first, {}), "gaia_series": first, "gaia_by_series": by_series}


def files(paths: list[Path], say: Callable[[str], None]) -> list[Path]:
    """Return files, those of folders in order of name; says which are missing."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob("*.csv"))
        elif path.exists():
            found.append(path)
        else:
            say(f"no {path}: skipped")
    return found


def caps(plants: list[Path], say: Callable[[str], None]) -> dict:
    try:
        from bench.planning import caps as learning
    except ImportError as error:
        say(f"cap learning: skipped, {error}")
        return {}
    return learning.measure(plants, say)


def show(found: dict) -> None:
    for name, row in found["shifting"].items():
        figures = ", ".join(f"{key} {value}" for key, value in row.items() if value is not None)
        print(f"shifting {name}: {figures}")
    for name, row in found.get("gaia_by_series", {}).items():
        for policy, carbon in sorted(row.items(), key=lambda one: -one[1]):
            print(f"gaia {name}: {carbon:.4f} {policy}")
    for name, row in found.get("cap_learning", {}).items():
        print(f"cap learning {name}: {row}")
    for key in ("plan_10k_s", "plan_10k_cpu_s", "replan_s", "replan_each_s"):
        if key in found:
            print(f"{key}: {found[key]}")


if __name__ == "__main__":
    sys.exit(main())
