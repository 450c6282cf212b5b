"""The answer to ``GET /api/v1/explain/NAME?at=``: the numbers of a decision, and the words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.explain.log import KEPT_EACH
from evenwatt_collector.explain.records import ZoneReason
from evenwatt_collector.explain.words import clock, in_short, node_lines, zone_lines

if TYPE_CHECKING:
    from evenwatt_collector.explain.log import Log, Spell
    from evenwatt_collector.explain.narrate import Narrator

Document = dict[str, Any]

_NAMED: Final = 20
_SHORTEST_S: Final = 2.0
_EARLIER: Final = 5
"""So many decisions before are listed."""
_STALE_S: Final = 60.0
"""A decision not seen for longer may not hold any more: the node has left, or nothing was steered."""


class UnknownNameError(LookupError):
    """Nothing was ever decided about this name; the text says about which it was."""


def explain(narrator: Narrator, name: str, wall_s: float, now_s: float) -> Document:
    """Return why a node or zone was treated as it was at a moment.

    Args:
        narrator: The reasons.
        name: ``NODE``, ``ZONE:NODE``, ``ZONE``, or ``ZONE:`` where a node has the same name.
        wall_s: The moment, Unix time.
        now_s: The present, Unix time.

    Raises:
        UnknownNameError: there is no such name.
    """
    nodes = _nodes_called(narrator, name)
    if len(nodes) > 1:
        raise UnknownNameError(f"{len(nodes)} nodes are called {name!r}; ask for {' or '.join(nodes)}")
    if nodes:
        narrator.refresh(*nodes[0].split(":"))
    found = _answer("node", narrator.nodes, nodes[0], wall_s, now_s) if nodes else None
    found = found or _answer("zone", narrator.zones, name.removesuffix(":"), wall_s, now_s)
    if found is None:
        raise UnknownNameError(f"nothing was decided about {name!r}; known are {_known(narrator)}")
    return found


def _nodes_called(narrator: Narrator, name: str) -> list[str]:
    return [full for full in narrator.nodes.names if name in {full, full.rpartition(":")[2]}]


def _known(narrator: Narrator) -> str:
    names = [*sorted(narrator.zones.names), *sorted(full.rpartition(":")[2] for full in narrator.nodes.names)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none yet") + more


def _answer(kind: str, log: Log[Any], name: str, wall_s: float, now_s: float) -> Document | None:
    begins_s = log.begins_s(name)
    if begins_s is None:
        return None
    spell = log.at(name, wall_s)
    document: Document = {"name": name, "kind": kind, "at_s": wall_s, "begins_s": begins_s}
    if spell is None:
        text = f"{name}: nothing is known of {clock(wall_s)}; the record begins at {clock(begins_s)}."
        return document | {"reason": None, "earlier": [], "lines": [text]}
    before = _earlier(log, spell, wall_s)
    lines = _lines(log, spell, min(wall_s, now_s))
    gap_s = min(wall_s, now_s) - spell.until_s
    if gap_s > _STALE_S:
        lines.insert(0, f"Last decided at {clock(spell.until_s)}; nothing was since.")
    if before:
        lines += [
            "Before that:",
            *(f"  {clock(earlier.since_s)}  {in_short(earlier.first)}"[:80] for earlier in before),
        ]
    return document | {
        "since_s": spell.since_s,
        "until_s": spell.until_s,
        "reason": msgspec.to_builtins(spell.at(wall_s)),
        "earlier": [msgspec.to_builtins(earlier.first) for earlier in before],
        "lines": lines,
    }


def _lines(log: Log[Any], spell: Spell[Any], wall_s: float) -> list[str]:
    reason, begun_s = spell.at(wall_s), _begun_s(log, spell, wall_s)
    if isinstance(reason, ZoneReason):
        return zone_lines(reason, begun_s, wall_s)
    paused_s = log.since_s(spell, lambda before: bool(before.paused)) if reason.paused else None
    return node_lines(reason, begun_s, paused_s, wall_s)


def _begun_s(log: Log[Any], spell: Spell[Any], wall_s: float) -> float:
    """Return since when it is as the first line says: a zone in its band, a node at its cap."""
    reason = spell.at(wall_s)
    if isinstance(reason, ZoneReason):
        return log.since_s(spell, lambda before: before.band == reason.band)
    return log.since_s(spell, reason.same_cap)


def _earlier(log: Log[Any], spell: Spell[Any], wall_s: float) -> list[Spell[Any]]:
    """Return what was before, the latest first, without what was over within two seconds."""
    later_s, kept = _begun_s(log, spell, wall_s), []
    for before in log.before(spell.first.name, later_s, KEPT_EACH):
        if before.since_s < later_s and later_s - before.since_s >= _SHORTEST_S:
            kept.append(before)
        later_s = min(later_s, before.since_s)
    return kept[:_EARLIER]
