"""Whether a policy can hold: contradictions are errors, what has no effect is a warning. Pure.

The zones' own business is here, ``check_fleet`` holds a policy against the nodes that are known.
"""

from __future__ import annotations

from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

from evenwatt_collector.policy.classes import Nesting
from evenwatt_collector.policy.problems import Problem, warning
from evenwatt_collector.policy.timetable import in_utc
from evenwatt_collector.timezones import known_timezone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.policy.problems import Path
    from evenwatt_collector.policy.schema import Document, Event, NodeClass, Schedule, Zone


def contradictions(document: Document) -> list[Problem]:
    """Return everything that is wrong or odd, in no order and without lines."""
    nesting = Nesting(document)
    return [*_zones(document, nesting), *_limits(document, nesting), *_classes(document, nesting)]


def over(document: Document, wall_s: float) -> list[Problem]:
    """Return warnings about events that have ended by a moment."""
    return [
        warning(("zones", z, "events", e), f"ended at {in_utc(event.end.timestamp())}; it can be deleted")
        for z, zone in enumerate(document.zones)
        for e, event in enumerate(zone.events)
        if event.end.timestamp() <= wall_s
    ]


def lowest_w(zone: Zone) -> float:
    """Return the lowest limit that a zone ever has; infinite without any."""
    always_w = inf if zone.budget_w is None else zone.budget_w
    return min([always_w, *(w.budget_w for w in zone.schedule), *(e.budget_w for e in zone.events)])


# --- zones ------------------------------------------------------------------------------------------------------------


def _zones(document: Document, nesting: Nesting) -> Iterator[Problem]:
    names = [zone.name for zone in document.zones]
    seen: set[str] = set()
    if not names:
        yield Problem(("zones",), "there is no zone; write [[zones]] with a name and a budget_w")
    for z, zone in enumerate(document.zones):
        if zone.name in seen:
            yield Problem(("zones", z, "name"), f"zone {zone.name!r} stands twice; give each [[zones]] its own name")
        seen.add(zone.name)
        if zone.parent is not None:
            yield from _parent(document, nesting, z, zone)
        yield from _doubled_events(z, zone)
        for s, window in enumerate(zone.schedule):
            yield from _window(("zones", z, "schedule", s), zone, window)
        for e, event in enumerate(zone.events):
            yield from _event(("zones", z, "events", e), zone, event)
        if zone.carbon is not None:
            yield from _timezone(("zones", z, "carbon", "timezone"), zone.carbon.timezone)


def _parent(document: Document, nesting: Nesting, z: int, zone: Zone) -> Iterator[Problem]:
    names = [known.name for known in document.zones]
    at: Path = ("zones", z, "parent")
    if zone.parent not in names:
        others = ", ".join(name for name in names if name != zone.name) or "none"
        yield Problem(at, f"{zone.parent!r} is no zone of this file; the others are {others}")
        return
    path = nesting.around(zone.name)
    last = next(known.parent for known in document.zones if known.name == path[-1])
    if last == zone.name:
        loop = " in ".join((*path, zone.name))
        yield Problem(at, f"zones in a loop: {loop}; leave the parent of the outermost one out")


def _doubled_events(z: int, zone: Zone) -> Iterator[Problem]:
    for (a, one), (b, other) in combinations(enumerate(zone.events), 2):
        at: Path = ("zones", z, "events", b)
        if one.name == other.name:
            text = f"event {one.name!r} stands twice (events[{a}] is the other); give each its own name"
            yield Problem((*at, "name"), text)
        if one.start < other.end and other.start < one.end and one.budget_w != other.budget_w:
            yield Problem(
                (*at, "budget_w"),
                f"{other.budget_w:g} W contradicts {one.budget_w:g} W of event {one.name!r} at the same time; "
                f"let one end where the other begins, or give both the same limit",
            )


def _window(at: Path, zone: Zone, window: Schedule) -> Iterator[Problem]:
    yield from _timezone((*at, "timezone"), window.timezone)
    if not window.days:
        yield Problem((*at, "days"), 'the list is empty; name days such as ["mon", "tue"], or leave it out for all')
    if window.start in {window.end, "24:00"}:
        text = f"the window from {window.start} to {window.end} is empty"
        yield Problem((*at, "to"), f'{text}; a whole day is from = "00:00" to = "24:00"')
    yield from _no_effect((*at, "budget_w"), zone, window.budget_w)


def _event(at: Path, zone: Zone, event: Event) -> Iterator[Problem]:
    if event.end <= event.start:
        found = f"{in_utc(event.end.timestamp())} is not after the start, {in_utc(event.start.timestamp())}"
        yield Problem((*at, "end"), f"{found}; set a later end")
    yield from _no_effect((*at, "budget_w"), zone, event.budget_w)


def _no_effect(at: Path, zone: Zone, budget_w: float) -> Iterator[Problem]:
    if zone.budget_w is not None and budget_w >= zone.budget_w:
        text = f"{budget_w:g} W is not below the zone's budget_w of {zone.budget_w:g} W, and the lowest limit holds"
        yield warning(at, f"{text}: this one changes nothing")


def _timezone(at: Path, name: str) -> Iterator[Problem]:
    if known_timezone(name) is None:
        yield Problem(at, f'{name!r} is no time zone of this machine; write one such as "Europe/Berlin" or "UTC"')


# --- limits against each other ----------------------------------------------------------------------------------------


def _limits(document: Document, nesting: Nesting) -> Iterator[Problem]:
    zones = {zone.name: zone for zone in document.zones}
    if document.zones and all(lowest_w(zone) == inf for zone in document.zones):
        yield warning(("zones",), "no zone has a limit, so nothing is controlled; give one a budget_w")
    for z, zone in enumerate(document.zones):
        around = [zones[name] for name in nesting.around(zone.name)[1:]]
        own_w = inf if zone.budget_w is None else zone.budget_w
        tighter = next((p for p in around if p.budget_w is not None and p.budget_w < own_w < inf), None)
        if tighter is not None:
            yield Problem(
                ("zones", z, "budget_w"),
                f"{own_w:g} W is above the {tighter.budget_w:g} W of zone {tighter.name!r} around it; "
                f"lower this one or raise that one",
            )
        fixed_w = sum(known.unmanaged_w for known in nesting.inside(zone.name))
        if fixed_w > 0 and fixed_w >= lowest_w(zone):
            yield Problem(
                ("zones", z, "unmanaged_w"),
                f"{fixed_w:g} W of unmanaged load, zones inside included, leaves nothing of the zone's lowest limit of "
                f"{lowest_w(zone):g} W; raise that limit",
            )
        if zone.carbon is not None and zone.budget_w is None:
            text = "needs a budget_w in this zone, the most it may ever draw; add one"
            yield Problem(("zones", z, "carbon"), text)


# --- classes ----------------------------------------------------------------------------------------------------------


def _classes(document: Document, nesting: Nesting) -> Iterator[Problem]:
    names = [kind.name for kind in document.classes]
    for c, kind in enumerate(document.classes):
        if kind.name in names[:c]:
            yield Problem(
                ("classes", c, "name"), f"class {kind.name!r} stands twice; give each [[classes]] its own name"
            )
        if kind.zone is not None and kind.zone not in [zone.name for zone in document.zones]:
            yield Problem(("classes", c, "zone"), f"{kind.zone!r} is no zone of this file")
        if kind.floor_w is not None and kind.ceiling_w is not None and kind.floor_w > kind.ceiling_w:
            text = f"{kind.floor_w:g} W is above ceiling_w, {kind.ceiling_w:g} W; a node needs room between the two"
            yield Problem(("classes", c, "floor_w"), text)
        if kind.targets and not kind.pausable:
            yield warning(("classes", c, "targets"), "has no effect, since pausable is false; set pausable = true")
        catcher = next((earlier for earlier in document.classes[:c] if _catches_all(earlier, kind)), None)
        if catcher is not None:
            yield warning(("classes", c, "nodes"), f"never reached: {catcher.name!r} before it takes every node")
        yield from _floor(document, nesting, c, kind)
        yield from _restore(document, c, kind)
    if document.on_lost == "restore":
        yield warning(("on_lost",), _RESTORED)


def _catches_all(earlier: NodeClass, kind: NodeClass) -> bool:
    return "*" in earlier.nodes and earlier.zone in (None, kind.zone)


def _floor(document: Document, nesting: Nesting, c: int, kind: NodeClass) -> Iterator[Problem]:
    """One node's floor must fit into some zone that it can be in."""
    if kind.floor_w is None:
        return
    least_w = {zone.name: lowest_w(zone) for zone in document.zones}
    ways = [nesting.around(zone.name) for zone in document.zones]
    room_w = max((min(least_w[name] for name in way) for way in ways if kind.zone in (None, *way)), default=inf)
    if kind.floor_w > room_w:
        text = f"{kind.floor_w:g} W for one node is above the lowest limit of its zone, {room_w:g} W; lower it"
        yield Problem(("classes", c, "floor_w"), text)


def _restore(document: Document, c: int, kind: NodeClass) -> Iterator[Problem]:
    limited = any(lowest_w(zone) < inf for zone in document.zones)
    if kind.on_lost == "restore" and limited:
        yield warning(("classes", c, "on_lost"), _RESTORED)


_RESTORED = (
    "such nodes draw what they like once nobody leads them, so each counts with its ceiling all the time; "
    'check against the fleet with --nodes, or use "fallback"'
)
