"""Weighed rows added up by group, all at once or piece by piece. Pure; numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.storage.weighing import AT, COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evenwatt_collector.storage.weighing import Table

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NULLABLE: Final = frozenset({"market_g", "embodied_g", "water_l"})
"""Columns in which NaN is nothing configured."""
_OWNER_BITS: Final = 32
"""A node and an owner make one key: numbers of owners are smaller than that."""


def sum_by(which: Ints, columns: Floats, groups: int) -> Floats:
    """Add up rows by group. A NaN among the nullable columns is nothing configured: NaN if it is all there is."""
    sums = np.empty((groups, columns.shape[1]))
    for i, name in enumerate(COLUMNS):
        column = columns[:, i]
        if name not in NULLABLE:
            sums[:, i] = np.bincount(which, column, groups)
            continue
        has = np.isfinite(column)
        # Where one zone has a contract and another none, the other's market-based grams are its location-based ones.
        rest = columns[:, AT["location_g"]] if name == "market_g" else 0.0
        found = np.bincount(which, has, groups) > 0
        sums[:, i] = np.where(found, np.bincount(which, np.where(has, column, rest), groups), np.nan)
    return sums


def keys_of(nodes: Ints, owners: Ints) -> Ints:
    """Return one key for each node and owner."""
    keys: Ints = nodes << _OWNER_BITS | owners
    return keys


def pairs_of(keys: Ints) -> list[tuple[int, int]]:
    """Return nodes and owners of keys."""
    return list(zip((keys >> _OWNER_BITS).tolist(), (keys & (1 << _OWNER_BITS) - 1).tolist(), strict=True))


class Grouped:
    """Sums of rows by node and owner, added up piece by piece."""

    def __init__(self) -> None:
        self.keys = np.empty(0, dtype=np.int64)
        self.columns = np.empty((0, len(COLUMNS)))

    def add(self, table: Table) -> tuple[Ints, Ints]:
        """Add a table; return the keys that are in it, and which of them each row has."""
        keys, which = np.unique(keys_of(table.nodes, table.owners), return_inverse=True)
        sums = sum_by(which.ravel(), table.columns, len(keys))
        self.keys, places = np.unique(np.concatenate((self.keys, keys)), return_inverse=True)
        self.columns = sum_by(places.ravel(), np.concatenate((self.columns, sums)), len(self.keys))
        return keys, which.ravel()
