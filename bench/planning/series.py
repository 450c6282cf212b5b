"""Series of intensity on steps of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bench.accounting.series import load

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Series:
    """Mean intensity a step, g/kWh; NaN where a step is not all known."""

    start_s: int
    step_s: int
    values: Any


def steady(path: Path, step_s: int) -> Series:
    """Read a file into means over steps; each value stands until the next one, for its usual step at the most."""
    rows = load(path)
    if not rows:
        return Series(0, step_s, np.zeros(0))
    start_s, end_s = rows[0][0] // step_s * step_s, -(-rows[-1][1] // step_s) * step_s
    starts, ends, values = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    edges = np.arange(start_s, end_s + 1, step_s, dtype=np.float64)
    # Cumulated over time, so that a step is one difference, whatever the file's own steps are.
    moments = np.column_stack((starts, ends)).ravel()
    grams = np.cumsum(np.column_stack((np.zeros(len(starts)), values * (ends - starts))).ravel())
    known = np.cumsum(np.column_stack((np.zeros(len(starts)), ends - starts)).ravel())
    total, seconds = (np.diff(np.interp(edges, moments, column)) for column in (grams, known))
    whole = seconds > step_s - 1e-6
    return Series(start_s, step_s, np.where(whole, total / np.maximum(seconds, 1e-9), np.nan))


def usual_step_s(path: Path) -> int:
    """Return a file's own step, s."""
    rows = load(path)
    spans = sorted(end - start for start, end, _ in rows)
    return int(spans[len(spans) // 2]) if spans else 0
