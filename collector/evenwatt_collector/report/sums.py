"""Sums that grow while a report is added up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.storage.grouping import sum_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evenwatt_collector.report.groups import Group

    Floats = NDArray[np.float64]


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
