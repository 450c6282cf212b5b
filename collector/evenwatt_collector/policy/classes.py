"""Which zones lie in which, and of which class a node is. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenwatt_collector.policy.schema import Document, NodeClass, Zone


class Nesting:
    """Zones inside zones. Where the policy is wrong, a loop or an unknown parent, a way out just ends."""

    def __init__(self, document: Document) -> None:
        self._parents = {zone.name: zone.parent for zone in document.zones}
        self._around: dict[str, list[str]] = {}
        self._inside: dict[str, list[Zone]] = {zone.name: [] for zone in document.zones}
        for zone in document.zones:
            for name in self.around(zone.name):
                self._inside[name].append(zone)

    def around(self, zone: str) -> list[str]:
        """Return a zone and the zones around it, the innermost first."""
        path = self._around.get(zone)
        if path is None:
            path = [zone]
            while (parent := self._parents.get(path[-1])) in self._parents and parent not in path:
                path.append(str(parent))
            self._around[zone] = path
        return path

    def inside(self, zone: str) -> list[Zone]:
        """Return a zone of the policy and every zone in it."""
        return self._inside[zone]


def class_of(document: Document, nesting: Nesting, zone: str, node: str) -> NodeClass | None:
    """Return the first class that a node matches; None: it is as it says of itself."""
    around = nesting.around(zone)
    for kind in document.classes:
        if (kind.zone is None or kind.zone in around) and any(fnmatchcase(node, glob) for glob in kind.nodes):
            return kind
    return None
