"""A policy held against the nodes that are known: names that match nothing, floors that do not fit. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import fsum, inf
from typing import TYPE_CHECKING

from evenwatt_collector.policy.check import lowest_w
from evenwatt_collector.policy.classes import Nesting, class_of
from evenwatt_collector.policy.problems import Problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_collector.policy.schema import Document


@dataclass(frozen=True, slots=True)
class KnownNode:
    """What a check has to know of a node."""

    zone: str
    name: str
    floor_w: float
    ceiling_w: float


def misfits(document: Document, nodes: Sequence[KnownNode]) -> list[Problem]:
    """Return what is wrong or odd about a policy for these nodes; it has no contradictions of its own."""
    return [*_strangers(document, nodes), *_floors(document, Nesting(document), nodes), *_homeless(document, nodes)]


def _strangers(document: Document, nodes: Sequence[KnownNode]) -> Iterator[Problem]:
    names = [node.name for node in nodes]
    for c, kind in enumerate(document.classes):
        for g, glob in enumerate(kind.nodes):
            if not any(fnmatchcase(name, glob) for name in names):
                near = difflib.get_close_matches(glob, names, n=1)
                fix = f"did you mean {near[0]!r}?" if near else f"{len(names)} are known, such as {names[0]!r}"
                text = f"{glob!r} matches no node that is known; {fix}"
                yield warning(("classes", c, "nodes", g), text)


def _homeless(document: Document, nodes: Sequence[KnownNode]) -> Iterator[Problem]:
    zones = {zone.name for zone in document.zones}
    for name in sorted({node.zone for node in nodes} - zones):
        count = sum(node.zone == name for node in nodes)
        text = f"zone {name!r} with {count} known nodes does not stand here: nothing limits them"
        yield warning(("zones",), text)


def _floors(document: Document, nesting: Nesting, nodes: Sequence[KnownNode]) -> Iterator[Problem]:
    for z, zone in enumerate(document.zones):
        within = nesting.inside(zone.name)
        names = {known.name for known in within}
        mine = [node for node in nodes if node.zone in names]
        limit_w = lowest_w(zone)
        fixed_w = fsum(known.unmanaged_w for known in within)
        floors_w = fsum(_least_w(document, nesting, node, restore=False) for node in mine)
        lost_w = fsum(_least_w(document, nesting, node, restore=True) for node in mine)
        rest = f" and {fixed_w:g} W unmanaged" if fixed_w else ""
        if limit_w == inf or floors_w + fixed_w <= limit_w >= lost_w + fixed_w:
            continue
        if floors_w + fixed_w > limit_w:
            lowest = f"the zone's lowest limit of {limit_w:g} W"
            text = f"floors of {len(mine)} nodes, {floors_w:g} W{rest}, are above {lowest}"
            passes = zone.budget_w is None or floors_w + fixed_w <= zone.budget_w
            if passes and any(_may_pause(document, nesting, node) for node in mine):
                yield warning(("zones", z), f"{text}: while that holds, work that may be paused is paused")
            else:
                yield Problem(("zones", z), f"{text}; raise the limit, lower floors or move nodes")
        else:
            text = f'nodes with on_lost = "restore" count with their ceilings: {lost_w:g} W{rest}'
            fix = 'use "fallback" for some'
            yield Problem(("zones", z), f"{text}, above the zone's lowest limit of {limit_w:g} W; {fix}")


def _may_pause(document: Document, nesting: Nesting, node: KnownNode) -> bool:
    kind = class_of(document, nesting, node.zone, node.name)
    return kind is not None and kind.pausable


def _least_w(document: Document, nesting: Nesting, node: KnownNode, *, restore: bool) -> float:
    """Return the least that a node can be brought to: its floor, or its ceiling where it restores itself."""
    kind = class_of(document, nesting, node.zone, node.name)
    ceiling_w = node.ceiling_w if kind is None or kind.ceiling_w is None else min(node.ceiling_w, kind.ceiling_w)
    floor_w = node.floor_w if kind is None or kind.floor_w is None else max(node.floor_w, kind.floor_w)
    on_lost = (kind.on_lost if kind else None) or document.on_lost
    return max(floor_w, ceiling_w) if restore and on_lost == "restore" else floor_w
