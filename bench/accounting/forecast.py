"""Forecasts of given series, walked through as they would have been lived, beside persistence and the week before.

The last six months of each series are the test (July to December 2021 of the given ones). A forecast of 96 h is made
each day at 00:00 UTC from what had ended by then; the model is refitted once a week on all that came before. Errors are
MAPE over all values of hours 1 to 24, and of hours 1 to 96, of the origins that have 96 h of truth after them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bench.accounting.series import load

from evenwatt_collector.carbon.forecast import Forecaster, History, mape, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.carbon.forecast import Walk

HOUR_S = 3600
DAY_S = 86_400
HORIZON = 96
TEST_MONTHS = 6
BLOCKS = ((0, 6), (6, 24), (24, 48), (48, 72), (72, 96))


class _Timed(Forecaster):
    """Counts what fitting takes, in CPU seconds: others may be busy on the machine."""

    def __init__(self) -> None:
        super().__init__(HOUR_S, HORIZON * HOUR_S)
        self.took_s: list[float] = []

    def fit(self, history: History, now_s: int) -> None:
        began = time.process_time()
        super().fit(history, now_s)
        self.took_s.append(time.process_time() - began)


def measure(paths: list[Path], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures of each series, by the name of its file without ``_2020_2021_lifecycle_hourly`` and such."""
    found = {}
    for path in paths:
        name = path.stem.split("_")[0]
        name = path.stem if name in found else name
        if not path.exists():
            say(f"forecast {name}: skipped, {path} is not there")
            continue
        history = hourly(path)
        if len(history.values) < 4 * HORIZON:
            say(f"forecast {name}: skipped, {len(history.values)} hours are too few to test on")
            continue
        found[name] = _measure(name, history, say)
    return found


def hourly(path: Path) -> History:
    """Read a series into hourly means, by the time each value stands for; an hour that is not all known is NaN."""
    rows = load(path)
    start_s, end_s = rows[0][0] // HOUR_S * HOUR_S, -(-rows[-1][1] // HOUR_S) * HOUR_S
    total, known_s = np.zeros((end_s - start_s) // HOUR_S), np.zeros((end_s - start_s) // HOUR_S)
    for start, end, value in rows:
        at = start
        while at < end:
            hour = (at - start_s) // HOUR_S
            until = min(end, start_s + (hour + 1) * HOUR_S)
            total[hour] += value * (until - at)
            known_s[hour] += until - at
            at = until
    whole = known_s == HOUR_S
    return History(start_s=start_s, step_s=HOUR_S, values=np.where(whole, total / np.maximum(known_s, 1), np.nan))


def trial_from_s(history: History) -> int:
    """Return where the last six months begin, or the second half of what is shorter than a year."""
    end_s = history.start_s + len(history.values) * HOUR_S
    end = datetime.fromtimestamp(end_s, UTC)
    months = end.year * 12 + end.month - 1 - TEST_MONTHS
    start_s = int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp())
    half_s = history.start_s + len(history.values) * HOUR_S // 2
    return max(start_s, -(-half_s // DAY_S) * DAY_S)


def _measure(name: str, history: History, say: Callable[[str], None]) -> dict[str, Any]:
    forecaster, first_s = _Timed(), trial_from_s(history)
    say(f"forecast {name}: from {datetime.fromtimestamp(first_s, UTC):%Y-%m-%d} on, {len(history.values)} hours in all")

    def progress(done: int, everything: int) -> None:
        if done % 60 == 0:
            say(f"forecast {name}: {done} of {everything} origins")

    lived = walk(history, forecaster, first_s, HORIZON, progress)
    figures = _figures(lived)
    figures["fit_s"] = round(float(np.mean(forecaster.took_s)), 3)
    figures["fit_longest_s"] = round(max(forecaster.took_s), 3)
    say(
        f"forecast {name}: MAPE day 1 {figures['mape_day1']:.2f} % (persistence {figures['persistence_day1']:.2f}), "
        f"96 h {figures['mape_96h']:.2f} % (persistence {figures['persistence_96h']:.2f}), "
        f"90 % intervals hold {figures['coverage_90']:.1f} %"
    )
    for block, skill in figures["skill"].items():
        say(f"forecast {name}: {block:>7}: " + ", ".join(f"{key} {value}" for key, value in skill.items()))
    return figures


def _figures(lived: Walk) -> dict[str, Any]:
    figures: dict[str, Any] = {"origins": len(lived.origins_s)}
    for key, said in (("mape", lived.median), ("persistence", lived.persistence), ("seasonal", lived.seasonal)):
        figures[f"{key}_day1"] = round(mape(lived.actual[:, :24], said[:, :24]), 3)
        figures[f"{key}_96h"] = round(mape(lived.actual, said), 3)
    figures["coverage_90"] = _coverage(lived, 0, HORIZON)
    figures["width_90"] = round(float(np.nanmean(lived.high - lived.low) / np.nanmean(lived.actual)), 3)
    figures["skill"] = {}
    for start, end in BLOCKS:
        own, persisted, week = (
            mape(lived.actual[:, start:end], said[:, start:end])
            for said in (lived.median, lived.persistence, lived.seasonal)
        )
        figures["skill"][f"{start}-{end} h"] = {
            "mape": round(own, 2),
            "over_persistence": round(1 - own / persisted, 3),
            "over_seasonal": round(1 - own / week, 3),
            "coverage_90": _coverage(lived, start, end),
        }
    return figures


def _coverage(lived: Walk, start: int, end: int) -> float:
    """Return the share of values inside the interval, %, of those that are known."""
    came = lived.actual[:, start:end]
    inside = (came >= lived.low[:, start:end]) & (came <= lived.high[:, start:end])
    return round(float(100 * inside[~np.isnan(came)].mean()), 2)


def main() -> int:
    """Measure the series that are named; print one JSON object at the end."""
    parser = argparse.ArgumentParser(description="Forecasts of hourly series beside persistence.")
    parser.add_argument("paths", nargs="+", type=Path)
    print(json.dumps(measure(parser.parse_args().paths, lambda text: print(text, file=sys.stderr))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
