"""The controller's surroundings: nodes get slots, rules become arrays, decisions become orders. Pure: time is given.

One controller steers all zones, for they may lie inside each other. Nodes of a zone that another collector steers, or
whose link is down, are counted and get nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control import Controller, Decision, Limits, ZoneTree
from evenwatt_collector.control.controller import APPLIED
from evenwatt_collector.control.dry import would_share_w
from evenwatt_collector.explain import Narrator, Scene
from evenwatt_collector.fleet import named
from evenwatt_collector.issuer import Order
from evenwatt_collector.observing import Observing
from evenwatt_collector.rules import NodeRule, ZoneLimit
from evenwatt_wire.command import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evenwatt_collector.control.arrays import Bools, Floats
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.overrides.model import Override
    from evenwatt_collector.rules import Rules
    from evenwatt_wire import Ack

STEP_S: Final = 1.0
_TOLERANCE_S: Final = 0.05
"""A step may come that much early, rather than half a second late."""
_NAMED: Final = 3
"""So many nodes are named in an alarm; the others are counted."""
_NO_LIMIT: Final = ZoneLimit()


@dataclass(frozen=True, slots=True)
class Sending:
    """An order and the zone whose link carries it."""

    zone: str
    order: Order


@dataclass(frozen=True, slots=True)
class ZoneRenewal:
    """Leases of a zone's nodes that go on."""

    zone: str
    seq: int
    ttl_s: float
    left_out: tuple[str, ...]
    """Nodes whose leases do not, whatever they hold."""


@dataclass(frozen=True, slots=True)
class ZoneView:
    """A zone as control sees it."""

    band: str
    budget_w: float | None
    """Hard budget; None without one of its own."""
    budget_why: str
    target_w: float
    power_w: float
    most_w: float
    """Leases, fallbacks and unmanaged power."""
    unmanaged_w: float
    """Fixed load of its own."""
    dry_run: bool
    alarms: tuple[str, ...]


class Steering:
    """All zones that have a limit, and their nodes.

    Args:
        rules: Where limits come from.
        quiet_s: How long the controller only watches, see ``Controller``.
        epoch: Of what is granted here.
    """

    def __init__(self, rules: Rules, quiet_s: float, epoch: int) -> None:
        self._rules = rules
        self._limits = Limits()
        self._controller = Controller(ZoneTree.of(rules.zones), self._limits, quiet_s=quiet_s, seed=epoch)
        self._index = {name: z for z, name in enumerate(self._controller.tree.names)}
        self._observing = Observing(epoch)
        self._now: dict[str, ZoneLimit] = {}
        self._sent_pauses: dict[int, tuple[str, ...]] = {}
        """What was paused last on each slot."""
        self._due_s = -inf
        self._dry_w: Floats = np.zeros(0)
        self._answers: list[tuple[int, Ack, float]] = []
        """Slot, answer and when it came: the controller gets them together."""
        self.narrator = Narrator()
        """Why nodes and zones are treated as they are."""
        self.decision: Decision | None = None
        """The latest; None before the first."""
        self.renewals: list[ZoneRenewal] = []
        """What the latest step lets go on."""

    # --- steps ----------------------------------------------------------------------------------------------------

    def use(self, rules: Rules) -> None:
        """Take other rules; what nodes may draw already stays counted.

        Raises:
            ZoneTreeError: their zones make no tree; the rules before stay.
        """
        tree = ZoneTree.of(rules.zones)
        self._rules = rules
        if tree.names != self._controller.tree.names or tree.parent != self._controller.tree.parent:
            self._controller.replant(tree)
            self._index = {name: z for z, name in enumerate(tree.names)}
            for slot, (zone, _) in enumerate(self._observing.names):
                self._observing.seen.zone[slot] = self._index.get(zone, 0)
            gone = [slot for slot, (zone, _) in enumerate(self._observing.names) if zone not in self._index]
            self._controller.accounts.close(np.array(gone, dtype=np.int64))
        self._observing.begin_anew()
        self._due_s = -inf

    def step(
        self, now_s: float, wall_s: float, fleet: Fleet, reachable: Callable[[str], bool], *, hurry: bool
    ) -> list[Sending]:
        """Decide if a second has passed or something has happened, and return what to send, in this order.

        Besides these, ``renewals``, and at once: they count from the time of this step.

        Args:
            now_s: Monotonic time.
            wall_s: Unix time, for limits with a timetable.
            fleet: The nodes.
            reachable: Whether orders of a zone can be sent, and are this collector's to send.
            hurry: Something has happened.
        """
        self.renewals = []
        if now_s < self._due_s and not hurry:
            return []
        self._due_s = now_s + STEP_S - _TOLERANCE_S
        budget_w, unmanaged_w = self._take_limits(wall_s)
        if not np.isfinite(budget_w).any():
            self.decision = None
            return []
        self._take_answers()
        dry = self._observe(fleet, now_s, reachable)
        self._controller.set_limits(budget_w, unmanaged_w)
        self._dry_w = would_share_w(
            self._controller.tree, self._limits, self._observing.seen, dry, budget_w, self._controller.fixed_w
        )
        self._observing.seen.controllable &= ~dry
        self.decision = self._controller.step(now_s, self._observing.seen)
        if self.quiet_until_s > now_s:  # nodes wait for their first grants
            self._due_s = min(self._due_s, self.quiet_until_s)
        self.narrator.look(self._scene(self.decision, now_s, wall_s))
        self.renewals = self._zone_renewals(self.decision)
        return list(self._sendings(self.decision))

    @property
    def quiet_until_s(self) -> float:
        """Until when nothing is granted, by the clock of ``step``; in the past otherwise."""
        return self._controller.quiet_until_s

    def acknowledge(self, zone: str, ack: Ack, now_s: float) -> bool:
        """Note a node's answer to an order; True if a raise may wait for it."""
        slot = self._observing.slot(zone, ack.node)
        if slot is None:
            return False
        self._answers.append((slot, ack, now_s))
        return self.decision is not None and self.decision.waiting_w > 0

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Take what a person has set; rules of nodes are asked anew at the next step, which comes at once."""
        self._rules.set_overrides(overrides)
        self._observing.begin_anew()
        self._due_s = -inf

    def take_seq(self) -> int:
        """Return a sequence number for an order that control did not make."""
        return self._controller.take_seq()

    def measured_delay(self, delay_s: float | None) -> None:
        """Take the measured time from sending an order to its answer."""
        if delay_s is not None:
            self._controller.delay_s = STEP_S + delay_s

    # --- looking --------------------------------------------------------------------------------------------------

    def zone(self, name: str) -> ZoneView | None:
        """Return a zone as control sees it; None when nothing is steered there."""
        decision, z = self.decision, self._index.get(name)
        if decision is None or z is None:
            return None
        limit = self._now.get(name, _NO_LIMIT)
        if not any(isfinite(decision.budget_w[around]) for around in self._controller.tree.path(z)):
            return None
        return ZoneView(
            band=decision.bands[z].value,
            budget_w=limit.budget_w if isfinite(limit.budget_w) else None,
            budget_why=limit.why,
            target_w=float(decision.target_w[z]),
            power_w=float(decision.power_w[z]),
            most_w=float(decision.most_w[z]),
            unmanaged_w=limit.unmanaged_w,
            dry_run=limit.dry_run,
            alarms=self._alarms(decision, z),
        )

    def inside(self, name: str) -> list[str]:
        """Return the zones that lie inside a zone, at any depth, without itself."""
        tree, z = self._controller.tree, self._index.get(name)
        if z is None:
            return []
        return [tree.names[other] for other in np.flatnonzero(tree.inside(z)) if other != z]

    def floors_w(self, name: str) -> float:
        """Return what a zone's nodes, and those of zones inside it, can be brought down to, with unmanaged load."""
        z, seen = self._index[name], self._observing.seen
        floors_w = np.where(seen.present & seen.controllable, seen.floor_w, 0.0)
        return float(self._controller.tree.totals(seen.zone, floors_w)[z] + self._controller.fixed_w[z])

    def slot(self, zone: str, node: str) -> int | None:
        """Return a node's slot."""
        return self._observing.slot(zone, node)

    def rule(self, zone: str, node: str) -> NodeRule:
        """Return what is decided about a node."""
        return self._rules.node(zone, node)

    def would_w(self, slot: int) -> float | None:
        """Return the cap that a node in dry run would get."""
        share_w = self._dry_w[slot] if slot < len(self._dry_w) else np.nan
        return None if np.isnan(share_w) else float(share_w)

    def _scene(self, decision: Decision, now_s: float, wall_s: float) -> Scene:
        observing = self._observing

        def paused(zone: str, name: str) -> tuple[str, ...]:
            node = observing.node(zone, name)
            return tuple(node.summary.paused) if node and node.summary else ()

        return Scene(
            wall_s=wall_s,
            decision=decision,
            tree=self._controller.tree,
            limits=self._now,
            seen=self._observing.seen,
            names=self._observing.names,
            sent_w=self._controller.accounts.intent_w,
            dry_w=self._dry_w,
            paused_by_us=self._controller.pausing.paused,
            rule=self._rules.node,
            paused=paused,
            operators={
                key: (cap_w, max(0.0, until_s - now_s)) for key, (cap_w, until_s) in observing.operators.items()
            },
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    def _take_answers(self) -> None:
        """Hand on what nodes have answered since the last step, at once where each has answered once."""
        answers, self._answers = self._answers, []
        while answers:
            first: dict[int, tuple[Ack, float]] = {}
            later = []
            for slot, ack, came_s in answers:
                if slot in first:
                    later.append((slot, ack, came_s))
                else:
                    first[slot] = ack, came_s
            self._acknowledge(first)
            answers = later

    def _acknowledge(self, answers: dict[int, tuple[Ack, float]]) -> None:
        good = [(slot, ack, came_s) for slot, (ack, came_s) in answers.items() if ack.code in APPLIED]
        if good:
            slots, seqs = np.array([slot for slot, _, _ in good]), np.array([ack.seq for _, ack, _ in good])
            after_w = np.array([np.nan if ack.after_w is None else ack.after_w for _, ack, _ in good])
            self._controller.acknowledge_many(slots, seqs, after_w, np.array([came_s for _, _, came_s in good]))
        for slot, (ack, came_s) in answers.items():
            if ack.code not in APPLIED:
                self._controller.acknowledge(slot, ack.seq, ack.code.value, ack.after_w, came_s)

    def _take_limits(self, wall_s: float) -> tuple[Floats, Floats]:
        self._now = dict(self._rules.limits(wall_s))
        limits = [self._now.get(name, _NO_LIMIT) for name in self._controller.tree.names]
        return np.array([limit.budget_w for limit in limits]), np.array([limit.unmanaged_w for limit in limits])

    def _observe(self, fleet: Fleet, now_s: float, reachable: Callable[[str], bool]) -> Bools:
        """Write every node into its slot; return which are in dry run."""
        names = self._controller.tree.names
        ours = np.array([reachable(name) for name in names], dtype=np.bool_)
        dry = np.array([self._is_dry(z) for z in range(len(names))], dtype=np.bool_)
        return self._observing.look(fleet, self._rules, self._index, now_s, ours, dry)

    def _is_dry(self, z: int) -> bool:
        names = self._controller.tree.names
        return any(self._now.get(names[around], _NO_LIMIT).dry_run for around in self._controller.tree.path(z))

    def _zone_renewals(self, decision: Decision) -> list[ZoneRenewal]:
        renewals, names, zones = decision.renewals, self._observing.names, self._controller.tree.names
        return [
            ZoneRenewal(zones[z], renewals.seq, renewals.ttl_s, tuple(names[slot][1] for slot in left_out.tolist()))
            for z, left_out in zip(renewals.zone.tolist(), renewals.left_out, strict=True)
        ]

    def _sendings(self, decision: Decision) -> Iterator[Sending]:
        grants, why = decision.grants, decision.why
        rows = zip(
            grants.slot.tolist(), grants.seq.tolist(), grants.cap_w.tolist(), grants.fallback_w.tolist(), strict=True
        )
        for slot, seq, cap_w, fallback_w in rows:
            zone, node = self._observing.names[slot]
            reason = why.text(slot, cap_w) if why else ""
            order = Order(node, seq, grants.ttl_s, reason, cap_w=cap_w, fallback_w=fallback_w)
            yield Sending(zone, order)
        pauses = decision.pauses
        for slot, pause in zip(pauses.slot.tolist(), pauses.pause.tolist(), strict=True):
            zone, node = self._observing.names[slot]
            targets = self._observing.targets[slot]
            if pause:
                self._sent_pauses[slot] = targets
            else:  # the rule by which it was paused may hold no more
                targets = self._sent_pauses.get(slot, targets)
            for target in targets:
                yield Sending(zone, self._pause_order(decision, slot, node, target, pause=pause))

    def _pause_order(self, decision: Decision, slot: int, node: str, target: str, *, pause: bool) -> Order:
        ttl_s, seq = decision.pauses.ttl_s, self._controller.take_seq()
        if not pause:
            reason = "there is room for it again, and nobody asks for its pause"
            return Order(node, seq, 0.0, reason, Op.RESUME, target)
        z = int(self._observing.seen.zone[slot])
        if asked := self._rules.node(self._observing.names[slot][0], node).pause:
            return Order(node, seq, ttl_s, asked, Op.PAUSE, target)
        limit = self._now.get(self._controller.tree.names[z], _NO_LIMIT)
        reason = (
            f"caps alone cannot keep to {limit.budget_w:.0f} W ({limit.why}): every cap is at its floor; "
            f"class {self._observing.seen.priority[slot]} may be paused"
        )
        return Order(node, seq, ttl_s, reason, Op.PAUSE, target)

    def _alarms(self, decision: Decision, z: int) -> tuple[str, ...]:
        inside, names = self._controller.tree.inside(z), self._observing.names
        said = list(decision.alarms[z])
        over = decision.disobeying[inside[self._observing.seen.zone[decision.disobeying]]]
        if len(over):
            caps_w = self._controller.accounts.last_out_w
            words = [
                f"{names[s][1]} draws {self._observing.seen.power_w[s]:.0f} W under a cap of {caps_w[s]:.0f} W"
                for s in over
            ]
            said.append(f"over the cap: {named(words, _NAMED)}")
        wild = decision.unbelieved[inside[self._observing.seen.zone[decision.unbelieved]]]
        if len(wild):
            words = [f"{names[s][1]} says {self._observing.seen.power_w[s]:.0f} W" for s in wild]
            said.append(f"more than it can draw, not believed; look at its meter: {named(words, _NAMED)}")
        loose = decision.unmanageable[inside[self._observing.seen.zone[decision.unmanageable]]]
        if len(loose):
            said.append(f"devices ignore limits, counted by their power: {named([names[s][1] for s in loose], _NAMED)}")
        if self._now.get(self._controller.tree.names[z], _NO_LIMIT).dry_run:
            said.append("dry run: nothing is sent to this zone's nodes")
        return tuple(said)
