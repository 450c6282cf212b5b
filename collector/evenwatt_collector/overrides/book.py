"""The overrides that hold. Pure: wall time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from evenwatt_collector.overrides.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.overrides.model import Override

_KEYS_KEPT: Final = 1_000


class Book:
    """At most one override for each zone or node and kind."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], Override] = {}
        self._sent: deque[Override] = deque(maxlen=_KEYS_KEPT)

    @property
    def all(self) -> list[Override]:
        """All of them, by zone, node and kind."""
        return [one for _, one in sorted(self._held.items())]

    @property
    def limits(self) -> tuple[Override, ...]:
        """Those of zones."""
        return tuple(one for one in self.all if one.kind is Kind.LIMIT)

    def of(self, kind: Kind, zone: str, node: str | None = None) -> Override | None:
        """Return what holds for a zone or node."""
        return self._held.get((zone, node or "", kind.value))

    def by_node(self) -> dict[tuple[str, str], list[str]]:
        """Return the ids of those of nodes, by zone and node."""
        found: dict[tuple[str, str], list[str]] = {}
        for zone, node, kind in sorted(self._held):
            if node:
                found.setdefault((zone, node), []).append(self._held[zone, node, kind].id)
        return found

    def in_zone(self, zone: str) -> list[Override]:
        """Return those of a zone and its nodes."""
        return [one for one in self.all if one.zone == zone]

    def find(self, identity: str) -> Override | None:
        """Return one by its id."""
        return next((one for one in self._held.values() if one.id == identity), None)

    def sent_before(self, by: str, key: str) -> Override | None:
        """Return what the same request has set, even if it has ended since."""
        return next((one for one in self._sent if key and (one.by, one.key) == (by, key)), None)

    def load(self, overrides: Iterable[Override], wall_s: float) -> None:
        """Take up what was set before."""
        for one in overrides:
            if one.holds(wall_s):
                self.put(one)

    def put(self, override: Override) -> Override | None:
        """Set one; return the one whose place it takes."""
        before = self._held.get(override.place)
        self._held[override.place] = override
        self._sent.append(override)
        return before

    def end(self, identity: str) -> Override | None:
        """End one and return it; None if there is none of this id."""
        found = self.find(identity)
        return self._held.pop(found.place) if found else None

    def due(self, wall_s: float) -> list[Override]:
        """Drop and return those whose time is over."""
        over = [one for one in self._held.values() if not one.holds(wall_s)]
        for one in over:
            del self._held[one.place]
        return over
