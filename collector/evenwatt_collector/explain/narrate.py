"""From a step of control to reasons worth keeping. Pure: wall time is an argument.

Nearly every step changes nothing that a reader would ask about. So the numbers of all nodes are compared as arrays
first, and only a node whose decision has changed, or whose numbers are old, is put into a record; so many a step, the
longest unrecorded first, so that ten thousand that change at once do not hold up control. Who asks about the present
gets the latest step all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control import OnLost
from evenwatt_collector.control.issue import deadband_w
from evenwatt_collector.control.waterfill import CLASSES, SURPLUS
from evenwatt_collector.explain.log import Log
from evenwatt_collector.explain.news import News
from evenwatt_collector.explain.records import CAP_MOVED, CAP_MOVED_W, Cause, NodeReason, Short, ZoneReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evenwatt_collector.control import Decision, Observations, ZoneTree
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.reasons import Why
    from evenwatt_collector.rules import NodeRule, ZoneLimit

REFRESH_S: Final = 30.0
"""A decision that stands has its numbers renewed so often, each node at its own time (our choice)."""
AT_ONCE: Final = 64
"""Records made in one step at the most (our choice: 2 ms)."""
NAMED: Final = 5
"""So many nodes with paused work are named."""
_CAUSES: Final = tuple(Cause)
_LOST_WORDS: Final = {OnLost.FALLBACK: "fallback", OnLost.HOLD: "hold", OnLost.RESTORE: "restore"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One step and what is around it; arrays have one position a slot."""

    wall_s: float
    decision: Decision
    tree: ZoneTree
    limits: Mapping[str, ZoneLimit]
    seen: Observations
    names: Sequence[tuple[str, str]]
    """Zone and node of every slot in use."""
    sent_w: Floats
    """Cap last sent to each node (``Accounts.intent_w``)."""
    dry_w: Floats
    """Cap that a node in dry run would get; NaN for others."""
    paused_by_us: Bools
    rule: Callable[[str, str], NodeRule]
    paused: Callable[[str, str], tuple[str, ...]]
    """What a node says of its work is paused."""
    operators: Mapping[tuple[str, str], tuple[float, float]]
    """The cap that an operator's lease holds a node at, and for how many seconds more."""


class Narrator:
    """Keeps the reasons of all nodes and zones."""

    def __init__(self) -> None:
        self.nodes: Log[NodeReason] = Log()
        self.zones: Log[ZoneReason] = Log()
        self.news = News()
        """What of it is told as it happens."""
        self._code: Ints = np.zeros(0, dtype=np.int64)
        self._cap_w: Floats = np.zeros(0)
        self._noted_s: Floats = np.zeros(0)
        self._latest: _View | None = None

    def look(self, scene: Scene) -> None:
        """Take a step."""
        count = len(scene.names)
        self._grow(count)
        view = _View(scene, count)
        capped = view.capped
        changed = (view.code != self._code[:count]) | _moved(view.cap_w, self._cap_w[:count])
        old = scene.wall_s - self._noted_s[:count] >= REFRESH_S
        due = np.flatnonzero((changed | old) & scene.seen.present[:count])
        if len(due) > AT_ONCE:
            rank = self._noted_s[due] - REFRESH_S * changed[due]
            due = due[np.argpartition(rank, AT_ONCE)[:AT_ONCE]]
        for slot in due.tolist():
            self._note(view, slot)
        self._latest = view
        self._zones(view, capped, count)
        self.news.look(scene, view.cap_w, view.cause)

    def refresh(self, zone: str, node: str) -> None:
        """Put the latest step's decision about a node into the record, if there is one."""
        view = self._latest
        if view is not None and (zone, node) in view.scene.names:
            slot = view.scene.names.index((zone, node))
            if slot < len(view.code) and view.scene.seen.present[slot]:
                self._note(view, slot)

    def _note(self, view: _View, slot: int) -> None:
        self.nodes.note(view.reason(slot))
        cap_w = view.cap_w[slot]
        if view.code[slot] != self._code[slot] or _moved(cap_w, self._cap_w[slot]):
            self._code[slot], self._cap_w[slot] = view.code[slot], cap_w
        self._noted_s[slot] = view.scene.wall_s

    def _grow(self, count: int) -> None:
        more = count - len(self._code)
        if more > 0:
            self._code = np.concatenate((self._code, np.full(more, -1, dtype=np.int64)))
            self._cap_w = np.concatenate((self._cap_w, np.full(more, np.nan)))
            self._noted_s = np.concatenate((self._noted_s, np.full(more, -np.inf)))

    def _zones(self, view: _View, capped: Bools, count: int) -> None:
        scene = view.scene
        seen, zone = scene.seen, scene.seen.zone[:count]
        present = seen.present[:count]
        counts = [
            scene.tree.totals(zone, np.where(present & flags, 1.0, 0.0))
            for flags in (present, capped, seen.paused[:count])
        ]
        for z in range(len(scene.tree)):
            numbers = (int(column[z]) for column in counts)
            self.zones.note(_zone_reason(scene, z, *numbers, floors_w=float(view.floors_w[z])))


class _View:
    """A step as columns of what reasons are made of."""

    def __init__(self, scene: Scene, count: int) -> None:
        self.scene = scene
        why, seen = scene.decision.why, scene.seen
        self.floors_w: Floats = _floors_w(scene, count)
        self._place: Ints = np.full(count, -1, dtype=np.int64)
        """Each slot's position in ``why``."""
        self.cause: Ints = np.full(count, _CAUSES.index(Cause.UNSTEERED), dtype=np.int64)
        self._zone: Ints = np.full(count, -1, dtype=np.int64)
        self._class: Ints = np.full(count, -1, dtype=np.int64)
        self.cap_w: Floats = np.full(count, np.nan)
        if why is not None:
            self._take(why)
        dry = ~np.isnan(scene.dry_w[:count]) if len(scene.dry_w) >= count else np.zeros(count, dtype=np.bool_)
        self._dry = dry
        self.cause[dry] = _CAUSES.index(Cause.DRY_RUN)
        self.cap_w[dry] = scene.dry_w[:count][dry] if dry.any() else self.cap_w[dry]
        flags = seen.paused[:count].astype(np.int64) + 2 * dry + 4 * seen.priority[:count]
        self.code: Ints = ((flags * 16 + self.cause) * 16 + self._class + 1) * (len(scene.tree) + 1) + self._zone + 1

    @property
    def capped(self) -> Bools:
        """Which nodes may draw less than they want."""
        fed = [_CAUSES.index(c) for c in (Cause.FREE, Cause.SURPLUS, Cause.UNSTEERED, Cause.MET, Cause.DRY_RUN)]
        capped: Bools = ~np.isin(self.cause, fed)
        return capped

    def _take(self, why: Why) -> None:
        at, allotment = why.at, why.allotment
        self._place[at] = np.arange(len(at))
        self.cap_w[at] = self.scene.sent_w[at]
        bound = allotment.bound
        held = bound >= 0
        stage = np.where(held, allotment.stage[bound], SURPLUS + 1)
        level = _classes_of(stage)
        own = why.priority
        causes = np.select(
            [
                ~held, stage < 0, held & why.braking[bound], stage >= SURPLUS,
                own < level, own == level,
            ],
            [_CAUSES.index(cause) for cause in (
                Cause.FREE, Cause.FLOOR, Cause.BRAKE, Cause.SURPLUS, Cause.WAITS, Cause.LEVEL,
            )],
            default=_CAUSES.index(Cause.MET),
        )  # fmt: skip
        essential_left = (stage >= CLASSES) & (causes == _CAUSES.index(Cause.WAITS))
        essential_only = (stage < CLASSES) & (causes == _CAUSES.index(Cause.MET))
        causes[essential_left | essential_only] = _CAUSES.index(Cause.PART)
        self.cause[at], self._zone[at] = causes, bound
        self._class[at] = np.where(held & (stage >= 0) & (stage < SURPLUS), level, -1)

    def reason(self, slot: int) -> NodeReason:
        """Return a slot's reason."""
        scene, seen = self.scene, self.scene.seen
        zone, node = scene.names[slot]
        rule, dry = scene.rule(zone, node), bool(self._dry[slot])
        why, i = scene.decision.why, int(self._place[slot])
        steered = why is not None and i >= 0
        cap_w = float(self.cap_w[slot])
        waiting_w = float(why.allotment.share_w[i]) - cap_w if why is not None and steered and not dry else 0.0
        operator = scene.operators.get((zone, node))
        return NodeReason(
            wall_s=scene.wall_s,
            node=node,
            zone=zone,
            cause=_CAUSES[self.cause[slot]],
            cap_w=operator[0] if operator else cap_w if isfinite(cap_w) else None,
            power_w=float(seen.power_w[slot]),
            floor_w=float(seen.floor_w[slot]),
            ceiling_w=float(seen.ceiling_w[slot]),
            demand_w=float(why.demand.full_w[i]) if why is not None and steered else None,
            demand_hidden=bool(why.demand.hidden[i]) if why is not None and steered else False,
            kind=rule.kind,
            priority=int(seen.priority[slot]),
            short=self._short(slot),
            waiting_w=waiting_w if waiting_w >= deadband_w(cap_w) else 0.0,
            paused=scene.paused(zone, node) if seen.paused[slot] else (),
            paused_by_us=slot < len(scene.paused_by_us) and bool(scene.paused_by_us[slot]),
            on_lost=_LOST_WORDS[OnLost(int(seen.on_lost[slot]))],
            fallback_w=float(seen.fallback_w[slot]),
            dry_run=dry,
            held=rule.held,
            operator_until_s=scene.wall_s + operator[1] if operator else None,
        )

    def _short(self, slot: int) -> Short | None:
        scene, z = self.scene, int(self._zone[slot])
        if z < 0:
            return None
        name = scene.tree.names[z]
        return Short(
            zone=name,
            budget_w=float(scene.decision.budget_w[z]),
            budget_why=scene.limits[name].why,
            power_w=float(scene.decision.power_w[z]),
            floors_w=float(self.floors_w[z]),
            level_class=int(self._class[slot]) if self._class[slot] >= 0 else None,
        )


def _moved(now_w: Floats, before_w: Floats) -> Bools:
    """Return which caps have moved so far that it is another decision; one that came or went has."""
    far: Bools = np.abs(now_w - before_w) > np.maximum(CAP_MOVED_W, CAP_MOVED * before_w)
    moved: Bools = far | (np.isnan(now_w) != np.isnan(before_w))
    return moved


def _classes_of(stage: Ints) -> Ints:
    """Return the class that a stage of the water-filling serves."""
    return np.where(stage < CLASSES, CLASSES - 1 - stage, CLASSES - 1 - (stage - CLASSES) // 2)


def _floors_w(scene: Scene, count: int) -> Floats:
    """Return per zone the floors of its nodes and its fixed load, zones inside included."""
    seen = scene.seen
    floors_w = np.where(seen.present[:count], seen.floor_w[:count], 0.0)
    limits = (scene.limits.get(name) for name in scene.tree.names)
    fixed_w = np.array([limit.unmanaged_w if limit else 0.0 for limit in limits])
    return scene.tree.totals(seen.zone[:count], floors_w) + scene.tree.roll_up(fixed_w)


def _paused_names(scene: Scene, z: int, count: int) -> tuple[str, ...]:
    paused = np.flatnonzero(scene.seen.present[:count] & scene.seen.paused[:count])
    inside = [slot for slot in paused.tolist() if z in scene.tree.path(int(scene.seen.zone[slot]))]
    return tuple(scene.names[slot][1] for slot in inside[:NAMED])


def _zone_reason(scene: Scene, z: int, nodes: int, capped: int, paused: int, *, floors_w: float) -> ZoneReason:
    decision, name = scene.decision, scene.tree.names[z]
    limit = scene.limits.get(name)
    outer = min(scene.tree.path(z)[:-1], key=lambda around: float(decision.budget_w[around]), default=None)
    if outer is not None and not isfinite(decision.budget_w[outer]):
        outer = None
    return ZoneReason(
        wall_s=scene.wall_s,
        zone=name,
        band=decision.bands[z].value,
        budget_w=float(decision.budget_w[z]) if isfinite(decision.budget_w[z]) else None,
        budget_why=limit.why if limit else "",
        outer=None if outer is None else scene.tree.names[outer],
        outer_budget_w=None if outer is None else float(decision.budget_w[outer]),
        target_w=float(decision.target_w[z]),
        power_w=float(decision.power_w[z]),
        most_w=float(decision.most_w[z]),
        unmanaged_w=limit.unmanaged_w if limit else 0.0,
        nodes=nodes,
        capped=capped,
        paused=paused,
        paused_names=_paused_names(scene, z, len(scene.names)) if paused else (),
        floors_w=floors_w,
        dry_run=limit.dry_run if limit else False,
        alarms=decision.alarms[z],
    )
