"""The answer to ``GET /api/v1/explain/NAME?at=``: the numbers of a decision, and the words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.explain.records import NodeReason, ZoneReason
from evenwatt_collector.explain.words import clock, node_lines, watts, zone_lines

if TYPE_CHECKING:
    from evenwatt_collector.explain.log import Log, Spell
    from evenwatt_collector.explain.narrate import Narrator

Document = dict[str, Any]

_NAMED: Final = 20
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
    before = [earlier for earlier in log.before(name, wall_s, _EARLIER + 1) if earlier is not spell][:_EARLIER]
    lines = _lines(spell, min(wall_s, now_s))
    gap_s = min(wall_s, now_s) - spell.until_s
    if gap_s > _STALE_S:
        lines.insert(0, f"Last decided at {clock(spell.until_s)}; nothing was since.")
    if before:
        lines += ["Before that:", *(f"  {_short(earlier)}"[:80] for earlier in before)]
    return document | {
        "since_s": spell.since_s,
        "until_s": spell.until_s,
        "reason": msgspec.to_builtins(spell.at(wall_s)),
        "earlier": [msgspec.to_builtins(earlier.first) for earlier in before],
        "lines": lines,
    }


def _lines(spell: Spell[Any], wall_s: float) -> list[str]:
    return node_lines(spell, wall_s) if isinstance(spell.first, NodeReason) else zone_lines(spell, wall_s)


def _short(spell: Spell[Any]) -> str:
    reason = spell.first
    if isinstance(reason, ZoneReason):
        limit = "no limit" if reason.budget_w is None else f"limit {watts(reason.budget_w)}"
        return f"{clock(spell.since_s)}  {reason.band}, {limit}, drew {watts(reason.power_w)}"
    cap = "not steered" if reason.cap_w is None else f"cap {watts(reason.cap_w)}"
    paused = ", paused" if reason.paused else ""
    return f"{clock(spell.since_s)}  {cap} ({reason.cause.value}{paused}), drew {watts(reason.power_w)}"
