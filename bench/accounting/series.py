"""CSV files of intensity, read with the standard library alone: the first column is time, the second g/kWh."""

from __future__ import annotations

import csv
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN_S = 1_609_459_200
"""2021-01-01: where elapsed seconds count from, in files that have nothing else."""


def load(path: Path) -> list[tuple[int, int, float]]:
    """Return (start, end, g/kWh); each value stands for the usual step, rows that hold no number are left out."""
    rows = []
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.reader(lines):
            try:
                rows.append((_seconds(row[0]), float(row[1])))
            except (ValueError, IndexError):
                continue
    rows.sort()
    steps = sorted(b[0] - a[0] for a, b in itertools.pairwise(rows) if b[0] > a[0])
    step = steps[len(steps) // 2] if steps else 3600
    ends = [*(start for start, _ in rows[1:]), rows[-1][0] + step if rows else 0]
    return [
        (start, min(end, start + step), value) for (start, value), end in zip(rows, ends, strict=True) if end > start
    ]


def _seconds(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return int(number) if number > 1e8 else ORIGIN_S + int(number)
