"""Which class a node is of. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenwatt_collector.policy.schema import Document, NodeClass


def class_of(document: Document, zone: str, node: str) -> NodeClass | None:
    """Return the first class that a node matches; None: it is as it says of itself."""
    around = set(zones_around(document, zone))
    for kind in document.classes:
        if (kind.zone is None or kind.zone in around) and any(fnmatchcase(node, glob) for glob in kind.nodes):
            return kind
    return None


def zones_around(document: Document, zone: str) -> list[str]:
    """Return a zone and the zones around it, the innermost first; it ends where the policy is wrong."""
    parents = {known.name: known.parent for known in document.zones}
    path = [zone]
    while (parent := parents.get(path[-1])) is not None and parent in parents and parent not in path:
        path.append(parent)
    return path
