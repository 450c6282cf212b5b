"""Sums that grow while a report is added up: by node and owner, and by row. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.storage.rollup import sum_by
from evenwatt_collector.storage.weighing import COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evenwatt_collector.report.groups import Group

    Floats = NDArray[np.float64]


class Grouped:
    """Sums of rows by key, added up piece by piece."""

    def __init__(self) -> None:
        self.keys = np.empty(0, dtype=np.int64)
        self.columns = np.empty((0, len(COLUMNS)))

    def add(self, keys: NDArray[np.int64], columns: Floats) -> None:
        """Add sums of some keys."""
        self.keys, which = np.unique(np.concatenate((self.keys, keys)), return_inverse=True)
        self.columns = sum_by(which.ravel(), np.concatenate((self.columns, columns)), len(self.keys))


@dataclass(slots=True)
class Sums:
    """What has been added up."""

    groups: dict[Group, Floats] = field(default_factory=dict)
    units: dict[Group, dict[str, float]] = field(default_factory=dict)
    missing_s: dict[Group, float] = field(default_factory=dict)
    covered_s: dict[int, float] = field(default_factory=dict)
    """By node."""
    line: dict[int, list[float]] = field(default_factory=dict)
    """By hour or day: joules and grams."""

    def add(self, group: Group, columns: Floats) -> None:
        """Add a row's columns to its group."""
        have = self.groups.get(group)
        if have is not None:
            columns = sum_by(np.zeros(2, dtype=np.int64), np.stack((have, columns)), 1)[0]
        self.groups[group] = columns
