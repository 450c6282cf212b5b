"""Zones inside zones: a rack in a feeder in a site. Pure.

Every zone may have a limit of its own; what a node draws counts in its zone and in every zone around it, so a child
obeys the smaller of its own limit and what its parents leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.arrays import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """A zone's name and the zone around it."""

    name: str
    parent: str | None = None


class ZoneTreeError(ValueError):
    """Zones that do not make a tree: a name twice, an unknown parent, a loop."""


@dataclass(frozen=True, slots=True)
class ZoneTree:
    """A forest of zones; a zone's position in ``names`` is its index everywhere else."""

    names: tuple[str, ...]
    parent: tuple[int, ...]
    """Index of the zone around; -1 at the top."""
    around: Ints
    """``around[d, z]``: the zone at depth ``d`` that holds zone ``z`` (itself included); -1 where ``z`` is higher."""

    @classmethod
    def of(cls, zones: Sequence[ZoneSpec]) -> Self:
        """Build the tree.

        Raises:
            ZoneTreeError: it is none; the text names the zone.
        """
        names = tuple(zone.name for zone in zones)
        index = {name: at for at, name in enumerate(names)}
        if len(index) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ZoneTreeError(f"zone {twice!r} stands twice")
        for zone in zones:
            if zone.parent is not None and zone.parent not in index:
                raise ZoneTreeError(f"zone {zone.name!r}: parent {zone.parent!r} is not a zone")
        parent = tuple(-1 if zone.parent is None else index[zone.parent] for zone in zones)
        paths = [_path(names, parent, at) for at in range(len(names))]
        around = np.full((max(map(len, paths), default=1), len(names)), -1, dtype=np.int64)
        for at, path in enumerate(paths):
            around[: len(path), at] = path
        return cls(names, parent, around)

    def __len__(self) -> int:
        return len(self.names)

    def totals(self, zone: Ints, values: Floats) -> Floats:
        """Return per zone the sum of its own nodes' values and of all zones inside it.

        Args:
            zone: Index of each node's zone.
            values: One per node.
        """
        return self.roll_up(self.own(zone, values))

    def own(self, zone: Ints, values: Floats) -> Floats:
        """Return per zone the sum of its own nodes' values."""
        return np.bincount(zone, weights=values, minlength=len(self.names)).astype(np.float64)

    def roll_up(self, own: Floats) -> Floats:
        """Return per zone its own value and those of all zones inside it."""
        total = np.zeros(len(self.names))
        for row in self.around:
            inside = row >= 0
            total += np.bincount(row[inside], weights=own[inside], minlength=len(self.names))
        return total

    def any_around(self, marked: Bools) -> Bools:
        """Return per zone whether it or a zone around it is marked."""
        found = np.zeros(len(self.names), dtype=np.bool_)
        for row in self.around:
            found |= (row >= 0) & marked[row]
        return found

    def inside(self, zone: int) -> Bools:
        """Return which zones lie inside a zone, at any depth, itself included."""
        found: Bools = (self.around == zone).any(axis=0)
        return found

    def path(self, zone: int) -> list[int]:
        """Return the zones around a zone, the outermost first, itself last."""
        return [int(z) for z in self.around[:, zone] if z >= 0]


def _path(names: tuple[str, ...], parent: tuple[int, ...], at: int) -> list[int]:
    path = [at]
    while parent[path[0]] >= 0:
        if parent[path[0]] in path:
            loop = " in ".join(repr(names[z]) for z in [*reversed(path), path[-1]])
            raise ZoneTreeError(f"zones in a loop: {loop}")
        path.insert(0, parent[path[0]])
    return path
