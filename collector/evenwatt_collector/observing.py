"""The fleet as arrays, as control wants it: every node has a slot. Pure: time is given.

Of thousands of nodes only a few hundred have said something since the last step, and only these are written anew. What
goes by itself, ages and the ends of peaks, is an array too.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control import Observations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.control.arrays import Bools, Floats
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.node import Node
    from evenwatt_collector.rules import NodeRule, Rules

_FIRST_SLOTS: Final = 64
_NOTHING: Final = (object(),) * 5


class Observing:
    """All nodes that lie in a steered zone.

    Args:
        epoch: Whose leases are ours.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.seen = Observations(_FIRST_SLOTS)
        """What control reads; complete after each :meth:`look`."""
        self.names: list[tuple[str, str]] = []
        """Zone and node of every slot in use."""
        self.targets: dict[int, tuple[str, ...]] = {}
        """What may be paused on each slot's node."""
        self.operators: dict[tuple[str, str], tuple[float, float]] = {}
        """Nodes that an operator's lease holds: its cap, and until when."""
        self._slots: dict[tuple[str, str], int] = {}
        self._nodes: dict[int, Node] = {}
        """Of slots that are in use and in the fleet."""
        self._written: dict[int, tuple[object, ...]] = {}
        """What each slot was written of: as long as it is the same, only what moves is written."""
        self._moving: dict[int, tuple[float, ...]] = {}
        self._everything = True
        self._heard_s: Floats = np.full(_FIRST_SLOTS, -np.inf)
        self._peak_until_s: Floats = np.full(_FIRST_SLOTS, np.inf)
        self._controllable: Bools = np.zeros(_FIRST_SLOTS, dtype=np.bool_)

    def slot(self, zone: str, node: str) -> int | None:
        """Return a node's slot."""
        return self._slots.get((zone, node))

    def node(self, zone: str, name: str) -> Node | None:
        """Return a node as it was seen last."""
        slot = self._slots.get((zone, name))
        return None if slot is None else self._nodes.get(slot)

    def begin_anew(self) -> None:
        """Write every node at the next look: the rules are others."""
        self._everything = True

    def look(
        self, fleet: Fleet, rules: Rules, zones: Mapping[str, int], now_s: float, ours: Bools, dry: Bools
    ) -> Bools:
        """Bring everything up to date; return which slots are in dry run.

        Args:
            fleet: The nodes.
            rules: What is decided about them.
            zones: Index of each steered zone by its name.
            now_s: Monotonic time.
            ours: Per zone, whether its nodes can be told anything.
            dry: Per zone, whether it is in dry run.
        """
        changed = fleet.take_changed()
        changed.update(dict.fromkeys(rules.moved()))
        if self._everything:
            self._everything = False
            self._nodes.clear()
            self._written.clear()
            self.operators.clear()
            self.seen.present[:] = False
            changed = {(name, node.name): None for name in zones for node in fleet.in_zone(name)}
        for key in changed:
            self._take(key, fleet, rules, zones, now_s)
        self._write_moving()
        self._pass_time(now_s)
        known = np.zeros(len(self.seen), dtype=np.bool_)
        known[list(self._nodes)] = True
        np.logical_and(self._controllable, ours[self.seen.zone], out=self.seen.controllable)
        dry_slots: Bools = known & dry[self.seen.zone]
        return dry_slots

    # --- inside ---------------------------------------------------------------------------------------------------

    def _take(self, key: tuple[str, str], fleet: Fleet, rules: Rules, zones: Mapping[str, int], now_s: float) -> None:
        z, node = zones.get(key[0]), fleet.find(*key)
        if z is None:
            return
        if node is None:
            self._drop(key)
            return
        slot, rule = self._slot_of(key), rules.node(*key)
        known = node, node.birth, node.state, node.summary, rule
        if node.live is not None and all(map(is_, known, self._written.get(slot, _NOTHING))):
            self._moving[slot] = node.moving(now_s, self._epoch)
        else:
            self._written[slot], self._nodes[slot] = known, node
            node.write_into(self.seen, slot, now_s, self._epoch)
            self._heard_s[slot] = node.heard_s if node.live else -np.inf
            self._peak_until_s[slot] = node.peak_until_s
            self._controllable[slot] = node.birth is not None and node.birth.controllable
            self._apply_rule(node, slot, rule)
            self.seen.zone[slot] = z
        held = node.operator_lease(now_s)
        if held is not None:
            self.operators[key] = held[0], now_s + held[1]
        elif key in self.operators:
            del self.operators[key]

    def _drop(self, key: tuple[str, str]) -> None:
        slot = self._slots.get(key)
        if slot is not None:
            self._nodes.pop(slot, None)
            self._written.pop(slot, None)
            self.operators.pop(key, None)
            self.seen.present[slot] = False

    def _write_moving(self) -> None:
        """Write together what moves of nodes of which nothing else has changed, as of nearly all."""
        if self._moving:
            seen, slots = self.seen, np.fromiter(self._moving, dtype=np.int64, count=len(self._moving))
            rows = np.array(list(self._moving.values()))
            columns = (
                seen.power_w, seen.peak_w, seen.window_peak_w, seen.held_w, self._heard_s, self._peak_until_s,
                seen.lease_seq, seen.lease_left_s,
            )  # fmt: skip
            for column, values in zip(columns, rows.T, strict=True):
                column[slots] = values
            self._moving.clear()

    def _pass_time(self, now_s: float) -> None:
        np.maximum(now_s - self._heard_s, 0.0, out=self.seen.age_s)
        for slot in np.flatnonzero(self._peak_until_s < now_s).tolist():
            node = self._nodes.get(slot)
            if node is not None:
                self.seen.peak_w[slot] = node.peak_w(now_s)
            self._peak_until_s[slot] = np.inf if node is None else node.peak_until_s

    def _slot_of(self, key: tuple[str, str]) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self.names)
            self.names.append(key)
            if slot >= len(self.seen):
                self._grow()
        return slot

    def _grow(self) -> None:
        more = len(self.seen)
        self.seen = self.seen.grown(2 * more)
        self._heard_s = np.concatenate((self._heard_s, np.full(more, -np.inf)))
        self._peak_until_s = np.concatenate((self._peak_until_s, np.full(more, np.inf)))
        self._controllable = np.concatenate((self._controllable, np.zeros(more, dtype=np.bool_)))

    def _apply_rule(self, node: Node, slot: int, rule: NodeRule) -> None:
        seen = self.seen
        allowed = tuple(node.birth.pausable) if node.birth else ()
        targets = allowed if "*" in rule.targets else tuple(name for name in rule.targets if name in allowed)
        self.targets[slot] = targets
        seen.pausable[slot] = bool(targets)
        seen.asked[slot] = bool(rule.pause)
        seen.on_lost[slot] = rule.on_lost
        if rule.priority is not None:
            seen.priority[slot] = rule.priority
        if rule.weight is not None:
            seen.weight[slot] = rule.weight
        if rule.ceiling_w is not None:
            seen.ceiling_w[slot] = max(seen.floor_w[slot], min(seen.ceiling_w[slot], rule.ceiling_w))
        if rule.floor_w is not None:
            seen.floor_w[slot] = min(seen.ceiling_w[slot], max(seen.floor_w[slot], rule.floor_w))
